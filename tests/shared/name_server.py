"""A name server with the records that a test gives it."""

import asyncio
import socket
import struct

_TYPES = {"A": 1, "AAAA": 28, "SRV": 33, "NAPTR": 35}


class NameServer(asyncio.DatagramProtocol):
    """`async with NameServer() as names`: `names.add("x.test", "A", "127.0.0.1")`; what it is asked is in `asked`.

    A name that is not known does not exist; one in `silent` gets no answer at all.
    """

    def __init__(self) -> None:
        self._records: dict[tuple[str, int], list[bytes]] = {}
        self._names: set[str] = set()
        self.silent: set[str] = set()
        self.asked: list[tuple[str, str]] = []

    async def __aenter__(self) -> "NameServer":
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.address: tuple[str, int] = self._transport.get_extra_info("sockname")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    def add(self, name: str, kind: str, *data: object) -> None:
        """A: address. SRV: priority, weight, port, target. NAPTR: order, preference, flags, service, replacement."""
        match kind, data:
            case "A", (str() as address,):
                packed = socket.inet_pton(socket.AF_INET, address)
            case "AAAA", (str() as address,):
                packed = socket.inet_pton(socket.AF_INET6, address)
            case "SRV", (int() as priority, int() as weight, int() as port, str() as target):
                packed = struct.pack("!HHH", priority, weight, port) + _name(target)
            case "NAPTR", (int() as order, int() as preference, str() as flags, str() as service, str() as replacement):
                packed = struct.pack("!HH", order, preference) + _text(flags) + _text(service) + _text("")
                packed += _name(replacement)
            case _:
                raise ValueError(kind)
        self._records.setdefault((name, _TYPES[kind]), []).append(packed)
        while name:
            self._names.add(name)
            name = name.partition(".")[2]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        labels: list[str] = []
        at = 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode().lower())
            at += 1 + data[at]
        name = ".".join(labels)
        question = data[12 : at + 5]
        (kind,) = struct.unpack("!H", data[at + 1 : at + 3])
        self.asked.append((name, next((text for text, number in _TYPES.items() if number == kind), str(kind))))
        if any(name == quiet or name.endswith("." + quiet) for quiet in self.silent):
            return
        records = self._records.get((name, kind), [])
        status = 0 if name in self._names else 3
        reply = data[:2] + struct.pack("!HHHHH", 0x8580 | status, 1, len(records), 0, 0) + question
        for record in records:
            reply += b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(record)) + record
        self._transport.sendto(reply, addr)


def _name(name: str) -> bytes:
    return b"".join(_text(label) for label in name.rstrip(".").split(".") if label) + b"\0"


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()
