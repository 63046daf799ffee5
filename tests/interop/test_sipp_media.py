"""Media negotiated with SIPp: early media, late offers, another port or codec in the middle of a call, telephone-events.

SIPp sends back the RTP that it gets (`echo`): a tone of ours that we hear again has gone to where SIPp's SDP says, in a codec that it
knows, and has come back from an address that we accept.
"""

import asyncio

import pytest
from capture import Capture
from g711 import decode
from judge import is_true
from scenario import (
    EVENTS,
    G729,
    PCMA,
    PCMU,
    accept,
    ack,
    ack_refusal,
    bye,
    invite,
    receive,
    receive_bye,
    receive_final,
    receive_invite,
    receive_request,
    respond,
    sdp,
    wait_for_go_on,
    wait_for_poke,
)
from sipp_peer import Sipp
from systems import (
    Recorder,
    check_echo,
    dial,
    dominant_frequency,
    go_on,
    host_port,
    soon,
    system,
    until_media,
    until_received,
)

from ringback import CallDecision, CallFailed, CallState, DtmfMethod, MediaControl, SessionControl

pytestmark = pytest.mark.peer("sipp")
EXPECTED = ("sip", "sdp", "rtp", "rtcp", "rtpevent")


async def test_early_media_received() -> None:
    """A callee that sends sound before it answers: it is received while the call rings."""
    handler = Recorder()
    steps = (
        receive_invite(),
        respond("183 Session Progress", sdp()),
        wait_for_poke(),
        accept(remembered=True),
        receive_request("ACK"),
        *receive_bye(),
    )
    async with Sipp("early", steps, echo=True) as sipp, await system(handler) as caller:
        call = await dial(caller, sipp.uri)
        status, description = await soon(handler.progress)
        assert status == 183
        assert description is not None and "m=audio" in description
        await until_received(call, 10)
        assert call.state is CallState.RINGING
        sipp.poke(call.call_id)
        await call.wait_for_answer(20)
        await check_echo(call, 600)
        await call.hangup()
        await sipp.finished()


async def test_early_media_sent(wire: Capture) -> None:
    """Queue music: 183 with our answer, a tone before the call is answered, and the same answer in the 200."""
    handler = Recorder(decision=CallDecision.Defer())
    port = r"m=audio [1-9][0-9]* RTP/AVP 0"
    steps = (
        invite(),
        receive(100, optional=True),
        receive(180, optional=True),
        receive(183, text=port),
        receive(200, text=port),
        ack(),
        *receive_bye(),
    )
    async with await system(handler) as server, Sipp("hears_early", steps, host_port(server), echo=True) as sipp:
        incoming = await soon(handler.incoming)
        call = await SessionControl.progress_incoming_call(server, incoming)
        music = asyncio.create_task(MediaControl.play_tone(server, call.id, [500.0], duration=60))
        await until_received(call, 60)
        assert call.state is CallState.RINGING
        music.cancel()
        await asyncio.gather(music, return_exceptions=True)
        info = await MediaControl.get_media_info(server, call.id)
        assert info is not None and info.local_address is not None
        await incoming.accept()
        await check_echo(call, 700)
        await call.hangup()
        await sipp.finished()
    messages = await wire.messages(call.call_id)
    answers = {
        tuple(packet.all("sdp.media")) for packet in messages if packet.line.startswith(("SIP/2.0 183", "SIP/2.0 200"))
    }
    answers.discard(())
    assert len(answers) == 1, f"183 and 200 differ: {answers}"
    answered = next(packet.time for packet in messages if packet.line.startswith("SIP/2.0 200"))
    port_number = int(info.local_address.rpartition(":")[2])
    sent = await wire.packets(f"rtp && udp.srcport == {port_number}", lambda packets: len(packets) > 60, "our RTP")
    early = [packet for packet in sent if packet.time < answered]
    measured = dominant_frequency(decode(early), 8000)
    assert measured is not None and abs(measured - 500) < 10, f"{measured} Hz before the answer"


