"""Speech of espeak-ng over a bad path, judged by ITU-T P.862 (PESQ); and over a good one, in which nobody presses a key."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest
import speech
from g711 import TABLES
from lossy import Left, Path
from numpy.typing import NDArray
from quality import score
from systems import Recorder, builder, dial, soon, system, until

from ringback import (
    AudioStream,
    CallDecision,
    CallHandler,
    CallSession,
    DtmfMethod,
    IncomingCall,
    MediaControl,
    SessionControl,
    SessionCoordinator,
    SessionManagerBuilder,
)

pytestmark = [pytest.mark.peer("espeak-ng"), pytest.mark.peer("pesq"), pytest.mark.timeout(240)]
EXPECTED = ("sip", "sdp", "rtp")
RATE = 8000
# The one that G.711 itself does least to.
VOICE = "en-us+f3"
# A machine that stalls in the middle spoils what it hears, and improves nothing: both sides of a comparison may be heard again, and
# the best of each counts.
TIMES = 3
VOICES = ("en", "en-us+f3", "de", "fr+f2", "es", "it+f4", "en-gb-scotland", "pl", "nl+f1", "sv")


@contextlib.asynccontextmanager
async def call(handler: "Recorder | WithoutFec", codec: str) -> AsyncIterator[tuple[CallSession, CallSession]]:
    """A call in that codec: whoever speaks, and whoever listens."""
    async with await system(handler, codecs=(codec,)) as called, await system(codecs=(codec,)) as caller:
        placed = await dial(caller, called.local_address)
        await placed.wait_for_answer(20)
        yield placed, await soon(handler.established)


async def over(
    path: Path, speaker: CallSession, listener: CallSession, said: NDArray[np.int16], rate: int
) -> NDArray[np.int16]:
    """What is heard of `said` at the other end of the path."""
    await path.between(speaker, listener)
    return await hear_all(speaker, listener, said, rate, path)


async def hear_all(
    speaker: CallSession, listener: CallSession, said: NDArray[np.int16], rate: int, path: Path | None = None
) -> NDArray[np.int16]:
    heard: list[NDArray[np.int16]] = []
    listening = await MediaControl.open_audio(listener.coordinator, listener.id, sample_rate=rate)
    saying = await MediaControl.open_audio(speaker.coordinator, speaker.id, sample_rate=rate)
    pump = asyncio.create_task(collect(listening, heard))
    await frames(heard, 25)  # of silence, in which both have settled
    if path is not None:
        await path.start()
    before = len(heard)
    await saying.write(said)
    await saying.flush()
    await frames(heard, 25)  # until the last of it was played
    pump.cancel()
    return np.concatenate(heard[before:])


async def frames(heard: list[NDArray[np.int16]], more: int) -> None:
    """Waits until so many more of 20 ms have been heard: by the listener's clock, however late this program gets them."""
    wanted = len(heard) + more
    await until(lambda: len(heard) >= wanted, what=f"{more} frames")


async def collect(stream: AudioStream, into: list[NDArray[np.int16]]) -> None:
    async for frame in stream:
        into.append(frame)


def fixed(left: Sequence[Left], wait: float) -> NDArray[np.int16]:
    """What a playout without a mind hears: each packet `wait` after the first came, or silence."""
    first = left[0]
    # Whoever was overtaken by the first lies before it, and is not heard.
    places = [(packet.timestamp - first.timestamp + (1 << 31)) % (1 << 32) - (1 << 31) for packet in left]
    line = np.zeros(max(places) + 160, dtype=np.int16)
    for at, packet in zip(places, left, strict=True):
        due = first.at + wait + at / RATE
        if packet.payload_type == 0 and at >= 0 and packet.at <= due:
            line[at : at + 160] = TABLES[0][np.frombuffer(packet.payload, dtype=np.uint8)][:160]
    return line


def through_g711(said: NDArray[np.int16]) -> NDArray[np.int16]:
    """Each sample as the nearest that mu-law has: no call can be better."""
    values = np.unique(TABLES[0].astype(np.int32))
    return values[np.searchsorted((values[1:] + values[:-1]) / 2, said)].astype(np.int16)


async def test_g711_without_loss_is_as_good_as_it_gets() -> None:
    said = await speech.speak("".join(speech.TEXT[:2]), rate=RATE, voice=VOICE)
    best = score(said, through_g711(said), RATE)
    assert best > 4.2
    ours = []
    while len(ours) < TIMES and max(ours, default=0.0) <= 4.0:
        async with call(Recorder(), "PCMU") as (speaker, listener):
            ours.append(score(said, await hear_all(speaker, listener, said, RATE), RATE))
    print(f"PESQ: ours {ours}, G.711 itself {best:.2f}")
    assert max(ours) > 4.0


