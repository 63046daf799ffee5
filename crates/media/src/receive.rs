//! What a leg does with a packet: check its source, count it, and pass its content on, at once where another leg or the echo wants it.

use std::net::SocketAddr;
use std::ops::Range;

use ringback_audio::HeardDigit;
use ringback_media_api::{Codec, Event, LegId};
use ringback_rtp::dtmf::Digit;
use ringback_rtp::header::HEADER_LEN;
use ringback_rtp::{Arrival, Header, Packet};
use ringback_time::{Mono, Now};

use crate::latch::Verdict;
use crate::leg::{DigitBudget, Leg, Retention, millis};
use crate::outgoing;
use crate::recorder::Recorder;
use crate::reframe::Reframe;
use crate::retained::Retained;
use crate::{Out, codec};

/// The time that a telephone-event packet stands for, as far as filling in silence goes: RFC 4733 §2.5.1.2 has updates each 50 ms.
const EVENT_MS: u64 = 50;
/// Octets of a payload of the longest packet time, 60 ms.
const LONGEST_FRAME: usize = 480;

/// A packet whose place in its stream is known.
struct Placed {
    header: Header,
    payload: Range<usize>,
    extended: u64,
}

/// `peer`: the leg that `leg` is bridged with.
pub(crate) fn rtp<O: Out + ?Sized>(
    leg: &mut Leg,
    peer: Option<&mut Leg>,
    now: Now,
    arrival: Mono,
    from: SocketAddr,
    bytes: &mut [u8],
    out: &mut O,
) {
    let Ok(Packet { header, payload }) = Packet::parse(bytes) else { return };
    match leg.latch.judge(from, &header, arrival) {
        Verdict::Accept => {}
        Verdict::Locked(address) => {
            tracing::debug!(target: "ringback.media", leg = ?leg.id, %address, "media source learned");
            out.accept_from(leg.id, Some(address));
            leg.aim();
            leg.schedule();
        }
        Verdict::Reject => return,
    }
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
        leg.incoming.state.timing(header.timestamp, codec.clock_rate(), arrival);
        if leg.config.may_receive && !placed.payload.is_empty() {
            leg.incoming.codec = Some(codec);
            audio(leg, peer, now, &placed, codec, bytes, out);
        }
    } else if leg.config.dtmf_receive == Some(header.payload_type) && leg.config.may_receive {
        event(leg, peer, now, &placed, bytes, out);
    }
}

