"""The registrar: where telephones say that they are (RFC 3261 §10), and where that is kept."""
# pyright: reportUnnecessaryIsInstance=false, reportPrivateUsage=false

import os
import secrets
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ringback import _ringback
from ringback._seconds import Seconds, seconds
from ringback.errors import InvalidUri, NotRunningError
from ringback.states import Transport

if TYPE_CHECKING:
    from ringback.coordinator import SessionCoordinator

MIN_EXPIRES = 60.0


@dataclass(frozen=True, kw_only=True)
class Binding:
    """One contact of an address of record.

    A `BindingStore` keeps at least the first five fields. The others make ordering (RFC 3261 §10.3) and flows (RFC 5626)
    survive a restart; a store that does not keep them leaves them at their defaults.
    """

    aor: str
    """"sip:user@domain", without port and parameters."""
    contact: str
    """The URI to reach it at."""
    expires_at: datetime
    """Aware."""
    user_agent: str | None
    received_from: str
    """"ip:port" that the REGISTER came from."""
    transport: Transport = Transport.UDP
    """What the REGISTER came by."""
    q: float = 1.0
    """Preference, 0 to 1."""
    call_id: str = ""
    cseq: int = 0
    path: str = ""
    """Values of Path (RFC 3327), comma-separated."""
    instance: str | None = None
    """`+sip.instance` (RFC 5626), a URN."""
    reg_id: int | None = None
    natted: bool = False
    """It is reached at `received_from`, not at its own address."""
    received_to: str | None = None
    """"ip:port" of ours that the REGISTER came to by UDP. A flow is reached from there, as long as it is listened on."""


@runtime_checkable
class BindingStore(Protocol):
    """Keeps bindings elsewhere, for several registrars too. Its methods run on the coordinator's loop, one after the other
    for each address of record. One that raises, or takes over 10 s, is logged; the REGISTER that needed it gets 503,
    and what was bound before stays.
    """

    async def save(self, binding: Binding) -> None:
        """Keeps it in place of one of the same `aor` and `contact`. Durable on return."""
        ...

    async def delete(self, aor: str, contact: str | None) -> None:
        """Removes one contact of an address of record; None: all of them. Nothing where there is none."""
        ...

    async def find(self, aor: str) -> Sequence[Binding]:
        """The contacts of an address of record, in any order. Those whose time is over may be among them."""
        ...


@runtime_checkable
class FlowBindingStore(BindingStore, Protocol):
    """A `BindingStore` that tells the flows of one telephone apart (RFC 5626 §6). Its `save` puts a binding that has `instance`
    and `reg_id` in place of one with the same `aor`, `instance` and `reg_id`, whatever the contacts are, and any other in
    place of one with the same `aor` and `contact` that has no `reg_id`; `delete` with a contact removes no flow. A store
    without `delete_flow` keeps the latest flow of those with the same contact.
    """

    async def delete_flow(self, aor: str, instance: str, reg_id: int) -> None:
        """Removes one flow. Nothing where there is none."""
        ...


