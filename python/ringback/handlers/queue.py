"""`QueueHandler`."""
# pyright: reportUnnecessaryIsInstance=false, reportPrivateUsage=false

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable

from ringback._dispatch import settle
from ringback._ringback import CallDecision
from ringback.handlers.base import CallHandler
from ringback.incoming import IncomingCall


class QueueHandler(CallHandler):
    """Defers everything: callers hear ringing, and `async for call in handler` yields the calls in the order of their
    arrival.

    Each call is yielded once, whoever iterates. One that was cancelled while it waited is not yielded. One more than
    `max_size` is rejected with 486. `len(handler)` is the number of callers waiting.

    An iteration ends when the system stops; of several systems that share the handler, the last one. One that is begun
    while none of them runs waits for the next start.
    """

    def __init__(self, max_size: int = 100) -> None:
        if not isinstance(max_size, int) or isinstance(max_size, bool):
            raise TypeError(f"max_size must be an int, not {type(max_size).__name__}")
        if max_size < 1:
            raise ValueError(f"max_size must be at least 1, not {max_size}")
        self._max_size = max_size
        self._calls: deque[IncomingCall] = deque()
        self._takers: deque[asyncio.Future[None]] = deque()
        # The systems that run, and how many times the last of them has stopped.
        self._systems: set[object] = set()
        self._stops = 0

    def on_incoming_call(self, call: IncomingCall) -> CallDecision | Awaitable[CallDecision | None] | None:
        if len(self._calls) >= self._max_size:
            self._forget_gone()
            if len(self._calls) >= self._max_size:
                return CallDecision.Reject("Busy Here", status=486)
        self._calls.append(call)
        self._wake()
        return CallDecision.Defer()

    def __len__(self) -> int:
        self._forget_gone()
        return len(self._calls)

    def __bool__(self) -> bool:
        return True

    def __aiter__(self) -> AsyncIterator[IncomingCall]:
        """The calls in the order of their arrival; waits for more until the system stops."""
        return _Calls(self, self._stops)

    def _begins(self, system: object) -> None:
        self._systems.add(system)

    def _ends(self, system: object) -> None:
        self._systems.discard(system)
        if not self._systems:
            self._stops += 1
            while self._takers:
                _release(self._takers.popleft())

    def _forget_gone(self) -> None:
        if any(call._is_over for call in self._calls):
            self._calls = deque(call for call in self._calls if not call._is_over)

    def _wake(self) -> None:
        while self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                _release(taker)
                return

    async def _next(self, stops: int) -> IncomingCall:
        """The next call; `stops`: of `_stops` when the iteration began."""
        while True:
            if self._stops != stops:
                # Whatever has been queued since is for those who came after the stop.
                self._wake()
                raise StopAsyncIteration
            while self._calls:
                call = self._calls.popleft()
                if not call._is_over:
                    return call
            taker = asyncio.get_running_loop().create_future()
            self._takers.append(taker)
            try:
                await taker
            except asyncio.CancelledError:
                if taker not in self._takers:
                    # The call that woke us is for the next one.
                    self._wake()
                raise
            finally:
                if taker in self._takers:
                    self._takers.remove(taker)


class _Calls:
    """One iteration over the queue; all of them share its calls."""

    __slots__ = ("_queue", "_stops")

    def __init__(self, queue: QueueHandler, stops: int) -> None:
        self._queue = queue
        self._stops = stops

    def __aiter__(self) -> "_Calls":
        return self

    async def __anext__(self) -> IncomingCall:
        return await self._queue._next(self._stops)


def _release(taker: "asyncio.Future[None]") -> None:
    """Lets a taker look again, on its own loop: that of the handlers may be another one."""
    loop = taker.get_loop()
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    if running is loop:
        settle(taker, None, None)
    else:
        # A loop that was closed has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, taker, None, None)
