"""`IncomingCall`: an INVITE that waits for a decision."""

from typing import TYPE_CHECKING

from ringback._ringback import IncomingCallBase, accept, forward, reject
from ringback.errors import InvalidState
from ringback.states import CallState

if TYPE_CHECKING:
    from ringback._ringback import CoordinatorBase
    from ringback.session import CallSession


class IncomingCall(IncomingCallBase):
    """An INVITE that waits for a decision.

    Programs construct it in tests, by keyword; `accept` and the like need one that came from the network, else they
    raise `InvalidState`. A decision through these methods may come at any time after `on_incoming_call` returned
    `CallDecision.Defer`, or before it returned at all: the first decision counts.
    """

    __slots__ = ()

    def header_values(self, name: str) -> list[str]:
        """All values of a header that is repeated, one a line of the message; empty where there is none."""
        return self.headers.values_of(name)

    def _received_by(self) -> "CoordinatorBase":
        coordinator = self._coordinator
        if coordinator is None:
            raise InvalidState(
                "this IncomingCall was made by the program, not received: there is nobody to answer",
                state=CallState.INITIATING,
            )
        return coordinator

    async def accept(self, sdp: str | None = None) -> "CallSession":
        """Answers with 200. See `CallDecision.Accept` for `sdp`.

        Raises `InvalidState` (decided already, or over), `SdpError`, `NotRunningError`, `ResourceExhausted`.
        """
        await accept(self._received_by(), self, sdp)
        session = self._session
        assert session is not None
        return session

    async def reject(self, reason: str, *, status: int = 603) -> None:
        """Refuses with a final response, 400 to 699. Raises `ValueError`, `InvalidState`, `NotRunningError`."""
        await reject(self._received_by(), self, reason, status)

    async def forward(self, target: str, *others: str, redirect: bool = False, parallel: bool = False) -> None:
        """Connects the caller with a target, or sends it to all of them by a 302; see `CallDecision.Forward`.

        Returns once the second leg is on its way. Raises `InvalidUri`, `ValueError`, `InvalidState`, `NotRunningError`.
        """
        await forward(self._received_by(), self, target, list(others), redirect, parallel)
