"""The small closed sets of names: states, directions, transports, ways to send digits."""

from enum import StrEnum, auto


class CallDirection(StrEnum):
    """Who placed the call."""

    INCOMING = auto()
    OUTGOING = auto()


class CallState(StrEnum):
    """What a call is doing; see `CallSession.state`."""

    INITIATING = auto()
    """Nothing has come back yet."""
    RINGING = auto()
    """A provisional response (101-199) was sent or received."""
    ACTIVE = auto()
    """Answered."""
    ON_HOLD = auto()
    """We hold; being held is `CallSession.remote_hold`."""
    TRANSFERRING = auto()
    TERMINATED = auto()
    """Ended after an answer."""
    CANCELLED = auto()
    """Given up before an answer."""
    REJECTED = auto()
    """Refused with a final response."""
    FAILED = auto()
    """No way to the peer, no answer from the network, a transport or media error."""

    @property
    def is_final(self) -> bool:
        """True for the four states that a call never leaves."""
        return self in _FINAL


_FINAL = frozenset({CallState.TERMINATED, CallState.CANCELLED, CallState.REJECTED, CallState.FAILED})


class Transport(StrEnum):
    """What SIP messages travel by."""

    UDP = auto()
    TCP = auto()
    TLS = auto()
    WS = auto()
    """WebSocket (RFC 7118)."""
    WSS = auto()
    """WebSocket over TLS."""


class DtmfMethod(StrEnum):
    """How digits are sent."""

    AUTO = auto()
    """telephone-event where it was negotiated, else INFO."""
    RTP_EVENT = auto()
    """telephone-event packets (RFC 4733); `MediaError` where they were not negotiated."""
    INFO = auto()
    """A SIP INFO with application/dtmf-relay for each digit; `CallRejected` where the peer refuses one."""
    INBAND = auto()
    """Tones in the audio (ITU-T Q.23), in place of whatever the call sends meanwhile."""


class Signal(StrEnum):
    """What a caller hears of a call's progress where nobody speaks (ITU-T E.180)."""

    RINGBACK = auto()
    """The called party is being alerted."""
    BUSY = auto()
    """The called party is engaged."""
    CONGESTION = auto()
    """No way there is free."""
