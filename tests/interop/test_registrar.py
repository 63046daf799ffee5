"""Telephones that register with ringback, and ringback that registers with Kamailio."""

import asyncio

import pytest
from baresip_peer import Baresip
from kamailio_peer import Kamailio
from network import HOST, MEDIA, free_ports
from systems import Recorder, dial, soon, until

from ringback import (
    Account,
    Authenticator,
    Binding,
    CallDecision,
    CallHandler,
    Credentials,
    IncomingCall,
    Registrar,
    RegistrationFailed,
    SessionControl,
    SessionCoordinator,
    SessionManagerBuilder,
    Transport,
)

EXPECTED = ("sip", "sdp", "rtp", "udp", "tcp")


class Exchange(CallHandler):
    """Connects whoever calls with the address of record that was called."""

    def __init__(self) -> None:
        self.callers: list[str] = []

    def on_incoming_call(self, call: IncomingCall) -> CallDecision:
        self.callers.append(call.from_uri)
        return CallDecision.Forward(call.to_uri)


def builder(handler: CallHandler | None = None) -> SessionManagerBuilder:
    made = SessionManagerBuilder().with_local_address(f"sip:ringback@{HOST}").with_sip_port(free_ports())
    made = made.with_media_ports(MEDIA.start, MEDIA.stop - 1)
    return made if handler is None else made.with_handler(handler)


def at(coordinator: SessionCoordinator, user: str) -> str:
    return f"sip:{user}@{coordinator.local_address.partition('@')[2]}"


async def bound(registrar: Registrar, aor: str) -> Binding:
    """The first contact of an address of record, once it has one."""
    async with asyncio.timeout(20):
        while not (found := await registrar.lookup(aor)):
            await asyncio.sleep(0.02)
    return found[0]


@pytest.mark.peer("baresip")
async def test_one_baresip_calls_another_through_our_registrar() -> None:
    exchange = Exchange()
    registrar = Registrar(domains=[HOST])
    made = builder(exchange).with_registrar(registrar)
    made = made.with_authenticator(Authenticator(HOST, {"alice": "alice", "bob": "bob"}))
    async with await made.build() as pbx:
        alice, bob = at(pbx, "alice"), at(pbx, "bob")
        async with Baresip(440.0, registered=alice) as first, Baresip(660.0, registered=bob) as second:
            await bound(registrar, alice)
            binding = await bound(registrar, bob)
            assert str(second.port) in binding.contact
            assert binding.user_agent is not None and "baresip" in binding.user_agent
            await first.command("dial", bob)
            await second.until_event("CALL_ESTABLISHED")
            await first.until_event("CALL_ESTABLISHED")
            assert [caller.partition("@")[0] for caller in exchange.callers] == ["sip:alice"]
            await first.command("hangup")
            await second.until_event("CALL_CLOSED")


@pytest.mark.peer("baresip")
async def test_a_wrong_password_does_not_register() -> None:
    registrar = Registrar(domains=[HOST])
    made = builder(Exchange()).with_registrar(registrar).with_authenticator(Authenticator(HOST, {"alice": "secret"}))
    async with await made.build() as pbx:
        async with Baresip(440.0, registered=at(pbx, "alice")) as phone:
            await until(lambda: "401 Unauthorized" in phone.log(), what="a refusal in baresip's log")
        assert await registrar.lookup(at(pbx, "alice")) == []


@pytest.mark.peer("kamailio")
@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
async def test_we_register_with_kamailio_and_are_called_through_it(transport: Transport) -> None:
    handler = Recorder()
    async with Kamailio() as proxy:
        account = Account(
            aor=proxy.uri("member"),
            credentials=Credentials(username="member", password="member"),
            transport=transport,
            expires=120,
        )
        async with await builder(handler).build() as member, await builder().build() as caller:
            registration = await member.register(account)
            await registration.wait_registered(20)
            assert registration.expires_at is not None
            call = await dial(caller, proxy.uri("member"))
            await call.wait_for_answer(20)
            assert (await soon(handler.incoming)).to_uri == proxy.uri("member")
            await call.hangup()
            await soon(handler.ended)
            # And a call of ours, that has to prove itself (407), to ourselves.
            out = await SessionControl.create_outgoing_call(member, proxy.uri("member"), proxy.uri("member"))
            await out.wait_for_answer(20)
            await out.hangup()


@pytest.mark.peer("kamailio")
async def test_kamailio_refuses_a_wrong_password() -> None:
    async with Kamailio() as proxy, await builder().build() as member:
        wrong = Credentials(username="member", password="wrong")
        registration = await member.register(Account(aor=proxy.uri("member"), credentials=wrong))
        with pytest.raises(RegistrationFailed) as refused:
            await registration.wait_registered(20)
        assert refused.value.status == 401
