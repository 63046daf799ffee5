"""`ringback demo`: a PBX, a call to itself that shows it works, then a PBX for real phones with a live table of calls."""

import asyncio
import contextlib
import errno
import logging
import re
import signal
import time
from datetime import UTC, datetime

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from ringback import (
    BindError,
    CallHandler,
    CallSession,
    CallState,
    MediaControl,
    MediaStatistics,
    SessionControl,
    SessionCoordinator,
    SessionError,
    SessionManagerBuilder,
)
from ringback.cli.ladder import Arrow, Change, Ladder
from ringback.cli.pbx import EXTENSIONS, TONE_HZ, Pbx, hang_up_all
from ringback.cli.signal_probe import dominant_frequency, listen, tone

ECHO_HZ = 1000.0
PORTS_TRIED = 20
# All interfaces: how this machine reaches itself.
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}


class MessageTap(logging.Handler):
    """Turns the log records of SIP messages that were sent (`-> UDP peer`, then the message) into arrows."""

    RECORD = re.compile(
        r"-> \S+ \S+:(?P<port>\d+)\r?\n(?:SIP/2\.0 (?P<status>\d{3}) (?P<reason>[^\r\n]*)|(?P<method>[A-Z]+) )",
    )

    def __init__(self, ladder: Ladder, began: float, pbx_port: int) -> None:
        super().__init__(logging.DEBUG)
        self._ladder = ladder
        self._began = began
        self._pbx_port = pbx_port

    def emit(self, record: logging.LogRecord) -> None:
        sent = self.RECORD.match(record.getMessage())
        if sent is not None:
            label = sent["method"] or f"{sent['status']} {sent['reason']}"
            self._ladder.add(Arrow(record.created - self._began, label, to_right=int(sent["port"]) == self._pbx_port))


class Watched(CallHandler):
    """Notes its calls' states while a ladder is drawn."""

    ladder: Ladder | None = None
    began: float = 0.0
    on_right: bool = False

    def on_call_state_changed(self, call: CallSession, old: CallState, new: CallState) -> None:
        if self.ladder is not None:
            self.ladder.add(Change(time.time() - self.began, new, on_right=self.on_right))


class WatchedPbx(Watched, Pbx):
    """The PBX, at the right of the ladder."""

    on_right: bool = True


async def build_pbx(host: str, port: int, handler: CallHandler, console: Console) -> SessionCoordinator:
    """On `port`, or the next that is free."""
    last = min(port + PORTS_TRIED, 65_536) - 1
    for candidate in range(port, last + 1):
        builder = (
            SessionManagerBuilder()
            .with_local_address(f"sip:pbx@{bracketed(host)}")
            .with_sip_port(candidate)
            .with_handler(handler)
        )
        try:
            coordinator = await builder.build()
        except BindError as error:
            if error.errno != errno.EADDRINUSE or candidate == last or port == 0:
                raise
            console.print(f"[yellow]{escape(str(error))}; trying port {candidate + 1}[/yellow]")
        else:
            return coordinator
    raise AssertionError("unreachable")


