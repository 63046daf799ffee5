"""Digest authentication with SIPp, which makes and checks its own digests."""

import pytest
from network import HOST
from scenario import (
    CONTACT,
    Step,
    accept,
    ack,
    ack_refusal,
    bye,
    invite,
    receive,
    receive_bye,
    receive_final,
    receive_request,
    respond,
)
from sipp_peer import Sipp
from systems import Recorder, builder, dial, host_port, soon

from ringback import Authenticator, CallRejected, Credentials

pytestmark = pytest.mark.peer("sipp")
EXPECTED = ("sip", "sdp", "udp")

ALICE = Credentials(username="alice", password="secret", realm="sipp")


def receive_challenge(status: int) -> Step:
    return Step(f'<recv response="{status}" auth="true" rrs="true" />\n')


def challenge(status: str, nonce: str, more: str = "") -> Step:
    name = "Proxy-Authenticate" if status.startswith("407") else "WWW-Authenticate"
    return respond(
        status, headers=(CONTACT, f'{name}: Digest realm="sipp", nonce="{nonce}", algorithm=MD5, qop="auth"{more}')
    )


def receive_proof(method: str, number: int, *, text: str = "") -> tuple[Step, ...]:
    """Waits for a request whose credentials SIPp finds right."""
    ereg = f'<ereg regexp=\'{text}\' search_in="msg" check_it="true" assign_to="found" />' if text else ""
    verify = '<verifyauth assign_to="good" username="alice" password="secret" />'
    return (
        Step(f'<recv request="{method}" rrs="true"><action>{ereg}{verify}</action></recv>\n'),
        Step(f'<nop test="good" next="{number}" />\n'),
        Step('<nop><action><error message="wrong credentials" /></action></nop>\n'),
        Step(f'<label id="{number}" />\n'),
    )


PROOF = ("[authentication username=peer password=secret]",)


def authenticator(nonce_seconds: int = 300, *, integrity: bool = False) -> Authenticator:
    """Of a server that knows SIPp."""
    return Authenticator(
        HOST, {"peer": "secret"}, algorithms=("MD5",), integrity=integrity, nonce_seconds=nonce_seconds
    )


async def calls(name: str, asks: Authenticator, steps: tuple[Step, ...], *, cseq: int) -> None:
    """SIPp, which has come so far as to be let in with INVITE number `cseq`, calls and hangs up."""
    handler = Recorder()
    steps = (*steps, *receive_final(200), ack(cseq=cseq), bye(cseq=cseq + 1), receive(200))
    async with await builder(handler).with_authenticator(asks).build() as server:
        async with Sipp(name, steps, host_port(server)) as sipp:
            await soon(handler.established)
            assert (await soon(handler.ended))[1] == "remote hangup"
            await sipp.finished()


@pytest.mark.parametrize("integrity", [False, True])
async def test_sipp_is_let_in_with_its_password(integrity: bool) -> None:
    steps = (
        invite(),
        receive_challenge(401),
        ack_refusal(),
        invite(cseq=2, early=True, label="AGAIN", headers=PROOF),
    )
    await calls("asked", authenticator(integrity=integrity), steps, cseq=2)


@pytest.mark.parametrize(("username", "password"), [("peer", "wrong"), ("nobody", "secret")])
async def test_sipp_is_not_let_in_without(username: str, password: str) -> None:
    handler = Recorder()
    steps = (
        invite(),
        receive_challenge(401),
        ack_refusal(),
        invite(
            cseq=2, early=True, label="AGAIN", headers=(f"[authentication username={username} password={password}]",)
        ),
        receive(401),
        ack_refusal(cseq=2, of="AGAIN"),
    )
    async with await builder(handler).with_authenticator(authenticator()).build() as server:
        async with Sipp("refused", steps, host_port(server)) as sipp:
            await sipp.finished()
    assert handler.incoming.empty()


async def test_sipp_s_nonce_expires_and_is_replaced() -> None:
    # RFC 7616 §3.3: the password is right, so nobody is asked for it again.
    stale = '<ereg regexp="stale=true" search_in="hdr" header="WWW-Authenticate:" check_it="true" assign_to="stale" />'
    steps = (
        invite(),
        receive_challenge(401),
        ack_refusal(),
        Step('<pause milliseconds="2500" />\n'),
        invite(cseq=2, early=True, label="AGAIN", headers=PROOF),
        Step(f'<recv response="401" auth="true" rrs="true"><action>{stale}</action></recv>\n'),
        Step('<nop><action><log message="[$stale]" /></action></nop>\n'),
        ack_refusal(cseq=2, of="AGAIN"),
        invite(cseq=3, early=True, label="ONCEMORE", headers=PROOF),
    )
    await calls("stale", authenticator(nonce_seconds=1), steps, cseq=3)


async def test_sipp_asks_us_as_a_proxy_and_as_a_server_and_says_stale() -> None:
    steps = (
        receive_request("INVITE"),
        challenge("407 Proxy Authentication Required", "proxy"),
        receive_request("ACK"),
        receive_request("INVITE", text='Proxy-Authorization: Digest .*nonce="proxy".*nc=00000001'),
        challenge("401 Unauthorized", "first"),
        receive_request("ACK"),
        receive_request("INVITE", text='Authorization: Digest .*nonce="first"'),
        challenge("401 Unauthorized", "second", ", stale=true"),
        receive_request("ACK"),
        *receive_proof("INVITE", 1, text='nonce="second"'),
        accept(),
        receive_request("ACK", text='Authorization: Digest .*nonce="second".*nc=00000001'),
        *receive_proof("BYE", 2, text='nonce="second".*nc=00000002'),
        receive_bye()[1],
    )
    async with await builder().with_credentials(ALICE).build() as caller, Sipp("asks", steps) as sipp:
        call = await dial(caller, sipp.uri)
        await call.wait_for_answer(20)
        await call.hangup()
        await sipp.finished()


async def test_sipp_refuses_us_for_good() -> None:
    steps = (
        receive_request("INVITE"),
        challenge("401 Unauthorized", "first"),
        receive_request("ACK"),
        receive_request("INVITE"),
        challenge("401 Unauthorized", "second"),
        receive_request("ACK"),
    )
    async with await builder().with_credentials(ALICE).build() as caller, Sipp("refuses", steps) as sipp:
        call = await dial(caller, sipp.uri)
        with pytest.raises(CallRejected) as caught:
            await call.wait_for_answer(20)
        assert caught.value.status == 401
        await sipp.finished()
