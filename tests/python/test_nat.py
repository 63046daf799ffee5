"""`with_stun_server` and `with_turn_server`, against a server in the test's own loop."""

import asyncio
import logging
import re

import pytest
from support import Peer, Recorder, until
from support.peer import header
from support.relay import BINDING, INDICATION, SUCCESS, Relay, message, parse, read_address
from support.relay import MAPPED as MAPPED_ADDRESS
from support.tones import listen, sine, strongest

from ringback import MediaControl, SessionControl, SessionManagerBuilder

MAPPED = "203.0.113.5"


@pytest.fixture
async def relay():
    async with Relay() as made:
        yield made


def mapped(address):
    """As a NAT would have it: another host, and ports that are no neighbours."""
    return MAPPED, 50_000 + address[1] % 2 * 1000 + address[1] % 1000


def stun(relay):
    return lambda builder: builder.with_stun_server(relay.address).with_codecs("PCMU")


def turn(relay, password="secret"):
    return lambda builder: builder.with_turn_server(relay.address, username="alice", password=password).with_codecs(
        "PCMU"
    )


async def described(caller, call):
    """Host and port of RTP, and the port of RTCP, as a call's own SDP says."""
    sdp = (await MediaControl.get_media_info(caller, call.id)).local_sdp
    host = re.search(r"^c=IN IP4 (\S+)", sdp, re.M).group(1)
    port = int(re.search(r"^m=audio (\d+)", sdp, re.M).group(1))
    rtcp = re.search(r"^a=rtcp:(\d+)", sdp, re.M)
    return host, port, int(rtcp.group(1)) if rtcp else port + 1


@pytest.mark.parametrize(
    "address",
    ["", ":3478", "host:", "host:0", "host:65536", "host:x", "two words:1", "stun:host:3478", "::1:3478", "[::g]:1",
     "1.2.3.4.5:1", "0.0.0.0:1", "-" * 64 + ".example:1", "host:٣", "a..b:1", "http://x"],
)  # fmt: skip
def test_an_address_that_is_none_is_told(address):
    for kind, set_it in (
        ("STUN", lambda: SessionManagerBuilder().with_stun_server(address)),
        ("TURN", lambda: SessionManagerBuilder().with_turn_server(address, username="a", password="b")),
    ):
        with pytest.raises(ValueError, match=rf"the {kind} server must be 'host:port'") as caught:
            set_it()
        assert repr(address) in str(caught.value)


def test_wrong_types_and_credentials_are_told():
    builder = SessionManagerBuilder()
    with pytest.raises(TypeError, match="address must be a str, not int"):
        builder.with_stun_server(3478)
    with pytest.raises(TypeError, match="password must be a str, not bytes"):
        builder.with_turn_server("turn.example:3478", username="alice", password=b"secret")
    for name, username, password in (("username", "", "b"), ("username", "a\n", "b"), ("password", "a", "x" * 509)):
        with pytest.raises(ValueError, match=f"{name} must have 1 to 508 bytes") as caught:
            builder.with_turn_server("turn.example:3478", username=username, password=password)
        assert "xxx" not in str(caught.value)


async def test_a_name_without_address_is_told_by_build():
    builder = SessionManagerBuilder().with_sip_port(0).with_stun_server("no-such-host.invalid:3478")
    with pytest.raises(ValueError, match=r"no address for the STUN server 'no-such-host\.invalid'"):
        await builder.build()


async def test_the_password_is_in_no_repr_and_no_log(systems, relay, caplog):
    caplog.set_level(logging.DEBUG)
    password = "hush-hush"
    builder = systems.builder("alice").with_turn_server(relay.address, username="alice", password=password)
    caller = await systems.run(builder)
    called = await systems.start("bob", Recorder())
    await systems.answered(caller, called)
    for thing in (builder, builder._turn, caller):
        assert password not in repr(thing)
    assert password not in caplog.text and "401" in caplog.text


async def test_sdp_says_what_the_nat_makes_of_both_ports(systems, relay):
    relay.mapping = mapped
    caller, called = await systems.start("alice", None, stun(relay)), await systems.start("bob", Recorder())
    call = await systems.answered(caller, called)
    info = await MediaControl.get_media_info(caller, call.id)
    own = int(info.local_address.rpartition(":")[2])
    assert await described(caller, call) == (*mapped(("", own)), mapped(("", own + 1))[1])
    # Once from each socket of the call, and once from that of SIP.
    assert sorted(relay.asked_from) == sorted([own, own + 1, sip_port(caller)])


