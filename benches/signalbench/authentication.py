"""What a password costs: calls that have to prove who they are beside calls that do not, at the same rate."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from callbench import sipp
from callbench.process import PeerError

from .setting import Setting, Table, megabytes, server

RATES = (500, 1_500)
SECONDS, WARM_UP_SECONDS, TAIL_SECONDS = 20.0, 3.0, 1.0
PASSWORD = "a-password-for-the-bench"


@dataclass(frozen=True)
class Row:
    what: str
    rate: int
    calls: int
    failed: int
    retransmissions: int
    mean_answer_ms: float | None
    cpu_us_a_call: float
    peak_bytes: int


def measure(setting: Setting, caller: str) -> Table:
    rows: list[Row] = []
    for rate in RATES:
        for what, options, scenario in (
            ("plain", (), None),
            ("digest (401, MD5)", ("--password", PASSWORD), _scenario(setting.directory / "digest.xml")),
        ):
            setting.tell(f"{what} calls, {rate:,} a second")
            rows.append(_run(setting, caller, what, rate, options, scenario))
    table = []
    for row in rows:
        plain = next(each for each in rows if each.rate == row.rate)
        answer = "-" if row.mean_answer_ms is None else f"{row.mean_answer_ms:.1f}"
        table.append(
            [
                row.what, f"{row.rate:,}", f"{row.calls:,}", f"{row.failed:,}", f"{row.retransmissions:,}", f"{row.cpu_us_a_call:.1f}",
                f"{row.cpu_us_a_call - plain.cpu_us_a_call:+.1f}", answer, megabytes(row.peak_bytes),
            ]
        )  # fmt: skip
    headings = (
        "calls", "a second", "placed", "failed", "retransmissions", "µs of CPU a call", "beside plain", "ms to the 200, mean",
        "peak MB",
    )  # fmt: skip
    notes = [
        "With digest a call is INVITE, 401, ACK, INVITE with credentials, 200, ACK, BYE, 200: a whole INVITE transaction more. "
        "Each call is asked anew, as by a peer that keeps no nonce."
    ]
    return Table("Calls with a password", headings, table, notes, [asdict(row) for row in rows])


def _run(setting: Setting, caller: str, what: str, rate: int, options: tuple[str, ...], scenario: Path | None) -> Row:
    seconds = max(2.0, SECONDS / setting.divisor)
    directory = setting.directory / f"{what.split(' ')[0]}-{rate}"
    directory.mkdir(parents=True, exist_ok=True)
    with server(setting, directory.name, *options) as peer:
        sipp.call(
            caller, peer.port, rate=rate, seconds=WARM_UP_SECONDS, directory=directory / "warm-up", scenario=scenario
        )
        time.sleep(TAIL_SECONDS)
        peer.check()
        before = peer.cpu_seconds()
        found = sipp.call(caller, peer.port, rate=rate, seconds=seconds, directory=directory, scenario=scenario)
        time.sleep(TAIL_SECONDS)
        peer.check()
        if found.created == 0:
            raise PeerError(f"SIPp placed no call; see {directory}")
        return Row(
            what=what,
            rate=rate,
            calls=found.created,
            failed=found.failed,
            retransmissions=found.retransmissions,
            mean_answer_ms=found.mean_answer_ms,
            cpu_us_a_call=1e6 * (peer.cpu_seconds() - before) / found.created,
            peak_bytes=peer.memory().peak,
        )


SDP = """\
v=0
o=sipp 53655765 2353687637 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000"""


def _message(method: str, cseq: int, *, tag: bool, branch: str = "[branch]", auth: bool = False, body: str = "") -> str:
    head = [
        f"{method} sip:bench@[remote_ip]:[remote_port] SIP/2.0",
        f"Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch}",
        "From: <sip:bench@[remote_ip]>;tag=[pid]c[call_number]",
        f"To: <sip:bench@[remote_ip]:[remote_port]>{'[peer_tag_param]' if tag else ''}",
        "Call-ID: [call_id]",
        f"CSeq: {cseq} {method}",
        "Contact: <sip:bench@[local_ip]:[local_port]>",
        "Max-Forwards: 70",
        *([f"[authentication username=bench password={PASSWORD}]"] if auth else []),
        *(["Content-Type: application/sdp"] if body else []),
        f"Content-Length: {'[len]' if body else 0}",
    ]
    return "\n".join([*head, "", body])


def _scenario(path: Path) -> Path:
    """SIPp's own `uac`, with the challenge before it."""

    def send(message: str, attributes: str = "") -> str:
        return f"<send{attributes}><![CDATA[\n\n{message}\n\n]]></send>"

    again = ' retrans="500"'
    steps = [
        send(_message("INVITE", 1, tag=False, body=SDP), again + ' start_rtd="1"'),
        '<recv response="100" optional="true" />',
        '<recv response="401" auth="true" />',
        send(_message("ACK", 1, tag=True, branch="[branch-3]")),
        send(_message("INVITE", 2, tag=False, auth=True, body=SDP), again),
        '<recv response="100" optional="true" />',
        '<recv response="180" optional="true" />',
        '<recv response="183" optional="true" />',
        '<recv response="200" rtd="1" />',
        send(_message("ACK", 2, tag=True)),
        send(_message("BYE", 3, tag=True), again),
        '<recv response="200" />',
    ]
    path.write_text('<?xml version="1.0"?>\n<scenario name="digest">\n' + "\n".join(steps) + "\n</scenario>\n")
    return path
