//! What a leg does with a packet: check its source, count it, and pass its content on, at once where another leg or the echo wants it.

use std::net::SocketAddr;
use std::ops::Range;

use ringback_audio::HeardDigit;
use ringback_media_api::{Codec, Event, LegId};
use ringback_rtp::dtmf::Digit;
use ringback_rtp::header::HEADER_LEN;
use ringback_rtp::{Arrival, Header, HeaderError, Packet};
use ringback_time::{Mono, Now};

use crate::follow;
use crate::latch::Verdict;
use crate::leg::{DigitBudget, Leg, Retention, Target, millis};
use crate::newcomer::{self, Admission};
use crate::outgoing;
use crate::recorder::Recorder;
use crate::reframe::{LONGEST_FRAME, Reframe};
use crate::retained::Retained;
use crate::statistics::{self, PlayoutDelay};
use crate::transcode::Transcode;
use crate::{Out, codec};

/// The time that a telephone-event packet stands for, as far as filling in silence goes: RFC 4733 §2.5.1.2 has updates each 50 ms.
const EVENT_MS: u64 = 50;

/// So long nothing is filled in after comfort noise: RFC 3389 §4 leaves it to the sender how often it is repeated.
const NOISE_MS: u64 = 10_000;
/// The same after a packet of Opus that says that its sender pauses: it is repeated each 400 ms (RFC 6716 §2.1.9).
const OPUS_PAUSE_MS: u64 = 1_000;

/// A packet whose place in its stream is known.
struct Placed {
    header: Header,
    payload: Range<usize>,
    extended: u64,
}

/// `peer`: the leg that `leg` is bridged with.
pub(crate) fn rtp<O: Out + ?Sized>(
    leg: &mut Leg,
    mut peer: Option<&mut Leg>,
    now: Now,
    arrival: Mono,
    from: SocketAddr,
    bytes: &mut [u8],
    out: &mut O,
) {
    let Packet { header, payload } = match Packet::parse(bytes) {
        Ok(packet) => packet,
        // RFC 5761 §4.
        Err(HeaderError::Rtcp) if leg.config.rtcp_mux && leg.latch.accepts_control(from) => {
            control(leg, now, bytes);
            return;
        }
        Err(_) => return,
    };
    if !leg.incoming.wanted && leg.latch.learns_from(from) {
        return;
    }
    let incoming = &leg.incoming;
    // Of events and comfort noise nothing is learned: their timestamps stand still.
    let clock_rate = || incoming.codec_of(header.payload_type).map_or(8000, |codec| codec.clock_rate());
    match leg.latch.judge(from, &header, arrival, clock_rate) {
        Verdict::Accept => {}
        verdict @ (Verdict::Learned(address) | Verdict::Locked(address)) => {
            tracing::debug!(target: "ringback.media", leg = ?leg.id, %address, "media source learned");
            if let Verdict::Locked(_) = verdict {
                out.accept_from(leg.id, Some(address));
            }
            // Reports do not go to another host than sound.
            leg.rtcp_from = leg.rtcp_from.filter(|rtcp| rtcp.ip() == address.ip());
            leg.aim();
            leg.schedule();
        }
        Verdict::Reject => return,
    }
    let state = &leg.incoming.state;
    if state.ssrc() != Some(header.ssrc) {
        // RFC 3550 A.1: the payload type must be known.
        if !is_negotiated(leg, header.payload_type) {
            return;
        }
        if state.previous_ssrc() != Some(header.ssrc) {
            let incoming = &mut leg.incoming;
            match newcomer::admit(&mut incoming.newcomer, incoming.last, now.mono, arrival, &header, bytes) {
                Admission::Refused => return,
                Admission::Admitted => {}
                Admission::After(mut first) => {
                    let (arrival, bytes) = (first.arrival, first.packet.as_mut_slice());
                    if let Ok(Packet { header, payload }) = Packet::parse(bytes) {
                        take(leg, peer.as_deref_mut(), now, arrival, header, payload, bytes, out);
                    }
                }
            }
        }
        if header.ssrc == leg.outgoing.ssrc() && !leg.outgoing.is_echo(&header) && leg.control.collides(now.mono) {
            tracing::debug!(target: "ringback.media", leg = ?leg.id, "the peer has our SSRC");
            leg.schedule();
        }
    }
    take(leg, peer, now, arrival, header, payload, bytes, out);
}

