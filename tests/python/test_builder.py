import asyncio
import socket
from datetime import timedelta

import pytest
from support import Recorder, until

from ringback import (
    BindError,
    CallDecision,
    CallHandler,
    InvalidUri,
    MediaControl,
    SessionControl,
    SessionCoordinator,
    SessionManagerBuilder,
    Transport,
)  # fmt: skip


def test_every_setting_returns_the_builder():
    builder = SessionManagerBuilder()
    assert (
        builder.with_sip_port(0)
        .with_media_ports(20000, 20100)
        .with_media_threads(3)
        .with_media_threads()
        .with_cpu_latency(timedelta(microseconds=20))
        .with_cpu_latency(None)
        .with_local_address("sip:pbx@127.0.0.1")
        .with_handler(CallHandler())
        .with_max_sessions(10)
        .with_session_timeout(timedelta(hours=1))
        .with_answer_timeout(None)
        .with_answer_timeout(30)
        .with_transport(Transport.UDP, port=0)
        .with_codecs("pcma", "PCMU")
        .with_public_address("203.0.113.7")
        is builder
    )


@pytest.mark.parametrize(
    ("set_it", "error"),
    [
        (lambda b: b.with_sip_port(-1), ValueError),
        (lambda b: b.with_sip_port(65536), ValueError),
        (lambda b: b.with_sip_port("5060"), TypeError),
        (lambda b: b.with_sip_port(True), TypeError),
        (lambda b: b.with_sip_port(5060.0), TypeError),
        (lambda b: b.with_media_ports(0, 10), ValueError),
        (lambda b: b.with_media_ports(20, 10), ValueError),
        (lambda b: b.with_media_ports(10, 70000), ValueError),
        (lambda b: b.with_media_ports(None, 10), TypeError),
        (lambda b: b.with_media_threads(0), ValueError),
        (lambda b: b.with_media_threads(65), ValueError),
        (lambda b: b.with_media_threads(True), TypeError),
        (lambda b: b.with_media_threads(2.0), TypeError),
        (lambda b: b.with_cpu_latency(-1e-6), ValueError),
        (lambda b: b.with_cpu_latency(1.5), ValueError),
        (lambda b: b.with_cpu_latency(float("nan")), ValueError),
        (lambda b: b.with_cpu_latency("0"), TypeError),
        (lambda b: b.with_cpu_latency(True), TypeError),
        (lambda b: b.with_local_address("pbx"), InvalidUri),
        (lambda b: b.with_local_address(""), InvalidUri),
        (lambda b: b.with_local_address("tel:+4912345"), InvalidUri),
        (lambda b: b.with_local_address("sip:"), InvalidUri),
        (lambda b: b.with_local_address("sip:a@b@c"), InvalidUri),
        (lambda b: b.with_local_address("sip:a@b\r\nX: y"), InvalidUri),
        (lambda b: b.with_local_address(7), TypeError),
        (lambda b: b.with_handler(None), TypeError),
        (lambda b: b.with_handler(CallHandler), TypeError),
        (lambda b: b.with_max_sessions(0), ValueError),
        (lambda b: b.with_max_sessions(1.5), TypeError),
        (lambda b: b.with_session_timeout(0), ValueError),
        (lambda b: b.with_session_timeout(-1), ValueError),
        (lambda b: b.with_session_timeout(float("nan")), ValueError),
        (lambda b: b.with_session_timeout(float("inf")), ValueError),
        (lambda b: b.with_session_timeout("60"), TypeError),
        (lambda b: b.with_session_timeout(None), TypeError),
        (lambda b: b.with_answer_timeout(timedelta(0)), ValueError),
        (lambda b: b.with_answer_timeout(True), TypeError),
        (lambda b: b.with_transport("carrier pigeon"), ValueError),
        (lambda b: b.with_transport(Transport.UDP, port=70000), ValueError),
        (lambda b: b.with_transport(Transport.UDP, host="not a host"), ValueError),
        (lambda b: b.with_codecs(), ValueError),
        (lambda b: b.with_codecs("G729"), ValueError),
        (lambda b: b.with_opus(bitrate=5_999), ValueError),
        (lambda b: b.with_opus(bitrate="32k"), ValueError),
        (lambda b: b.with_opus(complexity=11), ValueError),
        (lambda b: b.with_opus(fec=1), TypeError),
        (lambda b: b.with_opus(dtx="yes"), TypeError),
        (lambda b: b.with_codecs("PCMU", "pcmu"), ValueError),
        (lambda b: b.with_codecs(8), TypeError),
        (lambda b: b.with_public_address(""), ValueError),
        (lambda b: b.with_public_address("two words"), ValueError),
        (lambda b: b.with_public_address(None), TypeError),
    ],
)
def test_wrong_settings_are_told_at_once(set_it, error):
    with pytest.raises(error):
        set_it(SessionManagerBuilder())


def test_an_unknown_codec_is_told_what_there_is():
    with pytest.raises(ValueError, match="no codec 'G729'; there are opus, G722, PCMU, PCMA, L16"):
        SessionManagerBuilder().with_codecs("PCMU", "G729")


def test_an_invalid_address_is_kept_in_the_error():
    with pytest.raises(InvalidUri) as caught:
        SessionManagerBuilder().with_local_address("sip:")
    assert caught.value.uri == "sip:"


@pytest.mark.parametrize(("low", "high"), [(10001, 10002), (10001, 10001), (10000, 10000)])
async def test_media_ports_must_hold_a_pair(low, high):
    with pytest.raises(ValueError, match="even port"):
        await SessionManagerBuilder().with_sip_port(0).with_media_ports(low, high).build()


