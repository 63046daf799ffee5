"""A voice bot: it listens until the caller has said something, answers, and falls silent at once when the caller cuts in.

The "model" here is a stand-in that answers with a melody; put your own speech recognition, language model and synthesis there.

python voice_bot.py
python voice_bot.py --self-test
"""

import argparse
import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ringback import (
    AudioStream,
    AutoAnswerHandler,
    CallSession,
    MediaControl,
    SessionControl,
    SessionManagerBuilder,
)

RATE = 16_000
FRAME_MS = 20
# Louder than this is speech. A real bot asks a voice activity detector.
LOUD = 500.0
# So many loud frames are a beginning, so many quiet ones an end: 60 and 600 ms.
ONSET, PAUSE = 3, 30


def loudness(frame: NDArray[np.int16]) -> float:
    return float(np.sqrt(np.mean(np.square(frame.astype(np.float32)))))


def tone(frequency: float, seconds: float, rate: int = RATE) -> NDArray[np.int16]:
    time = np.arange(int(seconds * rate)) / rate
    return (8_000 * np.sin(2 * np.pi * frequency * time)).astype(np.int16)


async def think(said: NDArray[np.int16]) -> AsyncIterator[NDArray[np.int16]]:
    """Stand-in for the models: pieces of an answer, as they are made."""
    for frequency in (262.0, 330.0, 392.0, 523.0):
        await asyncio.sleep(0)
        yield tone(frequency, 0.5)


@dataclass
class Talk:
    """One caller's conversation."""

    audio: AudioStream
    turns: int = 0
    cut_short: list[int] = field(default_factory=list[int])
    """Samples that were heard of each answer that the caller interrupted."""

    async def run(self) -> None:
        answer: asyncio.Task[None] | None = None
        said: list[NDArray[np.int16]] = []
        loud = quiet = 0
        try:
            async for frame in self.audio:
                if loudness(frame) > LOUD:
                    loud, quiet = loud + 1, 0
                    if loud == ONSET and answer is not None and not answer.done():
                        # Barge-in: whatever is not yet sent is dropped; the model is told how much of it was heard.
                        answer.cancel()
                        self.cut_short.append(self.audio.clear())
                else:
                    quiet += 1
                if loud >= ONSET:
                    said.append(frame)
                if quiet == PAUSE:
                    if loud >= ONSET:
                        self.turns += 1
                        answer = asyncio.create_task(self._say(np.concatenate(said)))
                        said = []
                    loud = 0
        finally:
            if answer is not None:
                answer.cancel()

    async def _say(self, said: NDArray[np.int16]) -> None:
        self.audio.clear()
        async for piece in think(said):
            # Waits while two seconds are queued: the models may be faster than speech.
            await self.audio.write(piece)
        await self.audio.flush()


class Bot(AutoAnswerHandler):
    def __init__(self) -> None:
        self.talks: list[Talk] = []

    async def on_call_established(self, call: CallSession, local_sdp: str | None, remote_sdp: str | None) -> None:
        async with await MediaControl.open_audio(
            call.coordinator, call.id, sample_rate=RATE, frame_ms=FRAME_MS
        ) as audio:
            talk = Talk(audio)
            self.talks.append(talk)
            await talk.run()


async def main() -> None:
    async with await SessionManagerBuilder().with_handler(Bot()).build() as server:
        print(f"Talk to {server.local_address}; Ctrl-C ends.")
        await asyncio.Event().wait()


async def self_test() -> None:
    def builder(name: str) -> SessionManagerBuilder:
        return SessionManagerBuilder().with_local_address(f"sip:{name}@127.0.0.1").with_sip_port(0)

    bot = Bot()
    server = await builder("bot").with_handler(bot).build()
    phone = await builder("phone").build()
    async with server, phone:
        call = await SessionControl.create_outgoing_call(phone, phone.local_address, server.local_address)
        async with call:
            await call.wait_for_answer(5)
            async with await MediaControl.open_audio(phone, call.id, sample_rate=RATE) as audio:
                await audio.write(tone(440, 0.5))  # the caller's question
                heard = 0
                async for frame in audio:
                    heard += loudness(frame) > LOUD
                    if heard == 10:  # the answer has begun: cut in
                        await audio.write(tone(440, 0.5))
                    talk = bot.talks[0] if bot.talks else None
                    if talk is not None and talk.cut_short and talk.turns == 2:
                        break
    (talk,) = bot.talks
    # Two seconds were written at once; what the caller heard of it before cutting in is known exactly.
    assert 0 < talk.cut_short[0] < 2 * RATE, talk.cut_short


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    try:
        asyncio.run(self_test() if options.self_test else main())
    except KeyboardInterrupt:
        print("Bye.")
