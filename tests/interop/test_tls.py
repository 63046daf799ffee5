"""Calls with baresip over TLS, each side checking the other's certificate."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from baresip_peer import Baresip
from network import HOST, MEDIA, free_ports
from systems import Recorder, dial, host_port, soon
from test_baresip import exchange_tones

from ringback import SessionCoordinator, SessionManagerBuilder, Transport

pytestmark = pytest.mark.peer("baresip")
# A capture shows nothing: the descriptions that say what the media is are within TLS.
EXPECTED: tuple[str, ...] = ()


class Authority:
    """Issues the certificates of both sides, and leaves them as files."""

    def __init__(self, place: Path) -> None:
        ca = trustme.CA()
        self.root, self.certificate, self.both = (str(place / name) for name in ("ca.pem", "ours.pem", "theirs.pem"))
        ca.cert_pem.write_to_path(self.root)
        ca.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(self.certificate)
        ca.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(self.both)


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    yield Authority(tmp_path)


async def secured(authority: Authority, handler: Recorder) -> SessionCoordinator:
    builder = SessionManagerBuilder().with_local_address(f"sip:ringback@{HOST}").with_sip_port(free_ports())
    builder.with_media_ports(MEDIA.start, MEDIA.stop - 1).with_handler(handler)
    builder.with_transport(Transport.TLS, certificate=authority.certificate, ca=authority.root)
    return await builder.build()


def baresip(authority: Authority, frequency: float) -> Baresip:
    return Baresip(frequency, settings=f"sip_certificate {authority.both}\nsip_cafile {authority.root}\n")


async def test_we_call_baresip_over_tls(authority: Authority) -> None:
    async with baresip(authority, 660.0) as peer, await secured(authority, Recorder()) as caller:
        call = await dial(caller, peer.uri("tls"))
        await call.wait_for_answer(20)
        await exchange_tones(call, peer, 450.0)
        await call.hangup()
        await peer.until_event("CALL_CLOSED")


async def test_baresip_calls_us_over_tls(authority: Authority) -> None:
    handler = Recorder()
    async with await secured(authority, handler) as server, baresip(authority, 520.0) as peer:
        await peer.command("dial", f"sip:service@{host_port(server)};transport=tls")
        incoming = await soon(handler.incoming)
        assert incoming.transport is Transport.TLS
        call = await soon(handler.established)
        await exchange_tones(call, peer, 880.0)
        # By the connection that it has opened.
        await call.hangup()
        await peer.until_event("CALL_CLOSED")
