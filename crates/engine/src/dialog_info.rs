//! Dialog information (RFC 4235): the calls of a user as an XML document, whole or what has changed since the last.
//!
//! Nothing gets into the document unescaped; what XML 1.0 cannot hold is left out.

use std::collections::BTreeMap;

use crate::api::{Session, SessionId, State};
use crate::notifier::Entity;

pub(crate) const CONTENT_TYPE: &str = "application/dialog-info+xml";

#[derive(Clone, Debug)]
struct Entry {
    call_id: Box<str>,
    local: Box<str>,
    remote: Box<str>,
    initiator: bool,
    state: &'static str,
    changed: bool,
}

/// The calls of one user as one watcher knows them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dialogs {
    version: u32,
    entries: BTreeMap<SessionId, Entry>,
}

/// RFC 4235 §3.7.1.
const fn state_of(state: State) -> &'static str {
    match state {
        State::Initiating => "trying",
        State::Ringing => "early",
        State::Active | State::OnHold | State::Transferring => "confirmed",
        State::Terminated | State::Cancelled | State::Rejected | State::Failed => "terminated",
    }
}

impl Dialogs {
    /// The same watcher's, to be filled again; versions go on (RFC 4235 §4.1.1).
    pub(crate) fn anew(&self) -> Dialogs {
        Dialogs { version: self.version, entries: BTreeMap::new() }
    }

    /// Takes the present state of a session of `entity`. False: there is nothing new to tell.
    pub(crate) fn see(&mut self, entity: &Entity, session: &Session) -> bool {
        let state = state_of(session.state());
        if let Some(entry) = self.entries.get_mut(&session.id) {
            let new = entry.state != state;
            entry.changed |= new;
            entry.state = state;
            return new;
        }
        let is = |uri: &str| Entity::parse(uri).as_ref() == Some(entity);
        let initiator = is(&session.from_uri);
        if state == "terminated" || !(initiator || is(&session.to_uri)) {
            return false;
        }
        let (local, remote) = match initiator {
            true => (session.from_uri.clone(), session.to_uri.clone()),
            false => (session.to_uri.clone(), session.from_uri.clone()),
        };
        let entry = Entry { call_id: session.call_id.clone(), local, remote, initiator, state, changed: true };
        self.entries.insert(session.id, entry);
        true
    }

    /// The next document. What has ended is in it once.
    pub(crate) fn document(&mut self, uri: &str, full: bool) -> String {
        let mut out = String::with_capacity(256 + 320 * self.entries.len());
        out.push_str("<?xml version=\"1.0\"?>\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"");
        out.push_str(&self.version.to_string());
        out.push_str(if full { "\" state=\"full\" entity=\"" } else { "\" state=\"partial\" entity=\"" });
        escape(&mut out, uri);
        out.push_str("\">\n");
        self.version = self.version.wrapping_add(1);
        for (id, entry) in &mut self.entries {
            if std::mem::take(&mut entry.changed) || full {
                write_entry(&mut out, *id, entry);
            }
        }
        self.entries.retain(|_, entry| entry.state != "terminated");
        out.push_str("</dialog-info>\n");
        out
    }
}

fn write_entry(out: &mut String, id: SessionId, entry: &Entry) {
    out.push_str("<dialog id=\"");
    out.push_str(&id.to_string());
    out.push_str("\" call-id=\"");
    escape(out, &entry.call_id);
    out.push_str(if entry.initiator { "\" direction=\"initiator\">" } else { "\" direction=\"recipient\">" });
    out.push_str("<state>");
    out.push_str(entry.state);
    out.push_str("</state>");
    for (name, uri) in [("local", &entry.local), ("remote", &entry.remote)] {
        out.push_str(&format!("<{name}><identity>"));
        escape(out, uri);
        out.push_str("</identity><target uri=\"");
        escape(out, uri);
        out.push_str(&format!("\"/></{name}>"));
    }
    out.push_str("</dialog>\n");
}

/// XML 1.0 §2.2 and §2.4.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => {}
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use ringback_time::Wall;

    use super::*;
    use crate::api::Direction;

    fn session(id: u128, from: &str, to: &str) -> Session {
        let id = SessionId::from_u128(id);
        Session::new(id, Direction::Incoming, from, to, "c<&\"1", Wall::from_unix_nanos(0))
    }

    #[test]
    fn whole_partial_and_over() {
        let bob = Entity::parse("sip:bob@Example.com:5070").unwrap();
        let mut dialogs = Dialogs::default();
        assert!(!dialogs.see(&bob, &session(1, "sip:a@b", "sip:c@example.com")), "somebody else");
        let first = session(2, "sip:a@b?x=<y>", "sip:bob@example.com");
        assert!(dialogs.see(&bob, &first) && !dialogs.see(&bob, &first));
        let text = dialogs.document("sip:bob@example.com", true);
        assert!(text.contains("version=\"0\" state=\"full\" entity=\"sip:bob@example.com\""), "{text}");
        assert!(text.contains("call-id=\"c&lt;&amp;&quot;1\" direction=\"recipient\"><state>trying</state>"), "{text}");
        assert!(text.contains("<identity>sip:a@b?x=&lt;y&gt;</identity>"), "{text}");
        let second = session(3, "sip:bob@example.com", "sip:a@b");
        assert!(dialogs.see(&bob, &second));
        let text = dialogs.document("sip:bob@example.com", false);
        assert!(text.contains("version=\"1\" state=\"partial\"") && text.contains("initiator"), "{text}");
        assert_eq!(text.matches("<dialog ").count(), 1);
        second.set_state(State::Terminated);
        assert!(dialogs.see(&bob, &second));
        assert!(dialogs.document("x", false).contains("<state>terminated</state>"));
        assert_eq!(dialogs.document("x", true).matches("<dialog ").count(), 1);
    }
}
