"""`Registrar`: REGISTER as a telephone sends it, look-ups, stores, and calls to addresses of record."""

import asyncio
import dataclasses
import os
import re
import signal
import socket
import sqlite3
import sys
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
from support import Peer, Recorder, until
from support.peer import SDP, finish, header

from ringback import (
    Binding,
    BindingStore,
    CallDecision,
    CallRejected,
    FlowBindingStore,
    InvalidUri,
    NotRunningError,
    Registrar,
    SessionControl,
    SessionError,
    Transport,
)

DOMAIN = "pbx.example"
BOB = f"sip:bob@{DOMAIN}"


class Phone(Peer):
    """A scripted telephone of one address of record."""

    def __init__(self, aor: str = BOB) -> None:
        super().__init__()
        self.aor = aor
        self.cseq = 0
        self.call_id = os.urandom(8).hex()

    async def register(
        self,
        server,
        contacts: str | None = None,
        *,
        headers: str = "",
        cseq: int | None = None,
        uri: str | None = None,
        port: int | None = None,
    ) -> str:
        """Sends a REGISTER (`contacts` "": a query) and returns the answer."""
        self.cseq = self.cseq + 1 if cseq is None else cseq
        if contacts is None:
            contacts = f"<{self.uri}>"
        port = port or int(server.local_address.rpartition(":")[2])
        lines = [
            f"REGISTER {uri or 'sip:' + DOMAIN} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};branch=z9hG4bK{os.urandom(8).hex()};rport",
            f"From: <{self.aor}>;tag={self.tag}",
            f"To: <{self.aor}>",
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq} REGISTER",
            "Max-Forwards: 70",
            "User-Agent: Desk/1",
            *([f"Contact: {contacts}"] if contacts else []),
        ]
        self.send(finish(lines, headers, ""), ("127.0.0.1", port))
        return await self.receive("SIP/2.0 ")


def status(answer: str) -> int:
    return int(answer.split(" ")[1])


def listed(answer: str) -> list[str]:
    return re.findall(r"^Contact: (.*?)\r$", answer, re.MULTILINE)


async def server(systems, name="pbx", handler=None, **keywords):
    registrar = Registrar(**{"domains": [DOMAIN], **keywords})
    coordinator = await systems.start(name, handler, lambda builder: builder.with_registrar(registrar))
    return coordinator, registrar


async def test_a_telephone_registers_is_looked_up_and_removed(systems):
    pbx, registrar = await server(systems)
    async with Phone() as phone:
        before = datetime.now(UTC)
        answer = await phone.register(pbx, headers="Expires: 120")
        assert status(answer) == 200
        assert listed(answer) == [f"<{phone.uri}>;expires=120"]
        (binding,) = await registrar.lookup(BOB)
        assert isinstance(binding, Binding)
        assert (binding.aor, binding.contact, binding.user_agent) == (BOB, phone.uri, "Desk/1")
        assert binding.received_from == f"127.0.0.1:{phone.port}"
        assert timedelta(seconds=118) < binding.expires_at - before < timedelta(seconds=122)
        assert await registrar.lookup("sip:nobody@pbx.example") == []
        await registrar.remove(BOB)
        assert await registrar.lookup(f'"Bob" <{BOB}>') == []
        assert listed(await phone.register(pbx, "")) == []


async def test_several_contacts_by_preference_and_a_star_for_all(systems):
    pbx, registrar = await server(systems)
    async with Phone() as phone:
        answer = await phone.register(
            pbx, "<sip:a@192.0.2.1>;q=0.2, <sip:b@192.0.2.1>;q=0.9;expires=90, <sip:c@192.0.2.1>"
        )
        assert listed(answer) == [
            "<sip:c@192.0.2.1>;expires=3600",
            "<sip:b@192.0.2.1>;expires=90;q=0.900",
            "<sip:a@192.0.2.1>;expires=3600;q=0.200",
        ]
        assert [(one.contact, one.q) for one in await registrar.lookup(BOB)] == [
            ("sip:c@192.0.2.1", 1.0),
            ("sip:b@192.0.2.1", 0.9),
            ("sip:a@192.0.2.1", 0.2),
        ]
        answer = await phone.register(pbx, "<sip:b@192.0.2.1>;expires=0")
        assert len(listed(answer)) == 2
        assert status(await phone.register(pbx, "*")) == 400
        assert status(await phone.register(pbx, "*", headers="Expires: 5")) == 400
        assert len(await registrar.lookup(BOB)) == 2
        assert status(await phone.register(pbx, "*", headers="Expires: 0")) == 200
        assert await registrar.lookup(BOB) == []


