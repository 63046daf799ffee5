"""Durations as the API takes them: seconds or `timedelta`."""
# pyright: reportUnnecessaryIsInstance=false

import math
from datetime import timedelta
from typing import TypeAlias

Seconds: TypeAlias = float | timedelta
"""A duration: seconds as `float` or `int`, or a `timedelta`."""

TEN_YEARS = 10 * 366 * 86_400.0


def seconds(value: Seconds, name: str, *, zero: bool = True) -> float:
    """Checked seconds: `TypeError` for what is no duration, `ValueError` for one that is negative, endless, or (unless
    `zero`) zero.
    """
    if isinstance(value, timedelta):
        number = value.total_seconds()
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)
    else:
        raise TypeError(f"{name} must be seconds or a timedelta, not {type(value).__name__}")
    if math.isnan(number) or number > TEN_YEARS or number < 0 or (number == 0 and not zero):
        least = "0" if zero else "above 0"
        raise ValueError(f"{name} must be {least} to {TEN_YEARS:.0f} seconds, not {number:g}")
    return number


def wait_seconds(value: Seconds, name: str) -> float | None:
    """As `seconds`, for a time to wait: endless is `None`, and what has passed already is zero."""
    if isinstance(value, float) and value == math.inf:
        return None
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, (int, float)) and value < 0:
        value = 0.0
    return seconds(value, name)
