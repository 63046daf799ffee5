"""One ringback system in a process of its own, so that it can live in a network namespace. It reads its task from its argument (JSON),
tells what it has seen in lines of JSON, and ends with the call.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from ringback import (
    AutoAnswerHandler,
    CallSession,
    MediaControl,
    SessionControl,
    SessionCoordinator,
    SessionManagerBuilder,
)

RATE = 8000


def tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


async def told() -> None:
    """Waits for a line of the test's."""
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


class Answer(AutoAnswerHandler):
    def __init__(self) -> None:
        self.answered: asyncio.Future[CallSession] = asyncio.get_running_loop().create_future()
        self.over = asyncio.Event()

    def on_call_established(self, call: CallSession, local_sdp: str | None, remote_sdp: str | None) -> None:
        self.answered.set_result(call)

    def on_call_ended(self, call: CallSession, reason: str) -> None:
        self.over.set()


@asynccontextmanager
async def talk(system: SessionCoordinator, call: CallSession, hertz: float) -> AsyncIterator[None]:
    """Sends a tone for as long as the block lasts: the other has to hear as much, whenever it begins to. Before that, tells what was
    heard in half a second of sound.
    """
    stream = await MediaControl.open_audio(system, call.id, sample_rate=RATE)
    time = np.arange(RATE) / RATE
    tone = (8000 * np.sin(2 * np.pi * hertz * time)).astype(np.int16)

    async def send() -> None:
        while True:
            await stream.write(tone)

    sending = asyncio.create_task(send())
    try:
        frames: list[np.ndarray[Any, Any]] = []
        async for frame in stream:
            if frames or np.abs(frame).max() > 1000:
                frames.append(frame)
            if len(frames) == 25:
                break
        spectrum = np.abs(np.fft.rfft(np.concatenate(frames) * np.hanning(25 * RATE // 50)))
        info = await MediaControl.get_media_info(system, call.id)
        assert info is not None
        tell(heard=float(np.argmax(spectrum) * 2), local_sdp=info.local_sdp, remote=info.remote_address)
        yield
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def main(task: dict[str, Any]) -> None:
    handler = Answer()
    builder = SessionManagerBuilder().with_local_address(task["address"]).with_codecs("PCMU").with_handler(handler)
    if "public" in task:
        builder.with_public_address(task["public"])
    if "stun" in task:
        builder.with_stun_server(task["stun"])
    if "turn" in task:
        builder.with_turn_server(task["turn"], username="alice", password="secret")
    system = await builder.build()
    await SessionControl.start(system)
    tell(ready=True)
    if "call" in task:
        call = await SessionControl.create_outgoing_call(system, system.local_address, task["call"])
        await call.wait_for_answer(20)
        async with talk(system, call, 700.0):
            if task.get("is_hung_up"):
                tell(ended=await call.wait_ended())
            else:
                # Until the peer has heard enough, too.
                await told()
                await SessionControl.terminate_session(system, call.id)
                tell(hung_up=True)
                await told()
    else:
        call = await handler.answered
        async with talk(system, call, 1100.0):
            if task.get("hangs_up"):
                await told()
                await call.hangup()
            await handler.over.wait()
    await SessionControl.stop(system)


asyncio.run(asyncio.wait_for(main(json.loads(sys.argv[1])), 60))
