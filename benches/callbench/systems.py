"""What can be measured: how each program is built, and how it is started."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

BENCHES = Path(__file__).resolve().parent.parent
BUILD_SECONDS = 600


class NotHere(Exception):
    """The program cannot be measured on this machine; says why."""


@dataclass(frozen=True)
class System:
    name: str
    title: str
    # Builds what is to be built and returns the command.
    prepare: Callable[["Setting"], list[str]]
    # Whether the project's goals for a call hold for it.
    goals: bool = False


@dataclass(frozen=True)
class Setting:
    """What the programs need to know of this run."""

    python: str
    media_ports: str
    uvloop: bool
    programs: Path
    versions: dict[str, str] = field(default_factory=dict)


def run(command: Sequence[str], cwd: Path | None = None) -> str:
    """The command's standard output; `NotHere` with what it complained of where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=BUILD_SECONDS, cwd=cwd)
    except FileNotFoundError as error:
        raise NotHere(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise NotHere(f"`{' '.join(command)}` took longer than {BUILD_SECONDS} s") from error
    except subprocess.CalledProcessError as error:
        complaint = (error.stderr or error.stdout or "").strip().splitlines()
        raise NotHere(f"`{' '.join(command)}` failed: {complaint[-1] if complaint else error.returncode}") from error
    return done.stdout


def floor(setting: Setting) -> list[str]:
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None:
        raise NotHere("no C compiler (cc, gcc, clang)")
    program = setting.programs / "floor"
    run([compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(BENCHES / "floor" / "floor.c")])
    setting.versions["cc"] = run([compiler, "-dumpfullversion"]).strip()
    return [str(program)]


def sipgo(setting: Setting) -> list[str]:
    program = setting.programs / "sipgo-uas"
    source = BENCHES / "peers" / "sipgo"
    run(["go", "build", "-trimpath", "-buildvcs=false", "-o", str(program), "."], cwd=source)
    modules = run(["go", "version", "-m", str(program)]).split()
    setting.versions["go"] = run(["go", "env", "GOVERSION"]).strip().removeprefix("go")
    setting.versions["sipgo"] = modules[modules.index("github.com/emiago/sipgo") + 1].removeprefix("v")
    return [str(program)]


def ringback(mode: str) -> Callable[[Setting], list[str]]:
    def prepare(setting: Setting) -> list[str]:
        # From a directory without the sources, so that what is measured is what is installed.
        run([setting.python, "-c", "import ringback"], cwd=setting.programs)
        asked = "import platform, importlib.metadata as m; print(m.version('ringback'), platform.python_version())"
        versions = run([setting.python, "-c", asked], cwd=setting.programs).split()
        setting.versions["ringback"], setting.versions["python"] = versions
        command = [setting.python, str(BENCHES / "peers" / "ringback_uas.py"), mode]
        command += ["--media-ports", setting.media_ports]
        return [*command, "--uvloop"] if setting.uvloop else command

    return prepare


SYSTEMS = [
    System("floor", "floor (copies headers, no SIP stack)", floor),
    System("sipgo", "sipgo (Go, transactions, static SDP)", sipgo),
    System("async-def", "ringback, async def handler", ringback("async-def"), goals=True),
    System("auto", "ringback, AutoAnswerHandler", ringback("auto"), goals=True),
    System("all", "ringback, every method overridden", ringback("all"), goals=True),
]
FLOOR, PEER = "floor", "sipgo"


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    system = os.uname()
    return {
        "cpu": model,
        "cpus": os.cpu_count(),
        "kernel": f"{system.sysname} {system.release} {system.machine}",
        "load_average": list(os.getloadavg()),
    }
