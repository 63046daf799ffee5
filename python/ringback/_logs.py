"""Logging: records of the engine through Python's `logging`, under the loggers `ringback.sip`, `ringback.transaction`,
`ringback.dialog`, `ringback.session`, `ringback.media` and `ringback.net`.

The engine makes a record only where the logger wants its level. `Levels` carries the loggers' effective levels over: at
each command, and four times a second, so that a level set while running counts within a quarter of a second, and costs
nothing while it is off. Each record has an attribute `call_id`, the SIP Call-ID or None.
"""
# pyright: reportPrivateUsage=false

import asyncio
import logging
import weakref

from ringback._ringback import CoordinatorBase, log_targets

INTERVAL = 0.25

_LOGGERS = {target: logging.getLogger(target) for target in log_targets()}

# Numbers between these are as good as the next one up.
_STEPS = (5, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)


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
        self._tick()

    def sync(self) -> None:
        """Brings what has changed to the engine."""
        for target, logger in _LOGGERS.items():
            level = next((step for step in _STEPS if logger.isEnabledFor(step)), None)
            if target not in self._known or self._known[target] != level:
                coordinator = self._coordinator()
                if coordinator is None:
                    return
                self._known[target] = level
                coordinator._set_log_level(target, level)

    def _tick(self) -> None:
        if self._coordinator() is None:
            self._timer = None
            return
        self.sync()
        self._timer = self._loop.call_later(INTERVAL, self._tick)

    def close(self) -> None:
        """Ends the ticking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
