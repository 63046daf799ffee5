//! Records a room: what one would hear who says nothing, whispers left out.
//!
//! Invariant: the tape is ended however the recording goes.

use std::sync::Arc;

use ringback_audio::{Resampler, saturate};
use ringback_media_api::{Event, Tape};

use super::Room;
use crate::Out;

/// Made up for at once after a stall: what a tape holds.
const MOST_MISSED: u64 = 250;

pub(super) struct Taping {
    tape: Arc<Tape>,
    rate: u32,
    /// From the rate that the room has now.
    down: Option<Resampler>,
    block: Vec<i16>,
}

impl Room {
    pub(crate) fn start_recording(&mut self, tape: Arc<Tape>) {
        tape.begin(self.rate);
        self.tape = Some(Taping { tape, rate: self.rate, down: None, block: Vec::new() });
    }

    pub(crate) fn stop_recording(&mut self) {
        self.tape = None;
    }

    /// Puts the frame on the tape, after silence for those that were missed: the recording keeps its time.
    pub(super) fn record<O: Out + ?Sized>(&mut self, missed: u64, out: &mut O) {
        let Some(taping) = &mut self.tape else { return };
        if taping.tape.is_stopped() {
            self.tape = None;
            out.event(Event::RoomRecorded { room: self.id });
            return;
        }
        for _ in 0..missed.min(MOST_MISSED) {
            self.samples.clear();
            self.samples.resize(self.sum.len(), 0);
            taping.add(&self.samples, self.rate);
        }
        self.samples.clear();
        self.samples.resize(self.sum.len(), 0);
        saturate(&self.sum, &mut self.samples);
        taping.add(&self.samples, self.rate);
    }
}

impl Taping {
    fn add(&mut self, samples: &[i16], rate: u32) {
        if self.down.as_ref().is_none_or(|down| down.from_rate() != rate) {
            // The rates of codecs are all known.
            self.down = Resampler::new(rate, self.rate).ok();
        }
        if let Some(down) = &mut self.down {
            down.process(samples, &mut self.block);
        }
        if self.block.len() >= (self.rate * Tape::BLOCK_MS / 1000) as usize {
            self.tape.push(std::mem::take(&mut self.block).into());
        }
    }
}

impl Drop for Taping {
    fn drop(&mut self) {
        if !self.block.is_empty() {
            self.tape.push(std::mem::take(&mut self.block).into());
        }
        self.tape.end();
    }
}
