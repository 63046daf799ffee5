"""Calls through Kamailio, which routes them along the way that it recorded."""

import pytest
from capture import Capture
from kamailio_peer import Kamailio
from pjsua_peer import Pjsua
from systems import Recorder, dial, soon, system

pytestmark = [pytest.mark.peer("kamailio"), pytest.mark.peer("pjsua2")]
EXPECTED = ("sip", "sdp", "rtp", "udp", "tcp")


def registered(proxy: Kamailio, frequency: float = 660.0) -> Pjsua:
    """A telephone that registers with Kamailio."""
    return Pjsua(
        frequency,
        user="desk",
        id=proxy.uri("desk"),
        registrar=proxy.registrar,
        username="desk",
        password="desk",
    )


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_we_call_through_it(transport: str, wire: Capture) -> None:
    """Our requests within the call go along its Record-Route."""
    async with Kamailio() as proxy, registered(proxy) as desk, await system() as caller:
        await desk.until_event("registration", code=200)
        call = await dial(caller, proxy.uri("desk", transport))
        await call.wait_for_answer(20)
        await desk.until_event("media", status="active")
        await call.hold()
        await desk.until_event("media", status="remote hold")
        await call.resume()
        await call.hangup()
        await desk.until_state("disconnected")
        found = await wire.packets(
            f'sip.Method == "BYE" && sip.Call-ID == "{call.call_id}"', lambda packets: len(packets) >= 2, "BYE and BYE"
        )
        routes = [packet.all("sip.Route") for packet in found]
        assert any(str(proxy.port) in str(route) for route in routes), routes


async def test_nobody_there_is_said() -> None:
    async with Kamailio() as proxy, await system(Recorder()) as caller:
        call = await dial(caller, proxy.uri("nobody"))
        assert "404" in await call.wait_ended()


async def test_the_far_end_hangs_up_through_it() -> None:
    handler = Recorder()
    async with Kamailio() as proxy, registered(proxy) as desk, await system(handler) as caller:
        await desk.until_event("registration", code=200)
        call = await dial(caller, proxy.uri("desk"))
        await call.wait_for_answer(20)
        await desk.until_state("confirmed")
        await desk.do("hangup")
        assert (await soon(handler.ended))[1] == "remote hangup"
