"""`SessionControl.subscribe`, `CallHandler.on_subscribe`, `SessionCoordinator.publish_message_summary`."""

import asyncio
import gc
import re

import pytest
from support import Recorder, until
from support.peer import body_of, header

from ringback import (
    CallRejected,
    InvalidUri,
    Notification,
    NotRunningError,
    SessionControl,
    Subscription,
)


class Open(Recorder):
    """Lets everybody watch, or as `answer` says."""

    def __init__(self, answer=True):
        super().__init__()
        self.answer = answer

    def on_subscribe(self, subscriber_uri, to_uri, event):
        self.events.append(("subscribe", (subscriber_uri, to_uri, event)))
        return self.answer


async def reader(subscription: Subscription) -> tuple[list[Notification], asyncio.Task[None]]:
    seen: list[Notification] = []

    async def read() -> None:
        async for notification in subscription:
            seen.append(notification)

    return seen, asyncio.create_task(read())


async def test_a_mailbox(systems):
    bob = Open()
    notifier, watcher = await systems.start("bob", bob), await systems.start("alice")
    mailbox = notifier.local_address
    await notifier.publish_message_summary(mailbox, new=1, old=2)
    subscription = await SessionControl.subscribe(watcher, "sip:alice@example.com", mailbox, "message-summary")
    assert bob.of("subscribe") == [("sip:alice@example.com", mailbox, "message-summary")]
    seen, task = await reader(subscription)
    await until(lambda: len(seen) == 1)
    assert (seen[0].event, seen[0].state) == ("message-summary", "active")
    assert seen[0].content_type == "application/simple-message-summary"
    assert seen[0].body.splitlines()[0] == "Messages-Waiting: yes"
    assert seen[0].body.splitlines()[2] == "Voice-Message: 1/2 (0/0)"
    await notifier.publish_message_summary(mailbox, new=0, old=3)
    await until(lambda: len(seen) == 2)
    assert "Messages-Waiting: no" in seen[1].body
    await subscription.unsubscribe()
    await asyncio.wait_for(task, 5)
    await subscription.unsubscribe()
    await notifier.publish_message_summary(mailbox, new=7, old=3)
    assert len(seen) == 2


async def test_a_lamp(systems):
    notifier, watcher, caller = [await systems.start(name, Open()) for name in ("bob", "alice", "carol")]
    subscription = await SessionControl.subscribe(watcher, watcher.local_address, notifier.local_address, "dialog")
    seen, task = await reader(subscription)
    call = await systems.answered(caller, notifier)
    await until(lambda: any("<state>confirmed</state>" in each.body for each in seen))
    await call.hangup()
    await until(lambda: any("<state>terminated</state>" in each.body for each in seen))
    assert 'state="full"' in seen[0].body and re.search(r"version=\"1\" state=\"partial\"", seen[1].body)
    await SessionControl.stop(notifier)
    await until(lambda: seen[-1].state in ("pending", "terminated"))
    await SessionControl.stop(watcher)
    await asyncio.wait_for(task, 5)


async def no(*_):
    return False


async def test_who_may_not_watch(systems):
    for answer in (False, None):
        notifier = await systems.start("bob", Open(answer))
        with pytest.raises(CallRejected, match="403"):
            await SessionControl.subscribe(notifier, "sip:a@b", notifier.local_address, "dialog")
    notifier = await systems.start("bob", Recorder())
    with pytest.raises(CallRejected, match="403"):
        await SessionControl.subscribe(notifier, "sip:a@b", notifier.local_address, "dialog")
    with pytest.raises(CallRejected, match="489"):
        await SessionControl.subscribe(notifier, "sip:a@b", notifier.local_address, "presence")


async def test_bad_input(systems):
    system = await systems.start("alice")
    with pytest.raises(InvalidUri):
        await SessionControl.subscribe(system, "sip:a@b", "tel:+1", "dialog")
    for event, expires in (("", 60), ("a b", 60), ("dialog", 0), ("dialog", -1), ("dialog", float("nan"))):
        with pytest.raises(ValueError):
            await SessionControl.subscribe(system, "sip:a@b", system.local_address, event, expires=expires)
    for new, old in ((-1, 0), (0, 1 << 32)):
        with pytest.raises(ValueError):
            await system.publish_message_summary(system.local_address, new=new, old=old)
    with pytest.raises(InvalidUri):
        await system.publish_message_summary("nonsense", new=0, old=0)
    with pytest.raises(TypeError):
        Subscription()
    await SessionControl.stop(system)
    with pytest.raises(NotRunningError):
        await SessionControl.subscribe(system, "sip:a@b", "sip:a@b", "dialog")


