//! IPv6 addresses where RFC 5118 §4 says that they go wrong.

#![allow(clippy::unwrap_used)] // Helpers of tests count as tests.

use std::net::IpAddr;

use ringback_sip::{Message, Uri, Via, validate};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn register(uri: &str, via: &str, contact: &str) -> Message {
    let text = format!(
        "REGISTER {uri} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: <sip:a@example.com>;tag=1\r\nTo: <sip:a@example.com>\r\n\
         Call-ID: ipv6@example.com\r\nCSeq: 1 REGISTER\r\nContact: {contact}\r\nContent-Length: 0\r\n\r\n"
    );
    Message::parse(text.into_bytes().into()).unwrap()
}

/// §4.1, §4.3, §4.4: what is within the brackets is the address, and a port stands after them.
#[test]
fn a_reference_is_in_brackets_and_a_port_after_them() {
    let message = register(
        "sip:[2001:db8::10]",
        "SIP/2.0/UDP [2001:db8::9:1]:5062;branch=z9hG4bK1",
        "\"Caller\" <sip:caller@[2001:db8::1]>",
    );
    assert!(validate(&message).is_ok());
    let host = |uri: &Uri| (uri.host().and_then(|host| host.ip()), uri.port());
    assert_eq!(host(message.request_uri().unwrap()), (Some(ip("2001:db8::10")), None));
    assert_eq!(host(&message.contact().unwrap().uri), (Some(ip("2001:db8::1")), None));
    let via = &message.vias().unwrap()[0];
    assert_eq!((via.host.ip(), via.port), (Some(ip("2001:db8::9:1")), Some(5062)));
    let ambiguous = Uri::parse("sip:[2001:db8::10:5070]").unwrap();
    assert_eq!(host(&ambiguous), (Some(ip("2001:db8::10:5070")), None));
    let clear = Uri::parse("sip:[2001:db8::10]:5070").unwrap();
    assert_eq!(host(&clear), (Some(ip("2001:db8::10")), Some(5070)));
}

/// §4.2: without brackets nobody knows where the address ends.
#[test]
fn an_address_without_brackets_is_no_host() {
    assert!(Uri::parse("sip:2001:db8::10").is_err());
    let text = "REGISTER sip:2001:db8::10 SIP/2.0\r\nVia: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
                From: <sip:a@example.com>;tag=1\r\nTo: <sip:a@example.com>\r\nCall-ID: x\r\nCSeq: 1 REGISTER\r\n\r\n";
    let error = Message::parse(text.as_bytes().to_vec().into()).unwrap_err();
    assert_eq!(error.status.as_u16(), 400);
    assert!(error.partial.is_some(), "it can be answered");
}

/// §4.5: old implementations leave the brackets of `received` out, others put them.
#[test]
fn what_was_received_from_is_understood_with_brackets_and_without() {
    for received in ["[2001:db8::9:255]", "2001:db8::9:255"] {
        let via =
            Via::parse(&format!("SIP/2.0/UDP [2001:db8::9:1];received={received};branch=z9hG4bKas3-111")).unwrap();
        assert_eq!(via.received_ip(), Some(ip("2001:db8::9:255")), "{received}");
        assert_eq!(via.branch(), Some("z9hG4bKas3-111"));
    }
}

/// §4.7: both kinds of addresses in one message.
#[test]
fn both_kinds_of_addresses_stand_side_by_side() {
    let vias = "SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKas3-111, SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKjhja8781hjuaij65144, \
                SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bK451jj;received=192.0.2.200";
    let message = register("sip:example.com", vias, "<sip:a@192.0.2.1>, <sip:a@[2001:db8::1]>");
    let vias = message.vias().unwrap();
    let places: Vec<_> = vias.iter().map(|via| (via.host.ip().unwrap(), via.port, via.received_ip())).collect();
    assert_eq!(
        places,
        [
            (ip("2001:db8::9:1"), Some(6050), None),
            (ip("192.0.2.1"), None, None),
            (ip("2001:db8::9:255"), None, Some(ip("192.0.2.200"))),
        ]
    );
    assert_eq!(message.contacts().unwrap().len(), 2);
}

/// §4.9: an IPv4 address mapped into IPv6.
#[test]
fn a_mapped_address_is_read() {
    let uri = Uri::parse("sip:user@[::ffff:192.0.2.10]:5080").unwrap();
    let host = uri.host().and_then(|host| host.ip()).unwrap();
    assert_eq!((host, uri.port()), (ip("192.0.2.10"), Some(5080)), "it is reached by IPv4");
    assert_eq!(uri.to_string(), "sip:user@[::ffff:192.0.2.10]:5080", "and told as it was");
}

/// §4.10: what the grammar of RFC 3261 lets pass, three colons in a row, is no address. It is told as an error, or it leads nowhere.
#[test]
fn an_address_by_the_old_grammar_leads_nowhere() {
    for text in
        ["sip:user@[2001:db8:::192.0.2.1]", "sip:user@[2001:db8::1", "sip:user@[]", "sip:user@[2001:db8::10]5060"]
    {
        let led = Uri::parse(text).ok().and_then(|uri| uri.host().and_then(|host| host.ip()));
        assert_eq!(led, None, "{text}");
    }
}
