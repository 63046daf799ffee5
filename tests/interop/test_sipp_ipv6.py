"""Calls with SIPp over IPv6: signalling and media."""

import pytest
from network import HOST6
from sipp_peer import Sipp
from systems import Recorder, check_echo, dial, host_port, soon, system

from ringback import MediaControl, Transport

pytestmark = pytest.mark.peer("sipp")
EXPECTED = ("ipv6", "sip", "sdp", "rtp", "tcp", "udp")
BOTH = pytest.mark.parametrize(("transport", "sipp_transport"), [(Transport.UDP, "u1"), (Transport.TCP, "t1")])


@BOTH
async def test_calls_come_in(transport: Transport, sipp_transport: str) -> None:
    handler = Recorder()
    async with await system(handler, transport, host=HOST6) as server:
        assert host_port(server).startswith("[::1]:")
        async with Sipp("uac", remote=host_port(server), calls=10, transport=sipp_transport, host=HOST6) as sipp:
            await sipp.finished()
        for _ in range(10):
            call = await soon(handler.incoming)
            assert call.source is not None and call.source.startswith("[::1]:")
            _, reason = await soon(handler.ended)
            assert reason == "remote hangup"


@BOTH
async def test_a_call_goes_out_and_is_heard(transport: Transport, sipp_transport: str) -> None:
    async with (
        Sipp("uas", transport=sipp_transport, echo=True, host=HOST6) as sipp,
        await system(None, transport, host=HOST6) as caller,
    ):
        call = await dial(caller, sipp.uri)
        await call.wait_for_answer(20)
        info = await MediaControl.get_media_info(caller, call.id)
        assert info is not None and info.local_sdp is not None and "\nc=IN IP6 ::1" in info.local_sdp
        assert info.remote_address == f"[::1]:{sipp.media_port}"
        await check_echo(call, 700)
        await call.hangup()
        await sipp.finished()
