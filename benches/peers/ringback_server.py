"""A telephone system on ringback, set up as the signalling benches want it: as a registrar, asking for passwords, flooded.

    python ringback_server.py [--registrar STORE] [--password PASSWORD] [--half-open N] [--connections N] ...

Calls to `flood` are treated as `--flood` says (accepted without media of ours, left ringing, or refused), all others are
accepted. Prints "ready PORT", serves SIP on 127.0.0.1:PORT over UDP and TCP until SIGTERM; prints "stats " and a JSON object
at SIGUSR1 and at its end.
"""

import argparse
import asyncio
import json
import os
import re
import resource
import signal

from ringback import (
    Authenticator,
    CallDecision,
    CallHandler,
    IncomingCall,
    Limits,
    Registrar,
    SessionControl,
    SessionCoordinator,
    SessionManagerBuilder,
)

HOST = "127.0.0.1"
USER = "bench"
# What is said to the flood: media of somebody else, so that no port is taken.
EXTERNAL = f"v=0\r\no=- 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
FLOOD = {
    "accept": lambda: CallDecision.Accept(sdp=EXTERNAL),
    "ring": CallDecision.Defer,
    "refuse": lambda: CallDecision.Reject("Not Found", status=404),
}


class Switchboard(CallHandler):
    """Accepts calls, and does with the flood what it was told."""

    def __init__(self, flood: str) -> None:
        super().__init__()
        self._flood = FLOOD[flood]
        self.seen = 0

    def on_incoming_call(self, call: IncomingCall) -> CallDecision:
        self.seen += 1
        return self._flood() if call.to_uri.startswith("sip:flood@") else CallDecision.Accept()


def raise_file_limit() -> int:
    """As many files as the system grants."""
    wanted = 200_000
    for limit in (wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[1]):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        except (OSError, ValueError):
            continue  # raising the hard limit is a privilege
        break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def builder_of(options: argparse.Namespace) -> tuple[SessionManagerBuilder, Switchboard]:
    handler = Switchboard(options.flood)
    low, high = (int(port) for port in options.media_ports.split("-"))
    limits = Limits(
        half_open_invites=options.half_open,
        connections=options.connections,
        requests_per_second_per_source=options.per_source,
    )
    builder = (
        SessionManagerBuilder()
        .with_sip_port(0)
        .with_local_address(f"sip:{USER}@{HOST}")
        .with_media_ports(low, high)
        .with_max_sessions(options.sessions)
        .with_answer_timeout(options.answer_timeout)
        .with_limits(limits)
        .with_handler(handler)
    )
    if options.registrar is not None:
        builder = builder.with_registrar(Registrar(domains=[HOST], store=options.registrar))
    if options.password is not None:
        users = [USER, *(f"{USER}{number:05}" for number in range(options.users))]
        passwords = dict.fromkeys(users, options.password)
        builder = builder.with_authenticator(Authenticator(HOST, passwords, algorithms=("MD5",)))
    return builder, handler


async def statistics(coordinator: SessionCoordinator, handler: Switchboard, files: int) -> dict[str, object]:
    found = await SessionControl.get_stats(coordinator)
    return {
        "active_sessions": found.active_sessions,
        "total_sessions": found.total_sessions,
        "failed_sessions": found.failed_sessions,
        "handled": handler.seen,
        "file_limit": files,
        "open_files": len(os.listdir("/proc/self/fd")),
    }


async def serve(options: argparse.Namespace) -> None:
    files = raise_file_limit()
    builder, handler = builder_of(options)
    coordinator = await builder.build()
    stop, ask = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, ask.set)

    async def tell() -> None:
        print("stats " + json.dumps(await statistics(coordinator, handler, files)), flush=True)

    async def tell_when_asked() -> None:
        while True:
            await ask.wait()
            ask.clear()
            await tell()

    async with coordinator:
        port = re.search(r":(\d+)(?:[;>?]|$)", coordinator.local_address)
        if port is None:
            raise RuntimeError(f"no port in {coordinator.local_address}")
        print(f"ready {port[1]}", flush=True)
        telling = asyncio.create_task(tell_when_asked())
        await stop.wait()
        telling.cancel()
        await tell()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--registrar", metavar="STORE", help='":memory:" or the path of an SQLite file')
    parser.add_argument("--password", help=f"asked of everybody; the user is {USER}")
    parser.add_argument("--users", type=int, default=0, metavar="N", help=f"as many more: {USER}00000, ...")
    parser.add_argument("--half-open", type=int, default=Limits().half_open_invites)
    parser.add_argument("--connections", type=int, default=Limits().connections)
    parser.add_argument("--per-source", type=int, metavar="REQUESTS A SECOND")
    parser.add_argument("--sessions", type=int, default=50_000)
    parser.add_argument("--answer-timeout", type=float, default=180.0)
    parser.add_argument("--flood", choices=sorted(FLOOD), default="accept")
    parser.add_argument("--media-ports", default="20000-59999", metavar="LOW-HIGH")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
