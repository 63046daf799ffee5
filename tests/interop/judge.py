"""What is wrong with a capture: in tshark's opinion, and by the rules of RTP, RTCP and SIP that tshark does not check."""

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from capture import MARKER_PORT, Expert, Packet, stream_bytes
from network import HOST, HOST6, MEDIA

# The protocols that ringback speaks, by their names in tshark's expert summary.
PROTOCOLS = {"SIP", "SDP", "RTP", "RTCP", "RFC 2833 RTP Event", "RTP Event"}
# Opinions that are no faults.
HARMLESS = (
    # Headers of applications, which is what X- is for.
    re.compile(r"Unrecognised SIP header \(x-", re.IGNORECASE),
    # A figure that tshark works out.
    re.compile(r"RTCP round-trip delay detected"),
)

SAMPLES = 160  # of a packet: 20 ms of G.711
SR, RR, SDES, BYE = "200", "201", "202", "203"
CNAME = "1"


def faults(path: Path, packets: Sequence[Packet], experts: Sequence[Expert]) -> list[str]:
    """One line for each fault of a capture, which holds these packets and of which tshark says this; empty where there is none."""
    return [
        *opinions(experts),
        *unrecognised(path, packets),
        *sip_faults(packets),
        *rtp_faults(packets),
        *rtcp_faults(packets),
    ]


def counts(packets: Iterable[Packet]) -> Counter[str]:
    """How many packets there are of each protocol."""
    return Counter(name for packet in packets for name in set(packet.protocols))


def opinions(found: Iterable[Expert]) -> Iterator[str]:
    """Errors, warnings and notes of tshark about our protocols, and whatever it cannot take apart at all."""
    for expert in found:
        ours = expert.protocol in PROTOCOLS or expert.group == "Malformed"
        if ours and not any(harmless.search(expert.summary) for harmless in HARMLESS):
            yield f"tshark: {expert.severity}, {expert.protocol}: {expert.summary} ({expert.count} packets)"


def unrecognised(path: Path, packets: Iterable[Packet]) -> Iterator[str]:
    """Every datagram is SIP or STUN, or is RTP or RTCP between addresses that some description has said; streams hold SIP alone."""
    judged: dict[object, bool] = {}
    for packet in packets:
        protocols = set(packet.protocols)
        if protocols & {"sip", "rtp", "rtcp", "stun"} or packet.destination[1] == MARKER_PORT:
            continue
        if "udp" in protocols and packet.number("udp.length") > 8:
            yield f"unrecognised datagram: {packet}"
        elif "tcp" in protocols and packet.number("tcp.len") > 0:
            if packet.all("tcp.reassembled_in") or packet.all("tcp.analysis.retransmission"):
                continue
            # tshark loses its place where a segment ends within a start line. The stream itself decides.
            way = (packet.source, packet.destination)
            if way not in judged:
                judged[way] = is_sip_stream(stream_bytes(path, *way))
            if not judged[way]:
                yield f"unrecognised bytes in a stream: {packet}"