/// Whether what comes with this type has a meaning.
#[cold]
fn is_negotiated(leg: &Leg, payload_type: u8) -> bool {
    leg.incoming.codec_of(payload_type).is_some()
        || leg.config.dtmf_receive.iter().any(|format| format.payload_type == payload_type)
        || leg.config.comfort_noise == Some(payload_type)
}

/// Counts a packet of the stream, and passes on what it says.
#[allow(clippy::too_many_arguments)] // Parts of one packet.
fn take<O: Out + ?Sized>(
    leg: &mut Leg,
    peer: Option<&mut Leg>,
    now: Now,
    arrival: Mono,
    header: Header,
    payload: Range<usize>,
    bytes: &mut [u8],
    out: &mut O,
) {
    let extended = match leg.incoming.state.packet(header.ssrc, header.sequence) {
        Arrival::New(extended) => extended,
        Arrival::First(extended) => {
            begin_stream(leg, now, out);
            extended
        }
        Arrival::Duplicate | Arrival::Ignored => return,
    };
    leg.incoming.octets += payload.len() as u64;
    leg.incoming.last = Some(now.mono);
    if let Some(watch) = leg.watch.as_mut().filter(|watch| watch.told) {
        watch.told = false;
        leg.schedule();
    }
    let placed = Placed { header, payload, extended };
    if let Some(codec) = leg.incoming.codec_of(header.payload_type) {
        if !placed.payload.is_empty() {
            leg.incoming.state.timing(header.timestamp, codec.clock_rate(), arrival);
        }
        if leg.incoming.wanted && !placed.payload.is_empty() {
            leg.incoming.codec = Some(codec);
            audio(leg, peer, now, &placed, codec, bytes, out);
        } else {
            withheld(peer);
        }
    } else if !leg.incoming.wanted {
        withheld(peer);
    } else if let Some(format) = leg.config.dtmf_receive.iter().find(|f| f.payload_type == header.payload_type) {
        let clock_rate = format.clock_rate;
        event(leg, peer, now, &placed, clock_rate, bytes, out);
    } else if leg.config.comfort_noise == Some(header.payload_type) {
        noise(leg, peer, now, &placed, bytes, out);
    } else {
        withheld(peer);
    }
}

/// What came is not for the peer's peer, who is not to take it for lost: RFC 3550 §5.1 numbers the packets that are sent.
fn withheld(peer: Option<&mut Leg>) {
    if let Some(peer) = peer {
        peer.outgoing.unnumber();
    }
}

/// RFC 3389: the sender is silent from here on. Whoever decodes hears noise. It passes a bridge whose other side knows it; else the gap
/// is filled as any other.
fn noise<O: Out + ?Sized>(
    leg: &mut Leg,
    peer: Option<&mut Leg>,
    now: Now,
    placed: &Placed,
    bytes: &mut [u8],
    out: &mut O,
) {
    let payload = bytes.get(placed.payload.clone()).unwrap_or_default();
    if let Some(audio) = &mut leg.audio {
        audio.hearing.push_noise(placed.extended, placed.header.timestamp, payload);
    }
    let (stream, timestamp) = (leg.incoming.stream, placed.header.timestamp);
    match peer {
        None => {
            if let Some(transcode) = &mut leg.transcode {
                transcode.push_noise(stream, placed.extended, timestamp, payload);
            }
        }
        Some(Leg { transcode: Some(transcode), .. }) => {
            transcode.push_noise(stream, placed.extended, timestamp, payload);
        }
        Some(peer) => {
            let comes = leg.incoming.codec.unwrap_or_else(|| leg.codec());
            pass_noise(peer, comes, stream, now, placed, bytes, out);
        }
    }
}

fn pass_noise<O: Out + ?Sized>(
    to: &mut Leg,
    comes: Codec,
    stream: u32,
    now: Now,
    placed: &Placed,
    bytes: &mut [u8],
    out: &mut O,
) {
    let (Some(target), Some(payload_type)) = (to.target, to.config.comfort_noise_send) else {
        return withheld(Some(to));
    };
    if to.is_overridden() || !comes.passes_as(target.format.codec) {
        return withheld(Some(to));
    }
    if to.reframe.take().is_some() {
        to.outgoing.unnumber();
    }
    let packet = outgoing::Incoming {
        stream,
        extended: placed.extended,
        timestamp: placed.header.timestamp,
        units: 0,
        marker: placed.header.marker,
        event: false,
    };
    let now_ms = millis(now.mono);
    let header = to.outgoing.relay(packet, payload_type, placed.payload.len(), now.mono, now_ms);
    to.outgoing.pause(now_ms, NOISE_MS);
    if let Some(bytes) = header.and_then(|header| put_header(header, &placed.payload, bytes)) {
        out.rtp(to.id, target.to, bytes);
    }
}

