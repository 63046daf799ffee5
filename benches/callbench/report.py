"""The table, and what the project has set itself."""

from collections.abc import Sequence

from .measure import Row
from .systems import FLOOR, PEER, SYSTEMS

GOAL_CPU_US = 100.0
GOAL_CPU_RATE = 3_000
GOAL_CPU_SYSTEM = "async-def"
GOAL_BYTES = 300e6
# Transactions linger 32 s: only a run that is clearly longer says how much memory that takes.
GOAL_BYTES_SECONDS = 70.0

HEADINGS = [
    "answered by", "calls/s", "placed/s", "calls", "failed", "retrans.", "CPU us/call", "x floor", f"x {PEER}",
    "peak MB", "end MB", "settled MB",
]  # fmt: skip


def ratio(row: Row, rows: Sequence[Row], other: str) -> float | None:
    """CPU a call against that of `other` at the same rate."""
    of_other = [r.cpu_us_a_call for r in rows if r.system == other and r.offered_rate == row.offered_rate]
    return row.cpu_us_a_call / of_other[0] if of_other and of_other[0] > 0 else None


def table(rows: Sequence[Row]) -> str:
    def against(row: Row, other: str) -> str:
        found = ratio(row, rows, other)
        return "-" if found is None else f"{found:.2f}"

    def megabytes(count: int | None) -> str:
        return "-" if count is None else f"{count / 1e6:.0f}"

    lines = [HEADINGS]
    for row in rows:
        lines.append(
            [
                row.title,
                f"{row.offered_rate:,}",
                f"{row.placed_rate:,.0f}",
                f"{row.calls:,}",
                f"{row.failed_calls:,}",
                f"{row.retransmissions:,}",
                f"{row.cpu_us_a_call:.1f}",
                against(row, FLOOR),
                against(row, PEER),
                megabytes(row.peak_bytes),
                megabytes(row.end_bytes),
                megabytes(row.settled_bytes),
            ]
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS))]

    def laid_out(line: Sequence[str]) -> str:
        first, *others = zip(line, widths, strict=True)
        return "  ".join([first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]).rstrip()

    return "\n".join([laid_out(lines[0]), "  ".join("-" * width for width in widths), *map(laid_out, lines[1:])])


def goals(rows: Sequence[Row], seconds: float) -> list[tuple[str, bool]]:
    """Each goal that these rows can tell of, and whether it is met."""
    ours = {system.name for system in SYSTEMS if system.goals}
    found: list[tuple[str, bool]] = []
    for row in rows:
        if row.system not in ours:
            continue
        at = f"{row.title}, {row.offered_rate:,} calls/s"
        found.append((f"{at}: no failed call ({row.failed_calls:,})", row.failed_calls == 0))
        if row.system == GOAL_CPU_SYSTEM and row.offered_rate == GOAL_CPU_RATE:
            met = row.cpu_us_a_call <= GOAL_CPU_US
            found.append((f"{at}: at most {GOAL_CPU_US:.0f} us of CPU a call ({row.cpu_us_a_call:.1f})", met))
        if seconds >= GOAL_BYTES_SECONDS:
            met = row.peak_bytes < GOAL_BYTES
            found.append((f"{at}: less than {GOAL_BYTES / 1e6:.0f} MB ({row.peak_bytes / 1e6:.0f})", met))
    return found
