"""Three baresips in one conference: each plays a tone, and its recording must hold the tones of the others and not its own."""

import numpy as np
import pytest
from baresip_peer import Baresip
from numpy.typing import NDArray
from systems import Recorder, soon, system, until

from ringback import BridgeEventKind, BridgeRole

pytestmark = pytest.mark.peer("baresip")
EXPECTED = ("sip", "sdp", "rtp", "rtcp", "udp")
PITCHES = (520.0, 710.0, 930.0)


def levels(samples: NDArray[np.int16]) -> list[float]:
    """Peaks of the three tones."""
    time = np.arange(samples.size) / 8000
    return [2 * abs(np.mean(samples * np.exp(-2j * np.pi * pitch * time))) for pitch in PITCHES]


async def until_hears(peer: Baresip, expected: set[int]) -> None:
    """Until half a second of what it recorded holds the tones of `expected` alone."""
    start = peer.heard().size

    def right() -> bool:
        samples = peer.heard()[start:][-4000:]
        if samples.size < 4000:
            return False
        found = levels(samples)
        return all(found[n] > 500 for n in expected) and all(found[n] < 100 for n in {0, 1, 2} - expected)

    await until(right, what=f"just the tones {sorted(expected)} at baresip")


async def test_three_baresips_confer() -> None:
    handler = Recorder()
    async with (
        await system(handler) as server,
        Baresip(PITCHES[0]) as first,
        Baresip(PITCHES[1], codec="PCMA") as second,
        Baresip(PITCHES[2]) as third,
    ):
        bridge = await server.create_bridge("baresips")
        events = server.bridge_events(bridge)
        calls = []
        for peer in (first, second, third):
            await peer.command("dial", server.local_address)
            call = await soon(handler.established)
            await server.add_session_to_bridge(bridge, call.id)
            calls.append(call)
        for peer, others in ((first, {1, 2}), (second, {0, 2}), (third, {0, 1})):
            await until_hears(peer, others)
        await server.set_bridge_role(bridge, calls[2].id, BridgeRole.WHISPER, beside=calls[0].id)
        for peer, others in ((first, {1, 2}), (second, {0}), (third, {0, 1})):
            await until_hears(peer, others)
        await third.command("hangup")
        await soon(handler.ended)
        for peer, others in ((first, {1}), (second, {0})):
            await until_hears(peer, others)
        await server.destroy_bridge(bridge)
        told = [event async for event in events]
        assert {event.session for event in told if event.kind is BridgeEventKind.TALKING} == {call.id for call in calls}
        assert told[-1].kind is BridgeEventKind.DESTROYED
        for call in calls[:2]:
            await call.hangup()
