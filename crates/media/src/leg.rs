//! One leg: the state of both directions with one peer. What it does on its turn is in `turn`, with a packet in `receive`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand_core::RngCore;
use ringback_audio::{Encoder, ToneGenerator};
use ringback_media_api::{AudioPort, Codec, Detection, Event, LegConfig, LegId, SendFormat, Sound, Tape, Token, Tone};
use ringback_rtp::ReceiverState;
use ringback_rtp::dtmf::EventReceiver;
use ringback_time::Mono;

use crate::audio::Audio;
use crate::control::Control;
use crate::dial::Dial;
use crate::ear::Ear;
use crate::follow::Follow;
use crate::handover::{Handover, Joint};
use crate::keypad::{Keypad, Listener};
use crate::latch::{self, Latch};
use crate::newcomer::Newcomer;
use crate::outgoing::Outgoing;
use crate::player::Player;
use crate::recorder::Recorder;
use crate::reframe::Reframe;
use crate::retained::Retained;
use crate::room::Member;
use crate::statistics::PlayoutDelay;
use crate::transcode::Transcode;
use crate::{Out, codec};

/// Encodings that a peer may choose from.
const RECEIVE_FORMATS: usize = 8;
/// Packet time where nothing was negotiated.
const DEFAULT_PTIME_MS: u8 = 20;
/// No monitor reports more often than this.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(20);

/// In the order in which it is used, so that a packet that is relayed touches few cache lines of the leg that it came to, and few of the one that it goes
/// to: those of the former from `incoming` on, those of the latter up to there.
#[repr(C, align(64))]
pub(crate) struct Leg {
    /// Where RTP goes and how, while it may.
    pub(crate) target: Option<Target>,
    /// For so long it has not been known where to send.
    pub(crate) aimless_ms: u32,
    pub(crate) id: LegId,

    // What feeds it, the first that there is: an event of `dial`, `keypad`, `playing`, `audio`, `member`, `peer` or `echo`, silence.
    pub(crate) dial: Option<Box<Dial>>,
    pub(crate) keypad: Option<Box<Keypad>>,
    pub(crate) playing: Option<Box<Playing>>,
    pub(crate) audio: Option<Box<Audio>>,
    /// Of a room.
    pub(crate) member: Option<Box<Member>>,
    pub(crate) recorder: Option<Box<Recorder>>,
    pub(crate) transcode: Option<Box<Transcode>>,
    pub(crate) reframe: Option<Box<Reframe>>,
    /// The earliest of what is timed but not part of sending: RTCP, monitor, silence.
    pub(crate) deadline: Mono,
    /// The slab key of the leg it is bridged with.
    pub(crate) peer: Option<u32>,
    /// The number of its place in the wheel.
    pub(crate) epoch: u32,
    pub(crate) echo: bool,
    pub(crate) muted: bool,
    pub(crate) transmitting: bool,
    /// Of the configuration: the encoding whose clock everything of this leg is counted by, and its packet time.
    codec: Codec,
    ptime_ms: u8,
    pub(crate) joint: Joint,
    pub(crate) outgoing: Outgoing,

    pub(crate) incoming: Incoming,
    pub(crate) latch: Latch,
    pub(crate) watch: Option<Watch>,

    /// When its next packet is due, and which of the 20 phases that is.
    pub(crate) due_ms: u64,
    pub(crate) phase: usize,
    pub(crate) config: Box<LegConfig>,
    /// Of what is sent, once it was.
    pub(crate) encoder: Option<Encoder>,
    /// The last packet was not of it.
    pub(crate) follow: Option<Follow>,
    /// For the room that it is about to join.
    pub(crate) handover: Option<Box<Handover>>,
    pub(crate) monitor: Option<Monitor>,
    /// Where RTCP really comes from, once the source of RTP was learned.
    pub(crate) rtcp_from: Option<SocketAddr>,
    pub(crate) control: Control,
}

/// Where RTP goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) to: SocketAddr,
    pub(crate) format: SendFormat,
}

