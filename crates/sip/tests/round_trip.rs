//! `parse(emit(x)) == x` for values and whole messages, from generated ones.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests count as tests.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use ringback_sip::{
    Builder, CSeq, HeaderName, HostOwned, Message, Method, NameAddr, Params, StatusCode, Uri, Via, ViaTransport, fuzz,
    validate,
};

fn token() -> impl Strategy<Value = String> {
    "[A-Za-z0-9.!%*_+`'~-]{1,12}"
}

fn host() -> impl Strategy<Value = HostOwned> {
    prop_oneof![
        "([a-z0-9]{1,6}\\.){0,2}[a-z][a-z0-9-]{0,5}".prop_map(|name| HostOwned::Domain(name.into())),
        any::<[u8; 4]>().prop_map(|octets| HostOwned::V4(octets.into())),
        any::<[u8; 16]>().prop_map(|octets| HostOwned::V6(octets.into())),
    ]
}

fn user() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9+.]{1,10}", "\\PC{1,8}", any::<String>().prop_filter("empty", |text| !text.is_empty())]
}

fn uri() -> impl Strategy<Value = Uri> {
    let headers = vec(("[A-Za-z-]{1,6}", "([a-z0-9]|%[0-9A-F]{2}){0,8}"), 0..3);
    let sip = (
        option::of(user()),
        host(),
        option::of(any::<u16>()),
        vec((token(), option::of(any::<String>())), 0..4),
        headers,
    )
        .prop_map(|(user, host, port, params, headers)| {
            let mut uri = Uri::sip(user.as_deref(), host, port).unwrap();
            for (name, value) in &params {
                uri = uri.with_param(name, value.as_deref());
            }
            let headers: Vec<_> = headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
            if headers.is_empty() { uri } else { Uri::parse(&format!("{uri}?{}", headers.join("&"))).unwrap() }
        });
    let tel =
        "tel:\\+?[0-9][0-9().-]{0,9}(;[a-z]{1,5}(=[a-z0-9.+-]{1,8})?){0,2}".prop_map(|text| Uri::parse(&text).unwrap());
    let other = "[a-z]{1,3}x:[a-z0-9/?;:@&=+$,.-]{1,20}".prop_map(|text| Uri::parse(&text).unwrap());
    prop_oneof![4 => sip, 1 => tel, 1 => other]
}

fn params() -> impl Strategy<Value = Params> {
    vec((token(), option::of(prop_oneof![token(), "[^\r\n\\x00]{0,10}"])), 0..4).prop_map(|list| {
        let mut params = Params::default();
        for (name, value) in &list {
            assert!(params.set(name, value.as_deref()));
        }
        params
    })
}

fn name_addr() -> impl Strategy<Value = NameAddr> {
    (option::of("[^\r\n]{0,16}"), uri(), params()).prop_map(|(display_name, uri, params)| NameAddr {
        display_name,
        uri,
        params,
    })
}

fn via() -> impl Strategy<Value = Via> {
    (token(), host(), option::of(any::<u16>()), params()).prop_map(|(transport, host, port, params)| Via {
        transport: ViaTransport::parse(&transport),
        host,
        port,
        params,
    })
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![Just("INVITE".to_owned()), Just("ACK".to_owned()), token()]
        .prop_map(|name| Method::parse(name.as_bytes()).unwrap())
}

