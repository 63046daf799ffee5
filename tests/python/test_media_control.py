import asyncio
from datetime import timedelta

import pytest
from support import Recorder, media_ports, until
from support.tones import listen, sine, strongest

from ringback import (
    CallDecision,
    CallRejected,
    InvalidState,
    MediaControl,
    MediaError,
    MediaStatistics,
    SdpError,
    SessionControl,
    SessionId,
    SessionNotFound,
)  # fmt: skip


async def connected(systems):
    bob, alice = Recorder(), Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice", alice)
    call = await systems.answered(caller, called)
    return alice, caller, call, called, (await bob.wait("established"))[0]


async def test_what_was_negotiated(systems):
    alice, caller, call, called, other = await connected(systems)
    info = await MediaControl.get_media_info(caller, call.id)
    (_, local_sdp, remote_sdp) = await alice.wait("established")
    assert (info.local_sdp, info.remote_sdp) == (local_sdp, remote_sdp)
    assert (info.codec, info.sample_rate) == ("opus", 48000)
    offered = "RTP/AVP 96 9 0 8 101 102"
    assert offered in local_sdp and "a=rtpmap:96 opus/48000/2" in local_sdp and "a=rtpmap:9 G722/8000" in local_sdp
    theirs = await MediaControl.get_media_info(called, other.id)
    assert (info.local_address, info.remote_address) == (theirs.remote_address, theirs.local_address)
    assert info.local_address.startswith("127.0.0.1:") and int(info.local_address.rpartition(":")[2]) % 2 == 0


async def test_codecs_are_offered_by_preference(systems):
    called = await systems.start("bob", Recorder(), lambda builder: builder.with_codecs("PCMA"))
    caller = await systems.start("alice", None, lambda builder: builder.with_codecs("PCMA", "PCMU"))
    call = await systems.answered(caller, called)
    info = await MediaControl.get_media_info(caller, call.id)
    assert info.codec == "PCMA" and "RTP/AVP 8 0 101" in info.local_sdp and "RTP/AVP 8 101" in info.remote_sdp


async def test_nothing_in_common_is_488(systems):
    called = await systems.start("bob", Recorder(), lambda builder: builder.with_codecs("PCMA"))
    caller = await systems.start("alice", None, lambda builder: builder.with_codecs("PCMU"))
    with pytest.raises(CallRejected) as caught:
        await (await systems.call(caller, called)).wait_for_answer(5)
    assert caught.value.status == 488


async def test_media_ports_come_from_the_range(systems):
    low, high = media_ports(5)
    called = await systems.start("bob", Recorder(), lambda builder: builder.with_media_ports(low, high))
    caller = await systems.start("alice")
    calls = [await systems.answered(caller, called) for _ in range(5)]
    ports = [
        int((await MediaControl.get_media_info(caller, call.id)).remote_address.rpartition(":")[2]) for call in calls
    ]
    assert sorted(ports) == [*range(low, high, 2)]


async def test_a_public_address_is_what_sdp_says(systems):
    called = await systems.start("bob", Recorder(), lambda builder: builder.with_public_address("203.0.113.9"))
    caller = await systems.start("alice")
    call = await systems.answered(caller, called)
    assert "c=IN IP4 203.0.113.9" in (await MediaControl.get_media_info(caller, call.id)).remote_sdp


async def test_statistics(systems):
    called = await systems.start("bob", Recorder())
    caller = await systems.start("alice", None, lambda builder: builder.with_codecs("PCMU"))
    call = await systems.answered(caller, called)

    async def received():
        statistics = await MediaControl.get_media_statistics(caller, call.id)
        return statistics if statistics.packets_received > 50 else None

    async with asyncio.timeout(10):
        while (statistics := await received()) is None:
            await asyncio.sleep(0.05)
    assert isinstance(statistics, MediaStatistics) and statistics.codec == "PCMU"
    assert statistics.packets_sent > 40 and statistics.bytes_sent == 160 * statistics.packets_sent
    assert statistics.bytes_received == 160 * statistics.packets_received
    assert (statistics.packets_lost, statistics.packets_discarded) == (0, 0)
    quality = statistics.quality_metrics
    assert quality.packet_loss_percent == 0 and 0 <= quality.jitter_ms < 20
    assert quality.mos_score is None or 4.0 < quality.mos_score < 4.5
    assert quality.round_trip_ms is None or quality.round_trip_ms < 1000