/// The received direction; in the order in which it is used.
#[repr(C)]
pub(crate) struct Incoming {
    pub(crate) state: ReceiverState,
    formats: [Option<(u8, Codec)>; RECEIVE_FORMATS],
    /// The last packet that was accepted.
    pub(crate) last: Option<Mono>,
    pub(crate) octets: u64,
    /// For digits by tones, where they are looked for.
    pub(crate) listener: Option<Box<Listener>>,
    /// For speech, where that is asked for.
    pub(crate) ear: Option<Box<Ear>>,
    pub(crate) retained: Retention,
    /// Counts up with each new stream of packets (SSRC, restart).
    pub(crate) stream: u32,
    /// Where it is transcoded for another leg.
    pub(crate) transcoded: Option<PlayoutDelay>,
    pub(crate) codec: Option<Codec>,
    /// What came last went on to another leg, or back, as it was.
    pub(crate) goes_on: bool,
    /// Of the configuration, which is not looked at for each packet: whether anything may come, and how long a packet is wanted to be known.
    pub(crate) wanted: bool,
    pub(crate) times_packets: bool,
    /// The peer sends telephone-events: its tones are no digits.
    pub(crate) has_events: bool,
    /// Of the last packet; 0 where nobody wants to know.
    pub(crate) packet_ms: u16,
    pub(crate) events: EventReceiver,
    /// Of the event that was received last.
    pub(crate) event_clock_rate: u32,
    pub(crate) budget: DigitBudget,
    /// By playout buffers that are closed.
    pub(crate) discarded: u64,
    /// All that was discarded until the present stream began.
    pub(crate) discarded_before: u64,
    /// What may become another stream.
    pub(crate) newcomer: Option<Box<Newcomer>>,
}

/// No hand, and no machine that keeps to RFC 4733, dials faster: what a peer sends beyond it is not told, so that events do not pile up.
pub(crate) struct DigitBudget {
    left: u32,
    since: Mono,
}

impl DigitBudget {
    const MOST: u32 = 32;
    const EACH: Duration = Duration::from_millis(40);

    fn new() -> Self {
        DigitBudget { left: Self::MOST, since: Mono::ZERO }
    }

    /// Whether a digit would be told.
    pub(crate) fn has_some(&mut self, now: Mono) -> bool {
        let earned = now.since(self.since).as_nanos() / Self::EACH.as_nanos();
        if earned > 0 {
            self.left = u32::try_from(earned).unwrap_or(Self::MOST).saturating_add(self.left).min(Self::MOST);
            self.since = now;
        }
        self.left > 0
    }

    pub(crate) fn spend(&mut self, now: Mono) -> bool {
        let enough = self.has_some(now);
        self.left = self.left.saturating_sub(1);
        enough
    }
}

/// Received audio for a program that may yet ask for it.
pub(crate) enum Retention {
    /// Nothing came yet.
    Waiting,
    Keeping(Box<Retained>),
    /// A program has opened the audio once, or it goes to another leg.
    Over,
}

pub(crate) struct Playing {
    pub(crate) player: Player,
    /// `None`: answered already, what is left is the fall of what was stopped.
    pub(crate) token: Option<Token>,
}

pub(crate) struct Monitor {
    pub(crate) interval: Duration,
    pub(crate) due: Mono,
}

pub(crate) struct Watch {
    pub(crate) after: Duration,
    /// Since when RTP is due.
    pub(crate) since: Mono,
    /// Told already; again when something came in between.
    pub(crate) told: bool,
}

impl Incoming {
    fn new() -> Self {
        Incoming {
            state: ReceiverState::new(),
            events: EventReceiver::new(),
            event_clock_rate: 8000,
            budget: DigitBudget::new(),
            listener: None,
            ear: None,
            has_events: false,
            formats: [None; RECEIVE_FORMATS],
            stream: 0,
            octets: 0,
            last: None,
            retained: Retention::Waiting,
            discarded: 0,
            discarded_before: 0,
            newcomer: None,
            transcoded: None,
            packet_ms: 0,
            wanted: false,
            times_packets: false,
            codec: None,
            goes_on: true,
        }
    }

