//! Messages beyond RFC 4475: line ends, limits, faults and the answers to them.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests count as tests.

use bytes::Bytes;
use ringback_sip::{ErrorKind, HeaderName, MAX_HEADER_LINES, Message, Method, ParseError, StatusCode, validate};

const HEAD: &str = "Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x@y\r\nCSeq: 1 OPTIONS\r\n";

fn options(extra: &str) -> String {
    format!("OPTIONS sip:c@d SIP/2.0\r\n{HEAD}{extra}\r\n")
}

fn parse(text: impl Into<Bytes>) -> Result<Message, ParseError> {
    Message::parse(text.into())
}

fn fault(text: impl Into<Bytes>) -> (ErrorKind, u16, bool) {
    let error = match parse(text) {
        Err(error) => error,
        Ok(message) => validate(&message).unwrap_err(),
    };
    (error.kind(), error.status.as_u16(), error.partial.is_some())
}

#[test]
fn line_ends() {
    let m = parse(format!("\r\n\r\n{}body", options("X: 1\r\n 2\r\n\t3\r\nY:\r\n Z\r\n"))).unwrap();
    assert_eq!(m.headers().get_str("x"), Some("1   2  \t3"));
    assert_eq!(m.headers().get_str("y"), Some("Z"));
    assert_eq!(&m.body()[..], b"body");
    // LF alone ends a line as well.
    let m = parse(options("X: 1\n 2\n").replace("\r\n", "\n") + "body").unwrap();
    assert_eq!(m.headers().get_str("x"), Some("1  2"));
    assert_eq!(&m.body()[..], b"body");
    assert!(validate(&m).is_ok());
    // A lone CR does not, and is refused: what it would mean elsewhere nobody knows.
    assert_eq!(fault(options("X: 1\rVia: y\r\n")), (ErrorKind::HeaderLine, 400, true));
    let partial = parse(options("X: 1\rVia: y\r\n")).unwrap_err().partial.unwrap();
    assert_eq!(partial.headers().get_str("x"), Some("1 Via: y"));
    // No empty line, and no line end at all.
    assert_eq!(fault(format!("OPTIONS sip:c@d SIP/2.0\r\n{HEAD}")), (ErrorKind::HeaderLine, 400, true));
    assert_eq!(fault("OPTIONS sip:c@d SIP/2.0"), (ErrorKind::StartLine, 400, false));
}

#[test]
fn bytes_that_are_no_text() {
    let mut raw = options("").into_bytes();
    let at = raw.len() - 2;
    raw.splice(at..at, b"Subject: caf\xe9 \xff\xc3\xa9\r\nX\t: y\r\n\x20z\r\n".iter().copied());
    let m = parse(raw.clone()).unwrap();
    assert!(validate(&m).is_ok());
    assert_eq!(m.headers().get(&HeaderName::Subject), Some("caf? ?é"));
    assert_eq!(m.headers().get_bytes(&HeaderName::Subject), Some(&b"caf\xe9 \xff\xc3\xa9"[..]));
    assert_eq!(m.headers().get_str("X"), Some("y   z"));
    assert_eq!(&m.raw()[..], &raw[..]);
    // A question mark would change the meaning of a Request-URI.
    let raw = [b"OPTIONS sip:\xff@d SIP/2.0\r\n", HEAD.as_bytes(), b"\r\n"].concat();
    assert_eq!(fault(raw), (ErrorKind::RequestUri, 400, true));
}

