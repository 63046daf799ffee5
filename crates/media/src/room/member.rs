//! A leg in a room: what it says in the present frame, how loud that is, and what the room made of it.
//!
//! Invariant: `own` is what the leg adds to the room's frame while `counted`, and that alone is taken out of what it hears.

use ringback_audio::{Resampler, UnsupportedRate, amplify, fade_in, fade_out, mean_magnitude};
use ringback_media_api::{Codec, Role};

use super::FRAME_MS;
use super::queue::Queue;
use super::voice::Voice;
use crate::hearing::Hearing;
use crate::statistics::PlayoutDelay;

/// What a silent line may hold of a codec's making, some -65 dBm0: nobody hears it, and it is no part of the sum.
const IDLE: u32 = 8;
/// Begins and ends within a frame take half of it.
const FADE_MS: usize = FRAME_MS as usize / 2;
/// Of what came while nobody mixed, so many frames at most are passed over; what is more the playout buffer skips by itself.
const MOST_MISSED: u64 = 16;

/// What the room looks at each frame stands first, in few cache lines.
#[repr(C, align(64))]
pub(crate) struct Member {
    /// Slab keys of the room and of the leg.
    pub(crate) room: u32,
    pub(crate) key: u32,
    pub(crate) role: Role,
    /// Mean magnitude of the frame, and of its frames, falling slowly.
    pub(crate) magnitude: u32,
    pub(crate) loudness: u32,
    pub(crate) voice: Voice,
    /// Whom its whisper reached in the frame before.
    pub(crate) beside: Option<u32>,
    /// The frame to come was taken from the playout buffer.
    pub(crate) pulled: bool,
    /// In the sum of the present frame.
    pub(crate) counted: bool,
    /// Among the voices of the frame before and, by that, the present one.
    pub(crate) heard: bool,
    /// The room looks at it each frame.
    pub(crate) listed: bool,
    /// It has heard nothing of the room yet.
    pub(crate) fresh: bool,
    /// It was heard by another until it joined, and goes on.
    pub(crate) continuing: bool,
    pub(crate) leaving: Leaving,
    /// Frames since it last had a stream of its own to hear, of a codec that has a memory; 0: now.
    pub(crate) shares: u8,

    /// For packets of another length than the room's frame.
    pub(crate) queue: Option<Box<Queue>>,
    /// What it has added and is told by whispers, at the rate that it is sent, where that is not the room's.
    pub(crate) low: Option<Box<Low>>,
    /// The frame: empty where it says nothing.
    pub(crate) own: Vec<i16>,
    /// What whispers add to what it hears.
    pub(crate) whispered: Vec<i32>,

    gain: Option<f32>,
    pub(crate) hearing: Hearing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    No,
    /// The next frame is its last: it fades both ways.
    Asked,
    /// That frame was mixed; the leg is to send it.
    Mixed,
}

impl Member {
    /// `rate`: the room's.
    pub(crate) fn new(room: u32, key: u32, role: Role, codec: Codec, rate: u32) -> Result<Self, UnsupportedRate> {
        Ok(Member {
            room,
            key,
            role,
            gain: None,
            hearing: Hearing::new(codec, rate)?,
            own: Vec::new(),
            pulled: false,
            counted: false,
            heard: false,
            beside: None,
            voice: Voice::new(),
            magnitude: 0,
            loudness: 0,
            whispered: Vec::new(),
            low: None,
            shares: 0,
            queue: None,
            listed: false,
            fresh: true,
            continuing: false,
            leaving: Leaving::No,
        })
    }

    /// A packet came. What nobody hears is not kept. False: it came too late to be played.
    pub(crate) fn receive(&mut self, extended: u64, timestamp: u32, codec: Codec, payload: &[u8]) -> bool {
        self.role == Role::Listener || self.hearing.push(extended, timestamp, codec, payload)
    }

    /// Another stream of packets begins.
    pub(crate) fn begin_stream(&mut self) {
        self.hearing.reset();
    }

    pub(crate) fn set_gain(&mut self, gain_db: f32) {
        let gain_db = if gain_db.is_finite() { gain_db.clamp(-60.0, 20.0) } else { 0.0 };
        self.gain = (gain_db != 0.0).then(|| 10_f32.powf(gain_db / 20.0));
    }

    /// Whether the room has to look at it each frame.
    pub(crate) fn is_busy(&self) -> bool {
        self.role != Role::Listener
            || self.heard
            // What it said last is to be forgotten, or it would be taken out of all that it hears.
            || self.counted
            || self.beside.is_some()
            || self.queue.is_some()
            || !self.whispered.is_empty()
            // What it said, or was told, is still in its filters, and would be taken out, or be told, again and again.
            || self.low.as_ref().is_some_and(|low| low.rings())
            || self.leaving != Leaving::No
    }

