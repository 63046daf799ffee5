"""SIPp in the calls that are not plain: PRACK, UPDATE, forked answers, redirections, glare, late offers."""

import asyncio

import pytest
from scenario import (
    CONTACT,
    PCMU,
    Step,
    _send,
    accept,
    ack,
    ack_refusal,
    bye,
    cancel,
    invite,
    receive,
    receive_bye,
    receive_final,
    receive_invite,
    receive_request,
    request,
    respond,
    sdp,
)
from sipp_peer import Sipp
from systems import Recorder, dial, host_port, soon, system

from ringback import CallDecision, CallRejected, CallSession, CallState, InvalidState, MediaControl, SessionControl

pytestmark = pytest.mark.peer("sipp")
EXPECTED = ("sip", "sdp", "rtp", "udp")

RELIABLE = (CONTACT, "Require: 100rel", "RSeq: 7", "Allow: INVITE, ACK, BYE, CANCEL, PRACK, UPDATE")


def receive_reliable(status: int) -> Step:
    """Waits for a provisional response that asks for PRACK, and remembers its number."""
    found = '<ereg regexp="[0-9]+" search_in="hdr" header="RSeq:" check_it="true" assign_to="rseq" />'
    return Step(f'<recv response="{status}" rrs="true"><action>{found}</action></recv>\n')


def fork_accepts(tag: str) -> Step:
    """200 of one of several places that the INVITE went to."""
    head = ["Via:[$via]", "From:[$from]", f"To:[$to];tag={tag}", "CSeq:[$cseq]"]
    return _send(["SIP/2.0 200 OK", *head, "Call-ID: [call_id]", CONTACT], sdp(), retransmit=True)


async def test_sipp_acknowledges_our_early_media() -> None:
    steps = (
        invite(headers=["Supported: 100rel"]),
        receive(100, optional=True),
        receive(180),
        receive_reliable(183),
        request("PRACK", cseq=2, headers=["RAck: [$rseq] 1 INVITE"], early=False),
        receive(200, text="2 PRACK"),
        receive(200, text="1 INVITE"),
        ack(),
        *receive_bye(),
    )
    handler = Recorder(CallDecision.Defer())
    async with await system(handler) as server, Sipp("prack", steps, host_port(server)) as sipp:
        call = await soon(handler.incoming)
        await SessionControl.progress_incoming_call(server, call)
        # The 200 waits for the PRACK, and the BYE for the ACK.
        session = await call.accept()
        await SessionControl.send_dtmf(server, session.id, ",")
        await session.hangup()
        await sipp.finished()


async def test_sipp_asks_for_each_response_to_arrive() -> None:
    steps = (
        invite(headers=["Require: 100rel"]),
        receive(100, optional=True),
        receive_reliable(180),
        request("PRACK", cseq=2, headers=["RAck: [$rseq] 1 INVITE"], early=False),
        receive(200, text="2 PRACK"),
        cancel(),
        receive(200, text="1 CANCEL"),
        receive(487),
        ack_refusal(),
    )
    handler = Recorder(CallDecision.Defer())
    async with await system(handler) as server, Sipp("required", steps, host_port(server)) as sipp:
        await sipp.finished()
        assert (await soon(handler.ended))[1] == "cancelled"


async def test_sipp_has_its_early_media_acknowledged() -> None:
    steps = (
        receive_invite(),
        respond("183 Session Progress", sdp(), headers=RELIABLE),
        receive_request("PRACK", text="RAck: 7 1 INVITE"),
        respond("200 OK", tag=False, headers=()),
        accept(remembered=True),
        receive_request("ACK"),
        *receive_bye(),
    )
    handler = Recorder()
    async with Sipp("prack", steps) as sipp, await system(handler) as caller:
        call = await dial(caller, sipp.uri)
        await call.wait_for_answer(20)
        assert (await soon(handler.progress))[0] == 183
        await call.hangup()
        await sipp.finished()


async def test_sipp_updates_a_call() -> None:
    moved = sdp(PCMU, version=2, direction="sendonly")
    steps = (
        invite(),
        *receive_final(200),
        ack(),
        request("UPDATE", cseq=2, headers=[CONTACT]),
        receive(200, text="2 UPDATE"),
        request("UPDATE", cseq=3, headers=[CONTACT], body=moved),
        receive(200, text="a=recvonly"),
        request("UPDATE", cseq=4, headers=[CONTACT], body=sdp(PCMU, version=3)),
        receive(200, text="a=sendrecv"),
        bye(cseq=5),
        receive(200),
    )
    handler = Recorder()
    async with await system(handler) as server:
        async with Sipp("update", steps, host_port(server)) as sipp:
            await sipp.finished()
        session, reason = await soon(handler.ended)
        assert (session.remote_hold, reason) == (False, "remote hangup")


