"""An office's PBX in one file: telephones register with a password, all devices of a user ring, a group, voice mail with message
lamps, busy lamps, and a trunk for numbers outside.

python office_pbx.py --domain pbx.example.com --user ann=secret --user ben=geheim --trunk sip:carrier.example.net
python office_pbx.py --self-test
"""

import argparse
import asyncio
import contextlib
import tempfile
import time
from collections import Counter
from pathlib import Path

from ringback import (
    Account,
    AnswerTimeout,
    Authenticator,
    AutoAnswerHandler,
    CallCancelled,
    CallDecision,
    CallFailed,
    CallHandler,
    CallRejected,
    CallSession,
    Credentials,
    IncomingCall,
    MediaControl,
    Registrar,
    SessionControl,
    SessionCoordinator,
    SessionError,
    SessionManagerBuilder,
)

GROUP = "team"


def user_of(uri: str) -> str:
    return uri.partition(":")[2].partition("@")[0]


class Office(CallHandler):
    def __init__(
        self, domain: str, users: dict[str, str], mail: Path, *, trunk: str | None = None, ring_seconds: float = 20.0
    ) -> None:
        self.domain = domain
        self.users = users
        self.mail = mail
        self.trunk = trunk
        self.ring_seconds = ring_seconds
        self.messages: Counter[str] = Counter()
        self._pbx: SessionCoordinator | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def build(self, builder: SessionManagerBuilder, store: str) -> SessionCoordinator:
        # Whoever calls or registers shows a password, and speaks for its own address only.
        builder.with_handler(self).with_authenticator(Authenticator(self.domain, self.users))
        builder.with_registrar(Registrar(domains=[self.domain], store=store))
        self._pbx = await builder.build()
        return self._pbx

    def aor(self, user: str) -> str:
        return f"sip:{user}@{self.domain}"

    def on_incoming_call(self, call: IncomingCall) -> CallDecision:
        dialled, caller = user_of(call.to_uri), user_of(call.from_uri)
        if dialled in self.users:
            task = asyncio.create_task(self._ring(call, dialled))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return CallDecision.Defer()  # the caller hears ringing
        if dialled == GROUP:
            others = [self.aor(user) for user in self.users if user != caller]
            return CallDecision.Forward(*others, parallel=True, ring_seconds=self.ring_seconds)
        if self.trunk is not None and dialled.removeprefix("+").isdecimal():
            scheme, _, host = self.trunk.partition(":")
            return CallDecision.Forward(f"{scheme}:{dialled}@{host}")
        return CallDecision.Reject("Not Found", status=404)

    async def _ring(self, call: IncomingCall, user: str) -> None:
        """All telephones of a user; voice mail where nobody answers."""
        assert self._pbx is not None
        try:
            leg = await SessionControl.create_outgoing_call(self._pbx, call.from_uri, self.aor(user))
            async with leg:
                try:
                    await leg.wait_for_answer(self.ring_seconds)
                except (AnswerTimeout, CallRejected, CallFailed, CallCancelled):
                    await leg.hangup()
                    return await self._take_message(await call.accept(), user)
                async with await call.accept() as caller:
                    await self._pbx.bridge_sessions(caller.id, leg.id)
                    ends = [asyncio.create_task(one.wait_ended()) for one in (caller, leg)]
                    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        except SessionError as error:
            print(f"{call.from_uri} to {user}: {error}")  # mostly: the caller gave up
            await call.reject("Temporarily Unavailable", status=480)

    async def _take_message(self, caller: CallSession, user: str) -> None:
        path = self.mail / f"{user}-{time.time_ns()}.wav"
        async with caller:
            await MediaControl.play_tone(caller.coordinator, caller.id, [1000.0], duration=0.4)
            recording = await MediaControl.record(caller.coordinator, caller.id, str(path))
            try:
                async with asyncio.timeout(120):
                    await caller.wait_ended()
            except TimeoutError:
                pass
            length = await recording.stop()
        self.messages[user] += 1
        print(f"{user}: a message of {length:.1f} s from {caller.from_uri} in {path}")
        await caller.coordinator.publish_message_summary(self.aor(user), new=self.messages[user], old=0)

    def on_subscribe(self, subscriber_uri: str, to_uri: str, event: str) -> bool:
        # Busy lamps of everybody for everybody; a mailbox for its owner alone.
        return event == "dialog" or user_of(subscriber_uri) == user_of(to_uri)


async def main(options: argparse.Namespace) -> None:
    users = dict(user.partition("=")[::2] for user in options.user)
    office = Office(options.domain, users, options.mail, trunk=options.trunk)
    async with await office.build(SessionManagerBuilder(), str(options.mail / "bindings.sqlite")) as pbx:
        print(f"{len(users)} users may register at {pbx.local_address}; Ctrl-C ends.")
        await asyncio.Event().wait()


async def self_test() -> None:
    def local(user: str) -> SessionManagerBuilder:
        return SessionManagerBuilder().with_local_address(f"sip:{user}@127.0.0.1").with_sip_port(0)

    users = {"ann": "secret", "ben": "geheim", "cas": "geheimnis"}
    with tempfile.TemporaryDirectory() as folder:
        office = Office("office.example", users, Path(folder), ring_seconds=2.0)
        async with await office.build(local("pbx"), ":memory:") as pbx, contextlib.AsyncExitStack() as stack:

            async def phone(user: str, handler: CallHandler) -> SessionCoordinator:
                system = await local(user).with_handler(handler).build()
                await stack.enter_async_context(system)
                credentials = Credentials(username=user, password=users[user])
                account = Account(aor=office.aor(user), proxy=pbx.local_address, credentials=credentials)
                await (await system.register(account)).wait_registered()
                return system

            ann = await phone("ann", CallHandler())
            cas = await phone("cas", AutoAnswerHandler())

            async def call(user: str) -> CallSession:
                session = await SessionControl.create_outgoing_call(ann, office.aor("ann"), office.aor(user))
                await session.wait_for_answer(10)
                return session

            lamp = await SessionControl.subscribe(ann, office.aor("ann"), office.aor("cas"), "dialog")
            lamps = aiter(lamp)
            assert "<state>" not in (await anext(lamps)).body
            async with await call("cas"):
                async with asyncio.timeout(5):
                    while "confirmed" not in (await anext(lamps)).body:
                        pass
            async with await call(GROUP):
                pass

            # Ben has no telephone: he finds a message later, and sees that there is one as soon as he has one.
            async with await call("ben"):
                await asyncio.sleep(1)
            ben = await phone("ben", CallHandler())
            mailbox = await SessionControl.subscribe(ben, office.aor("ben"), office.aor("ben"), "message-summary")
            async with asyncio.timeout(5):
                async for notification in mailbox:
                    if "Voice-Message: 1/0" in notification.body:
                        break
            (message,) = office.mail.glob("ben-*.wav")
            assert message.stat().st_size > 8_000
            assert await SessionControl.list_active_sessions(cas) == []


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", default="pbx.example.com", help="of the users' addresses")
    parser.add_argument("--user", action="append", default=[], metavar="NAME=PASSWORD")
    parser.add_argument("--mail", type=Path, default=Path(), metavar="FOLDER", help="for messages and registrations")
    parser.add_argument("--trunk", metavar="URI", help="where numbers outside are called")
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    try:
        asyncio.run(self_test() if arguments.self_test else main(arguments))
    except KeyboardInterrupt:
        print("Bye.")