#[test]
fn start_lines() {
    let with = |line: &str| format!("{line}\r\n{HEAD}\r\n");
    assert!(parse(with("OPTIONS sip:c@d sip/2.0")).is_ok());
    assert!(parse(with("sip/2.0 200")).is_ok());
    for (line, expected) in [
        ("OPTIONS sip:c@d SIP/2.1", (ErrorKind::Version, 505, true)),
        ("OPTIONS sip:c@d SIP/2.x", (ErrorKind::StartLine, 400, true)),
        ("OPTIONS sip:c@d HTTP/1.1", (ErrorKind::StartLine, 400, true)),
        ("OPTIONS sip:c@d", (ErrorKind::StartLine, 400, true)),
        ("OPTIONS", (ErrorKind::StartLine, 400, false)),
        ("OPT(IONS sip:c@d SIP/2.0", (ErrorKind::StartLine, 400, false)),
        (" OPTIONS sip:c@d SIP/2.0", (ErrorKind::StartLine, 400, false)),
        ("OPTIONS  SIP/2.0", (ErrorKind::RequestUri, 400, true)),
        ("OPTIONS sip: SIP/2.0", (ErrorKind::RequestUri, 400, true)),
        ("OPTIONS mailto:c@d SIP/2.0", (ErrorKind::RequestUriScheme, 416, true)),
        ("ACK sip:c@ SIP/2.0", (ErrorKind::RequestUri, 400, false)),
        ("SIP/3.0 200 OK", (ErrorKind::Version, 505, false)),
        ("SIP/2.0 99 OK", (ErrorKind::StartLine, 400, false)),
        ("SIP/2.0 099 OK", (ErrorKind::StartLine, 400, false)),
        ("SIP/2.0 0200 OK", (ErrorKind::StartLine, 400, false)),
        ("SIP/2.0 700 OK", (ErrorKind::StartLine, 400, false)),
        ("SIP/2.0  200 OK", (ErrorKind::StartLine, 400, false)),
        ("SIP/2.0 +20 OK", (ErrorKind::StartLine, 400, false)),
        ("SIP/2.0 200 O\x01K", (ErrorKind::StartLine, 400, false)),
    ] {
        assert_eq!(fault(with(line)), expected, "{line}");
    }
    let long = with(&format!("OPTIONS sip:{}@d SIP/2.0", "é".repeat(10_000)));
    assert_eq!(fault(long), (ErrorKind::RequestUriTooLong, 414, true));
}

#[test]
fn header_lines() {
    for (extra, expected) in [
        ("No colon\r\n", ErrorKind::HeaderLine),
        (": no name\r\n", ErrorKind::HeaderLine),
        ("Na me: x\r\n", ErrorKind::HeaderLine),
        ("Näme: x\r\n", ErrorKind::HeaderLine),
        ("Content-Length: five\r\n", ErrorKind::ContentLength),
        ("Content-Length: \r\n", ErrorKind::ContentLength),
        ("Content-Length: 1\r\n", ErrorKind::ContentLength),
        ("Content-Length: 99999999999999999999\r\n", ErrorKind::ContentLength),
        ("l: 0\r\nContent-Length: 1\r\n", ErrorKind::ContentLength),
        ("From: <sip:a@b>;tag=1\r\n", ErrorKind::Repeated),
        ("t: <sip:a@b>;tag=1\r\n", ErrorKind::Repeated),
        ("i: x\r\n", ErrorKind::Repeated),
        ("Via: \r\n", ErrorKind::Value),
        ("Via: SIP/2.0/UDP h,\r\n", ErrorKind::Value),
        ("Route: sip:a@b?x=y\r\n", ErrorKind::Value),
        ("Contact: *, <sip:a@b>\r\n", ErrorKind::Value),
        ("Max-Forwards: -1\r\n", ErrorKind::Value),
        ("Refer-To: <sip:a@b\r\n", ErrorKind::Value),
        ("Content-Type: sdp\r\n", ErrorKind::Value),
    ] {
        assert_eq!(fault(options(extra)), (expected, 400, true), "{extra}");
    }
    for extra in [
        "l: 0\r\nContent-Length: 00\r\n",
        "Contact: *\r\n",
        "c: application / sdp ; x=y\r\n",
        "Expires: soon\r\n",
        "X:\r\n",
        "Max-Forwards: 300\r\n",
    ] {
        assert!(validate(&parse(options(extra)).unwrap()).is_ok(), "{extra}");
    }
    for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
        let text = options("").split_inclusive("\r\n").filter(|line| !line.starts_with(name)).collect::<String>();
        assert_eq!(fault(text.clone()), (ErrorKind::Missing, 400, name != "Via"), "{name}");
        let error = validate(&parse(text).unwrap()).unwrap_err();
        assert_eq!(error.reason, format!("Missing {name} Header Field"));
    }
    let many = options(&"X: y\r\n".repeat(MAX_HEADER_LINES - 5));
    assert_eq!(parse(many).unwrap().headers().len(), MAX_HEADER_LINES);
    assert_eq!(fault(options(&"X: y\r\n".repeat(MAX_HEADER_LINES - 4))), (ErrorKind::TooLarge, 513, true));
}

