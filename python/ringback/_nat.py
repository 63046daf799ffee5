"""STUN and TURN servers: what a program gives, and their addresses."""

import asyncio
import dataclasses
import ipaddress
import socket

# RFC 8489 §8.1, RFC 8656 §4.
DEFAULT_PORT = 3478
# RFC 8489 §14.3, and what a SHA-1 key can be made of.
_LONGEST = 508


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    kind: str
    host: str
    port: int

    async def locate(self, families: set[int]) -> tuple[str, int]:
        """Its address, of a family (4, 6) that there are ports of where it has one; `ValueError` where it has none at all."""
        try:
            return str(ipaddress.ip_address(self.host)), self.port
        except ValueError:
            pass
        try:
            found = await asyncio.get_running_loop().getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)
        except OSError as error:
            raise ValueError(f"no address for the {self.kind} server {self.host!r}: {error}") from error
        version = {socket.AF_INET: 4, socket.AF_INET6: 6}
        found.sort(key=lambda info: (version.get(info[0]) not in families, info[0] != socket.AF_INET))
        return str(found[0][4][0]), self.port


@dataclasses.dataclass(frozen=True, slots=True)
class Account:
    server: Server
    username: str
    password: str = dataclasses.field(repr=False)


def server(kind: str, address: str) -> Server:
    """From "host:port"."""
    if not isinstance(address, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"address must be a str, not {type(address).__name__}")
    host, port = address, DEFAULT_PORT
    bare = address.startswith("[") and address.endswith("]")
    if not bare and ":" in address:
        host, _, number = address.rpartition(":")
        if not (number.isascii() and number.isdigit() and 1 <= int(number) <= 65_535):
            raise ValueError(f"the {kind} server must be 'host:port' with a port of 1 to 65535, not {address!r}")
        port = int(number)
    return Server(kind, _host(kind, host, address), port)


def _host(kind: str, host: str, address: str) -> str:
    wrong = ValueError(f"the {kind} server must be 'host:port', not {address!r}")
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise wrong from None
    labels = host.rstrip(".").split(".")
    if len(host) > 253 or not all(0 < len(label) < 64 and _is_label(label) for label in labels):
        raise wrong
    if labels[-1].isdigit():
        # Only an address ends in a number.
        try:
            if int(ipaddress.IPv4Address(host)) == 0:
                raise wrong
        except ipaddress.AddressValueError:
            raise wrong from None
    return host


def _is_label(label: str) -> bool:
    return label.isascii() and all(c.isalnum() or c in "-_" for c in label)


def account(address: str, username: str, password: str) -> Account:
    """A TURN server with the credentials for it."""
    at = server("TURN", address)
    for name, value in (("username", username), ("password", password)):
        if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"{name} must be a str, not {type(value).__name__}")
        if not value or len(value.encode()) > _LONGEST or any(c < " " for c in value):
            raise ValueError(f"{name} must have 1 to {_LONGEST} bytes, and no control characters")
    return Account(at, username, password)
