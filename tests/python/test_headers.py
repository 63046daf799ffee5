"""What a program says in messages: nothing of it breaks out of its place."""

import asyncio

import pytest
from support import Recorder
from support.peer import SDP, header

from ringback import (
    Account,
    Authenticator,
    CallDecision,
    Credentials,
    InvalidHeader,
    InvalidUri,
    Registrar,
    SessionControl,
    SessionManagerBuilder,
)

BREAKING = pytest.mark.parametrize("breaking", ["\r\n", "\n", "\r", "\0"], ids=["crlf", "lf", "cr", "nul"])


def smuggled(text: str) -> bool:
    return "\0" in text or any(line.startswith("X-Smuggled") for line in text.replace("\r", "\n").split("\n"))


async def refused(error, work):
    with pytest.raises(error):
        await asyncio.wait_for(work, 5)


@BREAKING
async def test_requests_outside_of_calls(systems, peer, breaking):
    ours = await systems.start("bob")
    here, bad = ours.local_address, f"x{breaking}X-Smuggled: 1"
    uri = f"sip:{bad}@127.0.0.1"
    await refused(InvalidUri, SessionControl.subscribe(ours, uri, peer.uri, "presence"))
    await refused(InvalidUri, SessionControl.subscribe(ours, here, uri, "presence"))
    await refused(ValueError, SessionControl.subscribe(ours, here, peer.uri, bad))
    await refused(InvalidUri, SessionControl.send_options(ours, peer.uri, from_uri=uri))
    await refused(ValueError, SessionControl.send_message(ours, here, peer.uri, "hi", content_type=bad))
    # What would have been sent before this would have come before it.
    options = asyncio.create_task(SessionControl.send_options(ours, peer.uri))
    peer.respond(await peer.receive("OPTIONS"), "200 OK")
    await options
    assert [text.split(" ")[0] for text in peer.received] == ["OPTIONS"]


@BREAKING
async def test_calls(systems, peer, breaking):
    bad = f"x{breaking}X-Smuggled: 1"
    uri = f"sip:{bad}@127.0.0.1"
    bob = Recorder(CallDecision.Defer())
    ours = await systems.start("bob", bob)
    invite = peer.invite(ours.local_address)
    await peer.receive("SIP/2.0 180")
    incoming = bob.incoming
    await refused(InvalidUri, incoming.forward(uri))
    await refused(InvalidUri, incoming.forward(uri, redirect=True))
    await refused(InvalidHeader, incoming.reject(bad, status=486))
    # It waits on, and can be refused as it should be.
    await incoming.reject("Busy Here", status=486)
    peer.follow(invite, "ACK", response=await peer.receive("SIP/2.0 486"))

    call = await SessionControl.create_outgoing_call(ours, ours.local_address, peer.uri)
    peer.respond(await peer.receive("INVITE"), "200 OK", body=SDP.format(port=40000))
    await call.wait_for_answer(5)
    await refused(InvalidUri, call.transfer(uri))
    await refused(InvalidHeader, call.hangup(reason=bad))
    await call.hangup(reason="Thank you")
    peer.respond(await peer.receive("BYE"), "200 OK")
    assert not [text for text in peer.received if smuggled(text)]


@BREAKING
@pytest.mark.parametrize("kind", ["accept", "reject", "reason", "forward", "redirect"])
async def test_decisions_of_a_handler(systems, peer, breaking, kind):
    bad = f"x{breaking}X-Smuggled: 1"
    uri = f"sip:{bad}@127.0.0.1"
    decide = {
        "accept": lambda call: CallDecision.Accept(headers={"X-A": bad}),
        "reject": lambda call: CallDecision.Reject("No", headers={bad: "1"}),
        "reason": lambda call: CallDecision.Reject(bad),
        "forward": lambda call: CallDecision.Forward(uri),
        "redirect": lambda call: CallDecision.Forward(uri, redirect=True),
    }[kind]
    bob = Recorder(decide)
    ours = await systems.start("bob", bob)
    invite = peer.invite(ours.local_address)
    answer = await peer.receive("SIP/2.0 5")
    assert header(answer, "CSeq") == "1 INVITE"
    peer.follow(invite, "ACK", response=answer)
    (_, error) = await bob.wait("error")
    assert isinstance(error, (InvalidHeader, InvalidUri)), error
    assert not [text for text in peer.received if smuggled(text)]


@BREAKING
def test_settings(breaking):
    bad = f"x{breaking}X-Smuggled: 1"
    for attempt in (
        lambda: Account(aor=f"sip:{bad}@127.0.0.1"),
        lambda: Account(aor="sip:bob@127.0.0.1", registrar=f"sip:{bad}@127.0.0.1"),
        lambda: Account(aor="sip:bob@127.0.0.1", proxy=f"sip:{bad}@127.0.0.1"),
        lambda: Credentials(username=bad, password="p"),
        lambda: Authenticator(bad, {}),
        lambda: Registrar(domains=[bad]),
        lambda: SessionManagerBuilder().with_forwarded_headers(bad),
        lambda: SessionManagerBuilder().with_public_address(bad),
        lambda: SessionManagerBuilder().with_local_address(f"sip:{bad}@127.0.0.1"),
    ):
        with pytest.raises(ValueError):
            attempt()
