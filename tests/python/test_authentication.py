"""`Credentials`, `Authenticator`: who we are where a peer asks, and whom we let in."""

import asyncio
import dataclasses
import hashlib
import logging
import pickle
import re
import uuid

import pytest
from support import Peer, Recorder, until
from support.peer import SDP, finish, header

from ringback import (
    Authenticator,
    CallDecision,
    CallRejected,
    CallState,
    Credentials,
    InvalidHeader,
    InvalidUri,
    SessionControl,
    SessionManagerBuilder,
)

ALICE = Credentials(username="alice", password="s3cret", realm="pbx")


def hashed(algorithm: str, *parts: str) -> str:
    return hashlib.new({"MD5": "md5", "SHA-256": "sha256"}[algorithm], ":".join(parts).encode()).hexdigest()


def given(message: str, name: str) -> dict[str, str]:
    """The parameters of credentials or of the first challenge."""
    found = re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', header(message, name))
    return {key: quoted or plain for key, quoted, plain in found}


def proves(request: str, password: str, name: str = "Authorization") -> dict[str, str]:
    """The credentials of a request, checked."""
    parts = given(request, name)
    method, uri, _ = request.split(" ", 2)
    algorithm = parts.get("algorithm", "MD5")
    a1 = hashed(algorithm, parts["username"], parts["realm"], password)
    a2 = hashed(algorithm, method, uri)
    expected = hashed(algorithm, a1, parts["nonce"], parts["nc"], parts["cnonce"], "auth", a2)
    assert (parts["uri"], parts["response"]) == (uri, expected)
    return parts


def challenge(realm: str, nonce: str, more: str = "", name: str = "WWW-Authenticate") -> str:
    return f'{name}: Digest realm="{realm}", nonce="{nonce}", qop="auth"{more}'


class Client:
    """A telephone that is asked for its password by a system."""

    def __init__(self, peer: Peer, system: str, user: str = "alice") -> None:
        self.peer, self.system = peer, system
        self.call_id, self.cseq = uuid.uuid4().hex, 0
        self.own = f"<sip:{user}@127.0.0.1>;tag={peer.tag}"

    async def ask(self, method: str, headers: str = "", body: str = "") -> str:
        """Sends a request; its final response."""
        self.cseq += 1
        lines = [
            f"{method} {self.system} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.peer.port};branch=z9hG4bK{uuid.uuid4().hex}",
            f"From: {self.own}",
            f"To: <{self.system}>",
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq} {method}",
            "Max-Forwards: 70",
            f"Contact: <{self.peer.uri}>",
        ]
        host, _, port = self.system.partition("@")[2].partition(":")
        self.peer.send(finish(lines, headers, body), (host, int(port)))
        while (response := await self.peer.receive("SIP/2.0")).startswith("SIP/2.0 1"):
            pass
        return response

    def answer(self, refusal: str, method: str, *, user: str = "alice", password: str = "s3cret", nc: int = 1) -> str:
        asked = given(refusal, "WWW-Authenticate")
        algorithm, realm, nonce = asked["algorithm"], asked["realm"], asked["nonce"]
        a1, a2 = hashed(algorithm, user, realm, password), hashed(algorithm, method, self.system)
        response = hashed(algorithm, a1, nonce, f"{nc:08x}", "c", "auth", a2)
        return (
            f'Authorization: Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{self.system}", '
            f'response="{response}", algorithm={algorithm}, cnonce="c", qop=auth, nc={nc:08x}'
        )


# ---- who we are


