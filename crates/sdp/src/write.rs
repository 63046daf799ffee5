//! Writing. Every description of ours is made of these pieces.

use std::fmt::Write as _;

use crate::codec::{Encoding, TELEPHONE_EVENT};
use crate::{Description, Direction, LocalMedia, Media};

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
    let host = &local.address;
    let kind = host.address_type();
    // Writing into a String does not fail.
    let _ = match previous.map(Description::origin) {
        Some(origin) => {
            write!(out, "v=0\r\no={} {} {} {}\r\n", origin.user, origin.session_id, origin.version, origin.place)
        }
        None => {
            let user = one_word(&local.user);
            write!(out, "v=0\r\no={user} {} {} IN {kind} {host}\r\n", local.session_id, local.version)
        }
    };
    let _ = write!(out, "s=-\r\nc=IN {kind} {host}\r\nt={}\r\n", timing.unwrap_or("0 0"));
    out
}

pub(crate) fn audio(out: &mut String, port: u16, formats: &[Format<'_>], ptime: u8, direction: Direction) {
    let _ = write!(out, "m=audio {port} RTP/AVP");
    for format in formats {
        let _ = write!(out, " {}", format.payload_type);
    }
    out.push_str("\r\n");
    for Format { payload_type, encoding, fmtp } in formats {
        let _ = write!(out, "a=rtpmap:{payload_type} {}/{}", encoding.name, encoding.clock_rate);
        if encoding.channels != 1 {
            let _ = write!(out, "/{}", encoding.channels);
        }
        out.push_str("\r\n");
        if let Some(fmtp) = fmtp {
            let _ = write!(out, "a=fmtp:{payload_type} {fmtp}\r\n");
        }
    }
    let _ = write!(out, "a=ptime:{ptime}\r\na={direction}\r\n");
}

/// A media line that is not ours, or no longer: port 0, the rest as it was (RFC 3264 §6).
pub(crate) fn rejected(out: &mut String, media: &Media<'_>) {
    let _ = write!(out, "m={} 0 {}", media.kind(), media.protocol());
    for format in media.formats() {
        let _ = write!(out, " {format}");
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
                let _ = write!(out, "{user} {session_id} {version} {place}");
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
