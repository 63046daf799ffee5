"""Answers calls with ringback and connects their media as it is told: what the media bench measures.

    python ringback_media.py [--media-ports LOW-HIGH] [--media-threads N] [--no-real-time] [--awake]

Each call is to `leg-N`, and N is its number. Prints "ready PORT", serves SIP on 127.0.0.1:PORT until the end of standard
input or SIGTERM, and answers each line from standard input with one line:

    bridge                 connects the calls 0 and 1, 2 and 3, ...
    rooms SIZE             conferences of so many calls each
    echo                   each call hears itself, without Python
    streams / batches      each call hears itself by way of an `AudioStream` of its own / of one `AudioBatches` of all
    play FILE              each call hears a WAV file over and over
    busy                   a Python thread computes from now on, for ever
    statistics             a JSON object: what all calls have received and lost
    lateness               a JSON object: how late the media thread's ticks were since it was asked last, seconds
"""

import argparse
import asyncio
import ctypes
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Awaitable, Callable

from ringback import CallDecision, CallHandler, CallSession, IncomingCall, MediaControl, SessionManagerBuilder
from ringback import SessionCoordinator as Coordinator

MOST_SESSIONS = 50_000
SAMPLE_RATE = 16_000
CAP_SYS_NICE, PR_CAPBSET_DROP = 23, 24


class Answering(CallHandler):
    """Accepts every call and remembers it by its number."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[int, CallSession] = {}

    def on_incoming_call(self, call: IncomingCall) -> CallDecision:
        return CallDecision.Accept()

    def on_call_established(self, call: CallSession, local_sdp: str | None, remote_sdp: str | None) -> None:
        if number := re.search(r"leg-(\d+)@", call.to_uri):
            self.calls[int(number[1])] = call


class Answered:
    """The calls of one coordinator, and what can be done with all of them."""

    def __init__(self, coordinator: Coordinator, handler: Answering) -> None:
        self.coordinator = coordinator
        self.handler = handler
        self.tasks: list[asyncio.Task[None]] = []

    def calls(self) -> list[CallSession]:
        return [call for _, call in sorted(self.handler.calls.items())]

    def keep(self, task: Awaitable[None]) -> None:
        async def run() -> None:
            await task

        self.tasks.append(asyncio.create_task(run()))

    async def bridge(self) -> str:
        calls = self.calls()
        for first, second in zip(calls[::2], calls[1::2], strict=True):
            await self.coordinator.bridge_sessions(first.id, second.id)
        return "ok"

    async def rooms(self, size: str) -> str:
        calls = self.calls()
        for start in range(0, len(calls), int(size)):
            room = await self.coordinator.create_bridge()
            for call in calls[start : start + int(size)]:
                await self.coordinator.add_session_to_bridge(room, call.id)
        return "ok"

    async def echo(self) -> str:
        for call in self.calls():
            await MediaControl.echo(self.coordinator, call.id)
        return "ok"

    async def streams(self) -> str:
        for call in self.calls():
            self.keep(self._stream(call))
        return "ok"

    async def _stream(self, call: CallSession) -> None:
        audio = await MediaControl.open_audio(self.coordinator, call.id, sample_rate=SAMPLE_RATE)
        async for frame in audio:
            await audio.write(frame)

    async def batches(self) -> str:
        self.keep(self._batches())
        return "ok"

    async def _batches(self) -> None:
        async with self.coordinator.audio_batches(sample_rate=SAMPLE_RATE) as batches:
            async for batch in batches:
                await batches.write(batch.sessions, batch.samples)

    async def play(self, path: str) -> str:
        for call in self.calls():
            self.keep(MediaControl.play(self.coordinator, call.id, path, loop=True))
        return "ok"

    async def busy(self) -> str:
        def compute() -> None:
            number = 1
            while True:
                number = number * 1_103_515_245 % 2_147_483_647

        threading.Thread(target=compute, daemon=True).start()
        return "ok"

    async def statistics(self) -> str:
        found = [await MediaControl.get_media_statistics(self.coordinator, call.id) for call in self.calls()]
        names = ("packets_sent", "packets_received", "packets_lost", "packets_discarded")
        return json.dumps({name: sum(getattr(one, name) for one in found if one) for name in names})

    async def lateness(self) -> str:
        ticks, median, p99, longest = self.coordinator._tick_lateness()
        return json.dumps({"ticks": ticks, "median": median, "p99": p99, "longest": longest})

    async def do(self, line: str) -> str:
        name, *arguments = line.split()
        method: Callable[..., Awaitable[str]] = getattr(self, name)
        return await method(*arguments)


def without_real_time() -> None:
    """Starts this program anew without the right to real-time priority. A program that never had it stays as it is."""
    if "RINGBACK_BENCH_NORMAL" not in os.environ:
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_NICE, 0, 0, 0)
        os.environ["RINGBACK_BENCH_NORMAL"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.argv])


async def serve(media_ports: tuple[int, int], media_threads: int | None, awake: bool) -> None:
    handler = Answering()
    coordinator = await (
        SessionManagerBuilder()
        .with_sip_port(0)
        .with_local_address("sip:bench@127.0.0.1")
        .with_media_ports(*media_ports)
        .with_media_threads(media_threads)
        .with_cpu_latency(0 if awake else None)
        .with_codecs("opus", "G722", "L16", "PCMU", "PCMA")
        .with_max_sessions(MOST_SESSIONS)
        .with_handler(handler)
        .build()
    )
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    loop.add_signal_handler(signal.SIGTERM, lines.feed_eof)
    async with coordinator:
        port = re.search(r":(\d+)(?:[;>?]|$)", coordinator.local_address)
        if port is None:
            raise RuntimeError(f"no port in {coordinator.local_address}")
        print(f"ready {port[1]}", flush=True)
        answered = Answered(coordinator, handler)
        while line := await lines.readline():
            print(await answered.do(line.decode()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media-ports", default="20000-59999", metavar="LOW-HIGH")
    parser.add_argument("--media-threads", type=int, metavar="N")
    parser.add_argument("--no-real-time", action="store_true")
    parser.add_argument("--awake", action="store_true")
    arguments = parser.parse_args()
    if arguments.no_real_time:
        without_real_time()
    low, high = (int(port) for port in arguments.media_ports.split("-"))
    asyncio.run(serve((low, high), arguments.media_threads, arguments.awake))


if __name__ == "__main__":
    main()
