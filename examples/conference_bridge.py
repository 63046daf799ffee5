"""A conference bridge: rooms with a PIN, names of who talks, a moderator who mutes, locks and records by the keypad.

Dial any user name: it is the room. The room's first caller is its moderator, whose keys are
*1 mute everybody else or let them speak again, *2 lock or open the room, *3 start or stop recording.

python conference_bridge.py --pin 1234 --recordings /tmp
python conference_bridge.py --self-test
"""

import argparse
import asyncio
import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ringback import (
    BridgeEventKind,
    BridgeId,
    BridgeRole,
    CallDecision,
    CallHandler,
    CallSession,
    DtmfMethod,
    IncomingCall,
    MediaControl,
    Recording,
    SessionControl,
    SessionCoordinator,
    SessionError,
    SessionManagerBuilder,
)

MOST = 50


def user_of(uri: str) -> str:
    return uri.partition(":")[2].partition("@")[0]


def chime(*frequencies: float) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    time = np.arange(1_600) / 8_000
    return np.concatenate([(6_000 * np.sin(2 * np.pi * f * time)).astype(np.int16) for f in frequencies])


JOINED, LEFT = chime(523, 659), chime(659, 523)


@dataclass
class Room:
    name: str
    bridge: BridgeId
    moderator: CallSession
    members: list[CallSession] = field(default_factory=list[CallSession])
    muted: bool = False
    locked: bool = False
    recording: Recording | None = None
    talked: set[str] = field(default_factory=set[str])
    tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])


class Conferences(CallHandler):
    def __init__(self, pin: str, recordings: Path) -> None:
        self.rooms: dict[str, Room] = {}
        self.pin = pin
        self.recordings = recordings
        self._opening = asyncio.Lock()

    def on_incoming_call(self, call: IncomingCall) -> CallDecision:
        return CallDecision.Accept() if user_of(call.to_uri) else CallDecision.Reject("Dial a room", status=404)

    async def on_call_established(self, call: CallSession, local_sdp: str | None, remote_sdp: str | None) -> None:
        if self.pin:
            entered = await MediaControl.collect_dtmf(call.coordinator, call.id, max_digits=len(self.pin), timeout=10)
            if entered != self.pin:
                print(f"{call.from_uri}: wrong PIN")
                return await call.hangup("wrong PIN")
        await self._join(call)

    async def _join(self, call: CallSession) -> None:
        hub, name = call.coordinator, user_of(call.to_uri)
        async with self._opening:  # two callers of a new room must not open it twice
            room = self.rooms.get(name)
            if room is None:
                room = self.rooms[name] = Room(name, await hub.create_bridge(name, max_sessions=MOST), call)
                room.tasks.append(asyncio.create_task(self._who_talks(hub, room)))
            # Before the call is in the bridge: `on_call_ended` takes out whoever hangs up meanwhile.
            room.members.append(call)
        try:
            await hub.add_session_to_bridge(room.bridge, call.id)
        except SessionError as error:
            # Locked, full, or the caller has hung up.
            print(f"{name}: {call.from_uri} has to stay outside: {error}")
            await call.hangup()
            return await self._leave(call)
        print(f"{name}: {call.from_uri} joins, {len(room.members)} are in")
        with contextlib.suppress(SessionError):
            if room.muted:
                await hub.set_bridge_role(room.bridge, call.id, BridgeRole.LISTENER)
            await hub.play_to_bridge(room.bridge, JOINED, sample_rate=8_000)

    async def _who_talks(self, hub: SessionCoordinator, room: Room) -> None:
        async for event in hub.bridge_events(room.bridge):
            call = next((member for member in room.members if member.id == event.session), None)
            if event.kind is BridgeEventKind.TALKING and call is not None:
                room.talked.add(call.from_uri)
                print(f"{room.name}: {call.from_uri} speaks")

    async def on_dtmf(self, call: CallSession, digit: str, duration_ms: int) -> None:
        room = self.rooms.get(user_of(call.to_uri))
        if room is None or room.moderator.id != call.id:
            return
        hub = call.coordinator
        match digit:
            case "1":
                room.muted = not room.muted
                role = BridgeRole.LISTENER if room.muted else BridgeRole.MEMBER
                for member in room.members:
                    if member.id != call.id:
                        await hub.set_bridge_role(room.bridge, member.id, role)
            case "2":
                room.locked = not room.locked
                await hub.lock_bridge(room.bridge, room.locked)
            case "3" if room.recording is None:
                path = self.recordings / f"{room.name}.wav"
                room.recording = await hub.record_bridge(room.bridge, str(path))
            case "3":
                await self._end_recording(room)
            case _:
                return
        print(f"{room.name}: muted {room.muted}, locked {room.locked}, recording {room.recording is not None}")

    async def _end_recording(self, room: Room) -> None:
        recording, room.recording = room.recording, None
        if recording is not None:
            print(f"{room.name}: {await recording.stop():.1f} s in {recording.path}")

    async def on_call_ended(self, call: CallSession, reason: str) -> None:
        await self._leave(call)

    async def _leave(self, call: CallSession) -> None:
        room = self.rooms.get(user_of(call.to_uri))
        if room is None or call not in room.members:
            return
        room.members.remove(call)
        if room.members:
            if room.moderator.id == call.id:
                room.moderator = room.members[0]
            with contextlib.suppress(SessionError):
                await call.coordinator.play_to_bridge(room.bridge, LEFT, sample_rate=8_000)
        else:
            del self.rooms[room.name]
            await self._end_recording(room)
            await call.coordinator.destroy_bridge(room.bridge)


