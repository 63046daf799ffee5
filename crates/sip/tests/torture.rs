//! RFC 4475: the verdict on each of its 49 messages, one a row, and the values that its text points at.
//!
//! A row says what this crate does. Where the RFC asks for an answer that is not about syntax, the message is well formed
//! here, and the last column says which layer answers what.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests count as tests.

mod common;

use common::{vector, vectors};
use ringback_sip::{HeaderName, Host, Message, Method, NameAddr, ParseError, Scheme, StartLine, Uri, validate};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    /// `Message::parse` and `validate` accept it.
    Valid,
    /// Refused with this status, and there is enough to answer with.
    Answer(u16),
    /// Refused, and nothing is sent back.
    Drop,
}

use Verdict::{Answer, Drop, Valid};

#[rustfmt::skip]
const TABLE: [(&str, &str, Verdict, &str); 49] = [
    ("wsinv",      "3.1.1.1",  Valid,       "a short tortuous INVITE"),
    ("intmeth",    "3.1.1.2",  Valid,       "ua: 501 with Allow, the method is unknown"),
    ("esc01",      "3.1.1.3",  Valid,       "escapes undone once"),
    ("escnull",    "3.1.1.4",  Valid,       "escaped NULs do not end the user"),
    ("esc02",      "3.1.1.5",  Valid,       "ua: 501, RE%47IST%45R is not REGISTER"),
    ("lwsdisp",    "3.1.1.6",  Valid,       "no space before <"),
    ("longreq",    "3.1.1.7",  Valid,       "long values, 34 Via lines"),
    ("dblreq",     "3.1.1.8",  Valid,       "bytes after the first request's body are ignored"),
    ("semiuri",    "3.1.1.9",  Valid,       "ua: 404 or 200; a semicolon in the user part"),
    ("transports", "3.1.1.10", Valid,       "unknown transports in lower Vias"),
    ("mpart01",    "3.1.1.11", Valid,       "ua: 405 or 501; NULs in the body"),
    ("unreason",   "3.1.1.12", Valid,       "UTF-8 in the reason phrase"),
    ("noreason",   "3.1.1.13", Valid,       "empty reason phrase"),
    ("badinv01",   "3.1.2.1",  Answer(400), "separators without parameters"),
    ("clerr",      "3.1.2.2",  Answer(400), "over UDP; on a stream the framer waits for the rest"),
    ("ncl",        "3.1.2.3",  Answer(400), "negative Content-Length; on a stream the connection is closed"),
    ("scalar02",   "3.1.2.4",  Answer(400), "CSeq number above 32 bits"),
    ("scalarlg",   "3.1.2.5",  Drop,        "the same in a response"),
    ("quotbal",    "3.1.2.6",  Answer(400), "unterminated quoted string"),
    ("ltgtruri",   "3.1.2.7",  Answer(400), "<> around the Request-URI"),
    ("lwsruri",    "3.1.2.8",  Answer(400), "space in the Request-URI"),
    ("lwsstart",   "3.1.2.9",  Answer(400), "several spaces in the request line"),
    ("trws",       "3.1.2.10", Answer(400), "spaces at the end of the request line"),
    ("escruri",    "3.1.2.11", Answer(400), "headers in the Request-URI"),
    ("baddate",    "3.1.2.12", Valid,       "to be accepted where the Date is not used, as here"),
    ("regbadct",   "3.1.2.13", Answer(400), "? outside of <>"),
    ("badaspec",   "3.1.2.14", Answer(400), "spaces within <>"),
    ("baddn",      "3.1.2.15", Answer(400), "comma in an unquoted display name"),
    ("badvers",    "3.1.2.16", Answer(505), "SIP/7.0"),
    ("mismatch01", "3.1.2.17", Answer(400), "CSeq method differs"),
    ("mismatch02", "3.1.2.18", Answer(501), "the same with an unknown method"),
    ("bigcode",    "3.1.2.19", Drop,        "status code above 699"),
    ("badbranch",  "3.2.1",    Valid,       "ua: falls back to RFC 2543 matching; the branch is only the cookie"),
    ("insuf",      "3.3.1",    Answer(400), "no Call-ID, From, To"),
    ("unkscm",     "3.3.2",    Answer(416), "well formed (parse accepts), unknown scheme (validate)"),
    ("novelsc",    "3.3.3",    Answer(416), "well formed (parse accepts), a scheme never used here (validate)"),
    ("unksm2",     "3.3.4",    Valid,       "ua: 405, or a registrar's 400; odd schemes in From, To and Contact"),
    ("bext01",     "3.3.5",    Valid,       "ua: 420 with Unsupported: the options in Require"),
    ("invut",      "3.3.6",    Valid,       "engine: 415 with Accept"),
    ("regaut01",   "3.3.7",    Valid,       "ua: 405; a registrar: 401 or ignored"),
    ("multi01",    "3.3.8",    Answer(400), "several values where one is allowed"),
    ("mcl01",      "3.3.9",    Answer(400), "conflicting Content-Length values; on a stream the connection is closed"),
    ("bcast",      "3.3.10",   Valid,       "ua: dropped, a response with a second Via is not ours"),
    ("zeromf",     "3.3.11",   Valid,       "ua: processed; engine: 483 where it would forward"),
    ("cparam01",   "3.3.12",   Valid,       "parameter of the Contact"),
    ("cparam02",   "3.3.13",   Valid,       "parameter of the Contact's URI"),
    ("regescrt",   "3.3.14",   Valid,       "header in the Contact's URI"),
    ("sdp01",      "3.3.15",   Valid,       "engine: 406 (or 400), Accept without application/sdp"),
    ("inv2543",    "3.4.1",    Valid,       "RFC 2543: no branch, no tag, no Content-Length, no Max-Forwards"),
];

