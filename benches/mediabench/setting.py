"""What a run of the media bench is made of, and how its programs are built."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from callbench.systems import BENCHES, NotHere, run

PHONES_PORTS = (10_000, 19_999)
FLOOR_PORTS = (20_000, 29_999)
ROOT = BENCHES.parent


@dataclass(frozen=True)
class Codec:
    """As the phones send it: the name in SDP, the bench's own number, units of timestamp a packet of 20 ms."""

    name: str
    set: int
    units: int


CODECS = {
    codec.name: codec
    for codec in (
        Codec("PCMU", 0, 160),
        Codec("PCMA", 1, 160),
        Codec("G722", 2, 160),
        Codec("L16", 3, 320),
        Codec("opus", 4, 960),
    )
}


@dataclass(frozen=True)
class Setting:
    """What the rows need to know of this run."""

    python: str
    media_ports: str
    seconds: float
    warm_up_seconds: float
    programs: Path
    sounds: Path
    directory: Path
    pin_tested: Sequence[int] | None = None
    # Of ringback where a row has no number of its own; None: as many as is usual.
    media_threads: int | None = None
    pin_phones: Sequence[int] | None = None
    tell: Callable[[str], None] = print
    versions: dict[str, str] = field(default_factory=dict)

    def log(self, name: str) -> Path:
        """Where a program's complaints go."""
        self.directory.mkdir(parents=True, exist_ok=True)
        number = sum(1 for _ in self.directory.iterdir())
        return self.directory / f"{number:03}-{name}.log"


def compiled(setting: Setting, source: str, *flags: str) -> str:
    """The path of a C program of ours, built anew. `NotHere` where there is no compiler."""
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None:
        raise NotHere("no C compiler (cc, gcc, clang)")
    file = BENCHES / source
    program = setting.programs / file.stem
    run([compiler, "-O2", *flags, "-Wall", "-Wextra", "-o", str(program), str(file)])
    return str(program)


def output(command: Sequence[str], most_seconds: float = 60.0) -> str:
    """What a program that ends by itself prints. `NotHere` where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=most_seconds)
    except (OSError, subprocess.SubprocessError) as error:
        complaint = getattr(error, "stderr", None) or str(error)
        raise NotHere(f"`{command[0]}` failed: {complaint.strip()}") from error
    return done.stdout
