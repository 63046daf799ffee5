"""What a telephone network has besides calls that go well: retransmissions, races, big messages, peers that vanish."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from capture import Capture, Packet
from network import HOST, free_ports
from scenario import (
    Step,
    accept,
    ack,
    ack_refusal,
    bye,
    cancel,
    invite,
    pause,
    receive,
    receive_bye,
    receive_final,
    receive_request,
    request,
    request_terminated,
    respond,
    sdp,
    wait_for_go_on,
    wait_for_poke,
)
from sipp_peer import Sipp
from systems import Recorder, dial, go_on, host_port, soon, system, until

from ringback import (
    CallFailed,
    CallRejected,
    CallState,
    SessionControl,
)

pytestmark = pytest.mark.peer("sipp")
EXPECTED = ("sip", "sdp", "rtp", "rtcp", "tcp", "udp")

# 64*T1, after which RFC 3261 gives a transaction up.
GIVEN_UP = 32.0


def lines(packets: Sequence[Packet], start: str, cseq: str) -> list[Packet]:
    """Messages that begin so and have that CSeq."""
    return [packet for packet in packets if packet.line.startswith(start) and packet.one("sip.CSeq") == cseq]


# ------------------------------------------------------------------------------------------------ retransmissions


async def test_200_is_retransmitted_until_its_ack(wire: Capture) -> None:
    """RFC 3261 §13.3.1.4: after T1 and on, over UDP, and no more after the ACK."""
    handler = Recorder()
    steps = (invite(), *receive_final(200), wait_for_poke(), ack(), *wait_for_go_on(), bye(), receive(200))
    async with await system(handler) as server, Sipp("dawdles", steps, host_port(server)) as sipp:
        call_id = (await soon(handler.incoming)).headers["Call-ID"]
        answers = await wire.messages(
            call_id, lambda packets: len(lines(packets, "SIP/2.0 200", "1 INVITE")) >= 3, "a 200 after 0, 0.5 and 1.5 s"
        )
        # None was sent before the INVITE; a first one that a busy machine sends late makes the gap to the second no longer.
        asked = lines(answers, "INVITE", "1 INVITE")[0].time
        after = [packet.time - asked for packet in lines(answers, "SIP/2.0 200", "1 INVITE")]
        assert after[1] > 0.49 and after[2] > 1.49, f"the 200 was repeated too soon: {after}"
        sipp.poke(call_id)
        call = await soon(handler.established)
        # What was on its way may still come; a timer that goes on would bring another within 2 s.
        await asyncio.sleep(2.2)
        await go_on(call)
        await sipp.finished()
        packets = await wire.messages(call.call_id)
        acked = lines(packets, "ACK", "1 ACK")[0].time
        assert not [packet for packet in lines(packets, "SIP/2.0 200", "1 INVITE") if packet.time > acked + 0.2]


# ------------------------------------------------------------------------------------------------ races


async def test_cancel_of_an_answered_call_changes_nothing(wire: Capture) -> None:
    """RFC 3261 §9.2: it is answered with 200, and that is all."""
    handler = Recorder()
    steps = (
        invite(),
        *receive_final(200),
        cancel(),
        receive(200, text="CSeq: 1 CANCEL"),
        ack(),
        *wait_for_go_on(),
        bye(),
        receive(200),
    )
    async with await system(handler) as server, Sipp("cancels_late", steps, host_port(server)) as sipp:
        call = await soon(handler.established)
        # SIPp takes an INFO for out of place before it has had its answer to the CANCEL.
        await wire.messages(call.call_id, lambda packets: bool(lines(packets, "ACK", "1 ACK")), "the ACK")
        assert call.state is CallState.ACTIVE
        await go_on(call)
        await sipp.finished()
        _, reason = await soon(handler.ended)
        assert reason == "remote hangup"


async def test_cancel_of_nothing() -> None:
    steps = (_stray_cancel(), receive(481))
    async with await system(Recorder()) as server, Sipp("cancels_nothing", steps, host_port(server)) as sipp:
        await sipp.finished()


def _stray_cancel() -> Step:
    return request("CANCEL", cseq=1)


async def test_answer_that_crosses_our_cancel_is_hung_up() -> None:
    """RFC 3261 §9.1: a 200 that comes all the same is a call; it gets its ACK and BYE."""
    steps = (
        receive_request("INVITE"),
        respond("180 Ringing"),
        receive_request("CANCEL"),
        respond("200 OK", headers=()),
        Step(accept().xml.replace("[last_CSeq:]", "CSeq: [last_cseq_number] INVITE")),
        receive_request("ACK"),
        *receive_bye(),
    )
    async with await system() as caller, Sipp("answers_anyway", steps) as sipp:
        call = await dial(caller, sipp.uri)
        await until(lambda: call.state is CallState.RINGING, what="180")
        await call.hangup()
        assert call.state is CallState.CANCELLED
        await sipp.finished()


async def test_cancel_waits_for_a_provisional_response(wire: Capture) -> None:
    """RFC 3261 §9.1: none before the peer has said anything."""
    steps = (
        receive_request("INVITE"),
        pause(1200),
        respond("180 Ringing"),
        receive_request("CANCEL"),
        respond("200 OK", headers=()),
        request_terminated(),
        receive_request("ACK"),
    )
    async with await system() as caller, Sipp("is_slow", steps) as sipp:
        call = await dial(caller, sipp.uri)
        await wire.messages(call.call_id)
        await call.hangup()
        assert call.state is CallState.CANCELLED
        await sipp.finished()
    packets = await wire.messages(call.call_id)
    order = [packet.line.split(" ", 1)[0 if packet.all("sip.Request-Line") else 1] for packet in packets]
    assert order.index("CANCEL") > order.index("180 Ringing")


# ------------------------------------------------------------------------------------------------ sizes, routes, extensions

BULK = {f"X-Bulk-{number}": "x" * 150 for number in range(10)}


async def test_big_invite_moves_to_tcp(wire: Capture) -> None:
    """RFC 3261 §18.1.1: over 1,300 bytes by a stream, though the URI says nothing; the dialog follows the callee's Contact."""
    steps = (receive_request("INVITE", text="Via: SIP/2.0/TCP"), accept(), receive_request("ACK"), *receive_bye())
    async with await system() as caller, Sipp("reads_much", steps, transport="t1") as sipp:
        call = await dial(caller, f"sip:service@{sipp.address}", None, **BULK)
        await call.wait_for_answer(20)
        await call.hangup()
        await sipp.finished()
    packets = await wire.messages(call.call_id)
    assert all("tcp" in packet.protocols for packet in packets)


