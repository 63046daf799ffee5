"""The media bench runs and its phones hear what they should; no figure is judged, and no time."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXPECTED: tuple[str, ...] = ()

BENCH = Path(__file__).resolve().parents[2] / "benches" / "media.py"
SIZES = [
    "--relay", "4", "--conferences", "3", "--conference-calls", "6", "--opus-conferences", "3", "--opus-calls", "3",
    "--batches", "3", "--streams", "3", "--tick-calls", "3", "--thread-calls", "12",
    "--thread-conferences", "3", "--seconds", "1", "--warm-up", "1", "--tick-seconds", "1",
]  # fmt: skip
SECTIONS = ["relay", "conference", "bots", "threads", "lateness"]


@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("cc") is None, reason="left out: no C compiler for the phones")
def test_each_section_gives_its_rows_and_every_phone_hears_sound(tmp_path: Path) -> None:
    only = [argument for section in SECTIONS for argument in ("--only", section)]
    command = [sys.executable, str(BENCH), *SIZES, *only, "--no-peer", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=540, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads((tmp_path / "media-latest.json").read_text())
    # Real-time priority is a privilege.
    left_out = [text for text in result["left_out"] if "real-time priority" not in text]
    assert left_out == ["rtpengine: not wanted"]
    measured = {(row["section"], row["title"], row["legs"]) for row in result["rows"]}
    assert measured == {
        ("relay", "floor", 4),
        ("relay", "ringback", 4),
        ("conference", "2 of 3", 6),
        ("bots", "`AudioBatches`", 3),
        ("bots", "`AudioStream`", 3),
        *(
            ("threads", f"{what}, {threads}", 12)
            for what in ("bots", "pairs", "conferences of 3")
            for threads in ("1 thread", "2 threads")
        ),
    }
    for row in result["rows"]:
        phones = row["phones"]
        assert phones["least"] > 0, row
        # A machine that is busy loses some, and a program that does not relay all.
        assert phones["sounding"] > phones["sent"] / 4, row
        assert phones["foreign"] == 0, row
    normal = {late["situation"] for late in result["lateness"] if late["what"] == "media thread, normal priority"}
    assert normal == {"Python busy", "all CPUs busy"}
    assert all(late["ticks"] > 0 for late in result["lateness"])
    assert "| ringback" in done.stdout
