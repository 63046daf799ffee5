//! The answerer's side (RFC 3264 §6).

use crate::codec::COMFORT_NOISE;
use crate::rtcp::{Rtcp, Xr};
use crate::settle::{self, Answer, Negotiated};
use crate::write::{self, Format};
use crate::{Description, LocalMedia, Media, SdpError};

/// Answers a peer's offer: the first audio line that we can use is taken, every other is rejected with port 0.
///
/// Where the offer has no media lines, or only such as are switched off, so has the answer, and nothing is sent
/// ([`Negotiated::send`] is `None`). Where it has media of which we can use none, that is [`SdpError::NothingInCommon`].
pub fn answer(offer: &str, local: &LocalMedia) -> Result<Negotiated, SdpError> {
    let offer = Description::parse(offer)?;
    let previous = local.previous.as_deref().and_then(|text| Description::parse(text).ok());
    let chosen = choose(&offer, local)?;

    // RFC 3264 §6: the time of the answer is the offer's.
    let mut text = write::session(local, previous.as_ref(), offer.timing);
    for (index, media) in offer.media.iter().enumerate() {
        if Some(index) == chosen {
            write_audio(&mut text, &offer, media, local);
        } else {
            write::rejected(&mut text, media);
        }
    }
    let text = write::versioned(text, previous.as_ref(), local.previous.as_deref());
    match chosen {
        Some(index) => settle::settle(&Description::parse(&text)?, &offer, index, Answer::Local, local),
        None => Ok(settle::nothing(text, local)),
    }
}

/// Reads back an answer of our own that the program may have edited: what [`answer`] would have returned for it. The text is the
/// answer as it will be sent.
pub fn answered(offer: &str, own_answer: &str, local: &LocalMedia) -> Result<Negotiated, SdpError> {
    crate::check_answer(offer, own_answer)?;
    let own = Description::parse(own_answer)?;
    match own.active_audio() {
        Some(index) => settle::settle(&own, &Description::parse(offer)?, index, Answer::Local, local),
        None => Ok(settle::nothing(own_answer.to_owned(), local)),
    }
}

/// The media line that the answer takes. `None`: the offer has nothing switched on.
fn choose(offer: &Description<'_>, local: &LocalMedia) -> Result<Option<usize>, SdpError> {
    if offer.media.iter().all(|media| media.port() == 0) {
        return Ok(None);
    }
    let mut reason = SdpError::NothingInCommon("no audio line in the offer");
    for (index, media) in offer.media.iter().enumerate().filter(|(_, media)| media.is_audio() && media.port() != 0) {
        match usable(offer, media, local) {
            Ok(()) => return Ok(Some(index)),
            Err(error) => reason = error,
        }
    }
    Err(reason)
}

fn usable(offer: &Description<'_>, media: &Media<'_>, local: &LocalMedia) -> Result<(), SdpError> {
    // Secure profiles need keys, and feedback profiles rules that we do not follow; both come under their own names.
    if !media.protocol().eq_ignore_ascii_case("RTP/AVP") {
        return Err(SdpError::NothingInCommon("the transport is not RTP/AVP"));
    }
    // RFC 8866 §5.14: several ports are several streams.
    if media.port_count > 1 {
        return Err(SdpError::NothingInCommon("more than one port"));
    }
    settle::usable_host(offer, media, local)?;
    let has_codec = local.codecs.iter().any(|codec| media.payload_type_of(&codec.encoding()).is_some());
    if has_codec { Ok(()) } else { Err(SdpError::NothingInCommon("no codec that both have")) }
}

fn write_audio(text: &mut String, offer: &Description<'_>, media: &Media<'_>, local: &LocalMedia) {
    // What is common by our preference, under the numbers of the offer (RFC 3264 §6.1).
    let mut formats: Vec<Format<'_>> = Vec::with_capacity(local.codecs.len() + 1);
    for codec in &local.codecs {
        if let Some(payload_type) = media.payload_type_of(&codec.encoding())
            && formats.iter().all(|format| format.payload_type != payload_type)
        {
            formats.push(Format { payload_type, encoding: codec.encoding(), fmtp: codec.fmtp.as_deref() });
        }
    }
    if local.comfort_noise
        && formats.iter().any(|format| format.encoding.clock_rate == COMFORT_NOISE.clock_rate)
        && let Some(payload_type) = media.payload_type_of(&COMFORT_NOISE)
    {
        formats.push(Format { payload_type, encoding: COMFORT_NOISE, fmtp: None });
    }
    if local.dtmf {
        // RFC 4733 §2.1: one for each clock rate of the audio; peers that have it only at 8000 beside a faster codec are common.
        let mut rates: Vec<u32> = Vec::new();
        for rate in formats.iter().map(|format| format.encoding.clock_rate).chain([8000]) {
            if !rates.contains(&rate) {
                rates.push(rate);
            }
        }
        for clock_rate in rates {
            if let Some(payload_type) = media.payload_type_of(&write::telephone_event(0, clock_rate).encoding) {
                formats.push(write::telephone_event(payload_type, clock_rate));
            }
        }
    }
    // `choose` has made sure that there is a host.
    let offered = offer.direction_of(media);
    let offered = offer.host_of(media).map_or(offered, |host| settle::audible(offered, host));
    let direction = local.direction.and(offered.mirrored());
    let rtcp = Rtcp {
        // An offer that does not know of extended reports need not read of them.
        xr: offer.xr_of(media).filter(|_| local.rtcp_xr).map(Xr::answer),
        // RFC 8035 §3: only where it was offered.
        mux: media.rtcp_mux,
    };
    write::audio(text, local.port, &formats, settle::ptime(media, local.ptime), direction, rtcp);
    // RFC 5761 §5.1.3: one that agrees to one port names no other.
    if !rtcp.mux {
        write::rtcp(text, local);
    }
    if let Some(role) = offer.role_of(media) {
        write::role(text, role);
    }
}
