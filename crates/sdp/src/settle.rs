//! What a pair of descriptions means for the media: the one place where it is worked out, for offerer and answerer alike.

use std::net::SocketAddr;

use crate::codec::{COMFORT_NOISE, COMFORT_NOISE_NUMBER, Encoding};
use crate::{AudioCodec, Description, Direction, EventType, LocalCodec, LocalMedia, Media, MediaHost, Role, SdpError};

/// What offer and answer settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// Our description: the answer that was made, or the offer that was answered.
    pub local_sdp: String,
    /// Where RTP goes. `None`: nowhere (the null address, no audio), or `remote_host` is a name still to be looked up.
    pub remote_rtp: Option<SocketAddr>,
    /// Where RTCP goes: `a=rtcp` (RFC 3605), else the port above RTP.
    pub remote_rtcp: Option<SocketAddr>,
    /// The peer's `c=` as it stands there. `None` where no audio was settled.
    pub remote_host: Option<MediaHost>,
    /// 0 where no audio was settled.
    pub remote_port: u16,
    /// What we send with, under the peer's payload type.
    pub send: Option<AudioCodec>,
    /// What may come, under our payload types.
    pub receive: Vec<AudioCodec>,
    /// Telephone-event towards the peer.
    pub dtmf_send: Option<EventType>,
    /// Telephone-event towards us, one for each clock rate.
    pub dtmf_receive: Vec<EventType>,
    /// Payload type of comfort noise towards us. Where it was not spoken of, it is the one that it always has.
    pub comfort_noise: Option<u8>,
    /// Towards the peer, where both descriptions have it.
    pub comfort_noise_send: Option<u8>,
    /// RTCP goes and comes by the port of RTP (RFC 5761); `remote_rtcp` is `remote_rtp` then.
    pub rtcp_mux: bool,
    /// The peer asks for VoIP metrics (RFC 3611 §4.7).
    pub xr_voip: bool,
    /// Both sides take part in measuring the round trip by receiver reference times (RFC 3611 §4.4).
    pub xr_reference_time: bool,
    /// Who sends first, as the peer says it.
    pub remote_role: Option<Role>,
    /// Milliseconds a packet that we send.
    pub ptime_ms: u8,
    /// What we may do.
    pub direction: Direction,
    /// What the peer may do, its null address considered.
    pub remote_direction: Direction,
    /// The peer does not want to hear us, though we would speak.
    pub remote_held: bool,
    /// Whether it says so at all: an answer to an offer of ours that does not send cannot (RFC 6337 §5.3).
    pub tells_hold: bool,
}

/// Whose description is the answer, and so decides by its order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Local,
    Remote,
}

/// The range that ptime is kept in.
const PTIME: std::ops::RangeInclusive<u16> = 10..=60;

/// Reads line `index` of both descriptions.
pub(crate) fn settle(
    local: &Description<'_>,
    remote: &Description<'_>,
    index: usize,
    answer: Answer,
    wishes: &LocalMedia,
) -> Result<Negotiated, SdpError> {
    let (Some(ours), Some(theirs)) = (local.media.get(index), remote.media.get(index)) else {
        return Err(SdpError::NothingInCommon("no audio line"));
    };
    let host = usable_host(remote, theirs, wishes)?;
    let deciding = match answer {
        Answer::Local => ours,
        Answer::Remote => theirs,
    };
    let mut send = None;
    let mut receive: Vec<AudioCodec> = Vec::new();
    for (_, encoding) in deciding.encodings() {
        let Some(codec) = wishes.codecs.iter().find(|codec| codec.encoding().is(&encoding)) else { continue };
        let (Some(there), Some(here)) = (theirs.payload_type_of(&encoding), ours.payload_type_of(&encoding)) else {
            continue;
        };
        if receive.iter().any(|known| known.payload_type == here) {
            continue;
        }
        send.get_or_insert_with(|| in_use(codec, there, theirs));
        receive.push(in_use(codec, here, ours));
    }
    let Some(send) = send else {
        return Err(SdpError::NothingInCommon("no codec that both have"));
    };
    let (dtmf_send, dtmf_receive) = telephone_events(ours, theirs, send.clock_rate, &receive);
    let comfort_noise = comfort_noise(ours, &receive);
    let comfort_noise_send = theirs
        .payload_type_of(&COMFORT_NOISE)
        .filter(|_| ours.payload_type_of(&COMFORT_NOISE).is_some() && send.clock_rate == COMFORT_NOISE.clock_rate);

    // RFC 5761 §5.1.1: where both say so.
    let rtcp_mux = ours.rtcp_mux && theirs.rtcp_mux;
    let (ours_xr, theirs_xr) = (local.xr_of(ours).unwrap_or_default(), remote.xr_of(theirs).unwrap_or_default());

    let remote_direction = audible(remote.direction_of(theirs), host);
    let wanted = local.direction_of(ours);
    let remote_rtp = host.ip().filter(|ip| !ip.is_unspecified()).map(|ip| SocketAddr::new(ip, theirs.port()));
    Ok(Negotiated {
        local_sdp: local.to_string(),
        remote_rtp,
        remote_rtcp: remote_rtp.and_then(|rtp| if rtcp_mux { Some(rtp) } else { rtcp_address(rtp, theirs, wishes) }),
        rtcp_mux,
        xr_voip: theirs_xr.voip_metrics && wishes.rtcp_xr,
        xr_reference_time: theirs_xr.receiver_rtt && ours_xr.receiver_rtt,
        remote_role: remote.role_of(theirs),
        remote_host: Some(host.clone()),
        remote_port: theirs.port(),
        ptime_ms: ptime(theirs, wishes.ptime),
        send: Some(send),
        receive,
        dtmf_send,
        dtmf_receive,
        comfort_noise,
        comfort_noise_send,
        direction: wanted.and(remote_direction.mirrored()),
        remote_direction,
        // As the offerer of `recvonly` or `inactive` we cannot tell: the answer may not say that it receives.
        remote_held: !remote_direction.receives() && (answer == Answer::Local || wanted.sends()),
        tells_hold: answer == Answer::Local || wanted.sends(),
    })
}

