"""Calls with PJSIP (PJSUA2), an independent stack with its own ideas of what is usual."""

import asyncio

import pytest
from pjsua_peer import Pjsua
from systems import Recorder, dial, dominant_frequency, hear, host_port, soon, system, tone, until

from ringback import (
    AudioStream,
    CallDecision,
    CallRejected,
    CallSession,
    CallState,
    MediaControl,
    SessionControl,
    TransferFailed,
)

pytestmark = pytest.mark.peer("pjsua2")
EXPECTED = ("sip", "sdp", "rtp", "rtcp", "rtpevent", "tcp", "udp")


async def exchange_tones(call: CallSession, peer: Pjsua, ours: float) -> None:
    """Each side plays a tone, and the other hears it at the right frequency."""
    stream = await MediaControl.open_audio(call.coordinator, call.id, sample_rate=8000)
    sending = asyncio.create_task(send(stream, ours))
    since = peer.heard().size
    try:
        measured = dominant_frequency(await hear(stream, 2), 8000)
        assert measured is not None and abs(measured - peer.frequency) < 5, f"we heard {measured} Hz"

        def right() -> bool:
            found = dominant_frequency(peer.heard()[since:], 8000)
            return found is not None and abs(found - ours) < 5

        await until(right, what=f"{ours} Hz at PJSUA")
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await stream.close()


async def send(stream: AudioStream, frequency: float) -> None:
    while True:
        await stream.write(tone(frequency, 1))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_we_call_pjsua(transport: str) -> None:
    async with Pjsua(660.0) as peer, await system() as caller:
        call = await dial(caller, peer.uri(transport))
        await call.wait_for_answer(20)
        await exchange_tones(call, peer, 450.0)
        await call.hangup()
        await peer.until_state("disconnected")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_pjsua_calls_us(transport: str) -> None:
    handler = Recorder()
    async with await system(handler) as server, Pjsua(520.0) as peer:
        await peer.do("call", uri=f"sip:service@{host_port(server)};transport={transport}")
        call = await soon(handler.established)
        await exchange_tones(call, peer, 880.0)
        await peer.do("hangup")
        assert (await soon(handler.ended))[1] == "remote hangup"


async def test_holding_both_ways() -> None:
    async with Pjsua(610.0) as peer, await system() as caller:
        call = await dial(caller, peer.uri())
        await call.wait_for_answer(20)
        await peer.until_event("media", status="active")
        await call.hold()
        await peer.until_event("media", status="remote hold")
        assert call.state is CallState.ON_HOLD
        await call.resume()
        await peer.until_event("media", status="active", count=2)
        await peer.do("hold")
        await until(lambda: call.remote_hold, what="being held")
        # Our answer is there; before it PJSUA may not offer again.
        await peer.until_event("media", status="local hold")
        await peer.do("unhold")
        await until(lambda: not call.remote_hold, what="being resumed")
        await exchange_tones(call, peer, 450.0)
        await call.hangup()


async def test_digits_both_ways() -> None:
    handler = Recorder()
    digits = "159*#0D"
    async with await system(handler) as server, Pjsua(520.0) as peer:
        await peer.do("call", uri=server.local_address)
        call = await soon(handler.established)
        await peer.until_event("media", status="active")
        await SessionControl.send_dtmf(server, call.id, digits)
        await until(lambda: peer.digits() == digits, what=f"all digits at PJSUA, which has {peer.digits()!r}")
        await peer.do("digits", digits="77#")
        assert [await soon(handler.digits) for _ in range(3)] == ["7", "7", "#"]
        await call.hangup()


async def test_refusals_and_giving_up_both_ways() -> None:
    busy = Recorder(decision=CallDecision.Reject("Busy Here", status=486))
    async with await system(busy) as server, Pjsua(520.0, answer=486) as peer:
        await peer.do("call", uri=server.local_address)
        assert (await peer.until_state("disconnected"))["code"] == 486
        call = await dial(server, peer.uri())
        with pytest.raises(CallRejected) as caught:
            await call.wait_for_answer(20)
        assert caught.value.status == 486
    handler = Recorder(decision=CallDecision.Defer())
    async with await system(handler) as server, Pjsua(520.0, answer=180) as peer:
        await peer.do("call", uri=server.local_address)
        await peer.until_state("early")
        await peer.do("hangup")
        call, reason = await soon(handler.ended)
        assert (call.state, reason) == (CallState.CANCELLED, "cancelled")
        ours = await dial(server, peer.uri())
        await until(lambda: ours.state is CallState.RINGING, what="180")
        await ours.hangup()
        await peer.until_state("disconnected", count=2)


async def test_pjsua_is_forwarded_to_pjsua() -> None:
    """Holding passes between the legs, too."""
    async with Pjsua(520.0) as first, Pjsua(710.0) as second:
        handler = Recorder(decision=CallDecision.Forward(second.uri()))
        async with await system(handler) as server:
            await first.do("call", uri=server.local_address)
            await first.until_state("confirmed")
            await second.until_event("media", status="active")
            for peer, other in ((first, second), (second, first)):
                await until(lambda: _hears(peer, other.frequency), what="the other's tone")  # noqa: B023
            await first.do("hold")
            await second.until_event("media", status="remote hold")
            # The answer has come back to it.
            await first.until_event("media", status="local hold")
            await first.do("unhold")
            await second.until_event("media", status="active", count=2)
            await second.do("hangup")
            await first.until_state("disconnected")


