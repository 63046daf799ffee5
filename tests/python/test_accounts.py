"""`Account` and `Registration`: being registered elsewhere, by our own registrar and by a scripted one."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest
from support import Peer, Recorder, until
from support.peer import SDP, finish, header
from support.streams import StreamPeer

from ringback import (
    Account,
    CallRejected,
    CallState,
    CompositeHandler,
    InvalidUri,
    NotRunningError,
    Registrar,
    Registration,
    RegistrationFailed,
    RegistrationState,
    SessionControl,
    Transport,
)

DOMAIN = "pbx.example"
ALICE = f"sip:alice@{DOMAIN}"


class Watcher(Recorder):
    def on_registration(self, registration: Registration) -> None:
        self.events.append(("registration", (registration, registration.state)))

    @property
    def states(self) -> list[RegistrationState]:
        return [state for _, state in self.of("registration")]


async def registrar(systems, **keywords):
    kept = Registrar(**{"domains": [DOMAIN], **keywords})
    return await systems.start("pbx", Recorder(), lambda builder: builder.with_registrar(kept)), kept


def at(coordinator, *, aor=ALICE, **keywords) -> Account:
    """An account of which everything goes to that coordinator."""
    return Account(aor=aor, proxy=coordinator.local_address.partition("@")[2], **keywords)


async def answer(peer: Peer, status: str = "200 OK", headers: str = "", *, expires: int = 60) -> str:
    request = await peer.receive("REGISTER")
    if status.startswith("200"):
        headers = f"Contact: {header(request, 'Contact')};expires={expires}\n" + headers
    peer.respond(request, status, headers=headers)
    return request


async def test_registered_on_start_and_unregistered_on_stop(systems):
    pbx, kept = await registrar(systems)
    watcher = Watcher()
    desk = await systems.start("desk", watcher, lambda builder: builder.with_account(at(pbx, expires=300)))
    await watcher.wait("registration", 2)
    (binding,) = await kept.lookup(ALICE)
    port = desk.local_address.rpartition(":")[2]
    assert binding.contact == f"sip:alice@127.0.0.1:{port}"
    registration, _ = watcher.of("registration")[-1]
    assert (registration.state, registration.account.aor) == (RegistrationState.REGISTERED, ALICE)
    left = registration.expires_at - datetime.now(UTC)
    assert timedelta(seconds=295) < left < timedelta(seconds=301)
    await SessionControl.stop(desk)
    assert await kept.lookup(ALICE) == []
    assert registration.state is RegistrationState.UNREGISTERED
    assert watcher.states == [
        RegistrationState.REGISTERING,
        RegistrationState.REGISTERED,
        RegistrationState.UNREGISTERED,
    ]
    # A second start registers anew.
    await SessionControl.start(desk)
    await watcher.wait("registration", 5)
    assert len(await kept.lookup(ALICE)) == 1


@pytest.mark.parametrize("transport", [None, Transport.TCP])
async def test_register_and_be_called(systems, transport):
    pbx, kept = await registrar(systems)
    alice = Watcher()
    desk = await systems.start("desk", alice)
    registration = await desk.register(at(pbx, transport=transport))
    assert isinstance(registration, Registration)
    await registration.wait_registered()
    await registration.wait_registered(timedelta(seconds=1))
    (binding,) = await kept.lookup(ALICE)
    assert binding.transport == (transport or Transport.UDP)
    # A flow by either (RFC 5626 §4.2).
    assert binding.reg_id == 1
    call = await SessionControl.create_outgoing_call(pbx, pbx.local_address, ALICE)
    await call.wait_for_answer(5)
    assert alice.incoming.to_uri == ALICE
    await call.hangup()
    # And the other way: by the account's proxy, from its address of record.
    out = await SessionControl.create_outgoing_call(desk, f'"Alice" <{ALICE}>', "sip:anybody@nowhere.example")
    await out.wait_for_answer(5)
    assert out.from_uri == ALICE
    await out.hangup()
    await registration.unregister()
    assert await kept.lookup(ALICE) == []
    assert registration.state is RegistrationState.UNREGISTERED
    assert registration.expires_at is None
    await registration.unregister()
    with pytest.raises(RegistrationFailed, match="unregistered"):
        await registration.wait_registered()


async def test_what_is_sent(systems, peer):
    desk = await systems.start("desk")
    account = Account(aor=f'"Alice" <{ALICE}>', registrar=f"sip:127.0.0.1:{peer.port}", expires=timedelta(minutes=2))
    registration = await desk.register(account)
    request = await answer(peer)
    assert request.startswith(f"REGISTER sip:127.0.0.1:{peer.port} SIP/2.0\r\n")
    assert header(request, "To") == f'"Alice" <{ALICE}>'
    assert header(request, "From").startswith(f'"Alice" <{ALICE}>;tag=')
    assert header(request, "Expires") == "120"
    assert header(request, "CSeq") == "1 REGISTER"
    assert "+sip.instance=" in header(request, "Contact")
    await registration.wait_registered()
    ended = asyncio.create_task(registration.unregister())
    last = await peer.receive("REGISTER")
    assert (header(last, "Expires"), header(last, "CSeq")) == ("0", "2 REGISTER")
    assert header(last, "Call-ID") == header(request, "Call-ID")
    assert not ended.done()
    peer.respond(last, "200 OK")
    await ended


async def test_it_is_refreshed_before_it_ends(systems, peer):
    desk = await systems.start("desk")
    registration = await desk.register(Account(aor=ALICE, registrar=f"127.0.0.1:{peer.port}"))
    for _ in range(3):
        await answer(peer, expires=1)
        await registration.wait_registered()
    assert registration.state is RegistrationState.REGISTERED


async def test_a_registrar_that_wants_longer(systems):
    pbx, kept = await registrar(systems, min_expires=120)
    desk = await systems.start("desk")
    registration = await desk.register(at(pbx, expires=5))
    await registration.wait_registered()
    assert registration.expires_at - datetime.now(UTC) > timedelta(seconds=110)
    assert len(await kept.lookup(ALICE)) == 1


async def test_refused(systems, peer):
    watcher = Watcher()
    desk = await systems.start("desk", watcher)
    registration = await desk.register(Account(aor=ALICE, registrar=f"127.0.0.1:{peer.port}"))
    waiting = asyncio.create_task(registration.wait_registered())
    await answer(peer, "403 Forbidden")
    with pytest.raises(RegistrationFailed, match="403 Forbidden") as refused:
        await waiting
    assert refused.value.status == 403
    assert registration.state is RegistrationState.FAILED
    with pytest.raises(RegistrationFailed):
        await registration.wait_registered()
    await registration.unregister()
    assert watcher.states[-2:] == [RegistrationState.FAILED, RegistrationState.UNREGISTERED]


async def test_a_registrar_that_asks_to_come_again(systems, peer):
    desk = await systems.start("desk")
    registration = await desk.register(Account(aor=ALICE, registrar=f"127.0.0.1:{peer.port}"))
    await answer(peer, "503 Service Unavailable", "Retry-After: 1\n")
    await until(lambda: registration.state is RegistrationState.FAILED)
    await answer(peer)
    await until(lambda: registration.state is RegistrationState.REGISTERED)


async def test_nobody_there(systems, peer):
    desk = await systems.start("desk")
    registration = await desk.register(Account(aor=ALICE, registrar=f"127.0.0.1:{peer.port}"))
    with pytest.raises(TimeoutError) as late:
        await registration.wait_registered(0.05)
    assert isinstance(late.value, RegistrationFailed)
    assert late.value.status is None
    assert registration.state is RegistrationState.REGISTERING
    waiting = asyncio.create_task(registration.wait_registered(60))
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    since = loop.time()
    await SessionControl.stop(desk)
    assert loop.time() - since < 2
    with pytest.raises(RegistrationFailed):
        await waiting


async def test_service_route_and_hangup(systems, peer):
    desk = await systems.start("desk")
    registration = await desk.register(Account(aor=ALICE, registrar=f"127.0.0.1:{peer.port}"))
    route = f"<sip:127.0.0.1:{peer.port};lr>"
    await answer(peer, headers=f"Service-Route: {route}")
    await registration.wait_registered()
    call = await SessionControl.create_outgoing_call(desk, ALICE, "sip:bob@elsewhere.example")
    invite = await peer.receive("INVITE sip:bob@elsewhere.example SIP/2.0")
    assert header(invite, "Route") == route
    peer.respond(invite, "200 OK", body=SDP.format(port=40000))
    await call.wait_for_answer(5)
    assert call.state is CallState.ACTIVE


async def test_every_member_of_a_composite_is_told(systems):
    pbx, _ = await registrar(systems)
    first, second = Watcher(), Watcher()
    desk = await systems.start("desk", CompositeHandler(first, second))
    await (await desk.register(at(pbx))).wait_registered()
    await second.wait("registration", 2)
    assert first.states == second.states


async def test_not_running(systems):
    desk = await systems.start("desk")
    await SessionControl.stop(desk)
    with pytest.raises(NotRunningError):
        await desk.register(Account(aor=ALICE))


@pytest.mark.parametrize(
    ("keywords", "error"),
    [
        ({"aor": ""}, InvalidUri),
        ({"aor": "sip:pbx.example"}, InvalidUri),
        ({"aor": "sip:a@b\r\nX: y"}, InvalidUri),
        ({"aor": 5}, TypeError),
        ({"aor": ALICE, "registrar": " "}, InvalidUri),
        ({"aor": ALICE, "proxy": 5}, TypeError),
        ({"aor": ALICE, "proxy": ["a", 5]}, TypeError),
        ({"aor": ALICE, "proxy": []}, ValueError),
        ({"aor": ALICE, "proxy": ["a", "b", "c", "d", "e"]}, ValueError),
        ({"aor": ALICE, "proxy": ["a", ""]}, InvalidUri),
        ({"aor": ALICE, "expires": 0}, ValueError),
        ({"aor": ALICE, "expires": 0.5}, ValueError),
        ({"aor": ALICE, "transport": "carrier pigeon"}, ValueError),
        ({"aor": ALICE, "credentials": ("alice", "secret")}, TypeError),
    ],
)
def test_bad_accounts(keywords, error):
    with pytest.raises(error):
        Account(**keywords)


def test_an_accounts_user_may_have_parameters():
    account = Account(aor="sip:+358-555-1234567;postd=pp22@example.com")
    assert account.aor == "sip:+358-555-1234567;postd=pp22@example.com"


async def test_an_account_that_cannot_be(systems):
    desk = await systems.start("desk")
    for bad in (Account(aor=ALICE, proxy="http://x"), Account(aor=ALICE, registrar="sip:a b")):
        with pytest.raises(InvalidUri):
            await desk.register(bad)
    with pytest.raises(InvalidUri):
        await systems.start("other", None, lambda builder: builder.with_account(Account(aor=ALICE, proxy="http://x")))


class Edge:
    """A registrar over TCP that does what a test says: each connection is a `StreamPeer`."""

    async def __aenter__(self) -> "Edge":
        self.connections: asyncio.Queue[StreamPeer] = asyncio.Queue()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await StreamPeer.close_all()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.put_nowait(StreamPeer(reader, writer))

    async def asked(self) -> tuple[StreamPeer, str]:
        """The next connection, and the REGISTER that came by it."""
        async with asyncio.timeout(10):
            connection = await self.connections.get()
        return connection, await connection.receive("REGISTER", timeout=10)

    async def take(self, headers: str = "") -> tuple[StreamPeer, str]:
        """The same, granted."""
        connection, request = await self.asked()
        await self.grant(connection, request, headers)
        return connection, request

    @staticmethod
    async def grant(connection: StreamPeer, request: str, headers: str = "") -> None:
        lines = [
            "SIP/2.0 200 OK",
            *(line for line in request.split("\r\n") if re.match(r"(Via|From|Call-ID|CSeq):", line)),
        ]
        lines += [f"To: {header(request, 'To')};tag=edge", f"Contact: {header(request, 'Contact')};expires=600"]
        await connection.send(finish(lines, headers, ""))


async def test_a_lost_connection_is_replaced_and_registered_by_again(systems):
    async with Edge() as edge:
        watcher = Watcher()
        desk = await systems.start("desk", watcher)
        account = Account(aor=ALICE, registrar=f"127.0.0.1:{edge.port}", transport=Transport.TCP)
        registration = await desk.register(account)
        connection, first = await edge.take()
        assert "reg-id=1" in header(first, "Contact")
        await registration.wait_registered()
        await connection.close()
        _, second = await edge.take()
        assert header(second, "Call-ID") == header(first, "Call-ID")
        assert "reg-id=1" in header(second, "Contact")
        await watcher.wait("registration", 4)
        states = [RegistrationState.REGISTERING, RegistrationState.REGISTERED]
        assert watcher.states == states * 2


async def test_a_flow_is_kept_alive_as_often_as_the_edge_wants(systems):
    async with Edge() as edge:
        desk = await systems.start("desk")
        account = Account(aor=ALICE, registrar=f"127.0.0.1:{edge.port}", transport=Transport.TCP)
        registration = await desk.register(account)
        connection, _ = await edge.take("Flow-Timer: 1\n")
        await registration.wait_registered()
        for _ in range(2):
            async with asyncio.timeout(10):
                assert await connection.reader.readexactly(4) == b"\r\n\r\n"
            connection.writer.write(b"\r\n")
        assert registration.state is RegistrationState.REGISTERED


async def test_requests_outside_of_calls_go_the_account_s_way(systems):
    async with Edge() as edge:
        desk = await systems.start("desk")
        account = Account(aor=ALICE, proxy=f"127.0.0.1:{edge.port}", transport=Transport.TCP)
        registration = await desk.register(account)
        connection, _ = await edge.take()
        await registration.wait_registered()
        far = "sip:bob@far.example"
        for method, operation in (
            ("MESSAGE", SessionControl.send_message(desk, ALICE, far, "hello")),
            ("OPTIONS", SessionControl.send_options(desk, far, from_uri=ALICE)),
            ("SUBSCRIBE", SessionControl.subscribe(desk, ALICE, far, "dialog")),
        ):
            task = asyncio.create_task(operation)
            request = await connection.receive(f"{method} {far} SIP/2.0")
            assert f"127.0.0.1:{edge.port}" in header(request, "Route")
            assert header(request, "From").startswith(f"<{ALICE}>")
            await connection.respond(request, "404 Not Found")
            if method == "OPTIONS":
                assert (await task).status == 404
            else:
                with pytest.raises(CallRejected) as refused:
                    await task
                assert refused.value.status == 404


async def test_two_proxies_are_two_flows(systems):
    async with Edge() as first, Edge() as second:
        watcher = Watcher()
        desk = await systems.start("desk", watcher)
        proxies = [f"127.0.0.1:{edge.port}" for edge in (first, second)]
        account = Account(aor=ALICE, proxy=proxies, transport=Transport.TCP)
        assert account.proxy == tuple(proxies)
        registration = await desk.register(account)
        one, request = await first.take("Require: outbound\n")
        assert "reg-id=1" in header(request, "Contact")
        two, request = await second.take("Require: outbound\n")
        assert "reg-id=2" in header(request, "Contact")
        await registration.wait_registered()
        # One that is lost leaves the other, and comes back.
        await one.close()
        one, request = await first.asked()
        assert "reg-id=1" in header(request, "Contact")
        asked = asyncio.create_task(SessionControl.send_options(desk, "sip:bob@far.example", from_uri=ALICE))
        await two.respond(await two.receive("OPTIONS", timeout=10), "200 OK")
        assert (await asked).status == 200
        await first.grant(one, request, "Require: outbound\n")
        assert registration.state is RegistrationState.REGISTERED
        assert watcher.states == [RegistrationState.REGISTERING, RegistrationState.REGISTERED]


async def test_of_several_proxies_one_that_is_not_there_is_passed_over(systems):
    async with Edge() as edge:
        desk = await systems.start("desk")
        gone = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        closed = gone.sockets[0].getsockname()[1]
        gone.close()
        await gone.wait_closed()
        account = Account(aor=ALICE, proxy=(f"127.0.0.1:{closed}", f"127.0.0.1:{edge.port}"), transport=Transport.TCP)
        registration = await desk.register(account)
        await edge.take()
        await registration.wait_registered()
