"""A handler that remembers all it was told."""

import inspect
from typing import Any

from ringback import CallDecision, CallHandler, CallSession, CallState, IncomingCall, MediaStatistics
from support.until import until


class Recorder(CallHandler):
    """Decides `decision` (a value, or a function of the call), and keeps every event as (name, arguments)."""

    def __init__(self, decision: Any = None) -> None:
        self.decision = decision if decision is not None else CallDecision.Accept()
        self.events: list[tuple[str, tuple[Any, ...]]] = []

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [arguments for event, arguments in self.events if event == name]

    async def wait(self, name: str, count: int = 1, *, timeout: float = 5.0) -> tuple[Any, ...]:
        """The last arguments of event `name`, once it has come `count` times."""
        await until(lambda: len(self.of(name)) >= count, timeout=timeout, what=f"{count} x {name}, got {self.names}")
        return self.of(name)[count - 1]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    @property
    def incoming(self) -> IncomingCall:
        return self.of("incoming")[-1][0]

    async def on_incoming_call(self, call: IncomingCall) -> CallDecision | None:
        self.events.append(("incoming", (call,)))
        decision = self.decision(call) if callable(self.decision) else self.decision
        return await decision if inspect.isawaitable(decision) else decision

    def on_call_progress(self, call: CallSession, status: int, sdp: str | None) -> None:
        self.events.append(("progress", (call, status, sdp)))

    async def on_call_established(self, call: CallSession, local_sdp: str | None, remote_sdp: str | None) -> None:
        self.events.append(("established", (call, local_sdp, remote_sdp)))

    def on_call_ended(self, call: CallSession, reason: str) -> None:
        self.events.append(("ended", (call, reason)))

    def on_call_state_changed(self, call: CallSession, old: CallState, new: CallState) -> None:
        self.events.append(("state", (call, old, new)))

    def on_dtmf(self, call: CallSession, digit: str, duration_ms: int) -> None:
        self.events.append(("dtmf", (call, digit, duration_ms)))

    def on_media_quality(self, call: CallSession, statistics: MediaStatistics) -> None:
        self.events.append(("quality", (call, statistics)))

    def on_voice_activity(self, call: CallSession, speaking: bool) -> None:
        self.events.append(("voice", (call, speaking)))

    def on_media_timeout(self, call: CallSession, silent_seconds: float) -> None:
        self.events.append(("silent", (call, silent_seconds)))

    def on_error(self, call: CallSession | None, error: Exception) -> None:
        self.events.append(("error", (call, error)))
