"""G.711 decoding by the standard's formulas, to hear what a capture holds. Nothing of ringback's own code is used."""

from collections.abc import Iterable

import numpy as np
from capture import Packet
from numpy.typing import NDArray


def _ulaw(code: int) -> int:
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << ((code & 0x70) >> 4)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def _alaw(code: int) -> int:
    code ^= 0x55
    segment = (code & 0x70) >> 4
    magnitude = ((code & 0x0F) << 4) + 8
    if segment:
        magnitude = magnitude + 0x100 << segment - 1
    return magnitude if code & 0x80 else -magnitude


TABLES = {
    0: np.array([_ulaw(code) for code in range(256)], dtype=np.int16),
    8: np.array([_alaw(code) for code in range(256)], dtype=np.int16),
}


def decode(packets: Iterable[Packet]) -> NDArray[np.int16]:
    """The sound of RTP packets, one after the other; telephone-events and the like are left out."""
    parts = [np.zeros(0, dtype=np.int16)]
    for packet in packets:
        table = TABLES.get(packet.number("rtp.p_type")) if packet.all("rtp.payload") else None
        if table is not None:
            parts.append(table[np.frombuffer(bytes.fromhex(packet.one("rtp.payload")), dtype=np.uint8)])
    return np.concatenate(parts)
