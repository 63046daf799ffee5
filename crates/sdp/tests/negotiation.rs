//! Offer and answer, one rule a test, the pairs as tables where there are many.

use ringback_sdp::{
    Direction, Families, LocalCodec, LocalMedia, MediaHost, Negotiated, Role, SdpError, accept, answer, answered,
    check_answer, check_offer, media_address, offer, redirected,
};

fn local() -> LocalMedia {
    LocalMedia {
        address: "198.51.100.7".into(),
        port: 30_000,
        session_id: 77,
        version: 5,
        user: "pbx".into(),
        ..LocalMedia::default()
    }
}

/// A description with this body after the usual first lines.
fn sdp(body: &[&str]) -> String {
    let head = ["v=0", "o=peer 1 1 IN IP4 192.0.2.9", "s=-", "c=IN IP4 192.0.2.9", "t=0 0"];
    head.iter().chain(body).map(|line| format!("{line}\r\n")).collect()
}

fn answer_to(body: &[&str]) -> Result<Negotiated, SdpError> {
    let offer = sdp(body);
    let negotiated = answer(&offer, &local())?;
    assert_eq!(check_answer(&offer, &negotiated.local_sdp), Ok(()), "{}", negotiated.local_sdp);
    assert_eq!(answered(&offer, &negotiated.local_sdp, &local()).as_ref(), Ok(&negotiated), "read back");
    Ok(negotiated)
}

fn lines_of<'a>(sdp: &'a str, start: &str) -> Vec<&'a str> {
    sdp.split("\r\n").filter(|line| line.starts_with(start)).collect()
}

#[test]
fn an_offer_lists_all_codecs_by_preference_and_telephone_event() {
    let expected = "v=0\r\no=pbx 77 5 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n\
        m=audio 30000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n";
    assert_eq!(offer(&local()), expected);
}

#[test]
fn dynamic_codecs_get_numbers_of_their_own_and_telephone_event_one_for_each_clock_rate() {
    let opus = LocalCodec { channels: 2, fmtp: Some("useinbandfec=1".into()), ..LocalCodec::new("opus", 48_000, None) };
    let many = LocalMedia { codecs: vec![opus, LocalCodec::new("X", 8000, None), LocalCodec::pcmu()], ..local() };
    let text = offer(&many);
    assert_eq!(lines_of(&text, "m="), ["m=audio 30000 RTP/AVP 96 97 0 101 102"]);
    assert_eq!(
        lines_of(&text, "a=rtpmap"),
        [
            "a=rtpmap:96 opus/48000/2",
            "a=rtpmap:97 X/8000",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:101 telephone-event/8000",
            "a=rtpmap:102 telephone-event/48000",
        ]
    );
    assert_eq!(lines_of(&text, "a=fmtp"), ["a=fmtp:96 useinbandfec=1", "a=fmtp:101 0-16", "a=fmtp:102 0-16"]);
}

/// Payload type of telephone-event towards the peer.
fn sent(negotiated: &ringback_sdp::Negotiated) -> Option<u8> {
    negotiated.dtmf_send.map(|event| event.payload_type)
}

fn received(negotiated: &ringback_sdp::Negotiated) -> Option<u8> {
    negotiated.dtmf_receive.first().map(|event| event.payload_type)
}

/// (lines of the offer, m-line of the answer, what we send: name and payload type, DTMF towards the peer)
type CodecRow = (&'static [&'static str], &'static str, (&'static str, u8), Option<u8>);

#[test]
fn the_answer_has_what_is_common_by_our_preference_under_the_offers_numbers() {
    let rows: &[CodecRow] = &[
        (&["m=audio 4000 RTP/AVP 0"], "m=audio 30000 RTP/AVP 0", ("PCMU", 0), None),
        (&["m=audio 4000 RTP/AVP 8 0"], "m=audio 30000 RTP/AVP 0 8", ("PCMU", 0), None),
        (&["m=audio 4000 RTP/AVP 18 8"], "m=audio 30000 RTP/AVP 8", ("PCMA", 8), None),
        (
            &[
                "m=audio 4000 RTP/AVP 8 96",
                "a=rtpmap:8 PCMA/8000",
                "a=rtpmap:96 telephone-event/8000",
                "a=fmtp:96 0-15",
            ],
            "m=audio 30000 RTP/AVP 8 96",
            ("PCMA", 8),
            Some(96),
        ),
        // A codec with a static number may come under a dynamic one, in any case of letters.
        (&["m=audio 4000 RTP/AVP 110", "a=rtpmap:110 pcmu/8000/1"], "m=audio 30000 RTP/AVP 110", ("PCMU", 110), None),
        // Twice the same: the first number.
        (&["m=audio 4000 RTP/AVP 99 0", "a=rtpmap:99 PCMU/8000"], "m=audio 30000 RTP/AVP 99", ("PCMU", 99), None),
        // Another clock rate is another codec, a number beyond the range none.
        (&["m=audio 4000 RTP/AVP 99 8 300", "a=rtpmap:99 PCMU/16000"], "m=audio 30000 RTP/AVP 8", ("PCMA", 8), None),
    ];
    for (body, media, (name, payload_type), dtmf) in rows {
        let negotiated = answer_to(body).expect("an answer");
        assert_eq!(lines_of(&negotiated.local_sdp, "m="), [*media], "{body:?}");
        let send = negotiated.send.as_ref().expect("a codec");
        assert_eq!((&*send.name, send.payload_type), (*name, *payload_type), "{body:?}");
        assert_eq!((sent(&negotiated), received(&negotiated)), (*dtmf, *dtmf), "{body:?}");
        assert_eq!(negotiated.remote_rtp, Some("192.0.2.9:4000".parse().expect("an address")));
        assert_eq!(negotiated.remote_rtcp, Some("192.0.2.9:4001".parse().expect("an address")));
    }
}

