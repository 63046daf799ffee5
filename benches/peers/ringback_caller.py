"""Places the calls of the media bench: SIP is ringback's, the media is somebody else's.

    python ringback_caller.py

Prints "ready 1" and answers each line from standard input, `call PORT LEG:RTP_PORT:CODEC ...`, when those calls to
127.0.0.1:PORT are answered: a JSON list of what the answers say, `[leg, RTP port, payload type]` each. Ends with standard
input, and hangs up.
"""

import asyncio
import json
import re
import signal
import sys

from ringback import CallHandler, MediaControl, SessionControl, SessionManagerBuilder
from ringback import SessionCoordinator as Coordinator

AT_A_TIME = 40
ANSWER_SECONDS = 60.0
# What stands after `a=rtpmap:` for each codec, and a number for it.
CODECS = {
    "PCMU": (0, "PCMU/8000"),
    "PCMA": (8, "PCMA/8000"),
    "G722": (9, "G722/8000"),
    "L16": (96, "L16/16000"),
    "opus": (111, "opus/48000/2"),
}


def offer(port: int, codec: str) -> str:
    number, mapping = CODECS[codec]
    lines = [
        "v=0", "o=phone 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0",
        f"m=audio {port} RTP/AVP {number} 101", f"a=rtpmap:{number} {mapping}",
        "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15", "a=ptime:20", "a=sendrecv",
    ]  # fmt: skip
    return "".join(f"{line}\r\n" for line in lines)


async def place(coordinator: Coordinator, port: int, leg: str, room: asyncio.Semaphore) -> tuple[int, int, int]:
    number, rtp_port, codec = leg.split(":")
    async with room:
        call = await SessionControl.create_outgoing_call(
            coordinator,
            "sip:phone@127.0.0.1",
            f"sip:leg-{number}@127.0.0.1:{port}",
            offer(int(rtp_port), codec),
        )
        await call.wait_for_answer(ANSWER_SECONDS)
        info = await MediaControl.get_media_info(coordinator, call.id)
    answer = (info and info.remote_sdp) or ""
    media = re.search(r"^m=audio (\d+) \S+ (\d+)", answer, re.MULTILINE)
    if media is None:
        raise RuntimeError(f"no audio in {answer!r}")
    return int(number), int(media[1]), int(media[2])


async def serve() -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    loop.add_signal_handler(signal.SIGTERM, lines.feed_eof)
    builder = SessionManagerBuilder().with_sip_port(0).with_local_address("sip:phone@127.0.0.1")
    async with await builder.with_max_sessions(50_000).with_handler(CallHandler()).build() as coordinator:
        print("ready 1", flush=True)
        while line := await lines.readline():
            _, port, *legs = line.decode().split()
            room = asyncio.Semaphore(AT_A_TIME)
            answers = await asyncio.gather(*(place(coordinator, int(port), leg, room) for leg in legs))
            print(json.dumps(answers), flush=True)


asyncio.run(serve())
