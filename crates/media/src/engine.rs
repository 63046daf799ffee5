//! All legs of one media thread, and the doors by which input comes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use foldhash::fast::FixedState;
use rand_chacha::ChaCha12Rng;
use ringback_media_api::{AudioPort, Command, Event, LegConfig, LegId, Statistics, Tape};
use ringback_time::{Mono, Now};
use slab::Slab;

use crate::calm::Calms;
use crate::keypad::Keypad;
use crate::leg::{Leg, Retention, millis};
use crate::receive;
use crate::rooms::{ROOM, Rooms};
use crate::statistics::statistics;
use crate::turn::{self, Scratch};
use crate::wheel::{Entry, Wheel};
use crate::{Out, ahead};

/// Legs of 20 ms take their turns spread over as many phases of 1 ms.
const PHASES: usize = 20;
/// So many share a phase before another is begun: waking up for one packet costs more than the packet, and that of the last of them
/// is not late by more than the time that the others take, some 50 us.
const TOGETHER: u32 = 8;
const PANICKED: &str = "a panic in the media engine";

/// One media thread's engine: see the crate's documentation.
pub struct MediaEngine {
    thread: u8,
    rng: ChaCha12Rng,
    pub(crate) legs: Slab<Box<Leg>>,
    // Leg ids are our own, never a peer's: their hash needs no secret.
    pub(crate) index: HashMap<LegId, u32, FixedState>,
    pub(crate) rooms: Rooms,
    pub(crate) wheel: Wheel,
    /// Legs on each phase.
    phases: [u32; PHASES],
    epoch: u32,
    pub(crate) calms: Calms,
    scratch: Scratch,
}

impl MediaEngine {
    /// `thread`: the number that all its leg ids carry. `rng` starts SSRCs and sequence numbers and spreads reports.
    pub fn new(thread: u8, rng: ChaCha12Rng) -> Self {
        MediaEngine {
            thread,
            rng,
            legs: Slab::new(),
            index: HashMap::default(),
            rooms: Rooms::default(),
            wheel: Wheel::new(),
            phases: [0; PHASES],
            epoch: 0,
            calms: Calms::default(),
            scratch: Scratch::new(),
        }
    }

    /// Commands for a leg that is no more are answered where they ask for an answer, and otherwise do nothing.
    pub fn handle_command<O: Out + ?Sized>(&mut self, now: Now, command: Command, out: &mut O) {
        let leg = command.leg();
        if let Some(&key) = self.index.get(&leg) {
            self.rouse(millis(now.mono), key);
        }
        if catch_unwind(AssertUnwindSafe(|| self.command(now, command, out))).is_err() {
            self.fail(leg, out);
        }
    }

    /// One datagram from a leg's RTP socket; `packet` may be rewritten in place. `arrival` is the kernel's time of receipt on the
    /// clock of `now.mono`; `from` is an IPv4 address where IPv4 was used, not one mapped into IPv6.
    pub fn handle_rtp<O: Out + ?Sized>(
        &mut self,
        now: Now,
        leg: LegId,
        arrival: Mono,
        from: SocketAddr,
        packet: &mut [u8],
        out: &mut O,
    ) {
        let Some(&key) = self.index.get(&leg) else { return };
        let legs = &mut self.legs;
        let work = catch_unwind(AssertUnwindSafe(|| {
            let (leg, mut peer) = with_peer(legs, key)?;
            receive::rtp(leg, peer.as_deref_mut(), now, arrival, from, packet, out);
            let own = if leg.is_listening() { 0 } else { millis(leg.deadline) };
            let fed = match peer {
                Some(peer) => leg.peer.map(|key| (key, peer.calm())),
                None => leg.echo.then(|| (key, leg.calm())),
            };
            Some((own, fed))
        }));
        match work {
            Ok(Some((own, fed))) => {
                self.calms.shorten(key, own);
                if let Some((fed, calm)) = fed {
                    self.calms.set(fed, calm);
                }
            }
            Ok(None) => {}
            Err(_) => self.fail(leg, out),
        }
    }

