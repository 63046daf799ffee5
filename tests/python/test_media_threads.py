"""Calls on several media threads do whatever calls on one do."""

import asyncio
import os
import wave

import numpy as np
import pytest
from support import Recorder, until
from support.relay import Relay
from support.tones import listen, sine, strongest

from ringback import CallHandler, CallState, MediaControl, SessionControl, SessionManagerBuilder

RATE = 8000
# So many the first thread has before the second gets one.
FIRST = 8


class Willing(Recorder):
    def on_transfer_request(self, call, target):
        return True


def threads(name):
    """The process's threads of a name, as directories of procfs."""
    tasks = [f"/proc/self/task/{task}" for task in os.listdir("/proc/self/task")]
    found = []
    for task in tasks:
        try:
            with open(f"{task}/comm") as comm:
                found += [task] if comm.read().strip() == name else []
        except FileNotFoundError:
            pass
    return found


def sleeps(task):
    """How often a thread has gone to sleep."""
    with open(f"{task}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt_switches"))


class Setting:
    """A server with two media threads, and calls to it: the first eight on its first thread, the others on the second."""

    def __init__(self, systems):
        self.systems = systems
        self.handler = Willing()
        self.saying = []

    async def start(self, count, configure=lambda builder: None):
        def configured(builder):
            builder.with_media_threads(2)
            configure(builder)

        self.server = await self.systems.start("server", self.handler, configured)
        self.caller = await self.systems.start("caller", None, lambda builder: builder.with_media_threads(1))
        self.calls, self.theirs = [], []
        for n in range(count):
            self.calls.append(await self.systems.answered(self.caller, self.server))
            self.theirs.append((await self.handler.wait("established", n + 1))[0])
        return self

    @property
    def second_thread(self):
        (task,) = threads("rb-media-1")
        return task

    async def listen(self, n, seconds=0.5):
        stream = await MediaControl.open_audio(self.caller, self.calls[n].id, sample_rate=RATE)
        try:
            return await asyncio.wait_for(listen(stream, seconds), 10)
        finally:
            await stream.close()

    async def say(self, n, hz, seconds=30.0):
        """A tone, until `hush`."""
        tone = sine(hz, seconds, RATE, peak=3000)
        task = asyncio.ensure_future(MediaControl.play(self.caller, self.calls[n].id, tone, sample_rate=RATE))
        self.saying.append((n, task))
        await asyncio.sleep(0)

    async def hush(self):
        for n, task in self.saying:
            await MediaControl.stop_playing(self.caller, self.calls[n].id)
            await task


def levels(samples, pitches):
    time = np.arange(len(samples)) / RATE
    return [2 * abs(np.mean(samples * np.exp(-2j * np.pi * pitch * time))) / 3000 for pitch in pitches]


async def test_two_calls_of_two_threads_are_bridged(systems):
    setting = await Setting(systems).start(FIRST + 1)
    task = setting.second_thread
    before = sleeps(task)
    await asyncio.sleep(0.2)
    assert sleeps(task) > before, "the last call is on it"
    first, last = setting.theirs[0], setting.theirs[FIRST]
    await setting.say(0, 500.0)
    await setting.say(FIRST, 900.0)
    bridge = await setting.server.bridge_sessions(first.id, last.id)
    assert abs(strongest(await setting.listen(0), RATE) - 900) < 10
    assert abs(strongest(await setting.listen(FIRST), RATE) - 500) < 10
    await setting.server.destroy_bridge(bridge)
    statistics = await MediaControl.get_media_statistics(setting.server, last.id)
    assert statistics.packets_received > 20 and statistics.packets_sent > 20
    await setting.hush()


async def test_a_thread_without_calls_sleeps(systems):
    setting = await Setting(systems).start(FIRST)
    task = setting.second_thread
    before = sleeps(task)
    await asyncio.sleep(0.5)
    assert sleeps(task) == before
    call = await systems.answered(setting.caller, setting.server)
    await until(lambda: sleeps(task) > before + 5)
    await SessionControl.terminate_session(setting.caller, call.id)
    await asyncio.sleep(0.2)
    before = sleeps(task)
    await asyncio.sleep(0.5)
    assert sleeps(task) == before


async def test_a_conference_whose_members_were_on_different_threads(systems):
    setting = await Setting(systems).start(FIRST + 2)
    members, pitches = [0, 3, FIRST, FIRST + 1], [500.0, 850.0, 1300.0, 1750.0]
    for n, hz in zip(members, pitches, strict=True):
        await setting.say(n, hz)
    bridge = await setting.server.create_bridge()
    for n in members:
        await setting.server.add_session_to_bridge(bridge, setting.theirs[n].id)
    for index, n in enumerate(members):
        for _ in range(20):
            heard = levels(await setting.listen(n, 0.4), pitches)
            if all((level > 0.6) == (other != index) for other, level in enumerate(heard)):
                break
        else:
            raise AssertionError(f"{n} hears {heard}")
    # One of them is bridged with a call that was never in the conference, the conference goes on.
    await setting.server.remove_session_from_bridge(bridge, setting.theirs[FIRST].id)
    await setting.say(5, 2300.0)
    await setting.server.bridge_sessions(setting.theirs[FIRST].id, setting.theirs[5].id)
    assert abs(strongest(await setting.listen(FIRST), RATE) - 2300) < 10
    for _ in range(20):
        heard = levels(await setting.listen(0, 0.4), pitches)
        if heard[1] > 0.6 and heard[3] > 0.6 and heard[2] < 0.1:
            break
    else:
        raise AssertionError(f"the conference hears {heard}")
    await setting.hush()


