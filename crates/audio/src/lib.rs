//! Audio arithmetic on slices of samples: codecs, concealment, resampling, tones, mixing, measuring, speech
//! detection, WAV files.
//!
//! Everything here is a pure function or a small state machine: samples in, samples out. There is no notion of a call, a packet
//! or time, and nothing allocates while it runs except where a caller's `Vec` grows. Samples are mono, 16 bit, linear.
//!
//! Levels are in dBm0: relative to the digital milliwatt of ITU-T G.711 §4, a sine of which full scale is +3.14 dBm0
//! (see [`level_dbm0`]).

mod codec;
mod conceal;
mod convert;
mod dtmf;
mod g711;
mod g722;
mod kaiser;
mod level;
mod mix;
mod noise;
mod resample;
mod round;
mod signal;
mod spectrum;
mod speech;
mod tone;
pub mod wav;

#[doc(hidden)]
pub use codec::fuzz;
pub use codec::{Coding, Decoder, Encoder, Memory, OpusSettings};
pub use conceal::Concealer;
pub use convert::RateConverter;
pub use dtmf::{DtmfDetector, HeardDigit};
pub use g711::{
    PCMA_SILENCE, PCMU_SILENCE, pcma_decode, pcma_encode, pcma_to_pcmu, pcmu_decode, pcmu_encode, pcmu_to_pcma,
};
pub use g722::{G722Decoder, G722Encoder};
pub use level::{FULL_SCALE_SINE_DBM0, amplitude, level_dbm0};
pub use mix::{accumulate, amplify, fade_in, fade_out, mean_magnitude, mix_into, saturate, saturate_without};
pub use noise::ComfortNoise;
pub use resample::{Resampler, UnsupportedRate};
pub use signal::Signal;
pub use spectrum::{dominant_frequency, tone_level_dbm0};
#[doc(hidden)]
pub use speech::voice;
pub use speech::{SpeechDetector, SpeechSettings};
pub use tone::{MAX_FREQUENCIES, ToneError, ToneGenerator, dtmf_frequencies};
