"""Routing by rule: important callers straight to the manager, departments by extension, and nobody at night.

python smart_routing.py --manager sip:manager@192.0.2.10 --sales sip:sales@192.0.2.20
python smart_routing.py --self-test
"""

import argparse
import asyncio
from collections.abc import Callable
from datetime import datetime

from ringback import (
    AutoAnswerHandler,
    CallDecision,
    CallHandler,
    CallRejected,
    CompositeHandler,
    IncomingCall,
    RoutingHandler,
    SessionControl,
    SessionCoordinator,
    SessionManagerBuilder,
)


class OfficeHours(CallHandler):
    """Refuses calls outside 8 to 18 h; inside them leaves the decision to the next handler."""

    def __init__(self, hour: Callable[[], int] = lambda: datetime.now().hour) -> None:
        self._hour = hour

    def on_incoming_call(self, call: IncomingCall) -> CallDecision | None:
        if 8 <= self._hour() < 18:
            return None
        return CallDecision.Reject("We are closed", status=480, headers={"Retry-After": "3600"})


class ImportantCallers(CallHandler):
    """Forwards the callers on a list; leaves the others to the next handler."""

    def __init__(self, callers: set[str], manager: str) -> None:
        self._callers = callers
        self._manager = manager

    def on_incoming_call(self, call: IncomingCall) -> CallDecision | None:
        return CallDecision.Forward(self._manager) if call.from_uri in self._callers else None


def office(
    manager: str, sales: str, important: set[str], hour: Callable[[], int] = lambda: datetime.now().hour
) -> CallHandler:
    departments = (
        RoutingHandler(default=CallDecision.Reject("No such extension", status=404))
        .route("1..", CallDecision.Forward(sales))
        .route("0", AutoAnswerHandler())
    )
    return CompositeHandler(OfficeHours(hour), ImportantCallers(important, manager), departments)


async def main(manager: str, sales: str, important: set[str]) -> None:
    async with await SessionManagerBuilder().with_handler(office(manager, sales, important)).build() as server:
        print(f"Routing calls to {server.local_address}; Ctrl-C ends.")
        await asyncio.Event().wait()


async def self_test() -> None:
    def builder(name: str) -> SessionManagerBuilder:
        return SessionManagerBuilder().with_local_address(f"sip:{name}@127.0.0.1").with_sip_port(0)

    clock = [12]
    manager = await builder("manager").with_handler(AutoAnswerHandler()).build()
    sales = await builder("sales").with_handler(AutoAnswerHandler()).build()
    async with manager, sales:
        handler = office(manager.local_address, sales.local_address, {"sip:chairman@example.com"}, lambda: clock[0])
        async with (
            await builder("office").with_handler(handler).build() as server,
            await builder("caller").build() as caller,
        ):

            async def status(caller_uri: str, extension: str) -> int:
                target = server.local_address.replace("sip:office@", f"sip:{extension}@")
                call = await SessionControl.create_outgoing_call(caller, caller_uri, target)
                try:
                    await call.wait_for_answer(5)
                except CallRejected as refusal:
                    return refusal.status
                await call.hangup()
                return 200

            async def calls(who: SessionCoordinator) -> int:
                return (await SessionControl.get_stats(who)).total_sessions

            assert await status("sip:someone@example.com", "101") == 200
            assert (await calls(sales), await calls(manager)) == (1, 0)
            assert await status("sip:chairman@example.com", "999") == 200
            assert (await calls(sales), await calls(manager)) == (1, 1)
            assert await status("sip:someone@example.com", "999") == 404
            assert await status("sip:someone@example.com", "0") == 200
            clock[0] = 22
            assert await status("sip:someone@example.com", "101") == 480


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manager", default="sip:manager@127.0.0.1:5070")
    parser.add_argument("--sales", default="sip:sales@127.0.0.1:5080")
    parser.add_argument("--important", action="append", default=[], metavar="URI")
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    try:
        asyncio.run(self_test() if options.self_test else main(options.manager, options.sales, set(options.important)))
    except KeyboardInterrupt:
        print("Bye.")
