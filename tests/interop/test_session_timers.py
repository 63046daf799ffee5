"""Session timers (RFC 4028) with SIPp and PJSIP, in all roles: who refreshes and who does not.

The shortest interval that the standard allows is 90 s: it is refreshed after 45, and given up after 60. So all goes on side by side.
"""

import asyncio

import pytest
from pjsua_peer import Pjsua
from scenario import (
    CONTACT,
    Step,
    accept,
    ack,
    ack_refusal,
    invite,
    pause,
    receive,
    receive_bye,
    receive_final,
    receive_request,
    request,
    respond,
    sdp,
)
from sipp_peer import Sipp
from systems import Recorder, builder, dial, host_port, soon, system, until

from ringback import CallRejected, CallSession, CallState, SessionCoordinator

pytestmark = pytest.mark.peer("sipp")
EXPECTED = ("sip", "sdp", "rtp", "udp")

INTERVAL = 90
ALLOW = "Allow: INVITE, ACK, BYE, CANCEL, INFO, UPDATE"
# The silent ones are given up after INTERVAL - INTERVAL/3.
GIVEN_UP = 60


async def timed(handler: Recorder, expires: float | None) -> SessionCoordinator:
    return await builder(handler).with_session_timer(expires).build()


def timer(refresher: str) -> tuple[str, ...]:
    return CONTACT, "Require: timer", f"Session-Expires: {INTERVAL};refresher={refresher}", ALLOW


def answer(*headers: str, body: str | None = None, tag: bool = True) -> Step:
    return respond("200 OK", body or sdp(), headers=headers, retransmit=True, tag=tag)


@pytest.mark.peer("pjsua2")
@pytest.mark.timeout(200)
async def test_sessions_are_refreshed_and_end_when_nobody_does() -> None:
    async with asyncio.TaskGroup() as group:
        over = asyncio.Event()
        group.create_task(_sipp_calls_and_falls_silent(over))
        group.create_task(_sipp_is_called_and_falls_silent())
        group.create_task(_we_refresh_what_we_placed(over))
        group.create_task(_we_refresh_what_sipp_placed(over))
        group.create_task(_sipp_refreshes(over))
        group.create_task(_pjsua_calls(over))
        group.create_task(_pjsua_is_called(over))


async def _sipp_calls_and_falls_silent(over: asyncio.Event) -> None:
    """It wanted to refresh, and does not: BYE, and all who have been refreshed are still there."""
    steps = (
        invite(headers=["Supported: timer", f"Session-Expires: {INTERVAL};refresher=uac"]),
        *receive_final(200, text=f"Session-Expires: {INTERVAL};refresher=uac"),
        ack(),
        receive_request("BYE", text="Session timer expired"),
        respond("200 OK", tag=False, headers=()),
    )
    handler = Recorder()
    async with await timed(handler, None) as server, Sipp("silent", steps, host_port(server)) as sipp:
        session, reason = await soon(handler.ended, GIVEN_UP + 30)
        over.set()
        assert (session.state, reason) == (CallState.TERMINATED, "timeout")
        await sipp.finished()


async def _sipp_is_called_and_falls_silent() -> None:
    steps = (
        receive_request("INVITE", text=f"Session-Expires: {INTERVAL}"),
        answer(*timer("uas")),
        receive_request("ACK"),
        receive_request("BYE", text="Session timer expired"),
        respond("200 OK", tag=False, headers=()),
    )
    handler = Recorder()
    async with await timed(handler, INTERVAL) as caller, Sipp("silent_callee", steps) as sipp:
        call = await dial(caller, sipp.uri)
        await call.wait_for_answer(20)
        assert (await soon(handler.ended, GIVEN_UP + 30))[1] == "timeout"
        await sipp.finished()


async def _we_refresh_what_we_placed(over: asyncio.Event) -> None:
    """By UPDATE, since the peer allows it."""
    steps = (
        receive_request("INVITE", text=f"Session-Expires: {INTERVAL}"),
        answer(*timer("uac")),
        receive_request("ACK"),
        receive_request("UPDATE", text=f"Session-Expires: {INTERVAL};refresher=uac"),
        respond("200 OK", tag=False, headers=timer("uac")),
        *receive_bye(),
    )
    async with await timed(Recorder(), INTERVAL) as caller, Sipp("refreshed", steps) as sipp:
        call = await dial(caller, sipp.uri)
        await call.wait_for_answer(20)
        await _still_there(call, over)
        await sipp.finished()


async def _we_refresh_what_sipp_placed(over: asyncio.Event) -> None:
    """By a re-INVITE, since the peer does not allow UPDATE."""
    steps = (
        invite(
            headers=[
                "Supported: timer",
                f"Session-Expires: {INTERVAL};refresher=uas",
                "Allow: INVITE, ACK, BYE, CANCEL",
            ]
        ),
        *receive_final(200, text=f"Session-Expires: {INTERVAL};refresher=uas"),
        ack(),
        receive_request("INVITE", text=f"Session-Expires: {INTERVAL};refresher=uac"),
        answer(*timer("uac"), tag=False),
        receive_request("ACK"),
        *receive_bye(),
    )
    handler = Recorder()
    async with await timed(handler, None) as server, Sipp("refreshed_caller", steps, host_port(server)) as sipp:
        await _still_there(await soon(handler.established), over)
        await sipp.finished()


