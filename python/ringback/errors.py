"""The exceptions of ringback: everything that an operation on calls can raise, under one base class.

Arguments that are wrong in themselves (a port of 70000, a digit "x") raise Python's own `ValueError` and `TypeError`.
"""

from collections.abc import Sequence

from ringback._ringback import BridgeId, SessionId
from ringback.states import CallState


class SessionError(Exception):
    """Base of all of them."""


class InvalidUri(SessionError, ValueError):
    """A text is no URI, or one of a kind that cannot be used there (RFC 3261 §19.1)."""

    uri: str
    """The text."""

    def __init__(self, message: str = "", *, uri: str = "") -> None:
        super().__init__(message)
        self.uri = uri


class ResourceExhausted(SessionError):
    """No media port or no session is left: "No available RTP ports", "Maximum sessions reached"."""


class BindError(SessionError, OSError):
    """A listening socket could not be had: "Failed to bind SIP port 5060: ..."."""

    def __init__(self, message: str = "", *, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno


class SessionNotFound(SessionError, LookupError):
    """No session has this identity, or it ended more than a minute ago."""

    session_id: SessionId

    def __init__(self, message: str = "", *, session_id: SessionId | None = None) -> None:
        super().__init__(message)
        if session_id is not None:
            self.session_id = session_id


class BridgeNotFound(SessionError, LookupError):
    """No bridge has this identity."""

    bridge_id: BridgeId

    def __init__(self, message: str = "", *, bridge_id: BridgeId | None = None) -> None:
        super().__init__(message)
        if bridge_id is not None:
            self.bridge_id = bridge_id


class InvalidState(SessionError):
    """The operation does not fit the state of the call."""

    state: CallState
    """The state that the call was in."""

    def __init__(self, message: str = "", *, state: CallState | None = None) -> None:
        super().__init__(message)
        if state is not None:
            self.state = state


class NotRunningError(SessionError):
    """The coordinator was not started, or was stopped."""


class SdpError(SessionError, ValueError):
    """A session description cannot be read, or does not answer its offer (RFC 3264)."""


class InvalidHeader(SessionError, ValueError):
    """A header holds CR, LF or NUL, its name is no token, or the engine writes that header itself."""


class CallRejected(SessionError):
    """The peer refused with a final response, or this side did."""

    status: int
    """300 to 699."""
    reason: str
    """The reason phrase, "Busy Here"."""
    targets: Sequence[str]
    """Contacts of a 3xx, as they came: where else to try."""

    def __init__(self, message: str = "", *, status: int = 603, reason: str = "", targets: Sequence[str] = ()) -> None:
        super().__init__(message or f"{status} {reason}".rstrip())
        self.status = status
        self.reason = reason
        self.targets = tuple(targets)


class CallFailed(SessionError):
    """The call ended FAILED: no way to the peer, no answer from the network, a transport or media error.

    Also a request outside of calls (`send_options`) for which there is no way to the peer.
    """

    status: int | None
    """What a SIP response would have said (408: no answer), where there is such a thing."""
    cause: str
    """What went wrong, in words."""

    def __init__(self, message: str = "", *, status: int | None = None, cause: str = "") -> None:
        super().__init__(message or cause)
        self.status = status
        self.cause = cause


class RegistrationFailed(SessionError):
    """An account is not registered."""

    status: int | None
    """The registrar's final response; None where there was none."""

    def __init__(self, message: str = "", *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class RegistrationTimeout(RegistrationFailed, TimeoutError):
    """`Registration.wait_registered` waited long enough; the attempts go on."""


class CallCancelled(SessionError):
    """The call was given up before it was answered."""


class AnswerTimeout(SessionError, TimeoutError):
    """No answer within the time that `wait_for_answer` was given, while the call goes on ringing; or that `send_options`
    was given.
    """


class TransferFailed(SessionError):
    """A transfer did not come about; the call is what it was before, unless it has ended."""

    status: int | None
    """The target's final response, as the peer tells it, or the peer's own to the wish (603: it does not want to; 408: no
    outcome was told in time); None where there is none."""

    def __init__(self, message: str = "", *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class MediaError(SessionError):
    """The call's media cannot do that: there is none, it is not ours, or it has ended."""
