"""The ringback side of the interoperability tests."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from network import HOST, MEDIA, free_ports
from numpy.typing import NDArray

from ringback import (
    AudioStream,
    CallDecision,
    CallHandler,
    CallSession,
    CallState,
    IncomingCall,
    MediaControl,
    Message,
    SessionControl,
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
    messages: "asyncio.Queue[Message]" = field(default_factory=asyncio.Queue)

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

    def on_message(self, message: Message) -> None:
        self.messages.put_nowait(message)


async def system(
    handler: CallHandler | None = None, *transports: Transport, codecs: tuple[str, ...] = (), host: str = HOST
) -> SessionCoordinator:
    """A coordinator on a free port; use it with `async with`."""
    made = builder(handler, host)
    if codecs:
        made = made.with_codecs(*codecs)
    for transport in transports:
        made = made.with_transport(transport)
    return await made.build()


def builder(handler: CallHandler | None = None, host: str = HOST) -> SessionManagerBuilder:
    """The same, to be set up further."""
    host = f"[{host}]" if ":" in host else host
    made = SessionManagerBuilder().with_local_address(f"sip:ringback@{host}").with_sip_port(free_ports())
    made = made.with_media_ports(MEDIA.start, MEDIA.stop - 1)
    return made.with_handler(handler) if handler else made


def host_port(coordinator: SessionCoordinator) -> str:
    return coordinator.local_address.partition("@")[2].partition(";")[0]


async def dial(coordinator: SessionCoordinator, uri: str, sdp: str | None = None, **headers: str) -> CallSession:
    return await SessionControl.create_outgoing_call(coordinator, coordinator.local_address, uri, sdp, headers=headers)


async def go_on(call: CallSession) -> None:
    """Lets a SIPp scenario that is at `wait_for_go_on` go on: its SDP has no telephone-event, so a digit goes by INFO."""
    await SessionControl.send_dtmf(call.coordinator, call.id, "0")


async def soon(queue: "asyncio.Queue[T]", seconds: float = 20) -> T:
    return await asyncio.wait_for(queue.get(), seconds)


async def until(condition: Callable[[], bool], seconds: float = 20, what: str = "the condition") -> None:
    """Waits until `condition()` is true, looking often."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{what} has not come in {seconds} s") from None


async def until_local_sdp(call: CallSession, text: str) -> None:
    """Waits until the call's own description has `text` in it."""
    async with asyncio.timeout(20):
        while True:
            info = await MediaControl.get_media_info(call.coordinator, call.id)
            if info is not None and info.local_sdp is not None and text in info.local_sdp:
                return
            await asyncio.sleep(0.02)


async def until_media(call: CallSession, codec: str, port: int) -> None:
    """Waits until the call's media goes to that port in that codec."""
    async with asyncio.timeout(20):
        while True:
            info = await MediaControl.get_media_info(call.coordinator, call.id)
            if info is not None and (info.codec, info.remote_address) == (codec, f"{HOST}:{port}"):
                return
            await asyncio.sleep(0.02)


async def until_received(call: CallSession, packets: int) -> None:
    """Waits until so many RTP packets have come."""
    async with asyncio.timeout(20):
        while True:
            statistics = await MediaControl.get_media_statistics(call.coordinator, call.id)
            if statistics is not None and statistics.packets_received >= packets:
                return
            await asyncio.sleep(0.02)


async def until_empty(coordinator: SessionCoordinator) -> None:
    """Waits until no call is left."""
    async with asyncio.timeout(20):
        while await SessionControl.list_active_sessions(coordinator):
            await asyncio.sleep(0.02)


async def hear(stream: AudioStream, seconds: float = 1.0) -> NDArray[np.int16]:
    """So much of what is received, from the first sound on."""
    heard: list[NDArray[np.int16]] = []
    async with asyncio.timeout(30):
        async for frame in stream:
            if heard or frame.any():
                heard.append(frame)
            if len(heard) * frame.size >= seconds * stream.sample_rate:
                break
    return np.concatenate(heard)


async def check_echo(call: CallSession, frequency: float) -> None:
    """The peer sends back what it gets: a tone of ours comes back."""
    stream = await MediaControl.open_audio(call.coordinator, call.id, sample_rate=8000)
    playing = asyncio.create_task(MediaControl.play_tone(call.coordinator, call.id, [frequency], duration=30))
    try:
        async with asyncio.timeout(20):
            while True:
                measured = dominant_frequency(await hear(stream, 0.5), 8000)
                if measured is not None and abs(measured - frequency) < 5:
                    break
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        await stream.close()


def tone(frequency: float, seconds: float, sample_rate: int = 8000) -> NDArray[np.int16]:
    time = np.arange(int(sample_rate * seconds)) / sample_rate
    return (8000 * np.sin(2 * np.pi * frequency * time)).astype(np.int16)


def dominant_frequency(samples: NDArray[np.int16], sample_rate: int) -> float | None:
    """Hz of the strongest component of the loudest second; `None` for silence, and for what is too short to tell."""
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