#[cold]
fn begin_stream<O: Out + ?Sized>(leg: &mut Leg, now: Now, out: &mut O) {
    leg.incoming.stream = leg.incoming.stream.wrapping_add(1);
    leg.incoming.discarded_before = statistics::discarded(leg);
    end_digit(leg, now, out);
    if let Some(audio) = &mut leg.audio {
        audio.hearing.reset();
    }
    if let Some(member) = &mut leg.member {
        member.begin_stream();
    }
    if let Some(recorder) = &mut leg.recorder {
        recorder.received.reset();
    }
}

fn audio<O: Out + ?Sized>(
    leg: &mut Leg,
    peer: Option<&mut Leg>,
    now: Now,
    placed: &Placed,
    codec: Codec,
    bytes: &mut [u8],
    out: &mut O,
) {
    let payload = bytes.get(placed.payload.clone()).unwrap_or_default();
    if leg.incoming.listener.is_some() {
        listen(leg, now, placed, codec, payload, out);
    }
    if let Some(ear) = &mut leg.incoming.ear {
        let speaking = ear.hear(leg.incoming.stream, placed.extended, codec, payload, millis(now.mono));
        tell_speech(leg.id, speaking, out);
    }
    if let Some(recorder) = &mut leg.recorder {
        recorder.received.push(placed.extended, placed.header.timestamp, codec, payload);
    }
    if leg.incoming.times_packets {
        leg.incoming.packet_ms = (codec::units(codec, payload) / codec::units_per_ms(codec).max(1)) as u16;
    }
    let mut in_time = true;
    match (&mut leg.audio, &mut leg.incoming.retained) {
        (Some(audio), _) => in_time = audio.receive(placed.extended, placed.header.timestamp, codec, payload),
        (None, Retention::Over) => {}
        (None, Retention::Keeping(retained)) => {
            keep(retained, leg.incoming.stream, placed, codec, now, payload);
        }
        (None, waiting @ Retention::Waiting) => {
            let mut retained = Box::new(Retained::new());
            keep(&mut retained, leg.incoming.stream, placed, codec, now, payload);
            *waiting = Retention::Keeping(retained);
        }
    }
    if let Some(member) = &mut leg.member {
        in_time &= member.receive(placed.extended, placed.header.timestamp, codec, payload);
    } else {
        let stream = leg.incoming.stream;
        let waits = match peer {
            Some(peer) => {
                leg.incoming.goes_on = peer.passes(codec);
                relay(peer, stream, placed, codec, now, bytes, out)
            }
            None if leg.echo => {
                leg.incoming.goes_on = leg.passes(codec);
                relay(leg, stream, placed, codec, now, bytes, out)
            }
            None => None,
        };
        if waits.is_some() || leg.incoming.transcoded.is_some() {
            leg.incoming.transcoded = waits.map(|(_, playout)| playout);
            let late = waits.is_some_and(|(in_time, _)| !in_time);
            leg.incoming.discarded += u64::from(late);
            in_time &= !late;
        }
    }
    if !in_time {
        leg.incoming.state.discard(placed.extended);
    }
}

pub(crate) fn tell_speech<O: Out + ?Sized>(leg: LegId, speaking: Option<bool>, out: &mut O) {
    if let Some(speaking) = speaking {
        out.event(Event::Speech { leg, speaking });
    }
}

/// Digits by their tones.
fn listen<O: Out + ?Sized>(leg: &mut Leg, now: Now, placed: &Placed, codec: Codec, payload: &[u8], out: &mut O) {
    let (id, incoming) = (leg.id, &mut leg.incoming);
    let Some(listener) = incoming.listener.as_mut().filter(|_| !incoming.has_events) else { return };
    listener.hear(incoming.stream, placed.extended, codec, payload, |heard| {
        tell_tone(id, &mut incoming.budget, now.mono, heard, out);
    });
}

