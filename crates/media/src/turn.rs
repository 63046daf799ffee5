//! A leg's turn: each packet time, on its own phase, it sends one packet from whatever feeds it; and now and then what is timed by
//! itself (RTCP, monitor, silence).

use rand_core::RngCore;
use ringback_media_api::{Codec, Event};
use ringback_rtp::Header;
use ringback_rtp::header::HEADER_LEN;
use ringback_time::Now;

use crate::control::Wanted;
use crate::dial::Turn;
use crate::follow::Follow;
use crate::latch;
use crate::leg::{Leg, Target};
use crate::outgoing::Quiet;
use crate::receive;
use crate::room::{Feed, Room, Stream};
use crate::statistics::statistics;
use crate::{Out, codec, voip};

/// For so long sounds and a program's samples wait for a peer that says by its first packet where it is.
const GREETING_MS: u32 = 1000;

/// What legs share while they take their turns: no packet is allocated.
pub(crate) struct Scratch {
    packet: Vec<u8>,
    samples: Vec<i16>,
    /// Transcoded.
    heard: Vec<i16>,
    pub(crate) rtcp: Vec<u8>,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Scratch {
            packet: Vec::with_capacity(1500),
            samples: Vec::with_capacity(4096),
            heard: Vec::new(),
            rtcp: Vec::with_capacity(512),
        }
    }
}

/// The turn that is due at `leg.due_ms`.
pub(crate) fn take<O: Out + ?Sized>(
    leg: &mut Leg,
    now: Now,
    room: Option<&mut Room>,
    rng: &mut impl RngCore,
    scratch: &mut Scratch,
    out: &mut O,
) {
    if now.mono >= leg.deadline {
        timers(leg, now, rng, scratch, out);
    }
    if leg.incoming.events.is_active() {
        receive::expire_digit(leg, now, out);
    }
    if let Some(ear) = &mut leg.incoming.ear {
        receive::tell_speech(leg.id, ear.turn(leg.due_ms), out);
    }
    if leg.audio.as_ref().is_some_and(|audio| audio.port.is_closed()) {
        leg.close_audio(out);
    }
    match leg.target {
        Some(target) => send(leg, target, now, room, scratch, out),
        None => pass(leg, scratch, out),
    }
}

/// Sends one packet, or leaves it to the relay.
fn send<O: Out + ?Sized>(
    leg: &mut Leg,
    target: Target,
    now: Now,
    room: Option<&mut Room>,
    scratch: &mut Scratch,
    out: &mut O,
) {
    let codec = target.format.codec;
    let units_per_ms = codec::units_per_ms(codec);
    let ptime_ms = usize::from(target.format.ptime_ms);
    let units = ptime_ms as u32 * units_per_ms;
    let (timestamp, gap) = leg.outgoing.own_timestamp(leg.due_ms, units);

    if leg.dial.is_some() && dial(leg, target, now, timestamp, scratch, out) {
        go_by(leg, ptime_ms, out);
        return;
    }
    let samples = ptime_ms * codec::samples_per_ms(codec);
    scratch.samples.clear();
    let dialled = press(leg, codec.sample_rate(), samples, scratch, out);
    let mut sounds = dialled || play(leg, codec.sample_rate(), samples, scratch, out);
    if sounds {
        go_by(leg, ptime_ms, out);
    } else {
        sounds = leg.audio.as_mut().is_some_and(|audio| audio.take(codec, ptime_ms, &mut scratch.samples, out));
    }
    if let Some(transcode) = &mut leg.transcode {
        // What something else is sent in place of is over all the same.
        scratch.heard.clear();
        let heard = transcode.is_for(codec) && transcode.pull(ptime_ms, &mut scratch.heard);
        if heard && !sounds && !leg.outgoing.is_fed(leg.due_ms) {
            std::mem::swap(&mut scratch.samples, &mut scratch.heard);
            sounds = true;
        }
    }
    if sounds && let Some(member) = &mut leg.member {
        // What comes in place of the room is of the leg's own encoder.
        member.shares = 0;
    }
    let mut shared = None;
    if !sounds && let (Some(room), Some(member)) = (room, &mut leg.member) {
        let stream = Stream { codec, ptime_ms, opus: &leg.config.opus, encoder: leg.encoder.as_ref() };
        match room.feed(member, &stream, &mut scratch.samples) {
            Feed::Silence => {}
            Feed::Samples => sounds = true,
            Feed::Shared(frame) => shared = Some(frame),
        }
    }
    // While it comes, what is relayed is all that is sent, and while it lasts where something else takes over.
    if !sounds && !leg.muted {
        let lasts = shared.is_none() && leg.outgoing.is_lasting(leg.due_ms, units);
        if lasts || leg.outgoing.is_fed(leg.due_ms) {
            leg.joint.forget();
            return;
        }
    }
    let (timestamp, gap) = if leg.outgoing.wait(leg.due_ms, units) {
        leg.outgoing.own_timestamp(leg.due_ms, units)
    } else {
        (timestamp, gap)
    };
    // Digits are no speech: they go out of a muted leg too, as events do.
    let muted = leg.muted && !dialled;
    if !sounds && shared.is_none() && leg.joint.falls() {
        scratch.samples.clear();
        scratch.samples.resize(samples, 0);
        sounds = true;
    }
    if muted {
        leg.joint.forget();
    } else if sounds {
        leg.joint.pass(&mut scratch.samples, samples / 4);
    } else if let Some(frame) = shared {
        leg.joint.passed(frame.last);
    } else {
        leg.joint.forget();
    }
    scratch.packet.clear();
    scratch.packet.resize(HEADER_LEN, 0);
    match shared.filter(|_| !muted) {
        Some(frame) => {
            scratch.packet.extend_from_slice(&frame.payload);
            leg.follow = Some(Follow::Shared(frame.memory.clone()));
        }
        None if sounds && !muted => leg.encoder(codec).encode(&scratch.samples, &mut scratch.packet),
        None => leg.encoder(codec).silence(ptime_ms, &mut scratch.packet),
    }
    let Some(quiet) = saved(leg, codec, muted || !(sounds || shared.is_some()), ptime_ms, &mut scratch.packet) else {
        return;
    };
    let octets = scratch.packet.len() - HEADER_LEN;
    // RFC 3551 §4.1: who does not suppress silence sets no marker, but for where the stream begins or was interrupted.
    let header = leg.outgoing.own(target.format.payload_type, timestamp, gap, units, octets, now.mono);
    leg.outgoing.set_quiet(quiet);
    if let Some(recorder) = &mut leg.recorder {
        recorder.send(&header, codec, scratch.packet.get(HEADER_LEN..).unwrap_or_default());
    }
    put(leg, target, header, scratch, out);
}

