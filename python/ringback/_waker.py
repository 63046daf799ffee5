"""Waking a loop that has no `add_reader`: a thread waits for the descriptor and calls `call_soon_threadsafe`, once a
drain.
"""

import asyncio
import contextlib
import os
import select
import threading
from collections.abc import Callable


class Waker:
    """Calls `drain` on `loop` whenever `descriptor` is readable, until closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, descriptor: int, drain: Callable[[], object]) -> None:
        self._loop = loop
        self._drain = drain
        # A descriptor of its own: the queue may go while the thread still waits for it.
        self._descriptor = os.dup(descriptor)
        self._stop_reader, self._stop_writer = os.pipe()
        self._drained = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ringback-waker", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        poll.register(self._stop_reader, select.POLLIN)
        try:
            while not self._closed:
                ready = poll.poll()
                if self._closed or any(descriptor == self._stop_reader for descriptor, _ in ready):
                    return
                self._drained.clear()
                self._loop.call_soon_threadsafe(self._wake)
                self._drained.wait()
        except RuntimeError:
            return  # the loop was closed under us
        finally:
            os.close(self._descriptor)
            os.close(self._stop_reader)

    def _wake(self) -> None:
        try:
            if not self._closed:
                self._drain()
        finally:
            self._drained.set()

    def close(self) -> None:
        """Ends the thread."""
        if not self._closed:
            self._closed = True
            self._drained.set()
            with contextlib.suppress(OSError):
                os.write(self._stop_writer, b"x")
            os.close(self._stop_writer)
            if threading.current_thread() is not self._thread:
                self._thread.join(1.0)
