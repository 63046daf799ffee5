import asyncio
import logging

import pytest
from support import Peer, Recorder, until


@pytest.fixture(autouse=True)
def levels():
    """Loggers as they were."""
    names = ["ringback", *(f"ringback.{part}" for part in ("sip", "transaction", "dialog", "session", "media", "net"))]
    before = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


class Collect(logging.Handler):
    def __init__(self):
        super().__init__(0)
        self.records = []

    def emit(self, record):
        self.records.append(record)


@pytest.fixture
def collected():
    handler = Collect()
    logger = logging.getLogger("ringback")
    logger.addHandler(handler)
    yield handler.records
    logger.removeHandler(handler)


async def test_a_call_can_be_followed_by_its_call_id(systems, collected):
    logging.getLogger("ringback").setLevel(logging.DEBUG)
    bob = Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.answered(caller, called)
    await call.hangup()
    await bob.wait("ended")
    mine = lambda: [record for record in collected if record.call_id == call.call_id]  # noqa: E731
    text = lambda: "\n".join(record.getMessage() for record in mine() if record.name == "ringback.sip")  # noqa: E731
    await until(lambda: "BYE" in text())
    await asyncio.sleep(0.05)
    for line in ("INVITE sip:bob@", "SIP/2.0 200", "ACK sip:", "BYE sip:", "m=audio"):
        assert line in text(), line
    assert {record.levelno for record in mine()} <= {logging.DEBUG, logging.INFO}
    assert all(abs(record.created - mine()[0].created) < 30 for record in mine())
    assert all(hasattr(record, "call_id") for record in collected)


async def test_nothing_is_made_while_levels_are_high(systems, collected):
    logging.getLogger("ringback").setLevel(logging.WARNING)
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    await (await systems.answered(caller, called)).hangup()
    await asyncio.sleep(0.1)
    assert [record for record in collected if record.levelno < logging.WARNING] == []


async def test_levels_are_set_while_running(systems, collected):
    logging.getLogger("ringback").setLevel(logging.WARNING)
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    await systems.answered(caller, called)
    logging.getLogger("ringback.sip").setLevel(logging.DEBUG)
    # A command brings the new level at once; without one a quarter of a second does.
    call = await systems.answered(caller, called)
    await until(lambda: any("INVITE sip:bob" in record.getMessage() for record in collected))
    await asyncio.sleep(0.4)
    collected.clear()
    await call.hangup()
    await until(lambda: len([record for record in collected if "BYE sip:" in record.getMessage()]) >= 2)
    logging.getLogger("ringback.sip").setLevel(logging.ERROR)
    await asyncio.sleep(0.4)
    collected.clear()
    await systems.answered(caller, called)
    await asyncio.sleep(0.1)
    assert [record.name for record in collected if record.levelno < logging.WARNING] == []


@pytest.mark.parametrize("parent", ["ringback.sip", "ringback", ""])
async def test_a_level_counts_at_once_in_every_system(systems, collected, parent):
    logger = logging.getLogger(parent)
    before = logger.level
    logger.setLevel(logging.WARNING)
    idle = [await systems.start(name, Recorder()) for name in ("bob", "carol")]
    invites = lambda: sum("INVITE sip:" in record.getMessage() for record in collected)  # noqa: E731
    try:
        async with Peer() as peer:
            # Nothing else happens between the change and the message.
            logger.setLevel(logging.DEBUG)
            for coordinator in idle:
                peer.invite(coordinator.local_address)
            await until(lambda: invites() == 2)
            await asyncio.sleep(0.05)
            collected.clear()
            logging.disable(logging.INFO)
            for coordinator in idle:
                peer.invite(coordinator.local_address)
            await peer.receive("SIP/2.0 200")
            await asyncio.sleep(0.1)
            assert collected == []
    finally:
        logging.disable(logging.NOTSET)
        logger.setLevel(before)


async def test_one_logger_alone(systems, collected):
    logging.getLogger("ringback").setLevel(logging.WARNING)
    logging.getLogger("ringback.session").setLevel(logging.DEBUG)
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    await (await systems.answered(caller, called)).hangup()
    await until(lambda: collected)
    await asyncio.sleep(0.05)
    assert {record.name for record in collected if record.levelno < logging.WARNING} == {"ringback.session"}


async def test_a_filter_that_raises_is_told_to_the_loop_and_does_no_harm(systems):
    class Broken(logging.Filter):
        def filter(self, record):
            raise RuntimeError("filter")

    errors = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context["exception"]))
    logger = logging.getLogger("ringback.sip")
    logger.setLevel(logging.DEBUG)
    broken = Broken()
    logger.addFilter(broken)
    try:
        called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
        call = await systems.answered(caller, called)
        await call.hangup()
        await until(lambda: len(errors) > 5)
    finally:
        logger.removeFilter(broken)
    assert {str(error) for error in errors} == {"filter"}