async def test_the_jitter_buffer_and_concealment_are_worth_their_while() -> None:
    """5 % loss, and packets late by up to 90 ms: against a fixed delay of 40 ms, and one of 60 ms as ours begins with."""
    said = await speech.speak("".join(speech.TEXT[1:4]), rate=RATE, voice=VOICE)
    ours, naive = [], []
    while len(ours) < TIMES and max(ours, default=0.0) <= max(naive, default=0.0) + 0.3:
        async with call(Recorder(), "PCMU") as (speaker, listener), Path(7, loss=0.05, jitter=0.09) as path:
            ours.append(score(said, await over(path, speaker, listener, said, RATE), RATE))
            left = await path.left()
        naive += [score(said, fixed(left, wait), RATE) for wait in (0.04, 0.06)]
    print(f"PESQ: ours {ours}, fixed {naive}")
    assert max(ours) > max(naive) + 0.3


class WithoutFec(CallHandler):
    """Answers that it does not want forward error correction."""

    def __init__(self) -> None:
        self.established: asyncio.Queue[CallSession] = asyncio.Queue()
        self.coordinator: SessionCoordinator | None = None

    async def on_incoming_call(self, call: IncomingCall) -> CallDecision:
        assert self.coordinator is not None and call.sdp is not None
        answer = await MediaControl.generate_sdp_answer(self.coordinator, call.id, call.sdp)
        assert "useinbandfec=1" in answer
        return CallDecision.Accept(answer.replace("useinbandfec=1", "useinbandfec=0"))

    def on_call_established(self, call: CallSession, local_sdp: str | None, remote_sdp: str | None) -> None:
        self.established.put_nowait(call)


def opus(handler: CallHandler | None = None) -> SessionManagerBuilder:
    """Of more bits it makes other use than copies."""
    return builder(handler).with_codecs("opus").with_opus(bitrate=24_000)


async def test_opus_corrects_what_is_lost() -> None:
    """10 % loss: the same packets are lost with forward error correction and without."""
    said = await speech.speak("".join(speech.TEXT[2:5]), rate=16_000, voice=VOICE)

    async def with_fec(wanted: bool) -> float:
        handler = Recorder() if wanted else WithoutFec()
        async with contextlib.AsyncExitStack() as stack:
            called = await stack.enter_async_context(await opus(handler).build())
            caller = await stack.enter_async_context(await opus().build())
            if isinstance(handler, WithoutFec):
                handler.coordinator = called
            speaker = await dial(caller, called.local_address)
            await speaker.wait_for_answer(20)
            listener = await soon(handler.established)
            path = await stack.enter_async_context(Path(11, loss=0.1))
            heard = await over(path, speaker, listener, said, 16_000)
        return score(said, heard, 16_000)

    corrected, not_corrected = [], []
    while len(corrected) < TIMES and max(corrected, default=0.0) <= max(not_corrected, default=0.0) + 0.1:
        corrected.append(await with_fec(True))
        not_corrected.append(await with_fec(False))
    print(f"PESQ: with FEC {corrected}, without {not_corrected}")
    assert max(corrected) > max(not_corrected) + 0.1


class Listens(CallHandler):
    """Counts digits, and remembers who speaks."""

    def __init__(self) -> None:
        self.digits: list[str] = []
        self.voice: dict[str, list[bool]] = {}

    async def on_incoming_call(self, call: IncomingCall) -> CallDecision:
        return CallDecision.Accept()

    async def on_call_established(self, call: CallSession, local_sdp: str | None, remote_sdp: str | None) -> None:
        await MediaControl.detect_voice(call.coordinator, call.id)

    def on_dtmf(self, call: CallSession, digit: str, duration_ms: int) -> None:
        self.digits.append(digit)

    def on_voice_activity(self, call: CallSession, speaking: bool) -> None:
        self.voice.setdefault(str(call.id), []).append(speaking)


async def test_ten_minutes_of_speech_hold_no_digit() -> None:
    """A minute from each of ten voices, in three calls each and all at the same time, while tones are listened for; and each is taken
    for a voice.
    """
    minutes = [
        np.resize(await speech.speak("".join(speech.TEXT), rate=RATE, voice=voice), 60 * RATE) for voice in VOICES
    ]
    parts = [part for minute in minutes for part in np.split(minute, 3)]
    handler = Listens()
    listening = await builder(handler).with_codecs("PCMA").with_inband_dtmf(True).build()
    async with listening, await system(codecs=("PCMA",)) as caller:
        calls = []
        for _ in parts:
            placed = await dial(caller, listening.local_address)
            await placed.wait_for_answer(20)
            calls.append(placed)

        async def talk(placed: CallSession, said: NDArray[np.int16]) -> None:
            stream = await MediaControl.open_audio(caller, placed.id, sample_rate=RATE)
            await stream.write(said)
            await stream.flush()

        await asyncio.gather(*(talk(placed, said) for placed, said in zip(calls, parts, strict=True)))
        assert handler.digits == []
        # It does hear one.
        await SessionControl.send_dtmf(caller, calls[0].id, "5", method=DtmfMethod.INBAND)
        await until(lambda: handler.digits == ["5"], what="a digit that is one")
        await until(lambda: all(told[-1] is False for told in handler.voice.values()), what="silence at the end")
    assert len(handler.voice) == len(calls), "each voice was heard as one"
    assert all(told[0] is True for told in handler.voice.values())
