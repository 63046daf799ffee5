"""Calls with baresip, each side playing a tone that the other side's recording must show at the right frequency."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from baresip_peer import Baresip
from capture import Capture, Packet
from g711 import decode
from systems import Recorder, dial, dominant_frequency, hear, host_port, soon, system, tone, until

from ringback import (
    AudioStream,
    CallDecision,
    CallSession,
    CallState,
    DtmfMethod,
    MediaControl,
    MediaStatistics,
    SessionControl,
)

pytestmark = pytest.mark.peer("baresip")
EXPECTED = ("sip", "sdp", "rtp", "rtcp", "rtpevent", "tcp", "udp")


async def exchange_tones(call: CallSession, peer: Baresip, ours: float) -> None:
    """Plays `ours` to the peer and listens to its tone; each must arrive at the right frequency."""
    stream = await MediaControl.open_audio(call.coordinator, call.id, sample_rate=8000)
    before = peer.heard().size
    await stream.write(tone(ours, 2))
    measured = dominant_frequency(await hear(stream, 2), 8000)
    await stream.flush()
    await stream.close()
    assert measured is not None and abs(measured - peer.frequency) < 3, f"we heard {measured} Hz of {peer.frequency}"
    await until_heard(peer, ours, before)


async def until_heard(peer: Baresip, frequency: float, since: int = 0) -> None:
    """Waits until `frequency` is what baresip's recording has most of, since sample `since`."""

    def measured() -> float | None:
        return dominant_frequency(peer.heard()[since:], 8000)

    def right() -> bool:
        found = measured()
        return found is not None and abs(found - frequency) < 3

    try:
        await until(right, what=f"{frequency} Hz at baresip")
    except AssertionError:
        raise AssertionError(f"baresip heard {measured()} Hz of {frequency}") from None


async def send(stream: AudioStream, frequency: float) -> None:
    """Sends a tone for ever."""
    while True:
        await stream.write(tone(frequency, 1))


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_we_call_baresip(codec: str, transport: str) -> None:
    async with Baresip(660.0, codec=codec) as peer, await system(Recorder()) as caller:
        call = await dial(caller, peer.uri(transport))
        await call.wait_for_answer(20)
        info = await MediaControl.get_media_info(caller, call.id)
        assert info is not None and info.codec == codec
        await exchange_tones(call, peer, 450.0)
        await call.hangup()
        await peer.until_event("CALL_CLOSED")


@pytest.mark.parametrize("codec", ["G722", "opus"])
async def test_wideband_both_ways(codec: str) -> None:
    """What we prefer is taken where the peer has it; the frequencies tell that both mean the same by it."""
    handler = Recorder()
    async with Baresip(660.0, codec=codec) as peer, await system(handler) as ours:
        call = await dial(ours, peer.uri())
        await call.wait_for_answer(20)
        info = await MediaControl.get_media_info(ours, call.id)
        assert info is not None and info.codec == codec
        assert info.sample_rate == (48_000 if codec == "opus" else 16_000)
        await exchange_tones(call, peer, 450.0)
        await call.hangup()
        await peer.until_event("CALL_CLOSED")
        handler.established = asyncio.Queue()
        await peer.command("dial", ours.local_address)
        call = await soon(handler.established)
        info = await MediaControl.get_media_info(ours, call.id)
        assert info is not None and info.codec == codec
        await exchange_tones(call, peer, 880.0)
        await call.hangup()


async def test_a_wideband_and_a_narrowband_peer_are_transcoded() -> None:
    async with Baresip(660.0, codec="opus") as wide, Baresip(450.0, codec="PCMA") as narrow, await system() as ours:
        calls = [await dial(ours, peer.uri()) for peer in (wide, narrow)]
        for call in calls:
            await call.wait_for_answer(20)
        await ours.bridge_sessions(calls[0].id, calls[1].id)
        await until_heard(wide, narrow.frequency)
        await until_heard(narrow, wide.frequency)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_baresip_calls_us(transport: str) -> None:
    handler = Recorder()
    async with await system(handler) as server, Baresip(520.0) as peer:
        await peer.command("dial", f"sip:service@{host_port(server)};transport={transport}")
        incoming = await soon(handler.incoming)
        assert incoming.transport == transport
        call = await soon(handler.established)
        await exchange_tones(call, peer, 880.0)
        await peer.command("hangup")
        _, reason = await soon(handler.ended)
        assert reason == "remote hangup"


