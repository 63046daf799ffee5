"""Calls with SIPp: its built-in scenarios, early media, CANCEL, hold, both transports, many at once."""

import asyncio

import pytest
from sipp_peer import Sipp
from systems import Recorder, host_port, soon, system, until

from ringback import (
    AutoAnswerHandler,
    CallCancelled,
    CallDecision,
    CallRejected,
    CallState,
    SessionControl,
    Transport,
)

pytestmark = pytest.mark.peer("sipp")
BOTH = pytest.mark.parametrize(("transport", "sipp_transport"), [(Transport.UDP, "u1"), (Transport.TCP, "t1")])


@BOTH
async def test_builtin_uac_is_answered(transport: Transport, sipp_transport: str) -> None:
    handler = Recorder()
    async with await system(handler, transport) as server:
        async with Sipp("uac", host_port(server), calls=20, hold_ms=50, transport=sipp_transport) as sipp:
            await sipp.finished()
        for _ in range(20):
            _, reason = await soon(handler.ended)
            assert reason == "remote hangup"
        stats = await SessionControl.get_stats(server)
        assert (stats.active_sessions, stats.total_sessions, stats.failed_sessions) == (0, 20, 0)


@BOTH
async def test_builtin_uas_is_called(transport: Transport, sipp_transport: str) -> None:
    async with Sipp("uas", calls=5, transport=sipp_transport) as sipp, await system(None, transport) as caller:
        suffix = ";transport=tcp" if transport is Transport.TCP else ""
        for _ in range(5):
            call = await SessionControl.create_outgoing_call(caller, caller.local_address, f"sip:service@{sipp.address}{suffix}")
            await call.wait_for_answer(10)
            assert call.state is CallState.ACTIVE
            await call.hangup()
            assert call.state is CallState.TERMINATED
        await sipp.finished()


async def test_early_media_received() -> None:
    handler = Recorder()
    async with Sipp("uas_early_media") as sipp, await system(handler) as caller:
        call = await SessionControl.create_outgoing_call(caller, caller.local_address, f"sip:service@{sipp.address}")
        status, sdp = await soon(handler.progress)
        assert status == 183
        assert sdp is not None and "m=audio" in sdp
        assert call.state is CallState.RINGING
        await call.wait_for_answer(10)
        await call.hangup()
        await sipp.finished()


async def test_early_media_sent() -> None:
    handler = Recorder(decision=CallDecision.Defer())
    async with await system(handler) as server:
        async with Sipp("uac_early_media", host_port(server)) as sipp:
            incoming = await soon(handler.incoming)
            await SessionControl.progress_incoming_call(server, incoming)
            await asyncio.sleep(0.3)  # a person would hear queue music here
            await incoming.accept()
            await sipp.finished()
        _, reason = await soon(handler.ended)
        assert reason == "remote hangup"


async def test_caller_cancels() -> None:
    handler = Recorder(decision=CallDecision.Defer())
    async with await system(handler) as server:
        async with Sipp("uac_cancel", host_port(server)) as sipp:
            await sipp.finished()
        call, reason = await soon(handler.ended)
        assert (call.state, reason) == (CallState.CANCELLED, "cancelled")
        assert await SessionControl.list_active_sessions(server) == []


async def test_we_cancel() -> None:
    handler = Recorder()
    async with Sipp("uas_cancelled") as sipp, await system(handler) as caller:
        call = await SessionControl.create_outgoing_call(caller, caller.local_address, f"sip:service@{sipp.address}")
        await until(lambda: call.state is CallState.RINGING, what="180")
        await call.hangup()
        assert call.state is CallState.CANCELLED
        with pytest.raises(CallCancelled):
            await call.wait_for_answer(1)
        await sipp.finished()


async def test_peer_holds_and_resumes() -> None:
    handler = Recorder()
    async with await system(handler) as server:
        async with Sipp("uac_hold", host_port(server)) as sipp:
            call = await soon(handler.established)
            await until(lambda: call.remote_hold, what="being held")
            assert call.state is CallState.ACTIVE
            await until(lambda: not call.remote_hold, what="being resumed")
            await sipp.finished()


async def test_we_hold_and_resume() -> None:
    async with Sipp("uas_held") as sipp, await system() as caller:
        call = await SessionControl.create_outgoing_call(caller, caller.local_address, f"sip:service@{sipp.address}")
        await call.wait_for_answer(10)
        await call.hold()
        assert call.state is CallState.ON_HOLD
        await call.resume()
        assert call.state is CallState.ACTIVE
        await call.hangup()
        await sipp.finished()


async def test_rejection_and_redirect_are_told_apart() -> None:
    async with await system() as caller:
        for code, targets in ((486, []), (302, ["sip:elsewhere@127.0.0.1:9"])):
            async with Sipp("uas_final", keys={"status": f"{code} Custom"}) as sipp:
                call = await SessionControl.create_outgoing_call(caller, caller.local_address, f"sip:service@{sipp.address}")
                with pytest.raises(CallRejected) as refusal:
                    await call.wait_for_answer(10)
                assert (refusal.value.status, list(refusal.value.targets)) == (code, targets)
                await sipp.finished()


@BOTH
async def test_200_calls_at_once(transport: Transport, sipp_transport: str) -> None:
    async with await system(AutoAnswerHandler(), transport) as server:
        async with Sipp("uac", host_port(server), calls=200, rate=200, hold_ms=3000, transport=sipp_transport) as sipp:
            async with asyncio.timeout(20):
                while (await SessionControl.get_stats(server)).active_sessions < 200:
                    await asyncio.sleep(0.05)
            await sipp.finished()
            statistics = sipp.statistics()
        assert statistics["SuccessfulCall(C)"] == "200"
        assert statistics["FailedCall(C)"] == "0"
        await until(lambda: True)
        async with asyncio.timeout(5):
            while (await SessionControl.get_stats(server)).active_sessions:
                await asyncio.sleep(0.05)
