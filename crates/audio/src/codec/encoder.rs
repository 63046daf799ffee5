//! Samples into payloads.

use std::fmt;
use std::sync::Arc;

use super::Coding;
use super::opus::{self, OpusSettings};
use crate::{G722Encoder, PCMA_SILENCE, PCMU_SILENCE, pcma_encode, pcmu_encode};

/// What the far end's decoder knows after the packets that an encoder has made, as far as it can be handed on. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Memory(Option<Arc<G722Encoder>>);

/// One sent stream.
pub struct Encoder {
    coding: Coding,
    rate: u32,
    state: State,
}

enum State {
    /// Each sample by itself.
    Plain,
    G722(Box<G722Encoder>),
    Opus {
        encoder: ::opus::Encoder,
        /// The last packet was not the encoder's: what it remembers is not what the far end heard.
        interrupted: bool,
    },
}

impl Encoder {
    pub fn new(coding: Coding) -> Self {
        Encoder::with(coding, coding.sample_rate(), &OpusSettings::default())
    }

    /// `rate`: of the samples to come, 8000, 16,000, 24,000 or 48,000 Hz; only Opus has a choice. `settings` too are for Opus.
    pub fn with(coding: Coding, rate: u32, settings: &OpusSettings) -> Self {
        let (rate, state) = match coding {
            Coding::Pcmu | Coding::Pcma | Coding::L16(_) => (coding.sample_rate(), State::Plain),
            Coding::G722 => (coding.sample_rate(), State::G722(Box::default())),
            Coding::Opus => match opus::encoder(rate, settings) {
                Some(encoder) => (rate, State::Opus { encoder, interrupted: false }),
                // Silence is what can be sent without.
                None => (coding.sample_rate(), State::Plain),
            },
        };
        Encoder { coding, rate, state }
    }

    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// Of the samples that it takes.
    pub fn sample_rate(&self) -> u32 {
        self.rate
    }

    /// Appends the payload of one packet: samples of a time that [`Coding::packet_ms`] allows.
    pub fn encode(&mut self, samples: &[i16], to: &mut Vec<u8>) {
        let start = to.len();
        match &mut self.state {
            State::G722(encoder) => encoder.encode(samples, to),
            State::Opus { encoder, interrupted } => {
                if std::mem::take(interrupted) {
                    let _ = encoder.reset_state();
                }
                to.resize(start + opus::MOST_OCTETS, 0);
                let made = encoder.encode(samples, to.get_mut(start..).unwrap_or_default()).unwrap_or(0);
                to.truncate(start + made);
            }
            State::Plain => match self.coding {
                Coding::L16(_) => to.extend(samples.iter().flat_map(|sample| sample.to_be_bytes())),
                Coding::Pcma => {
                    to.resize(start + samples.len(), 0);
                    pcma_encode(samples, to.get_mut(start..).unwrap_or_default());
                }
                Coding::Pcmu => {
                    to.resize(start + samples.len(), 0);
                    pcmu_encode(samples, to.get_mut(start..).unwrap_or_default());
                }
                Coding::G722 | Coding::Opus => {}
            },
        }
        if to.len() == start {
            self.silence(samples.len() * 1000 / self.rate as usize, to);
        }
    }

    /// Appends the payload of one packet of `ms` in which nothing is to be heard.
    pub fn silence(&mut self, ms: usize, to: &mut Vec<u8>) {
        let samples = ms * self.rate as usize / 1000;
        match (self.coding, &mut self.state) {
            (_, State::G722(encoder)) => {
                const ZEROS: [i16; 160] = [0; 160];
                for _ in 0..ms / 10 {
                    encoder.encode(&ZEROS, to);
                }
            }
            (_, State::Opus { interrupted, .. }) => {
                *interrupted = true;
                opus::silence(ms, to);
            }
            (Coding::Pcmu, _) => to.resize(to.len() + samples, PCMU_SILENCE),
            (Coding::Pcma, _) => to.resize(to.len() + samples, PCMA_SILENCE),
            (Coding::L16(_), _) => to.resize(to.len() + 2 * samples, 0),
            (Coding::Opus | Coding::G722, _) => opus::silence(ms, to),
        }
    }

    /// Appends what follows a packet of silence where its sender saves what can be saved, and comes again each 400 ms (RFC 6716 §2.1.9);
    /// false where the coding has nothing of the kind.
    pub fn pause(&mut self, ms: usize, to: &mut Vec<u8>) -> bool {
        if let State::Opus { interrupted, .. } = &mut self.state {
            *interrupted = true;
            to.push(opus::pause(ms));
            return true;
        }
        false
    }

    /// For another encoder, whose packets are to follow this one's.
    pub fn memory(&self) -> Memory {
        match &self.state {
            State::G722(encoder) => Memory(Some(Arc::from(encoder.clone()))),
            State::Plain | State::Opus { .. } => Memory(None),
        }
    }

    /// The far end has heard another encoder's packets up to now: goes on from what it knows by them, or, where that cannot be handed
    /// on, with a packet that leans on nothing before.
    pub fn go_on_from(&mut self, memory: &Memory) {
        match (&mut self.state, &memory.0) {
            (State::G722(encoder), Some(other)) => (**encoder).clone_from(other),
            (State::Opus { interrupted, .. }, _) => *interrupted = true,
            (State::G722(_), None) | (State::Plain, _) => {}
        }
    }

    /// The far end has heard these payloads, undecoded and joined, of an encoder that is not here: goes on from what it knows by them.
    pub fn go_on_after(&mut self, payloads: &[u8]) {
        match &mut self.state {
            State::G722(encoder) => {
                **encoder = G722Encoder::new();
                encoder.follow(payloads);
            }
            State::Opus { interrupted, .. } => *interrupted = true,
            State::Plain => {}
        }
    }

    /// How much the far end loses, by its reports: Opus makes its copies good accordingly.
    pub fn set_loss(&mut self, percent: u8) {
        if let State::Opus { encoder, .. } = &mut self.state {
            let _ = encoder.set_packet_loss_perc(percent.min(100).into());
        }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("coding", &self.coding).field("rate", &self.rate).finish_non_exhaustive()
    }
}
