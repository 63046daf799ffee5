//! Checks of descriptions that a program brings along. They may hold any media, not only what we can do: what is checked is that
//! the peer can make sense of them.

use crate::line::number;
use crate::{Description, Direction, Media, SdpError};

/// A program's own offer: well-formed, with at least one media line switched on, each of these with an address.
pub fn check_offer(offer: &str) -> Result<(), SdpError> {
    let offer = Description::parse(offer)?;
    let mut active = offer.media.iter().filter(|media| media.port() != 0).peekable();
    if active.peek().is_none() {
        return Err(SdpError::Invalid("no media line that is switched on"));
    }
    active.try_for_each(|media| has_address(&offer, media))
}

/// A program's own answer (RFC 3264 §6): a media line for each of the offer's, of the same kind and transport, with a format and a
/// direction that were offered. At least one is switched on, unless the offer had none.
pub fn check_answer(offer: &str, answer: &str) -> Result<(), SdpError> {
    let offer = Description::parse(offer)?;
    let answer = Description::parse(answer)?;
    if offer.media.len() != answer.media.len() {
        let media = offer.media.len().min(answer.media.len()) + 1;
        return Err(SdpError::NotAnAnswer {
            media,
            why: "the offer and the answer differ in the number of media lines",
        });
    }
    for (index, (offered, answered)) in offer.media.iter().zip(&answer.media).enumerate() {
        let asked = offer.direction_of(offered);
        check_line(offered, asked, answered, answer.direction_of(answered))
            .map_err(|why| SdpError::NotAnAnswer { media: index + 1, why })?;
        if answered.port() != 0 {
            has_address(&answer, answered)?;
        }
    }
    let is_on = |media: &Media<'_>| media.port() != 0;
    if offer.media.iter().any(is_on) && !answer.media.iter().any(is_on) {
        return Err(SdpError::NothingInCommon("the answer rejects every media line"));
    }
    Ok(())
}

fn check_line(
    offered: &Media<'_>,
    asked: Direction,
    answered: &Media<'_>,
    direction: Direction,
) -> Result<(), &'static str> {
    if !offered.kind().eq_ignore_ascii_case(answered.kind()) {
        return Err("another kind of media than offered");
    }
    if answered.port() == 0 {
        return Ok(());
    }
    if offered.port() == 0 {
        return Err("switched off in the offer, so it is in the answer");
    }
    if !offered.protocol().eq_ignore_ascii_case(answered.protocol()) {
        return Err("another transport than offered");
    }
    if asked.mirrored().and(direction) != direction {
        return Err("the direction does not fit the offer's");
    }
    // RFC 3264 §6.1: one of the offer's formats at least; others that the answerer would receive may stand beside it.
    if answered.formats().iter().any(|format| is_offered(format, offered, answered)) {
        Ok(())
    } else {
        Err("no format that was offered")
    }
}

/// RFC 3264 §6.1: an encoding may go by another number in the answer, if it is the same encoding.
fn is_offered(format: &str, offered: &Media<'_>, answered: &Media<'_>) -> bool {
    let is_audio = offered.is_audio() && offered.is_rtp();
    match number(format).filter(|_| is_audio).and_then(|payload_type| answered.encoding(payload_type)) {
        Some(encoding) => offered.payload_type_of(&encoding).is_some(),
        None => offered.formats().contains(&format),
    }
}

fn has_address(description: &Description<'_>, media: &Media<'_>) -> Result<(), SdpError> {
    match description.host_of(media) {
        Some(_) => Ok(()),
        None => {
            let text = format!("m={} {} {}", media.kind(), media.port(), media.protocol());
            Err(SdpError::Syntax { line: media.line, why: "no c= line for it", text })
        }
    }
}
