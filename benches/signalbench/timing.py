"""How long a refusal takes: nobody is to learn from it whether there is such a user, or a wrong password alone."""

import hashlib
import math
import random
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from callbench.process import PeerError

from .setting import HOST, Setting, Table, percentile, server

REQUESTS = 10_000
USERS = 10_000
# A nonce is good for five minutes.
RENEW_EVERY = 1_000
KINDS = ("wrong password", "no such user", "right password")


@dataclass(frozen=True)
class Row:
    kind: str
    requests: int
    p10_us: float
    p50_us: float
    p90_us: float


class Asker:
    """Sends OPTIONS with credentials, one at a time, and times the answers."""

    def __init__(self, port: int, password: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(5.0)
        self._socket.connect((HOST, port))
        self._own = f"{HOST}:{self._socket.getsockname()[1]}"
        self._uri = f"sip:{HOST}:{port}"
        self._password = password
        self._number = 0
        self._nonce = ""

    def close(self) -> None:
        self._socket.close()

    def renew(self) -> None:
        _, answer = self._ask("")
        nonce = re.search(r'nonce="([^"]+)"', answer)
        if nonce is None:
            raise PeerError(f"no challenge in {answer!r}")
        self._nonce = nonce[1]

    def time(self, kind: str) -> float:
        """Seconds to the answer."""
        # Somebody else each time, and no name longer than another.
        name = f"{'ghost' if kind == 'no such user' else 'bench'}{random.randrange(USERS):05}"
        password = self._password if kind == "right password" else "x" * len(self._password)
        count = f"{self._number:08x}"
        parts = (self._nonce, count, "c", "auth", _md5("OPTIONS", self._uri))
        response = _md5(_md5(name, HOST, password), *parts)
        took, answer = self._ask(
            f'Authorization: Digest username="{name}", realm="{HOST}", nonce="{self._nonce}", uri="{self._uri}", '
            f'response="{response}", algorithm=MD5, qop=auth, nc={count}, cnonce="c"\r\n',
            name,
        )
        wanted = "200" if kind == "right password" else "401"
        if not answer.startswith(f"SIP/2.0 {wanted}"):
            raise PeerError(f"{kind}: {answer.partition(chr(13))[0]}")
        return took

    def _ask(self, authorization: str, user: str = "nobody") -> tuple[float, str]:
        self._number += 1
        request = (
            f"OPTIONS {self._uri} SIP/2.0\r\nVia: SIP/2.0/UDP {self._own};branch=z9hG4bK-{self._number:06}\r\nMax-Forwards: 70\r\n"
            f"From: <sip:{user}@{HOST}>;tag=1\r\nTo: <{self._uri}>\r\nCall-ID: timing-{self._number:06}\r\n"
            f"CSeq: 1 OPTIONS\r\n{authorization}Content-Length: 0\r\n\r\n"
        ).encode()
        started = time.perf_counter()
        self._socket.send(request)
        answer = self._socket.recv(65_535)
        return time.perf_counter() - started, answer.decode(errors="replace")


def measure(setting: Setting) -> Table:
    count = setting.size(REQUESTS)
    password = "a-password-for-the-bench"
    took: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with server(setting, "timing", "--password", password, "--users", str(USERS)) as peer:
        asker = Asker(peer.port, password)
        try:
            setting.tell(f"{count:,} requests of each kind, in no order")
            kinds = [*KINDS] * count
            random.shuffle(kinds)
            for number, kind in enumerate(kinds):
                if number % RENEW_EVERY == 0:
                    asker.renew()
                took[kind].append(asker.time(kind))
        finally:
            asker.close()
    rows = [
        Row(kind, len(each), *(1e6 * percentile(each, part) for part in (0.1, 0.5, 0.9))) for kind, each in took.items()
    ]
    wrong, unknown = took["wrong password"], took["no such user"]
    z = rank_sum(wrong, unknown)
    notes = [
        f"OPTIONS over UDP, one after the other, from one of {USERS:,} names each, mixed at random. Refusals of the two kinds by "
        f"the rank-sum test of Wilcoxon, Mann and Whitney: z = {z:+.2f} (beyond ±2.58 they would differ with 99 % certainty), "
        f"medians {1e6 * (percentile(unknown, 0.5) - percentile(wrong, 0.5)):+.2f} µs apart."
    ]
    table = [
        [row.kind, f"{row.requests:,}", *(f"{each:.1f}" for each in (row.p10_us, row.p50_us, row.p90_us))]
        for row in rows
    ]
    headings = ("credentials", "requests", "µs to the answer, p10", "p50", "p90")
    return Table("Refusals", headings, table, notes, [*(asdict(row) for row in rows), {"z": z}])


def rank_sum(first: Sequence[float], second: Sequence[float]) -> float:
    """How many standard deviations the ranks of `second` are above what they would be, were both of one kind."""
    ordered = sorted([(value, 0) for value in first] + [(value, 1) for value in second])
    ranks, place = 0.0, 0
    while place < len(ordered):
        end = place
        while end < len(ordered) and ordered[end][0] == ordered[place][0]:
            end += 1
        # Those that are equal share their ranks.
        rank = (place + 1 + end) / 2
        ranks += rank * sum(which for _, which in ordered[place:end])
        place = end
    n, m = len(first), len(second)
    return (ranks - m * (n + m + 1) / 2) / math.sqrt(n * m * (n + m + 1) / 12)


def _md5(*parts: str) -> str:
    return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()
