"""Captures what a test module's calls put on loopback, and lets tshark judge it."""

import contextlib
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

# tshark recognises RTP and RTCP by the SDP of the calls; SIP is recognised on any port by its text.
OPTIONS = ["-o", "udp.try_heuristic_first:TRUE", "-o", "tcp.try_heuristic_first:TRUE"]
# Errors and malformed packets of the protocols that we speak. What a peer sends counts too: its packets are in the same calls.
BAD = "(sip || sdp || rtp || rtcp || rtpevent) && (_ws.malformed || _ws.expert.severity == error)"


@dataclass
class Capture:
    path: Path
    process: "subprocess.Popen[bytes]"

    @classmethod
    def start(cls, path: Path) -> "Capture":
        # Below 16384 are the control connections of baresip and the like; nothing else runs on this machine's loopback that matters.
        command = ["dumpcap", "-q", "-i", "lo", "-B", "64", "-w", str(path), "-f", "udp or tcp"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 10
        while not (path.exists() and path.stat().st_size > 0):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise AssertionError(f"dumpcap did not start: {process.stderr.read().decode() if process.stderr else ''}")
            time.sleep(0.02)
        return cls(path, process)

    def stop(self) -> None:
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _tshark(self, *arguments: str) -> str:
        command = ["tshark", "-r", str(self.path), *OPTIONS, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout

    def count(self, display_filter: str) -> int:
        return len(self._tshark("-Y", display_filter, "-T", "fields", "-e", "frame.number").split())

    def malformed(self) -> str:
        """One line for each packet that tshark finds fault with; empty where there is none."""
        fields = ["frame.number", "frame.protocols", "sip.Request-Line", "sip.Status-Line", "_ws.expert.message"]
        return self._tshark("-Y", BAD, "-T", "fields", *(word for field in fields for word in ("-e", field)))
