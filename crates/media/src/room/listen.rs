//! What the members of a room hear: the sum, at the rate of their codec, without what they have added themselves; encoded once for
//! all who hear the same.
//!
//! Packets of a codec with a memory must come from one encoder. Who speaks has an own one and keeps it for a while after; who has been
//! silent for that long has the memory of the shared one, as good as, because it has heard the same. From one to the other goes what the far end
//! knows (`Memory`): a decoder that is fed by an encoder which it does not know makes a burst as loud as can be.
//!
//! Invariant: what a listener has added is taken out at the same rate, and past the same filter, as it is in the sum.

use ringback_audio::{Encoder, Memory, Resampler, saturate, saturate_without};
use ringback_media_api::{Codec, OpusSend};
use slab::Slab;

use super::queue::Queue;
use super::{FRAME_MS, Leaving, Member, Room, member};
use crate::codec;
use crate::leg::Leg;

/// So long after it was heard a member keeps its own encoder.
const OWN_FRAMES: u8 = 50;
/// A rate that nobody has asked for so long is not made any more.
const IDLE_FRAMES: u8 = 100;
/// After so many frames of silence nothing is left in a filter.
const QUIET_FRAMES: u8 = 2;

/// The sum at another rate.
pub(super) struct Lane {
    rate: u32,
    down: Resampler,
    sum: Vec<i32>,
    /// Frames in which nobody wanted it, and in which there was nothing in it.
    idle: u8,
    quiet: u8,
}

/// One encoding for all who hear the same, and have agreed on the same.
pub(super) struct Shared {
    codec: Codec,
    opus: OpusSend,
    encoder: Encoder,
    frame: Frame,
    /// `frame` is the present one; frames since there was one.
    ready: bool,
    idle: u8,
}

/// A frame that is encoded.
#[derive(Default)]
pub(crate) struct Frame {
    pub(crate) payload: Vec<u8>,
    /// The last sample of it.
    pub(crate) last: i16,
    /// What is known by it and by those before.
    pub(crate) memory: Memory,
}

impl Shared {
    /// Another frame begins. False: nobody has wanted the encoding for long.
    pub(super) fn begin(&mut self) -> bool {
        self.idle = if std::mem::take(&mut self.ready) { 0 } else { self.idle.saturating_add(1) };
        self.idle < IDLE_FRAMES
    }
}

/// What a leg is sent.
pub(crate) struct Stream<'a> {
    pub(crate) codec: Codec,
    pub(crate) ptime_ms: usize,
    pub(crate) opus: &'a OpusSend,
    /// Its own encoder.
    pub(crate) encoder: Option<&'a Encoder>,
}

/// What a leg hears for a packet time.
pub(crate) enum Feed<'a> {
    Silence,
    Shared(&'a Frame),
    /// In the vector that was handed in.
    Samples,
}

impl Room {
    /// Brings the frame to the other rates that are sent.
    pub(super) fn lower(&mut self, legs: &mut Slab<Box<Leg>>) {
        self.lanes.retain(|lane| lane.idle < IDLE_FRAMES);
        for lane in &mut self.lanes {
            lane.idle += 1;
            lane.quiet = if self.voices > 0 { 0 } else { lane.quiet.saturating_add(1) };
            let frame = (lane.rate / 1000) as usize * FRAME_MS as usize;
            lane.sum.clear();
            if lane.quiet <= QUIET_FRAMES {
                lane.down.process_sum(&self.sum, &mut lane.sum);
            }
            lane.sum.resize(frame, 0);
        }
        for &key in &self.busy {
            let Some(leg) = legs.get_mut(key as usize) else { continue };
            let rate = leg.codec().sample_rate();
            if let Some(member) = &mut leg.member {
                member.lower(self.rate, rate);
            }
        }
    }

    /// Puts the frame by for a member of another packet time.
    pub(super) fn queue(&mut self, legs: &mut Slab<Box<Leg>>, place: usize) {
        let Some(leg) = self.busy.get(place).and_then(|key| legs.get_mut(*key as usize)) else { return };
        let (codec, packet_ms) = (leg.codec(), leg.ptime_ms() as usize);
        let Some(member) = &mut leg.member else { return };
        let Some(mut queue) = member.queue.take() else { return };
        self.hear(member, codec.sample_rate());
        queue.push(self.samples.iter().copied(), packet_ms, codec::samples_per_ms(codec));
        member.queue = Some(queue);
    }

    /// The lane of a rate; `None`: it is the room's own.
    fn lane(&mut self, rate: u32) -> Option<usize> {
        if rate == self.rate {
            return None;
        }
        let place = self.lanes.iter().position(|lane| lane.rate == rate).or_else(|| {
            let mut down = Resampler::new(self.rate, rate).ok()?;
            let mut sum = Vec::new();
            down.process_sum(&self.sum, &mut sum);
            self.lanes.push(Lane { rate, down, sum, idle: 0, quiet: 0 });
            Some(self.lanes.len() - 1)
        })?;
        if let Some(lane) = self.lanes.get_mut(place) {
            lane.idle = 0;
        }
        Some(place)
    }

