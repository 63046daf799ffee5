"""Our figures of a call over a lossy path, against those that tshark's RTP analysis works out from the packets on the wire.

The path is a relay between two systems of ours, which loses and delays packets by a seed. The capture shows each packet as it
reached its receiver, so what tshark misses is what the receiver missed.
"""

import asyncio
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from capture import Capture, CaptureError, tshark
from lossy_relay import LossyRelay
from network import HOST
from systems import Recorder, builder, dial, host_port, soon, until

from ringback import CallSession, MediaControl, MediaStatistics, VoipMetrics

pytestmark = pytest.mark.peer("tshark")
# Loss and reordering are what these captures are for: nobody is to be blamed for them.
EXPECTED = ()


@pytest.fixture
def own_wire(tmp_path: Path) -> Iterator[Capture]:
    """A capture of one test, which stops it."""
    try:
        capture = Capture.start(tmp_path / "own.pcapng")
    except CaptureError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"left out: {error}")
    try:
        yield capture
    finally:
        if capture.process.poll() is None:
            capture.stop()


@dataclass(frozen=True)
class Analysed:
    """A line of `tshark -z rtp,streams`."""

    packets: int
    lost: int
    mean_jitter_ms: float


def analyse(path: Path, source: int, destination: int) -> Analysed:
    """The stream from one port to the other."""
    decode = ["-d", f"udp.port=={source},rtp", "-d", f"udp.port=={destination},rtp"]
    text = tshark(path, *decode, "-q", "-z", "rtp,streams")
    pattern = (
        rf"^\s*[\d.]+\s+[\d.]+\s+{re.escape(HOST)}\s+{source}\s+{re.escape(HOST)}\s+{destination}\s+0x\w+\s+.*?"
        r"\s(\d+)\s+(-?\d+) \(-?[\d.]+%\)\s+[\d.]+\s+[\d.]+\s+[\d.]+\s+[\d.]+\s+([\d.]+)\s+[\d.]+"
    )
    rows = re.findall(pattern, text, re.MULTILINE)
    assert len(rows) == 1, f"one stream from {source} to {destination} was expected:\n{text}"
    packets, lost, jitter = rows[0]
    return Analysed(int(packets), int(lost), float(jitter))