@pytest.mark.parametrize("codec", [PCMU, PCMA])
async def test_late_offer(codec: tuple[str, str]) -> None:
    """An INVITE without SDP: the offer is in our 200, the answer in the ACK."""
    handler = Recorder()
    steps = (
        invite(None),
        *receive_final(200, text="m=audio [1-9][0-9]* RTP/AVP 96 9 0 8 101 102"),
        ack(body=sdp(codec)),
        *wait_for_go_on(),
        bye(),
        receive(200),
    )
    async with await system(handler) as server, Sipp("offers_late", steps, host_port(server), echo=True) as sipp:
        assert (await soon(handler.incoming)).sdp is None
        call = await soon(handler.established)
        await until_media(call, codec[1].partition("/")[0], sipp.media_port)
        await check_echo(call, 620)
        await go_on(call)
        await sipp.finished()


async def test_late_offer_that_is_not_answered() -> None:
    """No answer in the ACK, no session: we hang up (RFC 3261 §13.2.1)."""
    handler = Recorder()
    steps = (invite(None), *receive_final(200), ack(), *receive_bye())
    async with await system(handler) as server, Sipp("answers_not", steps, host_port(server)) as sipp:
        await sipp.finished()
        call, _ = await soon(handler.ended)
        assert call.state is CallState.FAILED
        assert handler.established.empty()


@pytest.mark.parametrize(("first", "second"), [(PCMU, PCMA), (PCMA, PCMU)])
async def test_peer_moves_port_and_codec(first: tuple[str, str], second: tuple[str, str]) -> None:
    handler = Recorder()
    steps = (
        invite(sdp(first)),
        *receive_final(200),
        ack(),
        *wait_for_go_on(),
        # The port alone, the codec alone, both.
        invite(sdp(first, version=2, port="[media_port+2]"), cseq=2),
        *receive_final(200),
        ack(cseq=2),
        *wait_for_go_on(),
        invite(sdp(second, version=3, port="[media_port+2]"), cseq=3),
        *receive_final(200),
        ack(cseq=3),
        *wait_for_go_on(),
        invite(sdp(first, version=4), cseq=4),
        *receive_final(200),
        ack(cseq=4),
        *wait_for_go_on(),
        bye(cseq=5),
        receive(200),
    )
    async with await system(handler) as server, Sipp("moves", steps, host_port(server), echo=True) as sipp:
        call = await soon(handler.established)
        for turn, (codec, offset) in enumerate([(first, 0), (first, 2), (second, 2), (first, 0)]):
            await until_media(call, codec[1].partition("/")[0], sipp.media_port + offset)
            await check_echo(call, 500 + 50 * turn)
            await go_on(call)
        await sipp.finished()


async def test_peer_moves_by_a_late_offer() -> None:
    """A re-INVITE without SDP (as a transferring PBX sends it): our offer in the 200, its answer with another port in the ACK."""
    handler = Recorder()
    steps = (
        invite(),
        *receive_final(200),
        ack(),
        *wait_for_go_on(),
        invite(None, cseq=2),
        *receive_final(200, text="m=audio [1-9][0-9]* RTP/AVP 96 9 0 8"),
        ack(cseq=2, body=sdp(PCMA, version=2, port="[media_port+2]")),
        *wait_for_go_on(),
        bye(cseq=3),
        receive(200),
    )
    async with await system(handler) as server, Sipp("moves_late", steps, host_port(server), echo=True) as sipp:
        call = await soon(handler.established)
        await check_echo(call, 550)
        await go_on(call)
        await until_media(call, "PCMA", sipp.media_port + 2)
        await check_echo(call, 650)
        await go_on(call)
        await sipp.finished()


async def test_we_offer_again_and_peer_moves() -> None:
    steps = (
        receive_request("INVITE"),
        accept(),
        receive_request("ACK"),
        receive_request("INVITE", text="m=audio [1-9][0-9]* RTP/AVP 96 9 0 8 101 102"),
        accept(sdp(PCMA, version=2, port="[media_port+2]"), tag=False),
        receive_request("ACK"),
        *receive_bye(),
    )
    async with Sipp("is_offered", steps, echo=True) as sipp, await system() as caller:
        call = await dial(caller, sipp.uri)
        await call.wait_for_answer(20)
        await check_echo(call, 480)
        await SessionControl.update_media(caller, call.id)
        await until_media(call, "PCMA", sipp.media_port + 2)
        await check_echo(call, 580)
        await call.hangup()
        await sipp.finished()


