//! Nanoseconds a parse, for a 954-byte INVITE: `cargo bench -p ringback-sip`. The least of several rounds, because what
//! other programs take from the machine only adds.

#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)] // A bench reads a clock and prints.

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use ringback_sip::{Builder, Frame, HeaderName, Message, NameAddr, StatusCode, StreamFramer, Uri, Via, validate};

const INVITE: &str = "INVITE sip:+4930123456@pbx.example.com:5060;transport=udp SIP/2.0\r\n\
Via: SIP/2.0/UDP 192.168.1.20:5060;rport;branch=z9hG4bKPj6bc3d8e1f2a74f0d9\r\n\
Max-Forwards: 70\r\n\
From: \"Alice Example\" <sip:alice@pbx.example.com>;tag=9fxced76sl\r\n\
To: <sip:+4930123456@pbx.example.com>\r\n\
Contact: <sip:alice@192.168.1.20:5060;ob>\r\n\
Call-ID: 3848276298220188511@192.168.1.20\r\n\
CSeq: 17342 INVITE\r\n\
Allow: PRACK, INVITE, ACK, BYE, CANCEL, UPDATE, INFO, SUBSCRIBE, NOTIFY, REFER, MESSAGE, OPTIONS\r\n\
Supported: replaces, 100rel, timer, norefersub\r\n\
Session-Expires: 1800\r\n\
Min-SE: 90\r\n\
User-Agent: Example Phone 7.2.1\r\n\
P-Asserted-Identity: <sip:alice@pbx.example.com>\r\n\
Subject: A call about\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 241\r\n\
\r\n\
v=0\r\n\
o=- 3847582934 3847582934 IN IP4 192.168.1.20\r\n\
s=call\r\n\
c=IN IP4 192.168.1.20\r\n\
t=0 0\r\n\
m=audio 40000 RTP/AVP 0 8 101\r\n\
a=rtpmap:0 PCMU/8000\r\n\
a=rtpmap:8 PCMA/8000\r\n\
a=rtpmap:101 telephone-event/8000\r\n\
a=fmtp:101 0-16\r\n\
a=ptime:20\r\n\
a=sendrecv\r\n";

fn measure<T>(what: &str, mut work: impl FnMut() -> T) {
    const TIMES: u32 = 20_000;
    let mut best = f64::MAX;
    for _ in 0..15 {
        let start = Instant::now();
        for _ in 0..TIMES {
            black_box(work());
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(TIMES));
    }
    println!("{best:8.0} ns  {what}");
}

fn main() {
    let raw = Bytes::from_static(INVITE.as_bytes());
    let message = Message::parse(raw.clone()).unwrap();
    validate(&message).unwrap();
    println!("{} bytes, {} header lines", raw.len(), message.headers().len());

    measure("lines found by memchr alone", || {
        memchr::memchr_iter(b'\n', black_box(&raw)).filter(|&at| raw.get(at) == Some(&b'\n')).count()
    });
    measure("Message::parse", || Message::parse(black_box(raw.clone())).unwrap());
    measure("validate", || validate(black_box(&message)));
    measure("Via, From, To, CSeq, Call-ID, Contact typed", || {
        let m = black_box(&message);
        (
            m.top_via().unwrap(),
            m.from().unwrap(),
            m.to().unwrap(),
            m.cseq().unwrap(),
            m.call_id().map(str::len),
            m.contact().unwrap(),
        )
    });
    measure("Message::parse and these typed", || {
        let m = Message::parse(black_box(raw.clone())).unwrap();
        let typed = (m.top_via().unwrap(), m.from().unwrap(), m.to().unwrap(), m.cseq().unwrap(), m.contact().unwrap());
        (typed, m)
    });
    measure("from_tag, to_tag", || (black_box(&message).from_tag().map(str::len), message.to_tag().map(str::len)));
    measure("Via::parse", || {
        Via::parse(black_box("SIP/2.0/UDP 192.168.1.20:5060;rport;branch=z9hG4bKPj6bc3d8e1f2a74f0d9"))
    });
    measure("NameAddr::parse", || {
        NameAddr::parse(black_box("\"Alice Example\" <sip:alice@pbx.example.com>;tag=9fxced76sl"))
    });
    measure("Uri::parse", || Uri::parse(black_box("sip:+4930123456@pbx.example.com:5060;transport=udp")));

    let (via, from, to) =
        (message.top_via().unwrap(), message.from().unwrap(), message.to().unwrap().with_tag("x8213"));
    let (cseq, contact) =
        (message.cseq().unwrap(), NameAddr::new(Uri::parse("sip:ringback@192.168.1.1:5060").unwrap()));
    measure("a 200 written from typed values", || {
        Builder::response(StatusCode::OK, None)
            .header(&HeaderName::Via, &via)
            .header(&HeaderName::From, &from)
            .header(&HeaderName::To, &to)
            .header(&HeaderName::CallId, "3848276298220188511@192.168.1.20")
            .header(&HeaderName::CSeq, &cseq)
            .header(&HeaderName::Contact, &contact)
            .body("application/sdp", &message.body())
            .finish()
    });
    measure("the same, copied from the request", || {
        let mut builder = Builder::response(StatusCode::OK, None);
        for name in [HeaderName::Via, HeaderName::From, HeaderName::CallId, HeaderName::CSeq] {
            builder.copy_headers(&message, &name);
        }
        builder.copy_header_with_tag(&message, &HeaderName::To, "x8213");
        builder.header(&HeaderName::Contact, &contact).body("application/sdp", &message.body()).finish()
    });
    measure("framed from a stream", || {
        let mut framer = StreamFramer::default();
        framer.push(black_box(&raw));
        let Some(Ok(Frame::Message(bytes))) = framer.next() else { return 0 };
        bytes.len()
    });
}
