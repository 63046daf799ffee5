//! G.711, resampling, mixing and tones.