    /// One datagram from a leg's RTCP socket.
    pub fn handle_rtcp<O: Out + ?Sized>(&mut self, now: Now, leg: LegId, from: SocketAddr, packet: &[u8], out: &mut O) {
        let legs = &mut self.legs;
        let Some(key) = self.index.get(&leg) else { return };
        let work = catch_unwind(AssertUnwindSafe(|| {
            if let Some(leg) = legs.get_mut(*key as usize) {
                receive::rtcp(leg, now, from, packet);
            }
        }));
        if work.is_err() {
            self.fail(leg, out);
        }
    }

    /// Gives every leg its turn that is due by `now`. After a stall each has one turn, and its timestamps say what time it is.
    pub fn handle_timeout<O: Out + ?Sized>(&mut self, now: Now, out: &mut O) {
        let now_ms = millis(now.mono);
        while let Some((due_ms, entries)) = self.wheel.take_due(now_ms) {
            for some in entries.chunks(ahead::LEGS) {
                self.look_ahead_at_turns(some, due_ms, now_ms);
                for &entry in some {
                    match self.calms.passes(entry, due_ms, now_ms) {
                        Some(next_ms) => self.wheel.insert(now_ms, next_ms, entry),
                        None => self.turn(now, now_ms, entry, out),
                    }
                }
            }
            self.wheel.give_back(entries);
        }
    }