async def test_order_within_a_call_id(systems):
    pbx, registrar = await server(systems)
    async with Phone() as phone:
        assert status(await phone.register(pbx, cseq=10)) == 200
        for old in (10, 9):
            assert status(await phone.register(pbx, f"<{phone.uri}>;expires=0", cseq=old)) == 500
        assert len(await registrar.lookup(BOB)) == 1
        phone.call_id = "another"
        assert status(await phone.register(pbx, f"<{phone.uri}>;expires=0", cseq=1)) == 200
        assert await registrar.lookup(BOB) == []


async def test_too_brief_too_long_too_many_and_elsewhere(systems):
    pbx, _ = await server(systems, max_expires=timedelta(minutes=10), max_contacts=2)
    async with Phone() as phone:
        brief = await phone.register(pbx, headers="Expires: 5")
        assert (status(brief), header(brief, "Min-Expires")) == (423, "60")
        assert listed(await phone.register(pbx, headers="Expires: 100000")) == [f"<{phone.uri}>;expires=600"]
        many = await phone.register(pbx, "<sip:a@192.0.2.1>, <sip:b@192.0.2.1>")
        assert many.startswith("SIP/2.0 403 Too Many Contacts")
        assert status(await phone.register(pbx, uri="sip:elsewhere.example")) == 404
        phone.aor = "sip:bob@elsewhere.example"
        assert status(await phone.register(pbx)) == 404


async def test_a_binding_ends(systems):
    pbx, registrar = await server(systems, max_expires=1)
    async with Phone() as phone:
        assert listed(await phone.register(pbx)) == [f"<{phone.uri}>;expires=1"]
        assert len(await registrar.lookup(BOB)) == 1
        while await registrar.lookup(BOB):
            await asyncio.sleep(0.02)


async def test_without_a_registrar(systems):
    plain = await systems.start("plain", Recorder())
    async with Phone() as phone:
        assert status(await phone.register(plain)) == 405
    registrar = Registrar(domains=[DOMAIN])
    with pytest.raises(NotRunningError):
        await registrar.lookup(BOB)
    pbx, registrar = await server(systems)
    for bad in ("sip:bob@elsewhere.example", "bob", "sip:pbx.example"):
        with pytest.raises(InvalidUri):
            await registrar.lookup(bad)
    await SessionControl.stop(pbx)
    with pytest.raises(NotRunningError):
        await registrar.remove(BOB)


@pytest.mark.parametrize(
    ("keywords", "error"),
    [
        ({"domains": []}, ValueError),
        ({"domains": "pbx.example"}, ValueError),
        ({"domains": ["bob@pbx.example"]}, InvalidUri),
        ({"domains": ["pbx.example:5060"]}, InvalidUri),
        ({"domains": ["a\r\nb"]}, InvalidUri),
        ({"domains": [5]}, TypeError),
        ({"domains": [DOMAIN], "store": ""}, ValueError),
        ({"domains": [DOMAIN], "store": object()}, TypeError),
        ({"domains": [DOMAIN], "max_contacts": 0}, ValueError),
        ({"domains": [DOMAIN], "max_contacts": "2"}, TypeError),
        ({"domains": [DOMAIN], "max_expires": 0}, ValueError),
        ({"domains": [DOMAIN], "max_expires": 10, "min_expires": 20}, ValueError),
    ],
)
def test_bad_settings(keywords, error):
    with pytest.raises(error):
        Registrar(**keywords)