    /// What a member hears of the frame, into `samples`.
    fn hear(&mut self, member: &mut Member, rate: u32) {
        let lane = self.lane(rate);
        let (sum, own, whispered) = match (lane.and_then(|lane| self.lanes.get(lane)), &member.low) {
            (Some(lane), Some(low)) => (&lane.sum[..], &low.own[..], &low.whispered[..]),
            (Some(lane), None) => (&lane.sum[..], &[][..], &[][..]),
            (None, _) => (&self.sum[..], if member.counted { &member.own[..] } else { &[] }, &member.whispered[..]),
        };
        self.samples.clear();
        self.samples.resize(sum.len(), 0);
        if !whispered.is_empty() {
            let own = own.iter().copied().chain(std::iter::repeat(0));
            let sums = sum.iter().zip(whispered).zip(own);
            for (sample, ((&sum, &whispered), own)) in self.samples.iter_mut().zip(sums) {
                let sum = sum + whispered - i32::from(own);
                *sample = sum.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16;
            }
        } else if own.is_empty() {
            saturate(sum, &mut self.samples);
        } else {
            saturate_without(sum, own, &mut self.samples);
        }
        if member.leaving == Leaving::Mixed {
            member::fade(&mut self.samples, false);
        } else if std::mem::take(&mut member.fresh) {
            member::fade(&mut self.samples, true);
        }
    }

    /// What a leg sends for a packet time, once a frame.
    pub(crate) fn feed(&mut self, member: &mut Member, stream: &Stream<'_>, to: &mut Vec<i16>) -> Feed<'_> {
        let (codec, ptime_ms) = (stream.codec, stream.ptime_ms);
        if ptime_ms != FRAME_MS as usize {
            let queue = member.queue.get_or_insert_with(|| Box::new(Queue::default()));
            let fed = queue.pop(ptime_ms, codec::samples_per_ms(codec), to);
            self.list(member);
            return if fed { Feed::Samples } else { Feed::Silence };
        }
        member.queue = None;
        // The next frame's already.
        if member.pulled {
            return Feed::Silence;
        }
        let differs = member.counted || !member.whispered.is_empty() || member.fresh || member.leaving != Leaving::No;
        let alone = self.voices == usize::from(member.counted) && member.whispered.is_empty();
        if codec::is_stateless(codec) {
            if alone {
                member.fresh = false;
                return Feed::Silence;
            }
            if !differs {
                return self.share(stream);
            }
        } else {
            member.fresh &= !alone;
            member.shares = if differs { 0 } else { member.shares.saturating_add(1) };
            if member.shares > OWN_FRAMES {
                return self.share(stream);
            }
            if alone {
                return Feed::Silence;
            }
        }
        self.hear(member, codec.sample_rate());
        to.extend(&self.samples);
        Feed::Samples
    }

    /// The whole frame, encoded once for all who hear it.
    fn share(&mut self, stream: &Stream<'_>) -> Feed<'_> {
        let codec = stream.codec;
        // What is agreed on for Opus is of no concern to others.
        let same = |shared: &Shared| shared.codec == codec && (codec != Codec::Opus || shared.opus == *stream.opus);
        let place = self.shared.iter().position(same).unwrap_or_else(|| {
            let encoder = codec::encoder(codec, stream.opus, None);
            let opus = *stream.opus;
            self.shared.push(Shared { codec, opus, encoder, frame: Frame::default(), ready: false, idle: 1 });
            self.shared.len() - 1
        });
        let lane = self.lane(codec.sample_rate());
        let Some(shared) = self.shared.get_mut(place) else { return Feed::Silence };
        if !std::mem::replace(&mut shared.ready, true) {
            let sum = lane.and_then(|lane| self.lanes.get(lane)).map_or(&self.sum, |lane| &lane.sum);
            self.samples.clear();
            self.samples.resize(sum.len(), 0);
            saturate(sum, &mut self.samples);
            if shared.idle > 0 {
                // Nobody has heard it in the frame before. The first to hear it has heard its own encoder.
                shared.encoder.go_on_from(&stream.encoder.map(Encoder::memory).unwrap_or_default());
            }
            let frame = &mut shared.frame;
            frame.payload.clear();
            shared.encoder.encode(&self.samples, &mut frame.payload);
            frame.last = self.samples.last().copied().unwrap_or_default();
            frame.memory = shared.encoder.memory();
        }
        Feed::Shared(&shared.frame)
    }
}
