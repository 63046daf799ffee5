//! Dialog information (RFC 4235): the calls of a user as an XML document, whole or what has changed since the last.
//!
//! Nothing gets into the document unescaped; what XML 1.0 cannot hold is left out.

use std::collections::BTreeMap;

use ringback_ua::DialogId;

use crate::api::{Direction, Session, SessionId, State};
use crate::notifier::Entity;

pub(crate) const CONTENT_TYPE: &str = "application/dialog-info+xml";

#[derive(Clone, Debug)]
struct Entry {
    call_id: Box<str>,
    local: Box<str>,
    remote: Box<str>,
    /// Tags of the user's side and of the other, once there is a dialog.
    tags: Option<(Box<str>, Box<str>)>,
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

    /// Takes the present state of a session of `entity`, and of its dialog, where there is one. False: there is nothing new to tell.
    pub(crate) fn see(&mut self, entity: &Entity, session: &Session, dialog: Option<&DialogId>) -> bool {
        let state = state_of(session.state());
        if let Some(entry) = self.entries.get_mut(&session.id) {
            if let Some(dialog) = dialog {
                entry.tags = tags_of(dialog, session.direction, entry.initiator);
            }
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
        let tags = dialog.and_then(|dialog| tags_of(dialog, session.direction, initiator));
        let entry = Entry { call_id: session.call_id.clone(), local, remote, tags, initiator, state, changed: true };
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

/// RFC 4235 §4.1.2 names everything from the side of the user who is watched, which may be the peer's: the tags of `dialog` are ours and
/// the peer's.
fn tags_of(dialog: &DialogId, direction: Direction, initiator: bool) -> Option<(Box<str>, Box<str>)> {
    let DialogId { local_tag, remote_tag, .. } = dialog;
    let ours = (direction == Direction::Outgoing) == initiator;
    let (local, remote) = if ours { (local_tag, remote_tag) } else { (remote_tag, local_tag) };
    (!local.is_empty() && !remote.is_empty()).then(|| (local.as_str().into(), remote.as_str().into()))
}

fn write_entry(out: &mut String, id: SessionId, entry: &Entry) {
    out.push_str("<dialog id=\"");
    out.push_str(&id.to_string());
    out.push_str("\" call-id=\"");
    escape(out, &entry.call_id);
    if let Some((local, remote)) = &entry.tags {
        out.push_str("\" local-tag=\"");
        escape(out, local);
        out.push_str("\" remote-tag=\"");
        escape(out, remote);
    }
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

    fn session(id: u128, from: &str, to: &str) -> Session {
        let id = SessionId::from_u128(id);
        Session::new(id, Direction::Incoming, from, to, "c<&\"1", Wall::from_unix_nanos(0))
    }

    #[test]
    fn whole_partial_and_over() {
        let bob = Entity::parse("sip:bob@Example.com:5070").unwrap();
        let mut dialogs = Dialogs::default();
        assert!(!dialogs.see(&bob, &session(1, "sip:a@b", "sip:c@example.com"), None), "somebody else");
        let first = session(2, "sip:a@b?x=<y>", "sip:bob@example.com");
        assert!(dialogs.see(&bob, &first, None) && !dialogs.see(&bob, &first, None));
        let text = dialogs.document("sip:bob@example.com", true);
        assert!(text.contains("version=\"0\" state=\"full\" entity=\"sip:bob@example.com\""), "{text}");
        assert!(text.contains("call-id=\"c&lt;&amp;&quot;1\" direction=\"recipient\"><state>trying</state>"), "{text}");
        assert!(text.contains("<identity>sip:a@b?x=&lt;y&gt;</identity>"), "{text}");
        let second = session(3, "sip:bob@example.com", "sip:a@b");
        assert!(dialogs.see(&bob, &second, None));
        let text = dialogs.document("sip:bob@example.com", false);
        assert!(text.contains("version=\"1\" state=\"partial\"") && text.contains("initiator"), "{text}");
        assert_eq!(text.matches("<dialog ").count(), 1);
        second.set_state(State::Terminated);
        assert!(dialogs.see(&bob, &second, None));
        assert!(dialogs.document("x", false).contains("<state>terminated</state>"));
        assert_eq!(dialogs.document("x", true).matches("<dialog ").count(), 1);
    }

    #[test]
    fn tags_are_named_from_the_side_of_the_user() {
        let bob = Entity::parse("sip:bob@example.com").unwrap();
        let dialog =
            |remote: &str| DialogId { call_id: "c".into(), local_tag: "ours".into(), remote_tag: remote.into() };
        let (to, from) = (("sip:a@b", "sip:bob@example.com"), ("sip:bob@example.com", "sip:a@b"));
        for (direction, (caller, called), expected) in [
            (Direction::Incoming, to, "local-tag=\"ours\" remote-tag=\"&lt;t\" direction=\"recipient\""),
            (Direction::Incoming, from, "local-tag=\"&lt;t\" remote-tag=\"ours\" direction=\"initiator\""),
            (Direction::Outgoing, to, "local-tag=\"&lt;t\" remote-tag=\"ours\" direction=\"recipient\""),
            (Direction::Outgoing, from, "local-tag=\"ours\" remote-tag=\"&lt;t\" direction=\"initiator\""),
        ] {
            let id = SessionId::from_u128(7);
            let session = Session::new(id, direction, caller, called, "c", Wall::from_unix_nanos(0));
            let mut dialogs = Dialogs::default();
            // No tag of the peer yet; and what has ended keeps its tags.
            assert!(dialogs.see(&bob, &session, Some(&dialog(""))));
            assert!(!dialogs.document("x", true).contains("-tag="));
            session.set_state(State::Ringing);
            assert!(dialogs.see(&bob, &session, Some(&dialog("<t"))));
            session.set_state(State::Terminated);
            assert!(dialogs.see(&bob, &session, None));
            let text = dialogs.document("x", false);
            assert!(text.contains(expected) && text.contains("terminated"), "{text}");
        }
    }
}
