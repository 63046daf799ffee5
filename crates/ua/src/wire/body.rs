//! Which bodies an INVITE may carry: RFC 3261 §8.2.3.

use bytes::Bytes;
use ringback_sip::{HeaderName, Message};

/// What is wrong with the body of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BodyFault {
    /// 415 with Accept.
    Type,
    /// 415 with Accept-Encoding.
    Encoding,
    /// S/MIME: 493.
    Undecipherable,
}

fn media_type(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

fn is(value: &str, wanted: &str) -> bool {
    media_type(value).eq_ignore_ascii_case(wanted)
}

/// RFC 3261 §20.12 and RFC 1890: only the identity encoding is understood here.
pub(crate) fn check_encoding(request: &Message) -> Result<(), BodyFault> {
    let encodings = request.headers().values(&HeaderName::ContentEncoding);
    if !request.body().is_empty() && encodings.into_iter().any(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(BodyFault::Encoding);
    }
    Ok(())
}

/// §20.11: a body that need not be understood.
fn is_optional(disposition: Option<&str>) -> bool {
    disposition.is_some_and(|value| {
        value.split(';').skip(1).any(|param| {
            param.split_once('=').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("handling") && value.trim().eq_ignore_ascii_case("optional")
            })
        })
    })
}

/// Whether the disposition, absent or not, makes a body a session description.
fn is_session(disposition: Option<&str>) -> bool {
    disposition.is_none_or(|value| is(value, "session"))
}

/// The body of an INVITE: a session description, alone or in a multipart, or none. `Ok(None)`: there is none.
fn find(message: &Message) -> Result<Option<Bytes>, BodyFault> {
    let body = message.body();
    if body.is_empty() {
        return Ok(None);
    }
    check_encoding(message)?;
    let disposition = message.headers().get(&HeaderName::ContentDisposition);
    let Some(content_type) = message.content_type() else {
        // §20.15: a body must have a type.
        return if is_optional(disposition) { Ok(None) } else { Err(BodyFault::Type) };
    };
    if is(content_type, "application/sdp") && is_session(disposition) {
        return Ok(Some(body));
    }
    let is_multipart = media_type(content_type).get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/"));
    if is_multipart && let Some(part) = boundary(content_type).and_then(|boundary| find_part(&body, boundary)) {
        return Ok(Some(part));
    }
    if is_optional(disposition) {
        return Ok(None);
    }
    let smime = ["application/pkcs7-mime", "application/x-pkcs7-mime"];
    Err(if smime.into_iter().any(|kind| is(content_type, kind)) { BodyFault::Undecipherable } else { BodyFault::Type })
}

pub(crate) fn check_invite(request: &Message) -> Result<(), BodyFault> {
    find(request).map(|_| ())
}

/// The session description of a message: its body, or the part of a multipart body that is one. `None`: there is none.
pub fn session_description(message: &Message) -> Option<Bytes> {
    find(message).ok().flatten()
}

fn boundary(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|param| {
        let (name, value) = param.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim().eq_ignore_ascii_case("boundary") && !value.is_empty()).then_some(value)
    })
}

/// RFC 2046 §5.1.1: the first part that is a session description.
fn find_part(body: &Bytes, boundary: &str) -> Option<Bytes> {
    let mut from = 0;
    let mut part_start: Option<usize> = None;
    while from < body.len() {
        let rest = body.get(from..)?;
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let line = rest.get(..end)?.trim_ascii_end();
        let is_delimiter = line.strip_prefix(b"--").is_some_and(|line| {
            line.strip_prefix(boundary.as_bytes()).is_some_and(|rest| rest.is_empty() || rest == b"--")
        });
        if is_delimiter {
            if let Some(start) = part_start {
                // The line break before a delimiter belongs to it.
                let part = body.get(start..from)?;
                let part = part.strip_suffix(b"\n").unwrap_or(part);
                let part = part.strip_suffix(b"\r").unwrap_or(part);
                if let Some(offset) = session_part(part) {
                    return Some(body.slice(start + offset..start + part.len()));
                }
            }
            part_start = Some(from + end);
        }
        from += end;
    }
    None
}

/// Where the content of a part begins, when the part is a session description.
fn session_part(part: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut is_sdp = false;
    let mut session = true;
    loop {
        let rest = part.get(at..)?;
        let end = memchr::memchr(b'\n', rest)? + 1;
        let line = rest.get(..end)?.trim_ascii();
        at += end;
        if line.is_empty() {
            return (is_sdp && session).then_some(at);
        }
        let Some((name, value)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(':')) else {
            continue;
        };
        if name.trim().eq_ignore_ascii_case("Content-Type") {
            is_sdp = is(value, "application/sdp");
        } else if name.trim().eq_ignore_ascii_case("Content-Disposition") {
            session = is_session(Some(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(headers: &str, body: &str) -> Message {
        let text = format!(
            "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP c;branch=z9hG4bK1\r\nFrom: <sip:c>;tag=1\r\nTo: <sip:a@b>\r\n\
             Call-ID: 1\r\nCSeq: 1 INVITE\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Message::parse(Bytes::from(text)).unwrap()
    }

    #[test]
    fn bodies_and_what_is_said_about_them() {
        use BodyFault::*;
        for (headers, body, expected) in [
            ("", "", Ok(None)),
            ("Content-Type: application/sdp\r\n", "v=0", Ok(Some("v=0"))),
            ("c: Application/SDP ;charset=x\r\n", "v=0", Ok(Some("v=0"))),
            ("Content-Type: application/sdp\r\nContent-Encoding: gzip\r\n", "v=0", Err(Encoding)),
            ("Content-Type: application/sdp\r\nContent-Encoding: identity\r\n", "v=0", Ok(Some("v=0"))),
            ("Content-Type: application/sdp\r\nContent-Disposition: early-session\r\n", "v=0", Err(Type)),
            ("Content-Type: text/plain\r\n", "hi", Err(Type)),
            ("Content-Type: text/plain\r\nContent-Disposition: render;handling=optional\r\n", "hi", Ok(None)),
            ("Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n", "x", Err(Undecipherable)),
            ("", "v=0", Err(Type)),
            (
                "Content-Type: multipart/mixed;boundary=\"b1\"\r\n",
                "preamble\r\n--b1\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--b1--\r\n",
                Ok(Some("v=0\r\n")),
            ),
            (
                "Content-Type: multipart/mixed;boundary=b1\r\n",
                "--b1\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b1--\r\n",
                Err(Type),
            ),
            ("Content-Type: multipart/mixed\r\n", "--b1\r\n", Err(Type)),
        ] {
            let found = find(&message(headers, body))
                .map(|found| found.map(|body| String::from_utf8_lossy(&body).into_owned()));
            assert_eq!(found, expected.map(|body| body.map(str::to_owned)), "{headers}");
        }
    }
}
