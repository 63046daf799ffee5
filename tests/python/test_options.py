"""`SessionControl.send_options`: asking peers outside of calls."""

import asyncio
import dataclasses
import math
import pickle
import socket
import time
from datetime import timedelta

import pytest
from support import Peer, Recorder, until
from support.peer import header

import ringback
from ringback import (
    AnswerTimeout,
    CallDecision,
    CallFailed,
    InvalidUri,
    NotRunningError,
    OptionsReply,
    SessionControl,
    SessionError,
    Transport,
)

METHODS = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "PRACK", "UPDATE", "REFER", "NOTIFY", "SUBSCRIBE")


def closed_port(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


async def test_a_coordinator_answers_for_itself(systems):
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    for asked in (called, caller):
        since = time.perf_counter()
        reply = await SessionControl.send_options(caller, asked.local_address)
        took = (time.perf_counter() - since) * 1000
        assert isinstance(reply, OptionsReply)
        assert (reply.status, tuple(reply.allow)) == (200, METHODS)
        assert reply.user_agent == f"ringback/{ringback.__version__}"
        assert 0 < reply.round_trip_ms < took
    assert await SessionControl.list_active_sessions(caller) == []
    assert (await SessionControl.get_stats(caller)).total_sessions == 0


async def test_no_handler_is_told(systems):
    bob = Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    await SessionControl.send_options(caller, called.local_address)
    assert bob.events == []


async def test_by_tcp(systems):
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    for _ in range(2):
        reply = await SessionControl.send_options(caller, f"{called.local_address};transport=tcp")
        assert (reply.status, tuple(reply.allow)) == (200, METHODS)


async def test_what_is_sent(systems, peer):
    caller = await systems.start("alice")
    task = asyncio.create_task(SessionControl.send_options(caller, f'"The Peer" <{peer.uri}>'))
    request = await peer.receive("OPTIONS ")
    port = caller.local_address.rpartition(":")[2]
    assert request.startswith(f"OPTIONS {peer.uri} SIP/2.0\r\n")
    assert header(request, "From").startswith(f"<sip:alice@127.0.0.1:{port}>;tag=")
    assert "The Peer" in header(request, "To") and "tag=" not in header(request, "To")
    assert header(request, "Contact") == f"<sip:alice@127.0.0.1:{port}>"
    assert header(request, "Accept") == "application/sdp"
    assert (header(request, "CSeq"), header(request, "Max-Forwards")) == ("1 OPTIONS", "70")
    peer.respond(request, "200 OK")
    reply = await task
    assert (reply.status, tuple(reply.allow), reply.user_agent) == (200, (), None)


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        ("404 Not Found", "", (404, (), None)),
        ("405 Method Not Allowed", "Allow: INVITE,ACK\r\nallow : BYE\r\n", (405, ("INVITE", "ACK", "BYE"), None)),
        ("486 Busy Here", "User-Agent: Phone/1.0", (486, (), "Phone/1.0")),
        ("302 Moved Temporarily", "Server: PBX\r\nUser-Agent: Phone", (302, (), "PBX")),
        ("603 Decline", "", (603, (), None)),
    ],
)
async def test_any_final_response_is_a_reply(systems, peer, status, headers, expected):
    caller = await systems.start("alice")
    task = asyncio.create_task(SessionControl.send_options(caller, peer.uri))
    request = await peer.receive("OPTIONS ")
    peer.respond(request, "100 Trying")
    await asyncio.sleep(0.05)
    assert not task.done()
    peer.respond(request, status, headers=headers)
    peer.respond(request, status, headers=headers)
    reply = await task
    assert (reply.status, tuple(reply.allow), reply.user_agent) == expected
    assert 50 <= reply.round_trip_ms < 2000


async def test_a_lost_request_is_repeated(systems, peer):
    caller = await systems.start("alice")
    task = asyncio.create_task(SessionControl.send_options(caller, peer.uri))
    first = await peer.receive("OPTIONS ")
    second = await peer.receive("OPTIONS ")
    assert first == second
    peer.respond(second, "200 OK")
    assert 450 <= (await task).round_trip_ms < 2000, "from the first transmission"


@pytest.mark.parametrize("timeout", [0.3, timedelta(seconds=0.3)])
async def test_silence(systems, peer, timeout):
    caller = await systems.start("alice")
    since = time.perf_counter()
    with pytest.raises(AnswerTimeout, match=r"no answer within 0\.3 s") as caught:
        await SessionControl.send_options(caller, peer.uri, timeout=timeout)
    assert isinstance(caught.value, TimeoutError) and isinstance(caught.value, SessionError)
    assert 0.28 < time.perf_counter() - since < 1.5
    # Too late: it is nobody's.
    peer.respond(await peer.receive("OPTIONS "), "200 OK")
    await asyncio.sleep(0.05)
    task = asyncio.create_task(SessionControl.send_options(caller, peer.uri))
    peer.respond(await peer.receive("OPTIONS "), "404 Not Found")
    assert (await task).status == 404


async def test_no_time_at_all(systems, peer):
    caller = await systems.start("alice")
    for timeout in (0, -1):
        with pytest.raises(AnswerTimeout):
            await SessionControl.send_options(caller, peer.uri, timeout=timeout)


async def test_an_endless_timeout(systems, peer):
    caller = await systems.start("alice")
    task = asyncio.create_task(SessionControl.send_options(caller, peer.uri, timeout=math.inf))
    peer.respond(await peer.receive("OPTIONS "), "200 OK")
    assert (await task).status == 200