/// Something else is sent for a packet time than what a program writes, which waits unless it is of this moment.
fn go_by<O: Out + ?Sized>(leg: &mut Leg, ptime_ms: usize, out: &mut O) {
    if let Some(audio) = leg.audio.as_mut().filter(|audio| audio.port.is_live()) {
        audio.pass(ptime_ms, out);
    }
}

/// What becomes of a packet where silence is hardly sent (RFC 7587 §3.1.3): `None`, it is not. `empty`: nothing is to be heard in it.
fn saved(leg: &mut Leg, codec: Codec, empty: bool, ptime_ms: usize, packet: &mut Vec<u8>) -> Option<Quiet> {
    if codec != Codec::Opus || !leg.config.opus.dtx {
        return Some(Quiet::No);
    }
    let pauses = empty || packet.len() - HEADER_LEN <= codec::OPUS_PAUSE_OCTETS;
    match leg.outgoing.quiet() {
        _ if !pauses => Some(Quiet::No),
        Quiet::Since(since) if leg.due_ms < since + codec::OPUS_PAUSE_REPEATED_MS => None,
        // What was heard last is silence, which is what its receiver goes on with.
        Quiet::No if empty => Some(Quiet::Begins),
        _ => {
            if empty {
                packet.truncate(HEADER_LEN);
                leg.encoder(codec).pause(ptime_ms, packet);
            }
            Some(Quiet::Since(leg.due_ms))
        }
    }
}

fn put<O: Out + ?Sized>(leg: &Leg, target: Target, header: Header, scratch: &mut Scratch, out: &mut O) {
    if let Some(head) = scratch.packet.first_chunk_mut() {
        *head = header.to_bytes();
    }
    out.rtp(leg.id, target.to, &scratch.packet);
}

/// The digit that goes out as tones, for `samples` at `rate`. False: none does.
fn press<O: Out + ?Sized>(leg: &mut Leg, rate: u32, samples: usize, scratch: &mut Scratch, out: &mut O) -> bool {
    let Some(keypad) = &mut leg.keypad else { return false };
    scratch.samples.clear();
    scratch.samples.resize(samples, 0);
    if !keypad.fill(rate, &mut scratch.samples) {
        out.event(Event::DtmfSent { leg: leg.id, token: keypad.token, completed: true });
        leg.keypad = None;
    }
    true
}

/// What plays, for `samples` at `rate`. False: nothing.
fn play<O: Out + ?Sized>(leg: &mut Leg, rate: u32, samples: usize, scratch: &mut Scratch, out: &mut O) -> bool {
    let Some(playing) = &mut leg.playing else { return false };
    scratch.samples.clear();
    scratch.samples.resize(samples, 0);
    let sounding = playing.player.fill(rate, &mut scratch.samples);
    if playing.player.is_finished() {
        let token = playing.token.take();
        let completed = !playing.player.was_cut_short();
        leg.playing = None;
        if let Some(token) = token {
            out.event(Event::PlayEnded { leg: leg.id, token, completed });
        }
    }
    if sounding == 0 {
        scratch.samples.clear();
    }
    sounding > 0
}