async def test_offer_without_a_common_codec_is_refused() -> None:
    handler = Recorder()
    steps = (invite(sdp(G729)), *receive_final(488), ack_refusal())
    async with await system(handler) as server:
        async with Sipp("speaks_g729", steps, host_port(server)) as sipp:
            await sipp.finished()
        call, _ = await soon(handler.ended)
        assert (call.state, call.end_reason) == (CallState.REJECTED, "rejected 488 Not Acceptable Here")


async def test_reoffer_without_a_common_codec_leaves_the_call_as_it_was(wire: Capture) -> None:
    handler = Recorder()
    steps = (
        invite(),
        *receive_final(200),
        ack(),
        *wait_for_go_on(),
        invite(sdp(G729, version=2), cseq=2, label="AGAIN"),
        *receive_final(488),
        ack_refusal(cseq=2, of="AGAIN"),
        *wait_for_go_on(),
        bye(cseq=3),
        receive(200),
    )
    async with await system(handler) as server, Sipp("offers_g729", steps, host_port(server), echo=True) as sipp:
        call = await soon(handler.established)
        await check_echo(call, 510)
        await go_on(call)
        await wire.messages(
            call.call_id, lambda packets: packets[-1].one("sip.CSeq") == "2 ACK", "the ACK to the refusal"
        )
        await check_echo(call, 560)
        await go_on(call)
        await sipp.finished()
        _, reason = await soon(handler.ended)
        assert reason == "remote hangup"


async def test_answer_without_a_common_codec_ends_the_call() -> None:
    """The 2xx is acknowledged all the same, then comes BYE (RFC 3261 §13.2.2.4)."""
    steps = (receive_request("INVITE"), accept(sdp(G729)), receive_request("ACK"), *receive_bye())
    async with Sipp("answers_g729", steps) as sipp, await system() as caller:
        call = await dial(caller, sipp.uri)
        with pytest.raises(CallFailed) as failure:
            await call.wait_for_answer(20)
        assert failure.value.status == 488
        await sipp.finished()


async def test_streams_that_are_not_ours_are_rejected() -> None:
    """RFC 3264 §6: the answer has as many m-lines as the offer, in its order, those without a common use with port 0."""
    handler = Recorder()
    video = ["m=video [media_port+4] RTP/AVP 96", "a=rtpmap:96 H264/90000", "m=application 9 UDP/BFCP *"]
    steps = (
        invite(sdp(more=video)),
        *receive_final(200, text="m=audio [1-9].*m=video 0 RTP/AVP 96.*m=application 0 UDP/BFCP"),
        ack(),
        bye(),
        receive(200),
    )
    async with await system(handler) as server, Sipp("shows_video", steps, host_port(server)) as sipp:
        await sipp.finished()


@pytest.mark.parametrize("payload_type", ["101", "96", "127"])
async def test_digits_by_the_payload_type_of_the_offer(payload_type: str, wire: Capture) -> None:
    """SIPp echoes our telephone-events: what we sent is what we understand, once each."""
    handler = Recorder()
    events = (payload_type, EVENTS[1])
    steps = (
        invite(sdp(PCMU, events, more=[f"a=fmtp:{payload_type} 0-15"])),
        *receive_final(200, text=f"a=rtpmap:{payload_type} telephone-event/8000"),
        ack(),
        *receive_bye(),
    )
    digits = "1122*#0ABCD"
    async with await system(handler) as server, Sipp("has_events", steps, host_port(server), echo=True) as sipp:
        call = await soon(handler.established)
        await check_echo(call, 640)
        await SessionControl.send_dtmf(server, call.id, digits, method=DtmfMethod.RTP_EVENT, duration_ms=80, gap_ms=60)
        assert [await soon(handler.digits) for _ in digits] == list(digits)
        info = await MediaControl.get_media_info(server, call.id)
        assert info is not None and info.local_address is not None
        await call.hangup()
        await sipp.finished()
        assert handler.digits.empty()
    port = info.local_address.rpartition(":")[2]

    def ends(packets: object) -> bool:
        return sum(is_true(packet.one("rtpevent.end_of_event")) for packet in packets) == 3 * len(digits)  # type: ignore[attr-defined]

    sent = await wire.packets(f"rtpevent && udp.srcport == {port}", ends, "three ends of each digit")
    assert {packet.one("rtp.p_type") for packet in sent} == {payload_type}
    lengths = {packet.number("rtpevent.duration") for packet in sent if is_true(packet.one("rtpevent.end_of_event"))}
    assert lengths == {640}, f"80 ms are 640 units, not {lengths}"