    /// Takes the next frame from the playout buffer; `missed` frames before it are over.
    pub(crate) fn pull(&mut self, missed: u64) {
        if std::mem::replace(&mut self.pulled, true) {
            return;
        }
        for _ in 0..=missed.min(MOST_MISSED) {
            self.own.clear();
            self.hearing.pull(FRAME_MS as usize, &mut self.own);
        }
        if let Some(gain) = self.gain {
            amplify(&mut self.own, gain);
        }
        self.magnitude = mean_magnitude(&self.own);
        if self.magnitude <= IDLE {
            self.own.clear();
        }
        self.loudness = self.magnitude.max(self.loudness - self.loudness / 8);
    }

    /// The room mixes at another rate. What was taken for the frame to come is lost.
    pub(crate) fn change_rate(&mut self, rate: u32) {
        self.hearing.change_rate(rate);
        self.own.clear();
        self.whispered.clear();
        self.low = None;
        self.heard = false;
    }

    /// Brings what it is not to hear, and what it alone is to hear, to the rate of its codec.
    pub(crate) fn lower(&mut self, room_rate: u32, rate: u32) {
        if rate == room_rate {
            self.low = None;
            return;
        }
        if self.low.as_ref().is_some_and(|low| low.own_down.to_rate() != rate || low.own_down.from_rate() != room_rate)
        {
            self.low = None;
        }
        if self.low.is_none() {
            if !self.counted && self.whispered.is_empty() {
                return;
            }
            self.low = Low::new(room_rate, rate).ok().map(Box::new);
        }
        let Some(low) = &mut self.low else { return };
        let frame = (room_rate as usize / 1000) * FRAME_MS as usize;
        low.own.clear();
        if self.counted {
            low.own_down.process(&self.own, &mut low.own);
        } else if low.own_rings {
            // The end of what it said is still in the filter, and in that of the sum.
            low.own_down.process(&vec![0; frame], &mut low.own);
        }
        low.own_rings = self.counted;
        low.whispered.clear();
        if !self.whispered.is_empty() {
            low.whispered_down.process_sum(&self.whispered, &mut low.whispered);
        } else if low.whisper_rings {
            low.whispered_down.process_sum(&vec![0; frame], &mut low.whispered);
        }
        low.whisper_rings = !self.whispered.is_empty();
    }

    /// The frame rises from nothing, or falls to it.
    pub(crate) fn fade(&mut self, rises: bool) {
        fade(&mut self.own, rises);
    }

    /// What waits to be heard of it, where that is all that its peer is to hear: nobody made it louder or silent.
    pub(crate) fn take_hearing(&mut self, codec: Codec) -> Option<Hearing> {
        if self.role != Role::Member || self.gain.is_some() {
            return None;
        }
        let rate = self.hearing.decoding().rate();
        let mut hearing = std::mem::replace(&mut self.hearing, Hearing::new(codec, rate).ok()?);
        if self.pulled {
            hearing.give_back(&self.own);
        }
        Some(hearing)
    }

    pub(crate) fn playout(&self) -> PlayoutDelay {
        self.hearing.playout()
    }

    /// Packets that the playout buffer did not play though they came.
    pub(crate) fn discarded(&self) -> u64 {
        self.hearing.discarded()
    }
}

pub(crate) struct Low {
    own_down: Resampler,
    pub(crate) own: Vec<i16>,
    /// What was added last frame is not all out yet.
    own_rings: bool,
    whispered_down: Resampler,
    pub(crate) whispered: Vec<i32>,
    whisper_rings: bool,
}

impl Low {
    fn new(room_rate: u32, rate: u32) -> Result<Self, UnsupportedRate> {
        let down = || Resampler::new(room_rate, rate);
        Ok(Low {
            own_down: down()?,
            own: Vec::new(),
            own_rings: false,
            whispered_down: down()?,
            whispered: Vec::new(),
            whisper_rings: false,
        })
    }

    /// There is something in it, or in its filters.
    fn rings(&self) -> bool {
        !(self.own.is_empty() && self.whispered.is_empty()) || self.own_rings || self.whisper_rings
    }
}

/// Fades a frame over its first half.
pub(super) fn fade(frame: &mut [i16], rises: bool) {
    let over = frame.len() * FADE_MS / FRAME_MS as usize;
    if rises { fade_in(frame, over) } else { fade_out(frame, over) }
}