fn same<T: std::str::FromStr + ToString + PartialEq + std::fmt::Debug>(value: &T)
where
    T::Err: std::fmt::Debug + PartialEq,
{
    let text = value.to_string();
    assert_eq!(text.parse::<T>().as_ref(), Ok(value), "{}", text);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn uris(uri in uri()) {
        same(&uri);
        assert!(uri.equals(&uri));
        fuzz::uri(uri.as_str().as_bytes());
    }

    #[test]
    fn users(name in user(), host in host()) {
        let uri = Uri::sip(Some(&name), host.clone(), None).unwrap();
        assert_eq!(uri.user().as_deref(), Some(&*name));
        assert_eq!(uri.host(), Some(host.as_host()));
    }

    #[test]
    fn uri_params(uri in uri(), name in "[A-Za-z0-9._-]{1,8}", value in any::<String>()) {
        prop_assume!(matches!(uri.scheme(), ringback_sip::Scheme::Sip));
        let with = uri.with_param(&name, Some(&value));
        assert_eq!(with.param_unescaped(&name).as_deref(), Some(&*value));
        assert_eq!(with.without_param(&name).param(&name), None);
        assert_eq!(with.raw_headers(), uri.raw_headers());
    }

    #[test]
    fn values(name_addr in name_addr(), via in via(), method in method(), number in any::<u32>()) {
        same(&name_addr);
        same(&via);
        same(&CSeq::new(number, method));
    }

    #[test]
    fn param_values(mut params in params(), name in token(), value in "[^\r\n\\x00\"]{0,20}") {
        assert!(params.set(&name, Some(&value)));
        assert_eq!(params.get_unquoted(&name).as_deref(), Some(&*value));
        assert_eq!(Params::parse(params.as_str()).as_ref(), Ok(&params));
        params.remove(&name);
        assert!(!params.contains(&name));
    }

    #[test]
    fn requests(method in method(), uri in uri(), vias in vec(via(), 1..4), from in name_addr(), to in name_addr(),
                contacts in vec(name_addr(), 0..3), extra in vec(("X-[a-z]{1,5}", "[^\r\n\\x00]{0,20}"), 0..4), body in vec(any::<u8>(), 0..50)) {
        let mut builder = Builder::request(&method, &uri);
        for via in &vias {
            builder.header(&HeaderName::Via, via);
        }
        builder.header(&HeaderName::From, &from).header(&HeaderName::To, &to).header(&HeaderName::CallId, "c@h");
        builder.header(&HeaderName::CSeq, CSeq::new(7, method.clone()));
        for contact in &contacts {
            builder.header(&HeaderName::Contact, contact);
        }
        for (name, value) in &extra {
            builder.raw_header(name, value);
        }
        let bytes = builder.body("application/octet-stream", &body).try_finish().unwrap();
        let message = Message::parse(bytes.clone()).unwrap();
        assert_eq!(message.method(), Some(&method));
        assert_eq!(message.request_uri(), Some(&uri));
        assert_eq!(message.vias(), Ok(vias));
        assert_eq!(message.from(), Ok(from));
        assert_eq!(message.to(), Ok(to));
        assert_eq!(message.contacts(), Ok(contacts));
        assert_eq!(&message.body()[..], &body[..]);
        for (name, value) in &extra {
            assert!(message.headers().get_all(&HeaderName::parse(name)).any(|v| v == value.trim_matches([' ', '\t'])));
        }
        if matches!(uri.scheme(), ringback_sip::Scheme::Sip | ringback_sip::Scheme::Tel) && uri.raw_headers().is_none() {
            assert!(validate(&message).is_ok());
        }
        fuzz::message(&bytes);
    }

    #[test]
    fn responses(code in 100u16..700, reason in "[^\\x00-\\x1f\\x7f]{0,20}") {
        let status = StatusCode::new(code).unwrap();
        let message = Message::parse(Builder::response(status, Some(&reason)).try_finish().unwrap()).unwrap();
        assert_eq!((message.status(), message.reason()), (Some(status), Some(&*reason)));
    }

    #[test]
    fn garbage(data in vec(any::<u8>(), 0..400), text in "\\PC{0,100}", sip in "[a-zA-Z0-9 :;,<>\"@=?%&\\[\\]/.\r\n\\\\-]{0,200}") {
        for data in [&data, text.as_bytes(), sip.as_bytes()] {
            fuzz::message(data);
            fuzz::uri(data);
            fuzz::stream(data);
        }
    }
}
