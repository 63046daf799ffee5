"""`QueueHandler`."""
# pyright: reportUnnecessaryIsInstance=false, reportPrivateUsage=false

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable

from ringback._ringback import CallDecision
from ringback.handlers.base import CallHandler
from ringback.incoming import IncomingCall


class QueueHandler(CallHandler):
    """Defers everything: callers hear ringing, and `async for call in handler` yields the calls in the order of their
    arrival.

    Each call is yielded once, whoever iterates. One that was cancelled while it waited is not yielded. One more than
    `max_size` is rejected with 486. `len(handler)` is the number of callers waiting.
    """

    def __init__(self, max_size: int = 100) -> None:
        if not isinstance(max_size, int) or isinstance(max_size, bool):
            raise TypeError(f"max_size must be an int, not {type(max_size).__name__}")
        if max_size < 1:
            raise ValueError(f"max_size must be at least 1, not {max_size}")
        self._max_size = max_size
        self._calls: deque[IncomingCall] = deque()
        self._takers: deque[asyncio.Future[None]] = deque()

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
        """The calls in the order of their arrival; waits for more without an end."""
        return _Calls(self)

    def _forget_gone(self) -> None:
        if any(call._is_over for call in self._calls):
            self._calls = deque(call for call in self._calls if not call._is_over)

    def _wake(self) -> None:
        while self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(None)
                return

    async def _next(self) -> IncomingCall:
        while True:
            while self._calls:
                call = self._calls.popleft()
                if not call._is_over:
                    return call
            taker = asyncio.get_running_loop().create_future()
            self._takers.append(taker)
            try:
                await taker
            except asyncio.CancelledError:
                if taker.done() and not taker.cancelled():
                    # The call that woke us is for the next one.
                    self._wake()
                raise
            finally:
                if taker in self._takers:
                    self._takers.remove(taker)


class _Calls:
    """One iteration over the queue; all of them share its calls."""

    __slots__ = ("_queue",)

    def __init__(self, queue: QueueHandler) -> None:
        self._queue = queue

    def __aiter__(self) -> "_Calls":
        return self

    async def __anext__(self) -> IncomingCall:
        return await self._queue._next()
