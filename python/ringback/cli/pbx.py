"""The demonstration's PBX: four extensions, each a different way with audio."""

import asyncio
import contextlib
from datetime import UTC, datetime

from ringback import (
    CallDecision,
    CallHandler,
    CallSession,
    CallState,
    IncomingCall,
    MediaControl,
    SessionError,
    SessionId,
)

EXTENSIONS = {
    "100": "echo: you hear yourself",
    "200": "tone: 440 Hz",
    "300": "two callers are connected with each other",
    "400": "keypad: each digit you press comes back as its tones",
}

DTMF_FREQUENCIES = {
    digit: (low, high)
    for low, row in zip((697.0, 770.0, 852.0, 941.0), ("123A", "456B", "789C", "*0#D"), strict=True)
    for high, digit in zip((1209.0, 1336.0, 1477.0, 1633.0), row, strict=True)
}
"""ITU-T Q.23: digit -> (low Hz, high Hz)."""

TONE_HZ = 440.0
ALL_DAY = 86_400.0


def user_of(uri: str) -> str:
    """The user part of a SIP URI, "" where it has none."""
    rest = uri.partition(":")[2]
    return rest.partition("@")[0] if "@" in rest else ""


class Line:
    """What the live table shows of one call."""

    def __init__(self, call: CallSession) -> None:
        self.call = call
        self.digits: str = ""
        self.partner: SessionId | None = None
        self.since: datetime = datetime.now(UTC)


class Pbx(CallHandler):
    """Answers the extensions above and refuses everything else with 404."""

    def __init__(self) -> None:
        self.lines: dict[SessionId, Line] = {}
        self.ended: int = 0
        self._waiting: CallSession | None = None

    def on_incoming_call(self, call: IncomingCall) -> CallDecision:
        if user_of(call.to_uri) in EXTENSIONS:
            return CallDecision.Accept()
        return CallDecision.Reject("Dial " + ", ".join(EXTENSIONS), status=404)

    async def on_call_established(self, call: CallSession, local_sdp: str | None, remote_sdp: str | None) -> None:
        self.lines[call.id] = Line(call)
        # A caller may hang up at any moment; what was still to be done for it is then void.
        with contextlib.suppress(SessionError):
            match user_of(call.to_uri):
                case "100":
                    await MediaControl.echo(call.coordinator, call.id)
                case "200":
                    await MediaControl.play_tone(call.coordinator, call.id, [TONE_HZ], duration=ALL_DAY)
                case "300":
                    await self._pair(call)
                case _:
                    pass  # 400 waits for digits

    async def _pair(self, call: CallSession) -> None:
        partner, self._waiting = self._waiting, None
        if partner is None or partner.state is not CallState.ACTIVE:
            self._waiting = call
            return
        await call.coordinator.bridge_sessions(partner.id, call.id)
        for one, other in ((call, partner), (partner, call)):
            if line := self.lines.get(one.id):
                line.partner = other.id

    async def on_dtmf(self, call: CallSession, digit: str, duration_ms: int) -> None:
        if line := self.lines.get(call.id):
            line.digits = (line.digits + digit)[-16:]
        if user_of(call.to_uri) == "400":
            with contextlib.suppress(SessionError):
                await MediaControl.play_tone(call.coordinator, call.id, DTMF_FREQUENCIES[digit], duration=0.25)

    async def on_call_ended(self, call: CallSession, reason: str) -> None:
        line = self.lines.pop(call.id, None)
        self.ended += 1
        if self._waiting is not None and self._waiting.id == call.id:
            self._waiting = None
        if line is not None and line.partner is not None and (other := self.lines.get(line.partner)):
            await other.call.hangup()


async def hang_up_all(pbx: Pbx) -> int:
    """Ends every call with BYE; returns how many there were."""
    calls = [line.call for line in pbx.lines.values()]
    await asyncio.gather(*(call.hangup() for call in calls), return_exceptions=True)
    return len(calls)
