"""Calls with SIPp: its built-in scenarios, both transports, many at once, CANCEL, hold, refusals."""

import asyncio

import pytest
from capture import Capture
from scenario import accept as accept_with
from scenario import (
    ack,
    ack_refusal,
    bye,
    cancel,
    invite,
    receive,
    receive_bye,
    receive_final,
    receive_request,
    request,
    request_terminated,
    respond,
    sdp,
    wait_for_go_on,
)
from sipp_peer import Sipp
from systems import Recorder, dial, go_on, host_port, soon, system, until, until_empty, until_local_sdp

from ringback import (
    AutoAnswerHandler,
    CallCancelled,
    CallDecision,
    CallRejected,
    CallState,
    SessionControl,
    SessionCoordinator,
    SessionId,
    Transport,
)

pytestmark = pytest.mark.peer("sipp")
EXPECTED = ("sip", "sdp", "rtp", "rtcp", "tcp", "udp")
BOTH = pytest.mark.parametrize(("transport", "sipp_transport"), [(Transport.UDP, "u1"), (Transport.TCP, "t1")])


@BOTH
async def test_builtin_uac_is_answered(transport: Transport, sipp_transport: str) -> None:
    handler = Recorder()
    async with await system(handler, transport) as server:
        async with Sipp("uac", remote=host_port(server), calls=20, hold_ms=50, transport=sipp_transport) as sipp:
            await sipp.finished()
        for _ in range(20):
            _, reason = await soon(handler.ended)
            assert reason == "remote hangup"
        stats = await SessionControl.get_stats(server)
        assert (stats.active_sessions, stats.total_sessions, stats.failed_sessions) == (0, 20, 0)


@BOTH
async def test_builtin_uas_is_called(transport: Transport, sipp_transport: str) -> None:
    async with Sipp("uas", calls=5, transport=sipp_transport) as sipp, await system(None, transport) as caller:
        for _ in range(5):
            call = await dial(caller, sipp.uri)
            await call.wait_for_answer(20)
            assert call.state is CallState.ACTIVE
            await call.hangup()
            assert call.state is CallState.TERMINATED
        await sipp.finished()


async def answered(server: SessionCoordinator) -> list[SessionId]:
    """A call is in the list from its INVITE on, and to hang up one that is not answered yet is to refuse it."""
    calls = [
        await SessionControl.get_session(server, call) for call in await SessionControl.list_active_sessions(server)
    ]
    return [call.id for call in calls if call is not None and call.state is CallState.ACTIVE]


@BOTH
async def test_200_calls_at_once_come_in(transport: Transport, sipp_transport: str) -> None:
    """They stay until all 200 are there; then all are hung up in one go."""
    steps = (invite(), *receive_final(200), ack(), *receive_bye())
    async with await system(AutoAnswerHandler(), transport) as server:
        async with Sipp(
            "wait_for_bye", steps, host_port(server), calls=200, rate=200, transport=sipp_transport
        ) as sipp:
            async with asyncio.timeout(40):
                while len(calls := await answered(server)) < 200:
                    await asyncio.sleep(0.05)
            # SIPp sends the last ACKs; a call whose ACK is not there yet is hung up all the same.
            await asyncio.gather(*(SessionControl.terminate_session(server, call) for call in calls))
            await sipp.finished()
            statistics = sipp.statistics()
        assert (statistics["SuccessfulCall(C)"], statistics["FailedCall(C)"]) == ("200", "0")
        await until_empty(server)


@BOTH
async def test_200_calls_at_once_go_out(transport: Transport, sipp_transport: str) -> None:
    async with Sipp("uas", calls=200, transport=sipp_transport) as sipp, await system(None, transport) as caller:
        calls = await asyncio.gather(*(dial(caller, sipp.uri) for _ in range(200)))
        await asyncio.gather(*(call.wait_for_answer(30) for call in calls))
        assert all(call.state is CallState.ACTIVE for call in calls)
        # So many at once are more than a socket holds: a lost ACK comes with the next 200, and a BYE before it is out of place.
        await sipp.until_acked(200)
        await asyncio.gather(*(call.hangup() for call in calls))
        await sipp.finished()
        statistics = sipp.statistics()
        assert (statistics["SuccessfulCall(C)"], statistics["FailedCall(C)"]) == ("200", "0")
        assert await SessionControl.list_active_sessions(caller) == []


@BOTH
async def test_caller_cancels(transport: Transport, sipp_transport: str) -> None:
    handler = Recorder(decision=CallDecision.Defer())
    steps = (invite(), receive(100, optional=True), receive(180), cancel(), receive(200), receive(487), ack_refusal())
    async with await system(handler, transport) as server:
        async with Sipp("cancels", steps, host_port(server), transport=sipp_transport) as sipp:
            await sipp.finished()
        call, reason = await soon(handler.ended)
        assert (call.state, reason) == (CallState.CANCELLED, "cancelled")
        assert await SessionControl.list_active_sessions(server) == []


@BOTH
async def test_we_cancel(transport: Transport, sipp_transport: str) -> None:
    steps = (
        receive_request("INVITE"),
        respond("180 Ringing"),
        receive_request("CANCEL"),
        respond("200 OK", headers=()),
        request_terminated(),
        receive_request("ACK"),
    )
    async with Sipp("is_cancelled", steps, transport=sipp_transport) as sipp, await system(None, transport) as caller:
        call = await dial(caller, sipp.uri)
        await until(lambda: call.state is CallState.RINGING, what="180")
        await call.hangup()
        assert call.state is CallState.CANCELLED
        with pytest.raises(CallCancelled):
            await call.wait_for_answer(1)
        await sipp.finished()


