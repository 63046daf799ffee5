//! What requests of event packages say: Event and Subscription-State (RFC 6665 §8.2), and the fragments that tell how a referral goes
//! (RFC 3515, RFC 3420).

use std::time::Duration;

use ringback_sip::{HeaderName, Message};

pub(crate) const SIPFRAG: &str = "message/sipfrag;version=2.0";

/// `refer;id=7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventOf<'m> {
    pub(crate) package: &'m str,
    pub(crate) id: Option<&'m str>,
}

/// Values of a parameter, in place.
fn param<'m>(params: &mut std::str::Split<'m, char>, wanted: &str) -> Option<&'m str> {
    params.find_map(|param| {
        let (name, value) = param.split_once('=')?;
        name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().trim_matches('"'))
    })
}

pub(crate) fn event_of(message: &Message) -> Option<EventOf<'_>> {
    let value = message.headers().get(&HeaderName::Event)?;
    let mut parts = value.split(';');
    let package = parts.next()?.trim();
    (!package.is_empty()).then(|| EventOf { package, id: param(&mut parts, "id") })
}

/// RFC 6665 §4.1.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StateOf {
    /// "active", "pending" or "terminated", or another word, which counts as active.
    pub(crate) state: String,
    pub(crate) expires: Option<Duration>,
    pub(crate) reason: Option<String>,
    pub(crate) retry_after: Option<Duration>,
}

impl StateOf {
    pub(crate) fn is_terminated(&self) -> bool {
        self.state == "terminated"
    }
}

pub(crate) fn state_of(message: &Message) -> Option<StateOf> {
    let value = message.headers().get(&HeaderName::SubscriptionState)?;
    let (state, params) = value.split_once(';').unwrap_or((value, ""));
    let param = |name| param(&mut params.split(';'), name);
    let seconds = |name| param(name).and_then(|text| text.parse::<u32>().ok()).map(|n| Duration::from_secs(n.into()));
    let state = state.trim().to_ascii_lowercase();
    (!state.is_empty()).then(|| StateOf {
        state,
        expires: seconds("expires"),
        reason: param("reason").map(str::to_ascii_lowercase),
        retry_after: seconds("retry-after"),
    })
}

/// Status and phrase of the status line that a fragment begins with.
pub(crate) fn fragment_status(body: &[u8]) -> Option<(u16, String)> {
    let line = body.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?.trim();
    let rest = line.strip_prefix("SIP/2.0").or_else(|| line.strip_prefix("sip/2.0"))?.trim_start();
    let (code, phrase) = rest.split_once(' ').unwrap_or((rest, ""));
    let status = code.parse::<u16>().ok().filter(|status| (100..700).contains(status))?;
    Some((status, phrase.trim().to_owned()))
}

/// What can be written into a fragment of what a peer said.
pub(crate) fn fragment(status: u16, phrase: &str) -> String {
    let phrase: String = phrase.chars().filter(|c| !c.is_control()).take(128).collect();
    format!("SIP/2.0 {status} {phrase}\r\n")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn message(headers: &str) -> Message {
        let text = format!(
            "NOTIFY sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP c;branch=z9hG4bK1\r\nFrom: <sip:c>;tag=1\r\nTo: <sip:a@b>\r\n\
             Call-ID: 1\r\nCSeq: 1 NOTIFY\r\n{headers}\r\n"
        );
        Message::parse(Bytes::from(text)).unwrap()
    }

    #[test]
    fn events_and_states() {
        let read = |headers: &str| event_of(&message(headers)).map(|event| format!("{} {:?}", event.package, event.id));
        assert_eq!(read("Event: refer\r\n").as_deref(), Some("refer None"));
        assert_eq!(read("o: dialog ; x=y; ID=\"7\"\r\n").as_deref(), Some("dialog Some(\"7\")"));
        assert_eq!(read("Event: ;id=7\r\n"), None);
        assert_eq!(read(""), None);
        let read = |value: &str| state_of(&message(&format!("Subscription-State: {value}\r\n")));
        let active = read("Active;expires=60").unwrap();
        assert_eq!((active.state.as_str(), active.expires), ("active", Some(Duration::from_secs(60))));
        assert!(!active.is_terminated());
        let over = read("terminated ; reason=Probation; retry-after=5;expires=x").unwrap();
        assert!(over.is_terminated() && over.expires.is_none());
        assert_eq!((over.reason.as_deref(), over.retry_after), (Some("probation"), Some(Duration::from_secs(5))));
        assert_eq!(read(" "), None);
    }

    #[test]
    fn fragments() {
        for (body, expected) in [
            ("SIP/2.0 200 OK\r\n", Some((200, "OK"))),
            ("SIP/2.0 180", Some((180, ""))),
            ("SIP/2.0 486 Busy Here\r\nContact: <sip:a@b>\r\n", Some((486, "Busy Here"))),
            ("SIP/2.0 99 x", None),
            ("SIP/2.0 700 x", None),
            ("INVITE sip:a@b SIP/2.0", None),
            ("", None),
        ] {
            assert_eq!(fragment_status(body.as_bytes()), expected.map(|(status, phrase)| (status, phrase.to_owned())));
        }
        assert_eq!(fragment(486, "Busy\r\nVia: x"), "SIP/2.0 486 BusyVia: x\r\n");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(value in "[ -~]{0,40}", body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let message = message(&format!("Event: {value}\r\nSubscription-State: {value}\r\n"));
            let _ = (event_of(&message), state_of(&message));
            if let Some((status, phrase)) = fragment_status(&body) {
                prop_assert_eq!(fragment_status(fragment(status, &phrase).as_bytes()).map(|read| read.0), Some(status));
            }
        }
    }
}