async def subscribed(watcher, peer):
    task = asyncio.create_task(SessionControl.subscribe(watcher, watcher.local_address, peer.uri, "presence"))
    request = await peer.receive("SUBSCRIBE ")
    peer.respond(request, "200 OK", headers="Expires: 600")
    return request, await task


def notify(peer, request, state, cseq=1):
    """A NOTIFY of the peer's, in the dialog of a SUBSCRIBE that it got."""
    target = header(request, "Contact").strip("<>")
    lines = [
        f"NOTIFY {target} SIP/2.0",
        f"Via: SIP/2.0/UDP 127.0.0.1:{peer.port};branch=z9hG4bKn{cseq}{peer.tag};rport",
        f"From: {header(request, 'To')};tag={peer.tag}",
        f"To: {header(request, 'From')}",
        f"Call-ID: {header(request, 'Call-ID')}",
        f"CSeq: {cseq} NOTIFY",
        "Max-Forwards: 70",
        f"Contact: <{peer.uri}>",
        "Event: presence",
        f"Subscription-State: {state}",
        "Content-Length: 0",
        "",
        "",
    ]
    peer.send("\r\n".join(lines))


async def test_the_wire_and_the_end(systems, peer):
    watcher = await systems.start("alice")
    request, subscription = await subscribed(watcher, peer)
    assert (header(request, "Event"), header(request, "Expires")) == ("presence", "3600")
    assert header(request, "Accept") == "application/pidf+xml" and "Contact: " in request
    notify(peer, request, "pending;expires=600")
    await peer.receive("SIP/2.0 200")
    notify(peer, request, "terminated;reason=rejected", cseq=2)
    await peer.receive("SIP/2.0 200")
    async with asyncio.timeout(5):
        seen = [(each.state, each.content_type, each.body) async for each in subscription]
    assert seen == [("pending", None, ""), ("terminated", None, "")]


async def test_dropped_is_unsubscribed(systems, peer):
    watcher = await systems.start("alice")
    request, subscription = await subscribed(watcher, peer)
    notify(peer, request, "active;expires=600")
    await peer.receive("SIP/2.0 200")
    del subscription
    gc.collect()
    last = await peer.receive("SUBSCRIBE ")
    assert header(last, "Expires") == "0" and f"tag={peer.tag}" in header(last, "To")
    peer.respond(last, "200 OK", headers="Expires: 0")


async def test_a_peer_watches(systems, peer):
    bob = Open()
    notifier = await systems.start("bob", bob)
    for expires, status in (("10", "423"), ("600", "200")):
        lines = [
            f"SUBSCRIBE {notifier.local_address} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{peer.port};branch=z9hG4bKs{expires};rport",
            f"From: <{peer.uri}>;tag={peer.tag}",
            f"To: <{notifier.local_address}>",
            f"Call-ID: s{expires}",
            "CSeq: 1 SUBSCRIBE",
            "Max-Forwards: 70",
            f"Contact: <{peer.uri}>",
            "Event: dialog;id=7",
            f"Expires: {expires}",
            "Content-Length: 0",
            "",
            "",
        ]
        peer.send("\r\n".join(lines), ("127.0.0.1", int(notifier.local_address.rpartition(":")[2])))
        answer = await peer.receive(f"SIP/2.0 {status}")
    assert (header(answer, "Expires"), "Contact: " in answer) == ("600", True)
    first = await peer.receive("NOTIFY ")
    assert header(first, "Event") == "dialog;id=7"
    assert header(first, "Subscription-State").startswith("active;expires=")
    assert body_of(first).startswith("<?xml") and "Contact: " in first
    # A NOTIFY that is refused ends it.
    peer.respond(first, "481 Gone")
    caller = await systems.start("carol")
    await systems.answered(caller, notifier)
    with pytest.raises(TimeoutError):
        await peer.receive("NOTIFY ", timeout=1.5)