    #[inline]
    pub(crate) fn codec_of(&self, payload_type: u8) -> Option<Codec> {
        self.formats.iter().map_while(|f| *f).find(|(pt, _)| *pt == payload_type).map(|(_, codec)| codec)
    }
}

impl Leg {
    /// `now` and `rng` start the numbers of its stream. When it is due is to be set.
    pub(crate) fn new(id: LegId, config: Box<LegConfig>, now: Mono, rng: &mut impl RngCore) -> Self {
        let now_ms = millis(now);
        let mut leg = Leg {
            id,
            latch: latch(&config),
            incoming: Incoming::new(),
            outgoing: Outgoing::new(rng.next_u32(), rng.next_u32() as u16, rng.next_u32(), now_ms),
            target: None,
            aimless_ms: 0,
            control: Control::new(now, rng),
            rtcp_from: None,
            dial: None,
            keypad: None,
            playing: None,
            audio: None,
            member: None,
            recorder: None,
            peer: None,
            echo: false,
            muted: false,
            transmitting: true,
            codec: Codec::Pcmu,
            ptime_ms: DEFAULT_PTIME_MS,
            reframe: None,
            transcode: None,
            joint: Joint::default(),
            handover: None,
            encoder: None,
            follow: None,
            monitor: None,
            watch: None,
            deadline: now,
            due_ms: 0,
            phase: 0,
            epoch: 0,
            config,
        };
        leg.apply_config(now_ms);
        leg.schedule();
        leg
    }

    /// Takes what a new offer and answer settled. True: packets are accepted from somewhere else now.
    pub(crate) fn configure(&mut self, config: Box<LegConfig>, now: Mono) -> bool {
        let old = std::mem::replace(&mut self.config, config);
        let relearn = old.remote_rtp != self.config.remote_rtp
            || old.symmetric != self.config.symmetric
            || old.sends_first != self.config.sends_first
            || old.latch_generation != self.config.latch_generation;
        let before = self.latch.source();
        let is_told_again = old.remote_rtp == self.config.remote_rtp && old.symmetric && self.config.symmetric;
        // On hold it stays as it is: the peer sends nothing to learn from, and hears what it hears where it is.
        if relearn && !(is_told_again && !self.config.may_receive && self.latch.has_learned()) {
            let new = latch(&self.config);
            self.latch = if is_told_again { new.succeeding(&self.latch) } else { new };
            self.rtcp_from = self.rtcp_from.filter(|_| is_told_again);
        }
        if !(old.may_receive && old.remote_rtp.is_some()) {
            // It was not due before: its silence counts from now.
            if let Some(watch) = &mut self.watch {
                (watch.since, watch.told) = (now, false);
            }
        }
        if old.opus != self.config.opus {
            self.encoder = None;
        }
        self.apply_config(self.due_ms);
        self.schedule();
        before != self.latch.source()
    }

    /// `due_ms`: when its next packet is due.
    fn apply_config(&mut self, due_ms: u64) {
        self.incoming.formats = [None; RECEIVE_FORMATS];
        for (slot, format) in self.incoming.formats.iter_mut().zip(&self.config.receive) {
            *slot = Some((format.payload_type, format.codec));
        }
        if !self.config.dtmf_inband {
            self.incoming.listener = None;
        } else if self.incoming.listener.is_none() {
            self.incoming.listener = Some(Box::new(Listener::new()));
        }
        let send = self.config.send;
        let receives = || self.config.receive.first().map(|format| format.codec);
        self.codec = send.map(|format| format.codec).or_else(receives).unwrap_or(Codec::Pcmu);
        self.ptime_ms = send.map_or(DEFAULT_PTIME_MS, |format| codec::packet_ms(format.codec, format.ptime_ms));
        self.incoming.wanted = self.config.may_receive;
        self.incoming.times_packets = self.config.xr_voip;
        self.outgoing.set_clock(due_ms, codec::units_per_ms(self.codec()));
        self.aim();
    }