async def test_an_attended_transfer_between_threads(systems):
    setting = await Setting(systems).start(FIRST + 1)
    recorder = Willing()
    friend = await systems.start("friend", recorder)
    await setting.server.bridge_sessions(setting.theirs[0].id, setting.theirs[FIRST].id)
    consult = await systems.answered(setting.caller, friend)
    at_friend = (await recorder.wait("established"))[0]
    # The friend gets the place of the last call.
    await SessionControl.transfer_session(setting.caller, consult.id, setting.calls[FIRST].id)
    await until(lambda: setting.calls[FIRST].state.is_final)
    assert setting.theirs[FIRST].end_reason == "replaced"
    assert setting.theirs[0].state is CallState.ACTIVE
    await until(lambda: consult.state.is_final)
    (new,) = [session for session in await SessionControl.list_active_sessions(friend) if session != at_friend.id]
    task = asyncio.ensure_future(MediaControl.play(friend, new, sine(700, 10, RATE), sample_rate=RATE))
    assert abs(strongest(await setting.listen(0), RATE) - 700) < 10
    await MediaControl.stop_playing(friend, new)
    await task


async def test_audio_batches_hold_the_calls_of_all_threads(systems):
    setting = await Setting(systems).start(FIRST + 3)
    chosen = [0, 1, FIRST, FIRST + 1, FIRST + 2]
    pitches = [450.0, 700.0, 950.0, 1200.0, 1450.0]
    for n, hz in zip(chosen, pitches, strict=True):
        await setting.say(n, hz)
    ids = [setting.theirs[n].id for n in chosen]
    taken = []
    async with setting.server.audio_batches(ids, sample_rate=RATE) as batches, asyncio.timeout(20):
        async for batch in batches:
            assert list(batch.sessions) == ids and batch.samples.shape == (len(ids), RATE // 50)
            taken.append(batch)
            if len(taken) == 40:
                # Two of them meet: the program's audio goes on.
                await setting.server.bridge_sessions(ids[0], ids[4])
            if len(taken) == 100:
                break
        assert [batch.tick for batch in taken] == list(range(100))
        for index, hz in enumerate(pitches):
            for part in (taken[20:40], taken[60:]):
                samples = np.concatenate([batch.samples[index] for batch in part])
                assert abs(strongest(samples, RATE) - hz) < 15, (index, hz)
        writing = asyncio.ensure_future(batches.write(ids, np.stack([sine(hz, 3.0, RATE) for hz in pitches[::-1]])))
        for n, hz in zip(chosen, pitches[::-1], strict=True):
            assert abs(strongest(await setting.listen(n, 0.4), RATE) - hz) < 15
        await writing
    await setting.hush()


async def test_a_recording_and_a_digit_go_on_while_calls_move(systems, tmp_path):
    setting = await Setting(systems).start(FIRST + 1)
    first, last = setting.theirs[0], setting.theirs[FIRST]
    # Two of one pitch could be silence together.
    await setting.say(0, 600.0)
    await setting.say(FIRST, 950.0)
    recordings = [
        await MediaControl.record(setting.server, call.id, str(tmp_path / f"{n}.wav"))
        for n, call in enumerate((first, last))
    ]
    await asyncio.sleep(0.5)
    digits = asyncio.ensure_future(SessionControl.send_dtmf(setting.server, last.id, "1#"))
    for _ in range(5):
        # Whichever of them it is that moves.
        bridge = await setting.server.bridge_sessions(first.id, last.id)
        await asyncio.sleep(0.1)
        await setting.server.destroy_bridge(bridge)
    await digits
    await asyncio.sleep(0.5)
    for recording in recordings:
        seconds = await recording.stop()
        with wave.open(recording.path, "rb") as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        assert 1.3 < seconds < 10
        heard = np.flatnonzero(np.abs(samples) > 500)
        gaps = np.diff(heard)
        assert gaps.max() < RATE * 0.1, f"{gaps.max() / RATE} s of nothing"
    await setting.hush()


async def test_media_by_a_relay_goes_on_where_calls_move(systems):
    async with Relay() as relay:

        def by_relay(builder):
            builder.with_turn_server(relay.address, username="alice", password="secret").with_codecs("PCMU")

        setting = await Setting(systems).start(FIRST + 1, by_relay)
        first, last = setting.theirs[0], setting.theirs[FIRST]
        await setting.say(0, 500.0)
        await setting.say(FIRST, 900.0)
        bridge = await setting.server.bridge_sessions(first.id, last.id)
        for n, hz in ((0, 900), (FIRST, 500)):
            assert abs(strongest(await setting.listen(n), RATE) - hz) < 10
        # Into a room, with one more from the first thread.
        await setting.server.destroy_bridge(bridge)
        room = await setting.server.create_bridge()
        for call in (last, first, setting.theirs[1]):
            await setting.server.add_session_to_bridge(room, call.id)
        assert abs(strongest(await setting.listen(FIRST), RATE) - 500) < 10
        await setting.hush()
        await asyncio.gather(*(SessionControl.terminate_session(setting.caller, call.id) for call in setting.calls))
        await until(lambda: not relay.allocations, what="allocations that are given back")


@pytest.mark.parametrize("count", [None, 1, 5])
async def test_so_many_threads_as_were_asked_for(systems, count):
    await systems.start("one", CallHandler(), lambda builder: builder.with_media_threads(count))
    usual = os.process_cpu_count() if hasattr(os, "process_cpu_count") else len(os.sched_getaffinity(0))
    # A limit on CPU time makes them fewer, too.
    expected = [list(range(count))] if count else [list(range(n)) for n in range(1, usual + 1)]
    # Each takes its name when it begins to run.
    await until(lambda: [n for n in range(65) if threads(f"rb-media-{n}")] in expected)


def test_the_number_is_checked():
    with pytest.raises(ValueError, match="count must be 1 to 64, not 0"):
        SessionManagerBuilder().with_media_threads(0)
