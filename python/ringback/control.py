"""`SessionControl`: operations on calls."""
# pyright: reportPrivateUsage=false

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ringback import _ringback
from ringback._ringback import SessionId
from ringback._seconds import Seconds, seconds, wait_seconds
from ringback.incoming import IncomingCall
from ringback.options import OptionsReply
from ringback.session import CallSession, send_dtmf, wait_for_answer
from ringback.states import DtmfMethod
from ringback.subscriptions import Subscription

if TYPE_CHECKING:
    from ringback.coordinator import SessionCoordinator


@dataclass(frozen=True, kw_only=True)
class SessionStats:
    """Counts of a system since it was built; sessions are legs, so a forwarded call is two."""

    active_sessions: int
    total_sessions: int
    failed_sessions: int
    """Ended FAILED."""
    average_duration: float | None
    """Seconds, of answered and ended calls; None before the first."""
    uptime: float
    """Seconds."""


class SessionControl:
    """Operations on calls, as static methods whose first argument is the coordinator.

    On a coordinator that does not run they raise `NotRunningError`, all but `start`, `stop`, `get_session` and
    `get_stats`; for a session that is not known `SessionNotFound`, and `InvalidState` where the operation does not fit
    the call's state.
    """

    @staticmethod
    async def start(coordinator: "SessionCoordinator") -> None:
        """Starts the system on the running loop; no-op where it runs. Raises `BindError` where a port was taken since
        `stop`.
        """
        await coordinator._startup()

    @staticmethod
    async def stop(coordinator: "SessionCoordinator", *, drain: Seconds = 0) -> None:
        """Ends every call and the system. Idempotent; a stopped coordinator can be started again.

        `drain`: calls in progress go on for so long, new ones get 503. Then BYE, CANCEL or 503 to the rest; returns
        within 2 s of that, whatever peers do, with every waiter resolved. Handlers still running then are cancelled.
        """
        await coordinator._halt(seconds(drain, "drain"))

    @staticmethod
    async def prepare_outgoing_call(
        coordinator: "SessionCoordinator", from_uri: str, to_uri: str, *, headers: Mapping[str, str] | None = None
    ) -> CallSession:
        """A call for which nothing is sent yet, INITIATING, with its media port reserved: see
        `MediaControl.generate_sdp_offer`.

        Raises `InvalidUri`, `InvalidHeader`, `ResourceExhausted`.
        """
        return await _created(coordinator, _ringback.create_call(coordinator, from_uri, to_uri, None, headers, False))

    @staticmethod
    async def send_prepared_call(
        coordinator: "SessionCoordinator", session_id: SessionId, sdp: str | None = None
    ) -> None:
        """Sends the INVITE of a prepared call, offering `sdp` where given. Raises `InvalidState`, `SdpError`."""
        await _ringback.send_prepared(coordinator, session_id, sdp)

    @staticmethod
    async def create_outgoing_call(
        coordinator: "SessionCoordinator",
        from_uri: str,
        to_uri: str,
        sdp: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        late_offer: bool = False,
        max_redirects: int = 0,
    ) -> CallSession:
        """Checks, reserves media and returns an INITIATING call; look-up, connecting and sending go on, and end as
        FAILED where they fail.

        `from_uri` and `to_uri` may be name-addr: `"Alice" <sip:alice@example.com>`. `sdp`: external media, as in
        `CallDecision.Accept`. `late_offer`: the INVITE has no offer, the peer makes it (RFC 3261 §13.2.1); not together
        with `sdp`. `max_redirects`: how many places that a 3xx names are tried, by their q and none twice (RFC 3261
        §8.1.3.4), 70 at most; 0 makes a 3xx a refusal. Raises `InvalidUri`, `InvalidHeader`, `SdpError`, `ValueError`,
        `ResourceExhausted`.
        """
        create = _ringback.create_call
        future = create(coordinator, from_uri, to_uri, sdp, headers, True, late_offer, max_redirects)
        call = await _created(coordinator, future)
        # After whoever awaits this has gone on: for it the call is INITIATING, and a hang-up at once sends nothing.
        asyncio.get_running_loop().call_soon(_ringback.launch, coordinator, call.id)
        return call

    @staticmethod
    async def accept_incoming_call(
        coordinator: "SessionCoordinator", call: IncomingCall, sdp: str | None = None
    ) -> CallSession:
        """Answers with 200; see `IncomingCall.accept`."""
        await _ringback.accept(coordinator, call, sdp)
        return _session_of(call)

    @staticmethod
    async def progress_incoming_call(
        coordinator: "SessionCoordinator", call: IncomingCall, sdp: str | None = None
    ) -> CallSession:
        """Sends 183 with early media: queue music, announcements before the answer. A decision follows later."""
        await _ringback.progress(coordinator, call, sdp)
        return _session_of(call)

    @staticmethod
    async def reject_incoming_call(
        coordinator: "SessionCoordinator", call: IncomingCall, reason: str, *, status: int = 603
    ) -> None:
        """Refuses with a final response, 400 to 699; see `IncomingCall.reject`."""
        await _ringback.reject(coordinator, call, reason, status)

    @staticmethod
    async def forward_incoming_call(
        coordinator: "SessionCoordinator", call: IncomingCall, target: str, *, redirect: bool = False
    ) -> None:
        """Connects the caller with `target`, or sends it there by a 302; see `CallDecision.Forward`."""
        await _ringback.forward(coordinator, call, target, [], redirect, False)

    @staticmethod
    async def wait_for_answer(
        coordinator: "SessionCoordinator",
        session_id: SessionId,
        timeout: Seconds,
    ) -> CallSession:
        """Returns at once if the call was ever answered; otherwise raises what ended it.

        Raises `CallRejected`, `CallCancelled`, `CallFailed`, `SessionNotFound`; `AnswerTimeout`, which leaves the call
        ringing.
        """
        call = _ringback.require_session(coordinator, session_id)
        await wait_for_answer(call, timeout)
        return call

    @staticmethod
    async def terminate_session(
        coordinator: "SessionCoordinator", session_id: SessionId, reason: str | None = None
    ) -> None:
        """CANCEL, BYE or a final response, whichever the state needs.

        On return the state is final and the call is out of lists and stats; what the protocol still owes goes on
        behind. No-op on an ended call.
        """
        await _ringback.hangup(coordinator, session_id, reason)

    @staticmethod
    async def hold_session(coordinator: "SessionCoordinator", session_id: SessionId) -> None:
        """Holds the peer (re-INVITE, a=sendonly, RFC 3264 §8.4); returns after the 2xx. Raises `CallRejected` where it
        refuses.
        """
        await _ringback.hold(coordinator, session_id)

    @staticmethod
    async def resume_session(coordinator: "SessionCoordinator", session_id: SessionId) -> None:
        """Ends our hold; returns after the 2xx. Raises `CallRejected` where the peer refuses."""
        await _ringback.resume(coordinator, session_id)

    @staticmethod
    async def transfer_session(
        coordinator: "SessionCoordinator", session_id: SessionId, target: str | SessionId
    ) -> None:
        """Lets the peer go on with somebody else; returns when the target has answered it, and this call has ended.

        A URI: blind. The peer is asked to call it (REFER, RFC 3515), and what becomes of that is followed to the end. A
        session, answered as well: attended. The peer is asked to take its place at its peer (Refer-To with Replaces, RFC
        3891), and both calls end. Meanwhile the call is TRANSFERRING. Cancelling the wait does not stop the transfer.

        A peer that hangs up after it has agreed, before it has told an outcome, has gone to the target as far as can be
        known (many telephones hang up at once; RFC 5589 §6.1 has one whose attempt fails say so and stay). That counts as
        success; `end_reason` is "remote hangup" then, and the other session of an attended transfer is left to its peer.

        Raises `TransferFailed`, the call then being what it was before, or over where the peer hung up without having
        agreed; `InvalidUri`; `InvalidState` for a call that is not answered, or is being held, resumed or transferred. A
        peer that has vanished is given 32 s, all of them TRANSFERRING.
        """
        await _ringback.transfer(coordinator, session_id, target)

    @staticmethod
    async def send_dtmf(
        coordinator: "SessionCoordinator",
        session_id: SessionId,
        digits: str,
        *,
        method: DtmfMethod = DtmfMethod.AUTO,
        duration_ms: int = 100,
        gap_ms: int = 100,
    ) -> None:
        """Sends digits: 0-9 * # A-D, "," pauses 1 s; `ValueError` on anything else. Returns when the last has been
        sent. Cancelling the wait leaves the rest out.

        `duration_ms` of each digit is 40 to 8,000, the gap between two 0 to 8,000. Raises `MediaError` where `method`
        is RTP_EVENT and telephone-event was not negotiated.
        """
        await send_dtmf(coordinator, session_id, digits, DtmfMethod(method), duration_ms, gap_ms)

    @staticmethod
    async def set_audio_muted(coordinator: "SessionCoordinator", session_id: SessionId, muted: bool) -> None:
        """Replaces what the call sends by silence, or ends that. Packets go on."""
        await _ringback.set_muted(coordinator, session_id, muted)

    @staticmethod
    async def update_media(coordinator: "SessionCoordinator", session_id: SessionId, sdp: str | None = None) -> None:
        """Makes a new offer, `sdp` or a generated one; returns after the 2xx. In an answered call by re-INVITE. Before the
        answer by UPDATE (RFC 3311 §5.1), where the first offer has an answer that arrived for certain (PRACK, RFC 3262)
        and the peer takes UPDATE.

        Raises `SdpError`; `CallRejected`; `InvalidState` for a call that has ended, one before the answer where that is
        not so (yet), and while another offer of ours is under way.
        """
        await _ringback.reoffer(coordinator, session_id, sdp)

    @staticmethod
    async def send_options(
        coordinator: "SessionCoordinator", to_uri: str, *, from_uri: str | None = None, timeout: Seconds = 4.0
    ) -> OptionsReply:
        """Asks a peer outside of any call whether it is there, and what it can do (OPTIONS, RFC 3261 §11).

        `to_uri`: a sip: URI or name-addr, its host a name or an address, `;transport=tcp` for TCP. Any final response is
        a reply, 404 and 486 too. `timeout`, seconds, is for all of it, look-up and repetitions included; without an end
        (`math.inf`) each address of the peer gets the protocol's 32 s. Cancelling the wait gives the request up.
        `from_uri`: who asks, where that is not the system itself; the address of an `Account` has it go by that account's
        proxy, connection and credentials.

        Raises `InvalidUri`; `AnswerTimeout` (a `TimeoutError`) where nobody answered in time; `CallFailed`, with `cause`
        and without a status, at once where there is no way: no such host, port closed, connection refused;
        `NotRunningError`, also when the coordinator stops meanwhile; `ResourceExhausted` beyond 16,384 at a time.
        """
        future, request = _ringback.send_options(coordinator, from_uri, to_uri, wait_seconds(timeout, "timeout"))
        try:
            return await future
        except asyncio.CancelledError:
            if future.cancelled():
                _ringback.give_up_options(coordinator, request)
            raise

    @staticmethod
    async def send_message(
        coordinator: "SessionCoordinator", from_uri: str, to_uri: str, body: str, *, content_type: str = "text/plain"
    ) -> None:
        """Sends an instant message outside of any call (MESSAGE, RFC 3428); returns when the peer has taken it (2xx).

        `from_uri` and `to_uri` may be name-addr. `body` goes out as UTF-8, 32,768 octets at most, which is what
        `content_type` has to say where it names a charset; a message too long for a datagram goes by TCP where it can.
        Cancelling the wait stops repetitions. From the address of an `Account` it goes by that account's proxy, connection and
        credentials.

        Raises `CallRejected` where the peer refuses; `CallFailed`, with status 408 where nobody answers within 32 s, and
        without one where there is no way; `InvalidUri`; `InvalidHeader` for the content type; `ValueError` for too long
        a body; `ResourceExhausted` beyond 16,384 requests at a time; `NotRunningError`.
        """
        future, request = _ringback.send_message(coordinator, from_uri, to_uri, body, content_type)
        try:
            await future
        except asyncio.CancelledError:
            if future.cancelled():
                _ringback.give_up_message(coordinator, request)
            raise

    @staticmethod
    async def subscribe(
        coordinator: "SessionCoordinator", from_uri: str, to_uri: str, event: str, *, expires: Seconds = 3600
    ) -> Subscription:
        """Subscribes to what `to_uri` tells of `event` (RFC 6665): "message-summary", "dialog", "presence", or the name
        of any other package. Returns when the notifier has taken it; see `Subscription`.

        `expires`, seconds, is how long it lasts without a refresh, which is not the program's business. Cancelling the
        wait ends it.

        Raises `CallRejected` where the notifier refuses; `CallFailed`, with status 408 where nobody answers within 32 s,
        and without one where there is no way; `InvalidUri`; `ValueError`; `ResourceExhausted` beyond 10,000;
        `NotRunningError`.
        """
        return await _ringback.subscribe(coordinator, from_uri, to_uri, event, seconds(expires, "expires", zero=False))

    @staticmethod
    async def get_session(coordinator: "SessionCoordinator", session_id: SessionId) -> CallSession | None:
        """A call by its identity. Ended calls stay known for a minute, the 65,536 latest at most. Works after `stop`
        too.
        """
        return _ringback.get_session(coordinator, session_id)

    @staticmethod
    async def list_active_sessions(coordinator: "SessionCoordinator") -> list[SessionId]:
        """All calls whose state is not final, in no particular order."""
        return _ringback.list_active(coordinator)

    @staticmethod
    async def get_stats(coordinator: "SessionCoordinator") -> SessionStats:
        """Counts since the system was built. Works after `stop` too."""
        return _ringback.get_stats(coordinator)


async def _created(coordinator: "SessionCoordinator", future: "asyncio.Future[CallSession]") -> CallSession:
    try:
        return await future
    except asyncio.CancelledError:
        # Cancelled when the call was there already and on its way: it belongs to nobody. (Else it ends when it comes.)
        if future.done() and not future.cancelled() and future.exception() is None:
            _ringback.discard(coordinator, future.result().id)
        raise


def _session_of(call: IncomingCall) -> CallSession:
    session = call._session
    assert session is not None
    return session