HOLD = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


async def test_a_file_that_another_process_holds_does_not_hold_the_loop(systems, tmp_path):
    path = tmp_path / "bindings"
    builder = systems.builder("pbx").with_registrar(Registrar(domains=["pbx.example"], store=path))
    await builder.build()
    pipe = asyncio.subprocess.PIPE
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLD, str(path), stdin=pipe, stdout=pipe)
    assert holder.stdin is not None and holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    turns = []
    asyncio.get_running_loop().call_later(0.05, turns.append, 1)
    with pytest.raises(OSError, match="locked"):
        await builder.build()
    assert turns, "the loop went on meanwhile"
    holder.stdin.close()
    await holder.wait()
    await systems.run(builder)


# ---- calls


async def answer(phone: Phone, what: str = "200 OK") -> str:
    invite = await phone.receive("INVITE")
    phone.respond(invite, what, body=SDP.format(port=40000))
    return invite


async def test_a_call_to_an_address_of_record_rings_its_contacts(systems):
    pbx, _ = await server(systems, handler=Recorder())
    async with Phone() as desk, Phone() as mobile:
        await desk.register(pbx)
        await mobile.register(pbx)
        call = await SessionControl.create_outgoing_call(pbx, pbx.local_address, BOB)
        first, second = await desk.receive("INVITE"), await mobile.receive("INVITE")
        assert first.startswith(f"INVITE {desk.uri} SIP/2.0")
        assert header(first, "To") == f"<{BOB}>"
        assert header(first, "Call-ID") == header(second, "Call-ID") == call.call_id
        desk.respond(first, "180 Ringing")
        mobile.respond(second, "180 Ringing")
        mobile.respond(second, "200 OK", body=SDP.format(port=40000))
        await call.wait_for_answer(5)
        cancel = await desk.receive("CANCEL")
        assert "Call completed elsewhere" in header(cancel, "Reason")
        await mobile.receive("ACK")
        assert len(await SessionControl.list_active_sessions(pbx)) == 1
        await call.hangup()
        await mobile.receive("BYE")


async def test_a_forward_to_an_address_of_record(systems):
    pbx, _ = await server(systems, handler=Recorder(lambda call: CallDecision.Forward(BOB)))
    caller = await systems.start("caller")
    call = await SessionControl.create_outgoing_call(caller, caller.local_address, pbx.local_address)
    with pytest.raises(CallRejected) as nobody:
        await call.wait_for_answer(5)
    assert nobody.value.status == 480
    async with Phone() as desk, Phone() as mobile:
        await desk.register(pbx)
        await mobile.register(pbx)
        call = await SessionControl.create_outgoing_call(caller, caller.local_address, pbx.local_address)
        busy = await desk.receive("INVITE")
        desk.respond(busy, "486 Busy Here")
        await answer(mobile)
        await call.wait_for_answer(5)
        await call.hangup()
        await mobile.receive("BYE")


# ---- stores


async def test_a_file_survives_a_restart(systems, tmp_path):
    path = str(tmp_path / "bindings.db")
    first, registrar = await server(systems, store=path)
    async with Phone() as phone:
        assert status(await phone.register(first, f"<{phone.uri}>;q=0.5")) == 200
        (before,) = await registrar.lookup(BOB)
        await SessionControl.stop(first)
        second, registrar = await server(systems, "second", store=path)
        (after,) = await registrar.lookup(BOB)
        assert dataclasses.replace(after, expires_at=before.expires_at) == before
        assert abs(after.expires_at - before.expires_at) < timedelta(milliseconds=50)
        # Order goes on, too.
        assert status(await phone.register(second, cseq=1)) == 500
        call = await SessionControl.create_outgoing_call(second, second.local_address, BOB)
        await answer(phone)
        await call.wait_for_answer(5)
        await call.hangup()
        assert status(await phone.register(second, "*", headers="Expires: 0", cseq=5)) == 200
        await SessionControl.stop(second)
    third, registrar = await server(systems, "third", store=path)
    assert await registrar.lookup(BOB) == []
    # The same coordinator again.
    await SessionControl.stop(third)
    await SessionControl.start(third)
    assert await registrar.lookup(BOB) == []


