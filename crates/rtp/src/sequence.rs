//! Comparison of numbers that wrap: the distance is taken the shorter way round.

/// `a - b` for sequence numbers, -32768 to 32767.
pub const fn distance16(a: u16, b: u16) -> i16 {
    a.wrapping_sub(b) as i16
}

/// `a - b` for timestamps, -2^31 to 2^31 - 1.
pub const fn distance32(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_go_the_shorter_way_round() {
        assert_eq!(distance16(2, 0xfffe), 4);
        assert_eq!(distance16(0xfffe, 2), -4);
        assert_eq!(distance16(0x8000, 0), i16::MIN);
        assert_eq!(distance32(100, 0xffff_ffff), 101);
        assert_eq!(distance32(0xffff_ffff, 100), -101);
    }
}
