"""What is recorded of calls with SIPp: a capture that it plays, and a tone through a change of codec in the middle of a call."""

import asyncio
import wave
from pathlib import Path

import numpy as np
import pytest
from capture import tshark
from g711 import TABLES
from numpy.typing import NDArray
from scenario import (
    PCMA,
    PCMU,
    Step,
    ack,
    bye,
    invite,
    receive,
    receive_bye,
    receive_final,
    sdp,
    wait_for_go_on,
)
from sipp_peer import Sipp
from systems import Recorder, builder, go_on, host_port, soon, system, until_media, until_received

from ringback import MediaControl

pytestmark = pytest.mark.peer("sipp")
EXPECTED = ("sip", "sdp", "rtp")

G722 = ("9", "G722/8000")
PLAYED = Path("/usr/share/sip-tester/g711a.pcap")


def read_wav(path: Path) -> tuple[NDArray[np.int16], int]:
    """Samples of shape (n, channels), and their rate."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return samples.reshape(-1, file.getnchannels()), file.getframerate()


def similarity(part: NDArray[np.float64], whole: NDArray[np.float64]) -> float:
    """Normalised correlation of `part` with the place of `whole` that it fits best."""
    size = 1 << (part.size + whole.size).bit_length()
    products = np.fft.irfft(np.fft.rfft(whole, size) * np.conj(np.fft.rfft(part, size)), size)[: whole.size - part.size]
    at = int(np.argmax(products))
    place = whole[at : at + part.size]
    return float(np.dot(part, place) / (np.linalg.norm(part) * np.linalg.norm(place)))


@pytest.mark.skipif(not PLAYED.exists(), reason="left out: sip-tester's captures are not installed")
async def test_a_capture_that_sipp_plays_is_recorded_as_it_is(tmp_path: Path) -> None:
    payloads = tshark(PLAYED, "-d", "udp.port==1-65535,rtp", "-T", "fields", "-e", "rtp.payload").split()
    original = np.concatenate(
        [TABLES[8][np.frombuffer(bytes.fromhex(payload), dtype=np.uint8)] for payload in payloads]
    )
    assert original.size > 8000
    handler = Recorder()
    play = Step(f'<nop><action><exec play_pcap_audio="{PLAYED}"/></action></nop>\n')
    steps = (invite(sdp(PCMA)), *receive_final(200), ack(), *wait_for_go_on(), play, *receive_bye())
    async with (
        await builder(handler).with_codecs("PCMA").build() as server,
        Sipp("plays", steps, host_port(server)) as sipp,
    ):
        call = await soon(handler.established)
        path = tmp_path / "played.wav"
        recording = await MediaControl.record(server, call.id, str(path), stereo=True)
        await go_on(call)
        await until_received(call, len(payloads) - 2)
        statistics = await MediaControl.get_media_statistics(server, call.id)
        assert statistics is not None and statistics.codec == "PCMA"
        # What waits in the jitter buffer is written at the end.
        await recording.stop()
        await call.hangup()
        await sipp.finished()
    samples, rate = read_wav(path)
    assert rate == 8000
    received = samples[:, 0].astype(np.float64)
    # SIPp on a busy machine plays in fits and starts, and what comes too late is left out: pieces of a quarter of a second each, most
    # of which are what was played, to the sample.
    pieces = [
        original[start : start + 2000].astype(np.float64)
        for start in range(0, original.size - 2000, 2000)
        if np.abs(original[start : start + 2000]).max() > 500
    ]
    assert len(pieces) >= 10
    fits = sorted(similarity(piece, received) for piece in pieces)
    assert fits[len(fits) // 2] > 0.99, fits


@pytest.mark.parametrize("second", [PCMA, G722])
async def test_a_change_of_codec_is_not_heard(second: tuple[str, str], tmp_path: Path) -> None:
    """SIPp sends back our tone, first in PCMU; a re-INVITE of its makes it another codec. In the recording of what came back the
    tone has no gap of more than 40 ms."""
    handler = Recorder()
    steps = (
        invite(sdp(PCMU)),
        *receive_final(200),
        ack(),
        *wait_for_go_on(),
        invite(sdp(second, version=2), cseq=2),
        *receive_final(200),
        ack(cseq=2),
        *wait_for_go_on(),
        bye(cseq=3),
        receive(200),
    )
    async with (
        await system(handler, codecs=("PCMU", "PCMA", "G722")) as server,
        Sipp("changes", steps, host_port(server), echo=True) as sipp,
    ):
        call = await soon(handler.established)
        playing = asyncio.create_task(MediaControl.play_tone(server, call.id, [700.0], duration=60))
        await until_received(call, 50)
        path = tmp_path / "changed.wav"
        recording = await MediaControl.record(server, call.id, str(path), stereo=True)
        statistics = await MediaControl.get_media_statistics(server, call.id)
        assert statistics is not None
        await until_received(call, statistics.packets_received + 100)
        await go_on(call)
        await until_media(call, second[1].partition("/")[0], sipp.media_port)
        statistics = await MediaControl.get_media_statistics(server, call.id)
        assert statistics is not None
        await until_received(call, statistics.packets_received + 100)
        await recording.stop()
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        await go_on(call)
        await sipp.finished()
    samples, rate = read_wav(path)
    # After the first sound and before the last: what is quieter than a tenth of the tone, in steps of 5 ms.
    step = rate // 200
    received = samples[:, 0].astype(np.float64)
    levels = np.array([np.abs(received[at : at + step]).max() for at in range(0, received.size - step, step)])
    sounding = np.flatnonzero(levels > 2000)
    assert sounding.size > 500, f"{sounding.size * 5} ms of the tone"
    quiet = np.diff(sounding).max() * 5 - 5
    assert quiet <= 40, f"a gap of {quiet} ms at {sounding[np.argmax(np.diff(sounding))] * 5} ms"
