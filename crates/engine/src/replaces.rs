//! Calls that take the place of others: Replaces (RFC 3891), and what moves from the old call to the new one.

use ringback_sip::{HeaderName, Message, StatusCode};
use ringback_time::Now;
use ringback_ua::DialogId;

use crate::call::{Ending, Link, Stage};
use crate::end::ELSEWHERE;
use crate::engine::Engine;
use crate::table::Key;

/// `end_reason` of a call whose place another has taken.
const REPLACED: &str = "replaced";

/// What a Replaces says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replaces {
    pub(crate) dialog: DialogId,
    pub(crate) early_only: bool,
}

/// RFC 3891 §6.1. The tags are named from the side of whoever receives it: its own is the to-tag.
pub(crate) fn parse(value: &str) -> Option<Replaces> {
    let mut parts = value.split(';');
    let call_id = parts.next()?.trim();
    let (mut to_tag, mut from_tag, mut early_only) = (None, None, false);
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let (name, value) = (name.trim(), value.trim());
        let slot = if name.eq_ignore_ascii_case("to-tag") {
            &mut to_tag
        } else if name.eq_ignore_ascii_case("from-tag") {
            &mut from_tag
        } else {
            early_only |= name.eq_ignore_ascii_case("early-only");
            continue;
        };
        if slot.replace(value).is_some() || value.is_empty() {
            return None;
        }
    }
    if call_id.is_empty() || call_id.contains(char::is_whitespace) {
        return None;
    }
    let dialog =
        DialogId { call_id: call_id.to_owned(), local_tag: to_tag?.to_owned(), remote_tag: from_tag?.to_owned() };
    Some(Replaces { dialog, early_only })
}

