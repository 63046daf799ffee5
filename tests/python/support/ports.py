"""Ranges of media ports of a few pairs, which nobody else has: other runs of the tests may go on beside this one."""

import itertools
import os
import socket

# Below the ports that systems give out by themselves.
_FIRST, _END = 12_000, 18_000
_starts = itertools.cycle(range(_FIRST, _END, 2))
# Each run begins somewhere else.
for _ in range(os.getpid() * 97 % ((_END - _FIRST) // 2)):
    next(_starts)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def media_ports(pairs: int) -> tuple[int, int]:
    """The first and the last of the ports of so many pairs."""
    for low in itertools.islice(_starts, _END):
        if all(_is_free(port) for port in range(low, low + 2 * pairs)):
            for _ in range(pairs - 1):
                next(_starts)
            return low, low + 2 * pairs - 1
    raise AssertionError(f"no {pairs} pairs of free ports")
