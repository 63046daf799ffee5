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
            before = measure()
            for _ in range(1000):
                await one_round(Answer())
            after = measure()
            print(before, after)
            assert after[0] <= before[0] + 2, "file descriptors"
            assert after[1] <= before[1] + 1, "threads"
            # 10 kB a round would be 10 MB: far above what allocators keep, far below any real leak of a system.
            assert after[2] - before[2] < 10_000_000, "memory"
        asyncio.run(main())
        """,
        timeout=280,
    )
    assert ending.code == 0, ending
