//! Rounding to 16 bits.

/// The nearest sample, saturating. Written without `floor` or `round`, which are library calls on plain x86-64, and without a conversion to
/// an integer, which asks for more than fits here and keeps the compiler from using vectors.
#[inline(always)]
pub(crate) fn to_sample(value: f32) -> i16 {
    // The unit of a float of this size is 1, so that the addition rounds; its lowest bits are the number then.
    const LARGE: f32 = (3 << 22) as f32;
    (value.clamp(-32_768.0, 32_767.0) + LARGE).to_bits() as i16
}

#[cfg(test)]
mod tests {
    use super::to_sample;

    #[test]
    fn rounds_to_the_nearest_and_saturates() {
        for (value, sample) in [
            (0.0, 0),
            (0.49, 0),
            (0.51, 1),
            (-0.49, 0),
            (-0.51, -1),
            (-1.0, -1),
            (32_766.6, 32_767),
            (40_000.0, 32_767),
            (-32_768.0, -32_768),
            (-1e9, -32_768),
        ] {
            assert_eq!(to_sample(value), sample, "{value}");
        }
    }
}