#[test]
fn values_and_lists() {
    let m = parse(options(
        "Contact: \"a, b\" <sip:x@y;p=1>;q=1 , <sip:z,w@v>\r\nm: <sip:last@v>\r\nSubject: one, two\r\nX-List: 1,2\r\nx-list: \"3,\\\",\" , 4\r\nSupported:\r\nk: 100rel,, timer\r\nAllow: INVITE, ACK\r\n",
    ))
    .unwrap();
    let uris: Vec<_> = m.contacts().unwrap().iter().map(|c| c.uri.to_string()).collect();
    assert_eq!(uris, ["sip:x@y;p=1", "sip:z,w@v", "sip:last@v"]);
    assert_eq!(m.contact().unwrap().display_name.as_deref(), Some("a, b"));
    assert_eq!(m.headers().values(&HeaderName::Subject).collect::<Vec<_>>(), ["one, two"]);
    let other = HeaderName::parse("X-LIST");
    assert_eq!(m.headers().values(&other).collect::<Vec<_>>(), ["1", "2", "\"3,\\\",\"", "4"]);
    assert_eq!(m.headers().get_all(&other).collect::<Vec<_>>(), ["1,2", "\"3,\\\",\" , 4"]);
    assert_eq!(m.headers().count(&other), 2);
    assert_eq!(m.supported().collect::<Vec<_>>(), ["100rel", "timer"]);
    assert_eq!(m.allow().collect::<Vec<_>>(), ["INVITE", "ACK"]);
    assert!(m.supports("Timer") && !m.supports("x"));
    assert_eq!(m.routes(), Ok(vec![]));
    assert!(m.contact().is_ok());
    let m = parse(options("")).unwrap();
    assert!(m.contact().unwrap_err().missing);
    assert_eq!((m.method(), m.status(), m.is_response()), (Some(&Method::Options), None, false));
}

#[test]
fn responses_are_dropped() {
    let m = parse(format!("SIP/2.0 200 OK\r\n{HEAD}\r\n")).unwrap();
    assert!(validate(&m).is_ok());
    assert_eq!((m.status(), m.reason()), (Some(StatusCode::OK), Some("OK")));
    let text = format!("SIP/2.0 200 OK\r\n{HEAD}Content-Length: 5\r\n\r\n");
    assert!(parse(text).unwrap_err().is_drop());
    let text = format!("SIP/2.0 200 OK\r\n{HEAD}\r\n").replace("CSeq: 1 OPTIONS", "CSeq: x");
    assert!(validate(&parse(text).unwrap()).unwrap_err().is_drop());
}

#[test]
fn shown_in_a_log() {
    let m = parse(options("Proxy-Authorization: Digest secret\r\nl: 4\r\n") + "v=0\n").unwrap();
    let text = m.to_string();
    assert!(text.contains("Proxy-Authorization: <hidden>") && !text.contains("secret"));
    assert!(text.starts_with("OPTIONS sip:c@d SIP/2.0\n") && text.ends_with("\n\nv=0"));
    assert_eq!(format!("{m:?}"), format!("Message(OPTIONS sip:c@d, Call-ID \"x@y\", {} bytes)", m.raw().len()));
}