async def test_a_call_that_is_asked_is_placed_with_credentials(systems, peer):
    caller = await systems.start("alice", Recorder(), lambda builder: builder.with_credentials(ALICE))
    call = await SessionControl.create_outgoing_call(caller, caller.local_address, peer.uri)
    first = await peer.receive("INVITE ")
    assert "Authorization" not in first
    peer.respond(first, "401 Unauthorized", headers=challenge("pbx", "n1", ", algorithm=SHA-256"))
    assert (await peer.receive("ACK ")).count("Authorization") == 0
    second = await peer.receive("INVITE ")
    assert proves(second, "s3cret")["nc"] == "00000001"
    assert (header(second, "CSeq"), header(second, "Call-ID")) == ("2 INVITE", header(first, "Call-ID"))
    assert call.state == CallState.INITIATING
    peer.respond(second, "200 OK", body=SDP.format(port=40000))
    await call.wait_for_answer(5)
    assert header(await peer.receive("ACK "), "Authorization") == header(second, "Authorization")
    hanging_up = asyncio.create_task(call.hangup())
    bye = await peer.receive("BYE ")
    assert proves(bye, "s3cret")["nc"] == "00000002"
    peer.respond(bye, "401 Unauthorized", headers=challenge("pbx", "n2", ", stale=true"))
    bye = await peer.receive("BYE ")
    assert proves(bye, "s3cret")["nonce"] == "n2"
    peer.respond(bye, "200 OK")
    await hanging_up


async def test_what_is_refused_again_is_a_rejection(systems, peer):
    caller = await systems.start("alice", Recorder(), lambda builder: builder.with_credentials(ALICE))
    call = await SessionControl.create_outgoing_call(caller, caller.local_address, peer.uri)
    for nonce in ("n1", "n2"):
        invite = await peer.receive("INVITE ")
        peer.respond(invite, "401 Unauthorized", headers=challenge("pbx", nonce))
    with pytest.raises(CallRejected) as caught:
        await call.wait_for_answer(5)
    assert (caught.value.status, caught.value.reason) == (401, "Unauthorized")
    assert call.end_reason == "rejected 401 Unauthorized"


@pytest.mark.parametrize("credentials", [(), (ALICE,)])
async def test_nothing_is_sent_to_a_realm_without_credentials(systems, peer, credentials):
    caller = await systems.start("alice", Recorder(), lambda builder: builder.with_credentials(*credentials))
    call = await SessionControl.create_outgoing_call(caller, caller.local_address, peer.uri)
    invite = await peer.receive("INVITE ")
    refusal = challenge("other", "n", name="Proxy-Authenticate")
    peer.respond(invite, "407 Proxy Authentication Required", headers=refusal)
    with pytest.raises(CallRejected) as caught:
        await call.wait_for_answer(5)
    assert caught.value.status == 407


async def test_a_proxy_and_a_server_each_get_theirs(systems, peer):
    proxy = Credentials(username="trunk", password="pr0xy", realm="proxy")
    caller = await systems.start("alice", Recorder(), lambda builder: builder.with_credentials(ALICE, proxy))
    call = await SessionControl.create_outgoing_call(caller, caller.local_address, peer.uri)
    invite = await peer.receive("INVITE ")
    refusal = challenge("proxy", "p", name="Proxy-Authenticate")
    peer.respond(invite, "407 Proxy Authentication Required", headers=refusal)
    invite = await peer.receive("INVITE ")
    assert proves(invite, "pr0xy", "Proxy-Authorization")["username"] == "trunk"
    peer.respond(invite, "401 Unauthorized", headers=challenge("pbx", "s"))
    invite = await peer.receive("INVITE ")
    proves(invite, "pr0xy", "Proxy-Authorization")
    assert proves(invite, "s3cret")["username"] == "alice"
    peer.respond(invite, "486 Busy Here")
    with pytest.raises(CallRejected, match="486"):
        await call.wait_for_answer(5)


async def test_options_and_messages_are_answered_too(systems, peer):
    anyone = Credentials(username="alice", password="s3cret")
    caller = await systems.start("alice", Recorder(), lambda builder: builder.with_credentials(anyone))
    asking = asyncio.create_task(SessionControl.send_options(caller, peer.uri))
    request = await peer.receive("OPTIONS ")
    peer.respond(request, "401 Unauthorized", headers=challenge("whatever", "n"))
    request = await peer.receive("OPTIONS ")
    assert proves(request, "s3cret")["realm"] == "whatever"
    peer.respond(request, "200 OK")
    assert (await asking).status == 200
    sending = asyncio.create_task(SessionControl.send_message(caller, caller.local_address, peer.uri, "hi"))
    request = await peer.receive("MESSAGE ")
    assert proves(request, "s3cret")["nc"] == "00000002", "the nonce is known by now"
    peer.respond(request, "200 OK")
    await sending