fn parse(name: &str) -> Message {
    Message::parse(vector(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn read(name: &str) -> Result<Message, ParseError> {
    let message = Message::parse(vector(name))?;
    validate(&message).map(|()| message)
}

fn refusal(name: &str) -> ParseError {
    read(name).err().unwrap_or_else(|| panic!("{name} was accepted"))
}

#[test]
fn verdicts() {
    let mut wrong = Vec::new();
    for (name, section, expected, note) in TABLE {
        let verdict = match read(name) {
            Ok(_) => Valid,
            Err(error) if error.is_drop() => Drop,
            Err(error) => Answer(error.status.as_u16()),
        };
        if verdict != expected {
            wrong.push(format!("{name} (RFC 4475 §{section}, {note}): {verdict:?}, expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mut rows: Vec<&str> = TABLE.iter().map(|row| row.0).collect();
    rows.sort_unstable();
    assert_eq!(rows, vectors().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), "one row a message");
}

/// Whatever was refused can be answered: the Via says where to, and what is there of the other fields can be copied.
#[test]
fn answers() {
    for (name, _, verdict, _) in TABLE {
        let Answer(_) = verdict else { continue };
        let error = refusal(name);
        assert!(!error.reason.is_empty());
        let partial = error.partial.unwrap();
        assert!(partial.is_request());
        let via = partial.reply_via().unwrap();
        assert_eq!(via, ringback_sip::Via::parse(&via.to_string()).unwrap());
        if name != "insuf" {
            for field in [HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq] {
                assert!(partial.headers().contains(&field), "{name} {field}");
            }
        }
    }
    let reasons: Vec<_> =
        ["badinv01", "clerr", "ncl", "scalar02", "quotbal", "ltgtruri", "regbadct", "insuf", "multi01", "mcl01"]
            .map(|name| refusal(name).reason)
            .into();
    assert_eq!(
        reasons,
        [
            "Malformed Via Header Field",
            "Content-Length Larger Than Message",
            "Malformed Content-Length",
            "Malformed CSeq Header Field",
            "Malformed To Header Field",
            "Malformed Request-URI",
            "Malformed Contact Header Field",
            "Missing From Header Field",
            "Repeated CSeq Header Field",
            "Conflicting Content-Length Values",
        ]
    );
}

#[test]
fn wsinv() {
    let m = parse("wsinv");
    let uri = m.request_uri().unwrap();
    assert_eq!(uri.as_str(), "sip:vivekg@chair-dnrc.example.com;unknownparam");
    assert_eq!(uri.param("unknownparam"), Some(None));
    let to = m.to().unwrap();
    assert_eq!((to.uri.as_str(), to.tag()), ("sip:vivekg@chair-dnrc.example.com", Some("1918181833n")));
    let from = m.from().unwrap();
    assert_eq!(from.display_name.as_deref(), Some("J Rosenberg \\\""));
    assert_eq!((from.uri.as_str(), from.tag()), ("sip:jdrosen@example.com", Some("98asjd8")));
    assert_eq!((m.from_tag(), m.to_tag()), (Some("98asjd8"), Some("1918181833n")));
    assert_eq!(m.max_forwards(), Some(68));
    assert_eq!(m.call_id(), Some("wsinv.ndaksdj@192.0.2.1"));
    assert_eq!(m.content_length(), Some(150));
    assert_eq!(m.body().len(), 150);
    let cseq = m.cseq().unwrap();
    assert_eq!((cseq.number, cseq.method), (9, Method::Invite));
    let vias: Vec<_> = m.vias().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        vias,
        [
            "SIP/2.0/UDP 192.0.2.2;branch=390skdjuw",
            "SIP/2.0/TCP spindle.example.com;branch=z9hG4bK9ikj8",
            "SIP/2.0/UDP 192.168.255.111;branch=z9hG4bK30239",
        ]
    );
    assert_eq!(m.top_via().unwrap().to_string(), vias[0]);
    assert_eq!(m.headers().get(&HeaderName::Subject), Some(""));
    assert_eq!(m.headers().get_str("newfangledheader"), Some("newfangled value   continued newfangled value"));
    assert_eq!(
        m.headers().get_bytes(&HeaderName::parse("NEWFANGLEDHEADER")),
        Some(&b"newfangled value\r\n continued newfangled value"[..])
    );
    assert_eq!(m.headers().get_str("UnknownHeaderWithUnusualValue"), Some(";;,,;;,;"));
    let routes = m.routes().unwrap();
    assert_eq!(routes.len(), 1);
    assert!(routes[0].uri.is_loose_router());
    assert_eq!(routes[0].uri.param("unknownwith"), Some(Some("value")));
    assert_eq!(routes[0].uri.param("unknown-no-value"), Some(None));
    let contact = m.contact().unwrap();
    assert_eq!(contact.display_name.as_deref(), Some("Quoted string \"\""));
    assert_eq!(contact.params.as_str(), ";newparam=newvalue;secondparam;q=0.33");
    // Spelling is kept.
    let names: Vec<_> = m.headers().iter().map(|(name, _, _)| name).collect();
    assert_eq!(&names[..4], ["TO", "from", "MaX-fOrWaRdS", "Call-ID"]);
    assert_eq!(names.len(), 14);
}

#[test]
fn intmeth() {
    let m = parse("intmeth");
    let method = "!interesting-Method0123456789_*+`.%indeed'~";
    assert_eq!(m.method().map(Method::as_str), Some(method));
    let cseq = m.cseq().unwrap();
    assert_eq!((cseq.number, cseq.method.as_str()), (139_122_385, method));
    let uri = m.request_uri().unwrap();
    assert_eq!(uri.raw_user(), Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"));
    assert_eq!(uri.raw_password(), Some("&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"));
    assert_eq!(uri.host(), Some(Host::Domain("example.com")));
    assert_eq!(m.top_via().unwrap().branch(), Some("z9hG4bK-.!%66*_+`'~"));
    let to = m.to().unwrap();
    assert_eq!(to.display_name.as_deref(), Some("BEL:\x07 NUL:\0 DEL:\x7f"));
    assert_eq!(NameAddr::parse(&to.to_string()), Ok(to));
    let from = m.from().unwrap();
    assert_eq!(from.display_name.as_deref(), Some("token1~` token2'+_ token3*%!.-"));
    assert_eq!(from.params.get_unquoted("fromParam''~+*_!.-%").as_deref(), Some("работающий"));
    assert_eq!(from.tag(), Some("_token~1'+`*%!-."));
    assert_eq!(m.call_id(), Some("intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"));
    assert_eq!(m.max_forwards(), Some(255));
    assert_eq!(m.headers().get_str("extensionHeader-!.%*+_`'~"), Some("\u{feff}大停電"));
}

#[test]
fn escapes() {
    let m = parse("esc01");
    let uri = m.request_uri().unwrap();
    assert_eq!(
        (uri.raw_user(), uri.user().as_deref()),
        (Some("sips%3Auser%40example.com"), Some("sips:user@example.com"))
    );
    assert_eq!(uri.host(), Some(Host::Domain("example.net")));
    assert_eq!(m.to().unwrap().uri.user().as_deref(), Some("user"));
    assert!(m.to().unwrap().uri.equals(&Uri::parse("sip:user@example.com").unwrap()));
    assert_eq!(m.from().unwrap().uri.user().as_deref(), Some("I have spaces"));
    let contact = m.contact().unwrap().uri;
    assert_eq!(contact.user().as_deref(), Some("caller"));
    assert!(contact.is_loose_router());
    assert_eq!(contact.param_unescaped("name").as_deref(), Some("value%41"));

    let m = parse("escnull");
    assert_eq!(m.to().unwrap().uri.user().as_deref(), Some("null-\0-null"));
    let contacts = m.contacts().unwrap();
    assert_eq!((contacts[0].uri.user().as_deref(), contacts[1].uri.user().as_deref()), (Some("\0"), Some("\0\0")));
    assert!(!contacts[0].uri.equals(&contacts[1].uri));

    let m = parse("esc02");
    assert_eq!(m.method(), Some(&Method::Other("RE%47IST%45R".into())));
    assert_eq!(m.to().unwrap().display_name.as_deref(), Some("%Z%45"));
    assert_eq!(m.contacts().unwrap().len(), 2);
    assert_eq!(m.headers().get_str("C%6Fntact"), Some("<sip:alias2@host2.example.com>"));
    assert_eq!(m.top_via().unwrap().branch(), Some("z9hG4bK209%fzsnel234"));
}

#[test]
fn lwsdisp() {
    assert_eq!(parse("lwsdisp").from().unwrap().display_name.as_deref(), Some("caller"));
}

#[test]
fn longreq() {
    let m = parse("longreq");
    let to = m.to().unwrap();
    assert_eq!(to.display_name, Some(format!("I have a user name of {} proportion", "extreme".repeat(10))));
    assert_eq!((to.uri.port(), to.uri.params().count()), (Some(6000), 3));
    assert_eq!(to.uri.param("unknownparam1"), Some(Some(&*format!("very{}value", "long".repeat(20)))));
    assert_eq!(to.uri.param(&format!("very{}ParameterNameWithNoValue", "long".repeat(25))), Some(None));
    let from = m.from().unwrap();
    assert_eq!(from.uri.user(), Some("amazinglylongcallername".repeat(5).into()));
    assert_eq!(from.tag(), Some(&*format!("12{}424", "982".repeat(50))));
    assert_eq!(from.params.iter().count(), 3);
    assert_eq!(m.call_id(), Some(&*format!("longreq.one{}longcallid", "really".repeat(20))));
    let vias = m.vias().unwrap();
    assert_eq!(vias.len(), 34);
    assert_eq!(vias[0].sent_by().to_string(), "sip33.example.com");
    assert_eq!(vias[33].branch(), Some(&*format!("very{}branchvalue", "long".repeat(50))));
    assert_eq!(vias[33].received_ip(), Some([192, 0, 2, 5].into()));
    assert_eq!(m.body().len(), 150);
}

#[test]
fn dblreq() {
    let m = parse("dblreq");
    assert_eq!(m.method(), Some(&Method::Register));
    assert_eq!(m.call_id(), Some("dblreq.0ha0isndaksdj99sdfafnl3lk233412"));
    assert_eq!((m.body().len(), m.raw().len()), (0, 750));
}

#[test]
fn semiuri() {
    let m = parse("semiuri");
    let uri = m.request_uri().unwrap();
    assert_eq!(uri.user().as_deref(), Some("user;par=u@example.net"));
    assert_eq!((uri.host(), uri.raw_params()), (Some(Host::Domain("example.com")), ""));
    assert_eq!(m.headers().values(&HeaderName::Accept).count(), 6);
}

#[test]
fn transports() {
    let vias = parse("transports").vias().unwrap();
    let names: Vec<_> = vias.iter().map(|via| via.transport.as_str()).collect();
    assert_eq!(names, ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]);
}

#[test]
fn mpart01() {
    let m = parse("mpart01");
    assert!(m.is_content_type("Multipart/Mixed"));
    assert_eq!(m.body().len(), 553);
    assert!(m.body().contains(&0) && m.body().ends_with(b"--7a9cbec02ceef655--\r\n"));
    assert_eq!(m.top_via().unwrap().rport(), Some(None));
}

#[test]
fn reasons() {
    let m = parse("unreason");
    assert_eq!(m.status().map(|s| s.as_u16()), Some(200));
    assert_eq!(m.reason(), Some("= 2**3 * 5**2 но сто девяносто девять - простое"));
    let m = parse("noreason");
    assert_eq!((m.status().map(|s| s.as_u16()), m.reason()), (Some(100), Some("")));
}

#[test]
fn overlarge_scalars() {
    // The other fields of it, had the CSeq been in order.
    let text = String::from_utf8(vector("scalar02").to_vec()).unwrap().replace("36893488147419103232", "1");
    let m = Message::parse(text.into()).unwrap();
    assert!(validate(&m).is_ok());
    assert_eq!((m.max_forwards(), m.expires()), (None, None));
    assert_eq!(m.contact().unwrap().params.get("expires"), Some(Some("280297596632815")));
}

#[test]
fn refused_request_lines_are_kept() {
    for (name, text) in [
        ("ltgtruri", "<sip:user@example.com>"),
        ("lwsruri", "sip:user@example.com; lr"),
        ("lwsstart", " sip:user@example.com "),
        ("badvers", "sip:t.watson@example.org"),
    ] {
        let partial = refusal(name).partial.unwrap();
        let StartLine::Request { uri, .. } = partial.start() else { panic!() };
        assert_eq!((uri.as_str(), uri.host(), uri.user()), (text, None, None));
    }
}

#[test]
fn schemes() {
    for (name, scheme) in [("unkscm", "nobodyKnowsThisScheme"), ("novelsc", "soap.beep")] {
        let m = parse(name);
        let uri = m.request_uri().unwrap();
        assert_eq!((uri.scheme(), uri.scheme_str()), (Scheme::Other, scheme));
    }
    let m = parse("unksm2");
    assert_eq!(m.to().unwrap().uri.as_str(), "isbn:2983792873");
    assert_eq!(m.from().unwrap().uri.as_str(), "http://www.example.com");
    assert_eq!(m.contact().unwrap().uri.as_str(), "name:John_Smith");
}

#[test]
fn application_layer() {
    let m = parse("bext01");
    assert_eq!(m.require().collect::<Vec<_>>(), ["nothingSupportsThis", "nothingSupportsThisEither"]);
    let m = parse("invut");
    assert!(m.is_content_type("application/unknownformat") && !m.is_content_type("application/sdp"));
    assert_eq!(
        parse("regaut01").headers().get(&HeaderName::Authorization),
        Some("NoOneKnowsThisScheme opaque-data=here")
    );
    assert!(!format!("{}", parse("regaut01")).contains("opaque-data"), "credentials are not logged");
    assert_eq!(parse("bcast").vias().unwrap().len(), 2);
    assert_eq!(parse("zeromf").max_forwards(), Some(0));
    assert_eq!(parse("badbranch").top_via().unwrap().branch(), Some("z9hG4bK"));
    let contact = parse("cparam01").contact().unwrap();
    assert_eq!((contact.params.get("unknownparam"), contact.uri.param("unknownparam")), (Some(None), None));
    let contact = parse("cparam02").contact().unwrap();
    assert_eq!((contact.params.get("unknownparam"), contact.uri.param("unknownparam")), (None, Some(None)));
    let contact = parse("regescrt").contact().unwrap();
    let headers: Vec<_> = contact.uri.headers().collect();
    assert_eq!(headers, [("Route".into(), "<sip:sip.example.com>".into())]);
    assert_eq!(parse("sdp01").headers().get(&HeaderName::Accept), Some("text/nobodyKnowsThis"));
    let m = parse("inv2543");
    assert_eq!(
        (m.from_tag(), m.top_via().unwrap().branch(), m.max_forwards(), m.content_length()),
        (None, None, None, None)
    );
    assert!(m.body().ends_with(b"m=audio 49217 RTP/AVP 0\r\n"));
    assert_eq!(m.record_routes().unwrap()[0].uri.maddr(), Some("ss1.example.com"));
}

/// What came is kept, byte for byte.
#[test]
fn lossless() {
    for (name, bytes) in vectors() {
        let message = match Message::parse(bytes.clone()) {
            Ok(message) => message,
            Err(ParseError { partial: Some(message), .. }) => *message,
            Err(_) => continue,
        };
        assert_eq!(message.raw(), &bytes, "{name}");
    }
}
