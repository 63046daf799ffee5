"""Logging: records of the engine through Python's `logging`, under the loggers `ringback.sip`, `ringback.transaction`,
`ringback.dialog`, `ringback.session`, `ringback.media` and `ringback.net`.

The engine makes a record only where the logger wants its level. `Levels` carries the loggers' effective levels over. A
level set while running, on a logger or any above it, or by `logging.disable`, counts at once in every system of the
process: `logging` then clears what a logger has remembered of its levels, and that tells us. What changes without
(`Logger.disabled`) is noticed at the next command, or within a quarter of a second. Each record has an attribute
`call_id`, the SIP Call-ID or None.
"""
# pyright: reportPrivateUsage=false

import asyncio
import logging
import threading
import weakref

from ringback._ringback import CoordinatorBase, log_targets

INTERVAL = 0.25

_LOGGERS = {target: logging.getLogger(target) for target in log_targets()}

# Numbers between these are as good as the next one up.
_STEPS = (5, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)


_running: "weakref.WeakSet[Levels]" = weakref.WeakSet()
_running_lock = threading.RLock()  # the garbage collector may come in between


class _Remembered(dict[int, bool]):
    """What a logger remembers of its levels (`Logger._cache`); `logging` clears it, in any thread, when a level above
    changes.
    """

    __slots__ = ("_target",)

    def __init__(self, target: str) -> None:
        super().__init__()
        self._target = target

    def clear(self) -> None:
        super().clear()
        with _running_lock:
            running = list(_running)
        for levels in running:
            levels.renew(self._target)


for _target, _logger in _LOGGERS.items():
    # Where `logging` has changed inside, there is still the time between two ticks.
    if type(getattr(_logger, "_cache", None)) is dict:
        _logger.__dict__["_cache"] = _Remembered(_target)


def _wanted(logger: logging.Logger) -> int | None:
    return next((step for step in _STEPS if logger.isEnabledFor(step)), None)


def emit(target: str, level: int, message: str, call_id: str | None, created: float) -> None:
    """Hands one record of the engine to `logging`."""
    logger = _LOGGERS.get(target) or logging.getLogger(target)
    if not logger.isEnabledFor(level):
        return
    record = logger.makeRecord(target, level, "ringback", 0, message, (), None, None, {"call_id": call_id})
    record.created = created
    record.msecs = (created - int(created)) * 1000
    logger.handle(record)


class Levels:
    """Keeps one running coordinator's levels those of the loggers. Knows the coordinator weakly."""

    def __init__(self, coordinator: CoordinatorBase, loop: asyncio.AbstractEventLoop) -> None:
        self._coordinator = weakref.ref(coordinator)
        self._loop = loop
        self._known: dict[str, int | None] = {}
        self._timer: asyncio.TimerHandle | None = None
        with _running_lock:
            _running.add(self)
        self._tick()

    def sync(self) -> None:
        """Brings what has changed to the engine."""
        for target, logger in _LOGGERS.items():
            if target not in self._known or self._known[target] != _wanted(logger):
                self.renew(target)

    def renew(self, target: str) -> None:
        """Brings one logger's level to the engine; any thread."""
        coordinator = self._coordinator()
        if coordinator is not None:
            level = self._known[target] = _wanted(_LOGGERS[target])
            coordinator._set_log_level(target, level)

    def _tick(self) -> None:
        if self._coordinator() is None:
            self._timer = None
            return
        # All of them: two threads may have changed one at the same time.
        for target in _LOGGERS:
            self.renew(target)
        self._timer = self._loop.call_later(INTERVAL, self._tick)

    def close(self) -> None:
        """No more of this coordinator."""
        with _running_lock:
            _running.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