/// Sends the telephone-event packet that it is time for. False: none, audio may go.
fn dial<O: Out + ?Sized>(
    leg: &mut Leg,
    target: Target,
    now: Now,
    timestamp: u32,
    scratch: &mut Scratch,
    out: &mut O,
) -> bool {
    let Some(format) = leg.config.dtmf_send else {
        leg.end_dialling(out);
        return false;
    };
    let audio_clock = target.format.codec.clock_rate();
    // RFC 4733 §2.1 wants both clocks equal. Where the peer has events at another rate, durations are of that rate and timestamps of
    // the audio's, which all packets of the stream share.
    let scaled = |began: u32, at: u32| {
        let units = u64::from(at.wrapping_sub(began)) * u64::from(audio_clock) / u64::from(format.clock_rate.max(1));
        began.wrapping_add(units as u32)
    };
    let (units_per_ms, payload_type) = (format.clock_rate / 1000, format.payload_type);
    let units = u32::from(target.format.ptime_ms) * units_per_ms;
    let Some(dial) = &mut leg.dial else { return false };
    let (sent, token) = match dial.turn(leg.due_ms, timestamp, units, units_per_ms) {
        Turn::Audio { token } => (false, token),
        Turn::Event { packet, began, end_timestamp, token } => {
            let (start, end) = (scaled(began, packet.timestamp), scaled(began, end_timestamp));
            let payload = packet.event.to_bytes();
            scratch.packet.clear();
            scratch.packet.resize(HEADER_LEN, 0);
            scratch.packet.extend(payload);
            let octets = payload.len();
            let header =
                leg.outgoing.own(payload_type, start, packet.marker, end.wrapping_sub(start), octets, now.mono);
            put(leg, target, header, scratch, out);
            (true, token)
        }
    };
    if let Some(token) = token {
        out.event(Event::DtmfSent { leg: leg.id, token, completed: true });
    }
    if leg.dial.as_ref().is_some_and(|dial| dial.is_idle(leg.due_ms)) {
        leg.dial = None;
    }
    sent
}

/// A packet time in which nothing may be sent: sounds go on unheard, and events cannot wait for who knows what. Where it is only not known yet where to
/// send, a greeting waits a little.
fn pass<O: Out + ?Sized>(leg: &mut Leg, scratch: &mut Scratch, out: &mut O) {
    let ptime_ms = leg.ptime_ms();
    leg.aimless_ms = leg.aimless_ms.saturating_add(ptime_ms as u32);
    if leg.is_held() || leg.aimless_ms > GREETING_MS {
        if let Some(audio) = &mut leg.audio {
            audio.pass(ptime_ms as usize, out);
        }
        if leg.playing.is_some() {
            let samples = ptime_ms as usize * codec::samples_per_ms(leg.codec());
            play(leg, leg.codec().sample_rate(), samples, scratch, out);
        }
    }
    if leg.dial.is_some() {
        leg.end_dialling(out);
    }
    leg.end_tones(out);
    leg.transcode = None;
}

#[cold]
fn timers<O: Out + ?Sized>(leg: &mut Leg, now: Now, rng: &mut impl RngCore, scratch: &mut Scratch, out: &mut O) {
    if now.mono >= leg.control.due() {
        report(leg, now, false, rng, scratch, out);
    }
    if leg.monitor.as_ref().is_some_and(|monitor| now.mono >= monitor.due) {
        let statistics = statistics(leg);
        if let Some(monitor) = &mut leg.monitor {
            // After a stall the next is a whole interval away.
            monitor.due = (monitor.due + monitor.interval).max(now.mono);
        }
        out.event(Event::Quality { leg: leg.id, statistics });
    }
    if let Some(watch) = leg.watch.as_ref().filter(|watch| !watch.told && leg.rtp_is_due()) {
        let silent_for = now.mono.since(leg.silent_since(watch));
        if silent_for >= watch.after {
            out.event(Event::Silent { leg: leg.id, silent_for });
            if let Some(watch) = &mut leg.watch {
                watch.told = true;
            }
        }
    }
    if leg.latch.has_learned()
        && leg.rtp_is_due()
        && leg.incoming.last.is_some_and(|last| now.mono >= last + latch::RELEARN_AFTER)
    {
        // DESIGN 7: silence learns anew.
        leg.latch.relearn();
        leg.aim();
        out.accept_from(leg.id, None);
    }
    leg.schedule();
}

/// Sends an RTCP report, with a goodbye where the leg ends.
pub(crate) fn report<O: Out + ?Sized>(
    leg: &mut Leg,
    now: Now,
    goodbye: bool,
    rng: &mut impl RngCore,
    scratch: &mut Scratch,
    out: &mut O,
) {
    let Some(to) = leg.rtcp_target() else {
        leg.control.postpone(now.mono, rng);
        return;
    };
    let codec = leg.codec();
    let voip = if leg.config.xr_voip { voip::metrics(leg) } else { None };
    leg.control.report(
        now,
        &mut leg.outgoing,
        &mut leg.incoming.state,
        codec,
        &leg.config.cname,
        Wanted { reference_time: leg.config.xr_reference_time, voip },
        goodbye,
        rng,
        &mut scratch.rtcp,
    );
    if leg.config.rtcp_mux {
        out.muxed_rtcp(leg.id, to, &scratch.rtcp);
    } else {
        out.rtcp(leg.id, to, &scratch.rtcp);
    }
}
