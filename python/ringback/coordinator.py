"""`SessionCoordinator`: the hub of one system."""
# pyright: reportPrivateUsage=false, reportUnnecessaryIsInstance=false

import asyncio
import contextlib
import functools
import os
import sys
import threading
import warnings
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from ringback import _lifecycle, _ringback
from ringback._dispatch import Turn
from ringback._logs import Levels
from ringback._ringback import BridgeId, CoordinatorBase, SessionId
from ringback._seconds import seconds
from ringback._waker import Waker
from ringback.accounts import Account, Registration, instance
from ringback.batches import AudioBatches
from ringback.bridges import BridgeEvent, BridgeInfo, BridgeRole, EventReader, end_all, events_of
from ringback.counters import Counters
from ringback.errors import MediaError
from ringback.recording import Recording
from ringback.registrar import Registrar

if TYPE_CHECKING:
    from ringback.handlers.base import CallHandler

# `stop` returns within 2 s of its drain time, whatever peers and handlers do. Of these:
_CALLS_END = 1.0  # the engine's answer that all calls are final, which takes a millisecond
_ALL_ENDS = 1.8  # handlers that still run then are cancelled
_CANCEL = 0.1  # and get so long for their `finally`


class SessionCoordinator(CoordinatorBase):
    """The hub of one system; made by `SessionManagerBuilder.build`. `async with coordinator:` starts it and stops it.

    It belongs to the loop that it was started on: handlers run there. Its operations may be awaited on other loops too.
    A program keeps a reference to it while it is to run; one that is dropped ends its calls with a `ResourceWarning`.
    """

    def __init__(
        self, binding: _ringback.Binding, methods: Mapping[str, tuple[Callable[..., object], bool]], address: str
    ) -> None:
        self._address = address
        self._loop: asyncio.AbstractEventLoop | None = None
        self._levels: Levels | None = None
        self._waker: Waker | None = None
        self._stopping: asyncio.Task[None] | None = None
        # The start that is under way, how many wait for it, and whether anybody has been told that the system runs.
        self._starting: asyncio.Task[None] | None = None
        self._starters = 0
        self._told = False
        # Handlers whose turn has not come: others have to start before them.
        self._turns: deque[Turn] = deque()
        # Who is told of start and stop, and what stands for the system there: it may outlive it.
        self._handler: CallHandler | None = None
        self._run = object()
        # The registrar that is served, and what its store is at.
        self._registrar: Registrar | None = None
        self._reads_file = False
        # Accounts of the builder, and all that are registered or being so, by number.
        self._accounts: tuple[Account, ...] = ()
        self._registrations: dict[int, Registration] = {}
        self._last_registration = 0
        self._store_tasks: set[asyncio.Task[None]] = set()
        # Who reads the events of which bridge; readers that were dropped are gone.
        self._bridge_events: dict[BridgeId, weakref.WeakSet[EventReader]] = {}
        # Tasks that await `stop`: it must not wait for them.
        self._stoppers: set[asyncio.Task[Any]] = set()
        _lifecycle.remember(self)

    def __new__(
        cls, binding: _ringback.Binding, methods: Mapping[str, tuple[Callable[..., object], bool]], address: str
    ) -> Self:
        return super().__new__(cls, binding, methods)

    def __repr__(self) -> str:
        state = "running" if self.is_running() else "not running"
        return f"<SessionCoordinator {self._address} {state}>"

    async def __aenter__(self) -> Self:
        """Starts the system, as `SessionControl.start`."""
        await self._startup()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops it, as `SessionControl.stop`."""
        await self._halt(0.0)

    @property
    def local_address(self) -> str:
        """The URI to dial, "sip:user@host:port", with the port that was really bound."""
        return self._address

    def counters(self) -> Counters:
        """What has been received, refused and dropped since the last start, and how many connections and unanswered INVITEs
        there are; as of the last few messages. Never blocks, works before the start and after `stop` too.
        """
        return Counters(**dict(_ringback.counters(self)))

    async def publish_message_summary(self, aor: str, *, new: int, old: int) -> None:
        """Tells those who subscribed to the mailbox of `aor` how many new and old voice messages it has (RFC 3842), and
        remembers it for those who come later; of 100,000 mailboxes at most.

        Raises `ValueError` for a count that is not 0 to 4,294,967,295, `InvalidUri`, `ResourceExhausted`,
        `NotRunningError`.
        """
        for name, count in (("new", new), ("old", old)):
            if not 0 <= count < 1 << 32:
                raise ValueError(f"{name} must be 0 to 4294967295, not {count}")
        await _ringback.publish_summary(self, aor, new, old)

    async def bridge_sessions(self, first: SessionId, second: SessionId) -> BridgeId:
        """Connects two answered calls: each hears the other.

        Raises `InvalidState` (not answered, or in a bridge already), `SessionNotFound`, `MediaError` (external media),
        `NotRunningError`.
        """
        return await _ringback.bridge(self, first, second)

    async def create_bridge(self, name: str | None = None, *, max_sessions: int | None = None) -> BridgeId:
        """A conference, empty at first, that lasts until `destroy_bridge` or the end of the system.

        Each hears all but itself, at the rate of the best codec among them; of many who speak at a time the twelve
        loudest are heard. `max_sessions`: one more is refused with `ResourceExhausted`. Raises `ValueError` for less
        than 1, `NotRunningError`.
        """
        return await _ringback.create_bridge(self, name, max_sessions)

    async def add_session_to_bridge(self, bridge: BridgeId, session: SessionId) -> None:
        """Lets an answered call join, as `BridgeRole.MEMBER`; no-op where it is in this bridge already.

        A bridge of two calls becomes a conference so. Raises `InvalidState` where the bridge is locked, the call is in
        another bridge, not answered or over; `ResourceExhausted` where the bridge is full; `MediaError` (external
        media); `BridgeNotFound`, `SessionNotFound`, `NotRunningError`.
        """
        await _ringback.add_to_bridge(self, bridge, session)

    async def remove_session_from_bridge(self, bridge: BridgeId, session: SessionId) -> None:
        """Takes a call out, which stays up; no-op for a call that has ended. Raises `InvalidState` where it is not in
        this bridge, `BridgeNotFound`, `SessionNotFound`, `NotRunningError`.

        A bridge that was made of two calls ends when fewer than two are left; a created one stays.
        """
        await _ringback.remove_from_bridge(self, bridge, session)

    async def set_bridge_role(
        self, bridge: BridgeId, session: SessionId, role: BridgeRole, *, beside: SessionId | None = None
    ) -> None:
        """Makes a session in the bridge a member, a listener, or one that only `beside`, in the same bridge, can hear.

        `beside` goes with `WHISPER`, and with it alone (`ValueError`). When that call leaves, nobody hears the whisper,
        until a role is set anew. Raises `InvalidState` where one of the calls is not in the bridge, `BridgeNotFound`,
        `SessionNotFound`, `NotRunningError`.
        """
        await _ringback.set_bridge_role(self, bridge, session, BridgeRole(role).value, beside)

    async def set_bridge_gain(self, bridge: BridgeId, session: SessionId, gain_db: float) -> None:
        """Makes a session louder or softer for the others, by -60 to 20 dB; 0 when it joins. What does not fit
        saturates. Raises `ValueError` for another gain, else as `set_bridge_role`."""
        await _ringback.set_bridge_gain(self, bridge, session, gain_db)

    async def lock_bridge(self, bridge: BridgeId, locked: bool = True) -> None:
        """Lets nobody else join (`InvalidState`), or again everybody; those who are in stay. Raises `BridgeNotFound`,
        `NotRunningError`."""
        await _ringback.lock_bridge(self, bridge, locked)

    async def play_to_bridge(
        self, bridge: BridgeId, source: str | os.PathLike[str] | NDArray[np.int16], *, sample_rate: int | None = None
    ) -> None:
        """Plays a WAV file, or samples of shape `(n,)` at `sample_rate` Hz (8,000 to 48,000), to all who are in the
        bridge, mixed with what they say. Returns when played, replaced by another, or when the bridge is destroyed.

        Files, cancelling and errors are as for `MediaControl.play`; also raises `BridgeNotFound`.
        """
        if isinstance(source, os.PathLike):
            source = os.fspath(source)
        played, playback = _ringback.play_to_bridge(self, bridge, source, sample_rate)
        try:
            await played
        finally:
            playback.stop()
        failure = playback.failure()
        if failure is not None:
            raise MediaError(failure)

    async def record_bridge(self, bridge: BridgeId, path: str | os.PathLike[str]) -> Recording:
        """Records what all who are in the bridge say together, announcements included, to a WAV file, from now on until
        `Recording.stop` or the end of the bridge; whispers are left out. A file that was there is replaced.

        The sample rate is that of the best codec among those who are in now. Raises `MediaError` for a path that cannot
        be written to and where the bridge is recorded already, `BridgeNotFound`, `NotRunningError`.
        """
        recording = Recording(self, os.fspath(path), False)
        try:
            await _ringback.record_bridge(recording, bridge)
        except BaseException:
            recording._give_up()
            raise
        return recording

    def bridge_events(self, bridge: BridgeId) -> AsyncIterator[BridgeEvent]:
        """What happens to a bridge from this call on, as an asynchronous iterator that ends after `DESTROYED` or when
        the system stops. Any number may be open; each gets all events.

        1,000 events wait for a reader that is too slow, then its oldest go, those of talking first. A bridge of two
        calls is mixed, no longer relayed, once its events are wanted. The first step raises `BridgeNotFound` where there
        is no such bridge; the call itself `NotRunningError`.
        """
        return events_of(self, bridge)

    async def destroy_bridge(self, bridge: BridgeId) -> None:
        """Ends a bridge; the calls stay up, unbridged. Raises `BridgeNotFound`, `NotRunningError`."""
        await _ringback.destroy_bridge(self, bridge)

    async def get_bridge(self, bridge: BridgeId) -> BridgeInfo | None:
        """A bridge as it is now; None where there is none. Raises `NotRunningError`."""
        return await _ringback.get_bridge(self, bridge)

    async def list_bridges(self) -> list[BridgeInfo]:
        """All bridges, those of forwarded calls too. Raises `NotRunningError`."""
        return await _ringback.list_bridges(self)

    async def get_session_bridge(self, session: SessionId) -> BridgeId | None:
        """The bridge that a call is in. Raises `SessionNotFound`, `NotRunningError`."""
        return await _ringback.session_bridge(self, session)

    async def register(self, account: Account) -> Registration:
        """Registers an account with its registrar, and keeps it registered until `Registration.unregister` or the stop.

        Returns at once; `Registration.wait_registered` waits for the registrar, `CallHandler.on_registration` is told of each
        change. Calls with the account's address of record as `from_uri` use its proxy, credentials and connection.
        Raises `InvalidUri`, `ResourceExhausted`, `NotRunningError`.
        """
        if not isinstance(account, Account):
            raise TypeError(f"account must be an Account, not {type(account).__name__}")
        self._last_registration += 1
        number = self._last_registration
        registration = Registration(self, number, account)
        credentials = account.credentials
        self._registrations[number] = registration
        try:
            await _ringback.register_account(
                self,
                number,
                account.aor,
                account.registrar,
                account._proxies,
                None if credentials is None else (credentials.username, credentials.password, credentials.realm),
                seconds(account.expires, "expires"),
                None if account.transport is None else account.transport.value,
                instance(account.aor, self._address),
            )
        except BaseException:
            self._registrations.pop(number, None)
            if self.is_running():
                # Cancelled meanwhile: whatever has begun ends.
                _ringback.drop_account(self, number)
            raise
        return registration

    def audio_batches(
        self, sessions: Sequence[SessionId] | None = None, *, sample_rate: int = 16000, frame_ms: int = 20
    ) -> AudioBatches:
        """The audio of the named calls, or, with None, of every active one, as one array a tick.

        `sample_rate` is 8000, 16000, 24000 or 48000 Hz, `frame_ms` 10 to 60; else `ValueError`. Raises
        `SessionNotFound`, `NotRunningError`.
        """
        return AudioBatches(self, sessions, sample_rate, frame_ms)

    # ---- start and stop, for SessionControl

    async def _startup(self) -> None:
        loop = asyncio.get_running_loop()
        if self._stopping is not None and not self._stopping.done() and self._loop is loop:
            await asyncio.shield(self._stopping)
        if self._starting is not None and self._loop is loop and self._starting.cancelling():
            # Whoever had begun it was cancelled.
            await asyncio.wait((self._starting,))
        self._adopt(loop)
        starting = self._starting
        if starting is None:
            if self.is_running():
                self._told = True
                return
            self._told = False
            starting = self._starting = loop.create_task(self._begin(), name="ringback start")
        self._starters += 1
        try:
            await asyncio.shield(starting)
            self._told = True
        except asyncio.CancelledError:
            # Nobody waits for it any more. It may be done by now: then nobody knows of it, and nobody would stop it.
            if self._starters == 1 and not starting.cancel() and not self._told:
                await self._halt(0.0)
            raise
        finally:
            self._starters -= 1

    async def _begin(self) -> None:
        """Runs and has its accounts at the end, or is stopped again."""
        try:
            if self._reads_file:
                # What was bound before is read from the file, which cannot be interrupted.
                reading = asyncio.ensure_future(_lifecycle.in_thread(self._start))
                try:
                    await asyncio.shield(reading)
                except asyncio.CancelledError:
                    await asyncio.wait((reading,))
                    if not reading.cancelled():
                        reading.exception()
                    raise
            else:
                self._start()
            if self._handler is not None:
                self._handler._begins(self._run)
            for account in self._accounts:
                await self.register(account)
        except BaseException:
            if self.is_running():
                await self._halt(0.0)
            else:
                self._release()
            raise
        finally:
            self._starting = None

    def _adopt(self, loop: asyncio.AbstractEventLoop) -> None:
        """Makes `loop` the one that drains, if there is none or it was closed."""
        if self._loop is loop:
            return
        if self._loop is not None and not self._loop.is_closed():
            raise RuntimeError(f"{self!r} belongs to another event loop")
        self._release()
        self._turns.clear()
        self._starting = None
        create_task, eager = _task_maker(loop)
        levels = Levels(self, loop)
        self._attach(loop, create_task, loop.call_soon, eager, levels.sync)
        drain = _ringback.Drain(self)
        try:
            loop.add_reader(self._fd(), drain)
        except NotImplementedError:
            self._waker = Waker(loop, self._fd(), drain)
        self._loop, self._levels = loop, levels

    def _release(self) -> None:
        """Lets go of the loop."""
        loop, self._loop = self._loop, None
        if self._levels is not None:
            self._levels.close()
            self._levels = None
        if self._waker is not None:
            self._waker.close()
            self._waker = None
        elif loop is not None and not loop.is_closed():
            loop.remove_reader(self._fd())
        self._detach()

    async def _halt(self, drain: float) -> None:
        loop = asyncio.get_running_loop()
        own = self._loop
        if own is not None and own is not loop and own.is_running():
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._halt(drain), own))
            return
        starting = self._starting
        if starting is not None and own is loop and starting is not asyncio.current_task():
            # It stops what begins.
            await asyncio.wait((starting,))
        if self._stopping is None or self._stopping.done():
            if not self.is_running():
                return
            self._adopt(loop)
            self._stopping = loop.create_task(self._stop_all(drain), name="ringback stop")
        elif drain == 0 and self.is_running():
            # Someone drains, and is overruled.
            self._stop(0.0)
        task = asyncio.current_task()
        if task is not None:
            self._stoppers.add(task)
        try:
            await asyncio.shield(self._stopping)
        finally:
            if task is not None:
                self._stoppers.discard(task)

    async def _stop_all(self, drain: float) -> None:
        loop = asyncio.get_running_loop()
        try:
            ended = self._stop(drain)
            await asyncio.wait((ended,), timeout=drain + _CALLS_END)
            deadline = loop.time() + _ALL_ENDS
            # The calls' last events came before that answer: their handlers have started.
            self._drain_all()
            self._close()
            await _lifecycle.in_thread(self._shutdown)
        except BaseException:
            # The loop is being torn down. The calls still end, without us.
            self._abandon()
            threading.Thread(target=self._shutdown, name="ringback-stop", daemon=True).start()
            raise
        finally:
            self._drain_all()
            self._resolve_all()
            end_all(self)
            if self._handler is not None:
                self._handler._ends(self._run)
            for registration in self._registrations.values():
                registration._end()
            self._registrations.clear()
            self._stopping = None
        for task in list(self._store_tasks):
            task.cancel()
        await self._end_handlers(deadline)
        self._release()

    def _drain_all(self) -> None:
        """Dispatches all that has come, without the bounds of one wake."""
        self._drain()
        while self._has_backlog():
            self._drain()

    async def _end_handlers(self, deadline: float) -> None:
        """Lets the handlers that still run (`on_call_ended` writing its record) finish; cancels those that don't."""
        running = [task for task in self._tasks() if task not in self._stoppers]
        if not running:
            return
        remaining = max(deadline - asyncio.get_running_loop().time(), 0.0)
        _, late = await asyncio.wait(running, timeout=remaining)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=_CANCEL)

    def __del__(self) -> None:
        if not self.is_running():
            return
        warnings.warn(f"{self!r} was never stopped", ResourceWarning, source=self, stacklevel=1)
        self._abandon()
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        # The garbage collector may run in any thread.
        with contextlib.suppress(RuntimeError):
            if self._handler is not None:
                loop.call_soon_threadsafe(self._handler._ends, self._run)
            if self._waker is not None:
                self._waker.close()
            elif _running_loop() is loop:
                loop.remove_reader(self._fd())
            else:
                loop.call_soon_threadsafe(loop.remove_reader, self._fd())


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _task_maker(
    loop: asyncio.AbstractEventLoop,
) -> tuple[Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"], bool]:
    """How tasks are made on `loop`, and whether they run up to their first wait at once."""
    factory = loop.get_task_factory()
    if sys.version_info >= (3, 12):
        if factory is None:
            return functools.partial(asyncio.Task, loop=loop, eager_start=True), True
        if factory is asyncio.eager_task_factory:
            return loop.create_task, True
    return loop.create_task, False
