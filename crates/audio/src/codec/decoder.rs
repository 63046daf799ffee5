//! Payloads into samples, and concealment of what was lost.

use super::Coding;
use crate::conceal::Concealer;
use crate::{pcma_decode, pcmu_decode};

/// One received stream.
#[derive(Debug)]
pub struct Decoder {
    coding: Coding,
    state: State,
}

#[derive(Debug)]
enum State {
    /// What decodes each sample by itself, concealed by the last pitch periods.
    Plain(Concealer),
}

impl Decoder {
    pub fn new(coding: Coding) -> Self {
        let state = match coding {
            Coding::Pcmu | Coding::Pcma => State::Plain(Concealer::new(coding.sample_rate())),
        };
        Decoder { coding, state }
    }

    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// Of the samples that come out.
    pub fn sample_rate(&self) -> u32 {
        self.coding.sample_rate()
    }

    /// Appends what the payload says, and returns how many samples that is. None: it says nothing in this coding.
    pub fn decode(&mut self, payload: &[u8], to: &mut Vec<i16>) -> usize {
        let start = to.len();
        match &mut self.state {
            State::Plain(concealer) => {
                to.resize(start + payload.len(), 0);
                let samples = to.get_mut(start..).unwrap_or_default();
                match self.coding {
                    Coding::Pcmu => pcmu_decode(payload, samples),
                    Coding::Pcma => pcma_decode(payload, samples),
                }
                concealer.heard(samples);
            }
        }
        to.len() - start
    }

    /// Appends `samples` in place of lost ones.
    pub fn conceal(&mut self, samples: usize, to: &mut Vec<i16>) {
        let start = to.len();
        to.resize(start + samples, 0);
        let lost = to.get_mut(start..).unwrap_or_default();
        match &mut self.state {
            State::Plain(concealer) => concealer.conceal(lost),
        }
    }

    /// The same where the payload after the gap is there already: some codings carry a copy of what was before.
    pub fn recover(&mut self, samples: usize, next: &[u8], to: &mut Vec<i16>) {
        let _ = next;
        self.conceal(samples, to);
    }

    /// Another stream begins.
    pub fn reset(&mut self) {
        match &mut self.state {
            State::Plain(concealer) => concealer.reset(),
        }
    }
}
