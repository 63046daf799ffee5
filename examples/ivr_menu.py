"""A voice menu: prompts that a key interrupts, a code that is asked for, music while somebody is rung, and a transfer.

1 asks for a customer number, 2 connects with an agent, 3 transfers the caller there and gets out of the way, * says it again.
Prompts are WAV files in a folder: menu.wav, number.wav, wrong.wav, music.wav; where one is missing a tone stands for it.

python ivr_menu.py --prompts ./prompts --agent sip:agents@192.0.2.20
python ivr_menu.py --self-test
"""

import argparse
import asyncio
import contextlib
from collections.abc import Awaitable
from pathlib import Path

from ringback import (
    AnswerTimeout,
    AutoAnswerHandler,
    CallFailed,
    CallHandler,
    CallRejected,
    CallSession,
    CallState,
    InvalidState,
    MediaControl,
    SessionControl,
    SessionError,
    SessionManagerBuilder,
    TransferFailed,
)

TONES = {"menu": [600.0], "number": [800.0], "wrong": [300.0], "music": [440.0, 554.0]}
TRIES = 3


class Menu(AutoAnswerHandler):
    def __init__(self, agent: str, prompts: Path | None = None) -> None:
        self.agent = agent
        self.prompts = prompts
        self.numbers: list[str] = []

    async def on_call_established(self, call: CallSession, local_sdp: str | None, remote_sdp: str | None) -> None:
        if call.peer_id is not None or call.to_uri == self.agent:
            return  # the agent's leg
        try:
            await self._menu(call)
        except SessionError as error:
            # Mostly: the caller has hung up in the middle of something.
            print(f"{call.from_uri}: {error}")
        finally:
            await call.hangup()

    async def _menu(self, call: CallSession) -> None:
        for _ in range(TRIES):
            match await self._ask(call, "menu", digits=1):
                case "1":
                    number = await self._ask(call, "number", digits=8)
                    self.numbers.append(number)
                    print(f"{call.from_uri} is customer {number}")
                case "2":
                    return await self._connect(call)
                case "3":
                    try:
                        return await call.transfer(self.agent)
                    except TransferFailed:
                        await self._prompt(call, "wrong")  # the call is as it was
                case "*":
                    pass
                case _:
                    await self._prompt(call, "wrong")

    def _prompt(self, call: CallSession, name: str, *, loop: bool = False) -> Awaitable[None]:
        path = self.prompts / f"{name}.wav" if self.prompts is not None else None
        if path is not None and path.exists():
            return MediaControl.play(call.coordinator, call.id, str(path), loop=loop)
        duration = 3600.0 if loop else 1.0
        return MediaControl.play_tone(call.coordinator, call.id, TONES[name], duration=duration)

    async def _ask(self, call: CallSession, prompt: str, *, digits: int) -> str:
        """What the caller keys in; the first key interrupts the prompt."""
        playing = asyncio.ensure_future(self._prompt(call, prompt))
        first = await MediaControl.collect_dtmf(call.coordinator, call.id, max_digits=1, timeout=10, terminator="")
        playing.cancel()
        if digits == 1 or first in ("", "#"):
            return first
        rest = await MediaControl.collect_dtmf(call.coordinator, call.id, max_digits=digits - 1, timeout=4)
        return first + rest

    async def _connect(self, call: CallSession) -> None:
        music = asyncio.ensure_future(self._prompt(call, "music", loop=True))
        leg = await SessionControl.create_outgoing_call(call.coordinator, call.from_uri, self.agent)
        async with leg:
            try:
                await leg.wait_for_answer(30)
            except (AnswerTimeout, CallRejected, CallFailed):
                return await self._prompt(call, "wrong")
            finally:
                music.cancel()
            await call.coordinator.bridge_sessions(call.id, leg.id)
            ends = [asyncio.create_task(one.wait_ended()) for one in (call, leg)]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)


async def main(agent: str, prompts: Path) -> None:
    async with await SessionManagerBuilder().with_handler(Menu(agent, prompts)).build() as server:
        print(f"Call {server.local_address}; Ctrl-C ends.")
        await asyncio.Event().wait()


class Agent(AutoAnswerHandler):
    def __init__(self) -> None:
        self.callers: asyncio.Queue[CallSession] = asyncio.Queue()

    async def on_call_established(self, call: CallSession, local_sdp: str | None, remote_sdp: str | None) -> None:
        self.callers.put_nowait(call)


class Caller(CallHandler):
    async def on_transfer_request(self, call: CallSession, target: str) -> bool:
        return True


async def self_test() -> None:
    def builder(name: str) -> SessionManagerBuilder:
        return SessionManagerBuilder().with_local_address(f"sip:{name}@127.0.0.1").with_sip_port(0)

    agent = Agent()
    office = await builder("agents").with_handler(agent).build()
    menu = Menu(office.local_address)
    server = await builder("menu").with_handler(menu).build()
    phone = await builder("phone").with_handler(Caller()).build()
    async with office, server, phone:

        async def key(call: CallSession, digits: str) -> None:
            await asyncio.sleep(0.3)
            with contextlib.suppress(InvalidState):  # transferred while the key is still down
                await call.send_dtmf(digits)

        async def dial() -> CallSession:
            call = await SessionControl.create_outgoing_call(phone, phone.local_address, server.local_address)
            await call.wait_for_answer(5)
            return call

        async with await dial() as call:
            await key(call, "1")
            await key(call, "4711#")
            await key(call, "2")
            talk = await agent.callers.get()
            assert menu.numbers == ["4711"], menu.numbers
        await talk.wait_ended()  # one has hung up, so the other is hung up too

        async with await dial() as call:
            await key(call, "3")
            talk = await agent.callers.get()
            assert talk.state is CallState.ACTIVE
            await call.wait_ended()  # the menu is out of it
            assert talk.state is CallState.ACTIVE


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=Path, default=Path("prompts"), metavar="FOLDER")
    parser.add_argument("--agent", default="sip:agents@127.0.0.1:5070", metavar="URI")
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    try:
        asyncio.run(self_test() if options.self_test else main(options.agent, options.prompts))
    except KeyboardInterrupt:
        print("Bye.")
