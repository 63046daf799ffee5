"""STUN on the sockets of SIP (RFC 5626 §4.4.2, §8)."""

import asyncio

import pytest
from baresip_peer import Baresip
from capture import Capture
from kamailio_peer import Kamailio
from network import HOST, MEDIA, free_ports
from systems import Recorder, dial, system, until

from ringback import Account, Credentials, Registrar, RegistrationState, SessionManagerBuilder

pytestmark = [pytest.mark.peer("kamailio"), pytest.mark.peer("baresip")]
EXPECTED = ("sip", "udp", "stun")


async def test_flows_are_kept_alive_by_stun(wire: Capture) -> None:
    """Ours to Kamailio, and baresip's to us: side by side, since keep-alives take their time."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_our_flow_to_kamailio(wire))
        group.create_task(_the_flow_of_baresip_to_us(wire))


async def _our_flow_to_kamailio(wire: Capture) -> None:
    """Binding requests go from the SIP socket to its port, where its STUN module answers; when it is gone, that is noticed."""
    async with await system(Recorder()) as desk:
        async with Kamailio(stun=True) as proxy:
            account = Account(
                aor=proxy.uri("desk"),
                registrar=proxy.registrar,
                credentials=Credentials(username="desk", password="desk"),
            )
            registration = await desk.register(account)
            await registration.wait_registered(20)
            ours, theirs = int(desk.local_address.rpartition(":")[2]), proxy.port
            asked = f"stun.type == 0x0001 && udp.srcport == {ours} && udp.dstport == {theirs}"
            answered = f"stun.type == 0x0101 && udp.srcport == {theirs} && udp.dstport == {ours}"
            for what in (asked, answered):
                await wire.packets(what, lambda packets: len(packets) >= 3, "three keep-alives")
            assert registration.state is RegistrationState.REGISTERED
        # Two seconds at most to the next one, and 19.5 for it.
        await until(lambda: registration.state is not RegistrationState.REGISTERED, 30)


async def _the_flow_of_baresip_to_us(wire: Capture) -> None:
    """It asks our SIP port from its own, which we answer; and it is called by that flow."""
    registrar = Registrar(domains=[HOST])
    made = SessionManagerBuilder().with_local_address(f"sip:ringback@{HOST}").with_sip_port(free_ports())
    made = made.with_media_ports(MEDIA.start, MEDIA.stop - 1).with_handler(Recorder()).with_registrar(registrar)
    async with await made.build() as pbx:
        place = pbx.local_address.partition("@")[2]
        aor = f"sip:bob@{place}"
        async with Baresip(660.0, registered=aor, edge=f"sip:{place}", settings="module uuid.so\n") as phone:
            async with asyncio.timeout(20):
                while not (found := await registrar.lookup(aor)):
                    await asyncio.sleep(0.02)
            assert found[0].instance is not None and found[0].reg_id == 1
            ours, theirs = int(place.rpartition(":")[2]), phone.port
            answered = f"stun.type == 0x0101 && udp.srcport == {ours} && udp.dstport == {theirs}"
            # Each 29 s at most.
            await asyncio.sleep(15)
            await wire.packets(answered, lambda packets: len(packets) >= 1, "an answer")
            call = await dial(pbx, aor)
            await call.wait_for_answer(20)
            await call.hangup()
