"""`RoutingHandler`."""
# pyright: reportUnnecessaryIsInstance=false, reportPrivateUsage=false

import re
from collections import OrderedDict
from collections.abc import Awaitable, Iterable
from re import Pattern
from typing import Self

from ringback._ringback import CallDecision, SessionId, user_part
from ringback.handlers.base import CallHandler
from ringback.handlers.fan_out import FanOutHandler
from ringback.incoming import IncomingCall
from ringback.session import CallSession
from ringback.states import CallDirection


class RoutingHandler(FanOutHandler):
    """Decides by the called user part: the first rule whose pattern matches the whole of it counts, else `default`.

    The events of a call that was routed to a handler, and of the second leg that it forwards it to, go to that handler.
    Events of other calls that are placed go to all handlers among the rules.
    """

    def __init__(self, default: CallDecision) -> None:
        if not isinstance(default, CallDecision):
            raise TypeError(f"default must be a CallDecision, not {type(default).__name__}")
        self._default = default
        self._rules: list[tuple[Pattern[str], CallDecision | CallHandler]] = []
        self._owners: OrderedDict[SessionId, CallHandler] = OrderedDict()

    def route(self, pattern: str | Pattern[str], decision: CallDecision | CallHandler) -> Self:
        """Adds a rule behind those there are. `ValueError` where `pattern` is no regular expression."""
        if isinstance(pattern, str):
            try:
                pattern = re.compile(pattern)
            except re.error as error:
                raise ValueError(f"not a regular expression: {pattern!r}: {error}") from None
        elif not isinstance(pattern, re.Pattern):
            raise TypeError(f"pattern must be a str or a compiled pattern, not {type(pattern).__name__}")
        if not isinstance(decision, CallDecision | CallHandler):
            raise TypeError(f"decision must be a CallDecision or a CallHandler, not {type(decision).__name__}")
        self._rules.append((pattern, decision))
        return self

    def on_incoming_call(self, call: IncomingCall) -> CallDecision | Awaitable[CallDecision | None] | None:
        user = user_part(call.to_uri)
        for pattern, decision in self._rules:
            if pattern.fullmatch(user):
                if isinstance(decision, CallDecision):
                    return decision
                self._own(call.id, decision)
                return decision.on_incoming_call(call)
        return self._default

    # Calls whose owner is remembered. An entry is not removed with its call, because the other leg may end later; a
    # system with more
    # calls at once than this should route to decisions.
    _OWNED_MOST = 65_536

    def _own(self, session: SessionId, handler: CallHandler) -> None:
        self._owners[session] = handler
        if len(self._owners) > self._OWNED_MOST:
            self._owners.popitem(last=False)

    def _listens(self, name: str) -> bool:
        return name == "on_incoming_call" or super()._listens(name)

    def _members(self) -> Iterable[CallHandler]:
        return list(dict.fromkeys(target for _, target in self._rules if isinstance(target, CallHandler)))

    def _audience(self, call: CallSession | None) -> Iterable[CallHandler]:
        if call is None:
            return self._members()
        owner = self._owners.get(call.id)
        if owner is None and call.peer_id is not None:
            owner = self._owners.get(call.peer_id)
            if owner is not None:
                self._own(call.id, owner)
        if owner is not None:
            return (owner,)
        return self._members() if call.direction is CallDirection.OUTGOING else ()
