"""Digits as tones in the audio, and media from where SDP does not say."""

import asyncio

import numpy as np
import pytest
from support import Recorder, until

from ringback import DtmfMethod, MediaControl, MediaError, SessionControl

ALL = "0123456789*#ABCD"
EXTERNAL = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


def pressed(digits, rate, *, tone=0.08, gap=0.08, peak=7000):
    """Samples of a keypad, by ITU-T Q.23."""
    low, high = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
    keys = ("123A", "456B", "789C", "*0#D")
    time = np.arange(int(tone * rate)) / rate
    parts = []
    for digit in digits:
        row = next(index for index, keys_of in enumerate(keys) if digit in keys_of)
        column = keys[row].index(digit)
        parts.append(peak * (np.sin(2 * np.pi * low[row] * time) + np.sin(2 * np.pi * high[column] * time)))
        parts.append(np.zeros(int(gap * rate)))
    return np.concatenate(parts).astype(np.int16)


def digits_of(recorder):
    return "".join(digit for _, digit, _ in recorder.of("dtmf"))


async def test_all_digits_as_tones_both_ways(systems):
    bob, alice = Recorder(), Recorder()
    called = await systems.start("bob", bob, lambda builder: builder.with_inband_dtmf(True))
    caller = await systems.start("alice", alice, lambda builder: builder.with_inband_dtmf(True))
    call = await systems.answered(caller, called)
    other = (await bob.wait("established"))[0]
    await asyncio.gather(
        SessionControl.send_dtmf(caller, call.id, ALL, method=DtmfMethod.INBAND, duration_ms=60, gap_ms=60),
        MediaControl.play(called, other.id, pressed("42", 16000), sample_rate=16000),
    )
    await until(lambda: digits_of(bob) == ALL and digits_of(alice) == "42")
    assert all(40 <= duration <= 90 for _, _, duration in bob.of("dtmf"))


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
async def test_tones_count_only_where_they_are_looked_for(systems, codec):
    bob = Recorder()
    for detect, expected in ((None, ""), (False, ""), (True, "147")):
        called = await systems.start("bob", bob, lambda builder, detect=detect: builder.with_inband_dtmf(detect))
        caller = await systems.start("alice", None, lambda builder: builder.with_codecs(codec))
        call = await systems.answered(caller, called)
        # telephone-event was negotiated here.
        await SessionControl.send_dtmf(caller, call.id, "147", method=DtmfMethod.INBAND, duration_ms=80, gap_ms=60)
        await until(lambda expected=expected: len(digits_of(bob)) >= len(expected))
        await asyncio.sleep(0.2)  # in which one too many would come
        assert digits_of(bob) == expected


