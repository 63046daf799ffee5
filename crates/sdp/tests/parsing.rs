//! What is read, what is refused and where, and that garbage is harmless.

use proptest::prelude::*;
use ringback_sdp::{
    Description, Direction, LocalCodec, LocalMedia, SdpError, accept, answer, fuzz, limits, media_address, offer,
};

const GOOD: &str = "v=0\r\no=jdoe 2890844526 2890842807 IN IP4 10.47.16.5\r\ns=SDP Seminar\r\n\
    i=A Seminar on the session description protocol\r\nu=http://www.example.com/seminars/sdp.pdf\r\n\
    e=j.doe@example.com (Jane Doe)\r\np=+1 617 555-6011\r\nc=IN IP4 224.2.17.12/127\r\nb=X-YZ:128\r\n\
    t=2873397496 2873404696\r\nr=604800 3600 0 90000\r\nz=2882844526 -1h\r\nk=clear:x\r\na=recvonly\r\n\
    m=audio 49170 RTP/AVP 0\r\ni=sound\r\nm=video 51372/2 RTP/AVP 99\r\nc=IN IP6 2001:db8::1\r\nb=AS:64\r\n\
    a=rtpmap:99 h263-1998/90000\r\na=sendrecv\r\n";

#[test]
fn everything_of_rfc_8866_is_read() {
    let description = Description::parse(GOOD).expect("well-formed");
    assert_eq!(description.to_string(), GOOD, "the text stays");
    let origin = description.origin();
    assert_eq!((origin.user, origin.session_id, origin.version), ("jdoe", "2890844526", 2_890_842_807));
    let [audio, video] = description.media() else { panic!("two media lines") };
    assert_eq!(
        (audio.kind(), audio.port(), audio.protocol(), audio.formats()),
        ("audio", 49170, "RTP/AVP", &["0"][..])
    );
    assert_eq!(description.direction_of(audio), Direction::RecvOnly);
    assert_eq!(description.host_of(audio), Some(&"224.2.17.12".into()));
    assert_eq!((video.port(), description.direction_of(video)), (51372, Direction::SendRecv));
    assert_eq!(description.host_of(video), Some(&"2001:db8::1".into()));
}

#[test]
fn line_ends_and_padding_are_tolerated() {
    let unix = GOOD.replace("\r\n", "\n");
    for text in [unix.as_str(), unix.trim_end(), &format!("{GOOD}\r\n"), &format!("{GOOD} \r\n\t\n")] {
        assert_eq!(Description::parse(text).expect("well-formed").media().len(), 2, "{text:?}");
    }
}

/// (the line that replaces `from`, the number of the line at fault)
#[test]
fn bad_lines_are_named() {
    let text = "v=0\r\no=- 1 1 IN IP4 1.1.1.1\r\ns=-\r\nc=IN IP4 1.1.1.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n\
        a=rtpmap:0 PCMU/8000\r\n";
    let rows = [
        ("v=0", "v=1", 1),
        ("v=0", "s=-", 1),
        ("o=- 1 1", "o=- 1 x", 2),
        ("o=- 1 1", "o=- 1 +1", 2),
        ("o=- 1 1", "o=- 1 99999999999999999999", 2),
        ("o=- 1 1 IN IP4 1.1.1.1", "o=- 1 1", 2),
        ("o=- 1 1 IN IP4 1.1.1.1", "o=- 1 1 IN IP4", 2),
        ("s=-", "s", 3),
        ("s=-", "", 3),
        ("s=-", "S=-", 3),
        ("s=-", "x=-", 3),
        ("s=-", "s=a\rb", 3),
        ("s=-", "s=a\0b", 3),
        ("s=-", "o=- 1 1 IN IP4 1.1.1.1", 3),
        ("c=IN IP4 1.1.1.1", "c=IN IP4", 4),
        ("c=IN IP4 1.1.1.1", "c=IN IP5 1.1.1.1", 4),
        ("c=IN IP4 1.1.1.1", "c=ATM IP4 1.1.1.1", 4),
        ("c=IN IP4 1.1.1.1", "c=IN IP4 1.1.1.1 2", 4),
        ("c=IN IP4 1.1.1.1", "c=IN IP4 1.1.1", 4),
        ("c=IN IP4 1.1.1.1", "c=IN IP4 exa mple", 4),
        ("c=IN IP4 1.1.1.1", "c=IN IP4 -x.example", 4),
        ("m=audio 4000", "m=audio 65536", 6),
        ("m=audio 4000", "m=audio -1", 6),
        ("m=audio 4000", "m=audio 4000/x", 6),
        ("m=audio 4000 RTP/AVP 0", "m=audio 4000 RTP/AVP", 6),
        ("m=audio 4000 RTP/AVP 0", "m=audio", 6),
        ("a=rtpmap:0 PCMU/8000", "a=rtpmap:0", 7),
        ("a=rtpmap:0 PCMU/8000", "a=rtpmap:0 PCMU", 7),
        ("a=rtpmap:0 PCMU/8000", "a=rtpmap:0 PCMU/0", 7),
        ("a=rtpmap:0 PCMU/8000", "a=rtpmap:0 /8000", 7),
        ("a=rtpmap:0 PCMU/8000", "a=rtpmap:128 PCMU/8000", 7),
        ("a=rtpmap:0 PCMU/8000", "a=rtpmap:0 PCMU/8000/x", 7),
        ("a=rtpmap:0 PCMU/8000", "a=rtcp:x", 7),
        ("a=rtpmap:0 PCMU/8000", "v=0", 7),
    ];
    for (from, to, at) in rows {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        let bad = text.replace(from, to);
        let error = Description::parse(&bad).map(|_| ()).expect_err(to);
        assert!(matches!(&error, SdpError::Syntax { line, .. } if *line == at), "{to:?}: {error}");
        assert!(error.to_string().starts_with(&format!("SDP line {at}: ")), "{error}");
        assert_eq!(error.status(), 400);
    }
    for empty in ["", "\r\n", "   "] {
        assert_eq!(Description::parse(empty).map(|_| ()), Err(SdpError::Invalid("empty")));
    }
    assert!(Description::parse("v=0\r\ns=-\r\n").is_err(), "no o= line");
    let nowhere = text.replace("c=IN IP4 1.1.1.1\r\n", "");
    let error = answer(&nowhere, &LocalMedia::default()).expect_err("no c= line");
    assert!(matches!(error, SdpError::Syntax { line: 5, .. }), "{error}");
}

