"""What the machine itself, and the codecs by themselves, charge: the programs in `floor/`, and libopus and ours alone."""

import shutil
from typing import Self

from callbench.process import Peer
from callbench.systems import NotHere, run

from .measure import FRAMES_A_SECOND
from .setting import FLOOR_PORTS, ROOT, Setting, compiled, output

SECONDS = 1.0


class Relay(Peer):
    """`floor/relay.c`."""

    def __init__(self, setting: Setting, legs: int) -> None:
        low, high = FLOOR_PORTS
        command = [compiled(setting, "floor/relay.c"), str(legs), str(low), str(high)]
        super().__init__(command, setting.log("floor-relay"), setting.pin_tested, talks=True)

    def __enter__(self) -> Self:
        super().__enter__()
        self.ports = [int(port) for port in self.hear().split()[1:]]
        return self


def udp_us(setting: Setting, pairs: int) -> float:
    """CPU time of a packet sent and received over loopback, microseconds."""
    return float(output([compiled(setting, "floor/udp.c"), str(pairs), str(SECONDS)]))


def mix_us(setting: Setting, size: int, rooms: int) -> float:
    """CPU time of a participant's frame of G.711 without any packet, microseconds."""
    program = compiled(setting, "floor/mix.c", "-O3", "-march=native")
    return float(output([program, str(size), str(rooms), str(SECONDS)])) / 1e3


def tick(setting: Setting, seconds: float, kind: str) -> tuple[float, float, float]:
    """How late sleeps of a millisecond end: median, 99th percentile, most, microseconds. `kind`: fifo or normal."""
    program = compiled(setting, "floor/tick.c")
    median, p99, most = output([program, str(seconds), "1000", kind], seconds + 60).split()
    return float(median), float(p99), float(most)


class Codecs:
    """`cargo bench -p ringback-audio --bench codecs`, built once."""

    def __init__(self, setting: Setting) -> None:
        if shutil.which("cargo") is None:
            raise NotHere("what codecs cost alone: no cargo")
        self._setting = setting
        self._command = ["cargo", "bench", "--quiet", "--locked", "-p", "ringback-audio", "--bench", "codecs", "--"]
        self._known: dict[tuple[str, int, int], tuple[float, float]] = {}
        setting.tell("building the codecs' own bench (the first time takes some minutes)")
        run(self._command, ROOT)

    def alone_us(self, codec: str, streams: int, size: int = 1) -> tuple[float, float]:
        """CPU time to decode and to encode a frame, microseconds, with so many streams in rooms of `size`."""
        key = (codec, streams, size)
        if key not in self._known:
            arguments = [codec, str(self._setting.sounds / codec), str(streams), str(size), str(3 * SECONDS)]
            decode, encode = run([*self._command, *arguments], ROOT).split()
            self._known[key] = float(decode) / 1e3, float(encode) / 1e3
        return self._known[key]


def legs_of(microseconds: float) -> float:
    """How many legs a core carries at so much a packet."""
    return 1e6 / FRAMES_A_SECOND / microseconds
