//! Reading: one pass over the lines, everything borrowed from the text. Strict about the lines that an answer is built from
//! (`v= o= c= m=`, `a=rtpmap` of audio), and about nothing that it does not need.

use std::fmt;
use std::net::SocketAddr;

use crate::codec::{Encoding, LAST_PAYLOAD_TYPE, static_encoding};
use crate::line::{Line, Lines, limits, number};
use crate::rtcp::Xr;
use crate::{Direction, MediaHost, Role, SdpError};

/// A session description, as a view of its text.
#[derive(Clone, Debug)]
pub struct Description<'a> {
    text: &'a str,
    origin: Origin<'a>,
    /// The value of the first `t=` line.
    pub(crate) timing: Option<&'a str>,
    connection: Option<MediaHost>,
    direction: Option<Direction>,
    role: Option<Role>,
    xr: Option<Xr>,
    pub(crate) media: Vec<Media<'a>>,
}

/// The `o=` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    pub user: &'a str,
    pub session_id: &'a str,
    pub version: u64,
    /// Network type, address type and address.
    pub(crate) place: &'a str,
}

/// One `m=` line with what belongs to it.
#[derive(Clone, Debug)]
pub struct Media<'a> {
    /// Of the `m=` line, from 1.
    pub(crate) line: usize,
    kind: &'a str,
    port: u16,
    pub(crate) port_count: u16,
    protocol: &'a str,
    formats: Vec<&'a str>,
    connection: Option<MediaHost>,
    pub(crate) direction: Option<Direction>,
    rtpmaps: Vec<(u8, Encoding<'a>)>,
    fmtps: Vec<(u8, &'a str)>,
    /// Milliseconds.
    pub(crate) ptime: Option<u16>,
    pub(crate) maxptime: Option<u16>,
    /// RFC 3605.
    pub(crate) rtcp: Option<(u16, Option<MediaHost>)>,
    /// RFC 5761.
    pub(crate) rtcp_mux: bool,
    xr: Option<Xr>,
    role: Option<Role>,
}

impl<'a> Description<'a> {
    pub fn parse(text: &'a str) -> Result<Self, SdpError> {
        let mut lines = Lines::new(text)?;
        let first = lines.next()?.ok_or(SdpError::Invalid("empty"))?;
        // RFC 8866 §5.1
        if first.kind != b'v' || first.value.trim_end() != "0" {
            return Err(first.error("expected v=0"));
        }
        let mut origin = None;
        let mut description = Description {
            text,
            origin: Origin { user: "-", session_id: "0", version: 0, place: "" },
            timing: None,
            connection: None,
            direction: None,
            role: None,
            xr: None,
            media: Vec::with_capacity(1),
        };
        while let Some(line) = lines.next()? {
            match line.kind {
                b'o' if origin.is_none() => origin = Some(parse_origin(&line)?),
                b'm' => {
                    if description.media.len() == limits::MEDIA {
                        return Err(line.error("too many media lines"));
                    }
                    description.media.push(parse_media(&line)?);
                }
                b'c' => {
                    let connection = match description.media.last_mut() {
                        Some(media) => &mut media.connection,
                        None => &mut description.connection,
                    };
                    // RFC 8866 §5.7: further ones in a media section are layers of a multicast group.
                    if connection.is_none() {
                        *connection = Some(parse_connection(&line)?);
                    }
                }
                b'a' => match description.media.last_mut() {
                    Some(media) => media.parse_attribute(&line)?,
                    None => {
                        match line.value.split_once(':') {
                            Some(("direction", value)) => description.role = Role::parse(value),
                            Some(("rtcp-xr", value)) => description.xr = Some(Xr::parse(value)),
                            _ => {}
                        }
                        if let Some(direction) = Direction::parse(line.value.trim_end()) {
                            description.direction = Some(direction);
                        }
                    }
                },
                b't' => {
                    description.timing.get_or_insert(line.value);
                }
                b's' | b'i' | b'u' | b'e' | b'p' | b'b' | b'r' | b'z' | b'k' => {}
                b'v' | b'o' => return Err(line.error("a second one of its kind")),
                // RFC 8866 §5: a description with a type letter that is not understood is ignored as a whole.
                _ => return Err(line.error("unknown type letter")),
            }
        }
        description.origin = origin.ok_or(SdpError::Invalid("no o= line"))?;
        Ok(description)
    }

    pub fn origin(&self) -> &Origin<'a> {
        &self.origin
    }

    pub fn media(&self) -> &[Media<'a>] {
        &self.media
    }

    /// Where a media line is received: its own `c=`, else the session's.
    pub fn host_of<'s>(&'s self, media: &'s Media<'a>) -> Option<&'s MediaHost> {
        media.connection.as_ref().or(self.connection.as_ref())
    }

    /// The media line's own attribute, else the session's, else sendrecv (RFC 8866 §6.7).
    pub fn direction_of(&self, media: &Media<'a>) -> Direction {
        media.direction.or(self.direction).unwrap_or_default()
    }

    /// The media line's own attribute, else the session's.
    pub(crate) fn role_of(&self, media: &Media<'a>) -> Option<Role> {
        media.role.or(self.role)
    }

    /// RFC 3611 §5.1: at either level, that of the media line before that of the session.
    pub(crate) fn xr_of(&self, media: &Media<'a>) -> Option<Xr> {
        media.xr.or(self.xr)
    }

    pub(crate) fn has_session_direction(&self) -> bool {
        self.direction.is_some()
    }

    /// The index of the first audio line that is not switched off.
    pub(crate) fn active_audio(&self) -> Option<usize> {
        self.media.iter().position(|media| media.is_audio() && media.port != 0)
    }
}