class Registrar:
    """Keeps bindings of addresses of record (RFC 3261 §10, RFC 3327 Path, RFC 5626 outbound); for
    `SessionManagerBuilder.with_registrar`.

    `domains` are the hosts of the addresses that it serves; others get 404. `store`: ":memory:", which a `stop` and another
    start of the same coordinator leave as it is; the path of an SQLite file that survives a restart of the program (a
    REGISTER is answered when it is durable), and is one system's at a time, for it is read at the start alone; or a
    `BindingStore`, which several systems may share. A contact may ask for
    `min_expires` (default 60 s, or `max_expires` where that is less; less gets 423) to `max_expires` (more is shortened).
    More than `max_contacts` of one address of record get 403.

    Whether a REGISTER is let in is decided by `SessionManagerBuilder.with_authenticator`; without one, every one is.
    Calls to a registered address of record, by `SessionControl.create_outgoing_call` or `CallDecision.Forward`, ring all
    of its contacts; the first that answers gets the call. A contact with an instance whose telephone understands it gets a
    public GRUU (RFC 5627): a call to that one rings this instance alone; and with each REGISTER a temporary one, which does the
    same, tells nobody whose it is, and is good as long as the instance is registered with the same Call-ID. Those are sealed
    with `gruu_key`, 32 random bytes: give several registrars with one `BindingStore` the same, and one that is kept if theirs
    are to outlive a restart. An SQLite file keeps its own.
    """

    def __init__(
        self,
        *,
        domains: Sequence[str],
        store: str | os.PathLike[str] | BindingStore = ":memory:",
        max_expires: Seconds = 3600,
        max_contacts: int = 10,
        min_expires: Seconds | None = None,
        gruu_key: bytes | None = None,
    ) -> None:
        if isinstance(domains, str) or not domains:
            raise ValueError(f"domains must be a sequence of at least one host, not {domains!r}")
        for domain in domains:
            if not isinstance(domain, str):
                raise TypeError(f"a domain must be a str, not {type(domain).__name__}")
            host = domain.strip("[]")
            user, parsed, port = _ringback.sip_uri_parts(f"sip:[{host}]" if ":" in host else f"sip:{host}")
            if user is not None or port is not None or not parsed:
                raise InvalidUri(f"a domain is a host without port: {domain!r}", uri=domain)
        if isinstance(store, os.PathLike):
            store = os.fspath(store)
        if not isinstance(store, str):
            for method in ("save", "delete", "find"):
                if not callable(getattr(store, method, None)):
                    raise TypeError(f"store must be a path or have save, delete and find; {store!r} has no {method}")
        elif not store:
            raise ValueError('store must not be empty; ":memory:" keeps nothing')
        if not isinstance(max_contacts, int) or isinstance(max_contacts, bool):
            raise TypeError(f"max_contacts must be an int, not {type(max_contacts).__name__}")
        if not 1 <= max_contacts <= 64:
            raise ValueError(f"max_contacts must be 1 to 64, not {max_contacts}")
        if gruu_key is not None and not isinstance(gruu_key, bytes):
            raise TypeError(f"gruu_key must be bytes, not {type(gruu_key).__name__}")
        if gruu_key is not None and len(gruu_key) != 32:
            raise ValueError(f"gruu_key must have 32 bytes, not {len(gruu_key)}")
        self._domains = [domain.strip("[]") for domain in domains]
        self._store = store
        self._max_expires = seconds(max_expires, "max_expires", zero=False)
        least = MIN_EXPIRES if min_expires is None else seconds(min_expires, "min_expires", zero=False)
        if min_expires is not None and least > self._max_expires:
            raise ValueError(f"min_expires must not be above max_expires: {least} > {self._max_expires}")
        self._min_expires = min(least, self._max_expires)
        self._max_contacts = max_contacts
        self._gruu_key = secrets.token_bytes(32) if gruu_key is None else gruu_key
        self._coordinators: list[weakref.ref[SessionCoordinator]] = []

    def __repr__(self) -> str:
        store = self._store if isinstance(self._store, str) else type(self._store).__name__
        return f"<Registrar {', '.join(self._domains)} store={store!r}>"

    async def lookup(self, aor: str) -> list[Binding]:
        """The contacts of an address of record, best first: by q, then the latest registered.

        Raises `InvalidUri` (not an address of record here), `NotRunningError`, `SessionError` (the store failed).
        """
        return await _ringback.lookup_bindings(self._running(), aor)

    async def remove(self, aor: str) -> None:
        """Removes all contacts of an address of record. Calls that are up are not touched. Raises as `lookup` does."""
        await _ringback.remove_bindings(self._running(), aor)

    # ---- for the builder and the coordinator

    def _settings(self) -> tuple[list[str], float, float, int, str, bytes]:
        kind = "memory" if self._store == ":memory:" else "own" if isinstance(self._store, str) else "shared"
        return self._domains, self._min_expires, self._max_expires, self._max_contacts, kind, self._gruu_key

    def _path(self) -> str | None:
        return self._store if isinstance(self._store, str) and self._store != ":memory:" else None

    def _serve(self, coordinator: "SessionCoordinator") -> None:
        self._coordinators = [known for known in self._coordinators if known() is not None]
        self._coordinators.append(weakref.ref(coordinator))

    def _running(self) -> "SessionCoordinator":
        for known in reversed(self._coordinators):
            coordinator = known()
            if coordinator is not None and coordinator.is_running():
                return coordinator
        raise NotRunningError("no coordinator with this registrar is running")
