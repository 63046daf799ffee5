"""The Python half of the event dispatch: what happens when a handler fails, and the little that Rust leaves to Python."""
# pyright: reportPrivateUsage=false

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from ringback._ringback import CallSessionBase, CoordinatorBase, IncomingCallBase, Question, next_turn, plain_result

if TYPE_CHECKING:
    from ringback.coordinator import SessionCoordinator

logger = logging.getLogger("ringback.handler")

_error_tasks: set[asyncio.Task[None]] = set()

Turn: TypeAlias = tuple[IncomingCallBase | CallSessionBase | Question | None, Callable[..., object], tuple[Any, ...]]
"""Which call a handler's method is told about, if any, the method, and its arguments."""


def take_turns(coordinator: "SessionCoordinator") -> None:
    """Calls the handlers that had to wait for others to start, in order; waits for each task that one of them makes."""
    turns = coordinator._turns
    try:
        while turns and next_turn(coordinator):
            _call(coordinator, *turns.popleft())
    finally:
        if turns:
            asyncio.get_running_loop().call_soon(take_turns, coordinator)


def _call(
    coordinator: CoordinatorBase,
    subject: IncomingCallBase | CallSessionBase | Question | None,
    method: Callable[..., object],
    arguments: tuple[Any, ...],
) -> None:
    try:
        result = method(*arguments)
    except Exception as error:
        failed(coordinator, subject, error)
    except BaseException:
        if isinstance(subject, IncomingCallBase):
            coordinator._undecided(subject)
        elif isinstance(subject, Question):
            subject.refuse()
        raise
    else:
        plain_result(coordinator, subject, result)


def failed(
    coordinator: CoordinatorBase, subject: IncomingCallBase | CallSessionBase | Question | None, error: Exception
) -> None:
    """A handler raised: an undecided call gets 500, what it was asked a no, the log and `on_error` are told."""
    if isinstance(subject, IncomingCallBase):
        coordinator._undecided(subject)
        call: CallSessionBase | None = subject._session
    elif isinstance(subject, Question):
        subject.refuse()
        call = subject.call
    else:
        call = subject
    call_id = None if call is None else call.call_id
    on_error = coordinator._on_error
    # The default `on_error` logs; whoever overrides it gets the log beside.
    if on_error is None or getattr(on_error, "__module__", "") != "ringback.handlers.base":
        logger.error("a handler failed (call %s)", call_id, exc_info=error, extra={"call_id": call_id})
    if on_error is None:
        return
    try:
        result = on_error(call, error)
    except Exception:
        logger.exception("on_error failed (call %s)", call_id, extra={"call_id": call_id})
        return
    if result is not None:
        task = asyncio.get_running_loop().create_task(_finish_on_error(result, call_id))
        _error_tasks.add(task)
        task.add_done_callback(_error_tasks.discard)


async def _finish_on_error(result: Awaitable[object], call_id: str | None) -> None:
    try:
        await result
    except Exception:
        logger.exception("on_error failed (call %s)", call_id, extra={"call_id": call_id})


def settle(future: "asyncio.Future[Any]", value: object, error: BaseException | None) -> None:
    """Settles a future on its own loop, unless it was cancelled."""
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