# ---- whom we let in


def asks(passwords=None, **keywords):
    passwords = {"alice": "s3cret"} if passwords is None else passwords
    return lambda builder: builder.with_authenticator(Authenticator("pbx", passwords, **keywords))


@pytest.mark.parametrize("integrity", [False, True])
async def test_two_systems(systems, integrity):
    bob = Recorder()
    called = await systems.start("bob", bob, asks(integrity=integrity))
    caller = await systems.start("alice", Recorder(), lambda builder: builder.with_credentials(ALICE))
    for _ in range(2):
        call = await systems.answered(caller, called)
        await call.hold()
        await call.hangup()
    await bob.wait("ended", 2)
    assert (await SessionControl.send_options(caller, called.local_address)).status == 200


@pytest.mark.parametrize(
    "credentials",
    [
        None,
        Credentials(username="alice", password="wrong", realm="pbx"),
        Credentials(username="nobody", password="s3cret", realm="pbx"),
    ],
)
async def test_who_is_not_let_in(systems, credentials):
    bob = Recorder()
    called = await systems.start("bob", bob, asks())
    configure = lambda builder: builder.with_credentials(*([credentials] if credentials else []))  # noqa: E731
    caller = await systems.start("alice", Recorder(), configure)
    call = await systems.call(caller, called)
    with pytest.raises(CallRejected) as caught:
        await call.wait_for_answer(5)
    assert caught.value.status == 401
    assert bob.events == []


async def test_challenges_are_strongest_first_and_stale_nonces_are_said_to_be(systems, peer):
    called = await systems.start("bob", Recorder(), asks())
    client = Client(peer, called.local_address)
    refusal = await client.ask("OPTIONS")
    assert refusal.startswith("SIP/2.0 401 Unauthorized")
    challenges = re.findall(r'^WWW-Authenticate: Digest realm="pbx".*algorithm=([\w-]+)', refusal, re.MULTILINE)
    assert challenges == ["SHA-256", "MD5"]
    good = client.answer(refusal, "OPTIONS")
    assert (await client.ask("OPTIONS", good)).startswith("SIP/2.0 200")
    replayed = await client.ask("OPTIONS", good)
    assert replayed.startswith("SIP/2.0 401") and "stale=true" in replayed
    wrong = client.answer(refusal, "OPTIONS", password="wrong", nc=2)
    unknown = client.answer(refusal, "OPTIONS", user="nobody", nc=3)
    told = []
    for credentials in (wrong, unknown):
        text = await client.ask("OPTIONS", credentials)
        assert text.startswith("SIP/2.0 401") and "stale" not in text
        told.append(re.sub(r'nonce="\w+"|branch=\w+|tag=\w+|CSeq: \d+', "", text))
    assert told[0] == told[1], "a wrong user looks like a wrong password"
    assert (await client.ask("OPTIONS", client.answer(replayed, "OPTIONS"))).startswith("SIP/2.0 200")


async def test_bodies_are_signed_where_that_is_asked_for(systems, peer):
    called = await systems.start("bob", Recorder(), asks(integrity=True))
    client = Client(peer, called.local_address)
    refusal = await client.ask("OPTIONS")
    assert given(refusal, "WWW-Authenticate")["qop"] == "auth-int"
    # It signs the request alone.
    again = await client.ask("OPTIONS", client.answer(refusal, "OPTIONS"))
    assert again.startswith("SIP/2.0 401") and "stale" not in again


async def test_a_user_speaks_for_itself_only(systems, peer):
    bob = Recorder()
    called = await systems.start("bob", bob, asks({"alice": "s3cret", "carol": "hers"}))
    client = Client(peer, called.local_address, user="carol")
    refusal = await client.ask("INVITE", body=SDP.format(port=40000))
    credentials = client.answer(refusal, "INVITE")
    assert (await client.ask("INVITE", credentials, SDP.format(port=40000))).startswith("SIP/2.0 403")
    assert bob.events == []


