"""SIPp in the calls that are not plain: PRACK, UPDATE, session timers, forked answers, redirections, glare, late offers."""

import asyncio
from pathlib import Path

import pytest
from network import HOST, MEDIA, free_ports
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
from systems import Recorder, dial, host_port, soon, system, until

from ringback import CallDecision, CallRejected, CallState, SessionControl, SessionCoordinator, SessionManagerBuilder

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


async def timed(handler: Recorder | None, expires: float | None) -> SessionCoordinator:
    builder = SessionManagerBuilder().with_local_address(f"sip:ringback@{HOST}").with_sip_port(free_ports())
    builder = builder.with_media_ports(MEDIA.start, MEDIA.stop - 1).with_session_timer(expires)
    return await (builder.with_handler(handler) if handler else builder).build()


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


@pytest.mark.timeout(150)
async def test_sessions_are_refreshed_and_end_when_nobody_does() -> None:
    """The shortest interval that RFC 4028 allows is 90 s: we refresh after 45, and give a silent peer up after 60."""
    silent = (
        invite(headers=["Supported: timer", "Session-Expires: 90;refresher=uac"]),
        *receive_final(200, text="Session-Expires: 90;refresher=uac"),
        ack(),
        receive_request("BYE", text="Session timer expired"),
        respond("200 OK", tag=False, headers=()),
    )
    refreshed = (
        receive_request("INVITE", text="Session-Expires: 90"),
        respond(
            "200 OK",
            sdp(),
            headers=(CONTACT, "Require: timer", "Session-Expires: 90;refresher=uac", "Allow: INVITE, ACK, BYE, UPDATE"),
            retransmit=True,
        ),
        receive_request("ACK"),
        receive_request("UPDATE", text="Session-Expires: 90;refresher=uac"),
        respond("200 OK", tag=False, headers=(CONTACT, "Session-Expires: 90;refresher=uac", "Require: timer")),
        *receive_bye(),
    )
    handler = Recorder()
    async with await timed(handler, None) as server, await timed(None, 90) as caller:
        async with Sipp("silent", silent, host_port(server)) as gone, Sipp("refreshed", refreshed) as there:
            call = await dial(caller, there.uri)
            await call.wait_for_answer(20)
            session, reason = await soon(handler.ended, 90)
            assert (session.state, reason) == (CallState.TERMINATED, "timeout")
            await gone.finished()
            assert call.state is CallState.ACTIVE, "this one was refreshed meanwhile"
            await call.hangup()
            await there.finished()


async def test_a_second_answer_of_a_fork_is_acknowledged_and_ended(tmp_path: Path) -> None:
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
    messages = tmp_path / "messages"
    extra = ["-trace_msg", "-message_file", str(messages)]
    async with Sipp("forked", steps, extra=extra) as sipp, await system() as caller:
        call = await dial(caller, sipp.uri)
        await call.wait_for_answer(20)
        # The BYE of the second, and its 200.
        await until(lambda: messages.read_text().count("BYE\n") >= 2)
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
    """Ours is refused with 491 and comes again; SIPp's meets ours and is refused."""
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
