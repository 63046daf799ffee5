"""Ends that nobody asked for: the interpreter's, a forked child's; and work that must not hold the loop."""
# pyright: reportPrivateUsage=false

import asyncio
import atexit
import contextlib
import os
import threading
import weakref
from collections.abc import Callable
from typing import TypeVar

from ringback._dispatch import settle
from ringback._ringback import CoordinatorBase, shutdown_all

_Result = TypeVar("_Result")

_all: "weakref.WeakSet[CoordinatorBase]" = weakref.WeakSet()


def remember(coordinator: CoordinatorBase) -> None:
    """Takes part in `atexit` and `fork` from now on."""
    _all.add(coordinator)


def _at_exit() -> None:
    """BYE to every call that is still up, all systems at once, and the end of their threads: about half a second."""
    shutdown_all([coordinator for coordinator in _all if coordinator.is_running()])


def _in_child() -> None:
    """The sockets, threads and calls are the parent's."""
    for coordinator in list(_all):
        coordinator._forked()


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_in_child)


async def in_thread(work: Callable[[], _Result]) -> _Result:
    """Runs `work` in a thread of its own: the loop's executor may be full, or gone. Not cancellable; `work` goes on."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_Result] = loop.create_future()

    def run() -> None:
        result: _Result | None = None
        error: BaseException | None = None
        try:
            result = work()
        except BaseException as caught:
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, done, result, error)

    thread = threading.Thread(target=run, name="ringback-work", daemon=True)
    thread.start()
    result = await done
    # Telling us was the last it did: nothing is left to wait for but its end.
    thread.join()
    return result
