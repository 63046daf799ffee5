"""Idle CPUs are kept awake while calls have audio, and no longer."""

import asyncio
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from support import Recorder, until

from ringback import SessionControl

DEVICE = Path("/dev/cpu_dma_latency")
# Of what is asked for here; nothing else on a machine that runs tests is likely to ask for just that.
MICROSECONDS = 137


def allowed():
    """Microseconds that the kernel lets CPUs take to wake: the least that anybody asks for."""
    with DEVICE.open("rb", buffering=0) as device:
        return struct.unpack("=i", device.read(4))[0]


@pytest.mark.skipif(not os.access(DEVICE, os.R_OK | os.W_OK), reason="only for who may ask for it")
async def test_it_holds_while_there_are_calls_with_audio(systems):
    before = allowed()
    if before <= MICROSECONDS:
        pytest.skip("somebody else asks for less")
    server = await systems.start("server", Recorder(), lambda builder: builder.with_cpu_latency(MICROSECONDS * 1e-6))
    caller = await systems.start("caller")
    assert allowed() == before, "no call, no audio"
    one, other = [await systems.answered(caller, server) for _ in range(2)]
    await until(lambda: allowed() == MICROSECONDS)
    await SessionControl.terminate_session(caller, one.id)
    await asyncio.sleep(0.1)
    assert allowed() == MICROSECONDS
    await SessionControl.terminate_session(caller, other.id)
    await until(lambda: allowed() == before)
    await systems.answered(caller, server)
    await until(lambda: allowed() == MICROSECONDS)
    await SessionControl.stop(server)
    await until(lambda: allowed() == before)


def test_who_may_not_ask_is_told_when_building():
    program = """
import asyncio, os
from ringback import SessionManagerBuilder
if os.geteuid() == 0:
    os.setuid(65534)
try:
    asyncio.run(SessionManagerBuilder().with_sip_port(0).with_cpu_latency().build())
except (PermissionError, FileNotFoundError) as error:
    print(error.strerror)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.startswith("cannot hold the CPUs' latency: /dev/cpu_dma_latency: "), done
