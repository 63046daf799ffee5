//! Adding signals.

/// Adds `samples` to `into`, sample by sample, saturating. What one of them is longer is left as it is.
pub fn mix_into(into: &mut [i16], samples: &[i16]) {
    for (sum, &sample) in into.iter_mut().zip(samples) {
        *sum = sum.saturating_add(sample);
    }
}

#[cfg(test)]
mod tests {
    use super::mix_into;

    #[test]
    fn adds_saturates_and_leaves_the_rest_alone() {
        let mut sum = [1, 32_000, -32_000, 7];
        mix_into(&mut sum, &[2, 1_000, -1_000]);
        assert_eq!(sum, [3, i16::MAX, i16::MIN, 7]);
        mix_into(&mut sum, &[1; 9]);
        assert_eq!(sum, [4, i16::MAX, i16::MIN + 1, 8]);
    }
}
