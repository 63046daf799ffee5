"""Calls through NATs, with coturn as the STUN and TURN server in the public network."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from leash import leashed
from namespaces import PUBLIC, World, within

HERE = Path(__file__).parent
SERVER = f"{PUBLIC}:3478"

# None of it crosses the machine's own network, where captures are made.
EXPECTED: tuple[str, ...] = ()

pytestmark = [pytest.mark.peer("turnserver"), pytest.mark.peer("nft")]


class Program:
    """A process of a test, its lines, and its end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    @asynccontextmanager
    async def run(cls, command: list[str]) -> AsyncIterator["Program"]:
        process = await asyncio.create_subprocess_exec(
            *leashed(*command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        program = cls(process)
        try:
            yield program
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), 5)
                except TimeoutError:
                    process.kill()
            await program._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.lines.append(line.decode(errors="replace").rstrip())
            self._news.set()
        self._news.set()

    def say(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")

    async def wait_for(self, pattern: str, count: int = 1) -> str:
        """The `count`th line with `pattern`."""
        end = asyncio.get_running_loop().time() + 25
        while True:
            found = [line for line in self.lines if re.search(pattern, line)]
            if len(found) >= count:
                return found[count - 1]
            told = "\n".join(self.lines[-30:])
            assert not self._reading.done(), f"it has ended: {told}"
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), end - asyncio.get_running_loop().time())
            except TimeoutError:
                raise AssertionError(f"waited in vain for {pattern!r}: {told}") from None

    async def told(self, key: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(await self.wait_for(rf'^\{{"{key}"'))
        return told

    async def end(self) -> int:
        return await asyncio.wait_for(self._process.wait(), 30)


def system(namespace: str, **task: Any) -> list[str]:
    return within(namespace, sys.executable, "-P", HERE / "nat_program.py", json.dumps(task))


@asynccontextmanager
async def coturn(world: World, directory: Path) -> AsyncIterator[Program]:
    command = within(
        world.public, "turnserver", "-n", "-v", "--listening-ip", PUBLIC, "--relay-ip", PUBLIC, "--lt-cred-mech",
        "--user", "alice:secret", "--realm", "ringback.test", "--no-tls", "--no-dtls", "--no-cli", "--log-file", "stdout",
        "--simple-log", "--userdb", directory / "turndb", "--pidfile", directory / "turnserver.pid",
    )  # fmt: skip
    async with Program.run(command) as server:
        await server.wait_for(r"IPv4\. UDP listener opened on")
        yield server


@pytest.fixture
def world():
    with World() as made:
        yield made


def said(sdp: str) -> tuple[str, int]:
    host, port = re.search(r"^c=IN IP4 (\S+)", sdp, re.M), re.search(r"^m=audio (\d+)", sdp, re.M)
    assert host is not None and port is not None
    return host.group(1), int(port.group(1))


async def call(caller: Program, called: Program) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both hear each other; what each has told."""
    near, far = await caller.told("heard"), await called.told("heard")
    assert abs(near["heard"] - 1100) < 20 and abs(far["heard"] - 700) < 20
    return near, far


async def hang_up(caller: Program, called: Program) -> None:
    caller.say()
    await caller.told("hung_up")
    assert await called.end() == 0


async def test_stun_tells_what_the_nat_makes_of_media_ports(world, tmp_path):
    private, inside, outside = world.behind_nat(symmetric=False)
    async with coturn(world, tmp_path), Program.run(system(world.public, address=f"sip:bob@{PUBLIC}:5060")) as bob:
        await bob.told("ready")
        task = {"address": f"sip:alice@{inside}:5060", "stun": SERVER, "call": f"sip:bob@{PUBLIC}:5060"}
        async with Program.run(system(private, **task)) as alice:
            near, far = await call(alice, bob)
            host, port = said(near["local_sdp"])
            assert host == outside, "the NAT's address"
            # Bob sends there, and takes from there alone: it is really the way through.
            assert far["remote"] == f"{outside}:{port}"
            await hang_up(alice, bob)
            alice.say()
            assert await alice.end() == 0


async def test_a_call_is_hung_up_from_outside_the_nat(world, tmp_path):
    """The Contact of whoever is inside is what the server sees of its SIP socket, so that requests within the call find it."""
    private, inside, _ = world.behind_nat(symmetric=False)
    called = system(world.public, address=f"sip:bob@{PUBLIC}:5060", hangs_up=True)
    async with coturn(world, tmp_path), Program.run(called) as bob:
        await bob.told("ready")
        task = {"address": f"sip:alice@{inside}:5060", "stun": SERVER, "call": f"sip:bob@{PUBLIC}:5060"}
        async with Program.run(system(private, is_hung_up=True, **task)) as alice:
            await call(alice, bob)
            bob.say()
            assert (await alice.told("ended"))["ended"] == "remote hangup"
            assert await alice.end() == 0
            assert await bob.end() == 0


async def test_turn_relays_between_two_symmetric_nats(world, tmp_path):
    """Neither can reach the other directly, and no STUN server could help. Only SIP is let in at the called one's."""
    near_side, near_inside, _ = world.behind_nat(symmetric=True)
    far_side, far_inside, far_outside = world.behind_nat(symmetric=True, forward=5060)
    async with coturn(world, tmp_path) as server:
        answering = {"address": f"sip:bob@{far_inside}:5060", "public": far_outside, "turn": SERVER}
        async with Program.run(system(far_side, **answering)) as bob:
            await bob.told("ready")
            task = {"address": f"sip:alice@{near_inside}:5060", "turn": SERVER, "call": f"sip:bob@{far_outside}:5060"}
            async with Program.run(system(near_side, **task)) as alice:
                near, far = await call(alice, bob)
                ours, theirs = said(near["local_sdp"]), said(far["local_sdp"])
                assert ours[0] == theirs[0] == PUBLIC and ours != theirs, "both are the relay's"
                assert near["remote"] == "{}:{}".format(*theirs) and far["remote"] == "{}:{}".format(*ours)
                await server.wait_for("CHANNEL_BIND processed, success", 4)
                await hang_up(alice, bob)
                # RTP and RTCP of both; each is given back, not left to time out.
                await server.wait_for(r"ALLOCATE processed, success", 4)
                await server.wait_for(r"refreshed.* lifetime=0", 4)
                alice.say()
                assert await alice.end() == 0