    /// Works out where RTP goes now.
    pub(crate) fn aim(&mut self) {
        self.target = match (self.latch.destination(), self.config.send) {
            (Some(to), Some(format)) if self.config.may_send && self.transmitting => {
                let format = SendFormat { ptime_ms: codec::packet_ms(format.codec, format.ptime_ms), ..format };
                Some(Target { to, format })
            }
            _ => None,
        };
        if self.target.is_some() {
            self.aimless_ms = 0;
        }
    }

    /// Nothing is to be sent, wherever the peer is.
    pub(crate) fn is_held(&self) -> bool {
        !(self.config.may_send && self.transmitting)
    }

    /// The encoder of what is sent.
    pub(crate) fn encoder(&mut self, codec: Codec) -> &mut Encoder {
        let coding = codec::coding(codec);
        match &mut self.encoder {
            Some(encoder) if encoder.coding() == coding => {}
            other => *other = Some(codec::encoder(codec, &self.config.opus, self.control.peer_loss_percent)),
        }
        let encoder = self.encoder.get_or_insert_with(|| Encoder::new(coding));
        if let Some(follow) = self.follow.take() {
            follow.lead(encoder);
        }
        encoder
    }

    #[inline]
    pub(crate) fn ptime_ms(&self) -> u64 {
        u64::from(self.ptime_ms)
    }

    /// The encoding whose clock everything of this leg is counted by.
    #[inline]
    pub(crate) fn codec(&self) -> Codec {
        self.codec
    }

    /// Whether something that the engine makes is sent in place of what comes from a bridge or the echo.
    #[inline]
    pub(crate) fn is_overridden(&self) -> bool {
        self.muted
            || self.playing.is_some()
            || self.keypad.is_some()
            || self.dial.as_ref().is_some_and(|dial| dial.is_sounding())
            || self.audio.as_ref().is_some_and(|audio| audio.has_samples())
    }

    /// What comes goes on undecoded, and nobody here listens.
    pub(crate) fn relays(&self) -> bool {
        (self.peer.is_some() || self.echo) && self.audio.is_none() && self.incoming.goes_on
    }

    /// Whether packets of `codec` leave it as they come: the codec is its own, or it sends nothing.
    #[inline]
    pub(crate) fn passes(&self, codec: Codec) -> bool {
        self.target.is_none_or(|target| codec.passes_as(target.format.codec))
    }

    pub(crate) fn rtp_is_due(&self) -> bool {
        self.config.may_receive && self.config.remote_rtp.is_some()
    }

    /// Where RTCP goes; `None`: nowhere, or not yet.
    pub(crate) fn rtcp_target(&self) -> Option<SocketAddr> {
        match self.config.rtcp_mux {
            true => self.latch.destination(),
            false => self.rtcp_from.or(self.config.remote_rtcp).filter(|_| !self.latch.waits()),
        }
    }

    /// Whether `from` may send RTCP to this leg's RTCP port.
    pub(crate) fn accepts_rtcp(&self, from: SocketAddr) -> bool {
        if self.config.rtcp_mux {
            return false;
        }
        match self.latch.learned_host() {
            // Behind a translator the port is as unforeseeable as RTP's.
            Some(host) => from.ip() == host,
            None => self.config.remote_rtcp.is_some_and(|address| latch::same(address, from)),
        }
    }

    /// Listens for speech from now on, or no more.
    pub(crate) fn detect(&mut self, detection: Option<Detection>) {
        match (&mut self.incoming.ear, detection) {
            (ear, None) => *ear = None,
            (Some(ear), Some(detection)) => ear.set(detection),
            (ear @ None, Some(detection)) => *ear = Some(Box::new(Ear::new(detection))),
        }
    }

    pub(crate) fn watch_silence(&mut self, after: Option<Duration>, now: Mono) {
        self.watch = after.map(|after| Watch { after, since: now, told: false });
        self.schedule();
    }

    pub(crate) fn monitor(&mut self, interval: Option<Duration>, now: Mono) {
        self.monitor = interval.map(|interval| {
            let interval = interval.max(SHORTEST_INTERVAL);
            Monitor { interval, due: now + interval }
        });
        self.schedule();
    }

