//! The tags of a message that has been checked. Each message asks for them, and the parser's own way goes through the whole address; this
//! one looks only at what follows it, and leaves the odd cases to the parser.

use ringback_sip::{HeaderName, Message};

/// The tag parameter of a From or To value; `None`: ask the parser.
fn quick(value: &str) -> Option<Option<&str>> {
    let bytes = value.as_bytes();
    // The last angle bracket ends the URI, unless it stands in a quoted parameter: then a quote follows.
    let params = memchr::memrchr(b'>', bytes).map_or(0, |at| at + 1);
    let params = value.get(params..)?;
    if memchr::memchr(b'"', params.as_bytes()).is_some() {
        return None;
    }
    let mut rest = params;
    while let Some(at) = memchr::memchr(b';', rest.as_bytes()) {
        rest = rest.get(at + 1..)?;
        // `tag`, with the spaces the grammar allows.
        let param = rest.trim_ascii_start();
        if param.get(..3).is_some_and(|name| name.eq_ignore_ascii_case("tag"))
            && let Some(value) = param.get(3..)?.trim_ascii_start().strip_prefix('=')
        {
            let end = memchr::memchr(b';', value.as_bytes()).unwrap_or(value.len());
            return Some(Some(value.get(..end)?.trim_ascii()));
        }
    }
    Some(None)
}

pub(crate) fn from_tag(message: &Message) -> Option<&str> {
    quick(message.headers().get(&HeaderName::From)?).unwrap_or_else(|| message.from_tag())
}

pub(crate) fn to_tag(message: &Message) -> Option<&str> {
    quick(message.headers().get(&HeaderName::To)?).unwrap_or_else(|| message.to_tag())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn message(from: &str) -> Message {
        let text = format!(
            "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP c;branch=z9hG4bK1\r\nFrom: {from}\r\nTo: {from}\r\nCall-ID: 1\r\n\
             CSeq: 1 OPTIONS\r\n\r\n"
        );
        Message::parse(Bytes::from(text)).unwrap()
    }

    #[test]
    fn tags_are_found_and_those_of_the_uri_are_not() {
        for (value, tag) in [
            ("<sip:a@b>;tag=1", Some("1")),
            ("<sip:a@b;tag=no>", None),
            ("<sip:a@b;tag=no>;x=y;TAG = 2 ;z", Some("2")),
            ("sip:a@b;tag=3", Some("3")),
            ("\"a > ;tag=no\" <sip:a@b>;tag=4", Some("4")),
            ("\"a \\\" > ;tag=no\" <sip:a@b>", None),
            ("<sip:a@b>;x=\">;tag=no\";tag=5", Some("5")),
            ("<sip:a@b>;tags=no;tag=6", Some("6")),
            ("sip:a@b", None),
        ] {
            let message = message(value);
            assert_eq!((from_tag(&message), to_tag(&message)), (tag, tag), "{value}");
        }
    }

    proptest! {
        #[test]
        fn the_parser_agrees(name in "[a-z]{0,4}|\"[a-z>;=]{0,9}\" ?", uri in "sip:[a-z]{1,5}@[a-z]{1,5}(;[a-z]{1,4}=[a-z]{1,3}){0,2}",
                             params in "( ?; ?(tag|Tag|tags|x|lr)( ?= ?[a-z0-9]{1,6})?){0,3}( ?; ?q=\"[a-z>;=]{0,5}\")?") {
            let value = format!("{name}<{uri}>{params}");
            let message = message(&value);
            // Only what passes the check comes here, and a tag without value does not count as one.
            if ringback_sip::validate(&message).is_ok() && message.from().is_ok_and(|from| from.params.get("tag") != Some(None)) {
                prop_assert_eq!(from_tag(&message), message.from_tag());
            }
        }
    }
}