def bracketed(host: str) -> str:
    """As a URI has it."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def target(pbx: SessionCoordinator, extension: str, host: str) -> str:
    """The URI to dial an extension, from this machine."""
    port = pbx.local_address.rpartition(":")[2]
    return f"sip:{extension}@{bracketed(ANYWHERE.get(host, host))}:{port}"


async def measure(
    caller: SessionCoordinator, call: CallSession, send_hz: float | None
) -> tuple[float | None, MediaStatistics | None]:
    """The frequency that the caller hears, and the statistics of its leg."""
    stream = await MediaControl.open_audio(caller, call.id, sample_rate=16000)
    try:
        if send_hz is not None:
            await stream.write(tone(send_hz, 1.6, stream.sample_rate))
        heard = await asyncio.wait_for(listen(stream, 1.0), 10)
    finally:
        await stream.close()
    return dominant_frequency(heard, 16000), await MediaControl.get_media_statistics(caller, call.id)


def figures(heard: list[tuple[str, float, float | None, MediaStatistics | None]]) -> Table:
    table = Table(title="What the caller measured (MOS by ITU-T G.107)", title_justify="left")
    for name in ("dialled", "expected", "heard", "in/out", "loss", "jitter", "MOS", "RTT"):
        table.add_column(name, justify="left" if name == "dialled" else "right", no_wrap=True)
    for extension, expected, frequency, statistics in heard:
        quality = statistics.quality_metrics if statistics else None
        right = frequency is not None and abs(frequency - expected) < 5
        table.add_row(
            f"{extension} {EXTENSIONS[extension].partition(':')[0]}",
            f"{expected:.0f} Hz",
            f"[{'green' if right else 'red'}]{'silence' if frequency is None else f'{frequency:.1f} Hz'}[/]",
            f"{statistics.packets_received}/{statistics.packets_sent}" if statistics else "-",
            f"{quality.packet_loss_percent:.1f} %" if quality else "-",
            f"{quality.jitter_ms:.2f} ms" if quality else "-",
            f"{quality.mos_score:.2f}" if quality and quality.mos_score is not None else "-",
            f"{quality.round_trip_ms:.1f} ms" if quality and quality.round_trip_ms is not None else "-",
        )
    return table


async def call_itself(pbx: SessionCoordinator, handler: WatchedPbx, host: str, console: Console) -> bool:
    """Dials the tone and the echo with a second coordinator. True when both were heard at the right frequency."""
    ladder = Ladder("caller", "PBX")
    began = time.time()
    handler.ladder, handler.began = ladder, began
    tap = MessageTap(ladder, began, int(pbx.local_address.rpartition(":")[2]))
    sip_log = logging.getLogger("ringback.sip")
    level, propagate = sip_log.level, sip_log.propagate
    sip_log.addHandler(tap)
    sip_log.setLevel(logging.DEBUG)
    sip_log.propagate = False
    results: list[tuple[str, float, float | None, MediaStatistics | None]] = []
    try:
        bind = ANYWHERE.get(host, host)
        builder = SessionManagerBuilder().with_local_address(f"sip:caller@{bracketed(bind)}").with_sip_port(0)
        party = Watched()
        party.ladder, party.began = ladder, began
        async with await builder.with_handler(party).build() as caller:
            for extension, expected, send in (("200", TONE_HZ, None), ("100", ECHO_HZ, ECHO_HZ)):
                with console.status(f"calling {extension} ({EXTENSIONS[extension]}) ..."):
                    uri = target(pbx, extension, host)
                    async with await SessionControl.create_outgoing_call(caller, caller.local_address, uri) as call:
                        await call.wait_for_answer(10)
                        results.append((extension, expected, *await measure(caller, call, send)))
                    if extension == "200":
                        await asyncio.sleep(0.1)  # the answer to BYE belongs into the picture
                        handler.ladder = party.ladder = None
                        sip_log.removeHandler(tap)
    finally:
        handler.ladder = None
        sip_log.removeHandler(tap)
        sip_log.setLevel(level)
        sip_log.propagate = propagate
    console.print(
        Panel(ladder, title=f"The call to 200 ({escape(target(pbx, '200', host))})", title_align="left", expand=False)
    )
    console.print(figures(results))
    return all(frequency is not None and abs(frequency - expected) < 5 for _, expected, frequency, _ in results)


def dialling_help(pbx: SessionCoordinator) -> Table:
    table = Table(title="Dial from any SIP phone (UDP or TCP, no account needed)", title_justify="left")
    table.add_column("URI", style="bold cyan")
    table.add_column("what happens")
    # As `local_address` has it: where it is open to the network, the address that others reach this machine by.
    place = pbx.local_address.rpartition("@")[2]
    for extension, meaning in EXTENSIONS.items():
        table.add_row(escape(f"sip:{extension}@{place}"), meaning)
    return table


def calls_table(handler: Pbx) -> Table:
    now = datetime.now(UTC)
    table = Table(title=f"Calls: {len(handler.lines)} now, {handler.ended} ended   (Ctrl-C ends)", title_justify="left")
    for name in ("extension", "caller", "state", "for", "digits"):
        table.add_column(name)
    for line in handler.lines.values():
        state = "on hold by the caller" if line.call.remote_hold else line.call.state.name.lower()
        if line.partner is not None:
            state += ", connected"
        minutes, seconds = divmod(int((now - line.since).total_seconds()), 60)
        row = (line.call.to_uri, line.call.from_uri, state, f"{minutes}:{seconds:02}", line.digits)
        table.add_row(*map(escape, row))
    return table


async def serve(handler: Pbx, console: Console, stop: asyncio.Event) -> None:
    """Shows the live table until told to stop; without a terminal, a line for each change."""
    if not console.is_terminal:
        console.print("Waiting for calls; an interrupt ends.")
        await stop.wait()
        return
    with Live(calls_table(handler), console=console, auto_refresh=False) as live:
        while not stop.is_set():
            live.update(calls_table(handler), refresh=True)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.5)


async def demo(host: str, port: int, *, once: bool) -> int:
    console = Console()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    handler = WatchedPbx()
    try:
        pbx = await build_pbx(host, port, handler, console)
    except (SessionError, ValueError) as error:
        Console(stderr=True).print(f"[red]{escape(str(error))}[/red]", soft_wrap=True)
        return 1
    async with pbx:
        console.print(f"PBX listening on [bold]{escape(pbx.local_address)}[/bold] (UDP and TCP)")
        proof = asyncio.ensure_future(call_itself(pbx, handler, host, console))
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait({proof, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        worked = True
        if proof.done():
            worked = proof.result()
            console.print(
                "[green]Sound arrived, both ways.[/green]"
                if worked
                else "[red]The sound that arrived was not the one sent.[/red]"
            )
        else:
            proof.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await proof
        if not once and not stop.is_set():
            console.print(dialling_help(pbx))
            await serve(handler, console, stop)
        ended = await hang_up_all(handler)
    if not once:
        console.print(f"Ended {ended} call{'' if ended == 1 else 's'}. Bye.")
    return 0 if worked else 1


def run(host: str, port: int, *, once: bool) -> int:
    """Runs the demonstration; returns the exit status."""
    return asyncio.run(demo(host, port, once=once))