#[test]
fn without_dtmf_wanted_none_is_answered() {
    let offer = sdp(&["m=audio 4000 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000"]);
    let negotiated = answer(&offer, &LocalMedia { dtmf: false, ..local() }).expect("an answer");
    assert_eq!(lines_of(&negotiated.local_sdp, "m="), ["m=audio 30000 RTP/AVP 0"]);
    assert_eq!((sent(&negotiated), received(&negotiated)), (None, None));
}

#[test]
fn lines_that_are_not_ours_are_rejected_in_their_places() {
    let negotiated = answer_to(&[
        "m=video 4002 RTP/AVP 31 32",
        "m=audio 4004 RTP/SAVP 0",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz",
        "m=audio 4006 RTP/AVP 18",
        "m=audio 4008 RTP/AVP 8",
        "m=audio 4010 RTP/AVP 0",
        "m=image 4012 udptl t38",
        "m=audio 0 RTP/AVP 0",
        "m=message 4014 TCP/MSRP *",
    ])
    .expect("an answer");
    assert_eq!(
        lines_of(&negotiated.local_sdp, "m="),
        [
            "m=video 0 RTP/AVP 31 32",
            "m=audio 0 RTP/SAVP 0",
            "m=audio 0 RTP/AVP 18",
            "m=audio 30000 RTP/AVP 8",
            "m=audio 0 RTP/AVP 0",
            "m=image 0 udptl t38",
            "m=audio 0 RTP/AVP 0",
            "m=message 0 TCP/MSRP *",
        ]
    );
    assert_eq!(negotiated.remote_rtp, Some("192.0.2.9:4008".parse().expect("an address")));
}

#[test]
fn nothing_in_common_is_refused_with_488() {
    let rows: &[&[&str]] = &[
        &["m=audio 4000 RTP/AVP 18"],
        &["m=audio 4000 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000"],
        &["m=audio 4000 RTP/SAVP 0"],
        &["m=audio 4000 UDP/TLS/RTP/SAVPF 0"],
        &["m=audio 4000 RTP/AVPF 0"],
        &["m=audio 4000/2 RTP/AVP 0"],
        &["m=audio 4000 RTP/AVP 0", "c=IN IP4 224.2.1.1/127"],
        &["m=audio 0 RTP/AVP 0", "m=video 4000 RTP/AVP 31"],
    ];
    for body in rows {
        let error = answer_to(body).expect_err("no answer");
        assert!(matches!(error, SdpError::NothingInCommon(_)), "{body:?}: {error}");
        assert_eq!(error.status(), 488);
    }
}

#[test]
fn an_offer_with_nothing_switched_on_is_answered_with_nothing() {
    for body in [&[][..], &["m=audio 0 RTP/AVP 0"], &["m=audio 0 RTP/AVP 0", "m=video 0 RTP/AVP 31"]] {
        let negotiated = answer_to(body).expect("an answer");
        assert_eq!((negotiated.send, negotiated.remote_rtp), (None, None));
        assert!(negotiated.receive.is_empty());
        assert!(!negotiated.remote_held, "switched off is not on hold");
        assert_eq!(lines_of(&negotiated.local_sdp, "m=").len(), body.len());
    }
}

#[test]
fn direction_is_mirrored_and_limited_by_what_we_want() {
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    // (offered, wanted by us, answered, held)
    let rows = [
        (SendRecv, SendRecv, SendRecv, false),
        (SendOnly, SendRecv, RecvOnly, true),
        (RecvOnly, SendRecv, SendOnly, false),
        (Inactive, SendRecv, Inactive, true),
        (SendRecv, SendOnly, SendOnly, false),
        (SendOnly, SendOnly, Inactive, true),
        (RecvOnly, SendOnly, SendOnly, false),
        (RecvOnly, RecvOnly, Inactive, false),
        (SendRecv, Inactive, Inactive, false),
    ];
    for (offered, wanted, expected, held) in rows {
        let attribute = format!("a={offered}");
        for body in [[&attribute, "m=audio 4000 RTP/AVP 0"], ["m=audio 4000 RTP/AVP 0", &attribute]] {
            let negotiated = answer(&sdp(&body), &LocalMedia { direction: wanted, ..local() }).expect("an answer");
            assert_eq!(negotiated.direction, expected, "{offered} {wanted}");
            assert_eq!(negotiated.remote_direction, offered);
            assert_eq!(negotiated.remote_held, held, "{offered} {wanted}");
            assert_eq!(lines_of(&negotiated.local_sdp, &format!("a={expected}")).len(), 1, "{}", negotiated.local_sdp);
        }
    }
    // The media line's own attribute wins over the session's.
    let negotiated = answer_to(&["a=inactive", "m=audio 4000 RTP/AVP 0", "a=sendonly"]).expect("an answer");
    assert_eq!(negotiated.direction, RecvOnly);
}

