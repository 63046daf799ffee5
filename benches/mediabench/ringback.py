"""ringback under test: a process that answers, another that calls it, and phones for the media of the calls."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from callbench.process import Peer
from callbench.systems import BENCHES

from .phones import Phones
from .setting import Setting

# Calls asked for in one go.
AT_A_TIME = 200


class Program(Peer):
    """`peers/ringback_media.py`."""

    def __init__(
        self, setting: Setting, *, real_time: bool = True, awake: bool = False, media_threads: int | None = None
    ) -> None:
        script = str(BENCHES / "peers" / "ringback_media.py")
        command = [setting.python, script, "--media-ports", setting.media_ports]
        if not real_time:
            command.append("--no-real-time")
        if awake:
            command.append("--awake")
        threads = media_threads or setting.media_threads
        if threads is not None:
            command += ["--media-threads", str(threads)]
        super().__init__(command, setting.log("ringback"), setting.pin_tested, talks=True)

    def order(self, line: str) -> str:
        return self.answer_to(line, 120.0)


@dataclass(frozen=True)
class Calls:
    """Calls that are answered, and their phones, which send by now."""

    program: Program
    phones: Phones
    count: int
    # Of the program, before the first call.
    idle_bytes: int


@contextmanager
def calls(
    setting: Setting,
    codecs: Sequence[str],
    order: str | None,
    *,
    real_time: bool = True,
    awake: bool = False,
    media_threads: int | None = None,
) -> Iterator[Calls]:
    """A call for each of `codecs`, connected by `order`; by so many media threads, or as many as is usual."""
    caller_command = [setting.python, str(BENCHES / "peers" / "ringback_caller.py")]
    with (
        Program(setting, real_time=real_time, awake=awake, media_threads=media_threads) as program,
        Peer(caller_command, setting.log("caller"), setting.pin_phones, talks=True) as caller,
        Phones(setting, len(codecs)) as phones,
    ):
        idle = program.memory().now
        phones.load(codecs, setting.sounds)
        legs = [f"{leg}:{port}:{codec}" for leg, (port, codec) in enumerate(zip(phones.ports, codecs, strict=True))]
        for start in range(0, len(legs), AT_A_TIME):
            some = " ".join(legs[start : start + AT_A_TIME])
            for leg, port, payload_type in json.loads(caller.answer_to(f"call {program.port} {some}", 120.0)):
                phones.connect(leg, port, payload_type, codecs[leg])
        if order is not None:
            program.order(order)
        phones.order("start")
        yield Calls(program, phones, len(codecs), idle)
