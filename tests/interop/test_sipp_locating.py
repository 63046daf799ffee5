"""SIPp behind SRV records of which the first fails in some way: the next one is called (RFC 3263 §4.3)."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from network import HOST, free_ports
from scenario import Step, accept, receive_bye, receive_request, respond
from sipp_peer import Sipp
from systems import Recorder, builder, soon

from name_server import NameServer
from ringback import CallFailed, CallRejected, CallSession, CallState, SessionControl, SessionCoordinator

pytestmark = pytest.mark.peer("sipp")
EXPECTED = ("sip", "sdp", "udp", "tcp")

ANSWERS = (receive_request("INVITE"), accept(), receive_request("ACK"), *receive_bye())
# 64*T1, after which a server that says nothing is given up.
GIVEN_UP = 32.0


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    async with NameServer() as made:
        made.add("host.example.test", "A", HOST)
        yield made


async def caller_of(names: NameServer, handler: Recorder | None = None) -> SessionCoordinator:
    made = builder(handler or Recorder())
    made._nameserver = names.address
    return await made.build()


def servers(names: NameServer, domain: str, *ports: int, transport: str = "udp") -> str:
    """A domain whose SRV records name those ports, in that order."""
    for priority, port in enumerate(ports):
        names.add(f"_sip._{transport}.{domain}", "SRV", priority, 1, port, "host.example.test")
    return f"sip:service@{domain}" + ("" if transport == "udp" else f";transport={transport}")


async def dial(caller: SessionCoordinator, uri: str) -> CallSession:
    return await SessionControl.create_outgoing_call(caller, caller.local_address, uri)


async def until_answered(caller: SessionCoordinator, uri: str, seconds: float = 20) -> None:
    call = await dial(caller, uri)
    await call.wait_for_answer(seconds)
    assert call.state is CallState.ACTIVE
    await call.hangup()


def refuses(status: str) -> tuple[Step, ...]:
    return receive_request("INVITE"), respond(status, retransmit=True), receive_request("ACK")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_nobody_has_the_first_port(names: NameServer, transport: str) -> None:
    sipp_transport = {"udp": "u1", "tcp": "t1"}[transport]
    async with Sipp("answers", ANSWERS, transport=sipp_transport) as second, await caller_of(names) as caller:
        uri = servers(names, "gone.example.test", free_ports(), second.port, transport=transport)
        await until_answered(caller, uri)
        await second.finished()


async def test_the_first_has_no_room() -> None:
    """503: the same request goes to the next, in a transaction of its own. Any other refusal is the answer."""
    async with NameServer() as names, await caller_of(names) as caller:
        names.add("host.example.test", "A", HOST)
        again = (receive_request("INVITE", text="CSeq: 1 INVITE"), *ANSWERS[1:])
        async with Sipp("full", refuses("503 Full")) as first, Sipp("answers", again) as second:
            await until_answered(caller, servers(names, "full.example.test", first.port, second.port))
            await first.finished()
            await second.finished()
        async with Sipp("busy", refuses("486 Busy Here")) as first, Sipp("unasked", ANSWERS) as second:
            call = await dial(caller, servers(names, "busy.example.test", first.port, second.port))
            with pytest.raises(CallRejected) as refusal:
                await call.wait_for_answer(20)
            assert refusal.value.status == 486
            await first.finished()
            assert second.statistics()["TotalCallCreated"] == "0"


async def test_all_are_full(names: NameServer) -> None:
    async with await caller_of(names) as caller:
        async with Sipp("full", refuses("503 Full")) as first, Sipp("fuller", refuses("503 Fuller")) as second:
            call = await dial(caller, servers(names, "all.example.test", first.port, second.port))
            with pytest.raises(CallRejected, match="503 Fuller"):
                await call.wait_for_answer(20)
            await first.finished()
            await second.finished()


@pytest.mark.timeout(150)
async def test_black_holes(names: NameServer) -> None:
    """Side by side: a server that takes everything and says nothing, one that accepts connections and says nothing, a name server that
    says nothing. They hold up the calls that asked, and no other."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole,
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener,
    ):
        hole.bind((HOST, free_ports()))
        listener.bind((HOST, free_ports()))
        listener.listen()
        names.silent.add("silent.test")
        handler = Recorder()
        async with await caller_of(names, handler) as caller, asyncio.TaskGroup() as group:
            group.create_task(_passed_over(names, caller, hole.getsockname()[1], "udp"))
            group.create_task(_passed_over(names, caller, listener.getsockname()[1], "tcp"))
            group.create_task(_no_name_server(caller))
            async with Sipp("answers", ANSWERS) as other:
                await until_answered(caller, other.uri)
                await other.finished()
            assert (await soon(handler.ended))[0].to_uri == other.uri, "none of the others has come to an end yet"


async def _passed_over(names: NameServer, caller: SessionCoordinator, silent: int, transport: str) -> None:
    sipp_transport = {"udp": "u1", "tcp": "t1"}[transport]
    async with Sipp("answers", ANSWERS, transport=sipp_transport) as second:
        uri = servers(names, f"{transport}.example.test", silent, second.port, transport=transport)
        await until_answered(caller, uri, GIVEN_UP + 40)
        await second.finished()


async def _no_name_server(caller: SessionCoordinator) -> None:
    call = await dial(caller, "sip:service@silent.test")
    with pytest.raises(CallFailed, match=r"silent\.test"):
        await call.wait_for_answer(60)
