//! A received stream as samples: packets in as they come, samples at one rate out as they are wanted. Whoever listens to a leg (a
//! program's port, another leg with another codec) has one of these; a leg that nobody listens to has none.
//!
//! The codec may change from packet to packet. The decoder is made with the first packet of a codec; where the clock rate changes
//! with it, what waits in the buffer is decoded at once, and takes the place of the wait that the first packets of the new clock would have.
//!
//! Invariant: `pull` of n milliseconds gives exactly n milliseconds, whatever came.

use ringback_audio::{ComfortNoise, Decoder, Resampler, UnsupportedRate};
use ringback_media_api::Codec;
use ringback_rtp::jitter::{JitterBuffer, Next, Pushed, Settings};

use crate::codec;
use crate::statistics::PlayoutDelay;

/// What may be decoded ahead, in milliseconds: no change of codec makes anyone hear more delay than this.
const MOST_AHEAD_MS: usize = 300;

/// Peak of what may be left out, some -50 dBm0: no voice.
const QUIET: u16 = 100;

pub(crate) struct Hearing {
    jitter: JitterBuffer,
    clock_rate: u32,
    decoding: Decoding,
    /// Decoded and not yet asked for.
    ready: Vec<i16>,
    /// By buffers that a change of the clock has ended.
    discarded: u64,
}

/// Payloads of any codec into samples at one rate.
pub(crate) struct Decoding {
    rate: u32,
    stage: Option<Stage>,
    /// The sender is silent, and this is what with.
    noise: Option<Box<ComfortNoise>>,
    /// The last piece at the decoder's own rate; empty where it went out as it was decoded.
    decoded: Vec<i16>,
}

struct Stage {
    codec: Codec,
    decoder: Decoder,
    resampler: Resampler,
}

impl Hearing {
    /// `rate`: of the samples that are pulled, 8000, 16,000, 24,000 or 48,000 Hz. `codec`: the one that is expected.
    pub(crate) fn new(codec: Codec, rate: u32) -> Result<Self, UnsupportedRate> {
        // Refuses a rate that no decoder can be brought to.
        Resampler::new(codec.sample_rate(), rate)?;
        Ok(Hearing {
            jitter: JitterBuffer::new(Settings::for_clock_rate(codec.clock_rate())),
            clock_rate: codec.clock_rate(),
            decoding: Decoding::new(rate),
            ready: Vec::new(),
            discarded: 0,
        })
    }

    /// False: it came too late to be played.
    pub(crate) fn push(&mut self, extended: u64, timestamp: u32, codec: Codec, payload: &[u8]) -> bool {
        if codec.clock_rate() != self.clock_rate {
            self.change_clock(codec.clock_rate(), timestamp);
        }
        let units = codec::units(codec, payload);
        self.jitter.push(extended, timestamp, units, codec::tag(codec), payload) != Pushed::Late
    }

    /// Comfort noise, from `timestamp` on: the payload of RFC 3389.
    pub(crate) fn push_noise(&mut self, extended: u64, timestamp: u32, payload: &[u8]) {
        // The next packet may come at any time: the shortest there is.
        let units = self.clock_rate / 100;
        self.jitter.push(extended, timestamp, units, codec::COMFORT_NOISE, payload);
    }

    /// Appends the next `ms` milliseconds.
    pub(crate) fn pull(&mut self, ms: usize, to: &mut Vec<i16>) {
        let end = to.len() + ms * self.decoding.rate as usize / 1000;
        to.extend(self.ready.drain(..self.ready.len().min(end - to.len())));
        // Nothing is ready any more. What comes goes where it is wanted, past no memory of its own that nobody has touched for a packet time.
        while to.len() < end {
            self.play(end - to.len(), to);
        }
        self.ready.extend(to.drain(end..));
    }

