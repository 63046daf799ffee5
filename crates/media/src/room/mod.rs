//! A conference: members in, one frame of 20 ms mixed at a time, and for each what it hears.
//!
//! How data passes. A member's packets go into its playout buffer. On the room's phase of the frame, `mix` takes a frame from each who may be
//! heard, chooses the loudest, and adds them up in 32 bits. On its own turn, which follows within a frame, each leg sends that sum without
//! what it has added itself (`feed`); all who have added nothing hear the same and share one encoding. So the cost grows with the
//! members, not with their square, and listeners cost next to nothing but their packets.
//!
//! Members of a room of up to [`TOGETHER`] share its phase: the frame is taken, mixed and sent in one go. Those that come later keep their
//! own phases, and take their next frame on them as well, so that no millisecond holds too much work: the room's phase then only adds.
//!
//! Invariants: a frame is sent by a leg as it was mixed, or not at all (`Member::pulled` tells that `own` is the next frame's already);
//! whoever is heard for the first or the last time fades over half a frame, and so does what a leg hears first and last.

mod member;
mod queue;
mod voice;

use std::sync::Arc;

use ringback_audio::{Encoder, OpusSettings, Resampler, accumulate, saturate, saturate_without};
use ringback_media_api::{Codec, Event, Role, RoomId, Sound, Token};
use slab::Slab;

pub(crate) use member::{Leaving, Member};

use crate::leg::Leg;
use crate::player::Player;
use crate::{Out, codec};
use queue::Queue;

pub(crate) const FRAME_MS: u64 = 20;
/// Legs whose whole work, some 5 us each, fits well into one millisecond.
pub(crate) const TOGETHER: usize = 50;
/// Of more that speak at a time nobody understands a word, and each adds its noise.
const VOICES: usize = 12;
/// Who is heard already counts for so much more, in halves: 3.5 dB.
const HEARD: u64 = 3;
const UNHEARD: u64 = 2;

pub(crate) struct Room {
    pub(crate) id: RoomId,
    /// When the next frame is due, and the number of its place in the wheel.
    pub(crate) due_ms: u64,
    pub(crate) epoch: u32,
    /// Slab keys of its legs, and of those that have a part in mixing.
    members: Vec<u32>,
    busy: Vec<u32>,
    /// Left at once, with a last frame to say.
    #[allow(clippy::vec_box, reason = "taken from the leg as it is")]
    ghosts: Vec<Box<Member>>,
    sum: Vec<i32>,
    /// How many signals are in `sum`, and of how many members who are chosen to be heard.
    voices: usize,
    chosen: usize,
    /// Those with something in `whispered`.
    told: Vec<u32>,
    /// What those hear who have added nothing, as encoded so far.
    shared: Vec<Shared>,
    scores: Vec<u64>,
    samples: Vec<i16>,
    /// What all hear.
    pub(crate) announcement: Option<Announcement>,
    /// The leg being worked on, for the one who catches a panic.
    pub(crate) current: Option<u32>,
}

/// One encoding for all who hear the same.
struct Shared {
    codec: Codec,
    /// From the room's rate to the encoder's.
    resampler: Resampler,
    encoder: Encoder,
    samples: Vec<i16>,
    payload: Vec<u8>,
    /// Of the present frame.
    ready: bool,
}

/// A sound that a whole room hears.
pub(crate) struct Announcement {
    player: Player,
    token: Option<Token>,
}

impl Announcement {
    fn answer<O: Out + ?Sized>(&mut self, room: RoomId, completed: bool, out: &mut O) {
        if let Some(token) = self.token.take() {
            out.event(Event::RoomPlayed { room, token, completed });
        }
    }
}

/// What a leg hears for a packet time.
pub(crate) enum Feed<'a> {
    Silence,
    /// Encoded already.
    Payload(&'a [u8]),
    /// In the vector that was handed in.
    Samples,
}

