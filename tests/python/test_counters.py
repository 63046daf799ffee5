"""`SessionCoordinator.counters`: what was received, refused and dropped, and what became of connections."""

import dataclasses
import socket

import pytest
from support import Peer, Recorder, until
from support.peer import finish
from support.streams import StreamPeer

from ringback import CallDecision, Counters, Limits, SessionControl, Transport


def ask(peer: Peer, to: str, method: str = "OPTIONS", headers: str = "") -> None:
    peer.count = getattr(peer, "count", 0) + 1
    lines = [
        f"{method} {to} SIP/2.0",
        f"Via: SIP/2.0/UDP 127.0.0.1:{peer.port};branch=z9hG4bK{peer.tag}{peer.count};rport",
        f"From: <{peer.uri}>;tag={peer.tag}",
        f"To: <{to}>",
        f"Call-ID: {peer.tag}{peer.count}",
        f"CSeq: 1 {method}",
        "Max-Forwards: 70",
        f"Contact: <{peer.uri}>",
    ]
    peer.send(finish(lines, headers, ""), ("127.0.0.1", int(to.rpartition(":")[2])))


async def test_nothing_is_counted_before_the_start(systems):
    coordinator = await systems.builder("pbx").build()
    counters = coordinator.counters()
    assert all(value == 0 for value in dataclasses.asdict(counters).values())
    with pytest.raises(dataclasses.FrozenInstanceError):
        counters.scanners = 1
    assert {field.type for field in dataclasses.fields(Counters)} <= {int, "int"}


async def test_what_peers_ask_is_counted(systems):
    handler = Recorder(CallDecision.Defer())
    limits = Limits(half_open_invites=1, requests_per_second_per_source=6)
    pbx = await systems.start("pbx", handler, lambda builder: builder.with_limits(limits))
    async with Peer() as peer:
        ask(peer, pbx.local_address, "INVITE")
        await peer.receive("SIP/2.0 180")
        ask(peer, pbx.local_address, "INVITE")
        await peer.receive("SIP/2.0 503")
        ask(peer, pbx.local_address, headers="User-Agent: friendly-scanner\n")
        ask(peer, pbx.local_address.replace("sip:", "sips:"))
        await peer.receive("SIP/2.0 403 SIPS Needs TLS")
        for _ in range(6):
            ask(peer, pbx.local_address)
        for _ in range(3):
            await peer.receive("SIP/2.0 200")
        await peer.receive("SIP/2.0 503")
        peer.send("NONSENSE\r\n\r\n")
        await until(lambda: pbx.counters().unreadable == 1)
        counters = pbx.counters()
    assert (counters.scanners, counters.refused_half_open, counters.half_open_invites) == (1, 1, 1)
    assert counters.refused_by_source >= 1
    assert counters.requests_received == 10
    assert counters.refused >= 3
    assert counters.messages_sent >= 8
    await SessionControl.stop(pbx)
    assert pbx.counters().scanners == 1
    # They begin anew.
    await SessionControl.start(pbx)
    await until(lambda: pbx.counters().scanners == 0)


async def test_media_that_the_system_does_not_send_is_counted(systems, peer):
    bob = await systems.start("bob", Recorder())
    # From a loopback address nothing is sent to another machine.
    sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
    await peer.call(bob.local_address, body=sdp)
    await until(lambda: bob.counters().media_unsent > 10)
    assert bob.counters().datagrams_lost == 0


async def test_what_becomes_of_connections_is_counted(systems):
    def configure(builder):
        builder.with_transport(Transport.TCP).with_transport(Transport.WS, port=0)
        builder.with_limits(Limits(connections_per_source=2))

    pbx = await systems.start("pbx", Recorder(), configure)
    port = int(pbx.local_address.rpartition(":")[2].partition(";")[0])
    try:
        peers = [await StreamPeer.connect("127.0.0.1", port) for _ in range(2)]
        for peer in peers:
            await peer.send(peer.compose("OPTIONS", pbx.local_address))
            await peer.receive("SIP/2.0 200")
        third = await StreamPeer.connect("127.0.0.1", port)
        assert await third.ended()
        await until(lambda: pbx.counters().connections_refused == 1)
        counters = pbx.counters()
        assert (counters.connections_open, counters.connections_accepted, counters.connections_made) == (2, 2, 0)
        await peers[0].close()
        await until(lambda: pbx.counters().connections_open == 1)
    finally:
        await StreamPeer.close_all()
    # One of our own that nobody takes.
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"sip:x@127.0.0.1:{closed.getsockname()[1]};transport=tcp"
        with pytest.raises(Exception, match="refused"):
            await SessionControl.send_options(pbx, nowhere)
    await until(lambda: pbx.counters().connections_failed == 1)