async def test_two_transports_cannot_have_one_port():
    builder = (
        SessionManagerBuilder().with_transport(Transport.UDP, port=35060).with_transport(Transport.UDP, port=35060)
    )
    with pytest.raises(ValueError, match="named twice"):
        await builder.build()


async def test_the_address_to_dial_names_user_host_and_bound_port():
    coordinator = await SessionManagerBuilder().with_local_address("sip:pbx@127.0.0.1:5999").with_sip_port(0).build()
    user, _, rest = coordinator.local_address.partition("@")
    host, _, port = rest.partition(":")
    assert (user, host) == ("sip:pbx", "127.0.0.1") and int(port) not in (0, 5999)


async def test_the_port_of_the_address_counts_unless_another_is_set():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    coordinator = await SessionManagerBuilder().with_local_address(f"sip:pbx@127.0.0.1:{port}").build()
    assert coordinator.local_address == f"sip:pbx@127.0.0.1:{port}"


async def test_without_an_address_one_that_can_be_dialled_is_told():
    coordinator = await SessionManagerBuilder().with_sip_port(0).build()
    assert coordinator.local_address.startswith("sip:ringback@")
    assert "0.0.0.0" not in coordinator.local_address and not coordinator.local_address.endswith(":0")


async def test_a_host_name_is_looked_up():
    coordinator = await SessionManagerBuilder().with_local_address("sip:pbx@localhost").with_sip_port(0).build()
    assert coordinator.local_address.startswith(("sip:pbx@127.0.0.1:", "sip:pbx@[::1]:"))
    with pytest.raises(BindError, match="Failed to bind SIP port 0"):
        await SessionManagerBuilder().with_local_address("sip:pbx@no-such-host.invalid").with_sip_port(0).build()


async def test_tcp_alone_says_so_in_the_address():
    builder = SessionManagerBuilder().with_local_address("sip:pbx@127.0.0.1").with_transport(Transport.TCP, port=0)
    assert (await builder.build()).local_address.endswith(";transport=tcp")


async def test_a_taken_port_is_a_bind_error():
    first = await SessionManagerBuilder().with_local_address("sip:pbx@127.0.0.1").with_sip_port(0).build()
    port = int(first.local_address.rpartition(":")[2])
    with pytest.raises(BindError, match=f"^Failed to bind SIP port {port}: Address already in use") as caught:
        await SessionManagerBuilder().with_local_address("sip:pbx@127.0.0.1").with_sip_port(port).build()
    assert isinstance(caught.value, OSError) and caught.value.errno == 98


async def test_an_address_that_is_not_ours_is_a_bind_error():
    with pytest.raises(BindError, match="Failed to bind SIP port"):
        await SessionManagerBuilder().with_local_address("sip:pbx@192.0.2.1").with_sip_port(0).build()


async def test_a_port_is_free_again_when_a_coordinator_that_never_ran_is_gone():
    first = await SessionManagerBuilder().with_local_address("sip:pbx@127.0.0.1").with_sip_port(0).build()
    port = int(first.local_address.rpartition(":")[2])
    del first
    async with asyncio.timeout(5):
        while True:
            try:
                await SessionManagerBuilder().with_local_address("sip:pbx@127.0.0.1").with_sip_port(port).build()
                return
            except BindError:
                await asyncio.sleep(0.02)


async def test_a_builder_builds_more_than_once():
    builder = SessionManagerBuilder().with_local_address("sip:pbx@127.0.0.1").with_sip_port(0)
    async with await builder.build() as first, await builder.build() as second:
        assert first.local_address != second.local_address
        assert first.is_running() and second.is_running()


def test_a_coordinator_is_made_by_the_builder_only():
    with pytest.raises(TypeError):
        SessionCoordinator()
    with pytest.raises(TypeError, match="made by SessionManagerBuilder"):
        SessionCoordinator(None, {}, "sip:x@y")


async def test_ipv6(systems):
    class Answer(CallHandler):
        def on_incoming_call(self, call):
            return CallDecision.Accept()

    try:
        called = (
            await SessionManagerBuilder()
            .with_local_address("sip:b@[::1]")
            .with_sip_port(0)
            .with_handler(Answer())
            .build()
        )
        caller = await SessionManagerBuilder().with_local_address("sip:a@[::1]").with_sip_port(0).build()
    except BindError:
        pytest.skip("this machine has no IPv6 loopback")
    async with called, caller:
        assert called.local_address.startswith("sip:b@[::1]:")
        call = await SessionControl.create_outgoing_call(caller, caller.local_address, called.local_address)
        await call.wait_for_answer(5)


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
async def test_all_interfaces_by_name_are_as_good_as_none(systems, host):
    """Descriptions say the address that the peer is reached from, not one that means "nobody" (RFC 3264 §8.4)."""
    bob, alice = Recorder(), Recorder()
    called = await systems.run(
        SessionManagerBuilder().with_local_address(f"sip:bob@{host}").with_sip_port(0).with_handler(bob)
    )
    caller = await systems.run(
        SessionManagerBuilder().with_local_address(f"sip:al@{host}").with_sip_port(0).with_handler(alice)
    )
    port = called.local_address.rpartition(":")[2]
    loopback = "127.0.0.1" if host == "0.0.0.0" else "[::1]"
    call = await SessionControl.create_outgoing_call(caller, "sip:al@example.com", f"sip:bob@{loopback}:{port}")
    await call.wait_for_answer(5)
    for handler in (bob, alice):
        _, local, remote = await handler.wait("established")
        for description in (local, remote):
            assert f" {loopback.strip('[]')}\r\n" in description, description
    await until(lambda: not call.remote_hold)
    async with asyncio.timeout(5):
        while (await MediaControl.get_media_statistics(caller, call.id)).packets_received < 5:
            await asyncio.sleep(0.02)
