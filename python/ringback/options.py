"""What a peer says about itself when it is asked outside of a call; the operation is `SessionControl.send_options`."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class OptionsReply:
    """A peer's final response to OPTIONS (RFC 3261 §11)."""

    status: int
    """200 to 699: what the peer would say to an INVITE now. 200 is ready, 486 busy; 404, 405 and 501 come from peers that
    are there, but do not know the user or the method."""
    round_trip_ms: float
    """Milliseconds from the first transmission of the request, to the address that answered, until its final response.
    Repetitions of what was lost (after 500 ms, RFC 3261 §17.1.2.2) and the peer's own time are within; look-ups,
    addresses that failed and the opening of a TCP connection are not. Measured by the engine's thread, whatever the
    loop was doing."""
    allow: Sequence[str]
    """Methods, as the peer lists them; empty where it does not."""
    user_agent: str | None
    """What the peer calls itself: Server, else User-Agent."""
