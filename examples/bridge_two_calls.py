"""Call two people and connect them ("click to dial").

python bridge_two_calls.py sip:alice@192.0.2.1 sip:bob@192.0.2.2
python bridge_two_calls.py --self-test
"""

import asyncio
import sys

from ringback import (
    AutoAnswerHandler,
    CallHandler,
    CallSession,
    MediaControl,
    SessionControl,
    SessionCoordinator,
    SessionManagerBuilder,
)


async def connect(dialler: SessionCoordinator, first: str, second: str) -> tuple[CallSession, CallSession]:
    """Both answer, then hear each other. Whoever does not answer in 30 s ends the attempt for both."""
    one = await SessionControl.create_outgoing_call(dialler, dialler.local_address, first)
    try:
        await one.wait_for_answer(30)
        two = await SessionControl.create_outgoing_call(dialler, dialler.local_address, second)
        try:
            await two.wait_for_answer(30)
            await dialler.bridge_sessions(one.id, two.id)
        except BaseException:
            await two.hangup()
            raise
    except BaseException:
        await one.hangup()
        raise
    return one, two


async def main(first: str, second: str) -> None:
    async with await SessionManagerBuilder().build() as dialler:
        one, two = await connect(dialler, first, second)
        print("Connected.")
        await one.wait_ended()
        await two.hangup()


class KeypadListener(CallHandler):
    """Answers, and remembers the keys that were pressed at the far end."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[str] = asyncio.Queue()

    async def on_dtmf(self, call: CallSession, digit: str, duration_ms: int) -> None:
        await self.heard.put(digit)


class Alice(AutoAnswerHandler, KeypadListener):
    pass


async def self_test() -> None:
    def builder(name: str) -> SessionManagerBuilder:
        return SessionManagerBuilder().with_local_address(f"sip:{name}@127.0.0.1").with_sip_port(0)

    alice_handler, bob_handler = Alice(), Alice()
    alice = await builder("alice").with_handler(alice_handler).build()
    bob = await builder("bob").with_handler(bob_handler).build()
    dialler = await builder("dialler").build()
    async with alice, bob, dialler:
        await connect(dialler, alice.local_address, bob.local_address)
        # What Alice presses goes through the bridge and is heard by Bob, and the other way round.
        (alice_leg,) = await SessionControl.list_active_sessions(alice)
        (bob_leg,) = await SessionControl.list_active_sessions(bob)
        await SessionControl.send_dtmf(alice, alice_leg, "7")
        assert await asyncio.wait_for(bob_handler.heard.get(), 5) == "7"
        await SessionControl.send_dtmf(bob, bob_leg, "#")
        assert await asyncio.wait_for(alice_handler.heard.get(), 5) == "#"
        statistics = await MediaControl.get_media_statistics(bob, bob_leg)
        assert statistics is not None and statistics.packets_received > 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        asyncio.run(self_test())
    elif len(sys.argv) == 3:
        try:
            asyncio.run(main(sys.argv[1], sys.argv[2]))
        except KeyboardInterrupt:
            print("Bye.")
    else:
        sys.exit(__doc__)
