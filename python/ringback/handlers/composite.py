"""`CompositeHandler`."""
# pyright: reportUnnecessaryIsInstance=false

import inspect
from collections.abc import Awaitable, Iterable, Iterator

from ringback._ringback import CallDecision
from ringback.handlers.base import CallHandler
from ringback.handlers.fan_out import FanOutHandler
from ringback.incoming import IncomingCall
from ringback.session import CallSession


class CompositeHandler(FanOutHandler):
    """Several handlers as one: the first that does not answer None decides, and all see every other event."""

    def __init__(self, *handlers: CallHandler) -> None:
        for handler in handlers:
            if not isinstance(handler, CallHandler):
                raise TypeError(f"a handler must be a CallHandler, not {type(handler).__name__}")
        self._handlers = handlers

    def on_incoming_call(self, call: IncomingCall) -> CallDecision | Awaitable[CallDecision | None] | None:
        rest = iter(self._handlers)
        for handler in rest:
            decision = handler.on_incoming_call(call)
            if inspect.isawaitable(decision):
                return _ask_rest(decision, rest, call)
            if decision is not None:
                return decision
        return None

    def _audience(self, call: CallSession | None) -> Iterable[CallHandler]:
        return self._handlers

    def _members(self) -> Iterable[CallHandler]:
        return self._handlers


async def _ask_rest(
    first: Awaitable[CallDecision | None], rest: Iterator[CallHandler], call: IncomingCall
) -> CallDecision | None:
    decision = await first
    for handler in rest:
        if decision is not None:
            break
        answer = handler.on_incoming_call(call)
        decision = await answer if inspect.isawaitable(answer) else answer
    return decision
