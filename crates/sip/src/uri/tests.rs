use super::*;

fn uri(text: &str) -> Uri {
    Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn parts_of_a_sip_uri() {
    let u = uri("sip:alice:secretword@atlanta.com:5070;transport=tcp;lr;x=%41b?subject=project%20x&priority=urgent");
    assert_eq!(u.scheme(), Scheme::Sip);
    assert_eq!(u.user().as_deref(), Some("alice"));
    assert_eq!(u.raw_password(), Some("secretword"));
    assert_eq!(u.host(), Some(Host::Domain("ATLANTA.com")));
    assert_eq!(u.port(), Some(5070));
    assert_eq!(u.transport(), Some("tcp"));
    assert!(u.is_loose_router());
    assert_eq!(u.param("X"), Some(Some("%41b")));
    assert_eq!(u.param_unescaped("x").as_deref(), Some("Ab"));
    assert_eq!(u.param("y"), None);
    let headers: Vec<_> = u.headers().map(|(n, v)| format!("{n}: {v}")).collect();
    assert_eq!(headers, ["subject: project x", "priority: urgent"]);
}

#[test]
fn request_uri_loses_headers_and_method() {
    let u = uri("sip:atlanta.com;method=REGISTER;lr?to=alice%40atlanta.com");
    assert_eq!(u.request_uri().as_str(), "sip:atlanta.com;lr");
    assert_eq!(uri("sip:a@b").request_uri().as_str(), "sip:a@b");
}

/// RFC 3261 §19.1.3.
#[test]
fn examples_parse() {
    for text in [
        "sip:alice@atlanta.com",
        "sip:alice:secretword@atlanta.com;transport=tcp",
        "sips:alice@atlanta.com?subject=project%20x&priority=urgent",
        "sip:+1-212-555-1212:1234@gateway.com;user=phone",
        "sips:1212@gateway.com",
        "sip:alice@192.0.2.4",
        "sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com",
        "sip:alice;day=tuesday@atlanta.com",
        "sip:[2001:db8::10]:5070;transport=udp",
        "sip:user@[2001:db8::1]",
        "sip:*97#@pbx",
        "sip:host.example.",
        "sip:user@host_name",
        "tel:+1-201-555-0123",
        "tel:7042;phone-context=example.com",
        "tel:*67#;phone-context=+1",
        "http://www.example.com",
        "isbn:2983792873",
        "urn:service:sos",
    ] {
        assert_eq!(uri(text).to_string(), text);
    }
}

#[test]
fn refused() {
    for (text, error) in [
        ("", UriError::Scheme),
        ("alice@atlanta.com", UriError::Scheme),
        ("1sip:alice@atlanta.com", UriError::Scheme),
        ("<sip:a@b>", UriError::Scheme),
        (" sip:a@b", UriError::Scheme),
        ("sip:", UriError::Host),
        ("sip:@host", UriError::User),
        ("sip::pw@host", UriError::User),
        ("sip:alice@", UriError::Host),
        ("sip:alice@at lanta", UriError::Character),
        ("sip:al ice@atlanta", UriError::Character),
        ("sip:al\"ice@atlanta", UriError::Character),
        ("sip:a%4@b", UriError::Escape),
        ("sip:a%zz@b", UriError::Escape),
        ("sip:a@b:", UriError::Port),
        ("sip:a@b:65536", UriError::Port),
        ("sip:a@b:x", UriError::Port),
        ("sip:a@[::1", UriError::Host),
        ("sip:a@[::g]", UriError::Host),
        ("sip:a@300.1.1.1", UriError::Host),
        ("sip:a@1.2.3", UriError::Host),
        ("sip:a@b..c", UriError::Host),
        ("sip:a@b;", UriError::Parameter),
        ("sip:a@b;;lr", UriError::Parameter),
        ("sip:a@b;=x", UriError::Parameter),
        ("sip:a@b; lr", UriError::Parameter),
        ("sip:a@b;x=%4", UriError::Escape),
        ("sip:a@b?", UriError::Header),
        ("sip:a@b?x", UriError::Header),
        ("sip:a@b?x=1&", UriError::Header),
        ("sip:a@b\r\nX: y", UriError::Character),
        ("sip:a\0@b", UriError::Character),
        ("tel:", UriError::User),
        ("tel:+", UriError::User),
        ("tel:x", UriError::Character),
        ("isbn:", UriError::Character),
        ("isbn:a b", UriError::Character),
    ] {
        assert_eq!(Uri::parse(text).err(), Some(error), "{text:?}");
    }
    assert_eq!(Uri::parse(&format!("sip:{}@b", "a".repeat(MAX_URI_LEN))).err(), Some(UriError::TooLong));
}

/// RFC 3261 §19.1.4: "The following URIs are equivalent".
#[test]
fn equivalent() {
    for (a, b) in [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
        ("SIP:alice@[2001:DB8::1]", "sip:alice@[2001:db8:0::1]"),
        ("sip:alice@192.0.2.4", "sip:alice@192.0.2.04"),
        ("tel:+1-201-555-0123", "tel:+1(201)5550123"),
        ("tel:7042;phone-context=Example.com", "TEL:70-42;phone-context=example.COM"),
    ] {
        assert!(uri(a).equals(&uri(b)), "{a} {b}");
        assert!(uri(b).equals(&uri(a)), "{b} {a}");
    }
}

/// RFC 3261 §19.1.4: "The following URIs are not equivalent".
#[test]
fn not_equivalent() {
    for (a, b) in [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        // "equality is not transitive": these two are each equivalent to a third one.
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
        ("sip:alice@atlanta.com", "sips:alice@atlanta.com"),
        ("sip:atlanta.com", "sip:alice@atlanta.com"),
        ("sip:alice@atlanta.com;maddr=1.2.3.4", "sip:alice@atlanta.com"),
        ("sip:alice@atlanta.com;ttl=1", "sip:alice@atlanta.com"),
        ("sip:alice@atlanta.com;user=phone", "sip:alice@atlanta.com"),
        ("sip:alice:pw@atlanta.com", "sip:alice@atlanta.com"),
        // An escaped reserved character is another one.
        ("sip:a%3Bb@atlanta.com", "sip:a;b@atlanta.com"),
        ("sip:a@b?x=1&x=2", "sip:a@b?x=1&x=1"),
        ("tel:+1-201-555-0123", "tel:1-201-555-0123"),
        ("tel:7042;phone-context=example.com", "tel:7042"),
    ] {
        assert!(!uri(a).equals(&uri(b)), "{a} {b}");
        assert!(!uri(b).equals(&uri(a)), "{b} {a}");
    }
}

#[test]
fn building() {
    assert_eq!(
        Uri::sip(Some("a b@c:%"), "pbx.example", Some(5070)).unwrap().as_str(),
        "sip:a%20b%40c%3A%25@pbx.example:5070"
    );
    assert_eq!(Uri::sip(None, "2001:db8::1", None).unwrap().as_str(), "sip:[2001:db8::1]");
    assert_eq!(Uri::sip(Some("a"), "evil\r\nhost", None), Err(UriError::Character));
    assert_eq!(Uri::sip(Some(""), "host", None), Err(UriError::User));
    let u = Uri::from_address(Some("ringback"), "[::1]:5060".parse().unwrap());
    assert_eq!(u.as_str(), "sip:ringback@[::1]:5060");
    assert_eq!(u.host().and_then(|h| h.ip()), Some("::1".parse().unwrap()));
    assert_eq!(u.with_param("transport", Some("tcp")).as_str(), "sip:ringback@[::1]:5060;transport=tcp");
    let u = uri("sip:a@b;transport=udp;x?h=v");
    assert_eq!(u.with_param("Transport", Some("t c")).as_str(), "sip:a@b;x;Transport=t%20c?h=v");
    assert_eq!(u.without_param("x").as_str(), "sip:a@b;transport=udp?h=v");
    assert_eq!(u.without_param("y"), u);
    assert_eq!(Uri::sip(Some("ü\r\n"), "h", None).unwrap().user().as_deref(), Some("ü\r\n"));
}