fn tell_tone<O: Out + ?Sized>(leg: LegId, budget: &mut DigitBudget, now: Mono, heard: HeardDigit, out: &mut O) {
    if budget.spend(now) {
        out.event(Event::InbandDtmf { leg, digit: heard.digit, duration_ms: heard.duration_ms });
    }
}

fn keep(retained: &mut Retained, stream: u32, placed: &Placed, codec: Codec, now: Now, payload: &[u8]) {
    retained.push(stream, placed.extended, placed.header.timestamp, codec, millis(now.mono), payload);
}

/// Sends on what came, from `to`, without waiting for its turn. Where it has to wait to be transcoded: whether it came in time, and how long
/// that wait is.
fn relay<O: Out + ?Sized>(
    to: &mut Leg,
    stream: u32,
    placed: &Placed,
    codec: Codec,
    now: Now,
    bytes: &mut [u8],
    out: &mut O,
) -> Option<(bool, PlayoutDelay)> {
    let Some(target) = to.target.filter(|_| !to.is_overridden()) else {
        withheld(Some(to));
        return None;
    };
    let now_ms = millis(now.mono);
    let sends = target.format.codec;
    let payload = bytes.get_mut(placed.payload.clone())?;
    if !codec.passes_as(sends) {
        return transcode(to, stream, placed, codec, sends, payload);
    }
    to.joint.forget();
    if to.transcode.is_some() {
        finish_transcoding(to, target, now, out);
    }
    codec::exchange_laws(codec, sends, payload);
    let units = codec::units(sends, payload);
    if sends == Codec::Opus && payload.len() <= codec::OPUS_PAUSE_OCTETS {
        to.outgoing.pause(now_ms, OPUS_PAUSE_MS);
    } else {
        to.outgoing.fed(now_ms, u64::from(units / codec::units_per_ms(sends).max(1)));
    }
    let frame_units = u32::from(target.format.ptime_ms) * codec::units_per_ms(sends);
    let octets_per_unit = codec::octets_per_unit(sends);
    let mut packet = outgoing::Incoming {
        stream,
        extended: placed.extended,
        timestamp: placed.header.timestamp,
        units,
        marker: placed.header.marker,
        event: false,
    };
    // Frames that cannot be cut pass as they are: ptime is a wish (RFC 8866 §6.4).
    if units == frame_units || octets_per_unit.is_none() {
        if to.reframe.take().is_some() {
            to.outgoing.unnumber();
        }
        let octets = payload.len();
        let header = to.outgoing.relay(packet, target.format.payload_type, octets, now.mono, now_ms);
        if let Some(bytes) = header.and_then(|header| put_header(header, &placed.payload, bytes)) {
            record(&mut to.recorder, header, sends, bytes);
            follow::pass_on(&mut to.follow, sends, bytes.get(HEADER_LEN..).unwrap_or_default());
            out.rtp(to.id, target.to, bytes);
        }
        return None;
    }
    // The sides have different packet times.
    let reframe = match &mut to.reframe {
        Some(reframe) if reframe.fits(stream, sends) => reframe,
        other => {
            to.outgoing.unnumber();
            other.insert(Box::new(Reframe::new(stream, sends)))
        }
    };
    reframe.push(placed.header.timestamp, payload);
    let frame = frame_units as usize * octets_per_unit.unwrap_or(1);
    let mut made = [0; HEADER_LEN + LONGEST_FRAME];
    while let Some((extended, timestamp)) = made.get_mut(HEADER_LEN..).and_then(|body| reframe.pop(frame, body)) {
        packet = outgoing::Incoming { extended, timestamp, units: frame_units, ..packet };
        let header = to.outgoing.relay(packet, target.format.payload_type, frame, now.mono, now_ms);
        packet.marker = false;
        let whole = HEADER_LEN..HEADER_LEN + frame;
        if let Some(bytes) = header.and_then(|header| put_header(header, &whole, &mut made)) {
            record(&mut to.recorder, header, sends, bytes);
            follow::pass_on(&mut to.follow, sends, bytes.get(HEADER_LEN..).unwrap_or_default());
            out.rtp(to.id, target.to, bytes);
        }
    }
    None
}

/// Shows a packet that leaves to whoever records the leg.
#[inline]
fn record(recorder: &mut Option<Box<Recorder>>, header: Option<Header>, codec: Codec, packet: &[u8]) {
    if let (Some(recorder), Some(header)) = (recorder, header) {
        recorder.send(&header, codec, packet.get(HEADER_LEN..).unwrap_or_default());
    }
}

