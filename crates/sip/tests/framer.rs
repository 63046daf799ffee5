//! Streams: cuts, keep-alives, limits and faults.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests count as tests.

mod common;

use bytes::Bytes;
use common::vector;
use ringback_sip::{Frame, FrameErrorKind, Limits, Message, StreamFramer};

const HEAD: &str = "OPTIONS sip:c@d SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x@y\r\nCSeq: 1 OPTIONS\r\n";

fn message(extra: &str) -> String {
    format!("{HEAD}{extra}\r\n")
}

/// All frames of a stream that is cut into pieces of `cut` bytes. An error ends the list, and says its status.
fn run(stream: &[u8], cut: usize) -> (Vec<Frame>, Option<(FrameErrorKind, u16, bool)>) {
    let mut framer = StreamFramer::default();
    let mut frames = Vec::new();
    for piece in stream.chunks(cut) {
        framer.push(piece);
        while let Some(frame) = framer.next() {
            match frame {
                Ok(frame) => frames.push(frame),
                Err(error) => {
                    framer.push(b"more");
                    assert!(framer.next().is_none() && framer.buffered() == 0);
                    return (frames, Some((error.kind, error.error.status.as_u16(), error.error.partial.is_some())));
                }
            }
        }
    }
    (frames, None)
}

#[test]
fn cut_anywhere() {
    let one = message("Content-Length: 4\r\n") + "body";
    let two = message("X: y\r\n z\r\nl :\r\n  0\r\n");
    let three = vector("wsinv");
    let stream = [one.as_bytes(), two.as_bytes(), &three, one.as_bytes()].concat();
    let expected: Vec<Frame> =
        [one.clone().into(), two.into(), three, Bytes::from(one)].into_iter().map(Frame::Message).collect();
    for cut in 1..stream.len() {
        assert_eq!(run(&stream, cut), (expected.clone(), None), "pieces of {cut}");
    }
    for frame in expected {
        let Frame::Message(bytes) = frame else { panic!() };
        assert!(Message::parse(bytes).is_ok());
    }
}

#[test]
fn keep_alives() {
    let text = message("l: 0\r\n");
    let m = || Frame::Message(text.clone().into());
    // RFC 5626 §3.5.1; what stands between messages is no part of one (RFC 3261 §7.5).
    let stream = format!("\r\n\r\n{text}\r\n\r\n\r\n\r\n{text}\r\n{text}");
    for cut in 1..stream.len() {
        let frames = run(stream.as_bytes(), cut).0;
        assert_eq!(
            frames,
            [Frame::KeepAlivePing, m(), Frame::KeepAlivePing, Frame::KeepAlivePing, m(), Frame::KeepAlivePong, m()],
            "pieces of {cut}"
        );
    }
    // A pong that is awaited does not wait for what follows it.
    let mut framer = StreamFramer::default();
    framer.push(b"\r\n");
    assert!(framer.next().is_none());
    framer.ping_sent();
    assert_eq!(framer.next().map(Result::unwrap), Some(Frame::KeepAlivePong));
    framer.push(b"\r\n\r\n");
    assert_eq!(framer.next().map(Result::unwrap), Some(Frame::KeepAlivePing));
    assert!(framer.next().is_none());
}

#[test]
fn faults() {
    use FrameErrorKind::{BadContentLength, MissingContentLength, NotSip, TooLarge};
    for (stream, expected) in [
        (message(""), (MissingContentLength, 400, true)),
        (message("Content-Length: -1\r\n"), (BadContentLength, 400, true)),
        (message("Content-Length: five\r\n"), (BadContentLength, 400, true)),
        (message("l:\r\n"), (BadContentLength, 400, true)),
        (message("l: 1\r\n 2\r\n"), (BadContentLength, 400, true)),
        (message("l: 1\r\nContent-Length: 2\r\n"), (BadContentLength, 400, true)),
        (message("l: 4294967296\r\n"), (BadContentLength, 400, true)),
        (message("l: 4294967295\r\n"), (TooLarge, 513, true)),
        (message("l: 1000000\r\n"), (TooLarge, 513, true)),
        (message(&format!("X: {}\r\nl: 0\r\n", "y".repeat(33_000))), (TooLarge, 513, true)),
        (format!("SIP/2.0 200 OK\r\n{}\r\n", "Via: SIP/2.0/TCP h\r\n"), (MissingContentLength, 400, false)),
        ("GET / HTTP/1.1\r\n".to_owned(), (NotSip, 400, false)),
        ("x".repeat(33_000), (TooLarge, 513, false)),
        ("\x16\x03\x01\n".to_owned(), (NotSip, 400, false)),
    ] {
        for cut in [1, 7, 4096, stream.len()] {
            assert_eq!(run(stream.as_bytes(), cut), (vec![], Some(expected)), "{stream:.60} {cut}");
        }
    }
    // RFC 4475 §3.1.2.2, on a stream: there is nothing to do but wait.
    assert_eq!(run(&vector("clerr"), 100), (vec![], None));
    assert_eq!(run(&vector("ncl"), 100).1, Some((BadContentLength, 400, true)));
    assert_eq!(run(&vector("mcl01"), 100).1, Some((BadContentLength, 400, true)));
    assert_eq!(run(&vector("inv2543"), 100).1, Some((MissingContentLength, 400, true)));
}

#[test]
fn limits() {
    let text = message("l: 10\r\n") + "0123456789";
    let exact = Limits { head: text.len() - 10, message: text.len() };
    for (limits, fits) in [
        (exact, true),
        (Limits { head: exact.head - 1, ..exact }, false),
        (Limits { message: exact.message - 1, ..exact }, false),
    ] {
        for cut in [1, 50, text.len()] {
            let mut framer = StreamFramer::new(limits);
            let mut frames = Vec::new();
            for piece in text.as_bytes().chunks(cut) {
                framer.push(piece);
                frames.extend(std::iter::from_fn(|| framer.next()));
            }
            assert_eq!(frames.len(), 1);
            assert_eq!(frames[0].is_ok(), fits, "{limits:?} {cut}");
        }
    }
}
