//! Adding signals.
//!
//! A conference is summed in 32 bits once and what a member says itself taken out again for each: the sum of 65,536 signals fits, and
//! what does not fit 16 bits in the end saturates, never wraps. The loops are plain, for the compiler to vectorise.

use std::f32::consts::PI;

/// Adds `samples` to `into`, sample by sample, saturating. What one of them is longer is left as it is.
pub fn mix_into(into: &mut [i16], samples: &[i16]) {
    for (sum, &sample) in into.iter_mut().zip(samples) {
        *sum = sum.saturating_add(sample);
    }
}

/// Adds `samples` to a sum, as far as both go.
pub fn accumulate(sum: &mut [i32], samples: &[i16]) {
    for (sum, &sample) in sum.iter_mut().zip(samples) {
        *sum += i32::from(sample);
    }
}

/// The sum as samples, as far as both go.
pub fn saturate(sum: &[i32], out: &mut [i16]) {
    for (out, &sum) in out.iter_mut().zip(sum) {
        *out = clamp(sum);
    }
}

/// The sum without what one who is part of it has added, as far as all go.
pub fn saturate_without(sum: &[i32], own: &[i16], out: &mut [i16]) {
    for ((out, &sum), &own) in out.iter_mut().zip(sum).zip(own) {
        *out = clamp(sum - i32::from(own));
    }
}

#[inline(always)]
fn clamp(sum: i32) -> i16 {
    sum.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

/// The mean of the magnitudes, which costs a fraction of [`crate::level_dbm0`]. Of a sine it is 0.637 of the peak.
pub fn mean_magnitude(samples: &[i16]) -> u32 {
    // In pieces whose sum fits: 16 bits a sample.
    let sum = |piece: &[i16]| piece.iter().map(|&s| u32::from(s.unsigned_abs())).sum::<u32>();
    let total: u64 = samples.chunks(1 << 14).map(|piece| u64::from(sum(piece))).sum();
    (total / samples.len().max(1) as u64) as u32
}

/// Makes samples louder or softer, saturating.
pub fn amplify(samples: &mut [i16], factor: f32) {
    for sample in samples {
        // `as` saturates.
        *sample = (f32::from(*sample) * factor) as i16;
    }
}

/// Lets the first `over` samples rise from nothing, by half a period of a cosine.
pub fn fade_in(samples: &mut [i16], over: usize) {
    for (i, sample) in samples.iter_mut().take(over).enumerate() {
        *sample = (f32::from(*sample) * rise(i, over)) as i16;
    }
}

/// Lets the first `over` samples fall to nothing, which the rest is.
pub fn fade_out(samples: &mut [i16], over: usize) {
    for (i, sample) in samples.iter_mut().enumerate() {
        *sample = if i < over { (f32::from(*sample) * (1.0 - rise(i, over))) as i16 } else { 0 };
    }
}

fn rise(i: usize, over: usize) -> f32 {
    0.5 - 0.5 * (PI * (i as f32 + 0.5) / over as f32).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_saturates_and_leaves_the_rest_alone() {
        let mut sum = [1, 32_000, -32_000, 7];
        mix_into(&mut sum, &[2, 1_000, -1_000]);
        assert_eq!(sum, [3, i16::MAX, i16::MIN, 7]);
        mix_into(&mut sum, &[1; 9]);
        assert_eq!(sum, [4, i16::MAX, i16::MIN + 1, 8]);
    }

    #[test]
    fn a_sum_without_one_is_the_sum_of_the_others_however_loud_it_is() {
        let mut sum = [0; 3];
        let members = [[30_000, -30_000, 5], [20_000, -20_000, 6], [-32_768, 32_767, 7]];
        for member in &members {
            accumulate(&mut sum, member);
        }
        assert_eq!(sum, [17_232, -17_233, 18]);
        let mut out = [0; 3];
        saturate_without(&sum, &members[2], &mut out);
        assert_eq!(out, [i16::MAX, i16::MIN, 11], "50,000 does not wrap");
        saturate_without(&sum, &members[0], &mut out);
        assert_eq!(out, [-12_768, 12_767, 13], "and does not spoil what the others hear");
        saturate(&sum, &mut out);
        assert_eq!(out, [17_232, -17_233, 18]);
    }

    #[test]
    fn magnitudes_gains_and_fades() {
        assert_eq!(mean_magnitude(&[i16::MIN; 100_000]), 32_768);
        assert_eq!((mean_magnitude(&[3, -5]), mean_magnitude(&[])), (4, 0));
        let mut samples = [100, 20_000, -20_000];
        amplify(&mut samples, 2.0);
        assert_eq!(samples, [200, i16::MAX, i16::MIN]);
        let (mut up, mut down) = ([1_000; 160], [1_000; 160]);
        fade_in(&mut up, 80);
        fade_out(&mut down, 80);
        assert!(up[0] < 5 && up.is_sorted() && up[80..].iter().all(|&s| s == 1_000));
        assert!(down[0] > 995 && down[79] < 5 && down[80..].iter().all(|&s| s == 0));
    }
}