/// Keeps what came for the turns of `to`, which cannot send it as it is.
fn transcode(
    to: &mut Leg,
    stream: u32,
    placed: &Placed,
    codec: Codec,
    sends: Codec,
    payload: &[u8],
) -> Option<(bool, PlayoutDelay)> {
    if to.transcode.as_ref().is_none_or(|transcode| !transcode.is_for(sends)) {
        // What was relayed until now is over, and what follows goes on with it.
        let goes_on = to.outgoing.relayed_until(stream).is_some();
        to.reframe = None;
        to.outgoing.unfeed();
        to.transcode = Transcode::new(stream, codec, sends).map(Box::new);
        if let Some(transcode) = to.transcode.as_mut().filter(|_| goes_on) {
            transcode.begin_at(placed.header.timestamp);
            to.outgoing.lasts();
        }
    }
    let transcode = to.transcode.as_mut()?;
    let in_time = transcode.push(stream, placed.extended, placed.header.timestamp, codec, payload);
    Some((in_time, transcode.playout()))
}

/// What comes can be sent as it is from now on: what waits to be transcoded goes out before it.
#[cold]
fn finish_transcoding<O: Out + ?Sized>(to: &mut Leg, target: Target, now: Now, out: &mut O) {
    let Some(mut transcode) = to.transcode.take() else { return };
    let codec = target.format.codec;
    let mut samples = Vec::new();
    transcode.drain(codec, &mut samples);
    let ptime_ms = u32::from(target.format.ptime_ms);
    let units = ptime_ms * codec::units_per_ms(codec);
    let per_packet = ptime_ms as usize * codec::samples_per_ms(codec);
    for frame in samples.chunks(per_packet) {
        let units = if frame.len() == per_packet {
            units
        } else if codec::octets_per_unit(codec).is_some() {
            // The rest in a shorter packet, in whole milliseconds.
            (frame.len() / codec::samples_per_ms(codec)) as u32 * codec::units_per_ms(codec)
        } else {
            0
        };
        if units == 0 {
            continue;
        }
        let whole = (units / codec::units_per_ms(codec)) as usize * codec::samples_per_ms(codec);
        let frame = frame.get(..whole).unwrap_or_default();
        let mut packet = vec![0; HEADER_LEN];
        to.encoder(codec).encode(frame, &mut packet);
        let (timestamp, gap) = to.outgoing.own_timestamp(to.due_ms, units);
        let octets = packet.len() - HEADER_LEN;
        let header = to.outgoing.own(target.format.payload_type, timestamp, gap, units, octets, now.mono);
        if let Some(head) = packet.first_chunk_mut() {
            *head = header.to_bytes();
        }
        record(&mut to.recorder, Some(header), codec, &packet);
        out.rtp(to.id, target.to, &packet);
    }
    if !codec::is_stateless(codec) {
        // The peer's decoder will follow another.
        to.encoder = None;
    }
}