impl Room {
    pub(crate) fn new(id: RoomId, due_ms: u64, epoch: u32) -> Self {
        Room {
            id,
            due_ms,
            epoch,
            members: Vec::new(),
            busy: Vec::new(),
            ghosts: Vec::new(),
            sum: Vec::new(),
            voices: 0,
            chosen: 0,
            told: Vec::new(),
            shared: Vec::new(),
            scores: Vec::new(),
            samples: Vec::new(),
            announcement: None,
            current: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.announcement.is_none()
    }

    /// Of the samples that are mixed, Hz.
    pub(crate) fn rate(&self) -> u32 {
        8_000
    }

    /// All work is done on one phase.
    pub(crate) fn is_together(&self) -> bool {
        self.members.len() <= TOGETHER
    }

    pub(crate) fn members(&self) -> &[u32] {
        &self.members
    }

    pub(crate) fn insert(&mut self, member: &mut Member) {
        self.members.push(member.key);
        self.list(member);
    }

    /// Sees to it that a member is looked at each frame, where that is needed.
    pub(crate) fn list(&mut self, member: &mut Member) {
        if !member.listed && member.is_busy() {
            member.listed = true;
            self.busy.push(member.key);
        }
    }

    /// Takes a member out. What it says is faded in the next frame, unless it was already.
    pub(crate) fn remove(&mut self, mut member: Box<Member>) {
        let keys = [&mut self.members, &mut self.busy];
        for keys in keys {
            if let Some(place) = keys.iter().position(|key| *key == member.key) {
                keys.swap_remove(place);
            }
        }
        if member.heard && member.leaving != Leaving::Mixed && !self.members.is_empty() {
            member.leaving = Leaving::Asked;
            self.ghosts.push(member);
        }
    }

    /// Mixes the frame that is due; frames that were missed are over.
    pub(crate) fn mix<O: Out + ?Sized>(&mut self, legs: &mut Slab<Box<Leg>>, now_ms: u64, out: &mut O) {
        let missed = now_ms.saturating_sub(self.due_ms) / FRAME_MS;
        self.due_ms += (missed + 1) * FRAME_MS;
        for key in self.told.drain(..) {
            if let Some(member) = legs.get_mut(key as usize).and_then(|leg| leg.member.as_mut()) {
                member.whispered.clear();
            }
        }
        self.take(legs, missed, out);
        self.sum.clear();
        self.sum.resize(FRAME_MS as usize * 8, 0);
        (self.voices, self.chosen) = (0, 0);
        self.shared.iter_mut().for_each(|shared| shared.ready = false);
        let least = self.least_score();
        let mut place = 0;
        while let Some(&key) = self.busy.get(place) {
            if self.add(legs, key, least) {
                place += 1;
            } else {
                self.busy.swap_remove(place);
            }
        }
        for mut ghost in std::mem::take(&mut self.ghosts) {
            ghost.pull(0);
            ghost.fade(false);
            self.count(&mut ghost);
        }
        self.announce(out);
        for place in 0..self.busy.len() {
            self.queue(legs, place);
        }
        self.current = None;
    }

    /// A frame from everyone who may be heard, and a look at who speaks.
    fn take<O: Out + ?Sized>(&mut self, legs: &mut Slab<Box<Leg>>, missed: u64, out: &mut O) {
        self.scores.clear();
        for &key in &self.busy {
            self.current = Some(key);
            let Some(leg) = legs.get_mut(key as usize) else { continue };
            let Some(member) = &mut leg.member else { continue };
            if member.role == Role::Listener && !member.heard && member.beside.is_none() {
                member.own.clear();
                continue;
            }
            member.pull(missed);
            member.pulled = false;
            if let Some(talking) = member.voice.judge(member.magnitude) {
                out.event(Event::Talking { leg: leg.id, talking });
            }
            if member.is_candidate() {
                self.scores.push(member.score());
            }
        }
    }

    /// What a voice must reach to be heard.
    fn least_score(&mut self) -> u64 {
        if self.scores.len() <= VOICES {
            return 0;
        }
        let (_, least, _) = self.scores.select_nth_unstable_by(VOICES - 1, |a, b| b.cmp(a));
        *least
    }

    /// Adds what a member says to what the others hear. False: the room need not look at it again.
    fn add(&mut self, legs: &mut Slab<Box<Leg>>, key: u32, least: u64) -> bool {
        self.current = Some(key);
        let Some(member) = legs.get_mut(key as usize).and_then(|leg| leg.member.as_mut()) else { return false };
        member.counted = false;
        let heard = member.is_candidate() && member.score() >= least && self.chosen < VOICES;
        self.chosen += usize::from(heard);
        let heard_before = std::mem::replace(&mut member.heard, heard);
        let leaving = member.leaving != Leaving::No;
        if leaving {
            member.leaving = Leaving::Mixed;
        }
        let beside = match member.role {
            Role::Whisper { beside } if !leaving && !member.own.is_empty() => Some(beside),
            _ => None,
        };
        if beside.is_some() || member.beside.is_some() {
            self.whisper(legs, key, beside);
        }
        let Some(member) = legs.get_mut(key as usize).and_then(|leg| leg.member.as_mut()) else { return false };
        if heard || heard_before {
            if heard != heard_before {
                member.fade(heard);
            }
            self.count(member);
        }
        member.listed = member.is_busy();
        member.listed
    }

    /// Plays to all. A sound that was replaced falls within its last frame.
    pub(crate) fn play<O: Out + ?Sized>(&mut self, sound: Arc<Sound>, token: Token, out: &mut O) {
        self.stop_playing(out);
        let player = Player::sound(sound, self.rate());
        self.announcement = Some(Announcement { player, token: Some(token) });
    }

    pub(crate) fn stop_playing<O: Out + ?Sized>(&mut self, out: &mut O) {
        if let Some(mut announcement) = self.announcement.take() {
            announcement.player.stop();
            announcement.answer(self.id, false, out);
        }
    }

    fn announce<O: Out + ?Sized>(&mut self, out: &mut O) {
        let rate = self.rate();
        let Some(announcement) = &mut self.announcement else { return };
        self.samples.clear();
        self.samples.resize(self.sum.len(), 0);
        if announcement.player.fill(rate, &mut self.samples) > 0 {
            accumulate(&mut self.sum, &self.samples);
            self.voices += 1;
        }
        if announcement.player.is_finished() {
            let completed = !announcement.player.was_cut_short();
            announcement.answer(self.id, completed, out);
            self.announcement = None;
        }
    }

    fn count(&mut self, member: &mut Member) {
        if !member.own.is_empty() {
            accumulate(&mut self.sum, &member.own);
            self.voices += 1;
            member.counted = true;
        }
    }

    /// What the member with `key` says reaches `beside` alone.
    fn whisper(&mut self, legs: &mut Slab<Box<Leg>>, key: u32, beside: Option<ringback_media_api::LegId>) {
        let found = beside.and_then(|beside| {
            self.members.iter().copied().find(|key| legs.get(*key as usize).is_some_and(|leg| leg.id == beside))
        });
        let Some(member) = legs.get_mut(key as usize).and_then(|leg| leg.member.as_mut()) else { return };
        let before = std::mem::replace(&mut member.beside, found);
        self.samples.clear();
        self.samples.extend(&member.own);
        if before == found {
            self.tell(legs, found);
            return;
        }
        let whole = self.samples.clone();
        member::fade(&mut self.samples, false);
        self.tell(legs, before);
        self.samples = whole;
        member::fade(&mut self.samples, true);
        self.tell(legs, found);
    }

    /// Adds `samples` to what one member hears, if it is still in this room.
    fn tell(&mut self, legs: &mut Slab<Box<Leg>>, to: Option<u32>) {
        let Some(key) = to else { return };
        let Some(member) = legs.get_mut(key as usize).and_then(|leg| leg.member.as_mut()) else { return };
        if !self.members.contains(&key) || self.samples.is_empty() {
            return;
        }
        if member.whispered.is_empty() {
            self.told.push(key);
            member.whispered.resize(self.samples.len(), 0);
        }
        accumulate(&mut member.whispered, &self.samples);
    }

    /// Puts the frame by for a member of another packet time.
    fn queue(&mut self, legs: &mut Slab<Box<Leg>>, place: usize) {
        let Some(leg) = self.busy.get(place).and_then(|key| legs.get_mut(*key as usize)) else { return };
        let packet_ms = leg.ptime_ms() as usize;
        let Some(member) = &mut leg.member else { return };
        let Some(mut queue) = member.queue.take() else { return };
        self.hear(member);
        queue.push(self.samples.iter().copied(), packet_ms, self.rate() as usize / 1000);
        member.queue = Some(queue);
    }

    /// What a member hears of the frame, into `samples`.
    fn hear(&mut self, member: &mut Member) {
        self.samples.clear();
        self.samples.resize(self.sum.len(), 0);
        let own = if member.counted { &member.own[..] } else { &[] };
        if own.is_empty() {
            saturate(&self.sum, &mut self.samples);
        } else if member.whispered.is_empty() {
            saturate_without(&self.sum, own, &mut self.samples);
        }
        if !member.whispered.is_empty() {
            let own = own.iter().copied().chain(std::iter::repeat(0));
            let sums = self.sum.iter().zip(&member.whispered).zip(own);
            for (sample, ((&sum, &whispered), own)) in self.samples.iter_mut().zip(sums) {
                let sum = sum + whispered - i32::from(own);
                *sample = sum.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16;
            }
        }
        if member.leaving == Leaving::Mixed {
            member::fade(&mut self.samples, false);
        } else if std::mem::take(&mut member.fresh) {
            member::fade(&mut self.samples, true);
        }
    }

    /// What a leg sends for a packet time, once a frame.
    pub(crate) fn feed(&mut self, member: &mut Member, codec: Codec, ptime_ms: usize, to: &mut Vec<i16>) -> Feed<'_> {
        if ptime_ms != FRAME_MS as usize {
            let queue = member.queue.get_or_insert_with(|| Box::new(Queue::default()));
            self.samples.clear();
            let fed = queue.pop(ptime_ms, self.rate() as usize / 1000, &mut self.samples);
            if fed {
                member.convert(&self.samples, self.rate(), codec.sample_rate(), to);
            }
            self.list(member);
            return if fed { Feed::Samples } else { Feed::Silence };
        }
        member.queue = None;
        let plain = member.whispered.is_empty() && !member.fresh && member.leaving == Leaving::No;
        let alone = self.voices == usize::from(member.counted);
        // The next frame's, or nobody speaks.
        if member.pulled || (alone && member.whispered.is_empty()) {
            member.fresh &= !alone;
            return Feed::Silence;
        }
        if plain && !member.counted {
            return Feed::Payload(self.share(codec));
        }
        self.hear(member);
        member.convert(&self.samples, self.rate(), codec.sample_rate(), to);
        Feed::Samples
    }

