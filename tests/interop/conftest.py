"""Fixtures of the interoperability tests: each needs a real peer, and every module's traffic is captured and judged by tshark."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from capture import Capture

PEERS = ("sipp", "baresip", "tshark")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = {peer for peer in PEERS if shutil.which(peer) is None}
    if missing and os.environ.get("CI") == "true":
        raise pytest.UsageError(f"under CI nothing may be left out, but these peers are missing: {sorted(missing)}")
    for item in items:
        needed = {marker.args[0] for marker in item.iter_markers("peer")}
        if needed & missing:
            item.add_marker(pytest.mark.skip(reason=f"left out: {', '.join(sorted(needed & missing))} not installed"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "peer(name): the real program that this test talks to")


@pytest.fixture(scope="module", autouse=True)
def judged_by_tshark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Captures the module's packets; at its end tshark must have seen calls and found nothing malformed."""
    if shutil.which("tshark") is None:
        yield
        return
    capture = Capture.start(tmp_path_factory.mktemp("capture") / "calls.pcapng")
    try:
        yield
    finally:
        capture.stop()
    assert capture.count("sip") > 0, "the capture holds no SIP: it proves nothing"
    bad = capture.malformed()
    assert bad == "", f"tshark finds these packets malformed:\n{bad}"


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path
