"""A STUN and TURN server (RFC 8489, RFC 8656) in the test's own loop, that can be told to misbehave."""

import asyncio
import hashlib
import hmac
import socket
import struct
from collections.abc import Callable

COOKIE = 0x2112A442
BINDING, ALLOCATE, REFRESH, SEND, DATA, PERMISSION, CHANNEL = 1, 3, 4, 6, 7, 8, 9
REQUEST, INDICATION, SUCCESS, ERROR = 0x000, 0x010, 0x100, 0x110
MAPPED, USERNAME, INTEGRITY, ERROR_CODE, CHANNEL_NUMBER = 0x0020, 0x0006, 0x0008, 0x0009, 0x000C
LIFETIME, PEER, PAYLOAD, REALM, NONCE, RELAYED = 0x000D, 0x0012, 0x0013, 0x0014, 0x0015, 0x0016
TEXT = {401: "Unauthorized", 438: "Stale Nonce", 486: "Allocation Quota Reached", 500: "Server Error"}

Address = tuple[str, int]


def xor_address(address: Address) -> bytes:
    raw = struct.unpack("!I", socket.inet_aton(address[0]))[0]
    return struct.pack("!BBHI", 0, 1, address[1] ^ COOKIE >> 16, raw ^ COOKIE)


def read_address(value: bytes) -> Address:
    port, raw = struct.unpack("!HI", value[2:8])
    return socket.inet_ntoa(struct.pack("!I", raw ^ COOKIE)), port ^ COOKIE >> 16


def message(kind: int, transaction: bytes, attributes: list[tuple[int, bytes]], key: bytes | None = None) -> bytes:
    body = b"".join(struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4) for kind, value in attributes)
    if key is not None:
        header = struct.pack("!HHI", kind, len(body) + 24, COOKIE) + transaction
        body += struct.pack("!HH", INTEGRITY, 20) + hmac.new(key, header + body, hashlib.sha1).digest()
    return struct.pack("!HHI", kind, len(body), COOKIE) + transaction + body


def parse(data: bytes) -> tuple[int, int, bytes, dict[int, bytes]]:
    """Class, method, transaction and attributes of a message."""
    kind, _, _ = struct.unpack("!HHI", data[:8])
    attributes: dict[int, bytes] = {}
    at = 20
    while at + 4 <= len(data):
        name, length = struct.unpack("!HH", data[at : at + 4])
        attributes.setdefault(name, data[at + 4 : at + 4 + length])
        at += 4 + length + -length % 4
    return kind & 0x110, kind & 0xF, data[8:20], attributes


class Allocation(asyncio.DatagramProtocol):
    """One client's relayed address."""

    def __init__(self, server: "Relay", client: Address) -> None:
        self.server, self.client = server, client
        self.permitted: set[str] = set()
        self.channels: dict[int, Address] = {}
        self.refreshed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.address: Address = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if addr[0] not in self.permitted:
            return
        self.server.relayed_in += 1
        for number, peer in self.channels.items():
            if peer == addr:
                self.server.channel_data += 1
                self.server.send(struct.pack("!HH", number, len(data)) + data, self.client)
                return
        attributes = [(PEER, xor_address(addr)), (PAYLOAD, data)]
        self.server.send(message(DATA | INDICATION, bytes(12), attributes), self.client)

    def relay(self, data: bytes, peer: Address) -> None:
        if peer[0] in self.permitted:
            self.server.relayed_out += 1
            self.transport.sendto(data, peer)  # type: ignore[attr-defined]


