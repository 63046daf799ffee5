"""Fixtures of the Python tests. They run against the installed package; nothing but loopback is used."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

# What these tests share with those of real peers is beside both.
sys.path.insert(0, str(Path(__file__).parents[1] / "shared"))
sys.path.insert(0, str(Path(__file__).parent))

from support import Peer, Systems


@pytest.fixture
async def systems() -> AsyncIterator[Systems]:
    """Coordinators of one test; at its end they are stopped, and no task of theirs may be left."""
    before = asyncio.all_tasks()
    async with Systems() as made:
        yield made
    left = {task for task in asyncio.all_tasks() - before if "support" not in repr(task) and not task.done()}
    left -= {asyncio.current_task()}  # type: ignore[arg-type]
    assert not [task for task in left if "_dispatch" in repr(task) or "ringback" in task.get_name()], left


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    """A scripted SIP peer."""
    async with Peer() as made:
        yield made
