"""The tables, in Markdown, and what the project has set itself."""

from collections.abc import Sequence

from .measure import Row
from .sections import RINGBACK, RTPENGINE, Found, Late

HEADINGS = {
    "relay": "Relay: calls bridged in pairs, G.711",
    "conference": "Conferences, G.711, all talk",
    "opus conference": "Conferences, Opus, all talk",
    "transcoding": "Bridges of two codecs",
    "bots": "Echo by a Python program, 16 kHz, 20 ms",
    "threads": "One process, several media threads",
}

RELAY_LEGS = 3_000
CONFERENCE_PARTICIPANTS = 2_500
CONFERENCE_SIZES = ("of 10", "of 100")
OPUS_OVERHEAD = 1.15
BOTS, BOTS_CORES = 1_000, 1.5
BYTES_A_CALL, CALLS_FOR_BYTES = 40_000, 1_000
TICK_P99_SECONDS = 0.5e-3
# Above this the row says nothing, whatever it cost.
LOST_PERCENT = 1.0


def _table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[i]) for line in [headings, *lines]) for i in range(len(headings))]

    def laid_out(line: Sequence[str]) -> str:
        first, *others = zip(line, widths, strict=True)
        return "| " + " | ".join([first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]) + " |"

    rule = "|" + "|".join("-" * (widths[0] + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([laid_out(headings), rule, *map(laid_out, lines)])


def _ratio(mine: float, other: float | None) -> str:
    return f"{mine / other:.2f}" if other else "-"


def _rows(rows: Sequence[Row]) -> str:
    headings = [
        "", "calls", "us/frame", "media thread", "a core carries", "cores", "x limit", f"x {RTPENGINE}",
        "lost %", "sound %", "kB/call", "phones late %", "phones' cores",
    ]  # fmt: skip
    lines = [
        [
            row.title,
            f"{row.legs:,}",
            f"{row.cpu_us:.2f}",
            "-" if row.media_us is None else f"{row.media_us:.2f}",
            f"{row.legs_a_core:,.0f}",
            f"{row.cores:.2f}",
            _ratio(row.cpu_us, row.limit_us),
            _ratio(row.cpu_us, row.peer_us),
            f"{row.phones.lost_percent:.2f}",
            f"{row.phones.sounding_percent:.1f}",
            "-" if row.bytes_a_call is None else f"{row.bytes_a_call / 1e3:.1f}",
            f"{row.phones.late_percent:.1f}",
            f"{row.phones.cpu_seconds / row.phones.seconds:.2f}",
        ]
        for row in rows
    ]
    # A column that says nothing is left out.
    kept = [i for i in range(len(headings)) if not lines or any(line[i] != "-" for line in lines)]
    return _table([headings[i] for i in kept], [[line[i] for i in kept] for line in lines])


def _late(rows: Sequence[Late]) -> str:
    lines = [
        [row.what, row.situation, f"{row.ticks:,}", *(f"{1e6 * x:,.0f}" for x in (row.median, row.p99, row.longest))]
        for row in rows
    ]
    return _table(["", "meanwhile", "ticks", "p50 us", "p99 us", "most us"], lines)


def tables(found: Found) -> str:
    """All sections that have rows, as Markdown."""
    parts = list[str]()
    for section, heading in HEADINGS.items():
        rows = [row for row in found.rows if row.section == section]
        if rows:
            parts += [f"### {heading}", _rows(rows)]
    if found.late:
        parts += ["### Lateness of ticks", _late(found.late)]
    return "\n\n".join(parts)


def goals(found: Found) -> list[tuple[str, bool]]:
    """Each goal that these rows can tell of, and whether it is met."""
    told: list[tuple[str, bool]] = []
    for row in found.rows:
        what = f"{row.section}, {row.title}, {row.legs:,} calls"
        if row.section == "relay" and row.title != RINGBACK:
            continue
        # What gets lost costs nothing: no other goal is met by that.
        whole = row.phones.lost_percent <= LOST_PERCENT
        told.append((f"{what}: at most {LOST_PERCENT:g} % lost", whole))
        if row.section == "relay":
            met = whole and row.legs_a_core >= RELAY_LEGS
            told.append((f"{what}: {RELAY_LEGS:,} legs a core ({row.legs_a_core:,.0f})", met))
        if row.section == "conference" and row.title.endswith(CONFERENCE_SIZES):
            met = whole and row.legs_a_core >= CONFERENCE_PARTICIPANTS
            told.append((f"{what}: {CONFERENCE_PARTICIPANTS:,} participants a core ({row.legs_a_core:,.0f})", met))
        if row.section == "opus conference" and row.limit_us:
            over = row.cpu_us / row.limit_us
            told.append(
                (f"{what}: at most {OPUS_OVERHEAD} times libopus alone ({over:.2f})", whole and over <= OPUS_OVERHEAD)
            )
        if row.section == "bots" and "Batches" in row.title and row.legs >= BOTS:
            told.append((f"{what}: at most {BOTS_CORES} cores ({row.cores:.2f})", whole and row.cores <= BOTS_CORES))
        if row.section == "relay" and row.legs >= CALLS_FOR_BYTES and row.bytes_a_call is not None:
            met = whole and row.bytes_a_call < BYTES_A_CALL
            told.append((f"{what}: less than {BYTES_A_CALL / 1e3:g} kB a call ({row.bytes_a_call / 1e3:.1f})", met))
    for late in found.late:
        if late.what == "media thread, real-time priority, CPUs awake" and late.situation == "Python busy":
            met = late.p99 < TICK_P99_SECONDS
            told.append(
                (f"{late.what}, {late.situation}: p99 under {1e3 * TICK_P99_SECONDS:g} ms ({1e3 * late.p99:.3f})", met)
            )
    return told
