"""A call as a context manager: however the block is left, the call is ended.

python session_guard.py sip:alice@192.0.2.1
python session_guard.py --self-test
"""

import asyncio
import sys

from ringback import (
    AutoAnswerHandler,
    CallState,
    MediaControl,
    SessionControl,
    SessionCoordinator,
    SessionManagerBuilder,
)


async def beep(coordinator: SessionCoordinator, target: str) -> None:
    """Calls, beeps once, hangs up; also when something in between raises or the task is cancelled."""
    async with await SessionControl.create_outgoing_call(coordinator, coordinator.local_address, target) as call:
        await call.wait_for_answer(30)
        await MediaControl.play_tone(coordinator, call.id, [1000.0], duration=0.2)


async def main(target: str) -> None:
    async with await SessionManagerBuilder().build() as coordinator:
        await beep(coordinator, target)


async def self_test() -> None:
    def builder(name: str) -> SessionManagerBuilder:
        return SessionManagerBuilder().with_local_address(f"sip:{name}@127.0.0.1").with_sip_port(0)

    async with (
        await builder("bob").with_handler(AutoAnswerHandler()).build() as bob,
        await builder("alice").build() as alice,
    ):
        await beep(alice, bob.local_address)
        assert await SessionControl.list_active_sessions(alice) == []

        call = await SessionControl.create_outgoing_call(alice, alice.local_address, bob.local_address)
        try:
            async with call:
                await call.wait_for_answer(5)
                raise RuntimeError("the program failed in the middle of a call")
        except RuntimeError:
            pass
        assert call.state is CallState.TERMINATED and call.end_reason == "hangup", (call.state, call.end_reason)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    asyncio.run(self_test() if sys.argv[1] == "--self-test" else main(sys.argv[1]))
