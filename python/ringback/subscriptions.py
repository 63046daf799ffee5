"""Subscriptions to what others know: calls, mailboxes, presence (RFC 6665); the operation is `SessionControl.subscribe`."""
# pyright: reportPrivateUsage=false

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ringback import _ringback
from ringback._ringback import CoordinatorBase
from ringback.errors import NotRunningError

# Notifications that nobody has read; then the oldest goes for the newest.
_UNREAD_MOST = 256


@dataclass(frozen=True, kw_only=True)
class Notification:
    """What one NOTIFY says."""

    event: str
    """The event package: "dialog", "message-summary", "presence", ..."""
    content_type: str | None
    """None where there is no body."""
    body: str
    state: str
    """"active"; "pending": not decided yet, or about to be subscribed anew; "terminated": the last one."""


class Inbox:
    """Where the coordinator puts notifications, on its loop, until there will be none any more."""

    def __init__(self) -> None:
        self._unread: deque[Notification] = deque(maxlen=_UNREAD_MOST)
        self._ended = False
        self._changed = asyncio.Event()

    def put(self, notification: Notification) -> None:
        self._unread.append(notification)
        self._changed.set()

    def end(self) -> None:
        self._ended = True
        self._changed.set()

    async def next(self) -> Notification | None:
        """The next one; None when there will be none."""
        while not self._unread:
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._unread.popleft()


class Subscription:
    """A subscription of ours, kept alive until it is ended: refreshed before it expires, and made anew where the
    notifier has lost it. `async for` gives its notifications, and ends when there will be none any more: the notifier
    has ended it for good, it was unsubscribed, or the coordinator stopped.

    256 unread notifications are kept; then the oldest goes for the newest. A subscription that is dropped is ended.
    """

    _coordinator: CoordinatorBase
    _number: int
    _inbox: Inbox

    def __init__(self) -> None:
        raise TypeError("Subscription objects are made by SessionControl.subscribe, not by programs")

    async def __aiter__(self) -> AsyncIterator[Notification]:
        """The notifications that nobody has read, and those to come."""
        while (notification := await self._inbox.next()) is not None:
            yield notification

    async def unsubscribe(self) -> None:
        """Ends it: the notifier is told (SUBSCRIBE with Expires 0), iteration ends. No-op on one that has ended."""
        self._inbox.end()
        with contextlib.suppress(NotRunningError):
            await _ringback.unsubscribe(self._coordinator, self._number)

    def __del__(self) -> None:
        if hasattr(self, "_coordinator"):
            _ringback.drop_subscription(self._coordinator, self._number)


def new(coordinator: CoordinatorBase, number: int) -> tuple[Subscription, Inbox]:
    """For the native half."""
    subscription = object.__new__(Subscription)
    inbox = Inbox()
    subscription._coordinator = coordinator
    subscription._number = number
    subscription._inbox = inbox
    return subscription, inbox