async def main(pin: str, recordings: Path) -> None:
    handler = Conferences(pin, recordings)
    async with await SessionManagerBuilder().with_handler(handler).build() as server:
        print(f"Dial a room at {server.local_address}; Ctrl-C ends.")
        await asyncio.Event().wait()


async def self_test() -> None:
    def builder(name: str) -> SessionManagerBuilder:
        return SessionManagerBuilder().with_local_address(f"sip:{name}@127.0.0.1").with_sip_port(0)

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.02)

    with tempfile.TemporaryDirectory() as folder:
        handler = Conferences("42", Path(folder))
        server = await builder("bridge").with_handler(handler).build()
        phones = await builder("phones").build()
        async with server, phones:
            room = server.local_address.replace("bridge@", "sales@")

            async def join(name: str, pin: str = "42") -> CallSession:
                call = await SessionControl.create_outgoing_call(phones, f"sip:{name}@example.com", room)
                await call.wait_for_answer(5)
                with contextlib.suppress(SessionError):  # hung up at the last digit of a wrong PIN
                    await SessionControl.send_dtmf(phones, call.id, pin)
                return call

            ann = await join("ann")
            await until(lambda: "sales" in handler.rooms and len(handler.rooms["sales"].members) == 1)
            wrong = await join("eve", "99")
            assert await wrong.wait_ended() == "remote hangup"
            ben = await join("ben")
            await until(lambda: len(handler.rooms["sales"].members) == 2)
            state = handler.rooms["sales"]

            await SessionControl.send_dtmf(phones, ann.id, "*3")
            await until(lambda: state.recording is not None)
            await MediaControl.play_tone(phones, ben.id, [440.0], duration=1.0)
            await until(lambda: "sip:ben@example.com" in state.talked)

            await SessionControl.send_dtmf(phones, ann.id, "*2", method=DtmfMethod.INFO)
            await until(lambda: state.locked)
            late = await join("late")
            assert await late.wait_ended() == "remote hangup"

            for call in (ben, ann):
                await call.hangup()
            await until(lambda: not handler.rooms)
            assert (Path(folder) / "sales.wav").stat().st_size > 8_000


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pin", default="", help="digits that callers have to enter")
    parser.add_argument("--recordings", type=Path, default=Path(), metavar="FOLDER")
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    try:
        asyncio.run(self_test() if options.self_test else main(options.pin, options.recordings))
    except KeyboardInterrupt:
        print("Bye.")