async def test_baresip_holds_us(wire: Capture) -> None:
    """While it holds us we send nothing; afterwards both tones are there again."""
    handler = Recorder()
    async with await system(handler) as server, Baresip(520.0) as peer:
        await peer.command("dial", server.local_address)
        call = await soon(handler.established)
        await exchange_tones(call, peer, 880.0)
        await peer.command("hold")
        await until(lambda: call.remote_hold, what="being held")
        assert call.state is CallState.ACTIVE
        before = await statistics(call)
        await asyncio.sleep(0.5)  # of silence
        assert (await statistics(call)).packets_sent == before.packets_sent
        await peer.command("resume")
        await until(lambda: not call.remote_hold, what="being resumed")
        await exchange_tones_after_hold(call, peer, 990.0, wire)
        await call.hangup()
        await peer.until_event("CALL_CLOSED")


async def test_we_hold_baresip(wire: Capture) -> None:
    async with Baresip(610.0) as peer, await system() as caller:
        call = await dial(caller, peer.uri())
        await call.wait_for_answer(20)
        await exchange_tones(call, peer, 450.0)
        await call.hold()
        assert call.state is CallState.ON_HOLD
        info = await MediaControl.get_media_info(caller, call.id)
        assert info is not None and info.remote_sdp is not None and "a=recvonly" in info.remote_sdp
        await call.resume()
        assert call.state is CallState.ACTIVE
        await exchange_tones_after_hold(call, peer, 760.0, wire)
        await call.hangup()


async def exchange_tones_after_hold(call: CallSession, peer: Baresip, ours: float, wire: Capture) -> None:
    """As `exchange_tones`. baresip's recorder (sndfile.so 1.0.0) ends with the first hold, so what we send is heard on the wire, and
    that baresip takes it is seen from its reports."""
    stream = await MediaControl.open_audio(call.coordinator, call.id, sample_rate=8000)
    sending = asyncio.create_task(send(stream, ours))
    try:
        measured = dominant_frequency(await hear(stream, 2), 8000)
        assert measured is not None and abs(measured - peer.frequency) < 3, (
            f"we heard {measured} Hz of {peer.frequency}"
        )
        info = await MediaControl.get_media_info(call.coordinator, call.id)
        assert info is not None and info.local_address is not None
        port = info.local_address.rpartition(":")[2]

        def right(packets: Sequence[Packet]) -> bool:
            found = dominant_frequency(decode(packets[-50:]), 8000)
            return found is not None and abs(found - ours) < 3

        sent = await wire.packets(f"rtp && udp.srcport == {port}", right, f"{ours} Hz")
        reported = f"rtcp.ssrc.ext_high && udp.dstport == {int(port) + 1}"
        highest = sent[-1].number("rtp.seq")
        await wire.packets(
            reported,
            lambda packets: bool(packets) and (packets[-1].number("rtcp.ssrc.high_seq") - highest) % 65536 < 32768,
            "baresip's report of what it got after the hold",
        )
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await stream.close()


async def statistics(call: CallSession) -> MediaStatistics:
    found = await MediaControl.get_media_statistics(call.coordinator, call.id)
    assert found is not None
    return found


async def test_digits_both_ways() -> None:
    """As telephone-events."""
    handler = Recorder()
    digits = "0123456789*#ABCD"
    async with await system(handler) as server, Baresip(520.0) as peer:
        await peer.command("dial", server.local_address)
        call = await soon(handler.established)
        await SessionControl.send_dtmf(server, call.id, digits, method=DtmfMethod.RTP_EVENT, duration_ms=60, gap_ms=60)
        await until(lambda: peer.digits() == digits, what=f"all digits at baresip, which has {peer.digits()!r}")
        for digit in "159#*0":
            await peer.command("sndcode", digit)
            assert await soon(handler.digits) == digit
        # The same digit twice is two digits.
        for _ in range(2):
            await peer.command("sndcode", "7")
            assert await soon(handler.digits) == "7"
        await call.hangup()
        await peer.until_event("CALL_CLOSED")
        assert handler.digits.empty()