@BOTH
async def test_peer_holds_and_resumes(transport: Transport, sipp_transport: str) -> None:
    handler = Recorder()
    steps = (
        invite(),
        *receive_final(200, text="a=sendrecv"),
        ack(),
        *wait_for_go_on(),
        invite(sdp(version=2, direction="sendonly"), cseq=2),
        *receive_final(200, text="a=recvonly"),
        ack(cseq=2),
        *wait_for_go_on(),
        invite(sdp(version=3), cseq=3),
        *receive_final(200, text="a=sendrecv"),
        ack(cseq=3),
        *wait_for_go_on(),
        # RFC 2543's way: the null address.
        invite(sdp(version=4, address="0.0.0.0"), cseq=4),
        *receive_final(200, text="a=recvonly"),
        ack(cseq=4),
        *wait_for_go_on(),
        invite(sdp(version=5, direction="inactive"), cseq=5),
        *receive_final(200, text="a=inactive"),
        ack(cseq=5),
        *wait_for_go_on(),
        bye(cseq=6),
        receive(200),
    )
    async with await system(handler, transport) as server:
        async with Sipp("holds", steps, host_port(server), transport=sipp_transport) as sipp:
            call = await soon(handler.established)
            directions = ("sendrecv", "recvonly", "sendrecv", "recvonly", "inactive")
            for number, direction in enumerate(directions, 1):
                await until_local_sdp(call, f"a={direction}")
                await sipp.until_acked(number)
                assert call.remote_hold == (direction != "sendrecv")
                assert call.state is CallState.ACTIVE
                await go_on(call)
            await sipp.finished()


@BOTH
async def test_we_hold_and_resume(transport: Transport, sipp_transport: str) -> None:
    def reinvited(version: int, offered: str, answered: str) -> tuple[object, ...]:
        return (
            receive_request("INVITE", text=f"a={offered}"),
            accept_with(sdp(version=version, direction=answered), tag=False),
            receive_request("ACK"),
        )

    steps = (
        receive_request("INVITE"),
        respond("180 Ringing"),
        accept_with(),
        receive_request("ACK"),
        *reinvited(2, "sendonly", "recvonly"),
        *reinvited(3, "sendrecv", "sendrecv"),
        *receive_bye(),
    )
    async with Sipp("is_held", steps, transport=sipp_transport) as sipp, await system(None, transport) as caller:  # type: ignore[arg-type]
        call = await dial(caller, sipp.uri)
        await call.wait_for_answer(20)
        await call.hold()
        assert call.state is CallState.ON_HOLD
        await call.resume()
        assert call.state is CallState.ACTIVE
        await call.hangup()
        await sipp.finished()


@pytest.mark.parametrize(
    ("status", "targets"),
    [
        ("302 Moved", ["sip:elsewhere@127.0.0.1:9"]),
        ("404 Not Found", []),
        ("486 Busy Here", []),
        ("500 Broken", []),
        ("503 Overloaded", []),
        ("603 Go Away", []),
    ],
)
async def test_refusals_and_redirects_are_told_apart(status: str, targets: list[str]) -> None:
    steps = (
        receive_request("INVITE"),
        respond(status, headers=["Contact: <sip:elsewhere@127.0.0.1:9>"], retransmit=True),
        receive_request("ACK"),
    )
    async with await system() as caller, Sipp("refuses", steps) as sipp:
        call = await dial(caller, sipp.uri)
        with pytest.raises(CallRejected) as refusal:
            await call.wait_for_answer(20)
        code, _, phrase = status.partition(" ")
        assert (refusal.value.status, refusal.value.reason) == (int(code), phrase)
        assert list(refusal.value.targets) == targets
        assert (call.state, call.end_reason) == (CallState.REJECTED, f"rejected {status}")
        await sipp.finished()


@pytest.mark.parametrize(
    ("decision", "status", "text"),
    [
        (CallDecision.Reject("Busy Here", status=486), 486, None),
        (CallDecision.Reject("Not in the mood"), 603, None),
        (CallDecision.Forward("sip:elsewhere@127.0.0.1:9", redirect=True), 302, "Contact: <sip:elsewhere@127.0.0.1:9>"),
    ],
)
async def test_we_refuse_and_redirect(decision: CallDecision, status: int, text: str | None) -> None:
    handler = Recorder(decision=decision)
    steps = (invite(), *receive_final(status, text=text), ack_refusal())
    async with await system(handler) as server:
        async with Sipp("is_refused", steps, host_port(server)) as sipp:
            await sipp.finished()
        call, _ = await soon(handler.ended)
        assert call.state is CallState.REJECTED


async def test_options_and_unknown_methods(wire: Capture) -> None:
    """Out of a dialog OPTIONS is answered, a method that nobody knows gets 501 (RFC 3261 §8.2.1), an event that nobody serves 489
    (RFC 6665 §4.2.1.1), a method that has no place here 405."""
    steps = (
        request("OPTIONS", cseq=1, headers=["Accept: application/sdp"]),
        receive(200, text="Allow: [A-Z, ]*INVITE"),
        request("JUGGLE", cseq=2, early=True),
        receive(501),
        request("SUBSCRIBE", cseq=3, early=True, headers=["Event: presence"]),
        receive(489, text="Allow-Events: dialog"),
        request("PUBLISH", cseq=4, early=True, headers=["Event: presence"]),
        receive(405, text="Allow: [A-Z, ]*INVITE"),
        # Of a dialog that there is none of.
        _send_stray_bye(),
        receive(481),
    )
    async with await system(Recorder()) as server:
        async with Sipp("asks", steps, host_port(server)) as sipp:
            await sipp.finished()
        assert (await SessionControl.get_stats(server)).total_sessions == 0


def _send_stray_bye() -> object:
    return request("BYE", cseq=5, early=True)
