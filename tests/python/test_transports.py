"""SIP over UDP, TCP, TLS, WebSocket and WebSocket over TLS, by IPv4 and IPv6: `with_transport`."""

import asyncio
import re
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support import Recorder, until
from support.peer import SDP, header
from support.streams import SecureWebSocketPeer, StreamPeer, TlsPeer, WebSocketPeer

from ringback import (
    BindError,
    CallFailed,
    CallHandler,
    CallState,
    InvalidUri,
    Limits,
    MediaControl,
    SessionControl,
    SessionCoordinator,
    SessionManagerBuilder,
    Transport,
)  # fmt: skip


class Certificates:
    """A certification authority, a certificate for localhost, and their files."""

    def __init__(self, place: Path, *names: str) -> None:
        self.ca = trustme.CA()
        self.place = place
        self.root = str(place / "ca.pem")
        self.ca.cert_pem.write_to_path(self.root)
        self.certificate, self.key = self.issue("server", *(names or ("localhost", "127.0.0.1", "::1")))

    @property
    def both(self) -> str:
        """Certificate and key in one file."""
        path = self.place / "both.pem"
        path.write_text(Path(self.key).read_text() + Path(self.certificate).read_text())
        return str(path)

    def issue(self, name: str, *names: str) -> tuple[str, str]:
        issued = self.ca.issue_cert(*names)
        certificate, key = self.place / f"{name}.pem", self.place / f"{name}.key"
        for number, blob in enumerate(issued.cert_chain_pems):
            blob.write_to_path(str(certificate), append=number > 0)
        issued.private_key_pem.write_to_path(str(key))
        return str(certificate), str(key)

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.root)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture(autouse=True)
async def peers() -> AsyncIterator[None]:
    yield
    await StreamPeer.close_all()


def files(certificates: Certificates) -> dict[str, str]:
    return {"certificate": certificates.certificate, "private_key": certificates.key, "ca": certificates.root}


def port_of(coordinator: SessionCoordinator) -> int:
    found = re.search(r":(\d+)(;|$)", coordinator.local_address)
    assert found is not None
    return int(found.group(1))


def builder(host: str, kind: Transport, handler: CallHandler, **keywords: object) -> SessionManagerBuilder:
    made = SessionManagerBuilder().with_local_address(f"sip:someone@{host}").with_sip_port(0).with_handler(handler)
    return made.with_transport(kind, **keywords)  # type: ignore[arg-type]


async def start(systems, host, kind, handler, **keywords):
    return await systems.run(builder(host, kind, handler, **keywords))


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
@pytest.mark.parametrize("kind", list(Transport))
async def test_a_call_goes_by_every_transport_and_family(systems, certificates, kind, host):
    keywords = files(certificates) if kind in (Transport.TLS, Transport.WSS) else {}
    bob = Recorder()
    called = await start(systems, host, kind, bob, **keywords)
    caller = await start(systems, host, kind, Recorder(), **keywords)
    parameter = "" if kind is Transport.UDP else f";transport={kind}"
    assert called.local_address == f"sip:someone@{host}:{port_of(called)}{parameter}"
    call = await systems.answered(caller, called)
    assert (bob.incoming.transport, bob.incoming.source.rpartition(":")[0]) == (kind, host)
    assert f";transport={kind}" in bob.incoming.headers["Contact"] or kind is Transport.UDP
    version = "6 ::1" if "::" in host else "4 127.0.0.1"
    info = await MediaControl.get_media_info(caller, call.id)
    assert f"c=IN IP{version}\r\n" in info.local_sdp and f"c=IN IP{version}\r\n" in info.remote_sdp

    async def heard() -> int:
        return (await MediaControl.get_media_statistics(caller, call.id)).packets_received

    async with asyncio.timeout(5):
        while await heard() < 3:
            await asyncio.sleep(0.01)
    # In the other direction along the dialog: by the connection that there is.
    their = bob.of("established")[0][0] if bob.of("established") else (await bob.wait("established"))[0]
    await their.hold()
    await until(lambda: call.remote_hold)
    await their.hangup()
    assert await call.wait_ended() == "remote hangup"