async def test_we_give_up_calling_baresip() -> None:
    async with Baresip(610.0, answer=False) as peer, await system() as caller:
        call = await dial(caller, peer.uri())
        await until(lambda: call.state is CallState.RINGING, what="180")
        await call.hangup()
        assert call.state is CallState.CANCELLED
        await peer.until_event("CALL_CLOSED")


async def test_baresip_gives_up_calling_us() -> None:
    handler = Recorder(decision=CallDecision.Defer())
    async with await system(handler) as server, Baresip(610.0) as peer:
        await peer.command("dial", server.local_address)
        await soon(handler.incoming)
        await peer.until_event("CALL_RINGING")
        await peer.command("hangup")
        call, reason = await soon(handler.ended)
        assert (call.state, reason) == (CallState.CANCELLED, "cancelled")


async def test_early_media_for_baresip() -> None:
    """It hears our announcement before the call is answered."""
    handler = Recorder(decision=CallDecision.Defer())
    async with await system(handler) as server, Baresip(610.0) as peer:
        await peer.command("dial", server.local_address)
        incoming = await soon(handler.incoming)
        call = await SessionControl.progress_incoming_call(server, incoming)
        announcement = asyncio.create_task(MediaControl.play_tone(server, call.id, [720.0], duration=60))
        await until_heard(peer, 720.0)
        assert call.state is CallState.RINGING
        announcement.cancel()
        await asyncio.gather(announcement, return_exceptions=True)
        await incoming.accept()
        await exchange_tones(call, peer, 450.0)
        await call.hangup()


async def test_two_baresips_are_bridged() -> None:
    """Each hears the other's tone through us: one has called us, the other is called by us."""
    handler = Recorder()
    async with await system(handler) as server, Baresip(520.0) as first, Baresip(710.0, codec="PCMA") as second:
        await first.command("dial", server.local_address)
        inbound = await soon(handler.established)
        outbound = await dial(server, second.uri())
        await outbound.wait_for_answer(20)
        bridge = await server.bridge_sessions(inbound.id, outbound.id)
        await until_heard(first, second.frequency)
        await until_heard(second, first.frequency)
        await server.destroy_bridge(bridge)
        await exchange_tones(inbound, first, 450.0)
        await inbound.hangup()
        await outbound.hangup()


async def test_baresip_is_forwarded_to_baresip() -> None:
    async with Baresip(520.0) as first, Baresip(710.0) as second:
        handler = Recorder(decision=CallDecision.Forward(second.uri()))
        async with await system(handler) as server:
            await first.command("dial", server.local_address)
            await until_heard(first, second.frequency)
            await until_heard(second, first.frequency)
            await first.command("hangup")
            await second.until_event("CALL_CLOSED")
            reasons = {(await soon(handler.ended))[1] for _ in range(2)}
            assert reasons == {"remote hangup", "hangup"}


async def test_statistics_of_a_call_with_baresip() -> None:
    """Both sides' reports arrive: loss, jitter and the round trip are measured, and the quality is that of a clean G.711 call."""
    async with Baresip(610.0) as peer, await system() as caller:
        call = await dial(caller, peer.uri())
        await call.wait_for_answer(20)
        async with asyncio.timeout(40):
            while True:
                statistics = await MediaControl.get_media_statistics(caller, call.id)
                assert statistics is not None
                quality = statistics.quality_metrics
                if quality is not None and quality.round_trip_ms is not None:
                    break
                await asyncio.sleep(0.1)
        assert statistics.codec == "PCMU"
        assert statistics.packets_sent > 50 and statistics.packets_received > 50
        assert statistics.bytes_received == statistics.packets_received * 160
        assert 0 <= quality.round_trip_ms < 1000
        assert statistics.packets_lost == 0 and quality.packet_loss_percent == 0
        assert quality.mos_score is not None and quality.mos_score > 4.0
        await call.hangup()
        assert np.isfinite(quality.jitter_ms)