class Relay(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.key = hashlib.md5(b"alice:realm:secret").digest()
        self.nonce = b"first"
        # What Binding requests are answered: None: the truth.
        self.mapping: Callable[[Address], Address] | None = None
        self.silent = False
        self.refuse: int | None = None
        # Answers of a transaction that nobody began, or from a port that nobody asked, come first.
        self.spoil_transaction = self.spoof = False
        self.stale = 0
        self.lifetime = 600
        self.seen: list[tuple[int, int]] = []
        # The ports of those who sent Binding requests.
        self.asked_from: list[int] = []
        self.allocations: dict[Address, Allocation] = {}
        self.most = self.deleted = self.channel_data = self.relayed_in = self.relayed_out = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Relay":
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.address = "{}:{}".format(*self.transport.get_extra_info("sockname"))
        self.other, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
        return self

    async def __aexit__(self, *_: object) -> None:
        for transport in (self.transport, self.other, *(one.transport for one in self.allocations.values())):
            transport.close()

    def count(self, method: int, kind: int = REQUEST) -> int:
        return self.seen.count((method, kind))

    def send(self, data: bytes, to: Address) -> None:
        self.transport.sendto(data, to)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if data[0] >= 0x40:
            number, length = struct.unpack("!HH", data[:4])
            if (allocation := self.allocations.get(addr)) and number in allocation.channels:
                self.channel_data += 1
                allocation.relay(data[4 : 4 + length], allocation.channels[number])
            return
        kind, method, transaction, attributes = parse(data)
        self.seen.append((method, kind))
        if (method, kind) == (BINDING, REQUEST):
            self.asked_from.append(addr[1])
        if self.silent:
            return
        if method == SEND and (allocation := self.allocations.get(addr)):
            allocation.relay(attributes[PAYLOAD], read_address(attributes[PEER]))
        elif kind == REQUEST and method == BINDING:
            self._bind(transaction, addr)
        elif kind == REQUEST and (code := self._objection(data, method, attributes)):
            self._error(method, transaction, code, addr)
        elif kind == REQUEST:
            task = asyncio.create_task(self._serve(method, transaction, attributes, addr))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _bind(self, transaction: bytes, addr: Address) -> None:
        if self.refuse is not None:
            return self._error(BINDING, transaction, self.refuse, addr)
        lie = message(SUCCESS | BINDING, transaction, [(MAPPED, xor_address(("198.51.100.66", 6666)))])
        if self.spoil_transaction:
            self.send(lie[:8] + bytes(12) + lie[20:], addr)
        if self.spoof:
            self.other.sendto(lie, addr)
        mapped = addr if self.mapping is None else self.mapping(addr)
        self.send(message(SUCCESS | BINDING, transaction, [(MAPPED, xor_address(mapped))]), addr)

    def _objection(self, data: bytes, method: int, attributes: dict[int, bytes]) -> int | None:
        if USERNAME not in attributes:
            return 401
        at = data.index(struct.pack("!HH", INTEGRITY, 20))
        signed = data[:2] + struct.pack("!H", at + 4) + data[4:at]
        if not hmac.compare_digest(hmac.new(self.key, signed, hashlib.sha1).digest(), data[at + 4 : at + 24]):
            return 401
        if self.stale > 0 and method in (ALLOCATE, CHANNEL, REFRESH):
            self.stale -= 1
            self.nonce = b"%d" % self.stale
            return 438
        if attributes[NONCE] != self.nonce:
            return 438
        return self.refuse

    def _error(self, method: int, transaction: bytes, code: int, addr: Address) -> None:
        value = struct.pack("!HBB", 0, code // 100, code % 100) + TEXT[code].encode()
        attributes = [(ERROR_CODE, value)]
        if code in (401, 438):
            attributes += [(REALM, b"realm"), (NONCE, self.nonce)]
        # RFC 8489 §9.2.4: a challenge is not signed, any other error is.
        key = None if code in (401, 438) or method == BINDING else self.key
        self.send(message(ERROR | method, transaction, attributes, key), addr)

    async def _serve(self, method: int, transaction: bytes, attributes: dict[int, bytes], addr: Address) -> None:
        answer: list[tuple[int, bytes]] = []
        allocation = self.allocations.get(addr)
        if method == ALLOCATE:
            if allocation is None:
                loop = asyncio.get_running_loop()
                _, allocation = await loop.create_datagram_endpoint(
                    lambda: Allocation(self, addr), local_addr=("127.0.0.1", 0)
                )
                self.allocations[addr] = allocation
                self.most = max(self.most, len(self.allocations))
            answer = [
                (RELAYED, xor_address(allocation.address)),
                (MAPPED, xor_address(addr)),
                (LIFETIME, struct.pack("!I", self.lifetime)),
            ]
        elif allocation is None:
            return
        elif method == REFRESH:
            lifetime = min(self.lifetime, struct.unpack("!I", attributes[LIFETIME])[0])
            answer = [(LIFETIME, struct.pack("!I", lifetime))]
            if lifetime == 0:
                self.deleted += 1
                self.allocations.pop(addr).transport.close()
        else:
            peer = read_address(attributes[PEER])
            allocation.permitted.add(peer[0])
            if method == CHANNEL:
                allocation.channels[struct.unpack("!H", attributes[CHANNEL_NUMBER][:2])[0]] = peer
        self.send(message(SUCCESS | method, transaction, answer, self.key), addr)