/// The text as it came.
impl fmt::Display for Description<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl<'a> Media<'a> {
    /// "audio", "video", ...
    pub fn kind(&self) -> &'a str {
        self.kind
    }

    /// 0: rejected or switched off.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// "RTP/AVP", ...
    pub fn protocol(&self) -> &'a str {
        self.protocol
    }

    pub fn formats(&self) -> &[&'a str] {
        &self.formats
    }

    pub fn is_audio(&self) -> bool {
        self.kind.eq_ignore_ascii_case("audio")
    }

    /// What a payload type stands for: its `a=rtpmap`, else RFC 3551's table.
    pub(crate) fn encoding(&self, payload_type: u8) -> Option<Encoding<'a>> {
        let mapped = self.rtpmaps.iter().find(|(number, _)| *number == payload_type);
        mapped.map(|(_, encoding)| *encoding).or_else(|| static_encoding(payload_type))
    }

    /// The payload types of the line that mean something, in its order.
    pub(crate) fn encodings(&self) -> impl Iterator<Item = (u8, Encoding<'a>)> + '_ {
        self.formats.iter().filter_map(|format| {
            let payload_type = number::<u8>(format).filter(|number| *number <= LAST_PAYLOAD_TYPE)?;
            Some((payload_type, self.encoding(payload_type)?))
        })
    }

    /// The first payload type that stands for `wanted`.
    pub(crate) fn payload_type_of(&self, wanted: &Encoding<'_>) -> Option<u8> {
        self.encodings().find(|(_, encoding)| encoding.is(wanted)).map(|(payload_type, _)| payload_type)
    }

    pub(crate) fn fmtp(&self, payload_type: u8) -> Option<&'a str> {
        self.fmtps.iter().find(|(number, _)| *number == payload_type).map(|(_, parameters)| *parameters)
    }

    pub(crate) fn is_rtp(&self) -> bool {
        self.protocol.split('/').any(|part| part.eq_ignore_ascii_case("RTP"))
    }

    fn parse_attribute(&mut self, line: &Line<'a>) -> Result<(), SdpError> {
        let (name, value) = line.value.split_once(':').unwrap_or((line.value, ""));
        match name {
            "rtpmap" if self.is_audio() => {
                let (payload_type, encoding) = parse_rtpmap(value).ok_or_else(|| line.error("malformed rtpmap"))?;
                if self.rtpmaps.len() < limits::FORMATS {
                    self.rtpmaps.push((payload_type, encoding));
                }
            }
            "fmtp" if self.is_audio() => {
                if let Some((format, parameters)) = value.trim().split_once(' ')
                    && let Some(payload_type) = number(format)
                    && self.fmtps.len() < limits::FORMATS
                {
                    self.fmtps.push((payload_type, parameters.trim()));
                }
            }
            "ptime" => self.ptime = parse_milliseconds(value),
            "maxptime" => self.maxptime = parse_milliseconds(value),
            "rtcp" => self.rtcp = Some(parse_rtcp(value).ok_or_else(|| line.error("malformed rtcp"))?),
            "rtcp-mux" => self.rtcp_mux = true,
            "rtcp-xr" => self.xr = Some(Xr::parse(value)),
            "direction" => self.role = Role::parse(value),
            _ => {
                if let Some(direction) = Direction::parse(line.value.trim_end()) {
                    self.direction = Some(direction);
                }
            }
        }
        Ok(())
    }
}

/// RFC 8866 §5.2: `<username> <sess-id> <sess-version> <nettype> <addrtype> <unicast-address>`
fn parse_origin<'a>(line: &Line<'a>) -> Result<Origin<'a>, SdpError> {
    let malformed = || line.error("expected <user> <session> <version> IN IP4|IP6 <address>");
    let mut parts = line.value.splitn(4, ' ');
    let (Some(user), Some(session_id), Some(version), Some(place)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed());
    };
    let version = number(version).ok_or_else(malformed)?;
    if user.is_empty() || session_id.is_empty() || place.split_ascii_whitespace().count() != 3 {
        return Err(malformed());
    }
    Ok(Origin { user, session_id, version, place })
}

