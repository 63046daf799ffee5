//! Records a leg: what is received and what is sent, each put in order by a playout buffer of its own, so that both stand side by
//! side as they were heard, whoever fed the leg.
//!
//! Invariant: the two directions are pulled together, so they have the same length; the tape is ended however the recorder goes.

use std::sync::Arc;

use ringback_audio::{UnsupportedRate, mix_into};
use ringback_media_api::{Codec, Tape};
use ringback_rtp::Header;

use crate::hearing::Hearing;

/// Both directions are pulled by so much at a time.
const FRAME_MS: u64 = 20;
/// Made up for at once after a stall; more would only overrun the tape.
const MOST_FRAMES: u64 = 250;

pub(crate) struct Recorder {
    tape: Arc<Tape>,
    /// When the next frame is due, and the number of its place in the wheel.
    pub(crate) due_ms: u64,
    pub(crate) epoch: u32,
    pub(crate) received: Hearing,
    sent: Hearing,
    /// Extended number of the packet sent last.
    sent_extended: Option<u64>,
    left: Vec<i16>,
    right: Vec<i16>,
    block: Vec<i16>,
    block_samples: usize,
}

impl Recorder {
    /// At the rate of `codec`, the one that is expected both ways.
    pub(crate) fn new(tape: Arc<Tape>, codec: Codec, due_ms: u64, epoch: u32) -> Result<Self, UnsupportedRate> {
        let rate = codec.sample_rate();
        let recorder = Recorder {
            due_ms,
            epoch,
            received: Hearing::new(codec, rate)?,
            sent: Hearing::new(codec, rate)?,
            sent_extended: None,
            left: Vec::new(),
            right: Vec::new(),
            block: Vec::new(),
            block_samples: (rate * Tape::BLOCK_MS / 1000) as usize * usize::from(tape.channels()),
            tape,
        };
        recorder.tape.begin(rate);
        Ok(recorder)
    }

    /// Nobody wants it any more.
    pub(crate) fn is_over(&self) -> bool {
        self.tape.is_stopped()
    }

    /// A packet that leaves.
    pub(crate) fn send(&mut self, header: &Header, codec: Codec, payload: &[u8]) {
        let extended = match self.sent_extended {
            Some(last) => last.wrapping_add_signed(i64::from(header.sequence.wrapping_sub(last as u16) as i16)),
            // Far from zero: what was sent before it may still come.
            None => 1 << 32 | u64::from(header.sequence),
        };
        self.sent_extended = Some(self.sent_extended.map_or(extended, |last| last.max(extended)));
        self.sent.push(extended, header.timestamp, codec, payload);
    }

    /// Records what is due by `now_ms`.
    pub(crate) fn play(&mut self, now_ms: u64) {
        let due = now_ms.saturating_sub(self.due_ms) / FRAME_MS + 1;
        for _ in 0..due.min(MOST_FRAMES) {
            self.frame();
        }
        self.due_ms += due * FRAME_MS;
    }

    fn frame(&mut self) {
        self.left.clear();
        self.right.clear();
        self.received.pull(FRAME_MS as usize, &mut self.left);
        self.sent.pull(FRAME_MS as usize, &mut self.right);
        if self.tape.is_stereo() {
            self.block.extend(self.left.iter().zip(&self.right).flat_map(|(&left, &right)| [left, right]));
        } else {
            mix_into(&mut self.left, &self.right);
            self.block.extend_from_slice(&self.left);
        }
        if self.block.len() >= self.block_samples {
            self.tape.push(std::mem::take(&mut self.block).into());
        }
    }
}

impl Drop for Recorder {
    /// What waits in the buffers is still recorded.
    fn drop(&mut self) {
        let waits = self.received.depth_ms().max(self.sent.depth_ms());
        for _ in 0..u64::from(waits).div_ceil(FRAME_MS) {
            self.frame();
        }
        if !self.block.is_empty() {
            self.tape.push(std::mem::take(&mut self.block).into());
        }
        self.tape.end();
    }
}
