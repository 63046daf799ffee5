"""`CallSession`: one leg of a call with one peer."""

import asyncio
import contextlib
from collections.abc import Generator
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

from ringback import _ringback
from ringback._ringback import CallSessionBase, CoordinatorBase, SessionId
from ringback._seconds import Seconds, wait_seconds
from ringback.errors import AnswerTimeout, InvalidState, SessionError, SessionNotFound
from ringback.states import DtmfMethod

if TYPE_CHECKING:
    from ringback.coordinator import SessionCoordinator


class CallSession(CallSessionBase):
    """A live handle of one leg of a call: the properties read the present state, the methods are `SessionControl`'s for
    this call.

    Handles are equal, and hash alike, where their `id` is. One that a program holds stays readable after the call's end
    and after `stop`. As a context manager it is a session guard: leaving the block hangs up.
    """

    __slots__ = ()

    @property
    def coordinator(self) -> "SessionCoordinator":
        """The system that the call belongs to."""
        return cast("SessionCoordinator", self._coordinator)

    async def hangup(self, reason: str | None = None) -> None:
        """CANCEL, BYE or a final response, whichever the state needs. On return the state is final. No-op on an ended
        call.
        """
        try:
            await _ringback.hangup(self._coordinator, self.id, reason)
        except SessionNotFound:
            # The system remembers ended calls for a minute; the handle knows longer.
            if not self.state.is_final:
                raise

    async def hold(self) -> None:
        """Holds the peer (re-INVITE, a=sendonly); returns after the 2xx. Raises `InvalidState`, `CallRejected`."""
        with self._remembered():
            await _ringback.hold(self._coordinator, self.id)

    async def resume(self) -> None:
        """Ends our hold; returns after the 2xx. Raises `InvalidState`, `CallRejected`."""
        with self._remembered():
            await _ringback.resume(self._coordinator, self.id)

    async def transfer(self, target: str | SessionId) -> None:
        """Lets the peer go on with somebody else: a URI, or the peer of another call; see
        `SessionControl.transfer_session`. Raises `TransferFailed`.
        """
        with self._remembered():
            await _ringback.transfer(self._coordinator, self.id, target)

    async def send_dtmf(self, digits: str) -> None:
        """Sends digits: 0-9 * # A-D, "," pauses 1 s. Returns when the last has been sent. Raises `ValueError`,
        `InvalidState`.
        """
        with self._remembered():
            await send_dtmf(self._coordinator, self.id, digits, DtmfMethod.AUTO, 100, 100)

    async def wait_for_answer(self, timeout: Seconds) -> None:
        """Returns at once if the call was ever answered; otherwise raises what ended it.

        Raises `CallRejected`, `CallCancelled`, `CallFailed`; `AnswerTimeout`, which leaves the call ringing.
        """
        await wait_for_answer(self, timeout)

    async def wait_ended(self) -> str:
        """Waits for the end of the call and returns the reason, `end_reason`."""
        reason, future = _ringback.end_future(self)
        if future is None:
            assert reason is not None
            return reason
        try:
            return await future
        finally:
            _ringback.forget_future(self, future)

    @contextlib.contextmanager
    def _remembered(self) -> Generator[None, None, None]:
        """An operation on a call that has ended raises the same after the minute for which the system remembers it."""
        try:
            yield
        except SessionNotFound as error:
            if error.session_id != self.id or not self.state.is_final:
                raise
            raise InvalidState(f"the call is {self.state}", state=self.state) from None

    async def __aenter__(self) -> Self:
        """The call itself: the block guards it."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hangs up, unless the call has ended."""
        if self.state.is_final or not self.coordinator.is_running():
            return
        try:
            await self.hangup()
        except SessionError:
            # It ended, or the whole system did, while we were at it: that is what was wanted.
            if not self.state.is_final and self.coordinator.is_running():
                raise


async def wait_for_answer(call: CallSessionBase, timeout: Seconds) -> None:
    """`CallSession.wait_for_answer` and `SessionControl.wait_for_answer`."""
    limit = wait_seconds(timeout, "timeout")
    future = _ringback.answer_future(call)
    if future is None:
        return
    try:
        await asyncio.wait((future,), timeout=limit)
        if not future.done():
            raise AnswerTimeout(f"no answer within {limit:g} s")
        future.result()
    finally:
        _ringback.forget_future(call, future)


async def send_dtmf(
    coordinator: CoordinatorBase, session: SessionId, digits: str, method: DtmfMethod, duration_ms: int, gap_ms: int
) -> None:
    """`CallSession.send_dtmf` and `SessionControl.send_dtmf`."""
    sending = _ringback.send_dtmf(coordinator, session, digits, method, duration_ms, gap_ms)
    try:
        await sending
    except asyncio.CancelledError:
        if sending.cancelled():
            _ringback.give_up_dtmf(coordinator, session, sending)
        raise
