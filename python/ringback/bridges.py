"""What is told about bridges; the operations are `SessionCoordinator`'s."""
# pyright: reportPrivateUsage=false

import asyncio
import contextlib
import weakref
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, auto
from typing import TYPE_CHECKING

from ringback import _ringback
from ringback._ringback import BridgeId, SessionId

if TYPE_CHECKING:
    from ringback.coordinator import SessionCoordinator

_EVENTS_MOST = 1000
"""Events that wait for one reader; beyond that its oldest go, those of talking first."""


@dataclass(frozen=True, kw_only=True)
class BridgeInfo:
    """A bridge as it is at one moment."""

    id: BridgeId
    name: str | None
    sessions: Sequence[SessionId]
    """In the order in which they joined."""
    participant_count: int
    talking: Sequence[SessionId]
    """Who speaks, as far as that is measured: where the bridge is mixed, not where two calls are relayed."""
    locked: bool
    created_at: datetime
    """Aware, UTC."""


class BridgeEventKind(StrEnum):
    """What happened to a bridge, or to a session in it."""

    JOINED = auto()
    LEFT = auto()
    """Removed, in the end of its call, or with the bridge."""
    TALKING = auto()
    """Speech for 60 ms."""
    SILENT = auto()
    """None for half a second. One that leaves is silent without a word."""
    DESTROYED = auto()
    """The last event."""


@dataclass(frozen=True, kw_only=True)
class BridgeEvent:
    """One event of `SessionCoordinator.bridge_events`."""

    kind: BridgeEventKind
    session: SessionId | None
    """None with `DESTROYED`."""


class BridgeRole(StrEnum):
    """What a session in a bridge is to the others."""

    MEMBER = auto()
    """Hears all, is heard by all."""
    LISTENER = auto()
    """Hears all (monitoring)."""
    WHISPER = auto()
    """Hears all, is heard only by `beside` (coaching)."""


class EventReader(AsyncIterator[BridgeEvent]):
    """The events of a bridge from the moment that it was made."""

    def __init__(self, coordinator: "SessionCoordinator", bridge: BridgeId) -> None:
        self._coordinator = coordinator
        self._bridge = bridge
        self._loop = asyncio.get_running_loop()
        self._events: deque[BridgeEvent] = deque()
        self._over = False
        self._failure: BaseException | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._watching = False
        asked = _ringback.watch_bridge(coordinator, bridge)
        self._watching = True
        coordinator._bridge_events.setdefault(bridge, weakref.WeakSet()).add(self)
        # Without a reference to `self`, which would live as long as the question.
        reference: weakref.ref[EventReader] = weakref.ref(self)
        asked.add_done_callback(lambda asked: _asked(reference, asked))

    async def __anext__(self) -> BridgeEvent:
        while not self._events:
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure
            if self._over:
                raise StopAsyncIteration
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                with contextlib.suppress(ValueError):
                    self._waiters.remove(waiter)
        return self._events.popleft()

    async def aclose(self) -> None:
        """Wants no more events."""
        self._unwatch()
        self._events.clear()
        self._end()

    def _push(self, event: BridgeEvent) -> None:
        if self._over:
            return
        if len(self._events) >= _EVENTS_MOST:
            self._drop_one()
        self._events.append(event)
        if event.kind is BridgeEventKind.DESTROYED:
            self._watching = False
            self._over = True
        self._wake()

    def _drop_one(self) -> None:
        passing = (BridgeEventKind.TALKING, BridgeEventKind.SILENT)
        for place, event in enumerate(self._events):
            if event.kind in passing:
                del self._events[place]
                return
        self._events.popleft()

    def _end(self, failure: BaseException | None = None) -> None:
        if failure is not None:
            self._watching = False
            self._failure = failure
        self._over = True
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _unwatch(self) -> None:
        if self._watching:
            self._watching = False
            _ringback.unwatch_bridge(self._coordinator, self._bridge)

    def __del__(self) -> None:
        self._unwatch()


def _asked(reference: weakref.ref[EventReader], asked: asyncio.Future[None]) -> None:
    failure = None if asked.cancelled() else asked.exception()
    events = reference()
    if failure is not None and events is not None:
        events._end(failure)


def events_of(coordinator: "SessionCoordinator", bridge: BridgeId) -> AsyncIterator[BridgeEvent]:
    """For `SessionCoordinator.bridge_events`."""
    return EventReader(coordinator, bridge)


def _in_loop(events: EventReader, do: str, *arguments: object) -> None:
    """Calls a method of `events` on the loop of whoever reads them."""
    method = getattr(events, do)
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    if running is events._loop:
        method(*arguments)
    else:
        # A loop that was closed has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            events._loop.call_soon_threadsafe(method, *arguments)


def deliver(coordinator: "SessionCoordinator", bridge: BridgeId, kind: str, session: SessionId | None) -> None:
    """From the event dispatch: gives an event to all who read those of its bridge."""
    readers = coordinator._bridge_events.get(bridge)
    event = BridgeEvent(kind=BridgeEventKind(kind), session=session)
    for reader in list(readers or ()):
        _in_loop(reader, "_push", event)
    if event.kind is BridgeEventKind.DESTROYED or not readers:
        coordinator._bridge_events.pop(bridge, None)


def end_all(coordinator: "SessionCoordinator") -> None:
    """The system has stopped: no more events come."""
    readers = [reader for readers in coordinator._bridge_events.values() for reader in readers]
    coordinator._bridge_events.clear()
    for reader in readers:
        _in_loop(reader, "_end")