async def test_trusted_networks_are_let_in(systems):
    for trusted, let_in in ((["127.0.0.0/8"], True), (["10.0.0.0/8", "2001:db8::/32"], False)):
        called = await systems.start("bob", Recorder(), asks({}, trusted=trusted))
        caller = await systems.start("alice", Recorder())
        assert (await SessionControl.send_options(caller, called.local_address)).status == (200 if let_in else 401)


class Database(Authenticator):
    def __init__(self) -> None:
        super().__init__("pbx")
        self.asked: list[tuple[str, str]] = []
        self.found: object = "s3cret"

    async def password(self, username: str, realm: str) -> str | None:
        self.asked.append((username, realm))
        await asyncio.sleep(0)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found  # type: ignore[return-value]


async def test_passwords_are_asked_for(systems):
    bob, database = Recorder(), Database()
    called = await systems.start("bob", bob, lambda builder: builder.with_authenticator(database))
    caller = await systems.start("alice", Recorder(), lambda builder: builder.with_credentials(ALICE))
    call = await systems.answered(caller, called)
    assert database.asked == [("alice", "pbx")]
    await call.hangup()
    for found, status in ((None, 401), ("other", 401), (RuntimeError("no database"), 500), (7, 500)):
        database.found = found
        with pytest.raises(CallRejected) as caught:
            await (await systems.call(caller, called)).wait_for_answer(5)
        assert caught.value.status == status
    errors = [type(error) for _, error in bob.of("error")]
    assert errors == [RuntimeError, TypeError], "and nothing is swallowed"
    assert len(bob.of("incoming")) == 1


async def test_without_a_handler_passwords_are_asked_for_too(systems):
    database = Database()
    called = await systems.start("bob", None, lambda builder: builder.with_authenticator(database))
    caller = await systems.start("alice", Recorder(), lambda builder: builder.with_credentials(ALICE))
    assert (await SessionControl.send_options(caller, called.local_address)).status == 200
    assert database.asked == [("alice", "pbx")]


async def test_a_password_that_does_not_come_does_not_hold_up_a_stop(systems, peer):
    class Slow(Database):
        async def password(self, username: str, realm: str) -> str | None:
            self.asked.append((username, realm))
            await asyncio.Event().wait()
            return None

    slow = Slow()
    called = await systems.start("bob", Recorder(), lambda builder: builder.with_authenticator(slow))
    caller = await systems.start("alice", Recorder(), lambda builder: builder.with_credentials(ALICE))
    await systems.call(caller, called)
    await until(lambda: bool(slow.asked))
    async with asyncio.timeout(5):
        await SessionControl.stop(called)


# ---- values


def test_no_password_shows():
    for text in (repr(ALICE), str(ALICE), f"{ALICE!r}", repr(SessionManagerBuilder().with_credentials(ALICE))):
        assert "s3cret" not in text
    assert "alice" in repr(ALICE)
    assert pickle.loads(pickle.dumps(ALICE)) == ALICE
    with pytest.raises(dataclasses.FrozenInstanceError):
        ALICE.password = ""  # type: ignore[misc]
    assert "s3cret" not in repr(Authenticator("pbx", {"alice": "s3cret"}))


async def test_no_credentials_in_logs(systems):
    records: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record.getMessage())

    logger, handler = logging.getLogger("ringback"), Collect(0)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        called = await systems.start("bob", Recorder(), asks())
        caller = await systems.start("alice", Recorder(), lambda builder: builder.with_credentials(ALICE))
        await (await systems.answered(caller, called)).hangup()
        await until(lambda: "BYE sip:" in "\n".join(records))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    text = "\n".join(records)
    assert "Authorization: <hidden>" in text and "WWW-Authenticate: Digest" in text
    assert "s3cret" not in text and "response=" not in text