/// A telephone-event: a digit for the program, and a packet for the peer. The echo leaves it out.
fn event<O: Out + ?Sized>(
    leg: &mut Leg,
    peer: Option<&mut Leg>,
    now: Now,
    placed: &Placed,
    clock_rate: u32,
    bytes: &mut [u8],
    out: &mut O,
) {
    let payload = bytes.get(placed.payload.clone()).unwrap_or_default();
    let (id, incoming) = (leg.id, &mut leg.incoming);
    incoming.has_events = true;
    incoming.event_clock_rate = clock_rate;
    let before = incoming.events.held();
    incoming.events.packet(placed.header.timestamp, payload, now.mono, |digit| {
        tell(id, &mut incoming.budget, now.mono, digit, clock_rate, out);
    });
    let held = incoming.events.held();
    if held.is_some() && held != before && incoming.budget.has_some(now.mono) {
        out.event(Event::KeyDown { leg: id });
    }

    let Some(peer) = peer else { return withheld(leg.echo.then_some(leg)) };
    let (Some(target), Some(format), Some(event), false) =
        (peer.target, peer.config.dtmf_send, ringback_rtp::dtmf::Event::parse(payload), peer.is_overridden())
    else {
        return withheld(Some(peer));
    };
    let now_ms = millis(now.mono);
    let scaled = |units: u32, to: u32, from: u32| (u64::from(units) * u64::from(to) / u64::from(from.max(1))) as u32;
    if format.clock_rate != clock_rate
        && let Some(duration) = bytes.get_mut(placed.payload.clone()).and_then(|payload| payload.get_mut(2..4))
    {
        // RFC 4733 §2.3.5: durations are in timestamp units.
        let units = scaled(u32::from(event.duration), format.clock_rate, clock_rate);
        duration.copy_from_slice(&u16::try_from(units).unwrap_or(u16::MAX).to_be_bytes());
    }
    let sends = target.format.codec;
    peer.outgoing.fed(now_ms, EVENT_MS);
    let octets = placed.payload.len();
    let comes = leg.incoming.codec.unwrap_or_else(|| leg.codec());
    let header = if comes.passes_as(sends) {
        if peer.reframe.take().is_some() {
            peer.outgoing.unnumber();
        }
        let packet = outgoing::Incoming {
            stream: leg.incoming.stream,
            extended: placed.extended,
            timestamp: placed.header.timestamp,
            units: scaled(u32::from(event.duration), sends.clock_rate(), clock_rate),
            marker: placed.header.marker,
            event: true,
        };
        peer.outgoing.relay(packet, format.payload_type, octets, now.mono, now_ms)
    } else {
        let units = scaled(u32::from(event.duration), sends.clock_rate(), clock_rate);
        let (stream, timestamp) = (leg.incoming.stream, placed.header.timestamp);
        Some(peer.outgoing.pass_event(stream, timestamp, format.payload_type, units, octets, now.mono, now_ms))
    };
    if let Some(bytes) = header.and_then(|header| put_header(header, &placed.payload, bytes)) {
        out.rtp(peer.id, target.to, bytes);
    }
}

/// Puts a header right before the payload, over what stood there: the packet goes on without CSRCs, extension and padding, which were
/// agreed with the other side.
#[inline]
fn put_header<'a>(header: Header, payload: &Range<usize>, bytes: &'a mut [u8]) -> Option<&'a [u8]> {
    let packet = bytes.get_mut(payload.start.checked_sub(HEADER_LEN)?..payload.end)?;
    *packet.first_chunk_mut()? = header.to_bytes();
    Some(packet)
}

/// A digit whose end was lost is over because so much time passed.
pub(crate) fn expire_digit<O: Out + ?Sized>(leg: &mut Leg, now: Now, out: &mut O) {
    let (id, incoming) = (leg.id, &mut leg.incoming);
    let clock_rate = incoming.event_clock_rate;
    incoming.events.expire(now.mono, |digit| tell(id, &mut incoming.budget, now.mono, digit, clock_rate, out));
}

/// A digit whose end was lost is over because its stream is.
pub(crate) fn end_digit<O: Out + ?Sized>(leg: &mut Leg, now: Now, out: &mut O) {
    let (id, incoming) = (leg.id, &mut leg.incoming);
    let clock_rate = incoming.event_clock_rate;
    incoming.events.reset(|digit| tell(id, &mut incoming.budget, now.mono, digit, clock_rate, out));
    if let Some(listener) = incoming.listener.as_mut().filter(|_| !incoming.has_events) {
        listener.finish(|heard| tell_tone(id, &mut incoming.budget, now.mono, heard, out));
    }
}

fn tell<O: Out + ?Sized>(leg: LegId, budget: &mut DigitBudget, now: Mono, digit: Digit, clock_rate: u32, out: &mut O) {
    if budget.spend(now) {
        let duration_ms = digit.units / (clock_rate / 1000).max(1);
        out.event(Event::Dtmf { leg, digit: digit.digit, duration_ms });
    }
}

pub(crate) fn rtcp(leg: &mut Leg, now: Now, from: SocketAddr, packet: &[u8]) {
    if leg.accepts_rtcp(from) && control(leg, now, packet) && leg.latch.has_learned() {
        // Behind a translator the answer goes to where it came from.
        leg.rtcp_from = Some(from);
    }
}

/// What the peer reports. False: it is no report.
fn control(leg: &mut Leg, now: Now, packet: &[u8]) -> bool {
    let clock_rate = leg.codec().clock_rate();
    let (own, peer) = (leg.outgoing.ssrc(), leg.incoming.state.ssrc());
    if !leg.control.receive(now.mono, packet, own, peer, clock_rate) {
        return false;
    }
    if let (Some(encoder), Some(percent)) = (&mut leg.encoder, leg.control.peer_loss_percent) {
        encoder.set_loss(percent);
    }
    true
}
