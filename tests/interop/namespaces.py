"""Network namespaces of one test: a public network, and private ones behind NATs. Nothing of the machine's own network is touched."""

import itertools
import os
import re
import subprocess
from pathlib import Path
from types import TracebackType

import pytest

# RFC 5737: documentation's own, so that nobody's real addresses are meant.
PUBLIC = "198.51.100.1"
_numbers = itertools.count(1)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)


def _sweep() -> None:
    """Removes what runs that were killed have left."""
    listed = subprocess.run(["ip", "netns", "list"], check=False, capture_output=True, text=True, timeout=30).stdout
    for name, process in re.findall(r"^(rb(\d+)n\S+)", listed, re.MULTILINE):
        if not Path(f"/proc/{process}").exists():
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True, timeout=30)


class World:
    """`with World() as world`: `world.public` is a namespace with the address `PUBLIC`; `behind_nat` adds private ones."""

    def __init__(self) -> None:
        self._prefix = f"rb{os.getpid()}n{next(_numbers)}"
        self._names: list[str] = []
        self._networks = itertools.count(2)
        self.public = ""

    def __enter__(self) -> "World":
        try:
            _sweep()
            self.public = self._namespace("pub")
            _run("ip", "-n", self.public, "link", "add", "br0", "type", "bridge")
            _run("ip", "-n", self.public, "address", "add", f"{PUBLIC}/24", "dev", "br0")
            _run("ip", "-n", self.public, "link", "set", "br0", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            self._remove()
            why = getattr(error, "stderr", None) or error
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(f"network namespaces cannot be made here: {str(why).strip()}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        for name in self._names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True, timeout=30)

    def _namespace(self, name: str) -> str:
        full = f"{self._prefix}{name}"
        _run("ip", "netns", "add", full)
        self._names.append(full)
        _run("ip", "-n", full, "link", "set", "lo", "up")
        return full

    def behind_nat(self, *, symmetric: bool, forward: int | None = None) -> tuple[str, str, str]:
        """A private namespace whose way out is a NAT: its name, its own address, and the NAT's public one.

        `symmetric`: each peer sees another port (RFC 4787 §4.1). Otherwise ports are kept. `forward`: a UDP port that the NAT passes
        in.
        """
        number = next(self._networks)
        inside, outside = f"10.77.{number}.2", f"198.51.100.{number}"
        private, nat = self._namespace(f"in{number}"), self._namespace(f"nat{number}")
        _run(
            "ip",
            "link",
            "add",
            "out0",
            "netns",
            nat,
            "type",
            "veth",
            "peer",
            "name",
            f"port{number}",
            "netns",
            self.public,
        )
        _run("ip", "link", "add", "in0", "netns", nat, "type", "veth", "peer", "name", "eth0", "netns", private)
        _run("ip", "-n", self.public, "link", "set", f"port{number}", "master", "br0", "up")
        for namespace, device, address in (
            (nat, "out0", outside),
            (nat, "in0", f"10.77.{number}.1"),
            (private, "eth0", inside),
        ):
            _run("ip", "-n", namespace, "address", "add", f"{address}/24", "dev", device)
            _run("ip", "-n", namespace, "link", "set", device, "up")
        _run("ip", "-n", private, "route", "add", "default", "via", f"10.77.{number}.1")
        _run("ip", "netns", "exec", nat, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        masquerade = "masquerade random,fully-random" if symmetric else "masquerade"
        rules = "add table ip nat\nadd chain ip nat out { type nat hook postrouting priority 100; }\n"
        rules += f'add rule ip nat out oifname "out0" {masquerade}\n'
        # What nobody asked for is dropped, as by any router: taken in, it would hold the port against the mapping to come.
        rules += (
            'add chain ip nat guard { type filter hook input priority 0; }\nadd rule ip nat guard iifname "out0" drop\n'
        )
        if forward is not None:
            rules += "add chain ip nat in { type nat hook prerouting priority -100; }\n"
            rules += f'add rule ip nat in iifname "out0" udp dport {forward} dnat to {inside}\n'
        subprocess.run(
            ["ip", "netns", "exec", nat, "nft", "-f", "-"],
            check=True,
            input=rules,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return private, inside, outside


def within(namespace: str, *command: str | Path) -> list[str]:
    """A command as it runs there."""
    return ["ip", "netns", "exec", namespace, *map(str, command)]
