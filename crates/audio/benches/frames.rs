//! What a frame of 20 ms costs: nanoseconds for each operation, the best of several rounds. `cargo bench -p ringback-audio`.
//!
//! No harness: the figures are of loops over the same small buffers, as a media thread runs them with everything in the cache.

// A bench measures time and prints it.
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use ringback_audio::{
    Coding, Decoder, Encoder, Resampler, SpeechDetector, SpeechSettings, ToneGenerator, level_dbm0, mix_into,
    pcma_decode, pcma_encode, pcma_to_pcmu, pcmu_decode, pcmu_encode, pcmu_to_pcma, voice,
};

const ROUNDS: u32 = 15;

fn measure(name: &str, frames: u32, mut frame: impl FnMut()) {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..frames {
            frame();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(frames));
    }
    println!("{name:<28}{best:>10.0} ns");
}

fn main() {
    // `cargo test --benches` runs this without `--bench`: then one frame of each shows that it works.
    let frames = if std::env::args().any(|a| a == "--bench") { 10_000 } else { 1 };

    let mut samples = [0_i16; 160];
    if let Ok(mut tone) = ToneGenerator::new(8_000, &[440.0, 1_234.5], -6.0) {
        measure("tone, two frequencies", frames, || {
            tone.fill(black_box(&mut samples));
        });
    }
    let mut codes = [0_u8; 160];
    let mut decoded = [0_i16; 160];
    measure("PCMU encode", frames, || pcmu_encode(black_box(&samples), black_box(&mut codes)));
    measure("PCMU decode", frames, || pcmu_decode(black_box(&codes), black_box(&mut decoded)));
    measure("PCMU to PCMA", frames, || pcmu_to_pcma(black_box(&mut codes)));
    measure("PCMA to PCMU", frames, || pcma_to_pcmu(black_box(&mut codes)));
    measure("PCMA encode", frames, || pcma_encode(black_box(&samples), black_box(&mut codes)));
    measure("PCMA decode", frames, || pcma_decode(black_box(&codes), black_box(&mut decoded)));
    measure("mix", frames, || mix_into(black_box(&mut decoded), black_box(&samples)));
    measure("level", frames, || {
        black_box(level_dbm0(black_box(&samples)));
    });

    for (from, to) in [(8, 16), (8, 24), (8, 48), (16, 8), (24, 8), (48, 8), (16, 24), (24, 16), (16, 48), (48, 16)] {
        let Ok(mut resampler) = Resampler::new(from * 1_000, to * 1_000) else { continue };
        let input = vec![1_000_i16; from as usize * 20];
        let mut output = Vec::with_capacity(to as usize * 20 + 1);
        measure(&format!("resample {from} to {to} kHz"), frames / 10 + 1, || {
            output.clear();
            resampler.process(black_box(&input), black_box(&mut output));
        });
    }

    for coding in [Coding::Pcmu, Coding::Pcma, Coding::G722, Coding::L16(16_000), Coding::Opus] {
        let rate = coding.sample_rate();
        let mut samples = vec![0_i16; rate as usize / 50];
        if let Ok(mut tone) = ToneGenerator::new(rate, &[440.0, 1_234.5, 2_900.0], -6.0) {
            tone.fill(&mut samples);
        }
        let frames = frames / 10 + 1;
        let (mut encoder, mut payload) = (Encoder::new(coding), Vec::new());
        measure(&format!("{coding:?} encode"), frames, || {
            payload.clear();
            encoder.encode(black_box(&samples), &mut payload);
        });
        let (mut decoder, mut out) = (Decoder::new(coding), Vec::new());
        measure(&format!("{coding:?} decode"), frames, || {
            out.clear();
            decoder.decode(black_box(&payload), &mut out);
        });
    }
    let mut detector = SpeechDetector::new(SpeechSettings::default());
    let said = voice(SpeechDetector::RATE, 1.0, 120.0);
    let mut pieces = said.chunks_exact(320).cycle();
    measure("speech detection, 16 kHz", frames / 10 + 1, || {
        detector.push(black_box(pieces.next().unwrap_or_default()), |speaking| {
            black_box(speaking);
        });
    });
    for coding in [Coding::Pcmu, Coding::G722, Coding::Opus] {
        let (mut encoder, mut decoder) = (Encoder::new(coding), Decoder::new(coding));
        let samples = coding.sample_rate() as usize / 50;
        let (mut payload, mut out) = (Vec::new(), Vec::new());
        encoder.encode(&vec![1_000; samples], &mut payload);
        measure(&format!("{coding:?} conceal, then decode"), frames / 10 + 1, || {
            out.clear();
            decoder.conceal(samples, &mut out);
            decoder.decode(black_box(&payload), &mut out);
        });
    }
}
