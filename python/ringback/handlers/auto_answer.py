"""`AutoAnswerHandler`."""

from collections.abc import Awaitable

from ringback._ringback import CallDecision
from ringback.handlers.base import CallHandler
from ringback.incoming import IncomingCall


class AutoAnswerHandler(CallHandler):
    """Accepts everything. Unless `on_incoming_call` is overridden, calls are answered without asking Python at all."""

    def on_incoming_call(self, call: IncomingCall) -> CallDecision | Awaitable[CallDecision | None] | None:
        return CallDecision.Accept()
