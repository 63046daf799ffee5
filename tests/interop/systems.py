"""The ringback side of the interoperability tests."""

import asyncio
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ringback import (
    CallDecision,
    CallHandler,
    CallSession,
    CallState,
    IncomingCall,
    SessionCoordinator,
    SessionManagerBuilder,
    Transport,
)


T = TypeVar("T")


@dataclass
class Recorder(CallHandler):
    """Answers as told and remembers everything that it is told."""

    decision: CallDecision = field(default_factory=CallDecision.Accept)
    incoming: "asyncio.Queue[IncomingCall]" = field(default_factory=asyncio.Queue)
    established: "asyncio.Queue[CallSession]" = field(default_factory=asyncio.Queue)
    ended: "asyncio.Queue[tuple[CallSession, str]]" = field(default_factory=asyncio.Queue)
    progress: "asyncio.Queue[tuple[int, str | None]]" = field(default_factory=asyncio.Queue)
    digits: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)
    states: "list[tuple[CallState, CallState]]" = field(default_factory=list)

    async def on_incoming_call(self, call: IncomingCall) -> CallDecision:
        self.incoming.put_nowait(call)
        return self.decision

    def on_call_progress(self, call: CallSession, status: int, sdp: str | None) -> None:
        self.progress.put_nowait((status, sdp))

    async def on_call_established(self, call: CallSession, local_sdp: str | None, remote_sdp: str | None) -> None:
        self.established.put_nowait(call)

    def on_call_ended(self, call: CallSession, reason: str) -> None:
        self.ended.put_nowait((call, reason))

    def on_dtmf(self, call: CallSession, digit: str, duration_ms: int) -> None:
        self.digits.put_nowait(digit)

    def on_call_state_changed(self, call: CallSession, old: CallState, new: CallState) -> None:
        self.states.append((old, new))


async def system(handler: CallHandler | None = None, *transports: Transport) -> SessionCoordinator:
    """A coordinator on a free port of 127.0.0.1; use it with `async with`."""
    builder = SessionManagerBuilder().with_local_address("sip:ringback@127.0.0.1").with_sip_port(0)
    for transport in transports:
        builder = builder.with_transport(transport)
    return await (builder.with_handler(handler) if handler else builder).build()


def host_port(coordinator: SessionCoordinator) -> str:
    return coordinator.local_address.partition("@")[2]


async def soon(queue: "asyncio.Queue[T]", seconds: float = 10) -> T:
    return await asyncio.wait_for(queue.get(), seconds)


async def until(condition: "object", seconds: float = 10, what: str = "the condition") -> None:
    """Waits until `condition()` is true, looking often."""
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def dominant_frequency(samples: NDArray[np.int16], sample_rate: int) -> float | None:
    """Hz of the strongest component of the loudest second; `None` for silence."""
    if samples.size < sample_rate // 4:
        return None
    window = min(samples.size, sample_rate)
    starts = range(0, samples.size - window + 1, max(1, window // 4))
    best = max(starts, key=lambda start: float(np.abs(samples[start : start + window].astype(np.float64)).mean()))
    part = samples[best : best + window].astype(np.float64)
    if np.abs(part).max() < 100:
        return None
    spectrum = np.abs(np.fft.rfft(part * np.hanning(part.size)))
    return float(np.argmax(spectrum[1:]) + 1) * sample_rate / part.size