async def test_we_update_a_call_before_the_answer() -> None:
    """RFC 3311 §5.1: as soon as the first offer has its answer and that has arrived, in a call that we placed."""
    steps = (
        receive_invite(),
        respond("183 Session Progress", sdp(), headers=RELIABLE),
        receive_request("PRACK", text="RAck: 7 1 INVITE"),
        respond("200 OK", tag=False, headers=()),
        receive_request("UPDATE", text="m=audio"),
        respond("200 OK", sdp(version=2), tag=False),
        accept(sdp(version=2), remembered=True),
        receive_request("ACK"),
        *receive_bye(),
    )
    handler = Recorder()
    async with Sipp("updated", steps) as sipp, await system(handler) as caller:
        call = await dial(caller, sipp.uri)
        assert (await soon(handler.progress))[0] == 183
        await updated(call)
        await call.wait_for_answer(20)
        await call.hangup()
        await sipp.finished()


async def test_we_update_a_call_before_we_answer_it() -> None:
    """The same in a call that SIPp placed, once it has acknowledged our answer in a 183."""
    steps = (
        invite(headers=["Supported: 100rel", "Allow: INVITE, ACK, BYE, CANCEL, PRACK, UPDATE"]),
        receive(100, optional=True),
        receive(180),
        receive_reliable(183),
        request("PRACK", cseq=2, headers=["RAck: [$rseq] 1 INVITE"], early=False),
        receive(200, text="2 PRACK"),
        receive_request("UPDATE", text="m=audio"),
        respond("200 OK", sdp(version=2), tag=False),
        receive(200, text="1 INVITE"),
        ack(),
        *receive_bye(),
    )
    handler = Recorder(CallDecision.Defer())
    async with await system(handler) as server, Sipp("updated_caller", steps, host_port(server)) as sipp:
        incoming = await soon(handler.incoming)
        session = await SessionControl.progress_incoming_call(server, incoming)
        await updated(session)
        assert session.state is CallState.RINGING
        await incoming.accept()
        # SIPp's ACK first.
        await SessionControl.send_dtmf(server, session.id, ",")
        await session.hangup()
        await sipp.finished()


