//! The offerer's side (RFC 3264 §5, §7, §8).

use crate::codec::{COMFORT_NOISE, COMFORT_NOISE_NUMBER, FIRST_DYNAMIC, LAST_PAYLOAD_TYPE, USUAL_TELEPHONE_EVENT};
use crate::rtcp::{Rtcp, Xr};
use crate::settle::{self, Answer, Negotiated};
use crate::write::{self, Format};
use crate::{Description, LocalMedia, Media, SdpError};

/// Offers audio with all codecs of `local`.
///
/// Within a session ([`LocalMedia::previous`]) the offer has the media lines of the previous description in their order, those
/// that are not our audio switched off (RFC 3264 §8.2), and no payload type changes its meaning (§8.3.2).
pub fn offer(local: &LocalMedia) -> String {
    let previous = local.previous.as_deref().and_then(|text| Description::parse(text).ok());
    let mut text = write::session(local, previous.as_ref(), None);
    match &previous {
        None => write_audio(&mut text, local, None),
        Some(previous) => {
            let ours = previous.active_audio().or_else(|| previous.media.iter().position(Media::is_audio));
            for (index, media) in previous.media.iter().enumerate() {
                if Some(index) == ours {
                    write_audio(&mut text, local, Some(media));
                } else {
                    write::rejected(&mut text, media);
                }
            }
            if ours.is_none() {
                write_audio(&mut text, local, None);
            }
        }
    }
    write::versioned(text, previous.as_ref(), local.previous.as_deref())
}

/// Reads the peer's answer to `local_offer`.
pub fn accept(local_offer: &str, remote_answer: &str, local: &LocalMedia) -> Result<Negotiated, SdpError> {
    let offer = Description::parse(local_offer)?;
    let answer = Description::parse(remote_answer)?;
    // RFC 3264 §6
    if offer.media.len() != answer.media.len() {
        let media = offer.media.len().min(answer.media.len()) + 1;
        return Err(SdpError::NotAnAnswer {
            media,
            why: "the offer and the answer differ in the number of media lines",
        });
    }
    let Some(index) = offer.active_audio() else {
        return Ok(settle::nothing(local_offer.to_owned(), local));
    };
    let media = index + 1;
    match answer.media.get(index) {
        Some(line) if !line.is_audio() => Err(SdpError::NotAnAnswer { media, why: "audio was offered" }),
        Some(line) if line.port() == 0 => Err(SdpError::NothingInCommon("the peer rejects the audio")),
        Some(line) if !line.protocol().eq_ignore_ascii_case("RTP/AVP") => {
            Err(SdpError::NotAnAnswer { media, why: "RTP/AVP was offered" })
        }
        _ => settle::settle(&offer, &answer, index, Answer::Remote, local),
    }
}

fn write_audio(text: &mut String, local: &LocalMedia, previous: Option<&Media<'_>>) {
    let mut numbers = Numbers::new(local, previous);
    let mut formats: Vec<Format<'_>> = Vec::with_capacity(local.codecs.len() + 1);
    for codec in &local.codecs {
        let encoding = codec.encoding();
        let known = previous.and_then(|media| media.payload_type_of(&encoding));
        if let Some(payload_type) = known.or(codec.static_payload_type).or_else(|| numbers.take_for_audio())
            && formats.iter().all(|format| format.payload_type != payload_type)
        {
            formats.push(Format { payload_type, encoding, fmtp: codec.fmtp.as_deref() });
        }
    }
    // What was agreed once is offered again.
    let known = previous.and_then(|media| media.payload_type_of(&COMFORT_NOISE));
    if (known.is_some() || local.offer_comfort_noise)
        && local.codecs.iter().any(|codec| codec.clock_rate == COMFORT_NOISE.clock_rate)
    {
        let payload_type = known.unwrap_or(COMFORT_NOISE_NUMBER);
        formats.push(Format { payload_type, encoding: COMFORT_NOISE, fmtp: None });
    }
    if local.dtmf {
        // RFC 4733 §2.1: one for each clock rate of the audio.
        let mut rates: Vec<u32> = Vec::new();
        // 8000 first: nearly everybody has that under the usual number.
        if local.codecs.iter().any(|codec| codec.clock_rate == 8000) {
            rates.push(8000);
        }
        for codec in &local.codecs {
            if !rates.contains(&codec.clock_rate) {
                rates.push(codec.clock_rate);
            }
        }
        for rate in rates {
            let wanted = write::telephone_event(0, rate).encoding;
            let known = previous.and_then(|media| media.payload_type_of(&wanted));
            if let Some(payload_type) = known.or_else(|| numbers.take(USUAL_TELEPHONE_EVENT)) {
                formats.push(write::telephone_event(payload_type, rate));
            }
        }
    }
    let ptime = local.ptime.clamp(10, 60) / 10 * 10;
    let rtcp = Rtcp {
        xr: local.rtcp_xr.then_some(Xr { voip_metrics: true, receiver_rtt: true }),
        // RFC 8035 §3: what was agreed once is offered again.
        mux: local.rtcp_mux || previous.is_some_and(|media| media.rtcp_mux),
    };
    write::audio(text, local.port, &formats, ptime, local.direction, rtcp);
    write::rtcp(text, local);
}

/// The dynamic payload types that are spoken for.
struct Numbers {
    used: u128,
}

impl Numbers {
    fn new(local: &LocalMedia, previous: Option<&Media<'_>>) -> Self {
        let mut numbers = Numbers { used: 0 };
        for codec in &local.codecs {
            numbers.mark(codec.static_payload_type);
        }
        for (payload_type, _) in previous.into_iter().flat_map(|media| media.encodings()) {
            numbers.mark(Some(payload_type));
        }
        numbers
    }

    fn mark(&mut self, payload_type: Option<u8>) {
        if let Some(number) = payload_type.filter(|number| *number <= LAST_PAYLOAD_TYPE) {
            self.used |= 1 << number;
        }
    }

    /// Not the number that telephone-event usually has, while there are others.
    fn take_for_audio(&mut self) -> Option<u8> {
        let usual = 1 << USUAL_TELEPHONE_EVENT;
        let free = self.used & usual == 0;
        self.used |= usual;
        let number = self.take(FIRST_DYNAMIC);
        if free {
            self.used &= !usual;
        }
        number.or_else(|| self.take(USUAL_TELEPHONE_EVENT))
    }

    /// `preferred` or the next free one above it, then from the first dynamic one on.
    fn take(&mut self, preferred: u8) -> Option<u8> {
        let free = |number: &u8| self.used & (1 << number) == 0;
        let number =
            (preferred..=LAST_PAYLOAD_TYPE).find(free).or_else(|| (FIRST_DYNAMIC..preferred).find(|n| free(n)))?;
        self.mark(Some(number));
        Some(number)
    }
}
