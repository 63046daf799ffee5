"""`SessionControl.send_message` and `CallHandler.on_message`."""

import asyncio
import dataclasses
import pickle

import pytest
from support import Recorder, until
from support.peer import body_of, header

from ringback import (
    CallFailed,
    CallHandler,
    CallRejected,
    CompositeHandler,
    InvalidHeader,
    InvalidUri,
    Message,
    NotRunningError,
    RoutingHandler,
    SessionControl,
)


class Inbox(CallHandler):
    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def on_message(self, message: Message) -> None:
        self.messages.append(message)


async def test_from_one_to_the_other(systems):
    inbox = Inbox()
    called, caller = await systems.start("bob", inbox), await systems.start("alice")
    for text in ("hello", 'Größe <&> "x"\r\n', "x" * 20_000):
        await SessionControl.send_message(caller, '"Alice" <sip:alice@example.com>', called.local_address, text)
        await until(lambda: len(inbox.messages) == 1)
        message = inbox.messages.pop()
        assert (message.from_uri, message.to_uri) == ("sip:alice@example.com", called.local_address)
        assert (message.content_type, message.body) == ("text/plain", text)
    assert pickle.loads(pickle.dumps(message)) == message
    with pytest.raises(dataclasses.FrozenInstanceError):
        message.body = ""  # type: ignore[misc]


async def test_what_is_sent_and_refused(systems, peer):
    caller = await systems.start("alice")
    task = asyncio.create_task(
        SessionControl.send_message(caller, caller.local_address, peer.uri, "{}", content_type="application/json")
    )
    request = await peer.receive("MESSAGE ")
    assert request.startswith(f"MESSAGE {peer.uri} SIP/2.0\r\n")
    assert (header(request, "Content-Type"), body_of(request)) == ("application/json", "{}")
    assert "\r\nContact:" not in request
    peer.respond(request, "404 Not Found")
    with pytest.raises(CallRejected, match="404 Not Found") as caught:
        await task
    assert (caught.value.status, caught.value.reason) == (404, "Not Found")


async def test_in_a_call_and_in_a_charset(systems, peer):
    inbox = Inbox()
    called = await systems.start("bob", inbox)
    lines = [
        f"MESSAGE {called.local_address} SIP/2.0",
        f"Via: SIP/2.0/UDP 127.0.0.1:{peer.port};branch=z9hG4bK1;rport",
        f"From: <{peer.uri}>;tag=1",
        f"To: <{called.local_address}>",
        "Call-ID: m1",
        "CSeq: 1 MESSAGE",
        "Max-Forwards: 70",
        "Content-Type: text/plain; charset=iso-8859-1",
        "Content-Length: 4",
        "",
        "",
    ]
    port = int(called.local_address.rpartition(":")[2])
    peer._transport.sendto("\r\n".join(lines).encode() + b"gr\xfcn", ("127.0.0.1", port))
    await peer.receive("SIP/2.0 200")
    await until(lambda: inbox.messages != [])
    assert inbox.messages[0].body == "grün"
    lines[1] = lines[1].replace("z9hG4bK1", "z9hG4bK2")
    lines[4] = "Call-ID: m2"
    lines[-4] = "Content-Type: text/plain"
    peer._transport.sendto("\r\n".join(lines).encode() + b"gr\xfcn", ("127.0.0.1", port))
    assert "\r\nAccept: text/plain" in await peer.receive("SIP/2.0 415")


async def test_nobody_listens(systems):
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    with pytest.raises(CallRejected, match="405"):
        await SessionControl.send_message(caller, caller.local_address, called.local_address, "hello")


async def test_handlers_of_handlers(systems):
    first, second, third = Inbox(), Inbox(), Inbox()
    routes = RoutingHandler(Recorder().decision).route("nobody", third)
    called = await systems.start("bob", CompositeHandler(first, second, routes))
    await SessionControl.send_message(called, called.local_address, called.local_address, "hello")
    await until(lambda: all(inbox.messages for inbox in (first, second, third)))


async def test_a_handler_that_fails(systems):
    class Broken(CallHandler):
        def __init__(self) -> None:
            self.errors: list[tuple[object, Exception]] = []

        async def on_message(self, message: Message) -> None:
            raise RuntimeError(message.body)

        def on_error(self, call, error):
            self.errors.append((call, error))

    broken = Broken()
    called = await systems.start("bob", broken)
    await SessionControl.send_message(called, called.local_address, called.local_address, "hello")
    await until(lambda: broken.errors != [])
    assert broken.errors[0][0] is None and str(broken.errors[0][1]) == "hello"


async def test_bad_input(systems):
    caller = await systems.start("alice")
    for arguments, keywords, error in (
        (("sip:a@b", "tel:+1", ""), {}, InvalidUri),
        (("sip:a@b\r\n", "sip:a@127.0.0.1", ""), {}, InvalidUri),
        (("sip:a@b", "sip:a@127.0.0.1", ""), {"content_type": "text/plain\r\nVia: x"}, InvalidHeader),
        (("sip:a@b", "sip:a@127.0.0.1", "x" * 32_769), {}, ValueError),
    ):
        with pytest.raises(error):
            await SessionControl.send_message(caller, *arguments, **keywords)


async def test_no_way_and_no_coordinator(systems, peer):
    caller = await systems.start("alice")
    with pytest.raises(CallFailed) as caught:
        await SessionControl.send_message(caller, caller.local_address, "sip:a@127.0.0.1:1;transport=tcp", "hello")
    assert caught.value.status is None
    task = asyncio.create_task(SessionControl.send_message(caller, caller.local_address, peer.uri, "hello"))
    await peer.receive("MESSAGE ")
    await SessionControl.stop(caller)
    with pytest.raises(NotRunningError):
        await task
    with pytest.raises(NotRunningError):
        await SessionControl.send_message(caller, "sip:a@b", "sip:a@b", "hello")