CHILD = """
import asyncio, sys
from ringback import Registrar, SessionControl, SessionManagerBuilder

async def main(path):
    builder = SessionManagerBuilder().with_local_address("sip:pbx@127.0.0.1").with_sip_port(0)
    coordinator = await builder.with_registrar(Registrar(domains=["pbx.example"], store=path)).build()
    async with coordinator:
        print(coordinator.local_address, flush=True)
        await asyncio.Event().wait()

asyncio.run(main(sys.argv[1]))
"""


async def test_what_was_confirmed_survives_kill_9(systems, tmp_path):
    path = str(tmp_path / "bindings.db")
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, path, stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    address = (await child.stdout.readline()).decode().strip()

    class Child:
        local_address = address

    confirmed = []
    async with Phone() as phone:
        for number in range(20):
            phone.aor = f"sip:user{number}@{DOMAIN}"
            assert status(await phone.register(Child)) == 200
            confirmed.append(phone.aor)
        child.send_signal(signal.SIGKILL)
        await child.wait()
    _, registrar = await server(systems, store=path)
    for aor in confirmed:
        assert len(await registrar.lookup(aor)) == 1, aor


async def test_a_file_that_is_no_store(systems, tmp_path):
    path = tmp_path / "text"
    path.write_text("not a database at all, and long enough to be looked at " * 4)
    with pytest.raises(OSError, match="cannot use the binding store"):
        await server(systems, store=str(path))
    with pytest.raises(OSError, match="cannot use the binding store"):
        await server(systems, store=str(tmp_path / "missing" / "file"))


async def test_a_file_that_cannot_be_written_gives_503(systems, tmp_path):
    path = str(tmp_path / "bindings.db")
    pbx, registrar = await server(systems, store=path)
    with sqlite3.connect(path) as other:
        other.execute("DROP TABLE bindings")
    other.close()
    async with Phone() as phone:
        refused = await phone.register(pbx)
        assert status(refused) == 503
        assert header(refused, "Retry-After")
        assert await registrar.lookup(BOB) == []


