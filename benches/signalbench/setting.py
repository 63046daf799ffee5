"""What every signalling bench needs: the interpreter, a folder, sizes, and the programs that make the load."""

import json
import math
import resource
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from callbench.process import Peer, PeerError
from callbench.systems import BENCHES, NotHere, run

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Setting:
    """One run."""

    python: str
    directory: Path
    programs: Path
    # By how much the sizes are divided: for a look at whether all works.
    divisor: int
    tell: Callable[[str], None]

    def size(self, full: int) -> int:
        return max(1, full // self.divisor)


@dataclass(frozen=True)
class Table:
    """What a bench has found: Markdown, and the same for a machine."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]
    figures: object

    def markdown(self) -> str:
        lines = [f"### {self.title}", "", _line(self.headings), _line(["---"] * len(self.headings))]
        lines += [_line(row) for row in self.rows]
        return "\n".join([*lines, *(f"\n{note}" for note in self.notes)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def server(setting: Setting, name: str, *options: str) -> Peer:
    """`with server(...) as peer`: ringback, set up by the options of `peers/ringback_server.py`."""
    program = BENCHES / "peers" / "ringback_server.py"
    return Peer([setting.python, str(program), *options], setting.directory / f"{name}.log")


def load_program(setting: Setting, name: str) -> str:
    """The path of `load/NAME.c`, compiled."""
    compiler = next((found for each in ("cc", "gcc", "clang") if (found := shutil.which(each))), None)
    if compiler is None:
        raise NotHere("no C compiler (cc, gcc, clang)")
    program = setting.programs / name
    source = BENCHES / "load" / f"{name}.c"
    run([compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(source)])
    return str(program)


def outcome(command: Sequence[str], seconds: float) -> dict[str, float]:
    """Runs a load program to its end, and reads the object that it prints."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise PeerError(f"{command[0]} has not come to its end in {seconds:g} s") from None
    if done.returncode != 0:
        raise PeerError(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def raise_file_limit(wanted: int) -> int:
    """Raises this process's limit of open files to `wanted` where that is allowed; the limit that it then has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in ((wanted, max(wanted, hard)), (min(wanted, hard), hard)):
        if soft >= wanted:
            break
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        except (OSError, ValueError):
            continue  # raising the hard limit is a privilege
        break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def megabytes(count: float) -> str:
    return f"{count / 1e6:,.1f}"


def percentile(values: Sequence[float], part: float) -> float:
    """The value that `part` of them do not exceed; nearest rank."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]
