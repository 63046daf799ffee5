"""Finding SIP servers by name (RFC 3263), and going on to the next when one fails: `create_outgoing_call`, `send_options`."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from support import Peer, Recorder
from support.peer import SDP, header

from name_server import NameServer
from ringback import CallFailed, CallRejected, SessionControl, Transport

ALICE = "sip:alice@example.com"


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    async with NameServer() as made:
        yield made


@pytest.fixture
async def second() -> AsyncIterator[Peer]:
    async with Peer() as made:
        yield made


async def caller_of(systems, names, *kinds):
    made = systems.builder("alice", Recorder())
    for kind in kinds:
        made.with_transport(kind)
    made._nameserver = names.address
    return await systems.run(made)


async def answer(peer: Peer) -> str:
    invite = await peer.receive("INVITE")
    peer.respond(invite, "200 OK", body=SDP.format(port=40000))
    await peer.receive("ACK")
    return invite


async def end(call, peer: Peer) -> None:
    ending = asyncio.ensure_future(call.hangup())
    peer.respond(await peer.receive("BYE"), "200 OK")
    await ending


async def test_an_srv_record_says_port_and_host(systems, names, peer):
    names.add("_sip._udp.example.test", "SRV", 10, 1, peer.port, "host.example.test")
    names.add("host.example.test", "A", "127.0.0.1")
    names.add("example.test", "A", "127.0.0.9")
    caller = await caller_of(systems, names)
    call = await SessionControl.create_outgoing_call(caller, ALICE, "sip:bob@example.test")
    invite = await answer(peer)
    # The Request-URI stays as it was (RFC 3263 §4).
    assert invite.startswith("INVITE sip:bob@example.test SIP/2.0\r\n")
    assert "c=IN IP4 127.0.0.1" in invite
    await end(call, peer)
    assert ("example.test", "NAPTR") in names.asked


async def test_naptr_decides_about_the_transport(systems, names):
    bob = Recorder()
    called = await systems.start("bob", bob)
    port = int(called.local_address.rpartition(":")[2])
    names.add("example.test", "NAPTR", 20, 1, "s", "SIP+D2U", "_sip._udp.example.test")
    names.add("example.test", "NAPTR", 10, 2, "s", "SIP+D2T", "_sip._tcp.example.test")
    names.add("example.test", "NAPTR", 10, 1, "s", "SIPS+D2T", "_sips._tcp.example.test")
    names.add("example.test", "NAPTR", 5, 1, "u", "E2U+sip", "nobody.example.test")
    for service in ("udp", "tcp"):
        names.add(f"_sip._{service}.example.test", "SRV", 1, 1, port, "host.example.test")
    names.add("host.example.test", "A", "127.0.0.1")
    caller = await caller_of(systems, names)
    call = await SessionControl.create_outgoing_call(caller, ALICE, "sip:bob@example.test")
    await call.wait_for_answer(5)
    # TLS is not configured here, and the TCP record comes before the other.
    assert bob.incoming.transport is Transport.TCP
    only_udp = await caller_of(systems, names, Transport.UDP)
    call = await SessionControl.create_outgoing_call(only_udp, ALICE, "sip:bob@example.test")
    await call.wait_for_answer(5)
    assert bob.incoming.transport is Transport.UDP


async def test_ports_numbers_and_transports_skip_what_they_say(systems, names, peer):
    names.add("host.example.test", "A", "127.0.0.1")
    names.add("_sip._udp.host.example.test", "SRV", 1, 1, 9, "host.example.test")
    caller = await caller_of(systems, names)
    call = await SessionControl.create_outgoing_call(caller, ALICE, f"sip:bob@host.example.test:{peer.port}")
    await answer(peer)
    await end(call, peer)
    assert {kind for _, kind in names.asked} <= {"A", "AAAA"}
    names.asked.clear()
    call = await SessionControl.create_outgoing_call(caller, ALICE, peer.uri)
    await answer(peer)
    await end(call, peer)
    assert not names.asked
    names.add("_sip._udp.udp.example.test", "SRV", 1, 1, peer.port, "host.example.test")
    call = await SessionControl.create_outgoing_call(caller, ALICE, "sip:bob@udp.example.test;transport=udp")
    await answer(peer)
    await end(call, peer)
    assert ("_sip._udp.udp.example.test", "SRV") in names.asked
    assert not {"NAPTR"} & {kind for _, kind in names.asked}
    assert ("_sip._tcp.udp.example.test", "SRV") not in names.asked


@pytest.mark.parametrize("status", ["503 Service Unavailable"])
async def test_a_503_has_the_next_server_tried(systems, names, peer, second, status):
    names.add("_sip._udp.example.test", "SRV", 1, 1, peer.port, "host.example.test")
    names.add("_sip._udp.example.test", "SRV", 2, 1, second.port, "host.example.test")
    names.add("host.example.test", "A", "127.0.0.1")
    caller = await caller_of(systems, names)
    call = await SessionControl.create_outgoing_call(caller, ALICE, "sip:bob@example.test")
    refused = await peer.receive("INVITE")
    peer.respond(refused, "100 Trying")
    peer.respond(refused, status)
    assert header(await peer.receive("ACK"), "Via") == header(refused, "Via")
    invite = await answer(second)
    # RFC 3263 §4.3: the same request in a transaction of its own.
    assert header(invite, "Call-ID") == header(refused, "Call-ID")
    assert header(invite, "CSeq") == header(refused, "CSeq")
    assert header(invite, "Via") != header(refused, "Via")
    # A retransmitted refusal is still acknowledged.
    peer.respond(refused, status)
    await peer.receive("ACK")
    await end(call, second)

    asked = asyncio.ensure_future(SessionControl.send_options(caller, "sip:bob@example.test"))
    peer.respond(await peer.receive("OPTIONS"), status)
    second.respond(await second.receive("OPTIONS"), "200 OK")
    assert (await asked).status == 200


async def test_the_last_503_is_the_answer(systems, names, peer, second):
    names.add("_sip._udp.example.test", "SRV", 1, 1, peer.port, "host.example.test")
    names.add("_sip._udp.example.test", "SRV", 2, 1, second.port, "host.example.test")
    names.add("host.example.test", "A", "127.0.0.1")
    caller = await caller_of(systems, names)
    call = await SessionControl.create_outgoing_call(caller, ALICE, "sip:bob@example.test")
    peer.respond(await peer.receive("INVITE"), "503 Service Unavailable")
    second.respond(await second.receive("INVITE"), "503 Full")
    with pytest.raises(CallRejected, match="503 Full"):
        await call.wait_for_answer(5)
    # Any other refusal ends it at once.
    call = await SessionControl.create_outgoing_call(caller, ALICE, "sip:bob@example.test")
    peer.respond(await peer.receive("INVITE"), "486 Busy Here")
    with pytest.raises(CallRejected, match="486"):
        await call.wait_for_answer(5)


async def test_a_cancelled_call_goes_nowhere_else(systems, names, peer, second):
    names.add("_sip._udp.example.test", "SRV", 1, 1, peer.port, "host.example.test")
    names.add("_sip._udp.example.test", "SRV", 2, 1, second.port, "host.example.test")
    names.add("host.example.test", "A", "127.0.0.1")
    caller = await caller_of(systems, names)
    call = await SessionControl.create_outgoing_call(caller, ALICE, "sip:bob@example.test")
    invite = await peer.receive("INVITE")
    peer.respond(invite, "180 Ringing")
    await call.hangup()
    peer.respond(await peer.receive("CANCEL"), "200 OK")
    peer.respond(invite, "503 Service Unavailable")
    await peer.receive("ACK")
    await SessionControl.send_options(caller, f"sip:bob@127.0.0.1:{port_of(await systems.start('third'))}")
    assert second._messages.empty()


def port_of(coordinator) -> int:
    return int(coordinator.local_address.rpartition(":")[2])


async def test_a_server_that_is_not_there_is_passed_over(systems, names, peer):
    gone = await systems.start("gone")
    names.add("_sip._tcp.example.test", "SRV", 1, 1, port_of(gone), "host.example.test")
    names.add("_sip._udp.example.test", "SRV", 1, 1, port_of(gone), "host.example.test")
    names.add("_sip._udp.example.test", "SRV", 2, 1, peer.port, "host.example.test")
    names.add("host.example.test", "A", "127.0.0.1")
    caller = await caller_of(systems, names)
    await SessionControl.stop(gone)
    call = await SessionControl.create_outgoing_call(caller, ALICE, "sip:bob@example.test")
    await answer(peer)
    await end(call, peer)


async def test_names_that_are_not_there_end_the_call(systems, names):
    names.add("nothing.test", "SRV", 1, 1, 1, "x.test")
    names.add("_sip._udp.off.test", "SRV", 0, 0, 0, ".")
    caller = await caller_of(systems, names)
    for host, cause in [
        ("unknown.test", "unknown.test: no such host"),
        ("nothing.test", "nothing.test: no address"),
        ("off.test", "off.test: the service is not offered"),
    ]:
        call = await SessionControl.create_outgoing_call(caller, ALICE, f"sip:bob@{host}")
        with pytest.raises(CallFailed, match=cause):
            await call.wait_for_answer(5)


async def test_a_name_service_that_is_silent_delays_only_who_asks(systems, names, peer):
    names.silent.add("hole.test")
    caller = await caller_of(systems, names)
    asked = await SessionControl.create_outgoing_call(caller, ALICE, "sip:bob@hole.test")
    call = await SessionControl.create_outgoing_call(caller, ALICE, peer.uri)
    await answer(peer)
    assert not asked.state.is_final
    await end(call, peer)
    with pytest.raises(CallFailed, match=r"hole\.test"):
        await asked.wait_for_answer(20)