#[test]
fn attributes_that_cannot_be_read_harm_nobody_elses_media() {
    let text = "v=0\no=- 1 1 IN IP4 1.1.1.1\nc=IN IP4 1.1.1.1\nm=video 0 RTP/AVP 99\na=rtpmap:99\na=fmtp\n\
        m=audio 4000 RTP/AVP 0\na=fmtp:x y\na=\na=:\na=ptime:\na=maxptime:x\na=candidate:1 1 UDP\n";
    assert!(answer(text, &LocalMedia::default()).is_ok());
}

#[test]
fn growth_is_bounded() {
    let head = "v=0\no=- 1 1 IN IP4 1.1.1.1\nc=IN IP4 1.1.1.1\n";
    let too_large = [
        format!("{head}s={}\n", "x".repeat(limits::BYTES)),
        format!("{head}{}", "a=x\n".repeat(limits::LINES)),
        format!("{head}{}", "m=audio 1 RTP/AVP 0\n".repeat(limits::MEDIA + 1)),
        format!("{head}m=audio 1 RTP/AVP{}\n", " 0".repeat(limits::FORMATS + 1)),
    ];
    for text in &too_large {
        assert!(Description::parse(text).is_err());
    }
    let just_right = format!("{head}{}", "m=audio 1 RTP/AVP 0\n".repeat(limits::MEDIA));
    assert!(answer(&just_right, &LocalMedia::default()).is_ok());
    let long_line = format!("{head}m={}", "y".repeat(60_000));
    let error = Description::parse(&long_line).map(|_| ()).expect_err("malformed");
    assert!(error.to_string().len() < 300, "an excerpt is enough");
}

/// A second parser reads the same out of what we write, and out of what we read.
#[test]
fn an_independent_parser_agrees() {
    let ours = offer(&LocalMedia { address: "2001:db8::7".into(), port: 4000, ..LocalMedia::default() });
    for text in [GOOD, ours.as_str()] {
        let theirs = sdp_types::Session::parse(text.as_bytes()).expect("well-formed to them");
        let description = Description::parse(text).expect("well-formed to us");
        assert_eq!(theirs.origin.sess_id, description.origin().session_id);
        assert_eq!(theirs.origin.sess_version, description.origin().version);
        assert_eq!(theirs.medias.len(), description.media().len());
        for (their, our) in theirs.medias.iter().zip(description.media()) {
            assert_eq!((their.media.as_str(), their.port), (our.kind(), our.port()));
            assert_eq!((their.proto.as_str(), &their.fmt), (our.protocol(), &our.formats().join(" ")));
        }
    }
    let address = media_address(&ours).expect("well-formed").expect("an address");
    assert_eq!(address, "[2001:db8::7]:4000".parse().expect("an address"));
}

fn wishes() -> impl Strategy<Value = LocalMedia> {
    let codec = prop_oneof![
        Just(LocalCodec::pcmu()),
        Just(LocalCodec::pcma()),
        Just(LocalCodec::new("G722", 8000, Some(9))),
        Just(LocalCodec::new("iLBC", 8000, None)),
        Just(LocalCodec { channels: 2, ..LocalCodec::new("opus", 48_000, None) }),
    ];
    let direction = prop::sample::select(Direction::ALL.to_vec());
    let host = prop::sample::select(vec!["192.0.2.1", "2001:db8::1", "media.example.com", "0.0.0.0"]);
    (prop::collection::vec(codec, 1..6), any::<bool>(), direction, host, any::<u8>(), 1..=u16::MAX, any::<u64>())
        .prop_map(|(codecs, dtmf, direction, host, ptime, port, session_id)| LocalMedia {
            address: host.into(),
            codecs,
            dtmf,
            direction,
            ptime,
            port,
            session_id,
            version: session_id,
            ..LocalMedia::default()
        })
}

