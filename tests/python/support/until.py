"""Waiting for a condition, with a limit."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def until(condition: Callable[[], T], *, timeout: float = 5.0, what: str = "") -> T:
    """Returns the first true value of `condition`; fails after `timeout` seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while True:
        value = condition()
        if value:
            return value
        if loop.time() > deadline:
            raise AssertionError(f"waited {timeout} s in vain for {what or condition}")
        await asyncio.sleep(0.005)
