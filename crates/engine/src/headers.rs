//! Text that a program puts into messages: extra headers, reason phrases. Nothing gets through that could end a line or speak for
//! the engine.

use ringback_sip::{HeaderName, Message};

use crate::api::{Error, HeaderList};

/// Extra headers of one message.
const HEADERS_MOST: usize = 64;
/// Octets of all of them, so that a message stays sendable.
const OCTETS_MOST: usize = 16_384;

/// Headers that say how the message travels, which dialog it belongs to, what its body is, or what the stack can do: the engine
/// writes them and answers for them.
const OWNED: [&str; 34] = [
    "Via",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Contact",
    "Max-Forwards",
    "Route",
    "Record-Route",
    "Path",
    "Service-Route",
    "Content-Length",
    "Content-Type",
    "Content-Encoding",
    "Content-Disposition",
    "MIME-Version",
    "Allow",
    "Accept",
    "Supported",
    "Require",
    "Proxy-Require",
    "Unsupported",
    "RSeq",
    "RAck",
    "Session-Expires",
    "Min-SE",
    "Expires",
    "Timestamp",
    "Authorization",
    "Proxy-Authorization",
    "WWW-Authenticate",
    "Proxy-Authenticate",
    "User-Agent",
    "Server",
];

/// `Error::InvalidHeader` for a header that must not be sent.
pub(crate) fn check(headers: &[(String, String)]) -> Result<(), Error> {
    if headers.is_empty() {
        return Ok(());
    }
    if headers.len() > HEADERS_MOST {
        return Err(Error::InvalidHeader(format!("{} headers: at most {HEADERS_MOST} are sent", headers.len())));
    }
    let octets: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if octets > OCTETS_MOST {
        return Err(Error::InvalidHeader(format!("{octets} octets of headers: at most {OCTETS_MOST} are sent")));
    }
    for (name, value) in headers {
        if !ringback_sip::is_valid_header_text(name, value) || !is_text(value) {
            return Err(Error::InvalidHeader(format!("header {name:?}: a name is a token, a value one line of text")));
        }
        // Compact forms name the same header.
        let long = HeaderName::parse(name);
        if OWNED.iter().any(|owned| long.as_str().eq_ignore_ascii_case(owned)) {
            return Err(Error::InvalidHeader(format!("header {name:?} is written by the engine")));
        }
    }
    Ok(())
}

/// The headers with those names that `request` has, as far as a program could send them itself: what a caller writes is checked
/// like what a program writes, and one that fails is left out.
pub(crate) fn passed(request: &Message, names: &[HeaderName]) -> HeaderList {
    let mut passed = HeaderList::new();
    let mut octets = 0;
    for name in names {
        for value in request.headers().get_all(name) {
            let header = (name.as_str().to_owned(), value.to_owned());
            octets += header.0.len() + header.1.len();
            if passed.len() == HEADERS_MOST || octets > OCTETS_MOST {
                return passed;
            }
            if check(std::slice::from_ref(&header)).is_ok() {
                passed.push(header);
            }
        }
    }
    passed
}

/// The name of a header that may pass from a caller to the targets of a forwarded call; `Error::InvalidHeader` for one that may not.
pub fn forwardable(name: &str) -> Result<HeaderName, Error> {
    check(&[(name.to_owned(), String::new())])?;
    Ok(HeaderName::parse(name))
}

/// A reason phrase, or the text of a `Reason` header.
pub(crate) fn check_phrase(text: &str) -> Result<(), Error> {
    if is_text(text) && text.len() <= 256 {
        Ok(())
    } else {
        Err(Error::InvalidHeader(format!("reason {:?}: one line of text", text.chars().take(64).collect::<String>())))
    }
}

/// No control characters but the tab (RFC 3261 §25.1, TEXT-UTF8).
fn is_text(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() && c != '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Result<(), Error> {
        check(&[(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn a_program_may_add_what_is_not_the_engine_s() {
        for name in ["X-Account", "Subject", "P-Asserted-Identity", "Retry-After", "Diversion", "Reason", "x-contact"] {
            assert_eq!(one(name, "value; with=\"things\""), Ok(()), "{name}");
        }
        assert_eq!(check(&[]), Ok(()));
    }

    #[test]
    fn what_the_engine_owns_is_refused_in_any_spelling() {
        for name in
            OWNED.into_iter().chain(["v", "f", "t", "i", "m", "l", "c", "k", "e", "cSeQ", "CONTACT", "max-forwards"])
        {
            assert!(matches!(one(name, "x"), Err(Error::InvalidHeader(_))), "{name}");
        }
    }

    #[test]
    fn nothing_ends_a_line() {
        for value in ["a\r\nVia: x", "a\n", "\r", "nul\0", "\u{b}"] {
            assert!(matches!(one("X-A", value), Err(Error::InvalidHeader(_))), "{value:?}");
        }
        for name in ["", "X A", "X:", "X\r\nB", "Ümlaut"] {
            assert!(matches!(one(name, "x"), Err(Error::InvalidHeader(_))), "{name:?}");
        }
        assert!(check_phrase("Busy\r\nVia: x").is_err());
        assert!(check_phrase(&"x".repeat(257)).is_err());
        assert!(check_phrase("Besetzt – später").is_ok());
    }

    #[test]
    fn headers_are_bounded() {
        let many = vec![("X-A".to_owned(), "1".to_owned()); HEADERS_MOST + 1];
        assert!(check(&many).is_err());
        assert!(one("X-A", &"x".repeat(OCTETS_MOST)).is_err());
    }
}