#[test]
fn the_null_address_is_hold() {
    // (address, attribute, our direction)
    let rows = [
        ("IN IP4 0.0.0.0", "a=sendrecv", Direction::RecvOnly),
        ("IN IP4 0.0.0.0", "a=inactive", Direction::Inactive),
        ("IN IP6 ::", "a=sendonly", Direction::RecvOnly),
    ];
    for (address, attribute, direction) in rows {
        let negotiated = answer_to(&["m=audio 4000 RTP/AVP 0", &format!("c={address}"), attribute]).expect("an answer");
        assert_eq!((negotiated.remote_rtp, negotiated.remote_rtcp), (None, None));
        assert_eq!((negotiated.direction, negotiated.remote_held), (direction, true), "{address} {attribute}");
        assert!(negotiated.send.is_some());
    }
}

#[test]
fn as_the_offerer_we_are_held_only_where_we_would_have_spoken() {
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    // (offered by us, answered, what we may do, held)
    let rows = [
        (SendRecv, SendRecv, SendRecv, false),
        (SendRecv, SendOnly, RecvOnly, true),
        (SendRecv, Inactive, Inactive, true),
        (SendRecv, RecvOnly, SendOnly, false),
        (SendOnly, RecvOnly, SendOnly, false),
        (SendOnly, Inactive, Inactive, true),
        // A peer that does not know the attribute answers sendrecv: our hold stands.
        (SendOnly, SendRecv, SendOnly, false),
        (Inactive, Inactive, Inactive, false),
        (RecvOnly, SendOnly, RecvOnly, false),
    ];
    for (offered, answered, expected, held) in rows {
        let local = LocalMedia { direction: offered, ..local() };
        let remote = sdp(&["m=audio 4000 RTP/AVP 0", &format!("a={answered}")]);
        let negotiated = accept(&offer(&local), &remote, &local).expect("settled");
        assert_eq!((negotiated.direction, negotiated.remote_held), (expected, held), "{offered} {answered}");
    }
}

#[test]
fn the_first_audio_codec_of_the_answer_is_used_each_way_under_the_receivers_number() {
    let codecs = vec![LocalCodec::new("X", 8000, None), LocalCodec::pcmu(), LocalCodec::pcma()];
    let local = LocalMedia { codecs, ..local() };
    let offer = offer(&local);
    assert_eq!(lines_of(&offer, "m="), ["m=audio 30000 RTP/AVP 96 0 8 101"]);
    let remote = sdp(&[
        "m=audio 4000 RTP/AVP 100 3 8 120 0",
        "a=rtpmap:100 telephone-event/8000",
        "a=rtpmap:120 x/8000",
        "a=ptime:30",
    ]);
    let negotiated = accept(&offer, &remote, &local).expect("settled");
    let send = negotiated.send.as_ref().expect("a codec");
    assert_eq!((&*send.name, send.payload_type), ("PCMA", 8), "GSM was not offered, telephone-event is no audio");
    let receive: Vec<_> = negotiated.receive.iter().map(|codec| (&*codec.name, codec.payload_type)).collect();
    assert_eq!(receive, [("PCMA", 8), ("X", 96), ("PCMU", 0)]);
    assert_eq!((sent(&negotiated), received(&negotiated)), (Some(100), Some(101)));
    assert_eq!(negotiated.ptime_ms, 30);
    assert_eq!(negotiated.local_sdp, offer);
}

#[test]
fn an_answer_that_does_not_fit_is_an_error() {
    let offer = offer(&local());
    let rows: &[(&[&str], u16)] = &[
        (&[], 488),
        (&["m=audio 4000 RTP/AVP 0", "m=audio 4002 RTP/AVP 0"], 488),
        (&["m=video 4000 RTP/AVP 31"], 488),
        (&["m=audio 0 RTP/AVP 0"], 488),
        (&["m=audio 4000 RTP/SAVP 0"], 488),
        (&["m=audio 4000 RTP/AVP 18"], 488),
        (&["m=audio 99999 RTP/AVP 0"], 400),
    ];
    for (body, status) in rows {
        let error = accept(&offer, &sdp(body), &local()).expect_err("an error");
        assert_eq!(error.status(), *status, "{body:?}: {error}");
    }
}

#[test]
fn ptime_is_the_peers_wish_within_bounds() {
    let rows: &[(&[&str], u8)] = &[
        (&[], 20),
        (&["a=ptime:30"], 30),
        (&["a=ptime:20.0"], 20),
        (&["a=ptime:25"], 20),
        (&["a=ptime:5"], 10),
        (&["a=ptime:0"], 20),
        (&["a=ptime:200"], 60),
        (&["a=ptime:abc"], 20),
        (&["a=maxptime:10"], 10),
        (&["a=ptime:60", "a=maxptime:40"], 40),
        (&["a=ptime:10", "a=maxptime:150"], 10),
    ];
    for (attributes, expected) in rows {
        let body: Vec<&str> = ["m=audio 4000 RTP/AVP 0"].iter().chain(*attributes).copied().collect();
        let negotiated = answer_to(&body).expect("an answer");
        assert_eq!(negotiated.ptime_ms, *expected, "{attributes:?}");
        assert_eq!(lines_of(&negotiated.local_sdp, "a=ptime"), [format!("a=ptime:{expected}")]);
    }
}

