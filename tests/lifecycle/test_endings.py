"""Ways a program can end or lose its coordinators: none may hang, crash or leave a socket behind."""

import signal

import pytest
from programs import run


async def test_the_interpreter_exits_with_live_calls() -> None:
    ending = await run("""
        async def main():
            global kept
            kept = await connected()
            print("answered")
        asyncio.run(main())
        print("left the loop")
    """)
    assert (ending.code, ending.out.splitlines()) == (0, ["answered", "left the loop"]), ending


async def test_sys_exit_inside_the_loop() -> None:
    ending = await run("""
        async def main():
            kept = await connected()
            sys.exit(7)
        asyncio.run(main())
    """)
    assert ending.code == 7, ending


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_while_calls_are_up(number: int) -> None:
    ending = await run(
        """
        async def main():
            kept = await connected()
            print("answered", flush=True)
            await asyncio.Event().wait()
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted")
        """,
        signal_after=("answered", number),
    )
    if number == signal.SIGINT:
        assert (ending.code, ending.out.splitlines()[-1]) == (0, "interrupted"), ending
    else:
        assert ending.code == -signal.SIGTERM, ending


async def test_ctrl_c_inside_async_with_stops_the_system() -> None:
    ending = await run(
        """
        class Report(CallHandler):
            def on_call_ended(self, call, reason): print("ended:", reason)
        async def main():
            async with await builder("bob", AutoAnswerHandler()).build() as bob, await builder("alice", Report()).build() as alice:
                call = await SessionControl.create_outgoing_call(alice, alice.local_address, bob.local_address)
                await call.wait_for_answer(10)
                print("answered", flush=True)
                await asyncio.Event().wait()
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted")
        """,
        signal_after=("answered", signal.SIGINT),
    )
    assert ending.code == 0 and "ended: shutdown" in ending.out and ending.out.splitlines()[-1] == "interrupted", ending


async def test_a_forked_child_neither_hangs_nor_ends_its_parents_calls() -> None:
    ending = await run("""
        warnings.simplefilter("ignore", DeprecationWarning)
        async def main():
            alice, bob, call = await connected()
            child = os.fork()
            if child == 0:
                try:
                    asyncio.events._set_running_loop(None)
                    async def use():
                        try:
                            await SessionControl.create_outgoing_call(alice, alice.local_address, bob.local_address)
                        except SessionError as error:
                            print("child:", type(error).__name__, flush=True)
                    try:
                        loop = asyncio.new_event_loop()
                        loop.run_until_complete(asyncio.wait_for(use(), 5))
                    finally:
                        gc.collect()
                finally:
                    os._exit(0)
            while os.waitpid(child, os.WNOHANG) == (0, 0):
                await asyncio.sleep(0.02)
            assert call.state is CallState.ACTIVE
            await call.hangup()
            print("parent:", await call.wait_ended())
            await SessionControl.stop(alice)
            await SessionControl.stop(bob)
        asyncio.run(main())
    """)
    assert (ending.code, sorted(ending.out.splitlines())) == (0, ["child: NotRunningError", "parent: hangup"]), ending


async def test_multiprocessing_fork_with_a_running_system() -> None:
    ending = await run("""
        warnings.simplefilter("ignore", DeprecationWarning)
        import multiprocessing
        def work(n): return n * n
        async def main():
            alice, bob, call = await connected()
            context = multiprocessing.get_context("fork")
            def pool():
                with context.Pool(2) as p: return p.map(work, range(5))
            print(await asyncio.to_thread(pool))
            assert call.state is CallState.ACTIVE
            await SessionControl.stop(alice)
            await SessionControl.stop(bob)
        asyncio.run(main())
    """)
    assert (ending.code, ending.out.strip()) == (0, "[0, 1, 4, 9, 16]"), ending


async def test_collected_coordinators_give_their_ports_back() -> None:
    ending = await run("""
        warnings.simplefilter("ignore", ResourceWarning)
        def ports(): return len(os.listdir("/proc/self/fd"))
        async def main():
            await builder("warm").build()
            alice, bob, call = await connected()
            await SessionControl.stop(alice); await SessionControl.stop(bob)
            del alice, bob, call
            gc.collect()
            before, threads = ports(), len(os.listdir("/proc/self/task"))
            for _ in range(20):
                unstarted = await builder("unstarted").build()
                kept = await connected()
                del unstarted, kept
                gc.collect()
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                gc.collect()
                await asyncio.sleep(0.05)
                if ports() <= before + 2 and len(os.listdir("/proc/self/task")) <= threads + 2:
                    break
            print(ports() <= before + 2, len(os.listdir("/proc/self/task")) <= threads + 2)
        asyncio.run(main())
    """)
    assert (ending.code, ending.out.strip()) == (0, "True True"), ending


async def test_the_loop_is_closed_under_a_running_system() -> None:
    ending = await run("""
        loop = asyncio.new_event_loop()
        kept = loop.run_until_complete(connected())
        loop.close()
        print("closed")
        async def again():
            alice, bob, call = await connected()
            await SessionControl.stop(alice); await SessionControl.stop(bob)
            print("another loop works")
        asyncio.run(again())
        del kept
        gc.collect()
    """)
    assert (ending.code, ending.out.splitlines()) == (0, ["closed", "another loop works"]), ending
