"""A thousand systems built, started, called through and stopped: file descriptors, threads and memory return to where they were."""

import pytest
from programs import run


@pytest.mark.timeout(300)
async def test_a_thousand_rounds_leak_nothing() -> None:
    ending = await run(
        """
        def resident():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

        def measure():
            gc.collect()
            return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), resident()

        async def one_round(handler):
            async with await builder("bob", handler).build() as bob, await builder("alice").build() as alice:
                call = await SessionControl.create_outgoing_call(alice, alice.local_address, bob.local_address)
                await call.wait_for_answer(10)

        class Answer(CallHandler):
            async def on_incoming_call(self, call): return CallDecision.Accept()

        async def main():
            for _ in range(100):
                await one_round(Answer())
            measured = [measure()]
            for _ in range(5):
                for _ in range(200):
                    await one_round(Answer())
                measured.append(measure())
            print(measured)
            before, after = measured[0], measured[-1]
            assert after[0] <= before[0] + 2, "file descriptors"
            assert after[1] <= before[1] + 1, "threads"
            # 10 kB a round would be 10 MB: far above what the allocator keeps, far below any real leak of a system.
            assert after[2] - before[2] < 10_000_000, "memory"
            # And a leak goes on: 5 kB a round would be a megabyte in 200.
            grown = sorted(later[2] - earlier[2] for earlier, later in zip(measured, measured[1:]))
            assert grown[2] < 1_000_000, "memory, again and again"
        asyncio.run(main())
        """,
        timeout=280,
        # Of glibc: a thread that finds the others' arenas in use makes one of its own, which takes megabytes and stays.
        MALLOC_ARENA_MAX="1",
    )
    assert ending.code == 0, ending