    /// Appends the next packet or gap, of about so many samples.
    fn play(&mut self, samples: usize, to: &mut Vec<i16>) {
        let want = (samples as u64 * u64::from(self.clock_rate)).div_ceil(u64::from(self.decoding.rate));
        match self.jitter.next(want as u32) {
            Next::Packet { format, payload, skip } => match codec::of_tag(format) {
                Some(codec) => {
                    let start = to.len();
                    self.decoding.decode(codec, payload, skip, to);
                    self.hurry(start, to);
                }
                None => {
                    self.decoding.begin_noise(payload);
                    self.decoding.conceal(self.decoding.rate as usize / 100, None, to);
                }
            },
            Next::Gap(units) => {
                let samples = u64::from(units) * u64::from(self.decoding.rate) / u64::from(self.clock_rate.max(1));
                let next = self.jitter.following().and_then(|(tag, next)| Some((codec::of_tag(tag)?, next)));
                // A gap shorter than a sample passes unheard.
                self.decoding.conceal(samples.max(1) as usize, next, to);
            }
        }
    }

    /// Where the playout waits longer than it need, silence is left out. `start`: of what was decoded just now.
    fn hurry(&mut self, start: usize, to: &mut Vec<i16>) {
        let excess = self.jitter.excess();
        if excess == 0 {
            return;
        }
        let said = to.get(start..).unwrap_or_default();
        if said.iter().any(|sample| sample.unsigned_abs() > QUIET) {
            return;
        }
        let samples = u64::from(excess) * u64::from(self.decoding.rate) / u64::from(self.clock_rate.max(1));
        let samples = (samples as usize).min(said.len());
        to.truncate(to.len() - samples);
        let units = samples as u64 * u64::from(self.clock_rate) / u64::from(self.decoding.rate.max(1));
        self.jitter.left_out(units as u32);
    }

    /// Packets of another clock come: decodes all that waits.
    fn change_clock(&mut self, clock_rate: u32, timestamp: u32) {
        self.play_all();
        self.discarded += self.jitter.len() as u64 + discarded(&self.jitter);
        self.clock_rate = clock_rate;
        let waited = !self.ready.is_empty();
        self.jitter = JitterBuffer::new(Settings::for_clock_rate(clock_rate));
        if waited {
            self.jitter.start_at(timestamp);
        }
    }

    /// What was received before anyone listened: `now` is heard at once, in one go, `rest` passes through the buffer.
    pub(crate) fn replay(&mut self, replay: crate::retained::Replay) {
        self.ready.extend(replay.samples);
        if let Some((first, _)) = replay.rest.first() {
            self.clock_rate = first.codec.clock_rate();
            self.jitter = JitterBuffer::new(Settings::for_clock_rate(self.clock_rate));
            self.jitter.start_at(first.timestamp);
        }
        for (kept, payload) in &replay.rest {
            self.push(kept.extended, kept.timestamp, kept.codec, payload);
        }
        self.jitter.rebase();
    }

    /// Decodes and appends all that waits, in one go.
    pub(crate) fn drain(&mut self, to: &mut Vec<i16>) {
        self.play_all();
        to.append(&mut self.ready);
    }

    fn play_all(&mut self) {
        let most = MOST_AHEAD_MS * self.decoding.rate as usize / 1000;
        let mut ready = std::mem::take(&mut self.ready);
        while !self.jitter.is_empty() && ready.len() < most {
            self.play(most - ready.len(), &mut ready);
        }
        self.ready = ready;
    }

    /// Samples of another rate are pulled from now on.
    pub(crate) fn change_rate(&mut self, rate: u32) {
        if rate == self.decoding.rate {
            return;
        }
        if let Ok(mut resampler) = Resampler::new(self.decoding.rate, rate) {
            let ready = std::mem::take(&mut self.ready);
            resampler.process(&ready, &mut self.ready);
        }
        self.decoding.change_rate(rate);
    }

