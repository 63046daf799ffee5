"""Transfers with baresip, both ways: it is sent elsewhere, blind and attended, and sends us elsewhere."""

import pytest
from baresip_peer import Baresip
from pjsua_peer import Pjsua
from systems import Recorder, dial, dominant_frequency, host_port, soon, system, until, until_empty

from ringback import CallSession, CallState, SessionControl, TransferFailed

pytestmark = pytest.mark.peer("baresip")
EXPECTED = ("sip", "sdp", "rtp", "udp")


class Willing(Recorder):
    """Lets peers transfer their calls."""

    def on_transfer_request(self, call: CallSession, target: str) -> bool:
        return True


# baresip 1.0 puts the headers of a Refer-To into its Request-URI (RFC 3261 §19.1.1 has them in the request), which is a 400.
BARESIP_1_0 = pytest.mark.xfail(raises=TransferFailed, strict=True, reason="baresip 1.0 does not know Replaces")


@pytest.mark.parametrize("attended", [False, pytest.param(True, marks=BARESIP_1_0)])
async def test_baresip_is_transferred(attended: bool) -> None:
    ours, theirs = Recorder(), Recorder()
    async with Baresip(660.0) as peer, await system(ours) as coordinator, await system(theirs) as target:
        call = await dial(coordinator, peer.uri())
        await soon(ours.established)
        if attended:
            consult = await dial(coordinator, target.local_address)
            await consult.wait_for_answer(20)
            await soon(theirs.established)
            await SessionControl.transfer_session(coordinator, call.id, consult.id)
        else:
            await call.transfer(target.local_address)
        assert call.end_reason == "transferred"
        await until_empty(coordinator)
        moved = await soon(theirs.established)
        assert moved.state is CallState.ACTIVE and "baresip" in moved.from_uri
        await moved.hangup()
        await peer.until_event("CALL_CLOSED", 2)


@pytest.mark.peer("pjsua2")
async def test_somebody_is_put_through_to_baresip() -> None:
    """Attended, with baresip as the one who was asked first: PJSIP takes our place. baresip 1.0 does not know that it does, and has
    one call more; ours is over as it should be."""
    async with Pjsua(520.0) as first, Baresip(660.0) as second, await system() as coordinator:
        call, consult = await dial(coordinator, first.uri()), await dial(coordinator, second.uri())
        for each in (call, consult):
            await each.wait_for_answer(20)
        await SessionControl.transfer_session(coordinator, call.id, consult.id)
        await until_empty(coordinator)
        assert call.end_reason == consult.end_reason == "transferred"

        def heard() -> bool:
            found = dominant_frequency(first.heard()[-8000:], 8000)
            return found is not None and abs(found - second.frequency) < 5

        await until(heard, what="baresip's tone at PJSIP")


async def test_baresip_transfers_us() -> None:
    ours, theirs = Willing(), Recorder()
    async with Baresip(660.0) as peer, await system(ours) as coordinator, await system(theirs) as target:
        call = await dial(coordinator, peer.uri())
        await soon(ours.established)
        await peer.until_event("CALL_ESTABLISHED")
        await peer.command("transfer", f"sip:target@{host_port(target)}")
        moved = await soon(theirs.established)
        await until(lambda: call.state.is_final, what="the end of the call that was transferred")
        assert moved.state is CallState.ACTIVE
        await moved.hangup()
        await until_empty(coordinator)
