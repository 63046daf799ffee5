#!/usr/bin/env python3
"""The call bench: SIPp against ringback, a peer and the machine's own floor, in one run. See benches/README.md."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from callbench import report, sipp
from callbench.measure import Load, Row, measure
from callbench.process import PeerError
from callbench.systems import SYSTEMS, NotHere, Setting, System, machine

OUT = Path(__file__).resolve().parent / "out"
LONG_SECONDS, LINGER_SECONDS = 70.0, 36.0


def say(text: str) -> None:
    print(text, flush=True)


def cpus(text: str) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return found


def rates(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [system.name for system in SYSTEMS]
    parser.add_argument("--rates", type=rates, default=[1_000, 3_000], metavar="N,N", help="calls a second (1000,3000)")
    parser.add_argument("--seconds", type=float, help="calls are placed for so long in each row (20)")
    parser.add_argument("--long", action="store_true", help="70 s a row and 36 s of quiet after it: settled memory")
    parser.add_argument("--warm-up", type=float, default=3.0, metavar="SECONDS", help="of the same load first (3)")
    parser.add_argument("--only", action="append", choices=names, help="leave the others out; repeatable")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that ringback is installed in")
    parser.add_argument("--uvloop", action="store_true", help="run ringback's programs under uvloop")
    parser.add_argument("--media-ports", default="20000-59999", metavar="LOW-HIGH", help="for ringback (20000-59999)")
    parser.add_argument("--pin-answering", type=cpus, metavar="CPUS", help="CPUs of what answers: 0 or 0,2-3")
    parser.add_argument("--pin-calling", type=cpus, metavar="CPUS", help="CPUs of SIPp")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a goal is missed or a row left out")
    return parser.parse_args()


def install(package: str) -> None:
    say(f"installing the Debian package {package}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", package]):
        subprocess.run(command, check=False, capture_output=True, env=environment)


def prepared(systems: Sequence[System], setting: Setting) -> tuple[list[tuple[System, list[str]]], list[str]]:
    """The systems with their commands, and why others are left out."""
    ready: list[tuple[System, list[str]]] = []
    left_out: list[str] = []
    for system in systems:
        say(f"preparing {system.title}")
        try:
            ready.append((system, system.prepare(setting)))
        except NotHere as reason:
            left_out.append(f"{system.title}: {reason}")
    return ready, left_out


def main() -> int:
    options = arguments()
    seconds = options.seconds or (LONG_SECONDS if options.long else 20.0)
    load = Load(
        seconds=seconds,
        warm_up_seconds=options.warm_up,
        linger_seconds=LINGER_SECONDS if options.long else 0.0,
        pin_answering=options.pin_answering,
        pin_calling=options.pin_calling,
    )
    started = time.strftime("%Y%m%d-%H%M%S")
    directory = OUT / started
    programs = OUT / "programs"
    for wanted in (directory, programs):
        wanted.mkdir(parents=True, exist_ok=True)
    setting = Setting(options.python, options.media_ports, options.uvloop, programs)

    caller = sipp.find(install)
    setting.versions["sipp"] = sipp.version(caller)
    ready, left_out = prepared([s for s in SYSTEMS if options.only is None or s.name in options.only], setting)
    here = machine()

    rows: list[Row] = []
    for rate in options.rates:
        for system, command in ready:
            label = f"{system.title}, {rate:,} calls/s"
            say(f"{label}:")
            try:
                row = measure(
                    system.name, system.title, command, rate, load, caller, directory / f"{system.name}-{rate}",
                    lambda text: say(f"    {text}"),
                )  # fmt: skip
            except PeerError as error:
                left_out.append(f"{label}: {error}")
                say(f"    {error}")
                continue
            rows.append(row)
            cpu, peak = row.cpu_us_a_call, row.peak_bytes / 1e6
            say(f"    {cpu:.1f} us of CPU a call, {row.failed_calls} failed, peak {peak:.0f} MB")

    goals = report.goals(rows, seconds)
    result = {
        "started": started,
        "machine": here,
        "versions": setting.versions,
        "seconds": load.seconds,
        "warm_up_seconds": load.warm_up_seconds,
        "linger_seconds": load.linger_seconds,
        "pinned": {"answering": options.pin_answering, "calling": options.pin_calling},
        "uvloop": options.uvloop,
        "rows": [row.as_json() for row in rows],
        "goals": [{"goal": text, "met": met} for text, met in goals],
        "left_out": left_out,
    }
    written = json.dumps(result, indent=2) + "\n"
    file = OUT / f"calls-{started}.json"
    file.write_text(written)
    (OUT / "calls-latest.json").write_text(written)

    say("")
    say(f"{here['cpu']}, {here['cpus']} CPUs, {here['kernel']}")
    say(", ".join(f"{name} {version}" for name, version in setting.versions.items()))
    say(f"{load.seconds:g} s a row after {load.warm_up_seconds:g} s of warm-up; CPU of the whole answering process")
    if os.getloadavg()[0] > 1.5 * (os.cpu_count() or 1):
        say("The machine is busy with other work too: compare CPU time, and nothing that waits.")
    say("")
    say(report.table(rows))
    for text, met in goals:
        say(f"{'met   ' if met else 'MISSED'}  {text}")
    for text in left_out:
        say(f"left out  {text}")
    say(f"written to {os.path.relpath(file)}")
    if not rows:
        return 1
    return 1 if options.strict and (left_out or not all(met for _, met in goals)) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PeerError as error:
        sys.exit(f"benches/run.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