    /// Whatever was heard until `timestamp`: it goes on with that as soon as it comes, and `late_ms` after that, but waits for it no longer
    /// than `wait_ms`.
    pub(crate) fn expect(&mut self, timestamp: u32, wait_ms: u32, late_ms: u32) {
        let ms = self.clock_rate / 1000;
        self.jitter.expect(timestamp, wait_ms * ms, late_ms * ms);
    }

    /// Goes on at once with what comes first.
    pub(crate) fn begin_at(&mut self, timestamp: u32) {
        self.jitter.start_at(timestamp);
    }

    /// What was pulled and is not heard after all is pulled again.
    pub(crate) fn give_back(&mut self, samples: &[i16]) {
        self.ready.splice(..0, samples.iter().copied());
    }

    pub(crate) fn decoding(&mut self) -> &mut Decoding {
        &mut self.decoding
    }

    /// Samples that are decoded already.
    pub(crate) fn take_ready(&mut self) -> std::vec::Drain<'_, i16> {
        self.ready.drain(..)
    }

    /// See [`crate::ahead`].
    #[inline]
    pub(crate) fn look_ahead(&self) -> u64 {
        self.jitter.look_ahead() ^ u64::from(self.clock_rate) ^ self.ready.len() as u64
    }

    #[inline]
    pub(crate) fn look_ahead_at_push(&self) -> u64 {
        self.jitter.look_ahead_at_push()
    }

    #[inline]
    pub(crate) fn look_ahead_at_pull(&self) -> u64 {
        self.jitter.look_ahead_at_next()
    }

    /// Another stream begins; what waits of the old one is not played.
    pub(crate) fn reset(&mut self) {
        self.jitter.reset();
        self.decoding.reset();
    }

    /// How long a packet waits that comes when it should, in milliseconds, at present.
    pub(crate) fn depth_ms(&self) -> u32 {
        self.jitter.delay() / (self.clock_rate / 1000).max(1)
    }

    pub(crate) fn playout(&self) -> PlayoutDelay {
        let units_per_ms = (self.clock_rate / 1000).max(1);
        PlayoutDelay { delay_ms: self.depth_ms(), most_ms: self.jitter.settings().most / units_per_ms }
    }

    /// Packets that were not played though they came.
    pub(crate) fn discarded(&self) -> u64 {
        self.discarded + discarded(&self.jitter)
    }
}

fn discarded(jitter: &JitterBuffer) -> u64 {
    let counters = jitter.counters();
    counters.late + counters.skipped
}

impl Decoding {
    pub(crate) fn new(rate: u32) -> Self {
        Decoding { rate, stage: None, noise: None, decoded: Vec::new() }
    }

    /// Other samples come out from now on. A decoder that can stay does: it knows the stream.
    fn change_rate(&mut self, rate: u32) {
        self.rate = rate;
        self.stage = self.stage.take().filter(|stage| stage.codec != Codec::Opus).and_then(|stage| {
            let mut resampler = Resampler::new(stage.decoder.sample_rate(), rate).ok()?;
            // What was decoded last leads to what comes.
            let last = if self.decoded.is_empty() { stage.decoder.past() } else { &self.decoded };
            resampler.process(last, &mut Vec::new());
            Some(Stage { resampler, ..stage })
        });
    }

    /// Of the samples that come out.
    pub(crate) fn rate(&self) -> u32 {
        self.rate
    }

    /// Appends what a payload says, less the first `skip` units of its clock.
    pub(crate) fn decode(&mut self, codec: Codec, payload: &[u8], skip: u32, to: &mut Vec<i16>) {
        let Some(stage) = stage(&mut self.stage, codec, self.rate) else { return };
        self.noise = None;
        let decoder_rate = stage.decoder.sample_rate();
        self.decoded.clear();
        let skip = (u64::from(skip) * u64::from(decoder_rate) / u64::from(codec.clock_rate())) as usize;
        let start = to.len();
        if decoder_rate == self.rate && stage.decoder.decode(payload, to) > 0 {
            to.drain(start..to.len().min(start + skip));
            return;
        }
        if decoder_rate == self.rate || stage.decoder.decode(payload, &mut self.decoded) == 0 {
            // Not what it says it is: as good as lost.
            let samples =
                u64::from(codec::units(codec, payload)) * u64::from(decoder_rate) / u64::from(codec.clock_rate());
            stage.decoder.conceal(samples as usize, &mut self.decoded);
        }
        stage.resampler.process(self.decoded.get(skip..).unwrap_or_default(), to);
    }

