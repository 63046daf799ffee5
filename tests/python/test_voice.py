"""Voice activity: `MediaControl.detect_voice` and `CallHandler.on_voice_activity`."""

import asyncio

import pytest
from support import Recorder, until
from support.tones import sine
from support.voice import speech

from ringback import CallDecision, CallHandler, CompositeHandler, InvalidState, MediaControl, SessionId, SessionNotFound


async def connected(systems, codec="PCMU", handler=None):
    bob = handler or Recorder()
    called = await systems.start("bob", bob, lambda builder: builder.with_codecs(codec))
    caller = await systems.start("alice", None, lambda builder: builder.with_codecs(codec))
    call = await systems.answered(caller, called)
    return caller, call, called, bob


@pytest.mark.parametrize("codec", ["PCMU", "G722"])
async def test_speech_is_told_and_its_end(systems, codec):
    caller, call, called, bob = await connected(systems, codec)
    (other, *_) = await bob.wait("established")
    await MediaControl.detect_voice(called, other.id)
    stream = await MediaControl.open_audio(caller, call.id, sample_rate=16000)
    await stream.write(speech(2.0))
    assert await bob.wait("voice", timeout=15) == (other, True)
    assert await bob.wait("voice", 2, timeout=15) == (other, False)
    await MediaControl.detect_voice(called, other.id, False)
    await stream.write(speech(1.0))
    await stream.flush()
    assert len(bob.of("voice")) == 2


async def test_tones_are_no_voice(systems):
    caller, call, called, bob = await connected(systems)
    (other, *_) = await bob.wait("established")
    await MediaControl.detect_voice(called, other.id)
    stream = await MediaControl.open_audio(caller, call.id, sample_rate=8000)
    await stream.write(sine(440, 2.0, 8000))
    await stream.flush()
    assert bob.of("voice") == []


async def test_barge_in_stops_what_is_being_said(systems):
    """The caller begins to speak, the bot falls silent and knows how much was heard."""

    class Bot(Recorder):
        def on_voice_activity(self, call, speaking):
            super().on_voice_activity(call, speaking)
            if speaking:
                self.heard = self.stream.clear()

    bot = Bot()
    caller, call, called, _ = await connected(systems, handler=bot)
    (other, *_) = await bot.wait("established")
    bot.stream = await MediaControl.open_audio(called, other.id, sample_rate=8000)
    await MediaControl.detect_voice(called, other.id, onset=0.05, hangover=0.3)
    saying = asyncio.create_task(bot.stream.write(sine(500, 60.0, 8000)))
    caller_says = await MediaControl.open_audio(caller, call.id, sample_rate=16000)
    await caller_says.write(speech(2.0))
    await bot.wait("voice", timeout=15)
    saying.cancel()
    assert 0 < bot.heard < 60 * 8000
    await until(lambda: bot.stream.played_samples >= bot.heard, what="what was counted")


async def test_events_reach_the_handlers_that_want_them(systems):
    class Deaf(CallHandler):
        def on_incoming_call(self, call):
            return CallDecision.Accept()

    hears = Recorder()
    both = CompositeHandler(Deaf(), hears)
    caller, call, called, _ = await connected(systems, handler=both)
    (other, *_) = await hears.wait("established")
    await MediaControl.detect_voice(called, other.id)
    stream = await MediaControl.open_audio(caller, call.id, sample_rate=16000)
    await stream.write(speech(1.0))
    await hears.wait("voice", timeout=15)


async def test_bad_times_and_calls(systems):
    caller, call, _, _ = await connected(systems)
    for times in [{"onset": 0.01}, {"onset": 2.5}, {"hangover": 0.05}, {"hangover": 11}, {"hangover": -1}]:
        with pytest.raises(ValueError, match=next(iter(times))):
            await MediaControl.detect_voice(caller, call.id, **times)
    with pytest.raises(TypeError, match="onset"):
        await MediaControl.detect_voice(caller, call.id, onset="0.1")
    with pytest.raises(SessionNotFound):
        await MediaControl.detect_voice(caller, SessionId())
    await call.hangup()
    with pytest.raises(InvalidState):
        await MediaControl.detect_voice(caller, call.id)
    await MediaControl.detect_voice(caller, call.id, False)
