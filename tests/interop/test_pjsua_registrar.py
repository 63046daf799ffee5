"""PJSIP as a telephone of our registrar: it proves who it is, is called by its address of record, and watches its mailbox."""

import pytest
from network import HOST
from pjsua_peer import Pjsua
from systems import Recorder, builder, dial, host_port, until

from ringback import Authenticator, Registrar

pytestmark = pytest.mark.peer("pjsua2")
EXPECTED = ("sip", "sdp", "udp", "tcp")


class Office(Recorder):
    """Lets telephones watch."""

    def __init__(self) -> None:
        super().__init__()
        self.watchers: list[tuple[str, str, str]] = []

    def on_subscribe(self, subscriber_uri: str, to_uri: str, event: str) -> bool:
        self.watchers.append((subscriber_uri, to_uri, event))
        return True


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_pjsua_registers_watches_its_mailbox_and_is_called(transport: str) -> None:
    office, registrar = Office(), Registrar(domains=[HOST])
    made = builder(office).with_registrar(registrar).with_authenticator(Authenticator(HOST, {"alice": "wonderland"}))
    async with await made.build() as pbx:
        server = host_port(pbx)
        aor, way = f"sip:alice@{server}", "" if transport == "udp" else ";transport=tcp"
        await pbx.publish_message_summary(aor, new=2, old=5)
        async with Pjsua(
            660.0,
            user="alice",
            id=aor,
            registrar=f"sip:{server}{way}",
            proxy=f"sip:{server}{way};lr",
            username="alice",
            password="wonderland",
            mwi=True,
        ) as phone:
            await phone.until_event("registration", code=200)
            (binding,) = await registrar.lookup(aor)
            assert binding.transport == transport
            # What there is already, and then what changes.
            await until(lambda: "Voice-Message: 2/5" in said(phone), what="the mailbox as it is")
            # PJSIP leaves the port out of From and To.
            assert office.watchers == [(f"sip:alice@{HOST}", f"sip:alice@{HOST}", "message-summary")]
            await pbx.publish_message_summary(aor, new=3, old=5)
            await until(lambda: "Voice-Message: 3/5" in said(phone), what="the new message")

            call = await dial(pbx, aor)
            await call.wait_for_answer(20)
            await phone.until_event("media", status="active")
            await call.hangup()
            await phone.until_state("disconnected")
            await phone.do("unregister")
            await phone.until_event("registration", code=200, expires=0)
            assert await registrar.lookup(aor) == []


def said(phone: Pjsua) -> str:
    return "".join(found["body"] for found in phone.of("message waiting"))