class Watcher(Recorder):
    """Keeps the figures of jitter as the call goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.jitter: list[float] = []

    def on_media_quality(self, call: CallSession, statistics: MediaStatistics) -> None:
        if statistics.quality_metrics is not None:
            self.jitter.append(statistics.quality_metrics.jitter_ms)


async def settled(call: CallSession) -> MediaStatistics:
    """The statistics once nothing comes any more."""
    before = None
    async with asyncio.timeout(20):
        while True:
            statistics = await MediaControl.get_media_statistics(call.coordinator, call.id)
            assert statistics is not None
            if statistics.packets_received == before:
                return statistics
            before = statistics.packets_received
            await asyncio.sleep(0.5)


@pytest.mark.parametrize(("loss", "jitter_ms", "seed"), [(0.05, 8.0, 1), (0.2, 15.0, 2)])
async def test_loss_and_jitter_are_those_of_the_wire(
    loss: float, jitter_ms: float, seed: int, own_wire: Capture
) -> None:
    watchers = Watcher(), Watcher()
    async with (
        await builder(watchers[0]).with_codecs("PCMU").build() as caller,
        await builder(watchers[1]).with_codecs("PCMU").build() as called,
    ):
        call = await dial(caller, f"sip:bob@{host_port(called)}")
        await call.wait_for_answer(20)
        other = await soon(watchers[1].established)
        ends = []
        for session in (call, other):
            await MediaControl.stop_audio_transmission(session.coordinator, session.id)
            info = await MediaControl.get_media_info(session.coordinator, session.id)
            assert info is not None and info.local_address is not None
            ends.append((HOST, int(info.local_address.rpartition(":")[2])))
        async with LossyRelay(*ends, loss=loss, jitter_ms=jitter_ms, seed=seed) as relay:
            ports = (relay.for_a, relay.for_b)
            for session, port in zip((call, other), ports, strict=True):
                await settled(session)
                await MediaControl.establish_media_flow(session.coordinator, session.id, f"{HOST}:{port}")
            before = [await settled(session) for session in (call, other)]
            for session in (call, other):
                await MediaControl.start_statistics_monitoring(session.coordinator, session.id, 0.1)
                await MediaControl.start_audio_transmission(session.coordinator, session.id)
            ways = relay.ways
            await until(lambda: ways["to_a"].passed > 700 and ways["to_b"].passed > 700, 60, "700 packets each way")
            for session in (call, other):
                await MediaControl.stop_audio_transmission(session.coordinator, session.id)
            after = [await settled(session) for session in (call, other)]
            for session in (call, other):
                await MediaControl.stop_statistics_monitoring(session.coordinator, session.id)
        await call.hangup()
    await asyncio.to_thread(own_wire.stop)
    for index, ((_, port), way) in enumerate(zip(ends, ("to_a", "to_b"), strict=True)):
        found = analyse(own_wire.path, ports[index], port)
        received = after[index].packets_received - before[index].packets_received
        lost = after[index].packets_lost - before[index].packets_lost
        assert found.packets == received == relay.ways[way].passed, (found, received, relay.ways[way].passed)
        assert found.lost == lost, (found, lost)
        # What was lost behind the last packet that came, nobody at the receiver knows of.
        assert relay.ways[way].lost - found.lost in range(6), (found, relay.ways[way].lost)
        jitter = sorted(watchers[index].jitter[20:])
        assert len(jitter) > 20
        mean = sum(jitter) / len(jitter)
        assert abs(mean - found.mean_jitter_ms) <= 0.5 + 0.2 * found.mean_jitter_ms, (mean, found)


async def reporting_call(mux: bool) -> tuple[int, VoipMetrics]:
    """A call in which the called side listens and reports: the port that it reports from, and what the caller was told last."""
    handler = Recorder()
    async with (
        await builder().with_codecs("PCMU").with_rtcp_mux(mux).build() as caller,
        await builder(handler).build() as called,
    ):
        call = await dial(caller, f"sip:bob@{host_port(called)}")
        await call.wait_for_answer(20)
        other = await soon(handler.established)
        stream = await MediaControl.open_audio(called, other.id)
        async with asyncio.timeout(40):
            while True:
                statistics = await MediaControl.get_media_statistics(caller, call.id)
                if statistics is not None and statistics.remote is not None and statistics.remote.voip is not None:
                    break
                await asyncio.sleep(0.05)
        info = await MediaControl.get_media_info(called, other.id)
        assert info is not None and info.local_address is not None
        await stream.close()
        await call.hangup()
    return int(info.local_address.rpartition(":")[2]) + (not mux), statistics.remote.voip


async def test_extended_reports_are_taken_apart_without_complaint(own_wire: Capture) -> None:
    """RTCP by two ports and by one, its VoIP metrics field by field as the program sees them."""
    told = []
    for mux in (False, True):
        told.append(await reporting_call(mux))
    # What came before is in the capture too, then.
    ends = 'sip.Status-Line && sip.CSeq.method == "BYE"'
    await own_wire.packets(ends, lambda seen: len(seen) >= 2, "the ends of both calls")
    await asyncio.to_thread(own_wire.stop)
    fields = [
        "rtcp.xr.bt", "rtcp.xr.voipmetrics.gmin", "rtcp.xr.voipmetrics.rfactor", "rtcp.xr.voipmetrics.moslq",
        "rtcp.xr.voipmetrics.moscq", "rtcp.xr.voipmetrics.jbnominal", "rtcp.xr.voipmetrics.esdelay",
        "rtcp.xr.voipmetrics.signallevel",
    ]  # fmt: skip
    for port, voip in told:
        wanted = f"rtcp.pt == 207 && udp.srcport == {port}"
        # On a shared port this tshark looks into the first packet of a compound one alone, unless it is told.
        told_so = ["-d", f"udp.port=={port},rtcp"]
        columns = [word for name in fields for word in ("-e", name)]
        rows = tshark(own_wire.path, *told_so, "-Y", wanted, "-T", "fields", *columns).splitlines()
        assert rows, f"no extended report from port {port}"
        parts = [row.split("\t") for row in rows]
        assert all("7" in row[0].split(",") for row in parts), parts
        said = [f"{voip.r_factor}", f"{voip.mos_lq}", f"{voip.mos_cq}", f"{voip.jitter_buffer_nominal_ms}"]

        def tenths(value: str) -> str:
            return f"{float(value):.1f}"

        ours = [[row[2], tenths(row[3]), tenths(row[4]), row[5]] for row in parts]
        assert said in ours, (said, parts)
        assert {(row[1], row[7]) for row in parts} == {("16", "127")}, parts
    bad = '(rtcp || rtp) && (_ws.malformed || _ws.expert.severity >= "Note")'
    complaints = [
        line
        for line in tshark(own_wire.path, "-Y", bad, "-T", "fields", "-e", "_ws.expert.message").splitlines()
        if "round-trip delay" not in line
    ]
    assert complaints == [], complaints
