"""The corner of the loopback network that one test run has for itself: a block of ports that nobody else has.

What a capture of the block holds is this run's, whatever else the machine does. (An address of its own would be neater, 127.0.0.0/8
is all here; but a peer that binds its media to all addresses then sends from 127.0.0.1, which is not what its SDP says.)
"""

import itertools
import socket
from pathlib import Path

HOST = "127.0.0.1"
HOST6 = "::1"
_SIZE = 2560
_STRIDE = 8
# At the end of the block, what is not to be captured.
_UNSEEN = 64


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            # Of all addresses, as some peers want them.
            udp.bind(("", port))
            tcp.bind(("", port))
        except OSError:
            return False
        return True


# Where blocks may begin: first below the ports that the kernel gives out by itself, then among them.
_STARTS = (30_000, *range(20_000, 30_000 - _SIZE, _SIZE), *range(33_000, 60_000, _SIZE))


def _claim() -> tuple[socket.socket, socket.socket, int]:
    """A free block, claimed by holding its first port, of streams and of datagrams."""
    for first in _STARTS:
        guard, marker = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            guard.bind((HOST, first))
            marker.bind((HOST, first))
            if all(_is_free(port) for port in range(first + 1, first + _SIZE)):
                return guard, marker, first
        except OSError:
            pass
        guard.close()
        marker.close()
    raise RuntimeError("no block of ports is free")


# What is sent by `MARKER` to its own port is captured, and is nobody's. It is not read: what does not fit is dropped.
_guard, MARKER, _first = _claim()
# What is captured.
BLOCK = range(_first, _first + _SIZE - _UNSEEN)
# ringback's RTP and RTCP, and everything that anybody listens on.
MEDIA = range(_first + _STRIDE, _first + 1200)
_OTHERS = range(_first + 1200, BLOCK.stop)


_strides = itertools.cycle(range(_OTHERS.start, _OTHERS.stop - _STRIDE + 1, _STRIDE))
_controls = itertools.cycle(range(BLOCK.stop, BLOCK.stop + _UNSEEN))


def free_ports(count: int = 1) -> int:
    """The first, even, of up to 8 consecutive ports that nobody has, for UDP and TCP."""
    assert count <= _STRIDE
    for _ in range(len(_OTHERS) // _STRIDE):
        first = next(_strides)
        if all(_is_free(first + offset) for offset in range(count)):
            return first
    raise AssertionError(f"no {count} free ports in {_OTHERS}")


def control_port() -> int:
    """A port for what is not to be captured."""
    for _ in range(_UNSEEN):
        port = next(_controls)
        if _is_free(port):
            return port
    raise AssertionError("no control port is free")


def is_taken(port: int, kind: socket.SocketKind) -> bool:
    """Whether somebody receives datagrams there, or listens for connections. The kernel's tables are asked: to try the port would
    take it, for that moment, from whoever is about to have it."""
    table, states = ("udp", ()) if kind is socket.SOCK_DGRAM else ("tcp", ("0A",))
    lines = [line for of in (table, f"{table}6") for line in Path(f"/proc/net/{of}").read_text().splitlines()[1:]]
    for line in lines:
        _, local, _, state, *_ = line.split()
        if int(local.rpartition(":")[2], 16) == port and (not states or state in states):
            return True
    return False
