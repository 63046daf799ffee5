//! Payloads into samples, and concealment of what was lost.

use std::fmt;

use super::{Coding, opus};
use crate::conceal::Concealer;
use crate::{G722Decoder, pcma_decode, pcmu_decode};

/// One received stream.
pub struct Decoder {
    coding: Coding,
    rate: u32,
    state: State,
}

enum State {
    /// Each sample by itself, concealed by the last pitch periods.
    Plain(Concealer),
    G722(Box<(G722Decoder, Concealer)>),
    /// Conceals by itself. `missing`: samples since the last packet.
    Opus {
        decoder: ::opus::Decoder,
        missing: usize,
    },
}

impl Decoder {
    pub fn new(coding: Coding) -> Self {
        Decoder::at(coding, coding.sample_rate())
    }

    /// Decodes to `rate` where the coding itself can do that: Opus, to 8000, 16,000, 24,000 and 48,000 Hz.
    pub fn at(coding: Coding, rate: u32) -> Self {
        let native = coding.sample_rate();
        let (rate, state) = match coding {
            Coding::Opus => match opus::decoder(rate) {
                Some(decoder) => (rate, State::Opus { decoder, missing: 0 }),
                None => (native, State::Plain(Concealer::new(native))),
            },
            Coding::G722 => (native, State::G722(Box::new((G722Decoder::new(), Concealer::new(native))))),
            Coding::Pcmu | Coding::Pcma | Coding::L16(_) => (native, State::Plain(Concealer::new(native))),
        };
        Decoder { coding, rate, state }
    }

    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// Of the samples that come out.
    pub fn sample_rate(&self) -> u32 {
        self.rate
    }

    /// Appends what the payload says, and returns how many samples that is. None: it says nothing in this coding.
    pub fn decode(&mut self, payload: &[u8], to: &mut Vec<i16>) -> usize {
        let start = to.len();
        match &mut self.state {
            State::Plain(concealer) => {
                match self.coding {
                    Coding::L16(_) => to.extend(payload.as_chunks().0.iter().map(|pair| i16::from_be_bytes(*pair))),
                    Coding::Pcma => {
                        to.resize(start + payload.len(), 0);
                        pcma_decode(payload, to.get_mut(start..).unwrap_or_default());
                    }
                    Coding::Pcmu => {
                        to.resize(start + payload.len(), 0);
                        pcmu_decode(payload, to.get_mut(start..).unwrap_or_default());
                    }
                    // No decoder could be made.
                    Coding::G722 | Coding::Opus => {}
                }
                concealer.heard(to.get_mut(start..).unwrap_or_default());
            }
            State::G722(both) => {
                let (decoder, concealer) = &mut **both;
                decoder.decode(payload, to);
                concealer.heard(to.get_mut(start..).unwrap_or_default());
            }
            State::Opus { decoder, missing } => {
                let samples = opus::samples_in(payload) * self.rate as usize / 48_000;
                to.resize(start + samples, 0);
                let said = decoder.decode(payload, to.get_mut(start..).unwrap_or_default(), false).unwrap_or(0);
                to.truncate(start + said.min(samples));
                if said > 0 {
                    *missing = 0;
                }
            }
        }
        to.len() - start
    }

    /// Appends `samples` in place of lost ones.
    pub fn conceal(&mut self, samples: usize, to: &mut Vec<i16>) {
        self.recover(samples, &[], to);
    }

    /// The same where the payload after the gap is there already: Opus may carry a copy of what was before it (RFC 6716 §2.1.7).
    pub fn recover(&mut self, samples: usize, next: &[u8], to: &mut Vec<i16>) {
        let start = to.len();
        match &mut self.state {
            State::Plain(concealer) => {
                to.resize(start + samples, 0);
                concealer.conceal(to.get_mut(start..).unwrap_or_default());
            }
            State::G722(both) => {
                to.resize(start + samples, 0);
                both.1.conceal(to.get_mut(start..).unwrap_or_default());
            }
            State::Opus { decoder, missing } => {
                // libopus conceals whole pieces of 2.5 ms, 120 ms in one go at most.
                let (piece, most) = (self.rate as usize / 400, self.rate as usize * 12 / 100);
                let mut left = samples;
                while left > 0 && *missing < self.rate as usize * opus::CONCEALED_MS / 1000 {
                    let (now, last) = (left.min(most), left <= most);
                    let at = to.len();
                    to.resize(at + now.next_multiple_of(piece), 0);
                    let lost = to.get_mut(at..).unwrap_or_default();
                    let said = match next {
                        [] => decoder.decode(&[], lost, false),
                        // Ends right before the payload.
                        next => decoder.decode(if last { next } else { &[] }, lost, last),
                    }
                    .unwrap_or(0);
                    to.truncate(at + said.min(now));
                    *missing += now;
                    left -= now;
                    if said == 0 {
                        break;
                    }
                }
                to.resize(start + samples, 0);
            }
        }
    }

    /// The last samples that were decoded, as far as they are kept to conceal what is lost.
    pub fn past(&self) -> &[i16] {
        match &self.state {
            State::Plain(concealer) => concealer.past(),
            State::G722(both) => both.1.past(),
            State::Opus { .. } => &[],
        }
    }

    /// Another stream begins.
    pub fn reset(&mut self) {
        match &mut self.state {
            State::Plain(concealer) => concealer.reset(),
            State::G722(both) => **both = (G722Decoder::new(), Concealer::new(self.rate)),
            State::Opus { decoder, missing } => {
                let _ = decoder.reset_state();
                *missing = 0;
            }
        }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("coding", &self.coding).field("rate", &self.rate).finish_non_exhaustive()
    }
}