#[cold]
fn begin_stream<O: Out + ?Sized>(leg: &mut Leg, now: Now, out: &mut O) {
    leg.incoming.stream = leg.incoming.stream.wrapping_add(1);
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
    if let Some(recorder) = &mut leg.recorder {
        recorder.received.push(placed.extended, placed.header.timestamp, codec, payload);
    }
    match (&mut leg.audio, &mut leg.incoming.retained) {
        (Some(audio), _) => audio.receive(placed.extended, placed.header.timestamp, codec, payload),
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
        member.receive(placed.extended, placed.header.timestamp, codec, payload);
        return;
    }
    let stream = leg.incoming.stream;
    match peer {
        Some(peer) => relay(peer, stream, placed, codec, now, bytes, out),
        None if leg.echo => relay(leg, stream, placed, codec, now, bytes, out),
        None => {}
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

/// Sends on what came, from `to`, without waiting for its turn.
fn relay<O: Out + ?Sized>(
    to: &mut Leg,
    stream: u32,
    placed: &Placed,
    codec: Codec,
    now: Now,
    bytes: &mut [u8],
    out: &mut O,
) {
    let Some(target) = to.target else { return };
    if to.is_overridden() {
        return;
    }
    let now_ms = millis(now.mono);
    let sends = target.format.codec;
    let units_per_ms = codec::units_per_ms(sends);
    let Some(payload) = bytes.get_mut(placed.payload.clone()) else { return };
    codec::transcode(codec, sends, payload);
    let units = codec::units(sends, payload);
    to.outgoing.fed(now_ms, u64::from(units / units_per_ms.max(1)));
    let frame = usize::from(target.format.ptime_ms) * units_per_ms as usize;
    let mut packet = outgoing::Incoming {
        stream,
        extended: placed.extended,
        timestamp: placed.header.timestamp,
        units,
        marker: placed.header.marker,
        event: false,
    };
    if units as usize == frame {
        if to.reframe.take().is_some() {
            to.outgoing.unnumber();
        }
        let octets = payload.len();
        let header = to.outgoing.relay(packet, target.format.payload_type, octets, now.mono, now_ms, units_per_ms);
        if let Some(bytes) = header.and_then(|header| put_header(header, &placed.payload, bytes)) {
            record(&mut to.recorder, header, sends, bytes);
            out.rtp(to.id, target.to, bytes);
        }
        return;
    }
    // The sides have different packet times.
    let reframe = match &mut to.reframe {
        Some(reframe) if reframe.fits(stream, sends) => reframe,
        other => {
            to.outgoing.unnumber();
            other.insert(Box::new(Reframe::new(stream, sends)))
        }
    };
    reframe.push(placed.header.timestamp, payload, frame);
    let mut made = [0; HEADER_LEN + LONGEST_FRAME];
    while let Some((extended, timestamp)) = made.get_mut(HEADER_LEN..).and_then(|body| reframe.pop(frame, body)) {
        packet = outgoing::Incoming { extended, timestamp, units: frame as u32, ..packet };
        let header = to.outgoing.relay(packet, target.format.payload_type, frame, now.mono, now_ms, units_per_ms);
        packet.marker = false;
        let whole = HEADER_LEN..HEADER_LEN + frame;
        if let Some(bytes) = header.and_then(|header| put_header(header, &whole, &mut made)) {
            record(&mut to.recorder, header, sends, bytes);
            out.rtp(to.id, target.to, bytes);
        }
    }
}

/// Shows a packet that leaves to whoever records the leg.
#[inline]
fn record(recorder: &mut Option<Box<Recorder>>, header: Option<Header>, codec: Codec, packet: &[u8]) {
    if let (Some(recorder), Some(header)) = (recorder, header) {
        recorder.send(&header, codec, packet.get(HEADER_LEN..).unwrap_or_default());
    }
}

/// A telephone-event: a digit for the program, and a packet for the peer. The echo leaves it out.
fn event<O: Out + ?Sized>(
    leg: &mut Leg,
    peer: Option<&mut Leg>,
    now: Now,
    placed: &Placed,
    bytes: &mut [u8],
    out: &mut O,
) {
    let payload = bytes.get(placed.payload.clone()).unwrap_or_default();
    let (id, incoming) = (leg.id, &mut leg.incoming);
    incoming.has_events = true;
    incoming.events.packet(placed.header.timestamp, payload, now.mono, |digit| {
        tell(id, &mut incoming.budget, now.mono, digit, out);
    });

    let Some(peer) = peer else { return };
    let (Some(target), Some(payload_type)) = (peer.target, peer.config.dtmf_send) else { return };
    let Some(event) = ringback_rtp::dtmf::Event::parse(payload) else { return };
    if peer.is_overridden() {
        return;
    }
    let now_ms = millis(now.mono);
    let packet = outgoing::Incoming {
        stream: leg.incoming.stream,
        extended: placed.extended,
        timestamp: placed.header.timestamp,
        units: u32::from(event.duration),
        marker: placed.header.marker,
        event: true,
    };
    let units_per_ms = codec::units_per_ms(target.format.codec);
    peer.outgoing.fed(now_ms, EVENT_MS);
    if peer.reframe.take().is_some() {
        peer.outgoing.unnumber();
    }
    let header = peer.outgoing.relay(packet, payload_type, payload.len(), now.mono, now_ms, units_per_ms);
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
    incoming.events.expire(now.mono, |digit| tell(id, &mut incoming.budget, now.mono, digit, out));
}

/// A digit whose end was lost is over because its stream is.
pub(crate) fn end_digit<O: Out + ?Sized>(leg: &mut Leg, now: Now, out: &mut O) {
    let (id, incoming) = (leg.id, &mut leg.incoming);
    incoming.events.reset(|digit| tell(id, &mut incoming.budget, now.mono, digit, out));
    if let Some(listener) = incoming.listener.as_mut().filter(|_| !incoming.has_events) {
        listener.finish(|heard| tell_tone(id, &mut incoming.budget, now.mono, heard, out));
    }
}

fn tell<O: Out + ?Sized>(leg: LegId, budget: &mut DigitBudget, now: Mono, digit: Digit, out: &mut O) {
    if budget.spend(now) {
        // Telephone-event is negotiated at 8 kHz.
        out.event(Event::Dtmf { leg, digit: digit.digit, duration_ms: digit.units / 8 });
    }
}

pub(crate) fn rtcp(leg: &mut Leg, now: Now, from: SocketAddr, packet: &[u8]) {
    if leg.accepts_rtcp(from)
        && leg.control.receive(now.mono, packet, leg.outgoing.ssrc(), leg.incoming.state.ssrc())
        && leg.latch.is_locked()
    {
        // Behind a translator the answer goes to where it came from.
        leg.rtcp_from = Some(from);
    }
}
