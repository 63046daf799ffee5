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

mod listen;
mod member;
mod queue;
mod tape;
mod voice;

use std::sync::Arc;

use ringback_audio::accumulate;
use ringback_media_api::{Event, LegId, Role, RoomId, Sound, Token};
use slab::Slab;

pub(crate) use listen::{Feed, Stream};
use listen::{Lane, Shared};
pub(crate) use member::{Leaving, Member};
use tape::Taping;

use crate::leg::Leg;
use crate::player::Player;
use crate::{Out, ahead};

pub(crate) const FRAME_MS: u64 = 20;
/// Legs whose whole work, some 5 us each, fits well into one millisecond.
pub(crate) const TOGETHER: usize = 50;
/// Of more that speak at a time nobody understands a word, and each adds its noise.
const VOICES: usize = 12;
/// So long a pause is waited for before a change of the rate makes one.
const PAUSE_FRAMES: u8 = 50;
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
    /// Of the samples that are mixed, Hz: the highest that a member's codec has. Another is wanted for so many frames.
    rate: u32,
    wanted_rate: u32,
    waited: u8,
    /// Two who are to be relayed to each other when they are the only ones left.
    pub(crate) pair: Option<[LegId; 2]>,
    /// Members or their codecs have changed.
    pub(crate) recount: bool,
    /// All fades out, because the next frame has another rate.
    fading: bool,
    /// The sum at lower rates, for those whose codecs have them.
    lanes: Vec<Lane>,
    /// What those hear who have added nothing, as encoded so far.
    shared: Vec<Shared>,
    scores: Vec<u64>,
    samples: Vec<i16>,
    /// What is recorded of it.
    tape: Option<Taping>,
    /// What all hear.
    pub(crate) announcement: Option<Announcement>,
    /// What they heard until then, as it falls.
    falling: Option<Player>,
    /// The leg being worked on, for the one who catches a panic.
    pub(crate) current: Option<u32>,
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

impl Room {
    pub(crate) fn new(id: RoomId, due_ms: u64, epoch: u32, rate: u32) -> Self {
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
            rate,
            wanted_rate: rate,
            waited: 0,
            pair: None,
            recount: false,
            fading: false,
            lanes: Vec::new(),
            shared: Vec::new(),
            tape: None,
            scores: Vec::new(),
            samples: Vec::new(),
            announcement: None,
            falling: None,
            current: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.announcement.is_none() && self.tape.is_none()
    }

    /// Of the samples that are mixed, Hz.
    pub(crate) fn rate(&self) -> u32 {
        self.rate
    }

    /// Two are in it, and nobody who has left is still to be heard.
    pub(crate) fn is_pair(&self) -> bool {
        self.members.len() == 2 && self.ghosts.is_empty()
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
        self.recount = true;
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
        self.recount = true;
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
        self.retune(legs);
        for key in self.told.drain(..) {
            if let Some(member) = legs.get_mut(key as usize).and_then(|leg| leg.member.as_mut()) {
                member.whispered.clear();
            }
        }
        self.take(legs, missed, out);
        self.sum.clear();
        self.sum.resize(self.frame(), 0);
        (self.voices, self.chosen) = (0, 0);
        self.shared.retain_mut(Shared::begin);
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
        self.lower(legs);
        self.record(missed, out);
        for place in 0..self.busy.len() {
            self.queue(legs, place);
        }
        self.current = None;
    }

    /// Samples of a frame.
    fn frame(&self) -> usize {
        (self.rate / 1000) as usize * FRAME_MS as usize
    }

    /// Goes over to the rate that the members' codecs want, in a pause, or when one would be long in coming.
    fn retune(&mut self, legs: &mut Slab<Box<Leg>>) {
        if std::mem::take(&mut self.recount) {
            let rates =
                self.members.iter().filter_map(|key| legs.get(*key as usize)).map(|leg| leg.codec().sample_rate());
            self.wanted_rate = rates.max().unwrap_or(self.rate);
        }
        if self.wanted_rate == self.rate {
            self.fading = false;
            self.waited = 0;
            return;
        }
        if self.voices > 0 && !self.fading {
            self.waited += 1;
            self.fading = self.waited >= PAUSE_FRAMES;
            return;
        }
        (self.rate, self.fading, self.waited) = (self.wanted_rate, false, 0);
        self.lanes.clear();
        for &key in &self.members {
            if let Some(member) = legs.get_mut(key as usize).and_then(|leg| leg.member.as_mut()) {
                member.change_rate(self.rate);
            }
        }
        self.ghosts.clear();
    }

    /// A frame from everyone who may be heard, and a look at who speaks.
    fn take<O: Out + ?Sized>(&mut self, legs: &mut Slab<Box<Leg>>, missed: u64, out: &mut O) {
        self.scores.clear();
        let together = self.is_together();
        for (place, &key) in self.busy.iter().enumerate() {
            self.current = Some(key);
            // Those of a larger room have taken their frames on their own turns.
            if together && place.is_multiple_of(ahead::LEGS) {
                let next = self.busy.iter().skip(place).take(ahead::LEGS);
                ahead::look_ahead_at_turns(legs, next.copied());
            }
            let Some(leg) = legs.get_mut(key as usize) else { continue };
            let Some(member) = &mut leg.member else { continue };
            if member.role == Role::Listener && !member.heard && member.beside.is_none() {
                member.own.clear();
                // It may have been until its own turn.
                member.pulled = false;
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
            if self.fading {
                member.heard = false;
            }
            if (heard != heard_before && !(heard && member.continuing)) || self.fading {
                member.fade(heard && !self.fading);
            }
            member.continuing &= member.own.is_empty();
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
            self.falling = Some(announcement.player);
        }
    }

    fn announce<O: Out + ?Sized>(&mut self, out: &mut O) {
        let rate = self.rate();
        if let Some(mut player) = self.falling.take() {
            // It does within a frame.
            self.samples.clear();
            self.samples.resize(self.sum.len(), 0);
            if player.fill(rate, &mut self.samples) > 0 {
                accumulate(&mut self.sum, &self.samples);
                self.voices += 1;
            }
        }
        let Some(announcement) = &mut self.announcement else { return };
        self.samples.clear();
        self.samples.resize(self.sum.len(), 0);
        if announcement.player.fill(rate, &mut self.samples) > 0 {
            if self.fading {
                member::fade(&mut self.samples, false);
            }
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
        self.list(member);
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
