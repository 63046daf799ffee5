"""Calls through Kamailio over TLS on both sides of it, where each end of each connection shows a certificate."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from authority import Authority
from kamailio_peer import Kamailio
from systems import Recorder, soon

from ringback import (
    Account,
    CallFailed,
    CallState,
    Credentials,
    RegistrationState,
    SessionControl,
    SessionCoordinator,
    Transport,
)

pytestmark = [pytest.mark.peer("kamailio"), pytest.mark.peer("kamailio-tls")]
# A capture shows nothing: the descriptions that say what the media is are within TLS.
EXPECTED: tuple[str, ...] = ()


@dataclass
class Two:
    """A member that is registered with the proxy, and somebody who calls it."""

    proxy: Kamailio
    member: SessionCoordinator
    caller: SessionCoordinator
    called: Recorder
    calling: Recorder


@pytest.fixture
async def two(authority: Authority) -> AsyncIterator[Two]:
    called, calling = Recorder(), Recorder()
    async with Kamailio(certificate=authority.both, root=authority.root) as proxy:
        account = Account(
            aor=proxy.uri("member", "tls"),
            registrar=proxy.uri("member", "tls").replace("member@", ""),
            credentials=Credentials(username="member", password="member"),
            transport=Transport.TLS,
            expires=120,
        )
        async with (
            await authority.builder(called).build() as member,
            await authority.builder(calling).build() as caller,
        ):
            registration = await member.register(account)
            await registration.wait_registered(20)
            assert registration.state is RegistrationState.REGISTERED
            yield Two(proxy, member, caller, called, calling)


async def test_a_member_is_called_and_hangs_up(two: Two) -> None:
    """Registered with digest over TLS; the BYE of the called goes along the route set."""
    to = two.proxy.uri("member", "tls")
    call = await SessionControl.create_outgoing_call(two.caller, two.caller.local_address, to)
    await call.wait_for_answer(20)
    incoming = await soon(two.called.incoming)
    assert incoming.transport is Transport.TLS
    assert f":{two.proxy.port + 1};transport=tls" in incoming.headers["Record-Route"]
    theirs = await soon(two.called.established)
    await two.proxy.until_logged("ACK along the route, by tls")
    await call.hold()
    assert call.state is CallState.ON_HOLD and theirs.remote_hold
    await two.proxy.until_logged("INVITE along the route, by tls")
    await theirs.hangup()
    assert (await soon(two.calling.ended))[1] == "remote hangup"
    await two.proxy.until_logged("BYE along the route, by tls")


async def test_a_member_calls_and_has_to_prove_itself(two: Two) -> None:
    """407 on the way out, the same connection on the way in; the BYE of the caller goes along the route set."""
    own = two.proxy.uri("member", "tls")
    call = await SessionControl.create_outgoing_call(two.member, own, own)
    await call.wait_for_answer(20)
    incoming = await soon(two.called.incoming)
    assert "Proxy-Authorization" not in incoming.headers, "the proxy has taken it off"
    await call.hangup()
    assert {(await soon(two.called.ended))[1] for _ in range(2)} == {"hangup", "remote hangup"}
    await two.proxy.until_logged("BYE along the route, by tls")


async def test_a_proxy_of_another_authority_is_not_spoken_to(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    async with (
        Kamailio(certificate=authority.both, root=authority.root) as proxy,
        await other.builder().build() as caller,
    ):
        to = proxy.uri("nobody", "tls")
        call = await SessionControl.create_outgoing_call(caller, caller.local_address, to)
        with pytest.raises(CallFailed, match="certificate"):
            await call.wait_for_answer(20)
        assert "404" not in (call.end_reason or "")