    /// These payloads, joined, were heard elsewhere: what comes next is decoded as by one who has heard them.
    pub(crate) fn go_on_after(&mut self, codec: Codec, payloads: &[u8]) {
        self.decode(codec, payloads, 0, &mut Vec::new());
    }

    /// Appends `samples` at the outgoing rate in place of what is missing. `next`: the payload right after the gap, if it is there.
    pub(crate) fn conceal(&mut self, samples: usize, next: Option<(Codec, &[u8])>, to: &mut Vec<i16>) {
        let start = to.len();
        if let Some(noise) = &mut self.noise {
            to.resize(start + samples, 0);
            noise.fill(to.get_mut(start..).unwrap_or_default());
            return;
        }
        let Some(stage) = &mut self.stage else {
            to.resize(start + samples, 0);
            return;
        };
        let lost = (samples as u64 * u64::from(stage.decoder.sample_rate())).div_ceil(u64::from(self.rate)) as usize;
        self.decoded.clear();
        match next.filter(|(codec, _)| *codec == stage.codec) {
            Some((_, next)) => stage.decoder.recover(lost, next, &mut self.decoded),
            None => stage.decoder.conceal(lost, &mut self.decoded),
        }
        stage.resampler.process(&self.decoded, to);
    }

    fn begin_noise(&mut self, payload: &[u8]) {
        let Some(next) = ComfortNoise::parse(payload) else { return };
        match &mut self.noise {
            Some(noise) => noise.update(next),
            None => self.noise = Some(Box::new(next)),
        }
    }

    fn reset(&mut self) {
        self.noise = None;
        if let Some(stage) = &mut self.stage {
            stage.decoder.reset();
        }
    }
}

/// The stage for a codec, made anew where another was in use.
fn stage(slot: &mut Option<Stage>, codec: Codec, rate: u32) -> Option<&mut Stage> {
    if slot.as_ref().is_none_or(|stage| stage.codec != codec) {
        let decoder = Decoder::at(codec::coding(codec), rate);
        let resampler = Resampler::new(decoder.sample_rate(), rate).ok()?;
        *slot = Some(Stage { codec, decoder, resampler });
    }
    slot.as_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_rate_goes_on_where_the_last_frame_ended() {
        const LOUDEST: [u8; 160] = [0x80; 160];
        let mut decoding = Decoding::new(8_000);
        let mut said = Vec::new();
        decoding.decode(Codec::Pcmu, &LOUDEST, 0, &mut said);
        decoding.change_rate(16_000);
        decoding.decode(Codec::Pcmu, &LOUDEST, 0, &mut said);
        assert_eq!(said.len(), 160 + 320);
        assert!(said.iter().all(|&sample| sample > 30_000), "nothing rises from silence");
    }

    #[test]
    fn what_was_played_already_is_left_out_of_a_frame() {
        let frame: Vec<u8> = (0..160).collect();
        let (mut whole, mut rest) = (vec![7], vec![7]);
        Decoding::new(8_000).decode(Codec::Pcmu, &frame, 0, &mut whole);
        Decoding::new(8_000).decode(Codec::Pcmu, &frame, 40, &mut rest);
        assert_eq!((whole.len(), rest.len()), (161, 121));
        assert_eq!((rest[0], &rest[1..]), (7, &whole[41..]));
    }
}
