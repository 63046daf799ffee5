"""`CallHandler`: the base class of all handlers, and which of its methods a handler really has."""

import logging
from collections.abc import Awaitable
from typing import Final

from ringback._ringback import CallDecision
from ringback.accounts import Registration
from ringback.incoming import IncomingCall
from ringback.media import MediaStatistics
from ringback.messages import Message
from ringback.session import CallSession
from ringback.states import CallState

logger: logging.Logger = logging.getLogger("ringback.handler")


class CallHandler:
    """What a program does about calls. Subclass it and override what you need, by `def` or `async def`.

    Every method runs on the loop of the coordinator. The methods of one call start in the order of its events, and none
    waits for an earlier one to finish. Methods that are not overridden cost nothing: `SessionManagerBuilder.build`
    looks which are, and takes the bound methods, so replacing one later has no effect. An exception goes to the log and
    to `on_error`; a call that is still undecided then gets 500.
    """

    def on_incoming_call(self, call: IncomingCall) -> CallDecision | Awaitable[CallDecision | None] | None:
        """A call came in: decide. None is 480, as if there were no handler.

        A CANCEL, and the answer timeout, cancel a pending coroutine. What is returned after the call was decided
        through `SessionControl` or the call's own methods is ignored.
        """
        return None

    def on_call_progress(self, call: CallSession, status: int, sdp: str | None) -> Awaitable[None] | None:
        """A provisional response, 101 to 199, came for a call we placed."""
        return None

    def on_call_established(
        self, call: CallSession, local_sdp: str | None, remote_sdp: str | None
    ) -> Awaitable[None] | None:
        """A call was answered, either way; both descriptions as they were sent and received."""
        return None

    def on_call_ended(self, call: CallSession, reason: str) -> Awaitable[None] | None:
        """A call ended; once for every call, however it ended. Counters and lists have changed before."""
        return None

    def on_call_state_changed(self, call: CallSession, old: CallState, new: CallState) -> Awaitable[None] | None:
        """`CallSession.state` changed."""
        return None

    def on_dtmf(self, call: CallSession, digit: str, duration_ms: int) -> Awaitable[None] | None:
        """The peer pressed a key: one of 0-9 * # A-D, once a press (RFC 4733)."""
        return None

    def on_media_quality(self, call: CallSession, statistics: MediaStatistics) -> Awaitable[None] | None:
        """The measurement that `MediaControl.start_statistics_monitoring` asked for."""
        return None

    def on_media_timeout(self, call: CallSession, silent_seconds: float) -> Awaitable[None] | None:
        """No RTP has come for so long though it was due."""
        return None

    def on_voice_activity(self, call: CallSession, speaking: bool) -> Awaitable[None] | None:
        """The peer has begun to speak, or stopped: what `MediaControl.detect_voice` asked for."""
        return None

    def on_transfer_request(self, call: CallSession, target: str) -> bool | Awaitable[bool]:
        """The peer wants the call to be continued with `target` instead of itself (REFER, RFC 3515).

        True: a new session is placed to the target, and this one ends when it answers; if it does not, this one stays as
        it was. In a forwarded or bridged call the other side is connected with the new session. False, an exception, and
        no answer within 20 s refuse it (603).
        """
        return False

    def on_subscribe(self, subscriber_uri: str, to_uri: str, event: str) -> bool | Awaitable[bool]:
        """A peer wants to be told of the calls of `to_uri` (`event` "dialog", RFC 4235: busy lamps) or of its mailbox
        ("message-summary", RFC 3842), now and whenever they change.

        True: it is told, of the system's sessions that are from or to `to_uri`, or of what
        `SessionCoordinator.publish_message_summary` says. False, an exception, and no answer within 20 s refuse it (403).
        Other events are refused without asking (489).
        """
        return False

    def on_message(self, message: Message) -> Awaitable[None] | None:
        """A MESSAGE came (RFC 3428), and has been answered with 200.

        Without this method senders get 405. What is no text in a charset that is known (UTF-8, ASCII, ISO 8859-1) was
        refused with 415; more than 1,000 a second, and all while the loop is more than 2 s late, get 503.
        """
        return None

    def on_registration(self, registration: Registration) -> Awaitable[None] | None:
        """An account of ours changed its state: `registration.state`."""
        return None

    def on_error(self, call: CallSession | None, error: Exception) -> Awaitable[None] | None:
        """A handler method raised `error`, or a decision of it could not be carried out. The default logs it."""
        call_id = None if call is None else call.call_id
        logger.error("a handler failed (call %s)", call_id, exc_info=error, extra={"call_id": call_id})
        return None

    def _listens(self, name: str) -> bool:
        """Whether method `name` does anything."""
        return overrides(self, name, CallHandler)

    def _begins(self, system: object) -> None:
        """A system with this handler has started; `system` stands for it."""

    def _ends(self, system: object) -> None:
        """It has stopped: no more calls come from it."""


METHODS: Final = (
    "on_incoming_call",
    "on_call_progress",
    "on_call_established",
    "on_call_ended",
    "on_call_state_changed",
    "on_dtmf",
    "on_media_quality",
    "on_media_timeout",
    "on_voice_activity",
    "on_transfer_request",
    "on_subscribe",
    "on_message",
    "on_registration",
    "on_error",
)


def overrides(handler: CallHandler, name: str, base: type[CallHandler]) -> bool:
    """True where `handler.<name>` is not the one of `base`: overridden in a subclass, or set on the instance."""
    method = getattr(handler, name)
    return getattr(method, "__func__", method) is not getattr(base, name)