proptest! {
    /// Both sides of an exchange understand it alike.
    #[test]
    fn an_answer_to_an_offer_is_accepted(alice in wishes(), bob in wishes()) {
        let offered = offer(&alice);
        let in_common = alice.codecs.iter().any(|codec| bob.codecs.contains(codec));
        let theirs = answer(&offered, &bob);
        prop_assert_eq!(theirs.is_ok(), in_common);
        if let Ok(theirs) = theirs {
            let ours = accept(&offered, &theirs.local_sdp, &alice).expect("an answer to our offer");
            let (send, receive) = (ours.send.expect("a codec"), theirs.send.expect("a codec"));
            prop_assert_eq!(&send.name, &receive.name);
            prop_assert_eq!(ours.receive.len(), theirs.receive.len());
            prop_assert_eq!(send.payload_type, theirs.receive[0].payload_type);
            prop_assert_eq!(receive.payload_type, ours.receive[0].payload_type);
            prop_assert_eq!(ours.dtmf_send, theirs.dtmf_receive.first().copied());
            prop_assert_eq!(theirs.dtmf_send, ours.dtmf_receive.first().copied());
            prop_assert_eq!(ours.dtmf_receive.len(), theirs.dtmf_receive.len());
            prop_assert_eq!(ours.dtmf_send.is_some(), alice.dtmf && bob.dtmf);
            prop_assert_eq!(ours.direction.sends() && ours.remote_rtp.is_some(), ours.direction.sends() && bob.address.ip().is_some_and(|ip| !ip.is_unspecified()));
            // Nobody sends what the other does not take.
            prop_assert!(!ours.direction.sends() || theirs.direction.receives() || alice.address == "0.0.0.0".into());
            prop_assert!(!theirs.direction.sends() || ours.direction.receives() || bob.address == "0.0.0.0".into());
            prop_assert!((10..=60).contains(&ours.ptime_ms) && ours.ptime_ms.is_multiple_of(10));
        }
    }

    #[test]
    fn garbage_never_panics(data in prop::collection::vec(any::<u8>(), 0..600)) {
        fuzz::negotiate(&data);
    }

    /// Lines that each make sense, in any order and number, as a fuzzer would find them.
    #[test]
    fn shuffled_lines_never_panic(lines in prop::collection::vec(prop::sample::select(LINES.to_vec()), 0..24), cut in any::<u16>()) {
        let mut text = format!("v=0\no=- 1 1 IN IP4 1.1.1.1\n{}", lines.join("\n"));
        fuzz::negotiate(text.as_bytes());
        let end = text.floor_char_boundary(usize::from(cut) % (text.len() + 1));
        text.truncate(end);
        fuzz::negotiate(text.as_bytes());
    }
}

const LINES: &[&str] = &[
    "s=-",
    "c=IN IP4 192.0.2.9",
    "c=IN IP6 ::",
    "c=IN IP4 name.example",
    "c=IN IP4 239.1.1.1/1/2",
    "t=0 0",
    "t=1 2\r",
    "m=audio 4000 RTP/AVP 0 8 101",
    "m=audio 4000 RTP/AVP 0 0 0 96 97",
    "m=audio 0 RTP/AVP 0",
    "m=audio 0 RTP/AVP",
    "m=audio 4000/3 RTP/AVP 8",
    "m=AUDIO 4000 rtp/avp 9999 8",
    "m=video 4000 RTP/AVP 31",
    "m=image 1 udptl t38",
    "m=audio 4000 RTP/SAVP 0",
    "a=rtpmap:0 PCMA/8000",
    "a=rtpmap:101 telephone-event/8000",
    "a=rtpmap:0 telephone-event/8000",
    "a=rtpmap:96 pcmu/8000/1",
    "a=rtpmap:97 PCMU/8000",
    "a=fmtp:101 0-15",
    "a=fmtp:96  ",
    "a=sendonly",
    "a=inactive ",
    "a=sendrecv\r",
    "a=recvonly",
    "a=ptime:0",
    "a=ptime:65535",
    "a=maxptime:1",
    "a=rtcp:1 IN IP4 0.0.0.0",
    "a=rtcp:0",
    "a=rtcp-mux",
    "a=rtcp-xr:voip-metrics rcvr-rtt=all:10 pkt-loss-rle=",
    "a=rtcp-xr:",
    "a=direction:active 4000",
    "a=direction:both",
    "a=x:\u{e9}\u{1f600}",
    "",
];
