//! The examples of RFC 3264 §10 and RFC 4317, one exchange a row. Of each: the RFC's answer is an answer to us, we answer the offer
//! ourselves, and what the exchange means for the audio is what the RFC's text says.

use ringback_sdp::{Direction, LocalCodec, LocalMedia, MediaHost, accept, answer, check_answer};

/// The offer and the answer without their first lines, and what they mean to the offerer.
struct Row {
    section: &'static str,
    offer: &'static str,
    answer: &'static str,
    means: Option<Means>,
}

/// Codec, the number we send it under, the number it comes under, telephone-event to send, our direction.
struct Means(&'static str, u8, u8, Option<u8>, Direction);

const AUDIO_3: &str = "m=audio 49170 RTP/AVP 0 8 97\na=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\na=rtpmap:97 iLBC/8000\n\
    m=video 51372 RTP/AVP 31 32\na=rtpmap:31 H261/90000\na=rtpmap:32 MPV/90000\n";
const AUDIO_2: &str = "m=audio 49170 RTP/AVP 0 97\na=rtpmap:0 PCMU/8000\na=rtpmap:97 iLBC/8000\n";
const ILBC_H261: &str =
    "m=audio 49170 RTP/AVP 97\na=rtpmap:97 iLBC/8000\nm=video 51372 RTP/AVP 31\na=rtpmap:31 H261/90000\n";
const ILBC: &str = "m=audio 49170 RTP/AVP 97\na=rtpmap:97 iLBC/8000\n";

const ROWS: &[Row] = &[
    Row {
        section: "RFC 3264 10.1, first",
        offer: "m=audio 49170 RTP/AVP 0\na=rtpmap:0 PCMU/8000\nm=video 51372 RTP/AVP 31\na=rtpmap:31 H261/90000\n\
            m=video 53000 RTP/AVP 32\na=rtpmap:32 MPV/90000\n",
        answer: "m=audio 49920 RTP/AVP 0\na=rtpmap:0 PCMU/8000\nm=video 0 RTP/AVP 31\nm=video 53000 RTP/AVP 32\n\
            a=rtpmap:32 MPV/90000\n",
        means: Some(Means("PCMU", 0, 0, None, Direction::SendRecv)),
    },
    Row {
        section: "RFC 3264 10.1, second",
        offer: "m=audio 65422 RTP/AVP 0\na=rtpmap:0 PCMU/8000\nm=video 0 RTP/AVP 31\nm=video 53000 RTP/AVP 32\n\
            a=rtpmap:32 MPV/90000\nm=audio 51434 RTP/AVP 110\na=rtpmap:110 telephone-events/8000\na=recvonly\n",
        answer: "m=audio 49170 RTP/AVP 0\na=rtpmap:0 PCMU/8000\nm=video 0 RTP/AVP 31\na=rtpmap:31 H261/90000\n\
            m=video 53000 RTP/AVP 32\na=rtpmap:32 MPV/90000\nm=audio 53122 RTP/AVP 110\n\
            a=rtpmap:110 telephone-events/8000\na=sendonly\n",
        means: Some(Means("PCMU", 0, 0, None, Direction::SendRecv)),
    },
    Row {
        section: "RFC 3264 10.2, first",
        offer: "m=audio 62986 RTP/AVP 0 4 18\na=rtpmap:0 PCMU/8000\na=rtpmap:4 G723/8000\na=rtpmap:18 G729/8000\na=inactive\n",
        answer: "m=audio 54344 RTP/AVP 0 4\na=rtpmap:0 PCMU/8000\na=rtpmap:4 G723/8000\na=inactive\n",
        means: Some(Means("PCMU", 0, 0, None, Direction::Inactive)),
    },
    // We have no G.723: nothing is left.
    Row {
        section: "RFC 3264 10.2, second",
        offer: "m=audio 62986 RTP/AVP 4\na=rtpmap:4 G723/8000\na=sendrecv\n",
        answer: "m=audio 54344 RTP/AVP 4\na=rtpmap:4 G723/8000\na=sendrecv\n",
        means: None,
    },
    Row {
        section: "RFC 4317 2.1",
        offer: AUDIO_3,
        answer: "m=audio 49174 RTP/AVP 0\na=rtpmap:0 PCMU/8000\nm=video 49170 RTP/AVP 32\na=rtpmap:32 MPV/90000\n",
        means: Some(Means("PCMU", 0, 0, None, Direction::SendRecv)),
    },
    Row {
        section: "RFC 4317 2.2, first",
        offer: AUDIO_3,
        answer: "m=audio 49172 RTP/AVP 0 8\na=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\nm=video 0 RTP/AVP 31\n\
            a=rtpmap:31 H261/90000\n",
        means: Some(Means("PCMU", 0, 0, None, Direction::SendRecv)),
    },
    Row {
        section: "RFC 4317 2.2, second",
        offer: "m=audio 51372 RTP/AVP 0\na=rtpmap:0 PCMU/8000\nm=video 0 RTP/AVP 31\na=rtpmap:31 H261/90000\n",
        answer: "m=audio 49172 RTP/AVP 0\na=rtpmap:0 PCMU/8000\nm=video 0 RTP/AVP 31\na=rtpmap:31 H261/90000\n",
        means: Some(Means("PCMU", 0, 0, None, Direction::SendRecv)),
    },
    // The change of the dynamic number is in order: it is the same codec.
    Row {
        section: "RFC 4317 2.3",
        offer: AUDIO_3,
        answer: "m=audio 49172 RTP/AVP 99\na=rtpmap:99 iLBC/8000\nm=video 51374 RTP/AVP 31\na=rtpmap:31 H261/90000\n",
        means: Some(Means("iLBC", 99, 97, None, Direction::SendRecv)),
    },
    // The stream for telephone events alone is none of ours.
    Row {
        section: "RFC 4317 2.4",
        offer: "m=audio 49170 RTP/AVP 0 97\na=rtpmap:0 PCMU/8000\na=rtpmap:97 iLBC/8000\nm=audio 49172 RTP/AVP 98\n\
            a=rtpmap:98 telephone-event/8000\na=sendonly\n",
        answer: "m=audio 49172 RTP/AVP 97\na=rtpmap:97 iLBC/8000\nm=audio 49174 RTP/AVP 98\n\
            a=rtpmap:98 telephone-event/8000\na=recvonly\n",
        means: Some(Means("iLBC", 97, 97, None, Direction::SendRecv)),
    },
    Row {
        section: "RFC 4317 2.5, first",
        offer: ILBC_H261,
        answer: "m=audio 49174 RTP/AVP 97\na=rtpmap:97 iLBC/8000\nm=video 49170 RTP/AVP 31\na=rtpmap:31 H261/90000\n",
        means: Some(Means("iLBC", 97, 97, None, Direction::SendRecv)),
    },
    Row {
        section: "RFC 4317 2.5, second",
        offer: "c=IN IP4 newhost.biloxi.example.com\nm=audio 49178 RTP/AVP 97\na=rtpmap:97 iLBC/8000\n\
            m=video 49188 RTP/AVP 31\na=rtpmap:31 H261/90000\n",
        answer: ILBC_H261,
        means: Some(Means("iLBC", 97, 97, None, Direction::SendRecv)),
    },
    // The first stream is declined, so nothing is left of what we would use of this offer as its offerer.
    Row {
        section: "RFC 4317 2.6",
        offer: "m=audio 49170 RTP/AVP 0\na=rtpmap:0 PCMU/8000\nm=audio 51372 RTP/AVP 97 101\na=rtpmap:97 iLBC/8000\n\
            a=rtpmap:101 telephone-event/8000\n",
        answer: "m=audio 0 RTP/AVP 0\na=rtpmap:0 PCMU/8000\nm=audio 49170 RTP/AVP 97 101\na=rtpmap:97 iLBC/8000\n\
            a=rtpmap:101 telephone-event/8000\n",
        means: None,
    },
    Row {
        section: "RFC 4317 2.7, second",
        offer: "m=audio 49170 RTP/AVP 99\na=rtpmap:99 iLBC/8000\nm=video 51372 RTP/AVP 31 32\na=rtpmap:31 H261/90000\n\
            a=rtpmap:32 MPV/90000\n",
        answer: "m=audio 49172 RTP/AVP 99\na=rtpmap:99 iLBC/8000\nm=video 51374 RTP/AVP 31 32\na=rtpmap:31 H261/90000\n\
            a=rtpmap:32 MPV/90000\n",
        means: Some(Means("iLBC", 99, 99, None, Direction::SendRecv)),
    },
    Row {
        section: "RFC 4317 2.8",
        offer: AUDIO_3,
        answer: "m=audio 49174 RTP/AVP 0\na=rtpmap:0 PCMU/8000\nm=video 49172 RTP/AVP 32\n\
            c=IN IP4 otherhost.biloxi.example.com\na=rtpmap:32 MPV/90000\n",
        means: Some(Means("PCMU", 0, 0, None, Direction::SendRecv)),
    },
    Row {
        section: "RFC 4317 3.1, first",
        offer: AUDIO_2,
        answer: "m=audio 49172 RTP/AVP 97\na=rtpmap:97 iLBC/8000\na=sendonly\n",
        means: Some(Means("iLBC", 97, 97, None, Direction::RecvOnly)),
    },
    Row {
        section: "RFC 4317 3.1, second",
        offer: ILBC,
        answer: "m=audio 49178 RTP/AVP 97\na=rtpmap:97 iLBC/8000\n",
        means: Some(Means("iLBC", 97, 97, None, Direction::SendRecv)),
    },
    // The answer has a codec beside those of the offer, and first: it may not be sent to the answerer before the offerer has it.
    Row {
        section: "RFC 4317 3.2, second",
        offer: "m=audio 49172 RTP/AVP 97\na=rtpmap:97 iLBC/8000\na=sendonly\nm=audio 49174 RTP/AVP 98\n\
            a=rtpmap:98 telephone-event/8000\na=recvonly\n",
        answer: "m=audio 49170 RTP/AVP 0 97\na=rtpmap:0 PCMU/8000\na=rtpmap:97 iLBC/8000\na=recvonly\n\
            m=audio 49172 RTP/AVP 98\na=rtpmap:98 telephone-event/8000\na=sendonly\n",
        means: Some(Means("iLBC", 97, 97, None, Direction::SendOnly)),
    },
    Row {
        section: "RFC 4317 4.1, second",
        offer: "m=audio 49170 RTP/AVP 97\na=rtpmap:97 iLBC/8000\nm=audio 48282 RTP/AVP 98\n\
            c=IN IP4 mediaserver.biloxi.example.com\na=rtpmap:98 telephone-event/8000\na=recvonly\n",
        answer: "m=audio 49170 RTP/AVP 97\na=rtpmap:97 iLBC/8000\nm=audio 49172 RTP/AVP 98\n\
            c=IN IP4 host.atlanta.example.com\na=rtpmap:98 telephone-event/8000\na=sendonly\n",
        means: Some(Means("iLBC", 97, 97, None, Direction::SendRecv)),
    },
    Row {
        section: "RFC 4317 4.2, second",
        offer: "m=audio 49170 RTP/AVP 0\na=rtpmap:0 PCMU/8000\nm=video 49172 RTP/AVP 31\na=rtpmap:31 H261/90000\n",
        answer: "m=audio 49172 RTP/AVP 0\na=rtpmap:0 PCMU/8000\nm=video 49168 RTP/AVP 31\na=rtpmap:31 H261/90000\n",
        means: Some(Means("PCMU", 0, 0, None, Direction::SendRecv)),
    },
    Row {
        section: "RFC 4317 4.3, second",
        offer: "m=audio 49174 RTP/AVP 97\na=rtpmap:97 iLBC/8000\nm=video 0 RTP/AVP 31\na=rtpmap:31 H261/90000\n",
        answer: "m=audio 49170 RTP/AVP 97\na=rtpmap:97 iLBC/8000\nm=video 0 RTP/AVP 31\na=rtpmap:31 H261/90000\n",
        means: Some(Means("iLBC", 97, 97, None, Direction::SendRecv)),
    },
    Row {
        section: "RFC 4317 5.2, second",
        offer: ILBC,
        answer: ILBC,
        means: Some(Means("iLBC", 97, 97, None, Direction::SendRecv)),
    },
    // With tones in the same stream, as everyone does it.
    Row {
        section: "RFC 4733 2.5.1.1",
        offer: "m=audio 49170 RTP/AVP 0 97\na=rtpmap:97 telephone-event/8000\na=fmtp:97 0-15\n",
        answer: "m=audio 49172 RTP/AVP 0 100\na=rtpmap:100 telephone-event/8000\na=fmtp:100 0-11\n",
        means: Some(Means("PCMU", 0, 0, Some(100), Direction::SendRecv)),
    },
];

fn alice(body: &str) -> String {
    format!(
        "v=0\no=alice 2890844526 2890844526 IN IP4 host.atlanta.example.com\ns=\n{}t=0 0\n{body}",
        if body.starts_with("c=") { "" } else { "c=IN IP4 host.atlanta.example.com\n" }
    )
}

fn bob(body: &str) -> String {
    format!(
        "v=0\r\no=bob 2808844564 2808844564 IN IP4 host.biloxi.example.com\r\ns= \r\n\
         c=IN IP4 host.biloxi.example.com\r\nt=0 0\r\n{}",
        body.replace('\n', "\r\n")
    )
}

fn local() -> LocalMedia {
    let codecs = vec![LocalCodec::pcmu(), LocalCodec::pcma(), LocalCodec::new("iLBC", 8000, None)];
    LocalMedia { address: "192.0.2.1".into(), port: 40_000, codecs, ..LocalMedia::default() }
}

#[test]
fn the_answers_of_the_rfcs_are_answers() {
    for row in ROWS {
        assert_eq!(check_answer(&alice(row.offer), &bob(row.answer)), Ok(()), "{}", row.section);
    }
}

#[test]
fn what_they_settle_is_what_the_rfcs_say() {
    for row in ROWS {
        let negotiated = accept(&alice(row.offer), &bob(row.answer), &local());
        let Some(Means(codec, send, receive, dtmf, direction)) = &row.means else {
            assert!(negotiated.is_err(), "{}", row.section);
            continue;
        };
        let negotiated = negotiated.unwrap_or_else(|error| panic!("{}: {error}", row.section));
        let sent = negotiated.send.expect("a codec");
        assert_eq!((&*sent.name, sent.payload_type), (*codec, *send), "{}", row.section);
        let first = negotiated.receive.first().expect("a codec");
        assert_eq!((&*first.name, first.payload_type), (*codec, *receive), "{}", row.section);
        assert_eq!(
            (negotiated.dtmf_send.map(|event| event.payload_type), negotiated.direction),
            (*dtmf, *direction),
            "{}",
            row.section
        );
        let host = MediaHost::Name("host.biloxi.example.com".into());
        assert_eq!(negotiated.remote_host, Some(host), "{}", row.section);
    }
}

#[test]
fn we_answer_their_offers_line_by_line() {
    for row in ROWS {
        let offer = alice(row.offer);
        if row.section.starts_with("RFC 3264 10.2, second") {
            assert!(answer(&offer, &local()).is_err(), "only G.723");
            continue;
        }
        let ours = answer(&offer, &local()).unwrap_or_else(|error| panic!("{}: {error}", row.section)).local_sdp;
        assert_eq!(check_answer(&offer, &ours), Ok(()), "{}", row.section);
        let kinds = |sdp: &str| -> Vec<String> {
            let media = sdp.lines().filter(|line| line.starts_with("m="));
            media.map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(kinds(&ours), kinds(&offer), "{}", row.section);
        let on = ours.lines().filter(|line| line.starts_with("m=") && !line.contains(" 0 RTP")).count();
        assert_eq!(on, 1, "{}: one audio line is used\n{ours}", row.section);
    }
}

/// RFC 4317 §5.1: no media, then audio added.
#[test]
fn an_offer_without_media_lines() {
    let first = answer(&alice(""), &local()).expect("an answer");
    assert!(!first.local_sdp.contains("m="));
    assert_eq!((first.send, first.remote_rtp), (None, None));
    let later = LocalMedia { previous: Some(first.local_sdp), ..local() };
    let second = answer(&alice(ILBC), &later).expect("an answer");
    assert!(second.local_sdp.contains("m=audio 40000 RTP/AVP 97\r\n"));
    assert!(second.local_sdp.contains("o=- 1 2 IN IP4 192.0.2.1\r\n"), "the version rises: {}", second.local_sdp);
}

/// RFC 4317 §5.2: the first offer has the null address, the second a real one.
#[test]
fn an_offer_that_cannot_be_sent_to_yet() {
    let offer = format!("c=IN IP4 0.0.0.0\n{}", ILBC.replace("49170", "23442"));
    let negotiated = answer(&alice(&offer), &local()).expect("an answer");
    assert_eq!((negotiated.remote_rtp, negotiated.direction), (None, Direction::RecvOnly));
}
