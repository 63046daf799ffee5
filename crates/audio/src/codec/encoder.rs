//! Samples into payloads.

use super::Coding;
use crate::{PCMA_SILENCE, PCMU_SILENCE, pcma_encode, pcmu_encode};

/// One sent stream.
#[derive(Debug)]
pub struct Encoder {
    coding: Coding,
}

impl Encoder {
    pub fn new(coding: Coding) -> Self {
        Encoder { coding }
    }

    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// Of the samples that it takes.
    pub fn sample_rate(&self) -> u32 {
        self.coding.sample_rate()
    }

    /// Appends the payload of one packet: 10 to 60 ms of samples, in whole tens of milliseconds.
    pub fn encode(&mut self, samples: &[i16], to: &mut Vec<u8>) {
        let start = to.len();
        to.resize(start + samples.len(), 0);
        let payload = to.get_mut(start..).unwrap_or_default();
        match self.coding {
            Coding::Pcmu => pcmu_encode(samples, payload),
            Coding::Pcma => pcma_encode(samples, payload),
        }
    }

    /// Appends the payload of one packet of `ms` in which nothing is to be heard.
    pub fn silence(&mut self, ms: usize, to: &mut Vec<u8>) {
        let samples = ms * self.sample_rate() as usize / 1000;
        let octet = match self.coding {
            Coding::Pcmu => PCMU_SILENCE,
            Coding::Pcma => PCMA_SILENCE,
        };
        to.resize(to.len() + samples, octet);
    }
}
