"""A queue whose callers are looked up in a database before they are let in: the decision is deferred, the caller hears ringing,
and a worker accepts or rejects when the look-up is done, without holding anything else up.

    python queue_with_authentication.py
    python queue_with_authentication.py --self-test
"""

import argparse
import asyncio

from ringback import CallRejected, IncomingCall, QueueHandler, SessionControl, SessionManagerBuilder

CUSTOMERS = {"alice": "Alice Example", "bob": "Bob Example"}


async def look_up(user: str) -> str | None:
    """Stands for a database: takes its time."""
    await asyncio.sleep(0.05)
    return CUSTOMERS.get(user)


def user_of(uri: str) -> str:
    return uri.partition(":")[2].partition("@")[0]


async def authenticate(queue: QueueHandler) -> None:
    """Takes calls in the order of their arrival; each is looked up beside the others."""
    async with asyncio.TaskGroup() as lookups:
        async for call in queue:
            lookups.create_task(decide(call))


async def decide(call: IncomingCall) -> None:
    name = await look_up(user_of(call.from_uri))
    if name is None:
        print(f"{call.from_uri} is not a customer")
        await call.reject("Forbidden", status=403)
    else:
        print(f"{name} is let in")
        await call.accept()


async def main() -> None:
    queue = QueueHandler(max_size=50)
    async with await SessionManagerBuilder().with_handler(queue).build() as server:
        print(f"Queueing calls to {server.local_address}; Ctrl-C ends.")
        await authenticate(queue)


async def self_test() -> None:
    queue = QueueHandler(max_size=50)
    server = (
        await SessionManagerBuilder()
        .with_local_address("sip:queue@127.0.0.1")
        .with_sip_port(0)
        .with_handler(queue)
        .build()
    )
    caller = await SessionManagerBuilder().with_local_address("sip:caller@127.0.0.1").with_sip_port(0).build()
    async with server, caller:
        worker = asyncio.create_task(authenticate(queue))
        welcome = await SessionControl.create_outgoing_call(caller, "sip:alice@example.com", server.local_address)
        stranger = await SessionControl.create_outgoing_call(caller, "sip:mallory@example.com", server.local_address)
        await welcome.wait_for_answer(5)
        try:
            await stranger.wait_for_answer(5)
        except CallRejected as refusal:
            assert refusal.status == 403, refusal
        else:
            raise AssertionError("a stranger was let in")
        await welcome.hangup()
        worker.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    try:
        asyncio.run(self_test() if options.self_test else main())
    except KeyboardInterrupt:
        print("Bye.")