def sip_port(coordinator):
    return int(coordinator.local_address.rpartition(":")[2])


async def test_the_sip_socket_is_asked_about_at_the_start(systems, relay):
    relay.mapping = mapped
    coordinator = await systems.start("alice", None, stun(relay))
    await until(lambda: relay.asked_from == [sip_port(coordinator)])
    # Those on our side of the NAT are told the local address all the same.
    async with Peer() as peer:
        call = asyncio.create_task(SessionControl.create_outgoing_call(coordinator, "sip:alice@127.0.0.1", peer.uri))
        invite = await peer.receive("INVITE")
        assert f"@127.0.0.1:{sip_port(coordinator)}>" in header(invite, "Contact")
        peer.respond(invite, "404 Not Found")
        await call


async def test_a_binding_request_on_the_sip_port_is_answered(systems):
    # RFC 5626 §8: whoever keeps a flow alive learns where we see it.
    coordinator = await systems.start("pbx")
    answers: asyncio.Queue[bytes] = asyncio.Queue()

    class Phone(asyncio.DatagramProtocol):
        def datagram_received(self, data, addr):
            answers.put_nowait(data)

    loop = asyncio.get_running_loop()
    phone, _ = await loop.create_datagram_endpoint(Phone, local_addr=("127.0.0.1", 0))
    try:
        request = message(BINDING, bytes(range(12)), [])
        for noise in (b"\r\n\r\n", request[:19], b"\x00" * 20, message(BINDING | INDICATION, bytes(12), [])):
            phone.sendto(noise, ("127.0.0.1", sip_port(coordinator)))
        phone.sendto(request, ("127.0.0.1", sip_port(coordinator)))
        answer = await asyncio.wait_for(answers.get(), 5)
        kind, method, transaction, attributes = parse(answer)
        assert (kind, method, transaction) == (SUCCESS, BINDING, bytes(range(12)))
        assert read_address(attributes[MAPPED_ADDRESS]) == phone.get_extra_info("sockname")
        assert len(answer) < 3 * len(request)
        assert answers.empty()
    finally:
        phone.close()


async def test_a_call_that_comes_in_is_asked_about_too(systems, relay):
    relay.mapping = mapped
    bob = Recorder()
    called, caller = await systems.start("bob", bob, stun(relay)), await systems.start("alice")
    call = await systems.answered(caller, called)
    assert (await MediaControl.get_media_info(caller, call.id)).remote_address.startswith(f"{MAPPED}:")


async def test_a_host_name_is_looked_up(systems, relay):
    relay.mapping = mapped
    address = relay.address.replace("127.0.0.1", "localhost")
    caller = await systems.start("alice", None, lambda builder: builder.with_stun_server(address))
    call = await systems.answered(caller, await systems.start("bob", Recorder()))
    assert (await described(caller, call))[0] == MAPPED


async def test_lies_of_others_are_not_believed(systems, relay):
    relay.spoil_transaction = relay.spoof = True
    relay.mapping = mapped
    caller, called = await systems.start("alice", None, stun(relay)), await systems.start("bob", Recorder())
    for _ in range(3):
        call = await systems.answered(caller, called)
        assert (await described(caller, call))[0] == MAPPED


@pytest.mark.parametrize("fault", ["silent", "refuses"])
async def test_a_server_that_fails_fails_no_call(systems, relay, caplog, fault):
    relay.silent, relay.refuse = fault == "silent", 500 if fault == "refuses" else None
    caller, called = await systems.start("alice", None, stun(relay)), await systems.start("bob", Recorder())
    calls = [await systems.answered(caller, called) for _ in range(3)]
    for call in calls:
        assert (await described(caller, call))[0] == "127.0.0.1"
    await until(lambda: "no media address from the STUN server" in caplog.text)
    told = [record for record in caplog.records if "STUN server" in record.getMessage()]
    assert len(told) == 1 and told[0].levelno == logging.WARNING
    assert ("no answer" if fault == "silent" else "refused: 500 Server Error") in told[0].getMessage()
    # Those after the first did not ask: they do not wait for what does not answer.
    assert len([port for port in relay.asked_from if port != sip_port(caller)]) <= 8


async def test_a_public_address_counts_instead(systems, relay):
    caller = await systems.start(
        "alice", None, lambda builder: builder.with_stun_server(relay.address).with_public_address("203.0.113.9")
    )
    call = await systems.answered(caller, await systems.start("bob", Recorder()))
    assert (await described(caller, call))[0] == "203.0.113.9" and relay.seen == []


