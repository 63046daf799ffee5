"""`Limits`: what peers may make a system keep and do."""

from dataclasses import dataclass

from ringback._seconds import Seconds, seconds


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on what peers can ask. The limits on single sources are off by default, for a trunk sends everything from one address; a
    source is an IPv4 address or an IPv6 /64, and requests within calls that stand are never held against it.

    Raises `ValueError` and `TypeError` for what is no bound.
    """

    half_open_invites: int = 10_000
    """INVITEs that wait for an answer or its ACK; one more is 503 with Retry-After.

    What is free of them is shared out: one source may hold three times as much as is still free, so that one that floods gets
    three quarters of all, and two get three sevenths each. The senders of datagrams are easily forged: those from which nothing
    has come yet that names what was sent to them (an ACK, even to that 503) have three quarters of all to share in the same way.
    Sessions (`with_max_sessions`) are shared out likewise among sources that do not acknowledge the answers to their calls.
    """
    connections: int = 10_000
    """Streams of all peers."""
    connections_per_source: int | None = None
    """Of those, accepted from one source. None: no limit."""
    requests_per_second_per_source: int | None = None
    """One more is 503 with Retry-After, twice as many are not answered. None: no limit."""
    message_bytes: int = 65_535
    """A longer message is 513 over UDP, and the end of its stream elsewhere."""
    faults_per_minute_per_source: int | None = None
    """Unreadable requests and those of scanners; one more, and what that source asks is dropped unread for `shut_out`. None: no limit.
    """
    shut_out: Seconds = 300.0
    """Seconds."""
    drop_scanners: bool = True
    """Requests whose User-Agent is that of a known scanning program (friendly-scanner, sipvicious, ...) are dropped."""

    def __post_init__(self) -> None:
        for name, least in (("half_open_invites", 1), ("connections", 0), ("message_bytes", 256)):
            _check(name, getattr(self, name), least)
        for name in ("connections_per_source", "requests_per_second_per_source", "faults_per_minute_per_source"):
            if getattr(self, name) is not None:
                _check(name, getattr(self, name), 1)
        seconds(self.shut_out, "shut_out", zero=False)


def _check(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not least <= value <= 0xFFFF_FFFF:
        raise ValueError(f"{name} must be {least} or more, not {value}")