class Memory:
    """A `BindingStore` that keeps what the protocol asks for, and no more."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Binding] = {}
        self.broken = False
        self.log: list[str] = []

    async def save(self, binding: Binding) -> None:
        self.log.append(f"save {binding.contact}")
        await asyncio.sleep(0)
        if self.broken:
            raise OSError("the store is away")
        self.kept[binding.aor, binding.contact] = Binding(
            aor=binding.aor,
            contact=binding.contact,
            expires_at=binding.expires_at,
            user_agent=binding.user_agent,
            received_from=binding.received_from,
        )

    async def delete(self, aor: str, contact: str | None) -> None:
        self.log.append(f"delete {contact}")
        if self.broken:
            raise OSError("the store is away")
        for key in [key for key in self.kept if key[0] == aor and contact in (None, key[1])]:
            del self.kept[key]

    async def find(self, aor: str) -> list[Binding]:
        if self.broken:
            raise OSError("the store is away")
        return [binding for (owner, _), binding in self.kept.items() if owner == aor]


async def test_a_store_in_python_is_shared(systems):
    store = Memory()
    assert isinstance(store, BindingStore)
    first, here = await server(systems, "first", store=store)
    second, there = await server(systems, "second", store=store)
    async with Phone() as phone:
        assert status(await phone.register(first)) == 200
        assert [binding.contact for binding in await there.lookup(BOB)] == [phone.uri]
        call = await SessionControl.create_outgoing_call(second, second.local_address, BOB)
        await answer(phone)
        await call.wait_for_answer(5)
        await call.hangup()
        # Order is kept by who has seen it.
        assert status(await phone.register(first, cseq=1)) == 500
        assert len(listed(await phone.register(second, "<sip:other@192.0.2.1>", cseq=7))) == 2
        await here.remove(BOB)
        assert store.kept == {}
        assert store.log[-1] == "delete None"
        assert await there.lookup(BOB) == []


class Flows(Memory):
    """A `FlowBindingStore` that keeps all of a binding."""

    @staticmethod
    def key(contact: str | None, instance: str | None, reg_id: int | None) -> str | tuple[str, int] | None:
        return contact if instance is None or reg_id is None else (instance, reg_id)

    async def save(self, binding: Binding) -> None:
        self.kept[binding.aor, self.key(binding.contact, binding.instance, binding.reg_id)] = binding

    async def delete_flow(self, aor: str, instance: str, reg_id: int) -> None:
        self.kept.pop((aor, (instance, reg_id)), None)


def flow(contact: str, reg_id: int, number: int = 1) -> str:
    return f'<{contact}>;reg-id={reg_id};+sip.instance="<urn:uuid:00000000-0000-0000-0000-00000000000{number}>"'


OUTBOUND = "Supported: path, outbound\n"


async def test_flows_of_one_contact_are_kept_apart(systems, tmp_path):
    # RFC 5626 §6: by instance and reg-id.
    path = str(tmp_path / "bindings.db")
    store = Flows()
    assert isinstance(store, FlowBindingStore)
    assert not isinstance(Memory(), FlowBindingStore)
    for number, where in enumerate([":memory:", path, store]):
        pbx, registrar = await server(systems, f"pbx{number}", store=where)

        async def flows(registrar=registrar):
            return sorted((binding.reg_id, binding.contact) for binding in await registrar.lookup(BOB))

        async with Phone() as phone:
            for reg_id in (1, 2):
                assert status(await phone.register(pbx, flow(phone.uri, reg_id), headers=OUTBOUND)) == 200
            assert await flows() == [(1, phone.uri), (2, phone.uri)]
            # A flow anew, from somewhere else: it alone changes.
            moved = "sip:bob@192.0.2.9;ob"
            assert len(listed(await phone.register(pbx, flow(moved, 2), headers=OUTBOUND))) == 2
            assert await flows() == [(1, phone.uri), (2, moved)]
            if where == path:
                await SessionControl.stop(pbx)
                pbx, registrar = await server(systems, "again", store=path)
                assert await flows(registrar) == [(1, phone.uri), (2, moved)]
            gone = await phone.register(pbx, flow(phone.uri, 1) + ";expires=0", headers=OUTBOUND)
            assert status(gone) == 200
            assert [binding.reg_id for binding in await registrar.lookup(BOB)] == [2]
        if where is store:
            assert [key[1] for key in store.kept] == [("urn:uuid:00000000-0000-0000-0000-000000000001", 2)]


async def test_a_flow_over_udp_is_reached_from_where_it_came_to(systems, tmp_path):
    # RFC 5626 §5.3: of two sockets the one that the REGISTER came to, after a restart too.
    path = tmp_path / "bindings.db"
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        ports = sorted(probe.getsockname()[1] for probe in (one, other))

    async def start(name: str):
        registrar = Registrar(domains=[DOMAIN], store=path)
        builder = systems.builder(name).with_registrar(registrar)
        for port in ports:
            builder.with_transport(Transport.UDP, port=port)
        return await systems.run(builder), registrar

    async with AsyncExitStack() as stack:
        phones = [await stack.enter_async_context(Phone()) for _ in ports]
        for run in ("first", "second"):
            pbx, registrar = await start(run)
            if run == "first":
                for number, (phone, port) in enumerate(zip(phones, ports, strict=True), 1):
                    # What a telephone at home believes of itself.
                    contact = flow("sip:bob@192.0.2.9;ob", 1, number)
                    assert status(await phone.register(pbx, contact, headers=OUTBOUND, port=port)) == 200
            bound = {binding.received_from: binding.received_to for binding in await registrar.lookup(BOB)}
            assert bound == {
                f"127.0.0.1:{phone.port}": f"127.0.0.1:{port}" for phone, port in zip(phones, ports, strict=True)
            }
            call = await SessionControl.create_outgoing_call(pbx, pbx.local_address, BOB)
            for phone, port in zip(phones, ports, strict=True):
                invite = await phone.receive("INVITE")
                assert phone.remote == ("127.0.0.1", port), run
                assert header(invite, "Via").startswith(f"SIP/2.0/UDP 127.0.0.1:{port};")
                phone.respond(invite, "180 Ringing")
            await call.hangup()
            for phone, port in zip(phones, ports, strict=True):
                phone.respond(await phone.receive("CANCEL"), "200 OK")
                assert phone.remote == ("127.0.0.1", port), run
            await SessionControl.stop(pbx)


async def test_a_store_that_knows_contacts_alone_keeps_one_flow_of_each(systems):
    store = Memory()
    pbx, registrar = await server(systems, store=store)
    async with Phone() as phone:
        # A plain contact that becomes a flow, twice.
        assert status(await phone.register(pbx)) == 200
        for reg_id in (1, 2):
            assert status(await phone.register(pbx, flow(phone.uri, reg_id), headers=OUTBOUND)) == 200
        assert list(store.kept) == [(BOB, phone.uri)]
        assert [binding.contact for binding in await registrar.lookup(BOB)] == [phone.uri]
        # One that moves takes its old contact along.
        await phone.register(pbx, flow("sip:bob@192.0.2.9;ob", 2), headers=OUTBOUND)
        assert list(store.kept) == [(BOB, "sip:bob@192.0.2.9;ob")]


async def test_a_store_in_python_that_fails_loses_nothing(systems, caplog):
    store = Memory()
    pbx, registrar = await server(systems, store=store)
    async with Phone() as phone:
        assert status(await phone.register(pbx)) == 200
        store.broken = True
        refused = await phone.register(pbx, f"<{phone.uri}>;expires=0")
        assert (status(refused), header(refused, "Retry-After")) == (503, "10")
        with pytest.raises(SessionError, match="the store is away"):
            await registrar.lookup(BOB)
        assert "the binding store failed" in caplog.text
        store.broken = False
        assert len(await registrar.lookup(BOB)) == 1


async def test_a_store_in_python_that_hangs_holds_nothing_up(systems):
    class Slow(Memory):
        async def find(self, aor):
            if aor == BOB:
                await asyncio.Event().wait()
            return await super().find(aor)

    pbx, registrar = await server(systems, store=Slow())
    waiting = asyncio.ensure_future(registrar.lookup(BOB))
    async with Phone("sip:carol@pbx.example") as phone:
        assert status(await phone.register(pbx)) == 200
    assert not waiting.done()
    await SessionControl.stop(pbx)
    with pytest.raises(NotRunningError):
        await waiting


async def test_many_registrations_at_once(systems, tmp_path):
    pbx, registrar = await server(systems, store=str(tmp_path / "bindings.db"))
    phones = [Phone(f"sip:user{number}@{DOMAIN}") for number in range(100)]
    for phone in phones:
        await phone.__aenter__()
    try:
        answers = await asyncio.gather(*(phone.register(pbx) for phone in phones))
        assert {status(answer) for answer in answers} == {200}
        for phone in phones:
            assert len(await registrar.lookup(phone.aor)) == 1
    finally:
        for phone in phones:
            await phone.__aexit__()
    await until(lambda: True)


async def test_memory_survives_a_stop_and_a_start(systems):
    pbx, registrar = await server(systems, handler=Recorder())
    async with Phone() as phone, Phone() as other:
        await phone.register(pbx, f"<{phone.uri}>;q=0.5")
        await other.register(pbx)
        before = await registrar.lookup(BOB)
        for _ in range(2):
            await SessionControl.stop(pbx)
            await SessionControl.start(pbx)
        after = await registrar.lookup(BOB)
        assert [binding.contact for binding in after] == [binding.contact for binding in before]
        # Order goes on, too.
        assert status(await phone.register(pbx, cseq=1)) == 500
        call = await SessionControl.create_outgoing_call(pbx, pbx.local_address, BOB)
        await answer(phone)
        await call.wait_for_answer(5)
        await call.hangup()


async def test_a_gruu_rings_one_instance(systems):
    pbx, _ = await server(systems, handler=Recorder())
    instances = ["urn:uuid:00000000-0000-0000-0000-000000000001", "urn:uuid:00000000-0000-0000-0000-000000000002"]
    async with Phone() as desk, Phone() as mobile:
        for phone, instance in ((desk, instances[0]), (mobile, instances[1])):
            contact = f'<{phone.uri}>;+sip.instance="<{instance}>"'
            text = await phone.register(pbx, contact, headers="Supported: gruu\n")
            gruu = f"{BOB};gr={instance}"
            assert f'pub-gruu="{gruu}"' in text
            call = await SessionControl.create_outgoing_call(pbx, pbx.local_address, gruu)
            await answer(phone)
            await call.wait_for_answer(5)
            await call.hangup()
            await phone.receive("BYE")
        with pytest.raises(asyncio.TimeoutError):
            await desk.receive("INVITE", timeout=0)


async def test_a_store_may_be_a_path(systems, tmp_path):
    registrar = Registrar(domains=["example.com"], store=tmp_path / "bindings.db")
    await systems.start("pbx", None, lambda builder: builder.with_registrar(registrar))
    assert (tmp_path / "bindings.db").exists()


async def test_a_temporary_gruu_rings_one_instance_and_outlives_a_restart(systems, tmp_path):
    # RFC 5627 §3.2, §5.4.
    path = str(tmp_path / "bindings.db")
    instances = ["urn:uuid:00000000-0000-0000-0000-000000000001", "urn:uuid:00000000-0000-0000-0000-000000000002"]
    pbx, _ = await server(systems, "first", Recorder(), store=path)
    async with Phone() as desk, Phone() as mobile:
        minted = []
        for phone, instance in ((desk, instances[0]), (mobile, instances[1]), (desk, instances[0])):
            text = await phone.register(pbx, f'<{phone.uri}>;+sip.instance="<{instance}>"', headers="Supported: gruu\n")
            own = next(line for line in listed(text) if instance in line)
            minted.append(re.search(r'temp-gruu="([^"]+)"', own).group(1))
        assert len(set(minted)) == 3
        assert all(re.fullmatch(r"sip:tgruu\.[\w-]+@pbx\.example;gr", gruu) for gruu in minted)
        await SessionControl.stop(pbx)
        pbx, _ = await server(systems, "second", Recorder(), store=path)
        for gruu, phone in zip(minted, (desk, mobile, desk), strict=True):
            call = await SessionControl.create_outgoing_call(pbx, pbx.local_address, gruu)
            await answer(phone)
            await call.wait_for_answer(5)
            await call.hangup()
            await phone.receive("BYE")


async def test_temporary_gruus_are_sealed_by_a_key(systems):
    for wrong, error in ((b"short", ValueError), ("x" * 32, TypeError)):
        with pytest.raises(error, match="gruu_key"):
            Registrar(domains=[DOMAIN], gruu_key=wrong)
    # Two registrars with one store and one key understand each other's.
    store, key = Flows(), bytes(range(32))
    first, _ = await server(systems, "first", Recorder(), store=store, gruu_key=key)
    second, _ = await server(systems, "second", Recorder(), store=store, gruu_key=key)
    async with Phone() as phone:
        contact = f'<{phone.uri}>;+sip.instance="<urn:uuid:00000000-0000-0000-0000-000000000001>"'
        text = await phone.register(first, contact, headers="Supported: gruu\n")
        gruu = re.search(r'temp-gruu="([^"]+)"', text).group(1)
        call = await SessionControl.create_outgoing_call(second, second.local_address, gruu)
        await answer(phone)
        await call.wait_for_answer(5)
        await call.hangup()