    /// The whole frame, encoded once for all who hear it.
    fn share(&mut self, codec: Codec) -> &[u8] {
        let place = self.shared.iter().position(|shared| shared.codec == codec).unwrap_or_else(|| {
            // Opus takes the room's rate as it is.
            let encoder = Encoder::with(codec::coding(codec), self.rate(), &OpusSettings::default());
            if let Ok(resampler) = Resampler::new(self.rate(), encoder.sample_rate()) {
                let (samples, payload) = (Vec::new(), Vec::new());
                self.shared.push(Shared { codec, resampler, encoder, samples, payload, ready: false });
            }
            self.shared.len().saturating_sub(1)
        });
        let Some(shared) = self.shared.get_mut(place) else { return &[] };
        if !std::mem::replace(&mut shared.ready, true) {
            self.samples.clear();
            self.samples.resize(self.sum.len(), 0);
            saturate(&self.sum, &mut self.samples);
            shared.payload.clear();
            shared.samples.clear();
            shared.resampler.process(&self.samples, &mut shared.samples);
            shared.encoder.encode(&shared.samples, &mut shared.payload);
        }
        &shared.payload
    }
}

impl Member {
    /// Something of it may be heard by all.
    fn is_candidate(&self) -> bool {
        self.role == Role::Member && self.leaving == Leaving::No && !self.own.is_empty()
    }

    fn score(&self) -> u64 {
        u64::from(self.loudness) * if self.heard { HEARD } else { UNHEARD }
    }
}