async def test_an_address_mapped_into_ipv6_is_reached_by_ipv4(systems, peer):
    """RFC 5118 §4.9, in the URI and in the SDP."""
    called = await start(systems, "127.0.0.1", Transport.UDP, Recorder())
    caller = await start(systems, "127.0.0.1", Transport.UDP, Recorder())
    target = f"sip:bob@[::ffff:127.0.0.1]:{port_of(called)}"
    call = await SessionControl.create_outgoing_call(caller, caller.local_address, target)
    await call.wait_for_answer(5)
    await call.hangup()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind(("127.0.0.1", 0))
        phone.setblocking(False)
        offer = [
            "v=0", "o=- 1 1 IN IP6 ::ffff:127.0.0.1", "s=-", "c=IN IP6 ::ffff:127.0.0.1", "t=0 0",
            f"m=audio {phone.getsockname()[1]} RTP/AVP 0", "",
        ]  # fmt: skip
        await peer.call(called.local_address, body="\r\n".join(offer))
        packet = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(phone, 2048), 5)
        assert len(packet) == 172


async def test_names_in_certificates_are_checked(systems, certificates, tmp_path):
    certificate, key = certificates.issue("other", "other.example")
    bob = Recorder()
    called = await start(
        systems, "127.0.0.1", Transport.TLS, bob, certificate=certificate, private_key=key, ca=certificates.root
    )
    caller = await start(systems, "127.0.0.1", Transport.TLS, Recorder(), ca=certificates.root)
    for host in ("localhost", "127.0.0.1"):
        target = f"sip:bob@{host}:{port_of(called)};transport=tls"
        call = await SessionControl.create_outgoing_call(caller, "sip:a@example.com", target)
        with pytest.raises(
            CallFailed, match=f"certificate is not accepted: it is not of {host} but of .*other.example"
        ):
            await call.wait_for_answer(5)
        assert call.state is CallState.FAILED
    trusting = await start(systems, "127.0.0.1", Transport.TLS, Recorder(), verify=False)
    await systems.answered(trusting, called)
    assert len(bob.of("incoming")) == 1


async def test_an_issuer_that_is_not_trusted_is_refused(systems, certificates, tmp_path):
    (tmp_path / "other").mkdir()
    other = Certificates(tmp_path / "other")
    called = await start(systems, "127.0.0.1", Transport.TLS, Recorder(), **files(certificates))
    caller = await start(systems, "127.0.0.1", Transport.TLS, Recorder(), ca=other.root)
    call = await systems.call(caller, called)
    with pytest.raises(CallFailed, match="certificate is not accepted: its issuer is not trusted"):
        await call.wait_for_answer(5)
    # Wildcards are no names of SIP servers (RFC 5922 §7.2).
    certificate, key = certificates.issue("wild", "*.localhost")
    assert certificate and key


async def test_clients_show_certificates_where_there_is_a_ca(systems, certificates, tmp_path):
    bob = Recorder()
    called = await start(systems, "127.0.0.1", Transport.TLS, bob, **files(certificates))
    without = await TlsPeer.connect("127.0.0.1", port_of(called), certificates.client())
    assert await without.call(f"sip:bob@127.0.0.1:{port_of(called)};transport=tls")
    certificate, key = certificates.issue("client", "phone.example")
    context = certificates.client()
    context.load_cert_chain(certificate, key)
    known = await TlsPeer.connect("127.0.0.1", port_of(called), context)
    assert await known.call(f"sip:bob@127.0.0.1:{port_of(called)};transport=tls")
    (tmp_path / "other").mkdir()
    stranger = Certificates(tmp_path / "other")
    context = certificates.client()
    context.load_cert_chain(stranger.certificate, stranger.key)
    refused = await TlsPeer.connect("127.0.0.1", port_of(called), context)
    await refused.send(refused.compose("OPTIONS", "sip:bob@127.0.0.1"))
    assert await refused.ended()
    assert len(bob.of("incoming")) == 2


