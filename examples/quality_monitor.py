"""Watch the quality of every call and act when it is bad: here the call is noted for follow-up, once, and the user is told.

python quality_monitor.py
python quality_monitor.py --self-test
"""

import argparse
import asyncio
import socket
from typing import cast

from ringback import (
    AutoAnswerHandler,
    CallSession,
    MediaControl,
    MediaStatistics,
    SessionControl,
    SessionId,
    SessionManagerBuilder,
)

GOOD_ENOUGH = 3.6  # MOS; below it, ITU-T G.109 speaks of "many users dissatisfied"


class QualityWatch(AutoAnswerHandler):
    def __init__(self, interval: float = 5.0) -> None:
        self._interval = interval
        self.reports: asyncio.Queue[MediaStatistics] = asyncio.Queue()
        self.poor: dict[SessionId, float] = {}

    async def on_call_established(self, call: CallSession, local_sdp: str | None, remote_sdp: str | None) -> None:
        await MediaControl.start_statistics_monitoring(call.coordinator, call.id, self._interval)

    async def on_media_quality(self, call: CallSession, statistics: MediaStatistics) -> None:
        await self.reports.put(statistics)
        quality = statistics.quality_metrics
        if quality is None or quality.mos_score is None:
            return  # nothing measured yet: nothing to say
        loss, jitter = quality.packet_loss_percent, quality.jitter_ms
        print(f"{call.from_uri}: MOS {quality.mos_score:.2f}, loss {loss:.1f} %, jitter {jitter:.1f} ms")
        if quality.mos_score < GOOD_ENOUGH and call.id not in self.poor:
            self.poor[call.id] = quality.mos_score
            print(f"{call.from_uri}: poor line, noted for follow-up")

    async def on_media_timeout(self, call: CallSession, silent_seconds: float) -> None:
        print(f"{call.from_uri}: nothing heard for {silent_seconds:.0f} s, hanging up")
        await call.hangup("no media")


async def main() -> None:
    async with await SessionManagerBuilder().with_handler(QualityWatch()).build() as server:
        print(f"Watching calls to {server.local_address}; Ctrl-C ends.")
        await asyncio.Event().wait()


class LossyRelay(asyncio.DatagramProtocol):
    """Passes the RTP of one source on to a port of this machine, but for every tenth packet."""

    def __init__(self, source: tuple[str, int], target: tuple[str, int]) -> None:
        self._source = source
        self._target = target
        self._count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        self._count += addr == self._source
        if addr == self._source and self._count % 10:
            self._transport.sendto(data, self._target)


def endpoint(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


async def self_test() -> None:
    watch = QualityWatch(interval=0.5)
    server = (
        await SessionManagerBuilder()
        .with_local_address("sip:watch@127.0.0.1")
        .with_sip_port(0)
        .with_handler(watch)
        .build()
    )
    caller = await SessionManagerBuilder().with_local_address("sip:caller@127.0.0.1").with_sip_port(0).build()
    async with server, caller:
        call = await SessionControl.create_outgoing_call(caller, caller.local_address, server.local_address)
        await call.wait_for_answer(5)
        while (await asyncio.wait_for(watch.reports.get(), 5)).quality_metrics is None:
            pass
        assert not watch.poor, "a clean loopback call was called poor"

        # From here on the caller's packets take a way that loses one in ten.
        info = await MediaControl.get_media_info(caller, call.id)
        assert info is not None and info.local_address is not None and info.remote_address is not None
        relay = LossyRelay(endpoint(info.local_address), endpoint(info.remote_address))
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: relay, local_addr=("127.0.0.1", 0), family=socket.AF_INET
        )
        try:
            relay_host, relay_port = transport.get_extra_info("sockname")
            (incoming,) = await SessionControl.list_active_sessions(server)
            await MediaControl.establish_media_flow(caller, call.id, f"{relay_host}:{relay_port}")
            await MediaControl.establish_media_flow(server, incoming, f"{relay_host}:{relay_port}")
            async with asyncio.timeout(20):
                while not watch.poor:
                    await watch.reports.get()
        finally:
            transport.close()
        await call.hangup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    try:
        asyncio.run(self_test() if options.self_test else main())
    except KeyboardInterrupt:
        print("Bye.")