async def test_big_invite_goes_by_udp_where_there_is_no_tcp(wire: Capture) -> None:
    """The same section: where the connection is refused the request is sent as a datagram after all."""
    steps = (receive_request("INVITE", text="Via: SIP/2.0/UDP"), accept(), receive_request("ACK"), *receive_bye())
    async with await system() as caller, Sipp("reads_datagrams", steps) as sipp:
        call = await dial(caller, sipp.uri, None, **BULK)
        await call.wait_for_answer(20)
        await call.hangup()
        await sipp.finished()
    packets = await wire.messages(call.call_id)
    assert all("udp" in packet.protocols for packet in packets)


async def test_big_datagram_is_taken() -> None:
    """Larger than any MTU: the kernel puts it together."""
    handler = Recorder()
    headers = [f"X-Bulk-{number}: {'y' * 500}" for number in range(12)]
    steps = (invite(headers=headers), *receive_final(200), ack(), bye(), receive(200))
    async with await system(handler) as server, Sipp("writes_much", steps, host_port(server)) as sipp:
        incoming = await soon(handler.incoming)
        assert incoming.headers["x-bulk-11"] == "y" * 500
        await sipp.finished()


async def test_route_set_is_followed() -> None:
    """RFC 3261 §12.1.2 and §16.12.1: requests within the dialog carry the Record-Routes, in reverse, to a caller's peer."""
    near, far = "<sip:[local_ip]:[local_port];lr>", "<sip:far.example;lr>"
    contact = "Contact: <sip:peer@there.example>"
    route = "Route: <sip:127.0.0.1:[0-9]+;lr>.*<sip:far.example;lr>"
    steps = (
        receive_request("INVITE"),
        respond("200 OK", sdp(), headers=[contact, f"Record-Route: {far}, {near}"], retransmit=True),
        receive_request("ACK", text=route),
        receive_request("BYE", text=route),
        respond("200 OK", tag=False, headers=()),
    )
    async with await system() as caller, Sipp("is_a_proxy", steps) as sipp:
        call = await dial(caller, sipp.uri)
        await call.wait_for_answer(20)
        await call.hangup()
        await sipp.finished()

    # The other way round: the callee's route set has the order of the INVITE.
    handler = Recorder()
    steps = (
        invite(headers=[f"Record-Route: {near}, {far}"]),
        *receive_final(200, text="Record-Route: <sip:127.0.0.1:[0-9]+;lr>.*<sip:far.example;lr>"),
        _ack_direct(),
        receive_request("BYE", text=route),
        respond("200 OK", tag=False, headers=()),
    )
    async with await system(handler) as server, Sipp("calls_by_proxy", steps, host_port(server)) as sipp:
        call = await soon(handler.established)
        await call.hangup()
        await sipp.finished()


