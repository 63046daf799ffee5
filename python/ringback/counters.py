"""`Counters`: what a system has received, refused and dropped; the operation is `SessionCoordinator.counters`."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Counters:
    """What has been counted since the coordinator was started last, and, where a name says so, what is there now.

    A request may count in more than one place: as received, and as what became of it.
    """

    requests_received: int
    """SIP requests that could be read, repetitions included."""
    responses_received: int
    messages_sent: int
    """Requests and responses, repetitions included."""
    retransmissions_received: int
    """Requests that had been received before."""
    retransmissions_sent: int
    """Messages sent again, by a timer or because the peer sent again."""
    unreadable: int
    """Messages that could not be read, answered or not."""
    dropped: int
    """Messages that fit nothing: stray ACKs and responses."""
    refused: int
    """Requests refused before the program saw them (400, 403 for `sips` without TLS, 405, 415, 420, 481, 482, ...)."""
    challenged: int
    """Requests answered 401 (`Authenticator`)."""
    wrong_credentials: int
    """Of those, with a wrong user or password."""
    wrong_rspauth: int
    """Responses of servers that proved wrongly that they know the password (RFC 7616 §3.5)."""
    half_open_invites: int
    """INVITEs that wait for an answer or its ACK, now (`Limits.half_open_invites`)."""
    refused_half_open: int
    """Requests answered 503 because too many were half open, in all or of their source, or waited for the program."""
    refused_by_source: int
    """Requests answered 503 because their source asks too often (`Limits.requests_per_second_per_source`)."""
    scanners: int
    """Requests of known scanning programs, dropped (`Limits.drop_scanners`)."""
    shut_out: int
    """Requests dropped because their source asks far too often, or is shut out for its faults."""
    refused_full: int
    """INVITEs answered 503 because all sessions are taken (`with_max_sessions`), or too many of them by calls that the
    same source has not acknowledged."""
    refused_backlog: int
    """INVITEs answered 503 because the program does not take its events."""
    refused_stopping: int
    """INVITEs answered 503 because the system stops."""
    refused_ports: int
    """INVITEs answered 503 because no media port is left (`with_media_ports`)."""
    unhandled: int
    """INVITEs answered 480 because there is no handler."""
    loops: int
    """INVITEs answered 482 because they had been forwarded to ourselves."""
    stun_answered: int
    """STUN Binding requests on the SIP port that were answered (RFC 5626 §8)."""
    stun_limited: int
    """STUN packets on the SIP port dropped because too many come, in all or from one source, or because it is shut out."""
    stun_dropped: int
    """STUN packets on the SIP port dropped because they are no Binding request, or answer nothing that was asked."""
    events_dropped: int
    """Progress and DTMF events that came faster than they are reported."""
    panics: int
    """Faults of the engine that were caught; each ended the call that was being worked on, and no other."""
    datagrams_lost: int
    """Datagrams of signalling that the kernel had no room to send."""
    media_unsent: int
    """RTP and RTCP packets that the system did not send: no room, no route, or forbidden (a firewall's rule). Calls' own statistics
    count them as sent; their peers report them as lost."""
    connections_open: int
    """TCP, TLS and WebSocket connections, now."""
    connections_accepted: int
    connections_made: int
    """Connections that we opened."""
    connections_failed: int
    """Connections that we could not open."""
    connections_refused: int
    """Connections closed at once, because there are too many in all or of one source (`Limits`)."""
    connections_unshaken: int
    """Accepted connections whose TLS or WebSocket handshake failed or took too long."""
    connections_closed_slow: int
    """Connections closed because the peer did not read, did not complete a message within 20 s, or sent none."""
    connections_closed_idle: int
    """Connections closed because nothing was said for long."""
    connections_closed_unanswered: int
    """Connections closed because the peer stopped answering keep-alives (RFC 5626 §4.4.1)."""