START_LINE = re.compile(rb"(?:SIP/2\.0 [1-6]\d\d .*|[A-Z]+ sips?:\S+ SIP/2\.0)")
CONTENT_LENGTH = re.compile(rb"^(?:Content-Length|l)[ \t]*:[ \t]*(\d+)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


def is_sip_stream(stream: bytes) -> bool:
    """Whether it is nothing but SIP messages, each with its length (RFC 3261 §18.3), and breaks between them (RFC 5626 §3.5.1)."""
    while stream := stream.lstrip(b"\r\n"):
        head, end, rest = stream.partition(b"\r\n\r\n")
        length = CONTENT_LENGTH.search(head)
        if (
            not end
            or not START_LINE.fullmatch(head.partition(b"\r\n")[0])
            or length is None
            or len(rest) < int(length[1])
        ):
            return False
        stream = rest[int(length[1]) :]
    return True


def sip_faults(packets: Iterable[Packet]) -> Iterator[str]:
    """What RFC 3261 §8.1.1 and §8.2.6 want in every message."""
    for packet in packets:
        if "sip" not in packet.protocols:
            continue
        missing = [name for name in ("sip.Via", "sip.Call-ID", "sip.CSeq", "sip.from.tag") if not packet.all(name)]
        requests, statuses = packet.all("sip.Request-Line"), packet.all("sip.Status-Line")
        if len(packet.all("sip.Max-Forwards")) < len(requests):
            missing.append("sip.Max-Forwards")
        if not packet.all("sip.to.tag") and any(not status.startswith("SIP/2.0 100") for status in statuses):
            missing.append("sip.to.tag")
        dialog = [line for line in (*requests, *statuses) if line.startswith(("INVITE", "SIP/2.0 2"))]
        if dialog and "INVITE" in packet.one("sip.CSeq") and not packet.all("sip.Contact"):
            missing.append("sip.Contact")
        if "tcp" in packet.protocols and len(packet.all("sip.Content-Length")) < len(requests) + len(statuses):
            missing.append("sip.Content-Length")
        if missing:
            yield f"{', '.join(missing)} missing: {packet}"


def is_ours(packet: Packet) -> bool:
    """Media that ringback sent."""
    host, port = packet.source
    return host in (HOST, HOST6) and port in MEDIA


def streams(packets: Iterable[Packet]) -> dict[tuple[object, ...], list[Packet]]:
    """ringback's RTP packets by stream."""
    found: dict[tuple[object, ...], list[Packet]] = defaultdict(list)
    for packet in packets:
        if packet.all("rtp.seq") and is_ours(packet):
            found[(packet.source, packet.one("rtp.ssrc"))].append(packet)
    return found


def rtp_faults(packets: Iterable[Packet]) -> Iterator[str]:
    for stream in streams(packets).values():
        yield from stream_faults(stream)


def stream_faults(stream: Sequence[Packet]) -> Iterator[str]:
    """RFC 3550 §5.1 and RFC 4733 §2.5.1 for one stream, in the order in which it was sent."""
    if stream[0].one("rtp.marker") != "True" and stream[0].one("rtp.marker") != "1":
        # RFC 3551 §4.1: the first packet of a talkspurt.
        yield f"a stream begins without the marker: {stream[0]}"
    for place, (before, packet) in enumerate(itertools.pairwise(stream), 1):
        step = (packet.number("rtp.seq") - before.number("rtp.seq")) % 65536
        if step != 1:
            yield f"the sequence number goes on by {step}: {packet}"
        ticks = (packet.number("rtp.timestamp") - before.number("rtp.timestamp")) % (1 << 32)
        if packet.all("rtpevent.event_id") and before.all("rtpevent.event_id"):
            if ticks == 0:
                # Updates and ends of one event.
                if packet.one("rtpevent.event_id") != before.one("rtpevent.event_id"):
                    yield f"another event with the same timestamp: {packet}"
                if packet.number("rtpevent.duration") < before.number("rtpevent.duration"):
                    yield f"an event becomes shorter: {packet}"
                continue
        # After a source that stood still, or gave way to another, the clock goes on by the time that passed, which is no whole
        # number of packets; the marker then says that there is a gap.
        resumed = ticks > SAMPLES and is_true(packet.one("rtp.marker")) and _apart(stream, place) <= 0.04
        if not 0 < ticks < 8000 * 30 or (ticks % SAMPLES and not resumed):
            yield f"the timestamp goes on by {ticks}: {packet}"
    for events in _events(stream):
        first = [is_true(packet.one("rtp.marker")) for packet in events]
        ends = [is_true(packet.one("rtpevent.end_of_event")) for packet in events]
        if first != [True] + [False] * (len(events) - 1):
            yield f"the marker is not that of the event's first packet alone: {events[0]}"
        if ends[-3:] != [True] * 3 or any(ends[:-3]):
            yield f"an event does not end by three ends: {events[0]}"


def _apart(stream: Sequence[Packet], place: int) -> float:
    """By how many seconds the clock of the packets before that place and the one from there on differ. Each sends some packets late,
    the more so on a busy machine: how late the earliest and the latest of 5 s are, says how well each clock is known.
    """
    first = stream[place]
    rate = _clock_rate(stream, first.one("rtp.p_type"))

    def late(packets: Sequence[Packet]) -> list[float]:
        # Those of an event have the timestamp of its start.
        of_sound = [packet for packet in packets if not packet.all("rtpevent.event_id")]
        return [
            packet.time - first.time - _signed(packet.number("rtp.timestamp") - first.number("rtp.timestamp")) / rate
            for packet in of_sound or packets
        ]

    before, after = late(stream[max(0, place - 250) : place]), late(stream[place : place + 250])
    return max(min(after) - max(before), min(before) - max(after), 0.0)


def _clock_rate(stream: Sequence[Packet], payload_type: str) -> int:
    """48,000 Hz of Opus, else 8,000: by what most of its packets of 20 ms go on by."""
    steps = Counter(
        packet.number("rtp.timestamp") - before.number("rtp.timestamp")
        for before, packet in itertools.pairwise(stream)
        if packet.one("rtp.p_type") == before.one("rtp.p_type") == payload_type
    )
    return 48_000 if steps and steps.most_common(1)[0][0] == 960 else 8000


def _signed(difference: int) -> int:
    return (difference + (1 << 31)) % (1 << 32) - (1 << 31)


def _events(stream: Sequence[Packet]) -> Iterator[list[Packet]]:
    found: dict[tuple[str, str], list[Packet]] = defaultdict(list)
    for packet in stream:
        if packet.all("rtpevent.event_id"):
            found[(packet.one("rtp.timestamp"), packet.one("rtpevent.event_id"))].append(packet)
    yield from found.values()


def is_true(value: str) -> bool:
    return value in ("1", "True")


def rtcp_faults(packets: Iterable[Packet]) -> Iterator[str]:
    """RFC 3550 §6.1: a compound begins with a report and names its source; §6.6: BYE comes last."""
    for packet in packets:
        if "rtcp" not in packet.protocols or not is_ours(packet):
            continue
        kinds = packet.all("rtcp.pt")
        if kinds[0] not in (SR, RR):
            yield f"RTCP without a report at its head: {packet}"
        if SDES not in kinds or CNAME not in packet.all("rtcp.sdes.type"):
            yield f"RTCP without a CNAME: {packet}"
        if BYE in kinds[:-1]:
            yield f"RTCP goes on after BYE: {packet}"
