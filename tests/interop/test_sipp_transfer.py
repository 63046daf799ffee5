"""Transfers with SIPp, which shows each message of them: REFER and NOTIFY both ways, to their end and in failure; Replaces."""

import asyncio

import pytest
from capture import Capture
from scenario import (
    CONTACT,
    Step,
    accept,
    ack,
    ack_refusal,
    bye,
    invite,
    receive,
    receive_bye,
    receive_final,
    receive_remembered,
    receive_request,
    request,
    respond,
    wait_for_go_on,
    wait_for_poke,
)
from sipp_peer import Sipp
from systems import Recorder, dial, go_on, host_port, soon, system, until, until_empty

from ringback import CallSession, CallState, SessionControl, TransferFailed

pytestmark = pytest.mark.peer("sipp")
EXPECTED = ("sip", "sdp", "rtp", "udp")

CALLED_IN = (invite(), *receive_final(200), ack())
HUNG_UP = (bye(cseq=9), receive(200))


class Willing(Recorder):
    """Lets peers transfer their calls, and remembers where to."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: asyncio.Queue[str] = asyncio.Queue()

    def on_transfer_request(self, call: CallSession, target: str) -> bool:
        self.targets.put_nowait(target)
        return True


def refer(target: str, *headers: str) -> Step:
    return request("REFER", cseq=2, headers=[CONTACT, f"Refer-To: <{target}>", *headers])


def receive_notify(status: str, state: str) -> tuple[Step, ...]:
    """Waits for what the target has said (RFC 3420), in that state of the subscription."""
    text = f"Subscription-State: {state}.*SIP/2.0 {status}"
    return receive_request("NOTIFY", text=text), respond("200 OK", tag=False, headers=())


def notify(cseq: int, fragment: str, state: str, *, called: bool = False) -> tuple[Step, ...]:
    headers = [CONTACT, "Event: refer", f"Subscription-State: {state}"]
    return (
        request(
            "NOTIFY",
            cseq=cseq,
            headers=headers,
            body=f"{fragment}\n",
            content_type="message/sipfrag;version=2.0",
            called=called,
        ),
        receive(200, text=f"CSeq: {cseq} NOTIFY"),
    )


ANSWERS = (receive_request("INVITE"), accept(), receive_request("ACK"), *receive_bye())


async def test_sipp_refers_us_and_is_told_to_the_end() -> None:
    """The target is called on behalf of who refers (Referred-By), its answer is told, and the call that was referred is hung up."""
    answers = (receive_request("INVITE", text="Referred-By: <sip:boss@sipp.example>"), *ANSWERS[1:])
    handler = Willing()
    async with Sipp("target", answers) as target, await system(handler) as server:
        steps = (
            *CALLED_IN,
            refer(target.uri, "Referred-By: <sip:boss@sipp.example>"),
            receive(202, text="CSeq: 2 REFER"),
            *receive_notify("100", "active"),
            *receive_notify("200", "terminated"),
            *receive_bye(),
        )
        async with Sipp("refers", steps, host_port(server)) as sipp:
            call = await soon(handler.established)
            assert await soon(handler.targets) == target.uri
            await sipp.finished()
            new = await soon(handler.established)
            assert (await soon(handler.ended))[0].id == call.id
            assert new.to_uri == target.uri and new.state is CallState.ACTIVE
            await new.hangup()
            await target.finished()


async def test_sipp_refers_us_to_somebody_who_is_busy() -> None:
    """The failure is told, and the call goes on as it was."""
    busy = (receive_request("INVITE"), respond("486 Busy Here", retransmit=True), receive_request("ACK"))
    handler = Willing()
    async with Sipp("busy", busy) as target, await system(handler) as server:
        steps = (
            *CALLED_IN,
            refer(target.uri),
            receive(202),
            *receive_notify("100", "active"),
            *receive_notify("486", "terminated"),
            *wait_for_go_on(),
            *HUNG_UP,
        )
        async with Sipp("refers", steps, host_port(server)) as sipp:
            call = await soon(handler.established)
            await target.finished()
            ended, reason = await soon(handler.ended)
            assert ended.id != call.id and "486" in reason
            await until(lambda: call.state is CallState.ACTIVE, what="the call as it was")
            # Both NOTIFYs and their answers.
            await sipp.until_traced(" NOTIFY\n", 4)
            await go_on(call)
            await sipp.finished()


async def test_sipp_refers_us_without_wanting_to_know() -> None:
    """RFC 4488: no NOTIFY where it says so."""
    handler = Willing()
    async with Sipp("target", ANSWERS) as target, await system(handler) as server:
        steps = (
            *CALLED_IN,
            refer(target.uri, "Refer-Sub: false", "Supported: norefersub"),
            receive(202, text="Refer-Sub: false"),
            *receive_bye(),
        )
        async with Sipp("refers", steps, host_port(server)) as sipp:
            await soon(handler.established)
            await sipp.finished()
            await (await soon(handler.established)).hangup()
            await target.finished()


async def test_what_sipp_may_not_refer_us_to() -> None:
    """By a program that does not want transfers: 603; without a target: 400."""
    handler = Recorder()
    steps = (
        *CALLED_IN,
        refer("sip:anybody@127.0.0.1"),
        receive(603),
        request("REFER", cseq=3, headers=[CONTACT]),
        receive(400),
        *HUNG_UP,
    )
    async with await system(handler) as server, Sipp("refers", steps, host_port(server)) as sipp:
        await sipp.finished()
        assert (await soon(handler.ended))[1] == "remote hangup"


REFERRED = (
    receive_request("REFER", text="Refer-To: <?sip:target@there.example"),
    respond("202 Accepted", tag=False, headers=(CONTACT,)),
    *notify(2, "SIP/2.0 100 Trying", "active;expires=60"),
)


async def test_we_refer_sipp_in_a_call_that_it_placed() -> None:
    steps = (
        *CALLED_IN,
        *REFERRED,
        *notify(3, "SIP/2.0 180 Ringing", "active;expires=50"),
        *notify(4, "SIP/2.0 200 OK", "terminated;reason=noresource"),
        *receive_bye(),
    )
    handler = Recorder()
    async with await system(handler) as server, Sipp("is_referred", steps, host_port(server)) as sipp:
        call = await soon(handler.established)
        await asyncio.wait_for(call.transfer("sip:target@there.example"), 20)
        assert call.end_reason == "transferred"
        await sipp.finished()


async def test_we_refer_sipp_in_a_call_that_we_placed() -> None:
    steps = (
        *ANSWERS[:3],
        receive_remembered("REFER", text="Refer-To: <?sip:target@there.example"),
        respond("202 Accepted", tag=False, headers=(CONTACT,)),
        *notify(1, "SIP/2.0 100 Trying", "active;expires=60", called=True),
        *notify(2, "SIP/2.0 200 OK", "terminated;reason=noresource", called=True),
        *receive_bye(),
    )
    async with Sipp("is_referred", steps) as sipp, await system() as caller:
        call = await dial(caller, sipp.uri)
        await call.wait_for_answer(20)
        await asyncio.wait_for(call.transfer("sip:target@there.example"), 20)
        assert call.end_reason == "transferred"
        await sipp.finished()


@pytest.mark.parametrize("late", [False, True])
async def test_a_transfer_that_sipp_cannot_make(late: bool) -> None:
    """Refused at once, or told by a NOTIFY: `TransferFailed`, and the call stays."""
    if late:
        failing = (*REFERRED, *notify(3, "SIP/2.0 486 Busy Here", "terminated;reason=noresource"))
    else:
        failing = (REFERRED[0], respond("603 Decline", tag=False, headers=()))
    steps = (*CALLED_IN, *failing, *wait_for_go_on(), *HUNG_UP)
    handler = Recorder()
    async with await system(handler) as server, Sipp("fails", steps, host_port(server)) as sipp:
        call = await soon(handler.established)
        with pytest.raises(TransferFailed) as failure:
            await asyncio.wait_for(call.transfer("sip:target@there.example"), 20)
        assert failure.value.status == (486 if late else 603)
        assert call.state is CallState.ACTIVE
        await go_on(call)
        await sipp.finished()


async def test_sipp_is_sent_to_take_our_place_in_another_call(wire: Capture) -> None:
    """Attended: the REFER names the dialog of the consultation, and an INVITE with that Replaces takes it over there."""
    ours, theirs = Recorder(), Recorder()
    async with await system(ours) as server, await system(theirs) as desk:
        steps = (
            *CALLED_IN,
            receive_request("REFER", text="Refer-To: <sip:.*[?]Replaces="),
            respond("202 Accepted", tag=False, headers=(CONTACT,)),
            wait_for_poke(),
            *notify(2, "SIP/2.0 200 OK", "terminated;reason=noresource"),
            *receive_bye(),
        )
        async with Sipp("is_referred", steps, host_port(server)) as sipp:
            call = await soon(ours.established)
            consultation = await dial(server, desk.local_address)
            await consultation.wait_for_answer(20)
            replaced = await soon(theirs.established)
            transferring = asyncio.create_task(SessionControl.transfer_session(server, call.id, consultation.id))
            replaces = await replaces_of(replaced, wire)
            steps = (
                invite(headers=["Require: replaces", f"Replaces: {replaces}"]),
                *receive_final(200),
                ack(),
                *receive_bye(),
            )
            async with Sipp("takes_over", steps, host_port(desk)) as taker:
                new = await soon(theirs.established)
                assert (await soon(theirs.ended))[0].id == replaced.id
                # A poke before its answer to the REFER is out of place.
                await sipp.until_traced("SIP/2.0 202 Accepted")
                sipp.poke(call.call_id)
                await asyncio.wait_for(transferring, 20)
                await sipp.finished()
                assert new.state is CallState.ACTIVE
                await new.hangup()
                await taker.finished()
        await until_empty(server)


async def replaces_of(called: CallSession, wire: Capture) -> str:
    """The value of a Replaces that names that call (RFC 3891 §3): the tags as the called one sees them."""
    found = await wire.messages(
        called.call_id, lambda packets: any(packet.line.startswith("ACK") for packet in packets), "the ACK"
    )
    packet = next(packet for packet in found if packet.line.startswith("ACK"))
    return f"{called.call_id};to-tag={packet.one('sip.to.tag')};from-tag={packet.one('sip.from.tag')}"


async def test_a_replaces_of_nothing_is_refused() -> None:
    steps = (
        invite(headers=["Replaces: nobody@nowhere.example;to-tag=1;from-tag=2"]),
        *receive_final(481),
        ack_refusal(),
    )
    async with await system(Recorder()) as server, Sipp("replaces", steps, host_port(server)) as sipp:
        await sipp.finished()