async def test_a_certificate_is_renewed_without_a_restart(systems, certificates):
    called = await start(systems, "127.0.0.1", Transport.TLS, Recorder(), **files(certificates))

    async def serial() -> int:
        peer = await TlsPeer.connect("127.0.0.1", port_of(called), certificates.client())
        found = peer.writer.get_extra_info("ssl_object").getpeercert()["serialNumber"]
        return int(found, 16)

    first = await serial()
    assert await serial() == first
    certificate, key = certificates.issue("renewed", "localhost")
    # One file at a time: the pair that does not fit yet is not used.
    shutil.copy(certificate, certificates.certificate)
    assert await serial() == first
    shutil.copy(key, certificates.key)
    assert await serial() != first


async def test_a_sips_target_is_secured(systems, certificates):
    called = await start(systems, "127.0.0.1", Transport.TLS, Recorder(), **files(certificates))
    uri = f"sips:bob@localhost:{port_of(called)}"
    caller = await start(systems, "127.0.0.1", Transport.TLS, Recorder(), **files(certificates))
    call = await SessionControl.create_outgoing_call(caller, "sip:a@example.com", uri)
    await call.wait_for_answer(5)
    # RFC 3261 §12.1.1: a sips Contact wants one in return; a sip Contact does not.
    peer = await TlsPeer.connect("127.0.0.1", port_of(called), certificates.client())
    assert header(await peer.call("sip:bob@localhost"), "Contact").startswith("<sip:")
    peer.contact = f"<sips:peer@{peer.sent_by}>"
    assert re.fullmatch(r"<sips:someone@127\.0\.0\.1:\d+>", header(await peer.call("sips:bob@localhost"), "Contact"))


