"""Fixtures of the interoperability tests: each needs a real peer, and every module's traffic is captured and judged.

A module says in `EXPECTED` which protocols its capture has to hold: one that holds none proves nothing.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import jssip_peer
import kamailio_peer
import pjsua_peer
import pytest
import quality
from authority import Authority
from capture import Capture, CaptureError, read_and_judge
from judge import counts, faults

# What these tests share with those of the package alone is beside both.
sys.path.append(str(Path(__file__).parents[1] / "shared"))

PROGRAMS = ("sipp", "baresip", "kamailio", "tshark", "espeak-ng", "turnserver", "nft")

# Of a test, without the judging of its capture.
FUNCTION_SECONDS = 90
CI = os.environ.get("CI") == "true"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = {peer for peer in PROGRAMS if shutil.which(peer) is None}
    if not pjsua_peer.HERE:
        missing.add("pjsua2")
    if not quality.HERE:
        missing.add("pesq")
    if not jssip_peer.HERE:
        missing.add("jssip")
    if not kamailio_peer.TLS_HERE:
        missing.add("kamailio-tls")
    if missing and CI:
        raise pytest.UsageError(f"under CI nothing may be left out, but these peers are missing: {sorted(missing)}")
    for item in items:
        if item.get_closest_marker("timeout") is None:
            # Of the test itself: judging a capture takes its time on a machine that has other work.
            item.add_marker(pytest.mark.timeout(FUNCTION_SECONDS, func_only=True))
        needed = {marker.args[0] for marker in item.iter_markers("peer")}
        if "wire" in getattr(item, "fixturenames", ()):
            needed.add("tshark")
        if needed & missing:
            item.add_marker(pytest.mark.skip(reason=f"left out: {', '.join(sorted(needed & missing))} not installed"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "peer(name): the real program that this test talks to")


@pytest.fixture(scope="module", autouse=True)
def capture(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture | None]:
    """Captures the module's packets; at its end nothing may be wrong with them."""
    expected: tuple[str, ...] = request.module.EXPECTED
    if not expected or shutil.which("tshark") is None:
        yield None
        return
    try:
        capture = Capture.start(tmp_path_factory.mktemp("capture") / f"{request.module.__name__}.pcapng")
    except CaptureError:
        if CI or os.geteuid() == 0:
            raise
        yield None
        return
    try:
        yield capture
    finally:
        capture.stop()
    packets, experts = read_and_judge(capture.path)
    found = counts(packets)
    lacking = [name for name in expected if not found[name]]
    assert not lacking, f"the capture holds no {', '.join(lacking)}: it proves nothing; {dict(found)}"
    wrong = faults(capture.path, packets, experts)
    assert not wrong, f"{len(wrong)} faults in {capture.path}:\n" + "\n".join(wrong[:50])


@pytest.fixture
def wire(capture: Capture | None) -> Capture:
    """The module's capture, for tests that look at single packets of theirs."""
    if capture is None:
        pytest.skip("left out: this user may not capture packets (dumpcap)")
    return capture


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Issues certificates."""
    return Authority(tmp_path)