    /// Works out the earliest deadline.
    pub(crate) fn schedule(&mut self) {
        let mut deadline = self.control.due();
        if let Some(monitor) = &self.monitor {
            deadline = deadline.min(monitor.due);
        }
        if let Some(watch) = self.watch.as_ref().filter(|watch| !watch.told && self.rtp_is_due()) {
            deadline = deadline.min(self.silent_since(watch) + watch.after);
        }
        if let Some(last) = self.incoming.last.filter(|_| self.latch.has_learned() && self.rtp_is_due()) {
            deadline = deadline.min(last + latch::RELEARN_AFTER);
        }
        self.deadline = deadline;
    }

    pub(crate) fn silent_since(&self, watch: &Watch) -> Mono {
        self.incoming.last.map_or(watch.since, |last| last.max(watch.since))
    }

    // ---- what feeds it

    /// Starts a tone; what played before is answered as not completed, and so is a tone that cannot be.
    pub(crate) fn play_tone<O: Out + ?Sized>(&mut self, tone: &Tone, token: Token, out: &mut O) {
        self.end_playing(out);
        let rate = self.codec().sample_rate();
        match ToneGenerator::new(rate, &tone.frequencies, tone.level_dbm0) {
            Ok(generator) => {
                let generator = match tone.duration {
                    Some(duration) => generator.lasting(samples_of(duration, rate)),
                    None => generator,
                };
                self.playing = Some(Box::new(Playing { player: Player::Tone(generator), token: Some(token) }));
            }
            Err(error) => {
                tracing::debug!(target: "ringback.media", leg = ?self.id, %error, "no such tone");
                out.event(Event::PlayEnded { leg: self.id, token, completed: false });
            }
        }
    }

    /// Starts a sound in the same way.
    pub(crate) fn play<O: Out + ?Sized>(&mut self, sound: Arc<Sound>, token: Token, out: &mut O) {
        self.end_playing(out);
        let player = Player::sound(sound, self.codec().sample_rate());
        self.playing = Some(Box::new(Playing { player, token: Some(token) }));
    }

    /// Lets what plays fall; it is answered at once.
    pub(crate) fn stop_playing<O: Out + ?Sized>(&mut self, out: &mut O) {
        if let Some(playing) = &mut self.playing {
            playing.player.stop();
            if let Some(token) = playing.token.take() {
                out.event(Event::PlayEnded { leg: self.id, token, completed: false });
            }
        }
    }

    fn end_playing<O: Out + ?Sized>(&mut self, out: &mut O) {
        self.stop_playing(out);
        if self.playing.take().is_some() {
            // What comes in its place begins where it ends.
            self.joint.meet();
        }
    }

    pub(crate) fn send_dtmf<O: Out + ?Sized>(
        &mut self,
        digits: &str,
        duration_ms: u32,
        gap_ms: u32,
        token: Token,
        out: &mut O,
    ) {
        let dial = self.dial.get_or_insert_default();
        if !dial.add(digits, duration_ms, gap_ms, token) {
            out.event(Event::DtmfSent { leg: self.id, token, completed: false });
        }
    }

    /// Begins to send digits as tones.
    pub(crate) fn send_tones<O: Out + ?Sized>(&mut self, keypad: Keypad, out: &mut O) {
        self.end_tones(out);
        self.keypad = Some(Box::new(keypad));
    }

    pub(crate) fn end_tones<O: Out + ?Sized>(&mut self, out: &mut O) {
        if let Some(keypad) = self.keypad.take() {
            out.event(Event::DtmfSent { leg: self.id, token: keypad.token, completed: false });
        }
    }

    /// Of the digits that are being sent no more begin.
    pub(crate) fn stop_dtmf(&mut self) {
        if let Some(keypad) = &mut self.keypad {
            keypad.cut_short();
            return;
        }
        if let Some(dial) = &mut self.dial {
            dial.cut_short(self.due_ms);
        }
    }

