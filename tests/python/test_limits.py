"""What peers may make a system keep and do."""

import asyncio
import socket
from datetime import timedelta

import pytest
from support import Recorder

from ringback import CallDecision, Limits, SessionManagerBuilder


class Asker:
    """A peer that asks with OPTIONS and INVITE, and counts what it gets by status."""

    def __init__(self, to: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        host, port = to.split("@")[1].split(":")
        self._to = (host, int(port))
        self._count = 0

    def __enter__(self) -> "Asker":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, method: str = "OPTIONS", *, agent: str = "phone") -> None:
        self._count += 1
        host, port = self._socket.getsockname()
        text = (
            f"{method} sip:pbx@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{self._count}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:a@{host}>;tag={self._count}\r\nTo: <sip:pbx@127.0.0.1>\r\n"
            f"Call-ID: {self._count}@{port}\r\nCSeq: 1 {method}\r\nContact: <sip:a@{host}:{port}>\r\n"
            f"User-Agent: {agent}\r\nContent-Length: 0\r\n\r\n"
        )
        self._socket.sendto(text.encode(), self._to)

    async def statuses(self, count: int) -> list[int]:
        """Of the next answers."""
        loop = asyncio.get_running_loop()
        found: list[int] = []
        async with asyncio.timeout(5):
            while len(found) < count:
                text = (await loop.sock_recv(self._socket, 65_535)).decode()
                found.append(int(text.split(" ")[1]))
        return found


async def test_a_source_may_ask_so_often(systems):
    limits = Limits(requests_per_second_per_source=5)
    pbx = await systems.start("pbx", None, lambda builder: builder.with_limits(limits))
    with Asker(pbx.local_address) as asker:
        for _ in range(8):
            asker.ask()
        assert await asker.statuses(8) == [200] * 5 + [503] * 3


async def test_half_open_invites_are_bounded(systems):
    handler = Recorder(CallDecision.Defer())
    pbx = await systems.start("pbx", handler, lambda builder: builder.with_limits(Limits(half_open_invites=2)))
    with Asker(pbx.local_address) as asker:
        for _ in range(2):
            asker.ask("INVITE")
        assert await asker.statuses(2) == [180, 180]
        asker.ask("INVITE")
        assert await asker.statuses(1) == [503]


async def test_scanners_get_no_answer(systems):
    pbx = await systems.start("pbx")
    with Asker(pbx.local_address) as asker:
        asker.ask(agent="friendly-scanner")
        asker.ask()
        assert await asker.statuses(1) == [200]
    open_to_all = await systems.start("pbx", None, lambda builder: builder.with_limits(Limits(drop_scanners=False)))
    with Asker(open_to_all.local_address) as asker:
        asker.ask(agent="friendly-scanner")
        assert await asker.statuses(1) == [200]


def test_what_is_no_limit():
    for wrong in (
        {"half_open_invites": 0},
        {"message_bytes": 10},
        {"requests_per_second_per_source": 0},
        {"faults_per_minute_per_source": -1},
        {"shut_out": 0},
        {"connections": -1},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Limits(**wrong)
    with pytest.raises(TypeError, match="connections"):
        Limits(connections="many")
    assert Limits(shut_out=timedelta(minutes=1)).shut_out == timedelta(minutes=1)
    with pytest.raises(TypeError, match="limits"):
        SessionManagerBuilder().with_limits({"connections": 1})
