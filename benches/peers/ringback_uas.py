"""Answers every call with ringback, as a program would be written on it.

    python ringback_uas.py {async-def,auto,all} [--media-ports LOW-HIGH] [--uvloop]

`async-def`: a `CallHandler` whose `on_incoming_call` is a coroutine; `auto`: `AutoAnswerHandler`; `all`: the first with
every other method of `CallHandler` overridden by a coroutine too, so that every event is delivered. The answer is
negotiated and RTP sockets are opened in all of them.

Prints "ready PORT", serves SIP on 127.0.0.1:PORT until SIGTERM, and then prints "stats " and a JSON object.
"""

import argparse
import asyncio
import json
import re
import resource
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from ringback import (
    AutoAnswerHandler,
    CallDecision,
    CallHandler,
    CallSession,
    IncomingCall,
    SessionControl,
    SessionManagerBuilder,
)

MOST_SESSIONS = 50_000


class Answering(CallHandler):
    """Accepts every call, and counts what it was called for."""

    def __init__(self) -> None:
        super().__init__()
        self.called: dict[str, int] = {"on_incoming_call": 0}

    async def on_incoming_call(self, call: IncomingCall) -> CallDecision:
        self.called["on_incoming_call"] += 1
        return CallDecision.Accept()


def overriding_everything() -> CallHandler:
    """An `Answering` of a subclass that overrides each other `on_...` method that there is."""

    def counting(name: str) -> Callable[..., Coroutine[Any, Any, None]]:
        async def method(self: Answering, *_arguments: object) -> None:
            self.called[name] = self.called.get(name, 0) + 1

        return method

    async def on_error(self: Answering, _call: CallSession | None, error: Exception) -> None:
        self.called["on_error"] = self.called.get("on_error", 0) + 1
        print(f"a handler raised: {error!r}", file=sys.stderr)

    names = [name for name in dir(CallHandler) if name.startswith("on_") and name != "on_incoming_call"]
    methods: dict[str, object] = {name: counting(name) for name in names}
    methods["on_error"] = on_error
    handler = type("OverridingEverything", (Answering,), methods)()
    assert isinstance(handler, Answering)
    return handler


HANDLERS: dict[str, Callable[[], CallHandler]] = {
    "async-def": Answering,
    "auto": AutoAnswerHandler,
    "all": overriding_everything,
}


def allow_many_sockets() -> None:
    """A call has two sockets, and those of an ended call rest for seconds: as many as the system grants."""
    wanted = 200_000
    for limit in (wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[1]):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        except (OSError, ValueError):
            continue  # raising the hard limit is a privilege
        return


async def serve(mode: str, media_ports: tuple[int, int]) -> None:
    handler = HANDLERS[mode]()
    coordinator = await (
        SessionManagerBuilder()
        .with_sip_port(0)
        .with_local_address("sip:bench@127.0.0.1")
        .with_media_ports(*media_ports)
        .with_max_sessions(MOST_SESSIONS)
        .with_handler(handler)
        .build()
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with coordinator:
        port = re.search(r":(\d+)(?:[;>?]|$)", coordinator.local_address)
        if port is None:
            raise RuntimeError(f"no port in {coordinator.local_address}")
        print(f"ready {port[1]}", flush=True)
        await stop.wait()
        stats = await SessionControl.get_stats(coordinator)
        report = {
            "active_sessions": stats.active_sessions,
            "total_sessions": stats.total_sessions,
            "failed_sessions": stats.failed_sessions,
            "called": getattr(handler, "called", {}),
            "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        }
        print("stats " + json.dumps(report), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=sorted(HANDLERS))
    parser.add_argument("--media-ports", default="20000-59999", metavar="LOW-HIGH")
    parser.add_argument("--uvloop", action="store_true")
    arguments = parser.parse_args()
    low, high = (int(port) for port in arguments.media_ports.split("-"))
    allow_many_sockets()
    main_task = serve(arguments.mode, (low, high))
    if arguments.uvloop:
        import uvloop

        uvloop.run(main_task)
    else:
        asyncio.run(main_task)


if __name__ == "__main__":
    main()