async def updated(call: CallSession) -> None:
    """Offers anew as soon as that may be done: what must have arrived before is on its way."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await SessionControl.update_media(call.coordinator, call.id)
            except InvalidState:
                await asyncio.sleep(0.02)


async def test_a_second_answer_of_a_fork_is_acknowledged_and_ended() -> None:
    steps = (
        receive_invite(),
        fork_accepts("one"),
        receive_request("ACK", text="tag=one"),
        fork_accepts("two"),
        receive_request("ACK", text="tag=two"),
        receive_request("BYE", text="tag=two"),
        respond("200 OK", tag=False, headers=()),
        receive_request("INFO"),
        respond("200 OK", tag=False, headers=()),
        receive_request("BYE", text="tag=one"),
        respond("200 OK", tag=False, headers=()),
    )
    async with Sipp("forked", steps) as sipp, await system() as caller:
        call = await dial(caller, sipp.uri)
        await call.wait_for_answer(20)
        # The BYE of the second, and its 200.
        await sipp.until_traced("BYE\n", 2)
        await SessionControl.send_dtmf(caller, call.id, "0")
        assert call.state is CallState.ACTIVE
        await call.hangup()
        await sipp.finished()


async def test_a_redirection_is_followed_where_asked_for() -> None:
    async with Sipp("uas") as there, await system() as caller:
        moved = (
            receive_request("INVITE"),
            respond("302 Moved Temporarily", headers=(f"Contact: <{there.uri}>",), retransmit=True),
            receive_request("ACK"),
        )
        async with Sipp("moved", moved, calls=2) as here:
            call = await SessionControl.create_outgoing_call(caller, caller.local_address, here.uri, max_redirects=1)
            await call.wait_for_answer(20)
            await call.hangup()
            await there.finished()
            with pytest.raises(CallRejected) as caught:
                await (await dial(caller, here.uri)).wait_for_answer(20)
            assert (caught.value.status, list(caught.value.targets)) == (302, [there.uri])
            await here.finished()


async def test_glare_is_resolved() -> None:
    """SIPp refuses ours with 491, and it comes again (RFC 3261 §14.1)."""
    steps = (
        receive_request("INVITE"),
        accept(),
        receive_request("ACK"),
        receive_invite(),
        respond("491 Request Pending", tag=False, headers=()),
        receive_request("ACK"),
        receive_invite(),
        accept(sdp(version=2, direction="recvonly"), tag=False, remembered=True),
        receive_request("ACK"),
        *receive_bye(),
    )
    async with Sipp("glare", steps) as sipp, await system() as caller:
        call = await dial(caller, sipp.uri)
        await call.wait_for_answer(20)
        await asyncio.wait_for(call.hold(), 20)
        assert call.state is CallState.ON_HOLD
        await call.hangup()
        await sipp.finished()


@pytest.mark.parametrize("called", [False, True])
async def test_a_reinvite_that_meets_ours_is_refused(called: bool) -> None:
    """RFC 3261 §14.2: 491 to SIPp's while ours is under way, whoever placed the call; ours goes on, and SIPp's may come again."""
    begun = (
        (receive_request("INVITE"), accept(), receive_request("ACK"))
        if called
        else (invite(), *receive_final(200), ack())
    )
    moved = sdp(version=2)
    steps = (
        *begun,
        receive_invite(),
        request("INVITE", cseq=2, body=moved, label="MEETS", headers=[CONTACT], called=called),
        receive(491, text="CSeq: 2 INVITE"),
        _ack_within(2, "MEETS", called),
        accept(sdp(version=2, direction="recvonly"), tag=False, remembered=True),
        receive_request("ACK"),
        request("INVITE", cseq=3, body=sdp(version=3), headers=[CONTACT], called=called),
        receive(100, optional=True),
        receive(200, text="a=sendonly"),
        request("ACK", cseq=3, called=called),
        *receive_bye(),
    )
    handler = Recorder()
    async with await system(handler) as ours:
        async with Sipp("glare", steps, None if called else host_port(ours)) as sipp:
            call = await dial(ours, sipp.uri) if called else await soon(handler.established)
            await call.wait_for_answer(20)
            await asyncio.wait_for(call.hold(), 20)
            assert call.state is CallState.ON_HOLD
            # Its second one is answered, or the BYE would come in between.
            await until_reoffered(call)
            await call.hangup()
            await sipp.finished()


def _ack_within(cseq: int, of: str, called: bool) -> Step:
    """The ACK to a refusal within the dialog: of the same transaction (RFC 3261 §17.1.1.3)."""
    return request("ACK", cseq=cseq, again=of, called=called, early=False)


async def until_reoffered(call: CallSession) -> None:
    """Waits until SIPp's third description is there."""
    async with asyncio.timeout(20):
        while True:
            info = await MediaControl.get_media_info(call.coordinator, call.id)
            if info is not None and info.remote_sdp is not None and "o=peer 4711 3 " in info.remote_sdp:
                return
            await asyncio.sleep(0.02)


async def test_several_early_dialogs_of_which_one_answers() -> None:
    """180 and 183 of two places, 199 of the second (RFC 6228), 200 of the first."""
    steps = (
        receive_invite(),
        fork_rings("180 Ringing", "one"),
        fork_rings("183 Session Progress", "two", sdp()),
        fork_rings("180 Ringing", "one"),
        fork_rings("199 Early Dialog Terminated", "two"),
        fork_accepts("one"),
        receive_request("ACK", text="tag=one"),
        receive_request("BYE", text="tag=one"),
        respond("200 OK", tag=False, headers=()),
    )
    handler = Recorder()
    async with Sipp("forks", steps) as sipp, await system(handler) as caller:
        call = await dial(caller, sipp.uri)
        await call.wait_for_answer(20)
        told = [(await soon(handler.progress))[0] for _ in range(2)]
        assert told == [180, 183]
        await call.hangup()
        await sipp.finished()


def fork_rings(status: str, tag: str, body: str | None = None) -> Step:
    """A provisional response of one of several places."""
    head = ["Via:[$via]", "From:[$from]", f"To:[$to];tag={tag}", "CSeq:[$cseq]"]
    return _send([f"SIP/2.0 {status}", *head, "Call-ID: [call_id]", CONTACT], body, retransmit=False)


async def test_a_late_offer_is_made_by_sipp() -> None:
    steps = (
        receive_request("INVITE", text="Content-Length: 0"),
        accept(),
        receive_request("ACK", text="m=audio"),
        *receive_bye(),
    )
    async with Sipp("late", steps) as sipp, await system() as caller:
        call = await SessionControl.create_outgoing_call(caller, caller.local_address, sipp.uri, late_offer=True)
        await call.wait_for_answer(20)
        await call.hangup()
        await sipp.finished()
