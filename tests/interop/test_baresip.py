"""Calls with baresip, each side playing a tone that the other side's recording must show at the right frequency."""

import asyncio

import numpy as np
import pytest
from baresip_peer import Baresip
from systems import Recorder, dominant_frequency, soon, system, until

from ringback import CallSession, MediaControl, SessionControl, SessionCoordinator

pytestmark = pytest.mark.peer("baresip")


async def exchange_tones(coordinator: SessionCoordinator, call: CallSession, peer: Baresip, ours: float) -> None:
    """Plays `ours` to the peer and listens to its tone, for about 2 s; both must arrive at the right frequency."""
    stream = await MediaControl.open_audio(coordinator, call.id, sample_rate=8000)
    time = np.arange(8000 * 3) / 8000
    await stream.write((8000 * np.sin(2 * np.pi * ours * time)).astype(np.int16))
    heard = []
    async with asyncio.timeout(15):
        async for frame in stream:
            if heard or frame.any():
                heard.append(frame)
            if len(heard) >= 100:
                break
        await stream.flush()
    await stream.close()
    measured = dominant_frequency(np.concatenate(heard), 8000)
    assert measured is not None and abs(measured - peer.frequency) < 3, f"we heard {measured} Hz of {peer.frequency}"
    await until(lambda: peer.heard().size > 8000, what="baresip's recording")
    measured = dominant_frequency(peer.heard(), 8000)
    assert measured is not None and abs(measured - ours) < 3, f"baresip heard {measured} Hz of {ours}"


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
async def test_we_call_baresip(codec: str) -> None:
    async with Baresip(660.0, codec=codec) as peer, await system(Recorder()) as caller:
        call = await SessionControl.create_outgoing_call(caller, caller.local_address, peer.uri)
        await call.wait_for_answer(10)
        info = await MediaControl.get_media_info(caller, call.id)
        assert info is not None and info.codec == codec
        await exchange_tones(caller, call, peer, 450.0)
        await call.hangup()
        await until(lambda: "terminated" in peer.log_text(), what="baresip's end of the call")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_baresip_calls_us(transport: str) -> None:
    handler = Recorder()
    async with await system(handler) as server, Baresip(520.0) as peer:
        suffix = ";transport=tcp" if transport == "tcp" else ""
        await peer.command("dial", server.local_address + suffix)
        call = await soon(handler.established)
        await exchange_tones(server, call, peer, 880.0)
        await peer.command("hangup")
        _, reason = await soon(handler.ended)
        assert reason == "remote hangup"


async def test_baresip_holds_us() -> None:
    handler = Recorder()
    async with await system(handler) as server, Baresip(520.0) as peer:
        await peer.command("dial", server.local_address)
        call = await soon(handler.established)
        await peer.command("hold")
        await until(lambda: call.remote_hold, what="being held")
        await peer.command("resume")
        await until(lambda: not call.remote_hold, what="being resumed")
        await call.hangup()
        await until(lambda: "terminated" in peer.log_text(), what="baresip's end of the call")