async def test_a_sips_call_has_a_sips_contact(systems, certificates):
    arrived: asyncio.Queue[StreamPeer] = asyncio.Queue()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.certificate, certificates.key)
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)  # type: ignore[assignment]

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await arrived.put(TlsPeer(reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    caller = await start(systems, "127.0.0.1", Transport.TLS, Recorder(), **files(certificates))
    call = await SessionControl.create_outgoing_call(caller, "sip:a@example.com", f"sips:bob@localhost:{port}")
    peer = await arrived.get()
    invite = await peer.receive("INVITE sips:bob@localhost")
    assert names == ["localhost"]
    assert header(invite, "Via").startswith(f"SIP/2.0/TLS 127.0.0.1:{port_of(caller)};branch=")
    assert header(invite, "Contact") == f"<sips:someone@127.0.0.1:{port_of(caller)}>"
    await peer.respond(invite, "200 OK", body=SDP.format(port=40000))
    await peer.receive("ACK")
    ending = asyncio.ensure_future(call.hangup())
    await peer.respond(await peer.receive("BYE"), "200 OK")
    await ending
    server.close()


async def test_sips_and_tls_need_their_transport(systems):
    plain = await systems.start("plain", Recorder())
    for target, why in [
        ("sips:bob@127.0.0.1", "sips needs TLS, which is not configured"),
        ("sips:bob@127.0.0.1;transport=ws", "sips needs WSS, which is not configured"),
        ("sips:bob@127.0.0.1;transport=udp", "sips does not go by that transport"),
        ("sip:bob@127.0.0.1;transport=tls", 'transport "tls" is not configured'),
        ("sip:bob@127.0.0.1;transport=ws", 'transport "ws" is not configured'),
    ]:
        with pytest.raises(InvalidUri, match=why):
            await SessionControl.create_outgoing_call(plain, "sip:a@example.com", target)


async def test_files_that_cannot_be_used_are_named(certificates, tmp_path):
    nothing, nonsense = str(tmp_path / "nothing.pem"), tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate")
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n")
    _, other_key = certificates.issue("other", "other.example")
    good, key = certificates.certificate, certificates.key
    for keywords, error, name in [
        ({"certificate": nothing, "private_key": key}, BindError, "nothing.pem.*No such file"),
        ({"certificate": good, "private_key": nothing}, BindError, "nothing.pem.*No such file"),
        ({"certificate": good, "private_key": key, "ca": nothing}, BindError, "nothing.pem.*No such file"),
        ({"certificate": str(nonsense), "private_key": key}, ValueError, "nonsense.pem.*no certificate in it"),
        ({"certificate": str(broken), "private_key": key}, ValueError, "broken.pem.*not a certificate"),
        ({"certificate": good, "private_key": str(nonsense)}, ValueError, "nonsense.pem.*no private key in it"),
        ({"certificate": good}, ValueError, "server.pem.*no private key in it"),
        ({"certificate": good, "private_key": other_key}, ValueError, "other.key"),
        ({"ca": str(nonsense)}, ValueError, "nonsense.pem"),
    ]:
        for kind in (Transport.TLS, Transport.WSS):
            with pytest.raises(error, match=name):
                await builder("127.0.0.1", kind, Recorder(), **keywords).build()


async def test_certificate_and_key_may_be_one_file(systems, certificates):
    called = await start(systems, "127.0.0.1", Transport.TLS, Recorder(), certificate=certificates.both)
    caller = await start(systems, "127.0.0.1", Transport.TLS, Recorder(), ca=certificates.root)
    await systems.answered(caller, called)


async def test_without_a_certificate_nobody_gets_in(systems, certificates):
    closed = await start(systems, "127.0.0.1", Transport.TLS, Recorder(), ca=certificates.root)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await TlsPeer.connect("127.0.0.1", port_of(closed), certificates.client())


async def test_plain_bytes_at_a_tls_port_are_nothing(systems, certificates):
    called = await start(systems, "127.0.0.1", Transport.TLS, Recorder(), **files(certificates))
    peer = await StreamPeer.connect("127.0.0.1", port_of(called))
    await peer.send(peer.compose("OPTIONS", "sip:bob@127.0.0.1"))
    assert await peer.ended()
    assert (await systems.answered(called, called)).state is CallState.ACTIVE


@pytest.mark.parametrize("kind", [WebSocketPeer, SecureWebSocketPeer])
async def test_a_websocket_client_is_reached_by_its_connection(systems, certificates, kind):
    bob = Recorder()
    secure = kind is SecureWebSocketPeer
    transport = Transport.WSS if secure else Transport.WS
    called = await start(systems, "127.0.0.1", transport, bob, **(files(certificates) if secure else {}))
    peer = await kind.connect("127.0.0.1", port_of(called), certificates.client() if secure else None)
    assert "sec-websocket-protocol: sip\r\n" in peer.response.lower()
    ok = await peer.call("sip:bob@example.com")
    assert f"SIP/2.0/{peer.transport} df7jal23ls0d.invalid;" in header(ok, "Via")
    assert header(ok, "Contact") == f"<sip:someone@127.0.0.1:{port_of(called)};transport={transport}>"
    assert bob.incoming.transport is transport
    call = (await bob.wait("established"))[0]
    ending = asyncio.ensure_future(call.hangup())
    bye = await peer.receive("BYE sip:peer@df7jal23ls0d.invalid;transport=ws SIP/2.0")
    assert header(bye, "Via").startswith(f"SIP/2.0/{peer.transport} 127.0.0.1:{port_of(called)};branch=")
    await peer.respond(bye, "200 OK")
    await ending
    # Binary frames, pings, and the keep-alive of RFC 5626 in a message.
    await peer.send(peer.compose("OPTIONS", "sip:bob@example.com"), opcode=2)
    await peer.receive("SIP/2.0 200")
    await peer.send("\r\n\r\n")
    assert await peer.next() == "\r\n"
    await peer.send_frame(9, b"there?")
    assert await peer.next_frame() == (10, b"there?")
    await peer.send_frame(8, b"\x03\xe8")
    assert await peer.next_frame() == (8, b"\x03\xe8")
    assert await peer.ended()


async def test_stopping_takes_leave_of_peers(systems, certificates):
    called = await start(systems, "127.0.0.1", Transport.WSS, Recorder(), **files(certificates))
    peer = await SecureWebSocketPeer.connect("127.0.0.1", port_of(called), certificates.client())
    await peer.send(peer.compose("OPTIONS", "sip:bob@example.com"))
    await peer.receive("SIP/2.0 200")
    await SessionControl.stop(called)
    assert (await peer.next_frame())[0] == 8
    assert await peer.reader.read() == b""


async def test_a_websocket_without_the_subprotocol_is_closed(systems):
    class Other(WebSocketPeer):
        protocols = "chat"

    called = await start(systems, "127.0.0.1", Transport.WS, Recorder())
    peer = await Other.connect("127.0.0.1", port_of(called))
    opcode, payload = await peer.next_frame()
    assert (opcode, payload[:2]) == (8, b"\x03\xea")
    # No upgrade at all, and one that never ends.
    for text in ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET /" + "x" * 100_000):
        plain = await StreamPeer.connect("127.0.0.1", port_of(called))
        await plain.send(text)
        assert await plain.ended()


def test_settings_are_checked():
    made = SessionManagerBuilder()
    for keywords, error in [
        ({"kind": Transport.TCP, "certificate": "x.pem"}, ValueError),
        ({"kind": Transport.UDP, "ca": "x.pem"}, ValueError),
        ({"kind": Transport.TLS, "private_key": "x.key"}, ValueError),
        ({"kind": Transport.TLS, "certificate": ""}, ValueError),
        ({"kind": Transport.TLS, "certificate": 7}, TypeError),
        ({"kind": Transport.TLS, "verify": "yes"}, TypeError),
        ({"kind": "sctp"}, ValueError),
    ]:
        with pytest.raises(error):
            made.with_transport(**keywords)


async def test_ports_that_are_not_given_do_not_collide(certificates):
    port = 17_500
    made = SessionManagerBuilder().with_local_address("sip:a@127.0.0.1").with_sip_port(port)
    for kind in (Transport.UDP, Transport.TCP, Transport.TLS, Transport.WS):
        keywords = files(certificates) if kind is Transport.TLS else {}
        made.with_transport(kind, **keywords)
    assert [(kind, at) for kind, _, at, _ in await made._listen()] == [
        (Transport.UDP, port),
        (Transport.TCP, port),
        (Transport.TLS, port + 1),
        (Transport.WS, port + 2),
    ]
    alone = SessionManagerBuilder().with_transport(Transport.TLS).with_transport(Transport.WSS)
    assert [at for _, _, at, _ in await alone._listen()] == [5061, 443]


async def test_connections_of_one_source_are_limited(systems):
    made = builder("127.0.0.1", Transport.TCP, Recorder()).with_limits(Limits(connections_per_source=2))
    called = await systems.run(made)
    uri = called.local_address
    peers = [await StreamPeer.connect("127.0.0.1", port_of(called)) for _ in range(3)]
    assert await peers[2].ended()
    for peer in peers[:2]:
        await peer.send(peer.compose("OPTIONS", uri))
        await peer.receive("SIP/2.0 200")
    await peers[0].close()
    async with asyncio.timeout(5):
        while True:
            another = await StreamPeer.connect("127.0.0.1", port_of(called))
            try:
                await another.send(another.compose("OPTIONS", uri))
                await another.receive("SIP/2.0 200")
                break
            except (ConnectionError, asyncio.IncompleteReadError):
                continue


async def test_a_request_to_sips_is_not_taken_without_tls(systems):
    called = await systems.run(builder("127.0.0.1", Transport.TCP, Recorder()))
    uri = called.local_address.replace("sip:", "sips:", 1)
    peer = await StreamPeer.connect("127.0.0.1", port_of(called))
    for method in ("OPTIONS", "INVITE"):
        await peer.send(peer.compose(method, uri))
        assert (await peer.receive("SIP/2.0")).startswith("SIP/2.0 403 SIPS Needs TLS")
    await peer.send(peer.compose("OPTIONS", called.local_address))
    await peer.receive("SIP/2.0 200")


async def test_without_udp_an_address_is_reached_by_what_there_is(systems):
    caller = await systems.run(builder("127.0.0.1", Transport.TCP, Recorder()))
    called = await systems.run(builder("127.0.0.1", Transport.TCP, Recorder()))
    plain = f"sip:x@127.0.0.1:{port_of(called)}"
    assert (await SessionControl.send_options(caller, plain)).status == 200
    call = await SessionControl.create_outgoing_call(caller, caller.local_address, plain)
    await call.wait_for_answer(5)
    await call.hangup()
    with pytest.raises(CallFailed, match=r"UDP .* not configured"):
        await SessionControl.send_options(caller, plain + ";transport=udp")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_response_says_where_the_request_came_from(systems, host):
    """RFC 3581 §4: by UDP the response goes to the source, and names it; IPv6 stands there without brackets."""
    shown = f"[{host}]" if ":" in host else host
    called = await systems.run(builder(shown, Transport.UDP, Recorder()))
    arrived: asyncio.Queue[str] = asyncio.Queue()

    class Peer(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            arrived.put_nowait(data.decode())

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Peer, remote_addr=(host, port_of(called)))
    own = transport.get_extra_info("sockname")[1]
    claimed = "[2001:db8::1]" if ":" in host else "192.0.2.1"
    request = (
        f"OPTIONS {called.local_address} SIP/2.0\r\nVia: SIP/2.0/UDP {claimed}:9;branch=z9hG4bK1;rport\r\n"
        f"From: <sip:a@{shown}>;tag=1\r\n"
        f"To: <{called.local_address}>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
    transport.sendto(request.encode())
    async with asyncio.timeout(5):
        response = await arrived.get()
    assert response.startswith("SIP/2.0 200 ")
    via = header(response, "Via")
    assert via.startswith(f"SIP/2.0/UDP {claimed}:9;") and f";rport={own};" in via + ";" and f";received={host}" in via
    transport.close()


async def test_one_system_has_both_families(systems):
    bob = Recorder()
    made = SessionManagerBuilder().with_local_address("sip:bob@127.0.0.1").with_sip_port(0).with_handler(bob)
    for host in ("127.0.0.1", "::1"):
        made.with_transport(Transport.UDP, host=host).with_transport(Transport.TCP, host=host)
    called = await systems.run(made)
    for host, version in (("127.0.0.1", "4 127.0.0.1"), ("[::1]", "6 ::1")):
        caller = await systems.run(builder(host, Transport.UDP, Recorder()).with_transport(Transport.TCP))
        for parameter in ("", ";transport=tcp"):
            target = f"sip:bob@{host}:{port_of(called)}{parameter}"
            call = await SessionControl.create_outgoing_call(caller, "sip:a@example.com", target)
            await call.wait_for_answer(5)
            info = await MediaControl.get_media_info(caller, call.id)
            assert f"c=IN IP{version}\r\n" in info.local_sdp and f"c=IN IP{version}\r\n" in info.remote_sdp
            # And back.
            back = f"sip:someone@{host}:{port_of(caller)}{parameter}"
            call = await SessionControl.create_outgoing_call(called, "sip:bob@example.com", back)
            await call.wait_for_answer(5)
            info = await MediaControl.get_media_info(called, call.id)
            assert f"c=IN IP{version}\r\n" in info.local_sdp and f"c=IN IP{version}\r\n" in info.remote_sdp


def self_signed(place: Path, host: str) -> Path:
    """Key and certificate in one file, as `openssl req -x509` makes them: the certificate calls itself a CA's."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    path = place / f"{host}.pem"
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


async def test_a_certificate_that_signed_itself_is_trusted_where_it_is_named(systems, tmp_path):
    """With paths as `pathlib` has them."""
    ours, others = self_signed(tmp_path, "localhost"), self_signed(tmp_path, "other.example")
    bob = Recorder()
    called = await start(systems, "127.0.0.1", Transport.TLS, bob, certificate=ours, ca=ours)
    # The client shows the same one.
    caller = await start(systems, "127.0.0.1", Transport.TLS, Recorder(), certificate=ours, ca=ours)
    target = called.local_address.replace("127.0.0.1", "localhost")
    call = await SessionControl.create_outgoing_call(caller, caller.local_address, target)
    await call.wait_for_answer(5)
    stranger = await start(systems, "127.0.0.1", Transport.TLS, Recorder(), ca=others)
    call = await SessionControl.create_outgoing_call(stranger, stranger.local_address, target)
    with pytest.raises(CallFailed, match="certificate is not accepted"):
        await call.wait_for_answer(5)
    # Named, but of another host than the one that was called.
    wrong = await start(systems, "127.0.0.1", Transport.TLS, Recorder(), certificate=others)
    target = wrong.local_address.replace("127.0.0.1", "localhost")
    call = await SessionControl.create_outgoing_call(stranger, stranger.local_address, target)
    with pytest.raises(CallFailed, match="it is not of localhost but of other"):
        await call.wait_for_answer(5)
