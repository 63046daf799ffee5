"""Recordings, as a player of the file finds them."""

import asyncio
import os
import signal
import subprocess
import sys
import wave

import numpy as np
import pytest
from support import Recorder, until
from support.tones import sine, strongest

from ringback import CallDecision, InvalidState, MediaControl, MediaError, SessionControl, SessionId

EXTERNAL = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


async def connected(systems):
    bob = Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.answered(caller, called)
    other = (await bob.wait("established"))[0]
    return caller, call, called, other


def read_wav(path):
    """Rate, and the samples of shape (channels, n)."""
    with wave.open(str(path), "rb") as file:
        assert file.getsampwidth() == 2
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        return file.getframerate(), samples.reshape(-1, file.getnchannels()).T


def level(samples, rate, hz):
    """RMS of one frequency, in samples."""
    time = np.arange(len(samples)) / rate
    return abs(np.mean(samples * np.exp(-2j * np.pi * hz * time))) * np.sqrt(2)


async def both_talk(caller, call, called, other, seconds):
    await asyncio.gather(
        MediaControl.play(caller, call.id, sine(1000, seconds, 8000), sample_rate=8000),
        MediaControl.play(called, other.id, sine(400, seconds, 8000), sample_rate=8000),
    )


async def test_paths_may_be_pathlib_paths(systems, tmp_path):
    caller, call, called, other = await connected(systems)
    recording = await MediaControl.record(caller, call.id, tmp_path / "call.wav")
    bridge = await called.create_bridge()
    await called.add_session_to_bridge(bridge, other.id)
    meeting = await called.record_bridge(bridge, tmp_path / "meeting.wav")
    assert (recording.path, meeting.path) == (str(tmp_path / "call.wav"), str(tmp_path / "meeting.wav"))
    await MediaControl.play(caller, call.id, sine(1000, 0.1, 8000), sample_rate=8000)
    assert min(await recording.stop(), await meeting.stop()) > 0
    await MediaControl.play(caller, call.id, tmp_path / "call.wav")
    await called.play_to_bridge(bridge, tmp_path / "meeting.wav")


