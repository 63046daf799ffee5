//! What a system has counted: `SessionCoordinator.counters`.

use pyo3::prelude::*;
use ringback_net::Totals;

use crate::coordinator::Coordinator;

/// Name and value of each field of `ringback.Counters`.
#[pyfunction]
fn counters(coordinator: &Bound<'_, Coordinator>) -> Vec<(&'static str, u64)> {
    let Totals { signalling, sessions, connections, datagrams_lost, media_unsent } = coordinator.get().totals();
    vec![
        ("requests_received", signalling.requests_received),
        ("responses_received", signalling.responses_received),
        ("messages_sent", signalling.messages_sent),
        ("retransmissions_received", signalling.retransmissions_received),
        ("retransmissions_sent", signalling.retransmissions_sent),
        ("unreadable", signalling.parse_errors),
        ("dropped", signalling.dropped),
        ("refused", signalling.refused),
        ("challenged", signalling.challenged),
        ("wrong_credentials", signalling.wrong_credentials),
        ("wrong_rspauth", signalling.wrong_rspauth),
        ("half_open_invites", signalling.live.half_open as u64),
        ("refused_half_open", signalling.overload),
        ("refused_by_source", signalling.limited),
        ("scanners", signalling.scanners),
        ("shut_out", signalling.shut_out),
        ("refused_full", sessions.refused_full),
        ("refused_backlog", sessions.refused_backlog),
        ("refused_stopping", sessions.refused_stopping),
        ("refused_ports", sessions.refused_ports),
        ("unhandled", sessions.unhandled),
        ("loops", sessions.loops),
        ("stun_answered", sessions.stun_answered),
        ("stun_limited", sessions.stun_limited),
        ("stun_dropped", sessions.stun_dropped),
        ("events_dropped", sessions.events_dropped),
        ("panics", sessions.panics),
        ("datagrams_lost", datagrams_lost),
        ("media_unsent", media_unsent),
        ("connections_open", connections.open),
        ("connections_accepted", connections.accepted),
        ("connections_made", connections.made),
        ("connections_failed", connections.failed),
        ("connections_refused", connections.refused),
        ("connections_unshaken", connections.handshakes),
        ("connections_closed_slow", connections.slow),
        ("connections_closed_idle", connections.idle),
        ("connections_closed_unanswered", connections.unanswered),
    ]
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(counters, module)?)
}
