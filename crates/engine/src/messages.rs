//! Instant messages in the pager mode: MESSAGE (RFC 3428), both ways, outside of calls and, received, within them.
//!
//! A body is text for the program: what is not text in a charset that is known here is refused with 415, so that nothing is ever lost
//! in between.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use ringback_media_api::Token;
use ringback_sip::{HeaderName, Message, Method, StatusCode};
use ringback_time::Now;
use ringback_ua::{Body, Reply as Answer, Request};

use crate::api::{Error, Event, State, TextMessage};
use crate::commands;
use crate::decide::ua_error;
use crate::engine::Engine;
use crate::incoming::unavailable;
use crate::limits;
use crate::options::What;
use crate::outgoing::{MAX_FORWARDS, check_target, parse_address};

/// RFC 3428 §8: a message that has no type is text.
const PLAIN: &str = "text/plain";
/// What a 415 says (RFC 3261 §21.4.13).
const ACCEPT: &str = "text/plain;charset=utf-8, text/*;charset=utf-8, application/*;charset=utf-8";

impl Engine {
    /// `Command::SendMessage`.
    pub(crate) fn send_message(
        &mut self,
        now: Now,
        token: Token,
        from: &str,
        to: &str,
        content_type: String,
        body: String,
    ) -> commands::Answer {
        self.check_asking()?;
        let from = self.with_user(parse_address(from)?);
        let to = parse_address(to)?;
        check_target(&to.uri, &self.config.transports)?;
        if body.len() > limits::MESSAGE_MOST {
            return Err(Error::BadValue(format!("{} octets of text: at most {}", body.len(), limits::MESSAGE_MOST)));
        }
        if !is_media_type(&content_type) {
            return Err(Error::InvalidHeader(format!("content type {content_type:?}: type/subtype and parameters")));
        }
        let mut request = Request {
            method: Method::Message,
            request_uri: to.uri.request_uri(),
            from,
            to,
            call_id: self.ua.new_call_id(),
            cseq: 1,
            headers: Vec::new(),
            // RFC 3428 §4: it makes no dialog.
            contact: false,
            contact_form: Default::default(),
            flow: None,
            credentials: None,
            body: Some(Body { content_type, bytes: Bytes::from(body) }),
            max_forwards: MAX_FORWARDS,
            give_up_after: None,
        };
        self.as_account(&mut request);
        let key = self.ua.send(now, request).map_err(|error| ua_error(error, State::Initiating))?;
        self.wait_for(now, key, token, What::Message, None);
        Ok(None)
    }

    /// A MESSAGE came, in a dialog or outside. What the answer is.
    pub(crate) fn message_received(&mut self, now: Now, request: &Message) -> Answer {
        if self.stop.is_stopping() || self.overdue || !self.message_bucket.take(now.mono) {
            return unavailable();
        }
        let (Ok(from), Ok(to)) = (request.from(), request.to()) else { return Answer::new(StatusCode::BAD_REQUEST) };
        let content_type = request.content_type().unwrap_or(PLAIN);
        let bytes = request.body();
        let Some(body) = decode(content_type, &bytes) else {
            let headers = vec![(HeaderName::Accept.as_str().to_owned(), ACCEPT.to_owned())];
            return Answer { headers, ..Answer::new(StatusCode::UNSUPPORTED_MEDIA_TYPE) };
        };
        self.emit(Event::Message(Arc::new(TextMessage {
            from: from.uri.to_string(),
            to: to.uri.to_string(),
            content_type: content_type.to_owned(),
            body: body.into_owned(),
        })));
        Answer::new(StatusCode::OK)
    }
}

/// `type/subtype`, with or without parameters (RFC 3261 §25.1, media-type).
fn is_media_type(text: &str) -> bool {
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"-.!%*_+`'~#$&^{}|".contains(&c))
    };
    let media_type = text.split(';').next().unwrap_or_default().trim();
    let is_line = !text.chars().any(|c| c.is_control());
    is_line && media_type.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype))
}

/// The text of a body. RFC 3428 §8 and RFC 3261 §7.4.1: UTF-8 where nothing else is said. `None`: it is none, or in a charset that is
/// not known here.
fn decode<'b>(content_type: &str, body: &'b [u8]) -> Option<Cow<'b, str>> {
    let charset = content_type.split(';').skip(1).find_map(|param| {
        let (name, value) = param.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    let is =
        |names: &[&str]| charset.is_some_and(|charset| names.iter().any(|name| charset.eq_ignore_ascii_case(name)));
    if charset.is_none() || is(&["utf-8", "utf8", "us-ascii", "ascii"]) {
        return std::str::from_utf8(body).ok().map(Cow::Borrowed);
    }
    if is(&["iso-8859-1", "latin1", "iso8859-1"]) {
        // Its code points are Unicode's first 256.
        return Some(body.iter().map(|byte| char::from(*byte)).collect::<String>().into());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_become_text_or_nothing() {
        for (content_type, body, expected) in [
            ("text/plain", &b"hello"[..], Some("hello")),
            ("text/plain", "grün".as_bytes(), Some("grün")),
            ("text/plain;charset=UTF-8", "grün".as_bytes(), Some("grün")),
            ("text/plain; Charset=\"iso-8859-1\"", b"gr\xfcn", Some("grün")),
            ("text/plain", b"gr\xfcn", None),
            ("text/plain;charset=utf-16", b"g\0", None),
            ("application/im-iscomposing+xml", b"<x/>", Some("<x/>")),
            ("image/png", b"\x89PNG", None),
            ("text/plain", b"", Some("")),
            ("text/plain", b"a\0\r\n", Some("a\0\r\n")),
        ] {
            assert_eq!(decode(content_type, body).as_deref(), expected, "{content_type} {body:?}");
        }
    }

    #[test]
    fn what_is_a_media_type() {
        for good in ["text/plain", "text/plain; charset=utf-8", "application/im-iscomposing+xml"] {
            assert!(is_media_type(good), "{good}");
        }
        for bad in ["", "text", "text/", "/plain", "text/plain\r\nVia: x", "te xt/plain", "text/pl\0ain"] {
            assert!(!is_media_type(bad), "{bad:?}");
        }
    }
}