async def test_without_telephone_event_tones_count(systems, peer):
    bob = Recorder()
    called = await systems.start("bob", bob, lambda builder: builder.with_inband_dtmf())
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    sdp = EXTERNAL.replace("4000", str(port))
    _, answer = await peer.call(called.local_address, body=sdp)
    to = int(answer.split("m=audio ")[1].split(" ")[0])
    samples = np.concatenate([np.zeros(1600, np.int16), pressed("5#", 8000), np.zeros(1600, np.int16)])
    for number, frame in enumerate(np.split(samples[: len(samples) // 160 * 160], len(samples) // 160)):
        header = bytes([0x80, 0]) + number.to_bytes(2) + (160 * number).to_bytes(4) + (77).to_bytes(4)
        transport.sendto(header + bytes(mu_law(int(sample)) for sample in frame), ("127.0.0.1", to))
        await asyncio.sleep(0.01)
    await until(lambda: digits_of(bob) == "5#")
    transport.close()


def mu_law(sample):
    sign = 0x80 if sample < 0 else 0
    value = min(abs(sample), 32635) + 132
    exponent = max(value.bit_length() - 8, 0)
    return ~(sign | exponent << 4 | (value >> (exponent + 3)) & 15) & 0xFF


async def test_a_digit_sent_as_event_and_heard_counts_once(systems):
    bob = Recorder()
    called = await systems.start("bob", bob, lambda builder: builder.with_inband_dtmf(True))
    caller = await systems.start("alice")
    call = await systems.answered(caller, called)
    await SessionControl.send_dtmf(caller, call.id, "1", method=DtmfMethod.RTP_EVENT)
    await SessionControl.send_dtmf(caller, call.id, "23", method=DtmfMethod.INBAND)
    await SessionControl.send_dtmf(caller, call.id, "4", method=DtmfMethod.RTP_EVENT)
    await until(lambda: digits_of(bob) == "14")


async def test_tones_need_media_of_ours(systems):
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    call = await systems.call(caller, called, sdp=EXTERNAL)
    await call.wait_for_answer(5)
    with pytest.raises(MediaError):
        await SessionControl.send_dtmf(caller, call.id, "1", method=DtmfMethod.INBAND)


@pytest.mark.parametrize("wrong", [{"detect": 1}, {"detect": "yes"}])
async def test_wrong_settings(systems, wrong):
    with pytest.raises(TypeError, match="detect"):
        systems.builder("bob").with_inband_dtmf(**wrong)
    with pytest.raises(TypeError, match="allowed"):
        systems.builder("bob").with_symmetric_rtp(1)


@pytest.mark.parametrize("symmetric", [False, True])
async def test_media_comes_back_to_where_it_comes_from_if_allowed(systems, peer, symmetric):
    bob = Recorder()
    called = await systems.start("bob", bob, lambda builder: builder.with_symmetric_rtp(symmetric))
    loop = asyncio.get_running_loop()
    received = []

    class Behind(asyncio.DatagramProtocol):
        def datagram_received(self, data, addr):
            received.append(data)

    transport, _ = await loop.create_datagram_endpoint(Behind, local_addr=("127.0.0.1", 0))
    # The address in SDP is not where media comes from.
    _, answer = await peer.call(called.local_address, body=EXTERNAL)
    to = int(answer.split("m=audio ")[1].split(" ")[0])
    for number in range(40):
        header = bytes([0x80, 0]) + number.to_bytes(2) + (160 * number).to_bytes(4) + (77).to_bytes(4)
        transport.sendto(header + b"\xff" * 160, ("127.0.0.1", to))
        await asyncio.sleep(0.01)
    if symmetric:
        await until(lambda: len(received) > 5)
    else:
        await asyncio.sleep(0.1)
        assert received == []
    transport.close()


class Sender(asyncio.DatagramProtocol):
    """Sends a stream of G.711 at its pace, and counts what comes."""

    def __init__(self, ssrc):
        self.ssrc, self.received, self.number, self.transport = ssrc, 0, 0, None

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.received += 1

    async def send(self, port, packets):
        for _ in range(packets):
            header = (
                bytes([0x80, 0]) + self.number.to_bytes(2) + (160 * self.number).to_bytes(4) + self.ssrc.to_bytes(4)
            )
            self.transport.sendto(header + b"\x80" * 160, ("127.0.0.1", port))
            self.number += 1
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
async def test_a_stranger_who_sends_first_gets_nothing_once_the_peer_is_there(systems, peer, host):
    called = await systems.start("bob", Recorder(), lambda builder: builder.with_symmetric_rtp())
    loop = asyncio.get_running_loop()
    _, phone = await loop.create_datagram_endpoint(lambda: Sender(1), local_addr=("127.0.0.1", 0))
    _, stranger = await loop.create_datagram_endpoint(lambda: Sender(2), local_addr=(host, 0))
    port = phone.transport.get_extra_info("sockname")[1]
    _, answer = await peer.call(called.local_address, body=EXTERNAL.replace("4000", str(port)))
    to = int(answer.split("m=audio ")[1].split(" ")[0])
    await stranger.send(to, 25)
    if host != "127.0.0.1":
        # Media and signalling are of one host, and it is not this one.
        assert stranger.received == 0
    await phone.send(to, 3)
    await asyncio.sleep(0.1)
    before, heard = stranger.received, phone.received
    await asyncio.gather(stranger.send(to, 50), phone.send(to, 50))
    assert stranger.received == before
    assert phone.received > heard
    for sender in (phone, stranger):
        sender.transport.close()
