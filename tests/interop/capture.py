"""Captures what a test module's calls put on loopback, and reads it back through tshark."""

import asyncio
import itertools
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from leash import leashed
from network import BLOCK, HOST, MARKER

# SIP is recognised on any port by its text, before tshark goes by the port; RTP and RTCP by the SDP of the calls alone, so that a
# description that says another address than packets come from is found out.
OPTIONS = ["-n", "-o", "udp.try_heuristic_first:TRUE", "-o", "tcp.try_heuristic_first:TRUE"]

FIELDS = (
    "frame.number",
    "frame.time_epoch",
    "frame.protocols",
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "udp.srcport",
    "udp.dstport",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.len",
    "tcp.reassembled_in",
    "tcp.analysis.retransmission",
    "udp.length",
    "sip.Request-Line",
    "sip.Status-Line",
    "sip.Call-ID",
    "sip.CSeq",
    "sip.Via",
    "sip.from.tag",
    "sip.to.tag",
    "sip.Max-Forwards",
    "sip.Contact",
    "sip.Route",
    "sip.Content-Length",
    "sip.Content-Type",
    "sdp.media",
    "sdp.media_attr",
    "sdp.owner.version",
    "sip.resend",
    "rtp.ssrc",
    "rtp.seq",
    "rtp.timestamp",
    "rtp.marker",
    "rtp.p_type",
    "rtp.setup-method",
    "rtp.payload",
    "rtcp.pt",
    "rtcp.sdes.type",
    "rtcp.ssrc.high_seq",
    "rtpevent.event_id",
    "rtpevent.end_of_event",
    "rtpevent.duration",
)
_AGGREGATOR = "\x1e"

# What is sent to it has each time another number: what came before it has been written when it is in the file.
MARKER_PORT = BLOCK.start


@dataclass(frozen=True)
class Packet:
    """One captured frame: what tshark made of it."""

    values: dict[str, list[str]]

    def all(self, name: str) -> list[str]:
        return self.values[name]

    def one(self, name: str) -> str:
        values = self.values[name]
        return values[0] if values else ""

    def number(self, name: str) -> int:
        return int(self.one(name), 0)

    @property
    def frame(self) -> int:
        return int(self.one("frame.number"))

    @property
    def time(self) -> float:
        return float(self.one("frame.time_epoch"))

    @property
    def protocols(self) -> list[str]:
        return self.one("frame.protocols").split(":")

    @property
    def source(self) -> tuple[str, int]:
        return self.one("ip.src") or self.one("ipv6.src"), int(self.one("udp.srcport") or self.one("tcp.srcport") or 0)

    @property
    def destination(self) -> tuple[str, int]:
        return self.one("ip.dst") or self.one("ipv6.dst"), int(self.one("udp.dstport") or self.one("tcp.dstport") or 0)

    @property
    def line(self) -> str:
        """Request or status line of the SIP message."""
        return self.one("sip.Request-Line") or self.one("sip.Status-Line")

    def __str__(self) -> str:
        return f"#{self.frame} {self.source} -> {self.destination} {':'.join(self.protocols[2:])} {self.line}".rstrip()


@dataclass(frozen=True)
class Expert:
    """One row of tshark's expert summary."""

    severity: str
    group: str
    protocol: str
    summary: str
    count: int


def read(path: Path, display_filter: str = "frame") -> list[Packet]:
    """The packets of a capture file in their order; a packet that is only half written yet is left out."""
    return _packets(_lines(tshark(path, *_fields(display_filter))))


def read_and_judge(path: Path, least: str = "note") -> tuple[list[Packet], list[Expert]]:
    """All packets, and what tshark has to say about them from severity `least` (error, warn, note, chat) upwards, in one pass."""
    lines = _lines(tshark(path, *_fields("frame"), "-z", f"expert,{least}"))
    whole = [line.count("\t") == len(FIELDS) - 1 for line in lines]
    said = [line for line, is_packet in zip(lines, whole, strict=True) if not is_packet]
    return _packets([line for line, is_packet in zip(lines, whole, strict=True) if is_packet]), _experts(said)


def _lines(text: str) -> list[str]:
    """By line feeds alone: the aggregator is a break to `splitlines`."""
    return text.removesuffix("\n").split("\n") if text else []


def _fields(display_filter: str) -> list[str]:
    fields = [word for name in FIELDS for word in ("-e", name)]
    return ["-Y", display_filter, "-T", "fields", "-E", "separator=/t", "-E", f"aggregator={_AGGREGATOR}", *fields]


def _packets(lines: Sequence[str]) -> list[Packet]:
    packets = []
    for line in lines:
        values = line.split("\t")
        assert len(values) == len(FIELDS), f"tshark printed {len(values)} fields: {line!r}"
        packets.append(
            Packet(
                {name: value.split(_AGGREGATOR) if value else [] for name, value in zip(FIELDS, values, strict=True)}
            )
        )
    return packets


