"""Accounts with other registrars: `Account`, `Registration`."""
# pyright: reportUnnecessaryIsInstance=false, reportPrivateUsage=false

import asyncio
import uuid
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from ringback import _ringback
from ringback._ringback import RegistrationView
from ringback._seconds import Seconds, seconds, wait_seconds
from ringback.authentication import Credentials
from ringback.errors import InvalidUri, RegistrationFailed, RegistrationTimeout
from ringback.states import Transport

if TYPE_CHECKING:
    from ringback.coordinator import SessionCoordinator


_PROXIES_MOST = 4


class RegistrationState(StrEnum):
    """Where a `Registration` stands."""

    REGISTERING = "registering"
    """Nothing is known yet, or the connection that it was registered by is gone."""
    REGISTERED = "registered"
    """Bound; refreshed by itself."""
    FAILED = "failed"
    """Refused, or no answer. It is tried again, later and later (RFC 5626 §4.5), or when Retry-After says."""
    UNREGISTERED = "unregistered"
    """Ended, by `unregister` or the stop of the coordinator."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """An address of record that we are, at a registrar elsewhere; for `SessionManagerBuilder.with_account` and
    `SessionCoordinator.register`.

    `registrar` and `proxy` are URIs or hosts; without `registrar` it is the host of `aor`. All requests of the account go to
    `proxy` first where there is one. Of several, four at most, each gets a connection and a registration of its own where
    transport and registrar allow (RFC 5626 §4.2), and one that is lost leaves the others; elsewhere the next one is tried when
    one fails. `credentials` answer its challenges, before those of the builder. `expires` seconds are
    asked for; the registrar decides. `transport` is for the first hop, where its URI names none.

    Over UDP, too, a registrar that knows flows gets one: it is kept alive by STUN on the SIP socket every 24 to 29 seconds
    (RFC 5626 §4.4.2), and registered anew at once when it falls silent or a NAT has moved it. Of one that knows none, the
    address that its answer sees us at (`rport`, RFC 3581) becomes the Contact, by one more REGISTER that takes the old one back, and
    the NAT is kept open; unless `with_public_address` says what Contact is.
    """

    aor: str
    registrar: str | None = None
    credentials: Credentials | None = None
    proxy: str | Sequence[str] | None = None
    expires: Seconds = 3600
    transport: Transport | None = None

    def __post_init__(self) -> None:
        if self.proxy is not None and not isinstance(self.proxy, str | Sequence):
            raise TypeError(f"proxy must be a str or several, not {type(self.proxy).__name__}")
        if self.proxy is not None and not isinstance(self.proxy, str):
            # What cannot be changed any more; and an account is hashable.
            object.__setattr__(self, "proxy", tuple(self.proxy))
        if self.proxy is not None and not 1 <= len(self._proxies) <= _PROXIES_MOST:
            raise ValueError(f"proxy must name 1 to {_PROXIES_MOST}, not {len(self._proxies)}")
        values = [("aor", self.aor), *(("proxy", proxy) for proxy in self._proxies)]
        if self.registrar is not None:
            values.append(("registrar", self.registrar))
        for name, value in values:
            if not isinstance(value, str):
                raise TypeError(f"{name} must be a str, not {type(value).__name__}")
            if not value.strip() or any(ord(character) < 32 for character in value):
                raise InvalidUri(f"{name} is no address: {value!r}", uri=value)
        if not _ringback.user_part(self.aor):
            raise InvalidUri(f"an address of record has a user and a host: {self.aor!r}", uri=self.aor)
        if self.credentials is not None and not isinstance(self.credentials, Credentials):
            raise TypeError(f"credentials must be Credentials, not {type(self.credentials).__name__}")
        if self.transport is not None:
            object.__setattr__(self, "transport", Transport(self.transport))
        least = seconds(self.expires, "expires", zero=False)
        if least < 1:
            raise ValueError(f"expires must be at least 1 s, not {least}")

    @property
    def _proxies(self) -> tuple[str, ...]:
        if self.proxy is None:
            return ()
        return (self.proxy,) if isinstance(self.proxy, str) else tuple(self.proxy)


class Registration:
    """A live handle on an account that is being registered; made by `SessionCoordinator.register`."""

    account: Account

    def __init__(self, coordinator: "SessionCoordinator", number: int, account: Account) -> None:
        self.account = account
        self._number = number
        self._coordinator = weakref.ref(coordinator)
        self._view: RegistrationView | None = None
        self._state = RegistrationState.REGISTERING
        self._waiters: set[asyncio.Future[None]] = set()

    def __repr__(self) -> str:
        return f"<Registration {self.account.aor} {self.state}>"

    @property
    def state(self) -> RegistrationState:
        """Where it stands, as far as `CallHandler.on_registration` has been told."""
        return self._state

    @property
    def expires_at(self) -> datetime | None:
        """Aware, UTC; None unless it is registered. It is refreshed before."""
        return None if self._view is None else self._view.expires_at()

    async def wait_registered(self, timeout: Seconds = 10.0) -> None:
        """Returns when it is registered, at once if it is.

        Raises `RegistrationFailed` where it failed (`status`: the registrar's, None without an answer) or was ended;
        `RegistrationTimeout`, which is one and a `TimeoutError`, after `timeout`. Neither ends the attempts.
        """
        limit = wait_seconds(timeout, "timeout")
        try:
            async with asyncio.timeout(limit):
                while not self._is_registered():
                    waiter = asyncio.get_running_loop().create_future()
                    self._waiters.add(waiter)
                    try:
                        await waiter
                    finally:
                        self._waiters.discard(waiter)
        except TimeoutError:
            raise RegistrationTimeout(f"{self.account.aor} is not registered within {limit:g} s") from None

    def _is_registered(self) -> bool:
        state = self.state
        if state is RegistrationState.FAILED and self._view is not None:
            status, cause = self._view.failure()
            raise RegistrationFailed(f"{self.account.aor} is not registered: {cause}", status=status)
        if state is RegistrationState.UNREGISTERED:
            raise RegistrationFailed(f"{self.account.aor} was unregistered")
        return state is RegistrationState.REGISTERED

    async def unregister(self) -> None:
        """Removes our contact from the registrar and ends the registration; returns when the registrar has answered, or
        cannot be reached. Nothing where it has ended. Calls that are up are not touched.
        """
        coordinator = self._coordinator()
        ended = self._state is RegistrationState.UNREGISTERED
        if ended or coordinator is None or not coordinator.is_running():
            return
        await _ringback.unregister_account(coordinator, self._number)

    # ---- for the dispatch

    def _update(self, view: RegistrationView, state: str) -> None:
        self._view = view
        self._state = RegistrationState(state)
        self._wake()

    def _end(self) -> None:
        self._state = RegistrationState.UNREGISTERED
        self._wake()

    def _wake(self) -> None:
        for waiter in list(self._waiters):
            loop = waiter.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, waiter)


def _settle(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


def instance(aor: str, address: str) -> str:
    """`+sip.instance` (RFC 5626 §4.1): the same after a restart on the same machine and port, another one elsewhere."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{uuid.getnode():x}/{address}/{aor}").urn
