//! The session description in a message. What a request may carry `ua` has checked already (415).

use ringback_sip::Message;
use ringback_ua::Body;

const SDP: &str = "application/sdp";

/// RFC 8866 §4: UTF-8; what is not is seen by the one who parses it.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a message says about media.
pub(crate) fn session_description(message: &Message) -> Option<String> {
    ringback_ua::session_description(message).map(|bytes| text(&bytes))
}

/// The same for the body that `ua` hands over with an ACK.
pub(crate) fn of_body(body: Option<&Body>) -> Option<String> {
    let body = body?;
    let media_type = body.content_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case(SDP).then(|| text(&body.bytes))
}