def test_what_is_no_credentials_and_no_authenticator():
    for bad in ({"username": ""}, {"username": "a\r\nb"}, {"password": "a\0"}, {"realm": ""}, {"realm": "a\n"}):
        with pytest.raises(ValueError):
            Credentials(**{"username": "a", "password": "b", **bad})
    for wrong in ({"username": None}, {"password": 1}, {"realm": b"x"}):
        with pytest.raises(TypeError):
            Credentials(**{"username": "a", "password": "b", **wrong})  # type: ignore[arg-type]
    assert Credentials(username="a", password="").password == ""
    for realm in ("", "a\r\nb", "x" * 200):
        with pytest.raises(ValueError):
            Authenticator(realm)
    for trusted in (["x"], ["10.0.0.1/8"], ["10.0.0.0/33"]):
        with pytest.raises(ValueError):
            Authenticator("pbx", trusted=trusted)
    with pytest.raises(TypeError):
        Authenticator("pbx", trusted="10.0.0.0/8")
    with pytest.raises(ValueError, match="SHA-3"):
        Authenticator("pbx", algorithms=["SHA-3"])
    for nothing in ("MD5", ()):
        with pytest.raises(TypeError):
            Authenticator("pbx", algorithms=nothing)
    with pytest.raises(TypeError):
        Authenticator("pbx", ["alice"])  # type: ignore[arg-type]
    builder = SessionManagerBuilder()
    for method, wrong_value in ((builder.with_credentials, "alice"), (builder.with_authenticator, {"alice": "x"})):
        with pytest.raises(TypeError):
            method(wrong_value)  # type: ignore[arg-type]


@pytest.mark.parametrize("passwords", [{"a\nb": "x"}, {"": "x"}, {"a": "b\0"}])
async def test_what_is_no_password(passwords):
    with pytest.raises(ValueError):
        await SessionManagerBuilder().with_authenticator(Authenticator("pbx", passwords)).build()


# ---- identities in headers (RFC 3325, RFC 3323, RFC 5806, RFC 7044, RFC 7433)

IDENTITIES = {
    "P-Asserted-Identity": '"Alice" <sip:alice@example.com>',
    "P-Preferred-Identity": "<sip:alice@example.com>",
    "Privacy": "id",
    "Diversion": "<sip:carol@example.com>;reason=user-busy",
    "History-Info": "<sip:carol@example.com>;index=1",
    "User-to-User": "48656c6c6f;encoding=hex",
}


async def test_identities_are_set_and_read(systems):
    bob = Recorder(CallDecision.Reject("no", status=486))
    called, caller = await systems.start("bob", bob), await systems.start("alice", Recorder())
    call = await systems.call(caller, called, headers=IDENTITIES)
    with pytest.raises(CallRejected):
        await call.wait_for_answer(5)
    headers = bob.incoming.headers
    assert {name: headers[name] for name in IDENTITIES} == IDENTITIES
    assert bob.incoming.header_values("p-asserted-identity") == [IDENTITIES["P-Asserted-Identity"]]


@pytest.mark.parametrize("breaking", ["\r\nVia: x", "\n", "\r", "\0"])
async def test_what_would_break_out_of_a_message_is_refused(systems, peer, breaking):
    caller = await systems.start("alice", Recorder())
    here = caller.local_address
    for name, value in (("P-Asserted-Identity", f"x{breaking}"), (f"X{breaking}", "y")):
        with pytest.raises(InvalidHeader):
            await SessionControl.create_outgoing_call(caller, here, peer.uri, headers={name: value})
    for from_uri, to_uri in ((here + breaking, peer.uri), (here, peer.uri + breaking)):
        with pytest.raises(InvalidUri):
            await SessionControl.create_outgoing_call(caller, from_uri, to_uri)
        with pytest.raises(InvalidUri):
            await SessionControl.send_message(caller, from_uri, to_uri, "hi")
    with pytest.raises(InvalidUri):
        await SessionControl.send_options(caller, peer.uri + breaking)
    with pytest.raises(InvalidUri):
        SessionManagerBuilder().with_local_address("sip:a@127.0.0.1" + breaking)
