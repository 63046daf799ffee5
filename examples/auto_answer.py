"""Answer every call and play the caller a tone: the smallest server there is.

python auto_answer.py [--port 5060]
python auto_answer.py --self-test
"""

import argparse
import asyncio

from ringback import AutoAnswerHandler, CallSession, MediaControl, SessionControl, SessionManagerBuilder


class ToneServer(AutoAnswerHandler):
    async def on_call_established(self, call: CallSession, local_sdp: str | None, remote_sdp: str | None) -> None:
        await MediaControl.play_tone(call.coordinator, call.id, [440.0], duration=2.0)
        await call.hangup()


async def main(port: int) -> None:
    server = await SessionManagerBuilder().with_sip_port(port).with_handler(ToneServer()).build()
    async with server:
        print(f"Answering {server.local_address}; Ctrl-C ends.")
        await asyncio.Event().wait()


async def self_test() -> None:
    server = (
        await SessionManagerBuilder()
        .with_local_address("sip:tone@127.0.0.1")
        .with_sip_port(0)
        .with_handler(ToneServer())
        .build()
    )
    caller = await SessionManagerBuilder().with_local_address("sip:caller@127.0.0.1").with_sip_port(0).build()
    async with server, caller:
        call = await SessionControl.create_outgoing_call(caller, caller.local_address, server.local_address)
        await call.wait_for_answer(5)
        reason = await asyncio.wait_for(call.wait_ended(), 10)
        assert reason == "remote hangup", reason
        assert (await SessionControl.get_stats(server)).total_sessions == 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=5060)
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    try:
        asyncio.run(self_test() if options.self_test else main(options.port))
    except KeyboardInterrupt:
        print("Bye.")