def _hears(peer: Pjsua, frequency: float) -> bool:
    found = dominant_frequency(peer.heard(), 8000)
    return found is not None and abs(found - frequency) < 5


async def test_offers_without_what_we_know_are_refused() -> None:
    async with await system(Recorder(), codecs=("PCMA",)) as server, Pjsua(520.0, codecs=("PCMU",)) as peer:
        await peer.do("call", uri=server.local_address)
        assert (await peer.until_state("disconnected"))["code"] == 488


class Transferable(Recorder):
    """Agrees to every transfer."""

    def on_transfer_request(self, call: CallSession, target: str) -> bool:
        return True


async def test_we_transfer_pjsua_to_pjsua() -> None:
    """Blind: REFER; our call ends when the other has answered."""
    async with Pjsua(520.0) as first, Pjsua(710.0) as second, await system() as caller:
        call = await dial(caller, first.uri())
        await call.wait_for_answer(20)
        await call.transfer(second.uri())
        await second.until_state("confirmed")
        await asyncio.wait_for(call.wait_ended(), 20)
        assert call.state is CallState.TERMINATED
        await until(lambda: _hears(first, second.frequency), what="the other's tone")


async def test_a_transfer_that_fails_leaves_the_call() -> None:
    async with Pjsua(520.0) as first, Pjsua(710.0, answer=486) as second, await system() as caller:
        call = await dial(caller, first.uri())
        await call.wait_for_answer(20)
        with pytest.raises(TransferFailed) as caught:
            await call.transfer(second.uri())
        assert caught.value.status == 486
        assert call.state is CallState.ACTIVE
        await exchange_tones(call, first, 450.0)
        await call.hangup()


async def test_we_transfer_with_consultation() -> None:
    """Attended: the first telephone takes our place in the call with the second (Replaces)."""
    async with Pjsua(520.0) as first, Pjsua(710.0) as second, await system() as caller:
        call, consultation = await dial(caller, first.uri()), await dial(caller, second.uri())
        for each in (call, consultation):
            await each.wait_for_answer(20)
        await SessionControl.transfer_session(caller, call.id, consultation.id)
        await asyncio.wait_for(consultation.wait_ended(), 20)
        await asyncio.wait_for(call.wait_ended(), 20)
        await second.until_state("confirmed", count=2)
        await until(lambda: _hears(first, second.frequency), what="the other's tone")


async def test_pjsua_transfers_us() -> None:
    handler = Transferable()
    async with await system(handler) as server, Pjsua(520.0) as first, Pjsua(710.0) as second:
        await first.do("call", uri=server.local_address)
        call = await soon(handler.established)
        await first.do("transfer", uri=second.uri())
        await second.until_state("confirmed")
        await first.until_event("transfer status", code=200)
        assert await asyncio.wait_for(call.wait_ended(), 20)
        other = await soon(handler.established)
        assert other.id != call.id and other.to_uri == second.uri()
        await exchange_tones(other, second, 450.0)
        await other.hangup()


async def test_a_transfer_that_nobody_wants_is_refused() -> None:
    handler = Recorder()
    async with await system(handler) as server, Pjsua(520.0) as first:
        await first.do("call", uri=server.local_address)
        call = await soon(handler.established)
        await first.do("transfer", uri="sip:somebody@127.0.0.1")
        await first.until_event("transaction", method="REFER", code=603)
        assert call.state is CallState.ACTIVE
        await exchange_tones(call, first, 450.0)
        await call.hangup()


async def test_pjsua_transfers_us_with_consultation() -> None:
    """It has a call with each of two systems of ours, and joins the two."""
    one, two = Transferable(), Recorder()
    async with await system(one) as first, await system(two) as second, Pjsua(520.0) as peer:
        await peer.do("call", uri=first.local_address)
        await soon(one.established)
        await peer.do("call", uri=second.local_address)
        replaced = await soon(two.established)
        await peer.until_state("confirmed", count=2)
        begun = peer.of("state", state="confirmed")
        await peer.do("transfer to call", call=begun[0]["call"], other=begun[1]["call"])
        ours, theirs = await soon(one.established), await soon(two.established)
        assert theirs.id != replaced.id
        await asyncio.wait_for(replaced.wait_ended(), 20)
        stream = await MediaControl.open_audio(second, theirs.id, sample_rate=8000)
        playing = asyncio.create_task(MediaControl.play_tone(first, ours.id, [450.0], duration=30))
        measured = dominant_frequency(await hear(stream, 1), 8000)
        assert measured is not None and abs(measured - 450) < 5
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        await ours.hangup()


async def test_messages_both_ways() -> None:
    handler = Recorder()
    async with await system(handler) as server, Pjsua(520.0) as peer:
        await SessionControl.send_message(server, server.local_address, peer.uri(), "Grüße, 世界")
        assert (await peer.until_event("message"))["text"] == "Grüße, 世界"
        await peer.do("message", uri=server.local_address, text="and back: ü")
        message = await soon(handler.messages)
        assert (message.body, message.content_type.partition(";")[0]) == ("and back: ü", "text/plain")
        await peer.until_event("message status", code=200)