async def test_monitoring(systems):
    alice, caller, call, _, _ = await connected(systems)
    await MediaControl.start_statistics_monitoring(caller, call.id, timedelta(milliseconds=100))
    session, statistics = await alice.wait("quality", 3)
    assert session == call and isinstance(statistics, MediaStatistics)
    await MediaControl.stop_statistics_monitoring(caller, call.id)
    await asyncio.sleep(0.15)
    count = len(alice.of("quality"))
    await asyncio.sleep(0.3)
    assert len(alice.of("quality")) == count
    for wrong in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="interval"):
            await MediaControl.start_statistics_monitoring(caller, call.id, wrong)


async def test_a_tone_is_played_and_awaited(systems):
    _, caller, call, called, other = await connected(systems)
    hear = await MediaControl.open_audio(called, other.id, sample_rate=8000)
    loop = asyncio.get_running_loop()
    before = loop.time()
    playing = asyncio.create_task(MediaControl.play_tone(caller, call.id, [440.0], duration=timedelta(seconds=0.5)))
    heard = await asyncio.wait_for(listen(hear, 0.4), 5)
    assert abs(strongest(heard, 8000) - 440) < 10
    await asyncio.wait_for(playing, 5)
    assert 0.4 < loop.time() - before < 1.5


async def test_stop_playing_ends_the_wait(systems):
    _, caller, call, _, _ = await connected(systems)
    playing = asyncio.create_task(MediaControl.play_tone(caller, call.id, [440, 480], duration=60, level_dbm0=-13))
    await asyncio.sleep(0.1)
    assert not playing.done()
    await MediaControl.stop_playing(caller, call.id)
    await asyncio.wait_for(playing, 5)
    await MediaControl.stop_playing(caller, call.id)


async def test_cancelling_the_wait_stops_the_tone(systems):
    _, caller, call, called, other = await connected(systems)
    playing = asyncio.create_task(MediaControl.play_tone(caller, call.id, [440.0], duration=60))
    await asyncio.sleep(0.1)
    playing.cancel()
    await asyncio.wait({playing})
    hear = await MediaControl.open_audio(called, other.id, sample_rate=8000)
    async with asyncio.timeout(10):
        silent = 0
        async for frame in hear:
            silent = silent + 1 if abs(frame).max() < 100 else 0
            if silent > 20:
                break


async def test_cancelling_a_tone_leaves_the_one_that_has_replaced_it_alone(systems):
    _, caller, call, _, _ = await connected(systems)
    first = asyncio.create_task(MediaControl.play_tone(caller, call.id, [440.0], duration=60))
    await asyncio.sleep(0.1)
    for _ in range(5):
        second = asyncio.create_task(MediaControl.play_tone(caller, call.id, [880.0], duration=60))
        await asyncio.sleep(0)
        first.cancel()
        ended, _ = await asyncio.wait({first, second}, timeout=0.3)
        assert ended == {first}
        first = second
    first.cancel()


@pytest.mark.parametrize(
    "wrong",
    [
        {"frequencies": []},
        {"frequencies": [0.0]},
        {"frequencies": [24000.0]},
        {"frequencies": [440.0], "duration": 0},
        {"frequencies": [440.0], "duration": -1},
        {"frequencies": [440.0], "level_dbm0": 20.0},
        {"frequencies": [float("nan")]},
    ],
)
async def test_wrong_tones(systems, wrong):
    _, caller, call, _, _ = await connected(systems)
    with pytest.raises(ValueError, match=r"."):
        await MediaControl.play_tone(caller, call.id, **{"duration": 1.0} | wrong)


async def test_echo(systems):
    _, caller, call, called, other = await connected(systems)
    await MediaControl.echo(called, other.id)
    stream = await MediaControl.open_audio(caller, call.id, sample_rate=8000)
    playing = asyncio.create_task(stream.write(sine(800, 2, 8000)))
    assert abs(strongest(await asyncio.wait_for(listen(stream, 0.5), 5), 8000) - 800) < 10
    await MediaControl.echo(called, other.id, False)
    playing.cancel()


async def test_muting_replaces_the_sound_by_silence(systems):
    _, caller, call, called, other = await connected(systems)
    hear = await MediaControl.open_audio(called, other.id, sample_rate=8000)
    playing = asyncio.create_task(MediaControl.play_tone(caller, call.id, [440.0], duration=60))
    await asyncio.wait_for(listen(hear, 0.1), 5)
    await SessionControl.set_audio_muted(caller, call.id, True)

    async def quiet(frames):
        silent = 0
        async for frame in hear:
            silent = silent + 1 if abs(frame).max() < 100 else 0
            if silent > frames:
                return

    await asyncio.wait_for(quiet(10), 5)
    received = (await MediaControl.get_media_statistics(called, other.id)).packets_received
    await asyncio.wait_for(quiet(10), 5)
    assert (await MediaControl.get_media_statistics(called, other.id)).packets_received > received + 5
    await SessionControl.set_audio_muted(caller, call.id, False)
    await asyncio.wait_for(listen(hear, 0.1), 5)
    playing.cancel()