def _ack_direct() -> Step:
    """An ACK as the proxy passes it on: it has taken its Route off."""
    return Step(ack().xml.replace("[routes]\n", ""))


@pytest.mark.parametrize(
    ("headers", "status", "text"),
    [
        (["Require: 100rel, sec-agree, precondition"], 420, "Unsupported: sec-agree.*Unsupported: precondition"),
        (["Proxy-Require: sec-agree"], 200, None),  # for proxies alone: RFC 3261 §20.29
        (["Supported: 100rel, timer, replaces", "Session-Expires: 1800", "Min-SE: 90"], 200, None),
    ],
)
async def test_extensions_of_a_caller(headers: list[str], status: int, text: str | None) -> None:
    ending = (ack(), bye(), receive(200)) if status == 200 else (ack_refusal(),)
    async with await system(Recorder()) as server:
        steps = (invite(headers=headers), *receive_final(status, text=text), *ending)
        async with Sipp("has_extensions", steps, host_port(server)) as sipp:
            await sipp.finished()


async def test_body_that_is_no_sdp_is_refused() -> None:
    """RFC 3261 §8.2.3."""
    steps = (
        request("INVITE", cseq=1, body="<hello/>", content_type="application/xml", label="INVITE"),
        *receive_final(415, text="Accept: application/sdp"),
        ack_refusal(),
    )
    async with await system(Recorder()) as server, Sipp("sends_xml", steps, host_port(server)) as sipp:
        await sipp.finished()
        assert (await SessionControl.get_stats(server)).total_sessions == 0


async def test_requests_within_a_call() -> None:
    """OPTIONS is answered as out of it; INFO that is no digit 415; a method that nobody knows 501; a CSeq of the past 500."""
    handler = Recorder()
    steps = (
        invite(cseq=10, early=True),
        *receive_final(200),
        _ack_first(),
        request("OPTIONS", cseq=11),
        receive(200, text="Allow: [A-Z, ]*INFO"),
        request("INFO", cseq=12, body="Signal=5\nDuration=160", content_type="application/dtmf-relay"),
        receive(200),
        request("INFO", cseq=13, body="hello", content_type="text/plain"),
        receive(415),
        request("JUGGLE", cseq=14),
        receive(501),
        request("OPTIONS", cseq=12),
        receive(500),
        bye(cseq=15),
        receive(200),
    )
    async with await system(handler) as server, Sipp("asks_within", steps, host_port(server)) as sipp:
        assert await soon(handler.digits) == "5"
        await sipp.finished()
        _, reason = await soon(handler.ended)
        assert reason == "remote hangup"


def _ack_first() -> Step:
    return ack(cseq=10)


# ------------------------------------------------------------------------------------------------ peers that vanish