#[test]
fn rtcp_goes_where_the_peer_says() {
    let rows: &[(&[&str], Option<&str>)] = &[
        (&["m=audio 4000 RTP/AVP 0"], Some("192.0.2.9:4001")),
        (&["m=audio 4000 RTP/AVP 0", "a=rtcp:53020"], Some("192.0.2.9:53020")),
        (&["m=audio 4000 RTP/AVP 0", "a=rtcp:53020 IN IP4 126.16.64.4"], Some("126.16.64.4:53020")),
        (&["m=audio 4000 RTP/AVP 0", "a=rtcp:53020 IN IP6 2001:db8::1"], Some("[2001:db8::1]:53020")),
        (&["m=audio 4000 RTP/AVP 0", "a=rtcp-mux"], Some("192.0.2.9:4000")),
        (&["m=audio 65535 RTP/AVP 0"], None),
    ];
    for (body, expected) in rows {
        let expected = expected.map(|address| address.parse().expect("an address"));
        assert_eq!(answer_to(body).expect("an answer").remote_rtcp, expected, "{body:?}");
    }
}

#[test]
fn where_there_is_no_way_to_nothing_is_settled() {
    let ours = LocalMedia { families: Families::of(["192.0.2.7".parse().expect("an address")]), ..local() };
    let here = |body: &[&str]| answer(&sdp(body), &ours);
    for address in ["IN IP6 2001:db8::9", "IN IP4 224.2.1.1", "IN IP4 255.255.255.255", "IN IP6 ::ffff:255.255.255.255"]
    {
        let line = format!("c={address}");
        let refused = here(&["m=audio 4000 RTP/AVP 0", &line]).expect_err(address);
        assert_eq!(refused.status(), 488, "{address}: {refused}");
        // RFC 6157 §4.1: another line may do.
        let negotiated = here(&["m=audio 4000 RTP/AVP 0", &line, "m=audio 4002 RTP/AVP 0"]).expect(address);
        assert_eq!(negotiated.remote_rtp, Some("192.0.2.9:4002".parse().expect("an address")));
        let theirs = sdp(&["m=audio 4000 RTP/AVP 0", &line]);
        assert_eq!(accept(&offer(&ours), &theirs, &ours).expect_err(address).status(), 488, "{address}");
        // It goes where the rest goes.
        let rtcp = format!("a=rtcp:5000 {address}");
        let negotiated = here(&["m=audio 4000 RTP/AVP 0", &rtcp]).expect(address);
        assert_eq!(negotiated.remote_rtcp, Some("192.0.2.9:5000".parse().expect("an address")), "{address}");
    }
    for (body, remote) in [
        (["m=audio 4000 RTP/AVP 0", "c=IN IP6 ::ffff:192.0.2.4"], Some("192.0.2.4:4000")),
        (["m=audio 4000 RTP/AVP 0", "c=IN IP6 ::"], None),
        (["m=audio 4000 RTP/AVP 0", "c=IN IP4 0.0.0.0"], None),
    ] {
        let negotiated = here(&body).expect("an answer");
        assert_eq!(negotiated.remote_rtp, remote.map(|remote| remote.parse().expect("an address")));
    }
    // Its own address is to be learned (`a=direction`), or is not sent to at all.
    here(&["m=audio 4000 RTP/AVP 0", "c=IN IP6 2001:db8::9", "a=direction:active"]).expect("an answer");
    here(&["m=audio 0 RTP/AVP 0", "c=IN IP6 2001:db8::9"]).expect("an answer");
}

#[test]
fn ipv6_and_names() {
    let local = LocalMedia { address: "2001:db8::7".into(), ..local() };
    let text = offer(&local);
    assert_eq!(lines_of(&text, "c="), ["c=IN IP6 2001:db8::7"]);
    assert_eq!(lines_of(&text, "o="), ["o=pbx 77 5 IN IP6 2001:db8::7"]);
    let remote = "v=0\no=- 1 1 IN IP6 2001:db8::9\ns=\nc=IN IP6 2001:db8::9\nt=0 0\nm=audio 4000 RTP/AVP 0\n";
    let negotiated = accept(&text, remote, &local).expect("settled");
    assert_eq!(negotiated.remote_rtp, Some("[2001:db8::9]:4000".parse().expect("an address")));
    assert_eq!(media_address(remote), Ok(negotiated.remote_rtp));

    // RFC 5118 §4.8, §4.9: both kinds in one description, and one mapped into the other.
    let body = ["m=audio 0 RTP/AVP 0", "c=IN IP4 192.0.2.7", "m=audio 4000 RTP/AVP 0", "c=IN IP6 2001:db8::9"];
    let negotiated = answer_to(&body).expect("an answer");
    assert_eq!(negotiated.remote_rtp, Some("[2001:db8::9]:4000".parse().expect("an address")));
    let negotiated = answer_to(&["m=audio 4000 RTP/AVP 0", "c=IN IP6 ::ffff:192.0.2.4"]).expect("an answer");
    assert_eq!(negotiated.remote_rtp, Some("192.0.2.4:4000".parse().expect("an address")));
    assert_eq!(negotiated.remote_rtcp, Some("192.0.2.4:4001".parse().expect("an address")));

    let negotiated = answer_to(&["m=audio 4000 RTP/AVP 0", "c=IN IP4 media.example.com"]).expect("an answer");
    assert_eq!((negotiated.remote_rtp, negotiated.remote_rtcp), (None, None));
    assert_eq!(negotiated.remote_host, Some(MediaHost::Name("media.example.com".into())));
    assert_eq!(negotiated.remote_port, 4000);

    let named = LocalMedia { address: "pbx.example.com".into(), ..local.clone() };
    assert_eq!(lines_of(&offer(&named), "c="), ["c=IN IP4 pbx.example.com"]);
}