async def test_transmission_can_be_stopped(systems):
    _, caller, call, called, other = await connected(systems)

    async def count():
        return (await MediaControl.get_media_statistics(called, other.id)).packets_received

    async with asyncio.timeout(5):
        while await count() < 5:
            await asyncio.sleep(0.02)
    await MediaControl.stop_audio_transmission(caller, call.id)
    await asyncio.sleep(0.1)
    stopped = await count()
    await asyncio.sleep(0.2)
    assert await count() == stopped
    await MediaControl.start_audio_transmission(caller, call.id)
    async with asyncio.timeout(5):
        while await count() < stopped + 5:
            await asyncio.sleep(0.02)


async def test_media_goes_where_it_is_told(systems, peer):
    _, caller, call, _, _ = await connected(systems)
    await MediaControl.establish_media_flow(caller, call.id, f"127.0.0.1:{peer.port}")
    async with asyncio.timeout(5):
        await peer_packet(peer)
    assert (await MediaControl.get_media_info(caller, call.id)).remote_address == f"127.0.0.1:{peer.port}"


async def peer_packet(peer):
    event = asyncio.Event()
    peer.datagram_received = lambda data, addr: event.set()
    await event.wait()


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "127.0.0.1",
        "127.0.0.1:0",
        "host:5000",
        "::1:5000",
        "0.0.0.0:4000",
        "[::1]:5000",
        "224.0.0.1:4000",
        "255.255.255.255:4000",
    ],
)
async def test_wrong_addresses(systems, wrong):
    _, caller, call, _, _ = await connected(systems)
    with pytest.raises(ValueError, match=r"."):
        await MediaControl.establish_media_flow(caller, call.id, wrong)


async def test_a_prepared_call_has_an_offer(systems):
    bob = Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await SessionControl.prepare_outgoing_call(caller, caller.local_address, called.local_address)
    offer = await MediaControl.generate_sdp_offer(caller, call.id)
    assert offer.startswith("v=0")
    await SessionControl.send_prepared_call(caller, call.id, offer + "a=x-mine:1\r\n")
    await call.wait_for_answer(5)
    assert "a=x-mine:1" in bob.incoming.sdp
    async with asyncio.timeout(5):
        while (await MediaControl.get_media_statistics(caller, call.id)).packets_received < 3:
            await asyncio.sleep(0.02)


async def test_external_media(systems, peer):
    bob = Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    sdp = f"v=0\r\no=- 7 7 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {peer.port & ~1} RTP/AVP 0\r\n"
    call = await systems.call(caller, called, sdp=sdp)
    await call.wait_for_answer(5)
    assert bob.incoming.sdp == sdp
    assert await MediaControl.get_media_statistics(caller, call.id) is None
    for operation in (
        MediaControl.open_audio(caller, call.id),
        MediaControl.play_tone(caller, call.id, [440.0], duration=1),
        MediaControl.echo(caller, call.id),
        caller.bridge_sessions(call.id, call.id),
    ):
        with pytest.raises((MediaError, ValueError, InvalidState)):
            await operation
    await call.hold()
    held = (await MediaControl.get_media_info(called, bob.incoming.id)).remote_sdp
    assert "a=sendonly" in held and "o=- 7 8 " in held
    await call.hangup()


async def test_calls_without_media(systems):
    bob = Recorder(CallDecision.Defer())
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.call(caller, called)
    assert await MediaControl.get_media_statistics(caller, call.id) is None
    with pytest.raises((InvalidState, MediaError)):
        await MediaControl.play_tone(caller, call.id, [440.0], duration=1)
    await until(lambda: bob.of("incoming"))
    with pytest.raises(InvalidState):
        await MediaControl.generate_sdp_offer(called, bob.incoming.id)
    await call.hangup()
    assert await MediaControl.get_media_info(caller, call.id) is None
    assert await MediaControl.get_media_statistics(caller, call.id) is None
    with pytest.raises(SessionNotFound):
        await MediaControl.get_media_info(caller, SessionId())
    with pytest.raises(InvalidState):
        await MediaControl.echo(caller, call.id)
    with pytest.raises((SdpError, InvalidState)):
        await MediaControl.generate_sdp_answer(called, bob.incoming.id, "nonsense")
