"""A call centre: callers wait, each is connected to the agent who has been free longest, and agents have a status.

python call_centre.py --agent sip:ann@192.0.2.11 --agent sip:ben@192.0.2.12
python call_centre.py --self-test
"""

import argparse
import asyncio
from dataclasses import dataclass, field
from enum import Enum

from ringback import (
    AutoAnswerHandler,
    CallFailed,
    CallRejected,
    CallSession,
    IncomingCall,
    QueueHandler,
    SessionControl,
    SessionCoordinator,
    SessionError,
    SessionManagerBuilder,
)


class Status(Enum):
    FREE = "free"
    RINGING = "ringing"
    TALKING = "talking"
    AWAY = "away"


@dataclass
class Agent:
    uri: str
    status: Status = Status.FREE
    calls_taken: int = 0


@dataclass
class CallCentre:
    coordinator: SessionCoordinator
    queue: QueueHandler
    agents: list[Agent]
    _free: asyncio.Queue[Agent] = field(default_factory=lambda: asyncio.Queue[Agent]())

    async def run(self) -> None:
        for agent in self.agents:
            self._free.put_nowait(agent)
        async with asyncio.TaskGroup() as calls:
            async for call in self.queue:
                agent = await self._free.get()
                calls.create_task(self._serve(call, agent))

    async def _serve(self, call: IncomingCall, agent: Agent) -> None:
        try:
            await self._connect(call, agent)
        except (CallRejected, CallFailed):
            agent.status = Status.AWAY
            print(f"{agent.uri} does not answer and is marked away")
            await call.reject("No agent answered", status=480)
        except SessionError as error:
            print(f"{call.from_uri}: {error}")
        finally:
            if agent.status is not Status.AWAY:
                agent.status = Status.FREE
                self._free.put_nowait(agent)

    async def _connect(self, call: IncomingCall, agent: Agent) -> None:
        agent.status = Status.RINGING
        leg = await SessionControl.create_outgoing_call(self.coordinator, call.from_uri, agent.uri)
        async with leg:
            await leg.wait_for_answer(20)
            async with await call.accept() as caller:
                agent.status = Status.TALKING
                agent.calls_taken += 1
                await self.coordinator.bridge_sessions(caller.id, leg.id)
                await self._first_to_end(caller, leg)

    @staticmethod
    async def _first_to_end(*calls: CallSession) -> None:
        waiters = [asyncio.ensure_future(call.wait_ended()) for call in calls]
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()


async def main(uris: list[str]) -> None:
    queue = QueueHandler()
    async with await SessionManagerBuilder().with_handler(queue).build() as server:
        print(f"Taking calls to {server.local_address} for {len(uris)} agents; Ctrl-C ends.")
        await CallCentre(server, queue, [Agent(uri) for uri in uris]).run()


async def self_test() -> None:
    def builder(name: str) -> SessionManagerBuilder:
        return SessionManagerBuilder().with_local_address(f"sip:{name}@127.0.0.1").with_sip_port(0)

    queue = QueueHandler()
    server = await builder("centre").with_handler(queue).build()
    ann = await builder("ann").with_handler(AutoAnswerHandler()).build()
    callers = await builder("callers").build()
    async with server, ann, callers:
        agent = Agent(ann.local_address)
        work = asyncio.create_task(CallCentre(server, queue, [agent]).run())
        # Three callers, one agent: each waits until the one before has hung up.
        calls = [
            await SessionControl.create_outgoing_call(callers, f"sip:c{i}@example.com", server.local_address)
            for i in range(3)
        ]
        for call in calls:
            await call.wait_for_answer(10)
            await call.hangup()
        async with asyncio.timeout(5):
            while agent.status is not Status.FREE:
                await asyncio.sleep(0.01)
        assert agent.calls_taken == 3, agent
        work.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agent", action="append", default=[], metavar="URI")
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    try:
        asyncio.run(self_test() if options.self_test else main(options.agent))
    except KeyboardInterrupt:
        print("Bye.")