@pytest.mark.parametrize("stereo", [False, True])
async def test_both_sides_are_recorded(systems, tmp_path, stereo):
    caller, call, called, other = await connected(systems)
    recording = await MediaControl.record(caller, call.id, str(tmp_path / "call.wav"), stereo=stereo)
    assert recording.path == str(tmp_path / "call.wav")
    await both_talk(caller, call, called, other, 1.0)
    assert recording.duration > 0.8
    seconds = await recording.stop()
    rate, channels = read_wav(recording.path)
    assert channels.shape == (2 if stereo else 1, round(seconds * rate)) and 1.0 <= seconds < 3
    middle = channels[:, rate // 3 : rate * 2 // 3]
    expected = 8000 / np.sqrt(2)
    if stereo:
        left, right = middle
        assert level(left, rate, 400) == pytest.approx(expected, rel=0.05) and level(left, rate, 1000) < 100
        assert level(right, rate, 1000) == pytest.approx(expected, rel=0.05) and level(right, rate, 400) < 100
    else:
        assert level(middle[0], rate, 400) == pytest.approx(expected, rel=0.05)
        assert level(middle[0], rate, 1000) == pytest.approx(expected, rel=0.05)
    assert await recording.stop() == seconds == pytest.approx(recording.duration)


async def test_the_end_of_the_call_completes_the_file(systems, tmp_path):
    caller, call, called, other = await connected(systems)
    recording = await MediaControl.record(called, other.id, str(tmp_path / "call.wav"), stereo=True)
    await both_talk(caller, call, called, other, 0.5)
    await call.hangup()
    await other.wait_ended()
    seconds = await recording.stop()
    rate, (left, right) = read_wav(recording.path)
    assert seconds == len(left) / rate
    assert abs(strongest(left, rate) - 1000) < 10 and abs(strongest(right, rate) - 400) < 10


async def test_stopping_the_system_completes_the_file(systems, tmp_path):
    caller, call, called, other = await connected(systems)
    recording = await MediaControl.record(caller, call.id, str(tmp_path / "call.wav"))
    await both_talk(caller, call, called, other, 0.3)
    await SessionControl.stop(caller)
    rate, channels = read_wav(recording.path)
    assert await recording.stop() == channels.shape[1] / rate > 0.3
    # It can be started again, and files too.
    await SessionControl.start(caller)
    call = await systems.answered(caller, called)
    again = await MediaControl.record(caller, call.id, str(tmp_path / "call.wav"))
    seconds = await again.stop()
    rate, channels = read_wav(again.path)
    assert seconds == channels.shape[1] / rate


async def test_a_bridged_call_is_recorded_from_either_leg(systems, tmp_path):
    bob, carol = Recorder(), Recorder()
    middle = await systems.start("middle")
    calls = []
    for name, handler in (("bob", bob), ("carol", carol)):
        far = await systems.start(name, handler)
        calls.append((await systems.answered(middle, far), far, (await handler.wait("established"))[0]))
    (first, bobs, at_bob), (second, carols, at_carol) = calls
    await middle.bridge_sessions(first.id, second.id)
    recording = await MediaControl.record(middle, first.id, str(tmp_path / "call.wav"), stereo=True)
    await asyncio.gather(
        MediaControl.play(bobs, at_bob.id, sine(1000, 1.0, 8000), sample_rate=8000),
        MediaControl.play(carols, at_carol.id, sine(400, 1.0, 8000), sample_rate=8000),
    )
    await recording.stop()
    rate, (left, right) = read_wav(recording.path)
    window = slice(rate // 3, rate * 2 // 3)
    assert level(left[window], rate, 1000) > 5000 and level(left[window], rate, 400) < 100
    assert level(right[window], rate, 400) > 5000 and level(right[window], rate, 1000) < 100


async def test_paths_that_cannot_be_written(systems, tmp_path):
    caller, call, called, _ = await connected(systems)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (tmp_path / "no" / "such.wav", tmp_path, fifo, "/dev/full"):
        with pytest.raises(MediaError, match=str(path)):
            await MediaControl.record(caller, call.id, str(path))
    with pytest.raises(ValueError, match="NUL"):
        await MediaControl.record(caller, call.id, "a\0b")
    with pytest.raises(TypeError):
        await MediaControl.record(caller, call.id, None)
    beside = await systems.answered(caller, called)
    first = await MediaControl.record(caller, call.id, str(tmp_path / "one.wav"))
    with pytest.raises(MediaError, match="already"):
        await MediaControl.record(caller, call.id, str(tmp_path / "two.wav"))
    with pytest.raises(MediaError, match="already"):
        await MediaControl.record(caller, beside.id, str(tmp_path / "one.wav"))
    await first.stop()
    second = await MediaControl.record(caller, call.id, str(tmp_path / "two.wav"))
    await second.stop()


async def test_calls_that_cannot_be_recorded_leave_the_disk_alone(systems, tmp_path):
    precious = tmp_path / "precious.wav"
    precious.write_text("precious")
    bob = Recorder(CallDecision.Accept(EXTERNAL))
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.answered(caller, called)
    other = (await bob.wait("established"))[0]
    with pytest.raises(MediaError, match="external"):
        await MediaControl.record(called, other.id, str(precious))
    with pytest.raises(LookupError):
        await MediaControl.record(called, SessionId(), str(tmp_path / "new.wav"))
    await call.hangup()
    with pytest.raises(InvalidState):
        await MediaControl.record(caller, call.id, str(precious))
    await until(lambda: not (tmp_path / "new.wav").exists())
    assert precious.read_text() == "precious"


FULL_DISK = """
import asyncio, resource, sys
import numpy as np
from ringback import *

class Bob(AutoAnswerHandler):
    pass

async def main(path):
    def build(name):
        builder = SessionManagerBuilder().with_local_address(f"sip:{name}@127.0.0.1").with_sip_port(0)
        # 8 kHz: the limit below is 1.25 s of it.
        return builder.with_handler(Bob()).with_codecs("PCMU").build()
    async with await build("bob") as bob, await build("alice") as alice:
        call = await SessionControl.create_outgoing_call(alice, alice.local_address, bob.local_address)
        await call.wait_for_answer(5)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        recording = await MediaControl.record(alice, call.id, path)
        while recording.duration < 2.5:
            await asyncio.sleep(0.05)
            try:
                recording._check()
            except MediaError:
                break
        assert call.state == "active", call.state
        for _ in range(2):
            try:
                await recording.stop()
            except MediaError as error:
                print("error:", error, flush=True)
            else:
                raise AssertionError("no error")
        again = await MediaControl.record(alice, call.id, path + "2")
        await again.stop()
        await call.hangup()

asyncio.run(main(sys.argv[1]))
"""

KILLED = """
import asyncio, os, sys
from ringback import *

async def main(path):
    def build(name):
        builder = SessionManagerBuilder().with_local_address(f"sip:{name}@127.0.0.1").with_sip_port(0)
        return builder.with_handler(AutoAnswerHandler()).build()
    async with await build("bob") as bob, await build("alice") as alice:
        call = await SessionControl.create_outgoing_call(alice, alice.local_address, bob.local_address)
        await call.wait_for_answer(5)
        recording = await MediaControl.record(alice, call.id, path, stereo=True)
        tone = asyncio.create_task(MediaControl.play_tone(alice, call.id, [500.0], duration=60))
        while recording.duration < 3:
            await asyncio.sleep(0.05)
        print("ready", flush=True)
        await asyncio.sleep(60)

asyncio.run(main(sys.argv[1]))
"""


async def run(program, path):
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


async def test_a_full_disk_ends_the_recording_and_not_the_call(tmp_path):
    path = tmp_path / "full.wav"
    process = await run(FULL_DISK, str(path))
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, err.decode()
    assert out.decode().count("error: recording to") == 2
    _, channels = read_wav(path)
    assert channels.shape[1] * 2 == 20_000 - 44


async def test_a_killed_program_leaves_a_file_that_can_be_played(tmp_path):
    path = tmp_path / "killed.wav"
    process = await run(KILLED, str(path))
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"ready\n"
    process.send_signal(signal.SIGKILL)
    await process.wait()
    rate, (_, right) = read_wav(path)
    assert len(right) / rate > 1.5
    assert abs(strongest(right, rate) - 500) < 10