async def test_a_call_given_up_while_its_address_is_sought_leaves_nothing(systems, relay):
    relay.silent = True
    caller, called = await systems.start("alice", None, stun(relay)), await systems.start("bob", Recorder())
    call = await systems.call(caller, called)
    await until(lambda: relay.count(BINDING) > 0)
    await SessionControl.terminate_session(caller, call.id)
    assert (await SessionControl.list_active_sessions(caller)) == []


async def test_media_goes_by_the_relay_both_ways(systems, relay):
    bob = Recorder()
    called = await systems.start("bob", bob)
    caller = await systems.start("alice", None, turn(relay))
    call = await systems.answered(caller, called)
    other = (await bob.wait("established"))[0]
    allocations = {one.address for one in relay.allocations.values()}
    host, port, rtcp = await described(caller, call)
    assert {(host, port), (host, rtcp)} == allocations
    assert (await MediaControl.get_media_info(called, other.id)).remote_address == f"{host}:{port}"
    ways = ((caller, call, 700), (called, other, 1100))
    streams = [await MediaControl.open_audio(system, one.id, sample_rate=8000) for system, one, _ in ways]
    for stream, (_, _, hertz) in zip(streams, ways, strict=True):
        await stream.write(sine(hertz, 1.5, 8000))
    for stream, hertz in zip(streams, (1100, 700), strict=True):
        assert abs(strongest(await asyncio.wait_for(listen(stream, 0.5), 10), 8000) - hertz) < 20
    assert relay.relayed_in > 20 and relay.relayed_out > 20
    assert relay.channel_data > 40, "not by indications, which cost more"


async def test_allocations_are_given_back(systems, relay):
    called = await systems.start("bob", Recorder())
    caller = await systems.start("alice", None, turn(relay))
    call = await systems.answered(caller, called)
    assert len(relay.allocations) == 2
    await SessionControl.terminate_session(caller, call.id)
    await until(lambda: relay.allocations == {})
    # And by a stop.
    await systems.answered(caller, called)
    await systems.answered(caller, called)
    assert len(relay.allocations) == 4
    await SessionControl.stop(caller)
    assert relay.deleted == 6 and relay.allocations == {}


async def test_a_call_that_is_not_answered_gives_them_back_too(systems, relay, peer):
    caller = await systems.start("alice", None, turn(relay))
    call = await SessionControl.create_outgoing_call(caller, caller.local_address, peer.uri)
    await until(lambda: len(relay.allocations) == 2)
    await SessionControl.terminate_session(caller, call.id)
    await until(lambda: relay.deleted == 2)


async def test_stale_nonces_are_followed(systems, relay):
    relay.stale = 5
    called = await systems.start("bob", Recorder())
    caller = await systems.start("alice", None, turn(relay))
    call = await systems.answered(caller, called)
    assert len(relay.allocations) == 2
    await until(lambda: relay.relayed_in > 5 and relay.relayed_out > 5)
    relay.stale = 1
    await SessionControl.terminate_session(caller, call.id)
    await until(lambda: relay.allocations == {})
    assert relay.stale == 0


@pytest.mark.parametrize(
    ("fault", "why"), [("password", "refused: 401"), ("quota", "refused: 486"), ("silent", "no answer")]
)
async def test_without_an_allocation_media_goes_directly(systems, relay, caplog, fault, why):
    relay.silent, relay.refuse = fault == "silent", 486 if fault == "quota" else None
    called = await systems.start("bob", Recorder())
    caller = await systems.start("alice", None, turn(relay, "wrong" if fault == "password" else "secret"))
    call = await systems.call(caller, called)
    await call.wait_for_answer(15)
    assert (await described(caller, call))[0] == "127.0.0.1" and relay.allocations == {}
    await until(lambda: "no media address from the TURN server" in caplog.text)
    told = [record.getMessage() for record in caplog.records if "TURN server" in record.getMessage()]
    assert len(told) == 1 and why in told[0]
    await until_media(caller, call)


async def until_media(system, call):
    async def received():
        return (await MediaControl.get_media_statistics(system, call.id)).packets_received > 0

    for _ in range(200):
        if await received():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("no media came")


async def test_where_the_relay_fails_stun_counts(systems, relay):
    async with Relay() as mapper:
        mapper.mapping = mapped
        relay.silent = True

        def both(builder):
            builder.with_turn_server(relay.address, username="alice", password="secret")
            builder.with_stun_server(mapper.address)

        caller = await systems.start("alice", None, both)
        call = await systems.call(caller, await systems.start("bob", Recorder()))
        await call.wait_for_answer(15)
        assert (await described(caller, call))[0] == MAPPED
