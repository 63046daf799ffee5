"""RTCP with PJSIP by two ports and by one (RFC 5761): what it reports of our stream comes in."""

import asyncio

import pytest
from pjsua_peer import Pjsua
from systems import Recorder, builder, dial, host_port, soon

from ringback import CallSession, MediaControl, MediaStatistics

pytestmark = pytest.mark.peer("pjsua2")
# The captures of shared ports are looked at in `test_media_figures`.
EXPECTED = ()


async def reported(call: CallSession) -> MediaStatistics:
    """The statistics, as soon as PJSIP has reported and a round trip is known."""
    async with asyncio.timeout(60):
        while True:
            statistics = await MediaControl.get_media_statistics(call.coordinator, call.id)
            if statistics is not None and statistics.remote is not None and statistics.quality_metrics is not None:
                if statistics.remote.jitter_ms is not None and statistics.quality_metrics.round_trip_ms is not None:
                    return statistics
            await asyncio.sleep(0.1)


async def check(call: CallSession, muxed: bool) -> None:
    info = await MediaControl.get_media_info(call.coordinator, call.id)
    assert info is not None and info.local_sdp is not None and info.remote_sdp is not None
    assert ("a=rtcp-mux" in info.local_sdp and "a=rtcp-mux" in info.remote_sdp) == muxed
    statistics = await reported(call)
    remote, quality = statistics.remote, statistics.quality_metrics
    assert remote is not None and quality is not None
    assert remote.packets_lost is not None and remote.packets_lost <= 5
    assert quality.round_trip_ms is not None and quality.round_trip_ms < 1000
    assert quality.packet_loss_percent < 2, "reports are no packets"


@pytest.mark.parametrize(("offered", "known"), [(True, True), (True, False), (False, True)])
async def test_we_call(offered: bool, known: bool) -> None:
    """A peer that does not know it, and one that is not asked, report by the port above."""
    async with (
        Pjsua(660.0, rtcp_mux=known) as peer,
        await builder().with_codecs("PCMU").with_rtcp_mux(offered).build() as caller,
    ):
        call = await dial(caller, peer.uri())
        await call.wait_for_answer(20)
        await check(call, offered and known)
        await call.hangup()
        await peer.until_state("disconnected")


@pytest.mark.parametrize("muxed", [True, False])
async def test_pjsua_calls(muxed: bool) -> None:
    handler = Recorder()
    async with (
        Pjsua(660.0, rtcp_mux=muxed) as peer,
        await builder(handler).with_codecs("PCMU").build() as called,
    ):
        await peer.do("call", uri=f"sip:bob@{host_port(called)}")
        call = await soon(handler.established)
        await check(call, muxed)
        await call.hangup()
        await peer.until_state("disconnected")
