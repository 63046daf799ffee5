"""What is told about bridges; the operations are `SessionCoordinator`'s."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ringback._ringback import BridgeId, SessionId


@dataclass(frozen=True, kw_only=True)
class BridgeInfo:
    """A bridge as it is at one moment."""

    id: BridgeId
    name: str | None
    sessions: Sequence[SessionId]
    participant_count: int
    talking: Sequence[SessionId]
    """Who speaks, as far as that is measured."""
    locked: bool
    created_at: datetime
    """Aware, UTC."""