/// RFC 8866 §5.7: `<nettype> <addrtype> <connection-address>`
fn parse_connection(line: &Line<'_>) -> Result<MediaHost, SdpError> {
    parse_address(line.value).ok_or_else(|| line.error("expected IN IP4|IP6 <address>"))
}

fn parse_address(text: &str) -> Option<MediaHost> {
    let mut parts = text.split_ascii_whitespace();
    let (net, kind, address) = (parts.next()?, parts.next()?, parts.next()?);
    let known_kind = kind.eq_ignore_ascii_case("IP4") || kind.eq_ignore_ascii_case("IP6");
    if !net.eq_ignore_ascii_case("IN") || !known_kind || parts.next().is_some() {
        return None;
    }
    // A multicast address is followed by its time to live and by a count.
    let address = address.split('/').next().unwrap_or(address);
    match address.parse() {
        Ok(ip) => Some(MediaHost::Ip(ip)),
        Err(_) => is_name(address).then(|| MediaHost::Name(address.to_owned())),
    }
}

/// A domain name (RFC 1123 §2.1), which is never all digits and dots.
fn is_name(text: &str) -> bool {
    let label_is_good = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
    };
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= 253 && text.split('.').all(label_is_good) && text.bytes().any(|b| b.is_ascii_alphabetic())
}

/// RFC 8866 §5.14: `<media> <port>[/<number of ports>] <proto> <fmt> ...`
fn parse_media<'a>(line: &Line<'a>) -> Result<Media<'a>, SdpError> {
    let malformed = || line.error("expected <media> <port> <protocol> <format> ...");
    let mut parts = line.value.split_ascii_whitespace();
    let (Some(kind), Some(port), Some(protocol)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(malformed());
    };
    let (port, port_count) = match port.split_once('/') {
        Some((port, count)) => (port, number(count).ok_or_else(malformed)?),
        None => (port, 1),
    };
    let port = number(port).ok_or_else(|| line.error("the port is not a number from 0 to 65535"))?;
    let mut formats = Vec::with_capacity(8);
    for format in parts {
        if formats.len() == limits::FORMATS {
            return Err(line.error("too many formats"));
        }
        formats.push(format);
    }
    if formats.is_empty() && port != 0 {
        return Err(malformed());
    }
    Ok(Media {
        line: line.number,
        kind,
        port,
        port_count,
        protocol,
        formats,
        connection: None,
        direction: None,
        rtpmaps: Vec::new(),
        fmtps: Vec::new(),
        ptime: None,
        maxptime: None,
        rtcp: None,
        rtcp_mux: false,
        xr: None,
        role: None,
    })
}

/// RFC 8866 §6.6: `<payload type> <encoding name>/<clock rate>[/<encoding parameters>]`, for audio the number of channels.
fn parse_rtpmap(value: &str) -> Option<(u8, Encoding<'_>)> {
    let (payload_type, encoding) = value.trim().split_once(' ')?;
    let mut parts = encoding.trim().split('/');
    let (name, clock_rate) = (parts.next()?, number(parts.next()?)?);
    let channels = match parts.next() {
        Some(channels) => number(channels)?,
        None => 1,
    };
    let payload_type = number(payload_type).filter(|number| *number <= LAST_PAYLOAD_TYPE)?;
    let whole = !name.is_empty() && !name.contains(' ') && clock_rate > 0 && channels > 0;
    whole.then_some((payload_type, Encoding { name, clock_rate, channels }))
}

/// `a=ptime` and `a=maxptime` may be real numbers (RFC 8866 §6.4); a wish that cannot be read is no wish.
fn parse_milliseconds(value: &str) -> Option<u16> {
    let whole = value.trim().split('.').next()?;
    number(whole).filter(|milliseconds| *milliseconds > 0)
}

/// RFC 3605 §2.1: `<port> [<nettype> <addrtype> <address>]`
fn parse_rtcp(value: &str) -> Option<(u16, Option<MediaHost>)> {
    let value = value.trim();
    match value.split_once(' ') {
        Some((port, address)) => Some((number(port)?, Some(parse_address(address)?))),
        None => Some((number(value)?, None)),
    }
}

/// Where the owner of a description receives audio: `c=` and port of the first audio line that is not switched off. `None` where
/// there is none, or where `c=` has a name or the null address instead.
pub fn media_address(text: &str) -> Result<Option<SocketAddr>, SdpError> {
    let description = Description::parse(text)?;
    let audio = description.active_audio().and_then(|index| description.media.get(index));
    Ok(audio.and_then(|media| {
        let host = description.host_of(media).filter(|host| !host.is_null())?;
        Some(SocketAddr::new(host.ip()?, media.port()))
    }))
}
