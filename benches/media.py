#!/usr/bin/env python3
"""The media bench: real RTP over loopback against ringback, rtpengine and the machine's own limit, in one run.

See benches/README.md.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from callbench.process import PeerError
from callbench.systems import NotHere, machine, run
from mediabench import limits, report, sections, sounds
from mediabench.setting import Setting
from run import cpus, install, say

OUT = Path(__file__).resolve().parent / "out"
SECTIONS = ("relay", "conference", "opus", "transcoding", "bots", "threads", "lateness")


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)

    def sizes(name: str, default: list[int], help: str) -> None:
        parser.add_argument(name, type=numbers, metavar="N,N", default=default, help=help)

    parser.add_argument("--only", action="append", choices=SECTIONS, help="leave the others out; repeatable")
    parser.add_argument("--seconds", type=float, default=5.0, help="each row counts for so long (5)")
    parser.add_argument("--warm-up", type=float, default=2.0, metavar="SECONDS", help="of the same load first (2)")
    sizes("--relay", [200, 1000], "bridged calls (200,1000)")
    sizes("--conferences", [3, 10, 100, 1000], "sizes (3,10,100,1000)")
    parser.add_argument("--conference-calls", type=int, default=600, metavar="N", help="calls in them together (600)")
    sizes("--opus-conferences", [3, 10], "sizes (3,10)")
    parser.add_argument("--opus-calls", type=int, default=60, metavar="N", help="calls in them together (60)")
    parser.add_argument(
        "--transcoded-calls", type=int, default=60, metavar="N", help="calls of each pair of codecs (60)"
    )
    sizes("--batches", [1000], "bots by AudioBatches (1000)")
    sizes("--streams", [100, 300, 1000], "bots by AudioStream (100,300,1000)")
    sizes("--threads", [1, 2], "numbers of media threads (1,2)")
    parser.add_argument(
        "--thread-calls", type=int, default=1000, metavar="N", help="calls on each number of them (1000)"
    )
    parser.add_argument("--thread-conferences", type=int, default=10, metavar="SIZE", help="conferences on them (10)")
    parser.add_argument("--media-threads", type=int, metavar="N", help="of ringback in all other sections (its usual)")
    parser.add_argument("--tick-calls", type=int, default=50, metavar="N", help="calls while lateness is measured (50)")
    parser.add_argument(
        "--tick-seconds", type=float, default=15.0, metavar="SECONDS", help="each such row at least (15)"
    )
    parser.add_argument("--python", default=sys.executable, help="the interpreter that ringback is installed in")
    parser.add_argument("--media-ports", default="20000-59999", metavar="LOW-HIGH", help="for ringback (20000-59999)")
    parser.add_argument("--pin-tested", type=cpus, metavar="CPUS", help="CPUs of what is measured: 0 or 0,2-3")
    parser.add_argument("--pin-phones", type=cpus, metavar="CPUS", help="CPUs of the phones and of who calls for them")
    parser.add_argument("--no-peer", action="store_true", help="leave rtpengine out")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIRECTORY", help="for results and logs (benches/out)")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a goal is missed or a row left out")
    return parser.parse_args()


def measured(setting: Setting, sizes: sections.Sizes, wanted: Sequence[str], peer: bool) -> sections.Found:
    found = sections.Found([], [], [])
    codecs = None
    if "opus" in wanted or "transcoding" in wanted:
        try:
            codecs = limits.Codecs(setting)
        except NotHere as reason:
            found.left_out.append(f"codecs alone: {reason}")
    if "relay" in wanted:
        sections.relay(setting, sizes, found, install if peer else None)
    if "conference" in wanted:
        sections.conference(setting, sizes, found)
    if "opus" in wanted:
        sections.opus_conference(setting, sizes, found, codecs)
    if "transcoding" in wanted:
        sections.transcoding(setting, sizes, found, codecs)
    if "bots" in wanted:
        sections.bots(setting, sizes, found)
    if "threads" in wanted:
        sections.threads(setting, sizes, found)
    if "lateness" in wanted:
        sections.lateness(setting, sizes, found)
    return found


def main() -> int:
    options = arguments()
    started = time.strftime("%Y%m%d-%H%M%S")
    out: Path = options.out.resolve()
    programs = out / "programs"
    programs.mkdir(parents=True, exist_ok=True)
    setting = Setting(
        python=options.python,
        media_ports=options.media_ports,
        seconds=options.seconds,
        warm_up_seconds=options.warm_up,
        programs=programs,
        sounds=out / "sounds",
        directory=out / f"media-{started}",
        pin_tested=options.pin_tested,
        media_threads=options.media_threads,
        pin_phones=options.pin_phones,
        tell=say,
    )
    asked = "import platform, importlib.metadata as m; print(m.version('ringback'), platform.python_version())"
    setting.versions["ringback"], setting.versions["python"] = run([setting.python, "-c", asked], cwd=programs).split()
    sizes = sections.Sizes(
        relay=[max(2, size // 2 * 2) for size in options.relay],
        conferences=options.conferences,
        conference_calls=options.conference_calls,
        opus_conferences=options.opus_conferences,
        opus_calls=options.opus_calls,
        transcoded_calls=options.transcoded_calls,
        batches=options.batches,
        streams=options.streams,
        tick_calls=options.tick_calls,
        tick_seconds=options.tick_seconds,
        threads=options.threads,
        thread_calls=options.thread_calls,
        thread_conferences=max(2, options.thread_conferences),
    )
    here = machine()
    say("preparing what the phones say")
    sounds.prepare(setting)
    udp_us = limits.udp_us(setting, 1_000)
    found = measured(setting, sizes, options.only or SECTIONS, not options.no_peer)

    goals = report.goals(found)
    result = {
        "started": started,
        "machine": here,
        "versions": setting.versions,
        "seconds": setting.seconds,
        "udp_us": udp_us,
        "media_threads": setting.media_threads,
        "rows": [row.as_json() for row in found.rows],
        "lateness": [asdict(late) for late in found.late],
        "goals": [{"goal": text, "met": met} for text, met in goals],
        "left_out": found.left_out,
    }
    written = json.dumps(result, indent=2) + "\n"
    file = out / f"media-{started}.json"
    file.write_text(written)
    (out / "media-latest.json").write_text(written)

    say(f"\n{here['cpu']}, {here['cpus']} CPUs, {here['kernel']}")
    say(", ".join(f"{name} {version}" for name, version in setting.versions.items()))
    say(
        f"{setting.seconds:g} s a row after {setting.warm_up_seconds:g} s of warm-up; CPU of the whole process under test"
    )
    say(f"the machine's own: {udp_us:.2f} us for a packet sent and received")
    if os.getloadavg()[0] > 1.5 * (os.cpu_count() or 1):
        say("The machine is busy with other work too: compare CPU time, and nothing that waits.")
    say(f"\n{report.tables(found)}\n")
    for text, met in goals:
        say(f"{'met   ' if met else 'MISSED'}  {text}")
    for text in found.left_out:
        say(f"left out  {text}")
    say(f"written to {os.path.relpath(file)}")
    if not found.rows and not found.late:
        return 1
    return 1 if options.strict and (found.left_out or not all(met for _, met in goals)) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (NotHere, PeerError) as error:
        sys.exit(f"benches/media.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