/// The value that makes our peer's peer replace that dialog of ours, as it stands in a URI (RFC 3261 §19.1.1: a header's value).
pub(crate) fn escaped(dialog: &DialogId) -> String {
    let tag = |tag: &str| if tag.is_empty() { "0".to_owned() } else { tag.to_owned() };
    let value = format!("{};to-tag={};from-tag={}", dialog.call_id, tag(&dialog.remote_tag), tag(&dialog.local_tag));
    let mut out = String::with_capacity(value.len() + 32);
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'!' | b'~' | b'*' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

impl Engine {
    /// The call that an INVITE is to replace, if any; else what it is refused with. RFC 3891 §3.
    pub(crate) fn replaced(&self, request: &Message) -> Result<Option<Key>, StatusCode> {
        let mut values = request.headers().get_all(&HeaderName::Replaces);
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() || request.headers().contains(&HeaderName::Join) {
            return Err(StatusCode::BAD_REQUEST);
        }
        let replaces = parse(value).ok_or(StatusCode::BAD_REQUEST)?;
        let mut dialog = replaces.dialog;
        let mut found = self.ua.find_dialog(&dialog);
        if found.is_none() {
            // Who watches a user (RFC 4235) knows the dialog from that user's side, and cannot know that it is us who picks it up.
            let swapped = DialogId {
                call_id: dialog.call_id.clone(),
                local_tag: dialog.remote_tag.clone(),
                remote_tag: dialog.local_tag.clone(),
            };
            found = self.ua.find_dialog(&swapped);
            if found.is_some() || !self.ended_dialogs.has(&dialog) {
                dialog = swapped;
            }
        }
        let key = found.and_then(|ua| self.by_ua.get(&ua).copied());
        let found = key.and_then(|key| Some((key, self.calls.get(key)?)));
        let (key, call) = found.ok_or(match self.ended_dialogs.has(&dialog) {
            // "If the dialog has already terminated": who was there has left.
            true => StatusCode::DECLINE,
            false => StatusCode::CALL_DOES_NOT_EXIST,
        })?;
        match call.stage {
            Stage::Confirmed if replaces.early_only => Err(StatusCode::BUSY_HERE),
            // What is to be heard there is the program's affair.
            Stage::Confirmed if call.media.external => Err(StatusCode::NOT_ACCEPTABLE_HERE),
            Stage::Confirmed | Stage::Calling => Ok(Some(key)),
            // "An early dialog that was not initiated by the UA."
            _ => Err(StatusCode::CALL_DOES_NOT_EXIST),
        }
    }

    /// Answers `new`, which came for that, and ends `old`. A new call that cannot be answered leaves the old one as it is.
    pub(crate) fn replace(&mut self, now: Now, new: Key, old: Key) {
        if let Err(error) = self.accept(now, new, None, Vec::new()) {
            tracing::info!(target: "ringback.session", call_id = self.call_id(new), "a call is not replaced: {error}");
            let refusal = Ending::refused(StatusCode::NOT_ACCEPTABLE_HERE, None, Vec::new());
            return self.finish(now, new, refusal);
        }
        self.take_over(now, old, new);
        let answered = self.calls.get(old).is_some_and(|call| call.stage.is_answered());
        let ending = match answered {
            true => Ending::hung_up(REPLACED),
            // It rang, and was picked up at another telephone.
            false => Ending::cancelled(REPLACED).because(Some(ELSEWHERE.into())),
        };
        self.finish(now, old, ending);
    }

    /// Whom the peer of a call hears: the other leg, or the other call in its bridge.
    pub(crate) fn partner(&self, key: Key) -> Option<Key> {
        match self.calls.get(key)?.link {
            Link::Peer(other) => Some(other),
            Link::Target(caller) => Some(caller),
            _ => self.bridged_with(key),
        }
    }

    /// `new`, which is answered, gets what `old` was connected with.
    pub(crate) fn take_over(&mut self, now: Now, old: Key, new: Key) {
        let Some(call) = self.calls.get_mut(old) else { return };
        match std::mem::replace(&mut call.link, Link::None) {
            Link::Peer(other) => {
                call.session.set_peer(None);
                self.link_peers(other, new);
                for (key, peer) in [(other, new), (new, other)] {
                    if let Some(call) = self.calls.get_mut(key) {
                        call.link = Link::Peer(peer);
                    }
                }
                self.succeed(now, old, new);
                self.unbridge(old);
                self.bridge_peers(now, new);
            }
            // A target of a forwarded call, picked up elsewhere while it rings.
            Link::Target(caller) => self.picked_up(now, caller, old, new),
            link => {
                call.link = link;
                self.succeed(now, old, new);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ringback_sip::Uri;

    use super::*;

    fn dialog(call_id: &str, local: &str, remote: &str) -> DialogId {
        DialogId { call_id: call_id.into(), local_tag: local.into(), remote_tag: remote.into() }
    }

    #[test]
    fn what_the_header_says() {
        for (value, expected) in [
            ("a@b;to-tag=1;from-tag=2", Some((dialog("a@b", "1", "2"), false))),
            ("a ; From-Tag = 2;x=y ;to-tag=1;early-only", Some((dialog("a", "1", "2"), true))),
            ("a;to-tag=1", None),
            ("a;from-tag=1", None),
            (";to-tag=1;from-tag=2", None),
            ("a;to-tag=1;to-tag=3;from-tag=2", None),
            ("a;to-tag=;from-tag=2", None),
            ("a b;to-tag=1;from-tag=2", None),
            ("", None),
        ] {
            let expected = expected.map(|(dialog, early_only)| Replaces { dialog, early_only });
            assert_eq!(parse(value), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_into_a_uri_is_read_back_by_the_other_side(
            call_id in "[!-:<-~]{1,20}", local in "[a-zA-Z0-9.%*~]{1,9}", remote in "[a-zA-Z0-9.%*~]{1,9}",
        ) {
            let text = format!("sip:c@192.0.2.1?Replaces={}", escaped(&dialog(&call_id, &local, &remote)));
            let uri = Uri::parse(&text).unwrap();
            let (_, value) = uri.headers().next().unwrap();
            prop_assert_eq!(parse(&value).map(|read| read.dialog), Some(dialog(&call_id, &remote, &local)));
        }

        #[test]
        fn any_text_is_read_or_not(value in "\\PC{0,60}") {
            let _ = parse(&value);
        }
    }
}
