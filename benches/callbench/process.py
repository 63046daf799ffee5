"""A process that is measured: started, watched and ended by its id, and by nothing else."""

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

READY_SECONDS = 20.0
END_SECONDS = 10.0


class PeerError(Exception):
    """A program did not start, or ended when it should not have."""


@contextmanager
def pinned(cpus: Sequence[int] | None) -> Iterator[None]:
    """A process started herein stays on `cpus`: it inherits what the thread that starts it may use at that moment."""
    allowed = os.sched_getaffinity(0)
    if cpus:
        os.sched_setaffinity(0, set(cpus))
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@dataclass(frozen=True)
class Memory:
    """Resident memory in bytes."""

    now: int
    peak: int


class Peer:
    """A program that is measured. It prints "ready PORT" once it serves, and may print "stats JSON" at its end, or when asked.

    `talks`: it answers each line from its standard input with one line; see `answer_to`.
    """

    def __init__(
        self, command: Sequence[str], log: Path, cpus: Sequence[int] | None = None, *, talks: bool = False
    ) -> None:
        self.command = list(command)
        self.log = log
        self.port = 0
        self.stats: str | None = None
        self._ready = threading.Event()
        self._told = threading.Event()
        self._answers: queue.Queue[str | None] = queue.Queue()
        with log.open("wb") as errors, pinned(cpus):
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read(self, output: IO[str]) -> None:
        for line in output:
            word, _, rest = line.strip().partition(" ")
            if word == "ready" and rest.isdigit():
                self.port = int(rest)
                self._ready.set()
            elif word == "stats":
                self.stats = rest
                self._told.set()
            else:
                self._answers.put(line.strip())
        self._answers.put(None)
        self._ready.set()

    def answer_to(self, line: str, most_seconds: float = 60.0) -> str:
        """The answer to one line. Raises `PeerError` where there is none."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise PeerError(f"{self.command[0]} listens no more: {self.last_words()}") from error
        return self.hear(most_seconds)

    def hear(self, most_seconds: float = 60.0) -> str:
        """The next line that is no answer to anything asked here: what a program says by itself."""
        try:
            answer = self._answers.get(timeout=most_seconds)
        except queue.Empty:
            raise PeerError(f"{self.command[0]} does not answer: {self.last_words()}") from None
        if answer is None:
            raise PeerError(f"{self.command[0]} has ended: {self.last_words()}")
        return answer

    def __enter__(self) -> Self:
        try:
            self._ready.wait(READY_SECONDS)
            if self.port == 0:
                raise PeerError(f"{self.command[0]} did not get ready; its last words: {self.last_words()}")
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def check(self) -> None:
        """Raises `PeerError` where the program is no more."""
        if self._process.poll() is not None:
            raise PeerError(f"{self.command[0]} ended with {self._process.returncode}: {self.last_words()}")

    def ask(self, seconds: float = 30.0) -> dict[str, Any]:
        """Its statistics now, of a program that tells them at SIGUSR1. Raises `PeerError` where it does not."""
        self._told.clear()
        self._process.send_signal(signal.SIGUSR1)
        if not self._told.wait(seconds) or self.stats is None:
            self.check()
            raise PeerError(f"{self.command[0]} has told no statistics in {seconds:g} s")
        found: dict[str, Any] = json.loads(self.stats)
        return found

    def last_words(self) -> str:
        text = self.log.read_text(errors="replace").strip()
        return text[-600:] or "(none)"

    def cpu_seconds(self) -> float:
        """CPU time of all its threads so far, ended ones too, user and system, to the nanosecond.

        The clock of another process is what clock_getcpuclockid(3) gives: the complement of its id, and the kind of
        clock in the three low bits.
        """
        per_process_sched_clock = 2
        try:
            return time.clock_gettime((~self.pid << 3) | per_process_sched_clock)
        except OSError:
            return self._cpu_seconds_in_ticks()

    def _cpu_seconds_in_ticks(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        user, system = int(fields[11]), int(fields[12])
        return (user + system) / os.sysconf("SC_CLK_TCK")

    def thread_seconds(self, prefix: str) -> float | None:
        """CPU time of the threads whose names begin like this; None where there are none."""
        found = None
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            try:
                if (task / "comm").read_text().startswith(prefix):
                    found = (found or 0.0) + int((task / "schedstat").read_text().split()[0]) / 1e9
            except OSError:
                continue  # it has just ended
        return found

    def memory(self) -> Memory:
        found = {"VmRSS": 0, "VmHWM": 0}
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in found:
                found[name] = int(rest.split()[0]) * 1024
        return Memory(now=found["VmRSS"], peak=found["VmHWM"])

    def threads_and_files(self) -> tuple[int, int]:
        base = Path(f"/proc/{self.pid}")
        return sum(1 for _ in (base / "task").iterdir()), sum(1 for _ in (base / "fd").iterdir())

    def end(self) -> None:
        """Asks it to end, and ends it where it does not."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join(END_SECONDS)
