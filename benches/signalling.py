#!/usr/bin/env python3
"""The signalling benches: a registrar, calls with passwords, idle connections, a flood. See benches/README.md."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from callbench import sipp
from callbench.process import PeerError
from callbench.systems import NotHere, machine
from signalbench import authentication, connections, flood, registrar, timing
from signalbench.setting import Setting, Table

OUT = Path(__file__).resolve().parent / "out"


def say(text: str) -> None:
    print(text, flush=True)


def install(package: str) -> None:
    say(f"installing the Debian package {package}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", package]):
        subprocess.run(command, check=False, capture_output=True, env=environment)


BENCHES: dict[str, Callable[[Setting], Table]] = {
    "registrar": registrar.measure,
    "authentication": lambda setting: authentication.measure(setting, sipp.find(install)),
    "timing": timing.measure,
    "connections": connections.measure,
    "flood": flood.measure,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=list(BENCHES), help="leave the others out; repeatable")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that ringback is installed in")
    parser.add_argument(
        "--divisor", type=int, default=1, metavar="N", help="all sizes divided by so much, for a quick look (1)"
    )
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if options.divisor < 1:
        raise SystemExit("--divisor must be 1 or more")
    started = time.strftime("%Y%m%d-%H%M%S")
    directory, programs = OUT / f"signalling-{started}", OUT / "programs"
    for wanted in (directory, programs):
        wanted.mkdir(parents=True, exist_ok=True)
    setting = Setting(options.python, directory, programs, options.divisor, lambda text: say(f"    {text}"))
    here = machine()
    tables: dict[str, Table] = {}
    left_out: list[str] = []
    for name, measure in BENCHES.items():
        if options.only is not None and name not in options.only:
            continue
        say(f"{name}:")
        try:
            tables[name] = measure(setting)
        except (NotHere, PeerError) as error:
            left_out.append(f"{name}: {error}")
            say(f"    {error}")
            continue
        say("\n" + tables[name].markdown() + "\n")
    lines = [
        f"{here['cpu']}, {here['cpus']} CPUs, {here['kernel']}",
        *(
            ["Sizes divided by " + str(options.divisor) + ": a look at whether all works, no figures."]
            if options.divisor > 1
            else []
        ),
        *(["The machine was busy with other work too."] if os.getloadavg()[0] > 1.5 * (os.cpu_count() or 1) else []),
    ]
    text = "\n\n".join(
        [
            "\n".join(lines),
            *(table.markdown() for table in tables.values()),
            *(f"Left out: {each}" for each in left_out),
        ]
    )
    (directory / "tables.md").write_text(text + "\n")
    figures = {
        "started": started,
        "machine": here,
        **{name: table.figures for name, table in tables.items()},
        "left_out": left_out,
    }
    (directory / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    say("\n" + text + f"\n\nwritten to {os.path.relpath(directory)}")
    return 1 if left_out else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PeerError as error:
        sys.exit(f"benches/signalling.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
