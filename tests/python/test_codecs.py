"""Calls with every codec, and between legs that have none in common."""

import asyncio

import pytest
from support import Recorder
from support.tones import listen, strongest

from ringback import CallDecision, MediaControl, SessionManagerBuilder

RATES = {
    "opus": 48000,
    "G722": 16000,
    "PCMU": 8000,
    "PCMA": 8000,
    "L16": 16000,
    "L16/8000": 8000,
    "L16/24000": 24000,
    "L16/48000": 48000,
}


async def hears(hearer, hearing, speaker, speaking, frequency):
    """What is played at one end is heard at the other, at its frequency."""
    stream = await MediaControl.open_audio(hearer, hearing, sample_rate=16000)
    tone = asyncio.create_task(MediaControl.play_tone(speaker, speaking, [frequency], duration=10))
    try:
        # What is not the tone yet may come first.
        for _ in range(20):
            if abs(strongest(await asyncio.wait_for(listen(stream, 0.3), 5), 16000) - frequency) < 15:
                break
        else:
            pytest.fail(f"{frequency} Hz are not heard")
    finally:
        tone.cancel()
        await asyncio.gather(tone, return_exceptions=True)
        await stream.close()


@pytest.mark.parametrize("codec", RATES)
async def test_a_call_with_each_codec(systems, codec):
    bob = Recorder()
    called = await systems.start("bob", bob, lambda builder: builder.with_codecs(codec))
    caller = await systems.start("alice", None, lambda builder: builder.with_codecs(*RATES))
    call = await systems.answered(caller, called)
    other = (await bob.wait("established"))[0]
    info = await MediaControl.get_media_info(caller, call.id)
    assert (info.codec, info.sample_rate) == (codec.partition("/")[0], RATES[codec])
    await hears(called, other.id, caller, call.id, 1100)
    await hears(caller, call.id, called, other.id, 700)


@pytest.mark.parametrize(
    ("near", "far"), [("PCMU", "opus"), ("G722", "PCMA"), ("opus", "L16"), ("L16/48000", "L16/8000")]
)
async def test_the_legs_of_a_forwarded_call_are_transcoded(systems, near, far):
    desk = Recorder()
    target = await systems.start("desk", desk, lambda builder: builder.with_codecs(far))
    switch = await systems.start(
        "office", Recorder(CallDecision.Forward(target.local_address)), lambda builder: builder.with_codecs(near, far)
    )
    caller = await systems.start("alice", None, lambda builder: builder.with_codecs(near))
    call = await systems.answered(caller, switch)
    called = (await desk.wait("established"))[0]
    for end, id, codec in ((caller, call.id, near), (target, called.id, far)):
        info = await MediaControl.get_media_info(end, id)
        assert (info.codec, info.sample_rate) == (codec.partition("/")[0], RATES[codec])
    await hears(target, called.id, caller, call.id, 900)
    await hears(caller, call.id, target, called.id, 1300)


async def test_opus_is_sent_at_the_bit_rate_that_is_set(systems):
    octets = {}
    for bitrate in (8_000, 64_000):
        bob = Recorder()
        called = await systems.start("bob", bob)
        caller = await systems.start(
            "alice", None, lambda builder, bitrate=bitrate: builder.with_opus(bitrate=bitrate, complexity=2)
        )
        call = await systems.answered(caller, called)
        await MediaControl.play_tone(caller, call.id, [300.0, 812.0, 1733.0, 2911.0], duration=1)
        statistics = await MediaControl.get_media_statistics(caller, call.id)
        octets[bitrate] = statistics.bytes_sent
    assert 2 * octets[8_000] < octets[64_000]


@pytest.mark.parametrize("saving", ["near", "far", None])
async def test_silence_of_opus_is_hardly_sent_where_either_side_wants_that(systems, saving):
    """RFC 7587 §3.1.3, §6.1."""
    bob = Recorder()
    called = await systems.start("bob", bob, lambda builder: builder.with_opus(dtx=saving == "far"))
    caller = await systems.start("alice", None, lambda builder: builder.with_opus(dtx=saving == "near"))
    call = await systems.answered(caller, called)
    other = (await bob.wait("established"))[0]
    offer = (await MediaControl.get_media_info(caller, call.id)).local_sdp
    assert ("usedtx=1" in offer) is (saving == "near")
    await asyncio.sleep(1)
    before = (await MediaControl.get_media_statistics(caller, call.id)).packets_sent
    await asyncio.sleep(2)
    sent = (await MediaControl.get_media_statistics(caller, call.id)).packets_sent - before
    assert sent <= 8 if saving else sent >= 60
    await hears(called, other.id, caller, call.id, 900)


def test_names_have_no_case_and_the_default_prefers_wideband():
    builder = SessionManagerBuilder()
    assert builder._codecs == ["opus", "G722", "PCMU", "PCMA"]
    assert builder.with_codecs("OPUS", "g722", "l16")._codecs == ["opus", "G722", "L16"]


def test_linear_audio_has_a_rate_in_its_name_and_16_khz_without():
    builder = SessionManagerBuilder()
    assert builder.with_codecs("l16/48000", "L16/16000", "L16/8000")._codecs == ["L16/48000", "L16", "L16/8000"]
    with pytest.raises(ValueError, match=r"no codec 'L16/44100'; there are .*L16/48000"):
        builder.with_codecs("L16/44100")
    with pytest.raises(ValueError, match="named twice"):
        builder.with_codecs("L16", "L16/16000")
