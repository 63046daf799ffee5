//! RFC 5923: what the top Via of a request says about reusing its connection.

use bytes::Bytes;
use ringback_sip::{HeaderName, Message, Via};

/// Where TLS is listened on by default.
const PORT: u16 = 5061;

/// §8.1: sent-by of a request whose Via has the `alias` parameter.
pub(super) fn of(bytes: &Bytes) -> Option<(String, u16)> {
    // Most messages have none, and are not read for it.
    memchr(bytes)?;
    let message = Message::parse(bytes.clone()).ok().filter(Message::is_request)?;
    let line = message.headers().get(&HeaderName::Via)?;
    let first = ringback_sip::list_values(line).next()?;
    let via = Via::parse(first).ok()?;
    via.params.get("alias")?;
    Some((via.host.to_string(), via.port.unwrap_or(PORT)))
}

fn memchr(bytes: &[u8]) -> Option<usize> {
    bytes.windows(6).position(|window| window.eq_ignore_ascii_case(b";alias"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(via: &str) -> Bytes {
        let text = format!(
            "OPTIONS sip:a@b SIP/2.0\r\nVia: {via}\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n"
        );
        Bytes::from(text)
    }

    #[test]
    fn the_top_via_says_it() {
        for (via, expected) in [
            ("SIP/2.0/TLS a.example:5080;branch=z9hG4bK1;alias", Some(("a.example", 5080))),
            ("SIP/2.0/TLS a.example;Alias;branch=z9hG4bK1", Some(("a.example", 5061))),
            ("SIP/2.0/TLS a.example;branch=z9hG4bK1", None),
            ("SIP/2.0/TLS a.example;branch=z9hG4bK1, SIP/2.0/TLS b.example;alias;branch=z9hG4bK2", None),
            ("SIP/2.0/TLS a.example;aliases=1;branch=z9hG4bK1", None),
        ] {
            let found = of(&request(via));
            assert_eq!(found.as_ref().map(|(host, port)| (host.as_str(), *port)), expected, "{via}");
        }
    }
}
