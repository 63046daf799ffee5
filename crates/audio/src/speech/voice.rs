//! A voice made of formulas, for tests and benches: a buzz of moving pitch through the resonances of vowels, in syllables with hisses
//! before them and pauses between.

use std::f32::consts::TAU;

/// First three formants of five vowels, Hz.
const VOWELS: [[f32; 3]; 5] = [
    [730.0, 1090.0, 2440.0],
    [530.0, 1840.0, 2480.0],
    [390.0, 1990.0, 2550.0],
    [570.0, 840.0, 2410.0],
    [440.0, 1020.0, 2240.0],
];
const BANDWIDTHS: [f32; 3] = [90.0, 110.0, 170.0];

/// `seconds` of a voice at `rate` Hz, whose pitch is about `pitch` Hz; its loudest at some -12 dBm0.
pub fn voice(rate: u32, seconds: f32, pitch: f32) -> Vec<i16> {
    let rate = rate as f32;
    let mut out = Vec::with_capacity((rate * seconds) as usize);
    let (mut phase, mut random) = (0.0_f32, 1_u32);
    let mut state = [[0.0_f32; 2]; 3];
    let mut tilt = 0.0_f32;
    for n in 0..(rate * seconds) as usize {
        let t = n as f32 / rate;
        // Syllables of a quarter of a second: a hiss, a vowel that rises and falls, a short pause.
        let (syllable, within) = ((t * 4.0) as usize, (t * 4.0).fract());
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (random >> 8) as f32 / (1 << 23) as f32 - 1.0;
        let hiss = if within < 0.12 { 0.04 } else { 0.002 };
        let loud = if (0.1..0.85).contains(&within) { ((within - 0.1) / 0.75 * TAU / 2.0).sin().sqrt() } else { 0.0 };
        let hz = pitch * (1.0 + 0.12 * (TAU * 0.7 * t).sin() + 0.04 * (TAU * 2.3 * t).sin() - 0.1 * within);
        phase += hz / rate;
        let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
        phase = phase.fract();
        tilt = 0.9 * tilt + pulse;
        let mut sample = (tilt - 0.15) * loud + hiss * noise;
        let (here, next) = (VOWELS[syllable * 3 % 5], VOWELS[(syllable + 1) * 3 % 5]);
        for (((formant, to), bandwidth), [last, before]) in here.iter().zip(next).zip(BANDWIDTHS).zip(&mut state) {
            let hz = formant + (to - formant) * (within - 0.6).max(0.0);
            let radius = (-TAU / 2.0 * bandwidth / rate).exp();
            let turn = 2.0 * radius * (TAU * hz / rate).cos();
            // One at 0 Hz.
            let gain = 1.0 - turn + radius * radius;
            let made = gain * sample + turn * *last - radius * radius * *before;
            (*before, *last) = (*last, made);
            sample = made;
        }
        out.push((sample * 12_000.0).clamp(-32_000.0, 32_000.0) as i16);
    }
    out
}