#[test]
fn the_version_rises_only_on_change() {
    let offered = sdp(&["m=audio 4000 RTP/AVP 0 8"]);
    let first = answer(&offered, &local()).expect("an answer").local_sdp;
    assert_eq!(lines_of(&first, "o="), ["o=pbx 77 5 IN IP4 198.51.100.7"]);
    // What a later description wants elsewhere in `o=` does not count: it names the session.
    let later = LocalMedia { previous: Some(first.clone()), version: 99, session_id: 1, user: "x".into(), ..local() };
    assert_eq!(answer(&offered, &later).expect("an answer").local_sdp, first);
    let held = sdp(&["m=audio 4000 RTP/AVP 0 8", "a=sendonly"]);
    let second = answer(&held, &later).expect("an answer").local_sdp;
    assert_eq!(lines_of(&second, "o="), ["o=pbx 77 6 IN IP4 198.51.100.7"]);
    assert_eq!(lines_of(&second, "a=recvonly").len(), 1);
    let moved = LocalMedia { previous: Some(second), address: "203.0.113.1".into(), ..local() };
    let third = offer(&moved);
    assert_eq!(lines_of(&third, "o="), ["o=pbx 77 7 IN IP4 198.51.100.7"]);
    assert_eq!(lines_of(&third, "c="), ["c=IN IP4 203.0.113.1"]);
    let same = LocalMedia { previous: Some(third.clone()), ..moved };
    assert_eq!(offer(&same), third);
}

#[test]
fn a_later_offer_keeps_lines_and_numbers() {
    let offered = sdp(&[
        "m=video 4002 RTP/AVP 101",
        "a=rtpmap:101 H264/90000",
        "m=audio 4000 RTP/AVP 97 101",
        "a=rtpmap:97 telephone-event/8000",
        "a=rtpmap:101 PCMA/8000",
    ]);
    let first = answer(&offered, &local()).expect("an answer").local_sdp;
    assert_eq!(lines_of(&first, "m="), ["m=video 0 RTP/AVP 101", "m=audio 30000 RTP/AVP 101 97"]);
    let second = offer(&LocalMedia { previous: Some(first), ..local() });
    assert_eq!(lines_of(&second, "m="), ["m=video 0 RTP/AVP 101", "m=audio 30000 RTP/AVP 0 101 97"]);
    let off = "v=0\r\no=- 1 1 IN IP4 1.1.1.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 31\r\n";
    let added = offer(&LocalMedia { previous: Some(off.into()), ..local() });
    assert_eq!(lines_of(&added, "m="), ["m=video 0 RTP/AVP 31", "m=audio 30000 RTP/AVP 0 8 101"]);
}

#[test]
fn the_answers_time_is_the_offers() {
    let offer =
        "v=0\r\no=- 1 1 IN IP4 1.1.1.1\r\nc=IN IP4 1.1.1.1\r\nt=2873397496 2873404696\r\nm=audio 9 RTP/AVP 0\r\n";
    let negotiated = answer(offer, &local()).expect("an answer");
    assert_eq!(lines_of(&negotiated.local_sdp, "t="), ["t=2873397496 2873404696"]);
}

#[test]
fn an_edited_answer_is_read_back_as_it_is() {
    let offer = sdp(&["m=audio 4000 RTP/AVP 0 8 101", "a=rtpmap:101 telephone-event/8000"]);
    let own = answer(&offer, &local()).expect("an answer").local_sdp;
    let edited = own.replace("RTP/AVP 0 8 101", "RTP/AVP 8").replace("a=sendrecv", "a=recvonly");
    let negotiated = answered(&offer, &edited, &local()).expect("an answer");
    assert_eq!(negotiated.send.as_ref().map(|codec| codec.payload_type), Some(8));
    assert_eq!((negotiated.dtmf_send, negotiated.direction), (None, Direction::RecvOnly));
    assert_eq!(negotiated.local_sdp, edited);
}