/// Both sides agreed on no audio at all, for now (RFC 3264 §5: no media lines; §8.2: switched off).
pub(crate) fn nothing(local_sdp: String, wishes: &LocalMedia) -> Negotiated {
    Negotiated {
        local_sdp,
        remote_rtp: None,
        remote_rtcp: None,
        remote_host: None,
        remote_port: 0,
        send: None,
        receive: Vec::new(),
        dtmf_send: None,
        dtmf_receive: Vec::new(),
        comfort_noise: None,
        comfort_noise_send: None,
        rtcp_mux: false,
        xr_voip: false,
        xr_reference_time: false,
        remote_role: None,
        ptime_ms: wishes.ptime,
        direction: Direction::Inactive,
        remote_direction: Direction::Inactive,
        remote_held: false,
        tells_hold: true,
    }
}

/// Where an active line is received, where one peer alone can be sent to.
pub(crate) fn usable_host<'d>(
    description: &'d Description<'_>,
    media: &'d Media<'_>,
    local: &LocalMedia,
) -> Result<&'d MediaHost, SdpError> {
    let Some(host) = description.host_of(media) else {
        let text = format!("m={} {} {}", media.kind(), media.port(), media.protocol());
        return Err(SdpError::Syntax { line: media.line, why: "no c= line for it", text });
    };
    if host.is_of_many() {
        return Err(SdpError::NothingInCommon("the address is a multicast group or for broadcasts"));
    }
    // RFC 6157 §4: without a relay there is no way from one family to the other. The null address is none to send to, nor is that of whoever
    // says that its own is to be learned.
    let sent_to = !host.is_null() && description.role_of(media) != Some(Role::Active);
    if sent_to && host.ip().is_some_and(|ip| !local.families.reach(ip)) {
        return Err(SdpError::NothingInCommon("no way from here to an address of that family"));
    }
    Ok(host)
}

/// RFC 3264 §8.4: the null address means that nothing is to be sent there, whatever the attribute says.
pub(crate) fn audible(direction: Direction, host: &MediaHost) -> Direction {
    if host.is_null() { direction.and(Direction::SendOnly) } else { direction }
}

/// What the peer would like to get, in whole frames of 10 ms; else our own wish.
pub(crate) fn ptime(theirs: &Media<'_>, ours: u8) -> u8 {
    let wanted = theirs.ptime.unwrap_or_else(|| u16::from(ours));
    let most = theirs.maxptime.unwrap_or(*PTIME.end());
    let kept = wanted.min(most).clamp(*PTIME.start(), *PTIME.end());
    // At most 60.
    (kept / 10 * 10) as u8
}

/// Telephone-event there and here. RFC 4733 §2.1: at the clock rate of the audio; peers that have it only at 8000 beside a faster codec
/// are common.
fn telephone_events(
    ours: &Media<'_>,
    theirs: &Media<'_>,
    clock_rate: u32,
    receive: &[AudioCodec],
) -> (Option<EventType>, Vec<EventType>) {
    let mut send = None;
    let mut events: Vec<EventType> = Vec::new();
    for clock_rate in [clock_rate, 8000].into_iter().chain(receive.iter().map(|codec| codec.clock_rate)) {
        let wanted = Encoding { name: crate::codec::TELEPHONE_EVENT, clock_rate, channels: 1 };
        if events.iter().any(|known| known.clock_rate == clock_rate) {
            continue;
        }
        if let (Some(there), Some(here)) = (theirs.payload_type_of(&wanted), ours.payload_type_of(&wanted)) {
            send.get_or_insert(EventType { payload_type: there, clock_rate });
            events.push(EventType { payload_type: here, clock_rate });
        }
    }
    (send, events)
}

/// RFC 3389 §4: beside a codec of 8 kHz. Gateways send it unasked, under its static number.
fn comfort_noise(ours: &Media<'_>, receive: &[AudioCodec]) -> Option<u8> {
    let negotiated = ours.payload_type_of(&COMFORT_NOISE);
    let number = negotiated.unwrap_or(COMFORT_NOISE_NUMBER);
    let is_free = receive.iter().all(|codec| codec.payload_type != number);
    (is_free && receive.iter().any(|codec| codec.clock_rate == COMFORT_NOISE.clock_rate)).then_some(number)
}

fn in_use(codec: &LocalCodec, payload_type: u8, receiver: &Media<'_>) -> AudioCodec {
    AudioCodec {
        name: codec.name.clone(),
        clock_rate: codec.clock_rate,
        channels: codec.channels,
        payload_type,
        fmtp: receiver.fmtp(payload_type).map(str::to_owned),
    }
}

fn rtcp_address(rtp: SocketAddr, media: &Media<'_>, local: &LocalMedia) -> Option<SocketAddr> {
    match &media.rtcp {
        Some((port, host)) => {
            let host = host.as_ref().filter(|host| !host.is_of_many() && !host.is_null());
            let ip = host.and_then(MediaHost::ip).filter(|ip| local.families.reach(*ip)).unwrap_or(rtp.ip());
            (*port != 0).then(|| SocketAddr::new(ip, *port))
        }
        None => rtp.port().checked_add(1).map(|port| SocketAddr::new(rtp.ip(), port)),
    }
}