@asynccontextmanager
async def silent_port() -> AsyncIterator[str]:
    """The address of somebody who takes everything and says nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole:
        hole.bind((HOST, free_ports()))
        yield f"{HOST}:{hole.getsockname()[1]}"


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_refused_connection(transport: str) -> None:
    """Nobody has the port: the call fails at once, not after half a minute."""
    async with await system() as caller:
        call = await dial(caller, f"sip:service@{HOST}:{free_ports()};transport={transport}")
        with pytest.raises(CallFailed) as failure:
            await call.wait_for_answer(20)
        assert "refused" in failure.value.cause.lower()
        assert call.state is CallState.FAILED
        assert (await SessionControl.get_stats(caller)).failed_sessions == 1


async def test_name_that_does_not_exist() -> None:
    async with await system() as caller:
        call = await dial(caller, "sip:service@no-such-host.invalid")
        with pytest.raises(CallFailed):
            await call.wait_for_answer(40)
        assert call.state is CallState.FAILED


@pytest.mark.timeout(150)
async def test_peers_that_vanish(wire: Capture) -> None:
    """Everything that lasts 64*T1, side by side."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_no_answer_to_our_invite(wire))
        group.create_task(_no_ack())
        group.create_task(_no_answer_to_our_bye(wire))
        group.create_task(_no_answer_to_our_hold())


async def _no_answer_to_our_invite(wire: Capture) -> None:
    async with await system() as caller, silent_port() as hole:
        call = await dial(caller, f"sip:service@{hole}")
        with pytest.raises(CallFailed) as failure:
            await call.wait_for_answer(GIVEN_UP + 30)
        assert failure.value.status == 408
        assert call.state is CallState.FAILED
        packets = lines(await wire.messages(call.call_id), "INVITE", "1 INVITE")
        # RFC 3261 §17.1.1.2: at 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s; timer B ends it at 32 s.
        assert len(packets) == 7, [packet.time - packets[0].time for packet in packets]


async def _no_ack() -> None:
    """RFC 3261 §13.3.1.4: the dialog is given up, with a BYE."""
    handler = Recorder()
    steps = (invite(), *receive_final(200), *receive_bye())
    async with await system(handler) as server, Sipp("acks_not", steps, host_port(server)) as sipp:
        await sipp.finished(GIVEN_UP + 40)
        call, _ = await soon(handler.ended)
        assert call.state is CallState.FAILED
        assert await SessionControl.list_active_sessions(server) == []


async def _no_answer_to_our_bye(wire: Capture) -> None:
    """The call is over for us at once; the BYE goes on behind, for 32 s at most."""
    steps = (receive_request("INVITE"), accept(), receive_request("ACK"))
    async with await system() as caller, silent_port() as hole:
        moved = Step(steps[1].xml.replace("sip:peer@[local_ip]:[local_port];transport=[transport]", f"sip:peer@{hole}"))
        async with Sipp("is_gone", (steps[0], moved, steps[2])) as sipp:
            call = await dial(caller, sipp.uri)
            await call.wait_for_answer(20)
            await call.hangup()
            assert call.state is CallState.TERMINATED
            assert await SessionControl.list_active_sessions(caller) == []
            # RFC 3261 §17.1.2.2: at 0, 0.5, 1.5, 3.5, and then each 4 s until 32 s.
            packets = await wire.messages(
                call.call_id,
                lambda packets: len(lines(packets, "BYE", "2 BYE")) == 11,
                "the last BYE",
                seconds=GIVEN_UP + 20,
            )
            assert 31 < packets[-1].time - lines(packets, "BYE", "2 BYE")[0].time < 33 + 10


async def _no_answer_to_our_hold() -> None:
    """RFC 3261 §12.2.1.2: no answer within the dialog is the end of it."""
    handler = Recorder()
    async with await system(handler) as caller, silent_port() as hole:
        steps = (receive_request("INVITE"), accept(), receive_request("ACK"))
        moved = Step(steps[1].xml.replace("sip:peer@[local_ip]:[local_port];transport=[transport]", f"sip:peer@{hole}"))
        async with Sipp("answers_nothing", (steps[0], moved, steps[2])) as sipp:
            call = await dial(caller, sipp.uri)
            await call.wait_for_answer(20)
            with pytest.raises((CallRejected, CallFailed)) as failure:
                await call.hold()
            assert failure.value.status == 408
            ended, _ = await soon(handler.ended)
            assert ended.id == call.id and call.state.is_final
