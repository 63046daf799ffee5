"""A telephone in twenty lines: it answers and lets callers hear themselves; given a URI, it dials.

python phone.py                          # wait for calls on port 5060
python phone.py sip:bob@192.0.2.7        # call someone
python phone.py --self-test              # two of them call each other
"""

import asyncio
import sys

from ringback import (
    CallDecision,
    CallHandler,
    CallSession,
    IncomingCall,
    MediaControl,
    SessionControl,
    SessionManagerBuilder,
)


class Phone(CallHandler):
    async def on_incoming_call(self, call: IncomingCall) -> CallDecision:
        print(f"{call.from_uri} is calling")
        return CallDecision.Accept()

    async def on_call_established(self, call: CallSession, local_sdp: str | None, remote_sdp: str | None) -> None:
        await MediaControl.echo(call.coordinator, call.id)

    async def on_call_ended(self, call: CallSession, reason: str) -> None:
        print(f"{call.to_uri}: {reason}")


async def main(target: str | None) -> None:
    async with await SessionManagerBuilder().with_handler(Phone()).build() as phone:
        if target is None:
            print(f"Waiting for calls to {phone.local_address}; Ctrl-C ends.")
            await asyncio.Event().wait()
        else:
            call = await SessionControl.create_outgoing_call(phone, phone.local_address, target)
            await call.wait_for_answer(30)
            print("The call ended:", await call.wait_ended())


async def self_test() -> None:
    def builder(name: str) -> SessionManagerBuilder:
        return (
            SessionManagerBuilder().with_local_address(f"sip:{name}@127.0.0.1").with_sip_port(0).with_handler(Phone())
        )

    async with await builder("alice").build() as alice, await builder("bob").build() as bob:
        call = await SessionControl.create_outgoing_call(alice, alice.local_address, bob.local_address)
        await call.wait_for_answer(5)
        await call.hangup()
        assert await call.wait_ended() == "hangup"


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments == ["--self-test"]:
        asyncio.run(self_test())
    else:
        try:
            asyncio.run(main(arguments[0] if arguments else None))
        except KeyboardInterrupt:
            print("Bye.")
