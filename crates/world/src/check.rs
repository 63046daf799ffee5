//! What holds for the events of every system, whatever its peers and its program did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringback_engine::api::{Event, Session, SessionId, State};
use ringback_media_api::Token;

use crate::Logged;

/// The session that an event is about.
pub fn session_of(event: &Event) -> Option<&Arc<Session>> {
    match event {
        Event::Incoming(call) => Some(&call.session),
        Event::IncomingOver { session }
        | Event::Progress { session, .. }
        | Event::Established { session, .. }
        | Event::Ended { session }
        | Event::StateChanged { session, .. }
        | Event::Dtmf { session, .. }
        | Event::MediaQuality { session, .. }
        | Event::VoiceActivity { session, .. }
        | Event::MediaTimeout { session, .. } => Some(session),
        _ => None,
    }
}

/// Checks a log whose calls are all over, of a system that reports everything (`Interest::ALL`): each session goes from state to
/// state without a gap and leaves a final one never, is established once at most, ends once and is silent from then on; each
/// command is answered once. Says what does not hold.
pub fn check_log(log: &[Logged]) -> Result<(), String> {
    let mut states: BTreeMap<SessionId, State> = BTreeMap::new();
    let mut seen: BTreeMap<SessionId, &Arc<Session>> = BTreeMap::new();
    let mut established: BTreeSet<SessionId> = BTreeSet::new();
    let mut ended: BTreeSet<SessionId> = BTreeSet::new();
    let mut completed: BTreeSet<Token> = BTreeSet::new();
    for Logged { at, event } in log {
        if let Some(session) = session_of(event) {
            seen.insert(session.id, session);
            if ended.contains(&session.id) {
                return Err(format!("{at:?}: an event after the end: {event:?}"));
            }
        }
        let fits = match event {
            Event::Established { session, .. } => established.insert(session.id),
            Event::StateChanged { session, old, new } => {
                let before = states.insert(session.id, *new).unwrap_or(State::Initiating);
                before == *old && !old.is_final() && old != new
            }
            Event::Ended { session } => {
                ended.insert(session.id);
                let last = states.get(&session.id).copied().unwrap_or(State::Initiating);
                session.state().is_final() && session.end().is_some() && last == session.state()
            }
            Event::Completed { token, .. } => completed.insert(*token),
            _ => true,
        };
        if !fits {
            return Err(format!("{at:?}: does not follow from what came before: {event:?}"));
        }
    }
    match seen.values().find(|session| !ended.contains(&session.id)) {
        Some(session) => Err(format!("never ended: {session:?}")),
        None => Ok(()),
    }
}
