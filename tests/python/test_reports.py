"""What the peer's RTCP tells a program, by two ports and by one."""

import asyncio

import pytest
from support import Recorder, until

from ringback import MediaControl, RemoteMetrics, VoipMetrics

SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n{more}"


class Wire(asyncio.DatagramProtocol):
    """A socket of a peer that is no ringback, and what came to it."""

    @classmethod
    async def open(cls, port=0):
        _, wire = await asyncio.get_running_loop().create_datagram_endpoint(cls, local_addr=("127.0.0.1", port))
        return wire

    def connection_made(self, transport):
        self.transport = transport
        self.received = []
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data, addr):
        self.received.append(data)

    def reports(self):
        return [data for data in self.received if 192 <= data[1] <= 223]


async def remote(coordinator, call, ready, seconds=30):
    """The statistics' `remote`, as soon as `ready` of it."""
    async with asyncio.timeout(seconds):
        while True:
            statistics = await MediaControl.get_media_statistics(coordinator, call.id)
            if statistics is not None and statistics.remote is not None and ready(statistics.remote):
                return statistics.remote
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("mux", [False, True])
async def test_both_ends_know_what_the_other_hears(systems, mux):
    bob = Recorder()
    called = await systems.start("bob", bob)
    caller = await systems.start("alice", None, lambda builder: builder.with_codecs("PCMU").with_rtcp_mux(mux))
    call = await systems.answered(caller, called)
    info = await MediaControl.get_media_info(caller, call.id)
    assert ("a=rtcp-mux" in info.local_sdp, "a=rtcp-mux" in info.remote_sdp) == (mux, mux)
    stream = await MediaControl.open_audio(caller, call.id)
    other = (await bob.wait("established"))[0]
    for system, session in ((caller, call), (called, other)):
        told = await remote(system, session, lambda remote: remote.voip is not None)
        assert isinstance(told, RemoteMetrics) and isinstance(told.voip, VoipMetrics)
        assert told.packet_loss_percent == 0 and told.packets_lost == 0 and 0 <= told.jitter_ms < 1000
        voip = told.voip
        assert voip.packet_loss_percent == 0 and voip.signal_level_dbm0 is None and voip.external_r_factor is None
        assert voip.r_factor is not None and 0 <= voip.r_factor <= 93
    # What alice hears waits in a jitter buffer; what bob hears nobody listens to.
    assert (
        await remote(called, other, lambda remote: remote.voip.end_system_delay_ms is not None)
    ).voip.adaptive_jitter_buffer
    assert (await remote(caller, call, lambda remote: True)).voip.jitter_buffer_nominal_ms == 0
    await stream.close()


async def test_before_a_report_there_is_none(systems):
    called = await systems.start("bob", Recorder())
    caller = await systems.start("alice")
    call = await systems.answered(caller, called)
    assert (await MediaControl.get_media_statistics(caller, call.id)).remote is None


async def test_a_peer_that_offers_one_port_gets_all_on_it(systems, peer):
    called = await systems.start("bob", Recorder())
    wire = await Wire.open()
    try:
        invite = peer.invite(called.local_address, body=SDP.format(port=wire.port, more="a=rtcp-mux\r\n"))
        answer = await peer.receive("SIP/2.0 200")
        assert "a=rtcp-mux" in answer and "a=rtcp-xr" not in answer
        peer.follow(invite, "ACK", response=answer)
        await until(lambda: wire.reports() and len(wire.received) > 50, timeout=20)
    finally:
        wire.transport.close()


async def test_a_peer_that_sends_first_gets_media_where_it_sends_from(systems, peer):
    """`a=direction:active`: nothing goes to the address of its SDP."""
    called = await systems.start("bob", Recorder())
    wire, described = await Wire.open(), await Wire.open()
    try:
        body = SDP.format(port=described.port, more="a=direction:active\r\n")
        invite = peer.invite(called.local_address, body=body)
        answer = await peer.receive("SIP/2.0 200")
        assert "a=direction:passive" in answer
        peer.follow(invite, "ACK", response=answer)
        to = int(answer.split("m=audio ")[1].split(" ")[0])
        for number in range(500):
            header = bytes([0x80, 0]) + number.to_bytes(2) + (160 * number).to_bytes(4) + (77).to_bytes(4)
            wire.transport.sendto(header + b"\xff" * 160, ("127.0.0.1", to))
            await asyncio.sleep(0.02)
            if len(wire.received) > 10:
                break
        assert len(wire.received) > 10
        assert described.received == []
    finally:
        wire.transport.close()
        described.transport.close()


@pytest.mark.parametrize("wrong", [1, "yes", None])
async def test_wrong_settings(systems, wrong):
    with pytest.raises(TypeError, match="offered"):
        systems.builder("bob").with_rtcp_mux(wrong)