def _experts(lines: Sequence[str]) -> list[Expert]:
    found = []
    severity = ""
    for line in lines:
        if heading := re.fullmatch(r"(\w+?)s? \(\d+\)", line):
            severity = heading[1].lower()
        elif row := re.fullmatch(r"\s*(\d+)\s+(\S+)\s+(\S+(?: \S+)*)\s{2,}(\S.*)", line):
            found.append(Expert(severity, row[2], row[3], row[4], int(row[1])))
    return found


def stream_bytes(path: Path, source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    """All that one side of a connection has sent, in its order."""
    ip = "ipv6" if ":" in source[0] else "ip"
    one_way = f"{ip}.src == {source[0]} && tcp.srcport == {source[1]} && {ip}.dst == {destination[0]}"
    wanted = f"{one_way} && tcp.dstport == {destination[1]} && tcp.len > 0 && !tcp.analysis.retransmission"
    return b"".join(map(bytes.fromhex, tshark(path, "-Y", wanted, "-T", "fields", "-e", "tcp.payload").split()))


def tshark(path: Path, *arguments: str) -> str:
    run = subprocess.run(["tshark", "-r", str(path), *OPTIONS, *arguments], capture_output=True, text=True, timeout=300)
    # A capture that is still being written may end within a packet.
    assert run.returncode == 0 or "cut short" in run.stderr, f"tshark {arguments}: {run.stderr}"
    return run.stdout


@dataclass
class Capture:
    """dumpcap at work."""

    path: Path
    process: "subprocess.Popen[str]"
    log: list[str] = field(default_factory=list)
    markers: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def start(cls, path: Path) -> "Capture":
        # ICMP is left out: it quotes packets that would be judged twice.
        ports = f"{BLOCK.start}-{BLOCK.stop - 1}"
        # Datagrams go from a port of ours to another; a connection may begin at any.
        wanted = f"udp src portrange {ports} and udp dst portrange {ports} or tcp portrange {ports}"
        command = leashed("dumpcap", "-q", "-i", "lo", "-B", "64", "-w", str(path), "-f", wanted)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        # dumpcap names the file once the capture is open.
        log = []
        for line in process.stderr:
            log.append(line)
            if line.startswith("File:"):
                return cls(path, process, log)
        process.wait()
        process.stderr.close()
        raise CaptureError(f"dumpcap did not start: {''.join(log)}")

    def stop(self) -> None:
        """Ends the capture; raises where packets are missing in it."""
        self._drain()
        self.process.terminate()
        try:
            _, rest = self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        dropped = re.search(r"received/dropped on interface .*?: (\d+)/(\d+)", rest)
        assert dropped is not None, f"dumpcap does not say what it dropped: {rest}"
        assert dropped[2] == "0", f"dumpcap dropped packets: {rest}"

    def _drain(self, seconds: float = 20) -> None:
        """Waits until what has been on the wire is in the file: dumpcap that is told to end leaves unread packets in the kernel."""
        marker = f"all before marker {next(self.markers)} is written".encode()
        with self.path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            tail = b""
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and self.process.poll() is None:
                MARKER.sendto(marker, (HOST, MARKER_PORT))
                time.sleep(0.05)
                tail = tail[-len(marker) :] + file.read()
                if marker in tail:
                    return
        # What dumpcap has said before its end, `stop` reads.
        assert self.process.poll() is not None, f"dumpcap has not written the marker within {seconds} s"

    async def messages(
        self,
        call_id: str,
        until: Callable[[Sequence[Packet]], bool] = lambda packets: True,
        what: str = "what is waited for",
        seconds: float = 20,
    ) -> list[Packet]:
        """The SIP messages with that Call-ID up to now, as soon as they satisfy `until`."""
        await asyncio.to_thread(self._drain)
        deadline = time.monotonic() + seconds
        while True:
            packets = await asyncio.to_thread(read, self.path, f'sip.Call-ID == "{call_id}"')
            if packets and until(packets):
                return packets
            lines = "\n".join(map(str, packets))
            assert time.monotonic() < deadline, f"{what} is not in the capture of {call_id}:\n{lines}"
            await asyncio.sleep(0.1)

    async def packets(self, display_filter: str, until: Callable[[Sequence[Packet]], bool], what: str) -> list[Packet]:
        """The packets up to now that tshark's filter lets through, as soon as they satisfy `until`."""
        await asyncio.to_thread(self._drain)
        deadline = time.monotonic() + 20
        while True:
            packets = await asyncio.to_thread(read, self.path, display_filter)
            if until(packets):
                return packets
            lines = "\n".join(map(str, packets[-20:]))
            assert time.monotonic() < deadline, f"{what} is not in the capture ({display_filter}):\n{lines}"
            await asyncio.sleep(0.1)


class CaptureError(Exception):
    """This user may not capture, or cannot."""