#[test]
fn a_programs_own_answer_is_checked() {
    let offered = sdp(&[
        "m=audio 4000 RTP/AVP 0 96",
        "a=rtpmap:96 opus/48000/2",
        "a=sendonly",
        "m=video 4002 RTP/SAVP 31",
        "m=image 0 udptl t38",
    ]);
    let rest = ["m=video 0 RTP/SAVP 31", "m=image 0 udptl t38"];
    let with_audio = |audio: &[&'static str]| audio.iter().copied().chain(rest).collect::<Vec<_>>();
    let good = [
        with_audio(&["m=audio 5000 RTP/AVP 0", "a=recvonly"]),
        with_audio(&["m=audio 5000 RTP/AVP 97 0", "a=rtpmap:97 OPUS/48000/2", "a=inactive"]),
        vec!["m=audio 0 RTP/AVP 0", "m=video 5002 RTP/SAVP 31", "m=image 0 udptl t38"],
    ];
    for body in good {
        assert_eq!(check_answer(&offered, &sdp(&body)), Ok(()), "{body:?}");
    }
    // (answer, the media line at fault)
    let bad = [
        (vec!["m=audio 5000 RTP/AVP 0", "a=recvonly"], 2),
        (with_audio(&["m=audio 5000 RTP/AVP 8", "a=recvonly"]), 1),
        (with_audio(&["m=audio 5000 RTP/AVP 96", "a=rtpmap:96 iLBC/8000", "a=recvonly"]), 1),
        (with_audio(&["m=audio 5000 RTP/SAVP 0", "a=recvonly"]), 1),
        (with_audio(&["m=audio 5000 RTP/AVP 0"]), 1),
        (with_audio(&["m=audio 5000 RTP/AVP 0", "a=sendonly"]), 1),
        (vec!["m=video 0 RTP/SAVP 31", "m=audio 5000 RTP/AVP 0", "m=image 0 udptl t38"], 1),
        (vec!["m=audio 0 RTP/AVP 0", "m=video 5002 RTP/SAVP 31", "m=image 9 udptl t38"], 3),
        (vec!["m=audio 0 RTP/AVP 0", "m=video 5002 RTP/SAVP 32", "m=image 0 udptl t38"], 2),
    ];
    for (body, line) in bad {
        match check_answer(&offered, &sdp(&body)) {
            Err(SdpError::NotAnAnswer { media, .. }) => assert_eq!(media, line, "{body:?}"),
            other => panic!("{body:?}: {other:?}"),
        }
    }
    let silent = check_answer(&offered, &sdp(&with_audio(&["m=audio 0 RTP/AVP 0"])));
    assert!(matches!(silent, Err(SdpError::NothingInCommon(_))), "{silent:?}");
    let nowhere = "v=0\r\no=- 1 1 IN IP4 1.1.1.1\r\nm=audio 9 RTP/AVP 0\r\n";
    assert!(check_answer(&sdp(&["m=audio 4000 RTP/AVP 0"]), nowhere).is_err(), "no c= line");
    assert!(check_offer(nowhere).is_err());
    assert!(check_offer(&sdp(&["m=audio 0 RTP/AVP 0"])).is_err());
    assert_eq!(check_offer(&offered), Ok(()));
}

#[test]
fn redirection_touches_direction_and_version_only() {
    // (before, direction, after)
    let rows = [
        (
            "v=0\r\no=- 3 9 IN IP4 1.1.1.1\r\ns=x y\r\nm=audio 9 RTP/AVP 0\r\na=sendrecv\r\na=x:sendrecv\r\n",
            Direction::SendOnly,
            "v=0\r\no=- 3 10 IN IP4 1.1.1.1\r\ns=x y\r\nm=audio 9 RTP/AVP 0\r\na=sendonly\r\na=x:sendrecv\r\n",
        ),
        // None so far: it is put at the end of each section that is switched on.
        (
            "v=0\no=- 3 9 IN IP4 1.1.1.1\nm=audio 9 RTP/AVP 0\na=ptime:20\nm=video 0 RTP/AVP 31\nm=audio 7 RTP/AVP 0",
            Direction::Inactive,
            "v=0\no=- 3 10 IN IP4 1.1.1.1\nm=audio 9 RTP/AVP 0\na=ptime:20\na=inactive\nm=video 0 RTP/AVP 31\n\
             m=audio 7 RTP/AVP 0\na=inactive\n",
        ),
        // A last line that is cut short within its end.
        (
            "v=0\r\no=- 3 9 IN IP4 1.1.1.1\r\nm=audio 9 RTP/AVP 0\r",
            Direction::SendOnly,
            "v=0\r\no=- 3 10 IN IP4 1.1.1.1\r\nm=audio 9 RTP/AVP 0\r\na=sendonly\r\n",
        ),
        // At session level.
        (
            "v=0\r\no=- 3 9 IN IP4 1.1.1.1\r\na=recvonly\r\nm=audio 9 RTP/AVP 0\r\nm=video 0 RTP/AVP 31\r\na=sendonly\r\n",
            Direction::SendRecv,
            "v=0\r\no=- 3 10 IN IP4 1.1.1.1\r\na=sendrecv\r\nm=audio 9 RTP/AVP 0\r\nm=video 0 RTP/AVP 31\r\na=sendonly\r\n",
        ),
        // sendrecv needs no attribute.
        (
            "v=0\r\no=- 3 9 IN IP4 1.1.1.1\r\nm=audio 9 RTP/AVP 0\r\n\r\n",
            Direction::SendRecv,
            "v=0\r\no=- 3 10 IN IP4 1.1.1.1\r\nm=audio 9 RTP/AVP 0\r\n\r\n",
        ),
    ];
    for (before, direction, after) in rows {
        assert_eq!(redirected(before, direction, 10).as_deref(), Ok(after));
    }
    assert!(redirected("no SDP", Direction::SendOnly, 2).is_err());
}

#[test]
fn opus_is_answered_with_events_at_both_clock_rates() {
    let codecs = vec![LocalCodec::opus(false), LocalCodec::new("G722", 8000, Some(9)), LocalCodec::pcmu()];
    let local = LocalMedia { codecs, comfort_noise: true, ..local() };
    let offer = sdp(&[
        "m=audio 4000 RTP/AVP 0 9 13 107 96 97",
        "a=rtpmap:107 OPUS/48000/2",
        "a=fmtp:107 maxplaybackrate=16000;useinbandfec=1",
        "a=rtpmap:96 telephone-event/8000",
        "a=rtpmap:97 telephone-event/48000",
    ]);
    let negotiated = answer(&offer, &local).expect("an answer");
    assert_eq!(lines_of(&negotiated.local_sdp, "m="), ["m=audio 30000 RTP/AVP 107 9 0 13 97 96"]);
    assert_eq!(lines_of(&negotiated.local_sdp, "a=fmtp:107"), ["a=fmtp:107 useinbandfec=1"]);
    let send = negotiated.send.as_ref().expect("a codec");
    assert_eq!((&*send.name, send.fmtp.as_deref()), ("opus", Some("maxplaybackrate=16000;useinbandfec=1")));
    assert_eq!(negotiated.dtmf_send.map(|event| (event.payload_type, event.clock_rate)), Some((97, 48_000)));
    let events: Vec<_> = negotiated.dtmf_receive.iter().map(|event| (event.payload_type, event.clock_rate)).collect();
    assert_eq!(events, [(97, 48_000), (96, 8_000)]);
    assert_eq!(negotiated.comfort_noise, Some(13));
    // Mono opus is another encoding (RFC 7587 §7); what is left has its own events, and noise under its usual number unasked.
    let mono = offer.replace("OPUS/48000/2", "opus/48000").replace(" 13 ", " ");
    let negotiated = answer(&mono, &local).expect("an answer");
    assert_eq!(lines_of(&negotiated.local_sdp, "m="), ["m=audio 30000 RTP/AVP 9 0 96"]);
    assert_eq!(negotiated.comfort_noise, Some(13));
}

#[test]
fn one_port_for_rtp_and_rtcp_is_answered_where_it_is_offered() {
    let agreed = answer_to(&["m=audio 4000 RTP/AVP 0", "a=rtcp:4005", "a=rtcp-mux"]).unwrap();
    assert_eq!(lines_of(&agreed.local_sdp, "a=rtcp"), ["a=rtcp-mux"]);
    assert!(agreed.rtcp_mux);
    assert_eq!(agreed.remote_rtcp, agreed.remote_rtp);
    let plain = answer_to(&["m=audio 4000 RTP/AVP 0"]).unwrap();
    assert!(!plain.rtcp_mux && lines_of(&plain.local_sdp, "a=rtcp").is_empty(), "RFC 8035: never unasked");

    // As the offerer: with a peer that knows it, and with one that does not.
    let wishes = LocalMedia { rtcp_mux: true, ..local() };
    let ours = offer(&wishes);
    assert_eq!(lines_of(&ours, "a=rtcp"), ["a=rtcp-mux"]);
    let yes = accept(&ours, &sdp(&["m=audio 4000 RTP/AVP 0", "a=rtcp-mux"]), &wishes).unwrap();
    assert!(yes.rtcp_mux);
    assert_eq!(yes.remote_rtcp, Some("192.0.2.9:4000".parse().unwrap()));
    let no = accept(&ours, &sdp(&["m=audio 4000 RTP/AVP 0"]), &wishes).unwrap();
    assert!(!no.rtcp_mux);
    assert_eq!(no.remote_rtcp, Some("192.0.2.9:4001".parse().unwrap()));
    assert_eq!(lines_of(&offer(&local()), "a=rtcp").len(), 0);
    // Without having offered it we do not take it.
    assert!(!accept(&offer(&local()), &sdp(&["m=audio 4000 RTP/AVP 0", "a=rtcp-mux"]), &local()).unwrap().rtcp_mux);
    // What was agreed is offered again (RFC 8035 §3).
    let later = offer(&LocalMedia { previous: Some(agreed.local_sdp), ..local() });
    assert_eq!(lines_of(&later, "a=rtcp"), ["a=rtcp-mux"]);
}

#[test]
fn extended_reports_are_for_who_asks() {
    let wishes = LocalMedia { rtcp_xr: true, ..local() };
    let line = "m=audio 4000 RTP/AVP 0";
    type Row<'a> = (&'a [&'a str], &'a [&'a str], (bool, bool));
    let rows: [Row<'_>; 7] = [
        (&[line], &[], (false, false)),
        (&[line, "a=rtcp-xr:voip-metrics"], &["a=rtcp-xr:voip-metrics"], (true, false)),
        (&[line, "a=rtcp-xr:rcvr-rtt=all:100 voip-metrics"], &["a=rtcp-xr:voip-metrics rcvr-rtt=all"], (true, true)),
        (&[line, "a=rtcp-xr:rcvr-rtt=sender"], &["a=rtcp-xr:voip-metrics rcvr-rtt=all"], (false, true)),
        (&[line, "a=rtcp-xr:stat-summary=loss,dup"], &["a=rtcp-xr:voip-metrics"], (false, false)),
        // At the session's level, and a line of its own that says otherwise.
        (&["a=rtcp-xr:voip-metrics", line], &["a=rtcp-xr:voip-metrics"], (true, false)),
        (&["a=rtcp-xr:voip-metrics", line, "a=rtcp-xr:rcvr-rtt=x"], &["a=rtcp-xr:voip-metrics"], (false, false)),
    ];
    for (body, expected, wanted) in rows {
        let negotiated = answer(&sdp(body), &wishes).unwrap();
        assert_eq!(lines_of(&negotiated.local_sdp, "a=rtcp-xr"), expected, "{body:?}");
        assert_eq!((negotiated.xr_voip, negotiated.xr_reference_time), wanted, "{body:?}");
    }
    let ours = offer(&wishes);
    assert_eq!(lines_of(&ours, "a=rtcp-xr"), ["a=rtcp-xr:voip-metrics rcvr-rtt=all"]);
    let settled = accept(&ours, &sdp(&[line, "a=rtcp-xr:voip-metrics"]), &wishes).unwrap();
    assert!(settled.xr_voip && !settled.xr_reference_time);
    assert!(!accept(&ours, &sdp(&[line]), &wishes).unwrap().xr_voip);
    // Who does not wish for them neither asks nor tells.
    let silent = answer_to(&[line, "a=rtcp-xr:voip-metrics rcvr-rtt=all"]).unwrap();
    assert!(lines_of(&silent.local_sdp, "a=rtcp-xr").is_empty() && !silent.xr_voip && !silent.xr_reference_time);
}

#[test]
fn who_sends_first_is_read_and_answered() {
    let line = "m=audio 4000 RTP/AVP 0";
    let rows: [(&[&str], Option<Role>, &[&str]); 6] = [
        (&[line], None, &[]),
        (&[line, "a=direction:active"], Some(Role::Active), &["a=direction:passive"]),
        (&[line, "a=direction:Passive 5000"], Some(Role::Passive), &["a=direction:active"]),
        (&["a=direction:both", line], Some(Role::Both), &["a=direction:both"]),
        (&["a=direction:both", line, "a=direction:active"], Some(Role::Active), &["a=direction:passive"]),
        (&[line, "a=direction:"], None, &[]),
    ];
    for (body, role, expected) in rows {
        let negotiated = answer_to(body).unwrap();
        assert_eq!(negotiated.remote_role, role, "{body:?}");
        assert_eq!(lines_of(&negotiated.local_sdp, "a=direction"), expected, "{body:?}");
    }
    let answered = accept(&offer(&local()), &sdp(&[line, "a=direction:active"]), &local()).unwrap();
    assert_eq!(answered.remote_role, Some(Role::Active));
}

#[test]
fn comfort_noise_is_offered_where_wished_and_then_goes_both_ways() {
    let wishes = LocalMedia { comfort_noise: true, offer_comfort_noise: true, ..local() };
    let ours = offer(&wishes);
    assert_eq!(lines_of(&ours, "m="), ["m=audio 30000 RTP/AVP 0 8 13 101"]);
    let yes = accept(&ours, &sdp(&["m=audio 4000 RTP/AVP 0 20", "a=rtpmap:20 CN/8000"]), &wishes).unwrap();
    assert_eq!((yes.comfort_noise, yes.comfort_noise_send), (Some(13), Some(20)));
    let no = accept(&ours, &sdp(&["m=audio 4000 RTP/AVP 0"]), &wishes).unwrap();
    assert_eq!((no.comfort_noise, no.comfort_noise_send), (Some(13), None), "gateways send it unasked");
    let agreed = answer(&sdp(&["m=audio 4000 RTP/AVP 0 13"]), &LocalMedia { comfort_noise: true, ..local() }).unwrap();
    assert_eq!((agreed.comfort_noise, agreed.comfort_noise_send), (Some(13), Some(13)));
    let later = offer(&LocalMedia { previous: Some(agreed.local_sdp), ..local() });
    assert_eq!(lines_of(&later, "m="), ["m=audio 30000 RTP/AVP 0 8 13 101"]);
    let refused = answer(&sdp(&["m=audio 4000 RTP/AVP 0 13"]), &local()).unwrap();
    assert_eq!(refused.comfort_noise_send, None);
    // It is of 8 kHz (RFC 3551 §6).
    let wide = LocalMedia { codecs: vec![LocalCodec::opus(false)], ..wishes };
    assert_eq!(lines_of(&offer(&wide), "m="), ["m=audio 30000 RTP/AVP 96 101"]);
}

#[test]
fn rtcp_elsewhere_is_named_unless_one_port_is_agreed() {
    let local = LocalMedia { rtcp: "203.0.113.5:40007".parse().ok(), ..local() };
    let named = "a=rtcp:40007 IN IP4 203.0.113.5\r\n";
    let theirs =
        |rtcp_mux| offer(&LocalMedia { address: "192.0.2.9".into(), port: 5004, rtcp_mux, ..LocalMedia::default() });
    for (rtcp_mux, expected) in [(false, true), (true, false)] {
        let answered = answer(&theirs(rtcp_mux), &local).expect("an answer").local_sdp;
        assert_eq!(answered.contains(named), expected, "{answered}");
    }
    // Whoever does not agree to one port has to find the other.
    assert!(offer(&LocalMedia { rtcp_mux: true, ..local }).contains(named));
}