    /// Events can no longer be sent: answers those who wait for them.
    pub(crate) fn end_dialling<O: Out + ?Sized>(&mut self, out: &mut O) {
        if let Some(mut dial) = self.dial.take() {
            for (token, completed) in dial.abandon() {
                out.event(Event::DtmfSent { leg: self.id, token, completed });
            }
        }
    }

    /// Puts a program's port in; `epoch` is the number of its place in the wheel, where it is due at once from `due_ms` on.
    pub(crate) fn open_audio<O: Out + ?Sized>(
        &mut self,
        port: Arc<AudioPort>,
        now: Mono,
        due_ms: u64,
        epoch: u32,
        out: &mut O,
    ) {
        self.close_audio(out);
        let retained = std::mem::replace(&mut self.incoming.retained, Retention::Over);
        let mut audio = match Audio::new(port.clone(), self.codec(), due_ms, epoch) {
            Ok(audio) => audio,
            Err(error) => {
                tracing::debug!(target: "ringback.media", leg = ?self.id, %error, "no such audio");
                port.close();
                if port.flag() {
                    out.audio_ready(&port);
                }
                return;
            }
        };
        if let Retention::Keeping(retained) = retained {
            audio.replay(*retained, millis(now), out);
        }
        self.audio = Some(Box::new(audio));
    }

    pub(crate) fn close_audio<O: Out + ?Sized>(&mut self, out: &mut O) {
        if let Some(audio) = self.audio.take() {
            self.incoming.discarded += audio.discarded();
            audio.close(out);
        }
    }

    /// Begins to record. `epoch` is the number of the recorder's place in the wheel, where it is due from `due_ms` on.
    pub(crate) fn record(&mut self, tape: Arc<Tape>, due_ms: u64, epoch: u32) {
        // First the old one ends.
        self.recorder = None;
        match Recorder::new(Arc::clone(&tape), self.codec(), due_ms, epoch) {
            Ok(recorder) => self.recorder = Some(Box::new(recorder)),
            Err(error) => tape.fail(format!("the call cannot be recorded: {error}")),
        }
    }

    /// Nothing feeds it any more: whoever waits for an end is told.
    pub(crate) fn end_feeds<O: Out + ?Sized>(&mut self, out: &mut O) {
        self.end_playing(out);
        self.end_dialling(out);
        self.end_tones(out);
        self.close_audio(out);
    }

    /// The bridge or echo that fed it is no more, or another.
    pub(crate) fn unfeed(&mut self) {
        self.outgoing.unfeed();
        self.reframe = None;
        self.transcode = None;
    }
}

fn latch(config: &LegConfig) -> Latch {
    let latch = Latch::new(config.remote_rtp, config.symmetric, config.signalling);
    if config.sends_first { latch.waiting() } else { latch }
}

/// Milliseconds of the engine's clock.
pub(crate) fn millis(at: Mono) -> u64 {
    at.as_nanos() / 1_000_000
}

fn samples_of(duration: Duration, rate: u32) -> u64 {
    u64::try_from(duration.as_nanos() * u128::from(rate) / 1_000_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn a_leg_that_no_program_listens_to_is_small() {
        // What a relayed packet touches.
        assert_eq!(align_of::<Leg>(), 64);
        assert!(offset_of!(Leg, incoming) <= 5 * 64, "of the leg that it goes to");
        assert!(offset_of!(Leg, watch) - offset_of!(Leg, incoming) <= 8 * 64, "of the leg that it came to");
        let size = size_of::<Leg>() + size_of::<LegConfig>();
        assert!(size < 1536, "{size} octets");
    }

    #[test]
    fn digits_beyond_what_can_be_dialled_are_not_told() {
        let mut budget = DigitBudget::new();
        let at = |ms: u64| Mono::from_nanos(ms * 1_000_000);
        assert_eq!((0..1000).filter(|_| budget.spend(at(5000))).count(), 32);
        assert_eq!((0..1000).filter(|n| budget.spend(at(5000 + n))).count(), 24);
        assert_eq!((0..100).filter(|n| budget.spend(at(10_000 + n * 50))).count(), 100);
    }
}
