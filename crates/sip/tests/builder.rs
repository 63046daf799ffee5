//! What the builder writes, and what it refuses.

use bytes::Bytes;
use ringback_sip::{
    Builder, CSeq, HeaderName, Message, Method, NameAddr, StatusCode, Uri, Via, ViaTransport, is_valid_header_text,
    validate,
};

#[test]
fn request() {
    let uri = Uri::parse("sip:bob@biloxi.example;lr").unwrap();
    let via = Via::new(ViaTransport::Udp, "192.0.2.1", Some(5060)).with_branch("z9hG4bKx");
    let from = NameAddr::new(Uri::parse("sip:alice@a.example").unwrap()).with_display_name("A \"lice\"").with_tag("t1");
    let mut builder = Builder::request(&Method::Invite, &uri);
    builder
        .header(&HeaderName::Via, &via)
        .header(&HeaderName::From, &from)
        .header(&HeaderName::To, NameAddr::new(uri.clone()))
        .header(&HeaderName::CallId, "abc@h")
        .header(&HeaderName::CSeq, CSeq::new(1, Method::Invite));
    for (name, value) in [("X-One", "1"), ("x-two", "zwei €")] {
        builder.raw_header(name, value);
    }
    let bytes = builder.body("application/sdp", b"v=0\r\n").finish();
    let expected = "INVITE sip:bob@biloxi.example;lr SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx\r\n\
        From: \"A \\\"lice\\\"\" <sip:alice@a.example>;tag=t1\r\n\
        To: <sip:bob@biloxi.example;lr>\r\n\
        Call-ID: abc@h\r\n\
        CSeq: 1 INVITE\r\n\
        X-One: 1\r\n\
        x-two: zwei €\r\n\
        Content-Type: application/sdp\r\n\
        Content-Length: 5\r\n\r\nv=0\r\n";
    assert_eq!(bytes, expected);
    let m = Message::parse(bytes).unwrap();
    assert!(validate(&m).is_ok());
    assert_eq!(m.from(), Ok(from));
    assert_eq!(m.top_via(), Ok(via));
}

#[test]
fn response() {
    assert_eq!(Builder::response(StatusCode::OK, None).finish(), "SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(
        Builder::response(StatusCode::NOT_FOUND, Some("Weg")).finish(),
        "SIP/2.0 404 Weg\r\nContent-Length: 0\r\n\r\n"
    );
    assert_eq!(StatusCode::new(699).unwrap().reason(), "Global Failure");
    assert_eq!((StatusCode::new(99), StatusCode::new(700)), (None, None));
}

#[test]
fn nothing_is_smuggled() {
    let attacks =
        ["x\r\nVia: evil", "x\nVia: evil", "x\rVia: evil", "x\0", "\r\n\r\nBYE sip:a@b SIP/2.0", "\"\0\"", "\\\0"];
    let plain: Bytes = "SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n".into();
    for attack in attacks {
        assert!(!is_valid_header_text("X", attack), "{attack:?}");
        assert_eq!(Builder::response(StatusCode::OK, None).raw_header("X", attack).finish(), plain);
        assert_eq!(Builder::response(StatusCode::OK, None).header(&HeaderName::Subject, attack).finish(), plain);
        assert_eq!(Builder::response(StatusCode::OK, Some(attack)).finish(), plain);
        assert!(Builder::response(StatusCode::OK, Some(attack)).try_finish().is_err());
        assert!(Builder::response(StatusCode::OK, None).raw_header("X", attack).try_finish().is_err());
        assert!(Builder::response(StatusCode::OK, None).body(attack, b"").try_finish().is_err());
        let uri = Uri::parse("sip:a@b").unwrap();
        let method = Method::Other(attack.into());
        assert_eq!(Builder::request(&method, &uri).finish(), Bytes::new());
        assert!(Builder::request(&method, &uri).try_finish().is_err());
        assert!(Uri::parse(&format!("sip:a@{attack}")).is_err());
        // Typed values cannot carry it either.
        let mut from = NameAddr::new(uri.clone()).with_display_name(attack).with_tag(attack);
        from.params.set("x", Some(attack));
        let via = Via::new(ViaTransport::Other(attack.into()), attack, None).with_branch(attack);
        let bytes = Builder::response(StatusCode::OK, None)
            .header(&HeaderName::From, &from)
            .header(&HeaderName::Via, &via)
            .finish();
        let m = Message::parse(bytes.clone()).unwrap_or_else(|error| panic!("{error}: {bytes:?}"));
        assert!(m.headers().len() <= 2 && m.vias() == Ok(vec![]), "{bytes:?}");
    }
    for name in ["", "X Y", "X:", "X\r\n", "Ü", "X\0"] {
        assert!(!is_valid_header_text(name, "x"));
        assert_eq!(Builder::response(StatusCode::OK, None).raw_header(name, "x").finish(), plain);
        assert_eq!(
            Builder::response(StatusCode::OK, None).header(&HeaderName::Other(name.into()), "x").finish(),
            plain
        );
    }
    // The length is the builder's own.
    for name in ["Content-Length", "l", "CONTENT-LENGTH"] {
        assert_eq!(Builder::response(StatusCode::OK, None).raw_header(name, "7").finish(), plain);
    }
}

/// RFC 3261 §8.2.6.2: a response's From, To, Call-ID, CSeq and Vias are the request's, to the byte, but for folds.
#[test]
fn copies() {
    let raw = "OPTIONS sip:a@b SIP/2.0\r\nv: SIP/2.0/UDP one;branch=1\r\nVia: SIP/2.0/UDP two,\r\n SIP/2.0/UDP three\r\n\
        t: \"nul \\\0 caf\u{e9}\"\r\n\t<sip:a@b>\r\nf: sip:c@d;tag=9\r\n\r\n";
    let m = Message::parse(raw.into()).unwrap();
    let bytes = Builder::response(StatusCode::OK, None)
        .copy_headers(&m, &HeaderName::Via)
        .copy_headers(&m, &HeaderName::From)
        .copy_header_with_tag(&m, &HeaderName::To, "abc")
        .copy_headers(&m, &HeaderName::CallId)
        .try_finish()
        .unwrap();
    let expected = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP one;branch=1\r\nVia: SIP/2.0/UDP two,   SIP/2.0/UDP three\r\n\
        From: sip:c@d;tag=9\r\nTo: \"nul \\\0 caf\u{e9}\"  \t<sip:a@b>;tag=abc\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(bytes, expected);
    let again = Message::parse(bytes).unwrap();
    assert_eq!(again.to().unwrap().tag(), Some("abc"));
    // Written from the typed value, the quoted pair may stay as well.
    let bytes = Builder::response(StatusCode::OK, None).header(&HeaderName::To, m.to().unwrap()).try_finish().unwrap();
    assert_eq!(Message::parse(bytes).unwrap().to(), m.to());
    assert!(Builder::response(StatusCode::OK, None).copy_header_with_tag(&m, &HeaderName::To, "a;b").error().is_some());
}
