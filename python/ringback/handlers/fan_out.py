"""One event for several handlers: what `CompositeHandler` and `RoutingHandler` share."""
# pyright: reportPrivateUsage=false

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Iterable, Iterator
from typing import Any, cast

from ringback.accounts import Registration
from ringback.handlers.base import CallHandler, overrides
from ringback.media import MediaStatistics
from ringback.messages import Message
from ringback.session import CallSession
from ringback.states import CallState


class FanOutHandler(CallHandler):
    """Passes each event on to the handlers in `_audience`; they start in order and do not wait for each other."""

    @abstractmethod
    def _audience(self, call: CallSession | None) -> Iterable[CallHandler]:
        """Who is told of an event of this call."""

    @abstractmethod
    def _members(self) -> Iterable[CallHandler]:
        """All handlers that may ever be told."""

    def _listens(self, name: str) -> bool:
        return self._overridden(name) or any(member._listens(name) for member in self._members())

    def _overridden(self, name: str) -> bool:
        """A subclass has its own."""
        for base in type(self).__mro__:
            if base.__module__.startswith("ringback.handlers."):
                return overrides(self, name, cast(type[CallHandler], base))
        return True

    def _begins(self, system: object) -> None:
        for member in self._members():
            member._begins(system)

    def _ends(self, system: object) -> None:
        for member in self._members():
            member._ends(system)

    def _tell(self, name: str, call: CallSession | None, *arguments: object) -> Awaitable[None] | None:
        return self._tell_all(self._audience(call), name, call, *arguments)

    def _tell_all(self, audience: Iterable[CallHandler], name: str, *arguments: object) -> Awaitable[None] | None:
        pending: list[Awaitable[None]] = []
        errors: list[Exception] = []
        for handler in audience:
            if handler._listens(name):
                try:
                    result = cast("Awaitable[None] | None", getattr(handler, name)(*arguments))
                except Exception as error:
                    errors.append(error)
                else:
                    if result is not None:
                        pending.append(result)
        if pending:
            return _gather(pending, errors)
        _raise(errors)
        return None

    def _ask(self, audience: Iterable[CallHandler], name: str, *arguments: object) -> bool | Awaitable[bool]:
        """True from the first handler that says so; those behind it are not asked."""
        rest = iter([handler for handler in audience if handler._listens(name)])
        for handler in rest:
            answer = cast("bool | Awaitable[bool]", getattr(handler, name)(*arguments))
            if isinstance(answer, Awaitable):
                return _ask_rest(answer, rest, name, *arguments)
            if answer:
                return True
        return False

    def on_call_progress(self, call: CallSession, status: int, sdp: str | None) -> Awaitable[None] | None:
        return self._tell("on_call_progress", call, status, sdp)

    def on_call_established(
        self, call: CallSession, local_sdp: str | None, remote_sdp: str | None
    ) -> Awaitable[None] | None:
        return self._tell("on_call_established", call, local_sdp, remote_sdp)

    def on_call_ended(self, call: CallSession, reason: str) -> Awaitable[None] | None:
        return self._tell("on_call_ended", call, reason)

    def on_call_state_changed(self, call: CallSession, old: CallState, new: CallState) -> Awaitable[None] | None:
        return self._tell("on_call_state_changed", call, old, new)

    def on_dtmf(self, call: CallSession, digit: str, duration_ms: int) -> Awaitable[None] | None:
        return self._tell("on_dtmf", call, digit, duration_ms)

    def on_media_quality(self, call: CallSession, statistics: MediaStatistics) -> Awaitable[None] | None:
        return self._tell("on_media_quality", call, statistics)

    def on_media_timeout(self, call: CallSession, silent_seconds: float) -> Awaitable[None] | None:
        return self._tell("on_media_timeout", call, silent_seconds)

    def on_voice_activity(self, call: CallSession, speaking: bool) -> Awaitable[None] | None:
        return self._tell("on_voice_activity", call, speaking)

    def on_transfer_request(self, call: CallSession, target: str) -> bool | Awaitable[bool]:
        return self._ask(self._audience(call), "on_transfer_request", call, target)

    def on_subscribe(self, subscriber_uri: str, to_uri: str, event: str) -> bool | Awaitable[bool]:
        return self._ask(self._members(), "on_subscribe", subscriber_uri, to_uri, event)

    def on_message(self, message: Message) -> Awaitable[None] | None:
        # It is no call's, so no rule is about it.
        return self._tell_all(self._members(), "on_message", message)

    def on_registration(self, registration: Registration) -> Awaitable[None] | None:
        return self._tell_all(self._members(), "on_registration", registration)

    def on_error(self, call: CallSession | None, error: Exception) -> Awaitable[None] | None:
        if not any(handler._listens("on_error") for handler in self._audience(call)):
            return super().on_error(call, error)
        return self._tell("on_error", call, error)


async def _ask_rest(first: Awaitable[bool], rest: Iterator[CallHandler], name: str, *arguments: object) -> bool:
    answer = await first
    for handler in rest:
        if answer:
            break
        later = cast("bool | Awaitable[bool]", getattr(handler, name)(*arguments))
        answer = await later if isinstance(later, Awaitable) else later
    return answer


async def _gather(pending: list[Awaitable[None]], errors: list[Exception]) -> None:
    if len(pending) == 1 and not errors:
        await pending[0]
        return
    results: list[Any] = await asyncio.gather(*pending, return_exceptions=True)
    _raise(errors + [result for result in results if isinstance(result, Exception)])


def _raise(errors: list[Exception]) -> None:
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup("several handlers failed", errors)
