//! Bodies of fuzz targets: a parser takes garbage or returns its error, and nothing else.

use crate::{
    Description, Direction, LocalCodec, LocalMedia, OpusParameters, SdpError, accept, answer, check_answer,
    check_offer, media_address, offer, redirected,
};

/// `data`: an offer, and after a NUL an answer to ours. Panics where something holds that must not.
pub fn negotiate(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (first, second) = text.split_once('\0').unwrap_or((&text, &text));
    let codecs = vec![LocalCodec::opus(false), LocalCodec::pcmu(), LocalCodec::pcma()];
    let (address, port) = ("192.0.2.1".into(), 40_000);
    let local = LocalMedia {
        address,
        port,
        codecs,
        comfort_noise: true,
        rtcp_xr: true,
        rtcp_mux: true,
        ..LocalMedia::default()
    };

    let ours = offer(&local);
    for text in [first, second] {
        let _ = media_address(text);
        let opus = OpusParameters::parse(text);
        assert!((8_000..=48_000).contains(&opus.playback_rate), "{opus:?}");
        assert!(opus.bitrate.is_none_or(|rate| (6_000..=510_000).contains(&rate)), "{opus:?}");
        let _ = check_offer(text);
        if let Ok(negotiated) = accept(&ours, text, &local) {
            assert!(negotiated.send.is_some(), "an accepted answer has a codec");
        }
        if let Ok(held) = redirected(text, Direction::SendOnly, 7) {
            let again = redirected(&held, Direction::SendOnly, 7);
            assert_eq!(again.as_ref(), Ok(&held), "a second time changes nothing");
            let counts = (Description::parse(text), Description::parse(&held));
            assert!(matches!(counts, (Ok(a), Ok(b)) if a.media().len() == b.media().len()));
        }
        if let Ok(negotiated) = answer(text, &local) {
            check_own_answer(text, &negotiated.local_sdp);
            // The same offer again says nothing new, so nor does the answer (RFC 3264 §8).
            let again = answer(text, &LocalMedia { previous: Some(negotiated.local_sdp.clone()), ..local.clone() });
            assert_eq!(again.as_ref().map(|n| n.local_sdp.as_str()), Ok(negotiated.local_sdp.as_str()));
            // A later offer of ours keeps the media lines.
            let later =
                offer(&LocalMedia { previous: Some(negotiated.local_sdp.clone()), port: 40_002, ..local.clone() });
            assert!(Description::parse(&later).is_ok(), "our offer is well-formed");
        }
    }
    let _ = check_answer(first, second);
}

fn check_own_answer(offer: &str, answer: &str) {
    let verdict = check_answer(offer, answer);
    assert!(
        !matches!(verdict, Err(SdpError::Syntax { .. } | SdpError::NotAnAnswer { .. })),
        "{verdict:?}\n{offer}\n{answer}"
    );
}
