//! Writing. Every description of ours is made of these pieces.

use crate::codec::{Encoding, TELEPHONE_EVENT};
use crate::rtcp::Rtcp;
use crate::{Description, Direction, LocalMedia, Media, MediaHost, Role};

/// The events that we send and understand (RFC 4733 §7.1): digits, `*`, `#`, A to D, flash.
const EVENTS: &str = "0-16";

/// One payload type of a media line to be written.
pub(crate) struct Format<'a> {
    pub(crate) payload_type: u8,
    pub(crate) encoding: Encoding<'a>,
    pub(crate) fmtp: Option<&'a str>,
}

/// `v= o= s= c= t=`. The `o=` line is the previous description's where there is one: RFC 3264 §8 lets only its version change.
pub(crate) fn session(local: &LocalMedia, previous: Option<&Description<'_>>, timing: Option<&str>) -> String {
    let mut out = String::with_capacity(512);
    let host = local.address.to_string();
    let place = ["IN ", local.address.address_type(), " ", &host];
    out.push_str("v=0\r\no=");
    match previous.map(Description::origin) {
        Some(origin) => {
            push_all(&mut out, &[origin.user, " ", origin.session_id, " "]);
            push_number(&mut out, origin.version);
            push_all(&mut out, &[" ", origin.place]);
        }
        None => {
            push_all(&mut out, &[one_word(&local.user), " "]);
            push_number(&mut out, local.session_id);
            out.push(' ');
            push_number(&mut out, local.version);
            out.push(' ');
            push_all(&mut out, &place);
        }
    }
    out.push_str("\r\ns=-\r\nc=");
    push_all(&mut out, &place);
    push_all(&mut out, &["\r\nt=", timing.unwrap_or("0 0"), "\r\n"]);
    out
}

/// The line, its encodings, and what is to be said of RTCP.
pub(crate) fn audio(out: &mut String, port: u16, formats: &[Format<'_>], ptime: u8, direction: Direction, rtcp: Rtcp) {
    out.push_str("m=audio ");
    push_number(out, port.into());
    out.push_str(" RTP/AVP");
    for format in formats {
        out.push(' ');
        push_number(out, format.payload_type.into());
    }
    out.push_str("\r\n");
    for Format { payload_type, encoding, fmtp } in formats {
        out.push_str("a=rtpmap:");
        push_number(out, (*payload_type).into());
        push_all(out, &[" ", encoding.name, "/"]);
        push_number(out, encoding.clock_rate.into());
        if encoding.channels != 1 {
            out.push('/');
            push_number(out, encoding.channels.into());
        }
        out.push_str("\r\n");
        if let Some(fmtp) = fmtp {
            out.push_str("a=fmtp:");
            push_number(out, (*payload_type).into());
            push_all(out, &[" ", fmtp, "\r\n"]);
        }
    }
    out.push_str("a=ptime:");
    push_number(out, ptime.into());
    push_all(out, &["\r\na=", direction.as_str(), "\r\n"]);
    rtcp.write(out);
}

/// The other side of a peer's role.
pub(crate) fn role(out: &mut String, theirs: Role) {
    push_all(out, &["a=direction:", theirs.answered(), "\r\n"]);
}

/// `a=rtcp` (RFC 3605), where RTCP is not where a peer would look for it.
pub(crate) fn rtcp(out: &mut String, local: &LocalMedia) {
    let Some(rtcp) = local.rtcp else { return };
    let same_host = local.address.ip() == Some(rtcp.ip());
    if same_host && local.port.checked_add(1) == Some(rtcp.port()) {
        return;
    }
    out.push_str("a=rtcp:");
    push_number(out, rtcp.port().into());
    if !same_host {
        let host = MediaHost::Ip(rtcp.ip());
        push_all(out, &[" IN ", host.address_type(), " ", &host.to_string()]);
    }
    out.push_str("\r\n");
}

/// A media line that is not ours, or no longer: port 0, the rest as it was (RFC 3264 §6).
pub(crate) fn rejected(out: &mut String, media: &Media<'_>) {
    push_all(out, &["m=", media.kind(), " 0 ", media.protocol()]);
    for format in media.formats() {
        push_all(out, &[" ", format]);
    }
    // RFC 8866 §9: there is at least one format.
    out.push_str(if media.formats().is_empty() { " 0\r\n" } else { "\r\n" });
}

pub(crate) fn telephone_event(payload_type: u8, clock_rate: u32) -> Format<'static> {
    let encoding = Encoding { name: TELEPHONE_EVENT, clock_rate, channels: 1 };
    Format { payload_type, encoding, fmtp: Some(EVENTS) }
}

/// RFC 3264 §8: a description that says nothing new keeps its version, any other has the next one.
pub(crate) fn versioned(text: String, previous: Option<&Description<'_>>, previous_text: Option<&str>) -> String {
    match previous {
        Some(previous) if previous_text != Some(text.as_str()) => {
            with_version(&text, previous.origin().version.wrapping_add(1))
        }
        _ => text,
    }
}

/// The same text with another version in its `o=` line.
pub(crate) fn with_version(text: &str, version: u64) -> String {
    let mut out = String::with_capacity(text.len() + 4);
    let mut written = false;
    for line in text.split_inclusive('\n') {
        let mut parts = line.splitn(4, ' ');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(user), Some(session_id), Some(_), Some(place)) if !written && line.starts_with("o=") => {
                written = true;
                push_all(&mut out, &[user, " ", session_id, " "]);
                push_number(&mut out, version);
                push_all(&mut out, &[" ", place]);
            }
            _ => out.push_str(line),
        }
    }
    out
}

fn one_word(text: &str) -> &str {
    let is_word = !text.is_empty() && text.chars().all(|c| !c.is_whitespace() && !c.is_control());
    if is_word { text } else { "-" }
}

fn push_all(out: &mut String, parts: &[&str]) {
    for part in parts {
        out.push_str(part);
    }
}

/// Decimal, without the formatting machinery: a description has a dozen of them.
fn push_number(out: &mut String, number: u64) {
    let tens = number / 10;
    if tens > 0 {
        push_number(out, tens);
    }
    out.push(char::from(b'0' + (number % 10) as u8));
}