@pytest.mark.parametrize("timeout", [float("nan"), "5", None, True])
async def test_wrong_timeouts(systems, peer, timeout):
    caller = await systems.start("alice")
    with pytest.raises((ValueError, TypeError)):
        await SessionControl.send_options(caller, peer.uri, timeout=timeout)


@pytest.mark.parametrize(
    ("kind", "suffix"), [(socket.SOCK_DGRAM, ""), (socket.SOCK_STREAM, ";transport=tcp")], ids=["udp", "tcp"]
)
async def test_a_closed_port_fails_at_once(systems, kind, suffix):
    caller = await systems.start("alice")
    since = time.perf_counter()
    with pytest.raises(CallFailed, match="refused") as caught:
        await SessionControl.send_options(caller, f"sip:x@127.0.0.1:{closed_port(kind)}{suffix}", timeout=30)
    assert time.perf_counter() - since < 2
    assert caught.value.status is None and "refused" in caught.value.cause
    assert not isinstance(caught.value, TimeoutError)


async def test_a_transport_that_is_not_there(systems, peer):
    caller = await systems.start("alice", None, lambda builder: builder.with_transport(Transport.TCP))
    with pytest.raises(CallFailed, match=r"UDP to .*: it is not configured"):
        await SessionControl.send_options(caller, f"{peer.uri};transport=udp", timeout=30)


async def test_a_host_that_is_not_there(systems):
    caller = await systems.start("alice")
    with pytest.raises(CallFailed, match="host not found"):
        await SessionControl.send_options(caller, "sip:x@nowhere.invalid", timeout=30)


async def test_a_name(systems, peer):
    caller = await systems.start("alice")
    task = asyncio.create_task(SessionControl.send_options(caller, f"sip:x@localhost:{peer.port}"))
    peer.respond(await peer.receive("OPTIONS sip:x@localhost"), "200 OK")
    assert (await task).status == 200


@pytest.mark.parametrize("uri", ["", "bob", "sip:", "http://a.b", "sips:a@127.0.0.1", "tel:+49123", "sip:a@b\r\nX: y"])
async def test_what_is_no_uri(systems, uri):
    caller = await systems.start("alice")
    with pytest.raises(InvalidUri) as caught:
        await SessionControl.send_options(caller, uri)
    assert caught.value.uri == uri
    with pytest.raises(TypeError):
        await SessionControl.send_options(caller, 5)  # type: ignore[arg-type]


async def test_cancelling_ends_the_request(systems, peer):
    caller = await systems.start("alice")
    task = asyncio.create_task(SessionControl.send_options(caller, peer.uri, timeout=30))
    await peer.receive("OPTIONS ")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(TimeoutError):
        await peer.receive("OPTIONS ", timeout=0.8)
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.05):
            await SessionControl.send_options(caller, peer.uri, timeout=30)
    assert not isinstance(caught.value, AnswerTimeout)


async def test_a_stop_ends_the_waiting(systems, peer):
    caller = await systems.start("alice")
    tasks = [asyncio.create_task(SessionControl.send_options(caller, peer.uri, timeout=30)) for _ in range(5)]
    await peer.receive("OPTIONS ")
    since = time.perf_counter()
    await SessionControl.stop(caller)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert time.perf_counter() - since < 2
    assert [type(result) for result in results] == [NotRunningError] * 5
    with pytest.raises(NotRunningError):
        await SessionControl.send_options(caller, peer.uri)
    await SessionControl.start(caller)
    task = asyncio.create_task(SessionControl.send_options(caller, peer.uri))
    await until(lambda: task.done() or peer.remote)
    while not task.done():
        peer.respond(await peer.receive("OPTIONS "), "200 OK")
        await asyncio.wait((task,), timeout=0.1)
    assert (await task).status == 200


async def test_many_at_once(systems):
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    replies = await asyncio.gather(
        *(SessionControl.send_options(caller, f"{called.local_address};n={n}", timeout=20) for n in range(200))
    )
    assert [reply.status for reply in replies] == [200] * 200


async def test_many_that_nobody_answers(systems, peer):
    caller = await systems.start("alice")
    since = time.perf_counter()
    results = await asyncio.gather(
        *(SessionControl.send_options(caller, peer.uri, timeout=0.5) for _ in range(200)), return_exceptions=True
    )
    assert time.perf_counter() - since < 5
    assert [type(result) for result in results] == [AnswerTimeout] * 200


async def test_in_the_middle_of_a_call(systems):
    called = await systems.start("bob", Recorder(CallDecision.Accept()))
    caller = await systems.start("alice", Recorder())
    call = await systems.answered(caller, called)
    assert (await SessionControl.send_options(caller, called.local_address)).status == 200
    assert call.state is ringback.CallState.ACTIVE


def test_a_reply_is_a_value():
    reply = OptionsReply(status=200, round_trip_ms=1.5, allow=("INVITE",), user_agent=None)
    assert pickle.loads(pickle.dumps(reply)) == reply
    with pytest.raises(dataclasses.FrozenInstanceError):
        reply.status = 404  # type: ignore[misc]
    with pytest.raises(TypeError):
        OptionsReply(200, 1.5, (), None)  # type: ignore[misc]


async def test_peers_that_talk_nonsense_are_waited_out(systems):
    async with Peer() as peer:
        caller = await systems.start("alice")
        task = asyncio.create_task(SessionControl.send_options(caller, peer.uri, timeout=1))
        request = await peer.receive("OPTIONS ")
        peer.send("SIP/2.0 200 OK\r\n\r\n")
        peer.send("garbage")
        peer.respond(request.replace("branch=z9hG4bK", "branch=z9hG4bK0"), "200 OK")
        with pytest.raises(AnswerTimeout):
            await task
