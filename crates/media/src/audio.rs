//! One leg's audio in a program's hands: received packets become frames of the port's rate, one each `frame_ms`; the program's
//! samples become packets.

use std::sync::Arc;

use ringback_audio::{Resampler, UnsupportedRate};
use ringback_media_api::{AudioPort, Codec, Playout};

use crate::Out;
use crate::hearing::Hearing;
use crate::retained::Retained;

/// Frames pushed in one go after a stall; more would only overrun the port.
const MOST_FRAMES: u64 = 200;

pub(crate) struct Audio {
    pub(crate) port: Arc<AudioPort>,
    /// When the next frame is due, and the number of its place in the wheel.
    pub(crate) due_ms: u64,
    pub(crate) epoch: u32,
    pub(crate) hearing: Hearing,
    from_port: Resampler,
    /// Played, not yet a whole frame.
    frame: Vec<i16>,
    /// The program's samples of one packet.
    input: Vec<i16>,
    /// Taken from the port, and how much of it was sent.
    chunk: Option<(Playout, usize)>,
    /// The last packet was the program's: the resampler still holds the end of it.
    sounding: bool,
    /// Most samples that waited since the program was last told of room.
    most_queued: usize,
}

impl Audio {
    /// `codec`: the one that is expected and sent.
    pub(crate) fn new(port: Arc<AudioPort>, codec: Codec, due_ms: u64, epoch: u32) -> Result<Self, UnsupportedRate> {
        Ok(Audio {
            hearing: Hearing::new(codec, port.sample_rate())?,
            from_port: Resampler::new(port.sample_rate(), codec.sample_rate())?,
            port,
            due_ms,
            epoch,
            frame: Vec::new(),
            input: Vec::new(),
            chunk: None,
            sounding: false,
            most_queued: 0,
        })
    }

    // ---- from the peer to the program

    /// What was received before the port was opened goes first, all at once.
    pub(crate) fn replay<O: Out + ?Sized>(&mut self, retained: Retained, now_ms: u64, out: &mut O) {
        let hold_ms = self.hearing.depth_ms();
        let replay = retained.replay(now_ms, hold_ms, self.hearing.decoding());
        self.hearing.replay(replay);
        self.frame.extend(self.hearing.take_ready());
        self.hand_over(out);
    }

    /// False: it came too late to be played.
    pub(crate) fn receive(&mut self, extended: u64, timestamp: u32, codec: Codec, payload: &[u8]) -> bool {
        self.hearing.push(extended, timestamp, codec, payload)
    }

    /// Plays what is due by `now_ms`: one frame, more only after a stall. Returns when the next is due.
    pub(crate) fn play<O: Out + ?Sized>(&mut self, now_ms: u64, out: &mut O) {
        let frame_ms = u64::from(self.port.frame_ms().max(1));
        let due = (now_ms.saturating_sub(self.due_ms)) / frame_ms + 1;
        for _ in 0..due.min(MOST_FRAMES) {
            self.hearing.pull(frame_ms as usize, &mut self.frame);
        }
        self.due_ms += due * frame_ms;
        self.hand_over(out);
    }

    fn hand_over<O: Out + ?Sized>(&mut self, out: &mut O) {
        let samples = self.port.frame_samples().max(1);
        let mut used = 0;
        for frame in self.frame.chunks_exact(samples) {
            self.port.push_received(frame.into());
            used += samples;
        }
        self.frame.drain(..used);
        if used > 0 {
            self.tell(out);
        }
    }

    // ---- from the program to the peer

    /// Whether the program's samples are what the leg sends next.
    pub(crate) fn has_samples(&self) -> bool {
        self.chunk.is_some() || self.sounding || self.port.queued_samples() > 0
    }

    /// Takes the samples of one packet of `ms`, which is then sent for certain, and appends them to `to` at the codec's rate. False: there
    /// are none.
    pub(crate) fn take<O: Out + ?Sized>(&mut self, codec: Codec, ms: usize, to: &mut Vec<i16>, out: &mut O) -> bool {
        if self.from_port.to_rate() != codec.sample_rate()
            && let Ok(resampler) = Resampler::new(self.port.sample_rate(), codec.sample_rate())
        {
            // The codec has changed.
            self.from_port = resampler;
        }
        let queued = self.port.queued_samples();
        self.most_queued = self.most_queued.max(queued);
        let want = self.port.sample_rate() as usize / 1000 * ms;
        self.input.clear();
        if queued > 0 {
            self.fill(want);
            let left = self.port.queued_samples();
            // Drained: whoever flushes is done. Half free: whoever waits for room may go on, with time to spare.
            if left == 0 || left <= self.most_queued / 2 {
                self.most_queued = left;
                self.tell(out);
            }
        }
        let sounds = !self.input.is_empty();
        // One packet more lets the resampler's tail out.
        if !sounds && !std::mem::take(&mut self.sounding) {
            return false;
        }
        self.sounding = sounds;
        self.input.resize(want, 0);
        self.from_port.process(&self.input, to);
        true
    }

    /// Nothing may be sent for `ms`: the program's samples go by unheard, as everything else that sounds does, and are not counted as played. A
    /// program whose audio stood still would fall behind for good, and hold up the other calls that it writes to.
    pub(crate) fn pass<O: Out + ?Sized>(&mut self, ms: usize, out: &mut O) {
        let mut left = self.port.sample_rate() as usize / 1000 * ms;
        let waited = self.port.queued_samples();
        while left > 0 {
            let Some((chunk, at)) = self.chunk.take().or_else(|| self.port.take().map(|chunk| (chunk, 0))) else {
                break;
            };
            let rest = chunk.samples.len() - at;
            let mut count = rest;
            if self.port.is_current(&chunk) {
                count = rest.min(left);
                left -= count;
            }
            self.port.discard(count);
            if count < rest {
                self.chunk = Some((chunk, at + count));
            }
        }
        self.sounding = false;
        if waited > 0 {
            self.tell(out);
        }
    }

    /// Moves up to `want` samples that were not cleared into `input`, each committed as it is taken.
    fn fill(&mut self, want: usize) {
        while self.input.len() < want {
            let Some((chunk, at)) = self.chunk.take().or_else(|| self.port.take().map(|chunk| (chunk, 0))) else {
                return;
            };
            let rest = chunk.samples.get(at..).unwrap_or_default();
            let count = rest.len().min(want - self.input.len());
            if !self.port.is_current(&chunk) {
                self.port.discard(rest.len());
            } else if self.port.commit(&chunk, count) {
                self.input.extend(rest.iter().take(count));
                if count < rest.len() {
                    self.chunk = Some((chunk, at + count));
                }
            } else {
                // Cleared in this very moment: `commit` has discarded what it was given.
                self.port.discard(rest.len() - count);
            }
        }
    }

    // ---- both

    /// Nothing goes through the port any more; the program is told.
    pub(crate) fn close<O: Out + ?Sized>(&self, out: &mut O) {
        self.port.close();
        self.tell(out);
    }

    fn tell<O: Out + ?Sized>(&self, out: &mut O) {
        if self.port.flag() {
            out.audio_ready(&self.port);
        }
    }

    /// Packets that the playout buffer did not play though they came.
    pub(crate) fn discarded(&self) -> u64 {
        self.hearing.discarded()
    }
}