async def _sipp_refreshes(over: asyncio.Event) -> None:
    """As it said it would: later than the others, so that without it the end would have come."""
    steps = (
        invite(headers=["Supported: timer", f"Session-Expires: {INTERVAL};refresher=uac"]),
        *receive_final(200, text=f"Session-Expires: {INTERVAL};refresher=uac"),
        ack(),
        pause(40_000),
        request("UPDATE", cseq=2, headers=[CONTACT, "Supported: timer", f"Session-Expires: {INTERVAL};refresher=uac"]),
        receive(200, text=f"Session-Expires: {INTERVAL};refresher=uac"),
        *receive_bye(),
    )
    handler = Recorder()
    async with await timed(handler, None) as server, Sipp("refreshes", steps, host_port(server)) as sipp:
        await _still_there(await soon(handler.established), over)
        await sipp.finished()


async def _pjsua_calls(over: asyncio.Event) -> None:
    """It asks for a timer and refreshes."""
    handler = Recorder()
    async with await timed(handler, None) as server, Pjsua(520.0, timer="always", timer_expires=INTERVAL) as peer:
        await peer.do("call", uri=server.local_address)
        call = await soon(handler.established)
        await _refreshed(peer, "caller")
        await _still_there(call, over)
        await peer.until_state("disconnected")


async def _pjsua_is_called(over: asyncio.Event) -> None:
    """We ask for a timer and refresh."""
    async with (
        await timed(Recorder(), INTERVAL) as caller,
        Pjsua(520.0, timer="optional", timer_expires=INTERVAL) as peer,
    ):
        call = await dial(caller, peer.uri())
        await call.wait_for_answer(20)
        await _refreshed(peer, "called")
        await _still_there(call, over)
        await peer.until_state("disconnected")


async def _refreshed(peer: Pjsua, who: str) -> None:
    """Waits until PJSUA has seen a refresh, by UPDATE: of its own as caller, of ours as called."""
    role = {"caller": 0, "called": 1}[who]
    await until(
        lambda: bool(peer.of("transaction", method="UPDATE", code=200, role=role)), GIVEN_UP + 20, what="a refresh"
    )


async def _still_there(call: CallSession, over: asyncio.Event) -> None:
    """Waits until those who were not refreshed are gone; this one has to be up. Hangs it up."""
    await asyncio.wait_for(over.wait(), GIVEN_UP + 60)
    assert call.state is CallState.ACTIVE, call.end_reason
    await call.hangup()


async def test_an_interval_that_is_too_small_is_refused() -> None:
    """RFC 4028 §9: 422 with what would do, and that does."""
    steps = (
        invite(headers=["Supported: timer", "Session-Expires: 60"]),
        *receive_final(422, text="Min-SE: 90"),
        ack_refusal(),
        invite(cseq=2, early=True, label="AGAIN", headers=["Supported: timer", "Min-SE: 90", "Session-Expires: 90"]),
        *receive_final(200, text="Session-Expires: 90"),
        ack(cseq=2),
        *receive_bye(),
    )
    handler = Recorder()
    async with await system(handler) as server, Sipp("hurries", steps, host_port(server)) as sipp:
        await (await soon(handler.established)).hangup()
        await sipp.finished()


async def test_sipp_refuses_an_interval_that_is_too_small() -> None:
    steps = (
        receive_request("INVITE", text="Session-Expires: 90"),
        respond("422 Session Interval Too Small", headers=("Min-SE: 1200",), retransmit=True),
        receive_request("ACK"),
        receive_request("INVITE", text="Session-Expires: 1200.*"),
        accept(),
        receive_request("ACK"),
        *receive_bye(),
    )
    async with await timed(Recorder(), INTERVAL) as caller, Sipp("is_slow", steps) as sipp:
        call = await dial(caller, sipp.uri)
        await call.wait_for_answer(20)
        await call.hangup()
        await sipp.finished()


async def test_sipp_refuses_every_interval() -> None:
    """A peer that asks for more each time is not followed for ever: five times."""
    refused: list[Step] = []
    for number in range(6):
        refused += [
            receive_request("INVITE"),
            respond("422 Session Interval Too Small", headers=(f"Min-SE: {1200 + number}",), retransmit=True),
            receive_request("ACK"),
        ]
    async with await timed(Recorder(), INTERVAL) as caller, Sipp("is_never_content", tuple(refused)) as sipp:
        call = await dial(caller, sipp.uri)
        with pytest.raises(CallRejected) as refusal:
            await call.wait_for_answer(20)
        assert refusal.value.status == 422
        await sipp.finished()
