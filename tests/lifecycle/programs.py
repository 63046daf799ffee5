"""Runs a small program in an interpreter of its own and says how it ended: what ends badly must not take the tests with it."""

import asyncio
import os
import sys
import textwrap
from dataclasses import dataclass

PRELUDE = """
import asyncio, gc, os, signal, sys, threading, time, warnings
from ringback import *

# A gate that runs in the background has SIGINT ignored; a program that a person starts has not.
signal.signal(signal.SIGINT, signal.default_int_handler)

def builder(name, handler=None):
    b = SessionManagerBuilder().with_local_address(f"sip:{name}@127.0.0.1").with_sip_port(0)
    return b.with_handler(handler) if handler is not None else b

async def connected():
    "Two running systems with one answered call between them."
    bob = await builder("bob", AutoAnswerHandler()).build()
    alice = await builder("alice").build()
    await SessionControl.start(bob)
    await SessionControl.start(alice)
    call = await SessionControl.create_outgoing_call(alice, alice.local_address, bob.local_address)
    await call.wait_for_answer(10)
    return alice, bob, call
"""


@dataclass(frozen=True)
class Ending:
    code: int
    out: str
    err: str


async def run(
    program: str, *, timeout: float = 45, signal_after: tuple[str, int] | None = None, **environment: str
) -> Ending:
    """`signal_after`: once the program printed this line, send it this signal. `environment`: beside ours. A hang fails."""
    source = PRELUDE + textwrap.dedent(program)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-X",
        "faulthandler",
        "-c",
        source,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None and process.stderr is not None
    errors = asyncio.create_task(process.stderr.read())
    lines: list[bytes] = []
    try:
        async with asyncio.timeout(timeout):
            async for line in process.stdout:
                lines.append(line)
                if signal_after is not None and line.decode().strip() == signal_after[0]:
                    process.send_signal(signal_after[1])
            code = await process.wait()
    except TimeoutError:
        process.kill()
        said = f"{b''.join(lines).decode()}\n{(await errors).decode()}"
        raise AssertionError(f"the program hangs; it said:\n{said}") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ending(code, b"".join(lines).decode(), (await errors).decode())
