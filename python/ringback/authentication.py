"""`Credentials` and `Authenticator`: who we are where a peer asks, and whom we let in (RFC 3261 §22, RFC 8760)."""

import inspect
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ringback._ringback import CoordinatorBase, answer_password
from ringback._seconds import Seconds, seconds

_LONGEST_REALM = 128
_ALGORITHMS = ("SHA-512-256", "SHA-256", "MD5")


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A user name and a password for peers that answer 401 or 407; for `SessionManagerBuilder.with_credentials`.

    Digests are made by MD5, SHA-256 or SHA-512-256, whichever the peer asks for first. To a realm without credentials
    nothing is sent; what a peer refuses ends in `CallRejected`. Raises `ValueError` and `TypeError` for texts that
    cannot be sent.
    """

    username: str
    password: str = field(repr=False)
    """Never in `repr` or logs."""
    realm: str | None = None
    """The realm that they are for, exactly as the peer writes it. None: any realm, but only of the host that the
    request went to: not of what is behind a proxy named by a Route header."""

    def __post_init__(self) -> None:
        for name in ("username", "password", "realm"):
            value = getattr(self, name)
            if value is None and name == "realm":
                continue
            _check(value, name, empty=name == "password")


class Authenticator:
    """Digest authentication of every request outside a dialog, for `SessionManagerBuilder.with_authenticator`.

    Requests without the right digest get 401 with a challenge for each algorithm; their nonces are good for
    `nonce_seconds` (then 401 says `stale=true`, and no user is asked again), and each count of one once. A user may only
    speak for its own address of record: the user part of From is the user name, its host the realm, a domain of the
    registrar or one of our own addresses (any host, where the realm is no domain and there is no registrar); else 403.

    Passwords come from a mapping of user to password, which is copied when the system is built, or from an overridden
    `password`.
    """

    def __init__(
        self,
        realm: str,
        passwords: Mapping[str, str] | None = None,
        *,
        trusted: Sequence[str] = (),
        algorithms: Sequence[str] = ("SHA-256", "MD5"),
        integrity: bool = False,
        nonce_seconds: Seconds = 300,
    ) -> None:
        """`trusted`: networks in CIDR form ("10.0.0.0/8", "2001:db8::/32", "192.0.2.7") that are let in without
        (trunks). `algorithms`: what is asked for, the preferred one first: of "SHA-512-256", "SHA-256", "MD5". Some
        old programs (SIPp 3.6) want ("MD5",). `integrity`: bodies are signed as well (`qop=auth-int`), so that nobody on the
        way changes an SDP; few telephones can, and no proxy that rewrites bodies may stand between.

        Raises `ValueError` and `TypeError` for what is no realm, user, password or network.
        """
        _check(realm, "realm")
        if len(realm) > _LONGEST_REALM:
            raise ValueError(f"realm has more than {_LONGEST_REALM} characters")
        passwords = {} if passwords is None else passwords
        if not isinstance(passwords, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"passwords must be a mapping, not {type(passwords).__name__}")
        if isinstance(trusted, str):
            raise TypeError("trusted must be a sequence of networks, not a str")
        self._realm = realm
        self._passwords = passwords
        if isinstance(algorithms, str) or not algorithms:
            raise TypeError("algorithms must be a sequence of names")
        for name in algorithms:
            if name not in _ALGORITHMS:
                raise ValueError(f"no digest algorithm {name!r}; there are {', '.join(_ALGORITHMS)}")
        self._algorithms = tuple(algorithms)
        self._integrity = bool(integrity)
        self._nonce_seconds = seconds(nonce_seconds, "nonce_seconds", zero=False)
        if not 1 <= self._nonce_seconds <= 86_400:
            raise ValueError(f"nonce_seconds must be 1 to 86400, not {nonce_seconds}")
        for network in trusted:
            if not isinstance(network, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"a trusted network must be a str, not {type(network).__name__}")
        self._trusted = tuple(str(ipaddress.ip_network(network)) for network in trusted)

    async def password(self, username: str, realm: str) -> str | None:
        """The password of a user; None: there is none, which nobody can tell from a wrong one.

        To be overridden where passwords are elsewhere. The request waits for it, for 5 s at most, then it is 503; an
        exception is 500 and goes to `on_error`. Requests without a nonce of ours are refused without asking.

        The peer is answered when this returns: where it takes less long for users that there are not, that tells who they are. (With
        a mapping it takes equally long.)
        """
        return self._passwords.get(username)

    def _settings(self) -> tuple[str, dict[str, str] | None, tuple[str, ...], tuple[str, ...], bool, float]:
        """The realm, the passwords (None: `password` is to be asked), trusted networks, algorithms, whether bodies are signed, and a
        nonce's life.
        """
        if getattr(self.password, "__func__", None) is not Authenticator.password:
            return self._realm, None, self._trusted, self._algorithms, self._integrity, self._nonce_seconds
        table = dict(self._passwords)
        for username, password in table.items():
            _check(username, "a user name")
            _check(password, f"the password of {username!r}", empty=True)
        return self._realm, table, self._trusted, self._algorithms, self._integrity, self._nonce_seconds

    async def _answer(self, coordinator: CoordinatorBase, key: int, username: str, realm: str) -> None:
        """The engine asks for a password."""
        try:
            # A plain method is as good.
            result: object = self.password(username, realm)
            password = _found(await result if inspect.isawaitable(result) else result)
        except Exception:
            answer_password(coordinator, key, None, True)
            raise
        answer_password(coordinator, key, password, False)


def _found(password: object) -> str | None:
    if password is not None and not isinstance(password, str):
        raise TypeError(f"password must give a str or None, not {type(password).__name__}")
    return password


def _check(value: object, name: str, *, empty: bool = False) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if not value and not empty:
        raise ValueError(f"{name} is empty")
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):
        raise ValueError(f"{name} has a control character")