    /// The next millisecond in which `handle_timeout` has work. `None`: no legs, the thread may park.
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.wheel.next_due().map(|ms| Mono::from_nanos(ms.saturating_mul(1_000_000)))
    }

    /// Legs that are open.
    pub fn live_legs(&self) -> usize {
        self.legs.len()
    }

    /// The number of the media thread that this engine was made for.
    pub fn thread(&self) -> u8 {
        self.thread
    }

    fn turn<O: Out + ?Sized>(&mut self, now: Now, now_ms: u64, entry: Entry, out: &mut O) {
        if entry.key & ROOM != 0 {
            self.room_turn(now_ms, entry, out);
            return;
        }
        self.mix_for(now_ms, entry.key, out);
        let rooms = &mut self.rooms;
        let Some(leg) = self.legs.get_mut(entry.key as usize) else { return };
        let (rng, scratch) = (&mut self.rng, &mut self.scratch);
        let work = catch_unwind(AssertUnwindSafe(|| {
            if entry.epoch == leg.epoch {
                if leg.due_ms <= now_ms {
                    let ptime_ms = leg.ptime_ms();
                    // Turns that were missed are over; the last of them is taken.
                    leg.due_ms += (now_ms - leg.due_ms) / ptime_ms * ptime_ms;
                    turn::take(leg, now, rooms.of(leg), rng, scratch, out);
                    leg.due_ms += ptime_ms;
                    if leg.member.is_some() {
                        rooms.after_turn(leg);
                    }
                }
                return Some(leg.due_ms);
            }
            if let Some(recorder) = leg.recorder.as_mut().filter(|recorder| recorder.epoch == entry.epoch) {
                if recorder.is_over() {
                    leg.recorder = None;
                    return None;
                }
                if recorder.due_ms <= now_ms {
                    recorder.play(now_ms);
                }
                return Some(recorder.due_ms);
            }
            let audio = leg.audio.as_mut().filter(|audio| audio.epoch == entry.epoch)?;
            if audio.due_ms <= now_ms {
                audio.play(now_ms, out);
            }
            Some(audio.due_ms)
        }));
        match work {
            Ok(Some(due_ms)) => self.wheel.insert(now_ms, due_ms, entry),
            Ok(None) => {}
            Err(_) => {
                let id = leg.id;
                self.fail(id, out);
            }
        }
    }

    fn command<O: Out + ?Sized>(&mut self, now: Now, command: Command, out: &mut O) {
        match command {
            Command::Open { leg, config } => self.open(now, leg, config, out),
            Command::Close { leg } => self.close(now, leg, out),
            Command::Bridge { a, b } => self.bridge(a, b),
            Command::Unbridge { leg } => {
                if let Some(&key) = self.index.get(&leg) {
                    self.unbridge(key);
                    self.leave(key);
                }
            }
            Command::Join { leg, room, role } => self.join(now, leg, room, role),
            Command::CloseRoom { room } => self.close_room(room, out),
            Command::PlayToRoom { room, sound, token } => self.play_to_room(now, room, sound, token, out),
            Command::SetRole { leg, role } => self.set_role(leg, role, out),
            Command::OpenAudio { leg, port } => self.open_audio(now, leg, port, out),
            Command::Record { leg, tape } => self.record(now, leg, tape),
            Command::RecordRoom { room, tape } => self.record_room(now, room, tape),
            command => {
                let (id, configures) = (command.leg(), matches!(command, Command::Configure { .. }));
                match self.leg_mut(id) {
                    Some(leg) => on_leg(leg, now, command, out),
                    None => refuse(command, out),
                }
                if configures {
                    self.recount(id);
                }
            }
        }
    }

    fn leg_mut(&mut self, leg: LegId) -> Option<&mut Leg> {
        let key = *self.index.get(&leg)?;
        self.legs.get_mut(key as usize).map(|leg| &mut **leg)
    }

    fn open<O: Out + ?Sized>(&mut self, now: Now, id: LegId, config: Box<LegConfig>, out: &mut O) {
        if let Some(leg) = self.leg_mut(id) {
            configure(leg, now, config, out);
            return;
        }
        let now_ms = millis(now.mono);
        let leg = Box::new(Leg::new(id, config, now.mono, &mut self.rng));
        // A phase that was begun, else one that is free, else the one with the fewest legs; of several the one last to come: a packet is
        // due when its time is over, and a call that ends at once has sent none to nobody.
        let due_ms = (now_ms + 1..=now_ms + leg.ptime_ms().min(PHASES as u64))
            .rev()
            .min_by_key(|ms| match self.phases.get((ms % PHASES as u64) as usize).copied() {
                Some(legs @ 1..TOGETHER) => (0, TOGETHER - legs),
                Some(0) | None => (1, 0),
                Some(legs) => (2, legs),
            })
            .unwrap_or(now_ms + 1);
        tracing::debug!(target: "ringback.media", leg = ?id, remote = ?leg.config.remote_rtp, "leg opened");
        out.accept_from(id, leg.latch.source());
        self.settle_in(now_ms, leg, due_ms);
    }

    /// Gives a leg its place, and its turns from `due_ms` on.
    pub(crate) fn settle_in(&mut self, now_ms: u64, mut leg: Box<Leg>, due_ms: u64) -> u32 {
        let (id, epoch) = (leg.id, self.next_epoch());
        leg.due_ms = due_ms;
        leg.phase = (due_ms % PHASES as u64) as usize;
        leg.epoch = epoch;
        if let Some(count) = self.phases.get_mut(leg.phase) {
            *count += 1;
        }
        let key = self.legs.insert(leg) as u32;
        self.index.insert(id, key);
        self.wheel.insert(now_ms, due_ms, Entry { key, epoch });
        key
    }

    fn close<O: Out + ?Sized>(&mut self, now: Now, id: LegId, out: &mut O) {
        let Some(mut leg) = self.remove(id) else {
            // It failed before; its ports are to be freed all the same.
            out.event(Event::Closed { leg: id, statistics: Statistics::default() });
            return;
        };
        receive::end_digit(&mut leg, now, out);
        leg.end_feeds(out);
        if leg.control.owes_goodbye(&leg.outgoing) {
            turn::report(&mut leg, now, true, &mut self.rng, &mut self.scratch, out);
        }
        let statistics = statistics(&leg);
        tracing::debug!(target: "ringback.media", leg = ?id, ?statistics, "leg closed");
        out.event(Event::Closed { leg: id, statistics });
    }

    fn bridge(&mut self, a: LegId, b: LegId) {
        let (Some(&key_a), Some(&key_b)) = (self.index.get(&a), self.index.get(&b)) else {
            tracing::debug!(target: "ringback.media", ?a, ?b, "no such legs to bridge");
            return;
        };
        if key_a == key_b {
            return;
        }
        if self.pair_of_room(key_a, key_b) {
            return;
        }
        self.couple(key_a, key_b);
    }

    /// Two legs hear each other, and nobody else, from now on.
    pub(crate) fn couple(&mut self, key_a: u32, key_b: u32) {
        for key in [key_a, key_b] {
            self.calms.shorten(key, 0);
            self.unbridge(key);
            self.detach(key);
        }
        if let Some((a, b)) = self.legs.get2_mut(key_a as usize, key_b as usize) {
            (a.peer, b.peer) = (Some(key_b), Some(key_a));
            for leg in [a, b] {
                leg.unfeed();
                // Its audio goes to the other: nothing is kept for a program that did not ask in time.
                leg.incoming.retained = Retention::Over;
            }
        }
    }

    pub(crate) fn unbridge(&mut self, key: u32) {
        let Some(leg) = self.legs.get_mut(key as usize) else { return };
        let Some(peer) = leg.peer.take() else { return };
        leg.unfeed();
        self.calms.shorten(key, 0);
        self.calms.shorten(peer, 0);
        if let Some(peer) = self.legs.get_mut(peer as usize) {
            peer.peer = None;
            peer.unfeed();
        }
    }

    fn open_audio<O: Out + ?Sized>(&mut self, now: Now, id: LegId, port: Arc<AudioPort>, out: &mut O) {
        let epoch = self.next_epoch();
        let Some(&key) = self.index.get(&id) else {
            refuse(Command::OpenAudio { leg: id, port }, out);
            return;
        };
        let Some(leg) = self.legs.get_mut(key as usize) else { return };
        let now_ms = millis(now.mono);
        // Frames come on the leg's own phase.
        let due_ms = leg.due_ms.max(now_ms + 1);
        leg.open_audio(port, now.mono, due_ms, epoch, out);
        if leg.audio.is_some() {
            self.wheel.insert(now_ms, due_ms, Entry { key, epoch });
        }
    }

    fn record(&mut self, now: Now, id: LegId, tape: Arc<Tape>) {
        let epoch = self.next_epoch();
        let leg = self.index.get(&id).and_then(|&key| Some((key, self.legs.get_mut(key as usize)?)));
        let Some((key, leg)) = leg else {
            tape.stop();
            return;
        };
        let now_ms = millis(now.mono);
        let due_ms = leg.due_ms.max(now_ms + 1);
        leg.record(tape, due_ms, epoch);
        if leg.recorder.is_some() {
            self.wheel.insert(now_ms, due_ms, Entry { key, epoch });
        }
    }

    pub(crate) fn remove(&mut self, id: LegId) -> Option<Box<Leg>> {
        let key = self.index.remove(&id)?;
        self.unbridge(key);
        self.detach(key);
        self.calms.end(key);
        let leg = self.legs.try_remove(key as usize)?;
        if let Some(count) = self.phases.get_mut(leg.phase) {
            *count = count.saturating_sub(1);
        }
        Some(leg)
    }

    /// A leg whose work panicked is no more; whoever waits for it is told. The others never notice.
    #[cold]
    pub(crate) fn fail<O: Out + ?Sized>(&mut self, id: LegId, out: &mut O) {
        tracing::error!(target: "ringback.media", leg = ?id, PANICKED);
        let leg = self.remove(id);
        // What made it panic may do so again, first in telling who waits for it.
        let _ = catch_unwind(AssertUnwindSafe(|| leg.into_iter().for_each(|mut leg| leg.end_feeds(out))));
        let _ = catch_unwind(AssertUnwindSafe(|| out.event(Event::Failed { leg: id, cause: PANICKED })));
    }

    /// Moves a leg's turns to the phase of `due_ms`.
    pub(crate) fn rephase(&mut self, now_ms: u64, key: u32, due_ms: u64) {
        let epoch = self.next_epoch();
        let Some(leg) = self.legs.get_mut(key as usize) else { return };
        if let Some(count) = self.phases.get_mut(leg.phase) {
            *count = count.saturating_sub(1);
        }
        leg.due_ms = due_ms;
        leg.phase = (due_ms % PHASES as u64) as usize;
        leg.epoch = epoch;
        if let Some(count) = self.phases.get_mut(leg.phase) {
            *count += 1;
        }
        self.wheel.insert(now_ms, due_ms, Entry { key, epoch });
    }

    /// Something is about to happen to a leg: it takes its next turn, and what it knows of the time is up to date.
    pub(crate) fn rouse(&mut self, now_ms: u64, key: u32) {
        if self.calms.end(key)
            && let Some(leg) = self.legs.get_mut(key as usize)
        {
            leg.catch_up(now_ms);
        }
    }

    pub(crate) fn next_epoch(&mut self) -> u32 {
        self.epoch = self.epoch.wrapping_add(1);
        self.epoch
    }
}

/// A leg, and the one it is bridged with.
#[inline]
fn with_peer(legs: &mut Slab<Box<Leg>>, key: u32) -> Option<(&mut Leg, Option<&mut Leg>)> {
    match legs.get(key as usize)?.peer {
        // A leg is never its own peer, for which `get2_mut` would panic.
        Some(peer) if peer != key => {
            let (leg, peer) = legs.get2_mut(key as usize, peer as usize)?;
            Some((leg, Some(peer)))
        }
        _ => Some((legs.get_mut(key as usize)?, None)),
    }
}

fn configure<O: Out + ?Sized>(leg: &mut Leg, now: Now, config: Box<LegConfig>, out: &mut O) {
    if leg.configure(config, now.mono) {
        out.accept_from(leg.id, leg.latch.source());
    }
}

/// What concerns one leg alone.
fn on_leg<O: Out + ?Sized>(leg: &mut Leg, now: Now, command: Command, out: &mut O) {
    match command {
        Command::Configure { config, .. } => configure(leg, now, config, out),
        Command::Echo { on, .. } => {
            let changed = std::mem::replace(&mut leg.echo, on) != on;
            if changed && leg.peer.is_none() {
                leg.unfeed();
            }
        }
        Command::PlayTone { tone, token, .. } => leg.play_tone(&tone, token, out),
        Command::Play { sound, token, .. } => leg.play(sound, token, out),
        Command::StopPlaying { .. } => leg.stop_playing(out),
        Command::GiveUpPlaying { token, .. } if leg.playing.as_ref().is_some_and(|it| it.token == Some(token)) => {
            leg.stop_playing(out);
        }
        Command::SendDtmf { digits, duration_ms, gap_ms, token, .. } => {
            leg.send_dtmf(&digits, duration_ms, gap_ms, token, out);
        }
        Command::SendTones { digits, duration_ms, gap_ms, token, .. } => {
            leg.send_tones(Keypad::new(&digits, duration_ms, gap_ms, token), out);
        }
        Command::StopDtmf { .. } => leg.stop_dtmf(),
        Command::Mute { on, .. } => leg.muted = on,
        Command::SetGain { gain_db, .. } => {
            if let Some(member) = &mut leg.member {
                member.set_gain(gain_db);
            }
        }
        Command::Transmit { on, .. } => {
            leg.transmitting = on;
            leg.aim();
        }
        Command::Statistics { token, .. } => {
            out.event(Event::Statistics { leg: leg.id, token, statistics: statistics(leg) });
        }
        Command::Monitor { interval, .. } => leg.monitor(interval, now.mono),
        Command::Detect { detection, .. } => leg.detect(detection),
        Command::WatchSilence { after, .. } => leg.watch_silence(after, now.mono),
        // Where it is another by now, this one was closed with that.
        Command::CloseAudio { port, .. } if leg.audio.as_ref().is_some_and(|audio| Arc::ptr_eq(&audio.port, &port)) => {
            leg.close_audio(out);
        }
        // Those with more than one leg, or none yet, are the engine's.
        _ => {}
    }
}

/// Answers a command for a leg that is not there.
fn refuse<O: Out + ?Sized>(command: Command, out: &mut O) {
    match command {
        Command::PlayTone { leg, token, .. } => out.event(Event::PlayEnded { leg, token, completed: false }),
        Command::Play { leg, sound, token } => {
            sound.stop();
            out.event(Event::PlayEnded { leg, token, completed: false });
        }
        Command::SendDtmf { leg, token, .. } | Command::SendTones { leg, token, .. } => {
            out.event(Event::DtmfSent { leg, token, completed: false })
        }
        Command::Statistics { leg, token } => {
            out.event(Event::Statistics { leg, token, statistics: Statistics::default() });
        }
        Command::OpenAudio { port, .. } => {
            port.close();
            if port.flag() {
                out.audio_ready(&port);
            }
        }
        _ => {}
    }
}
