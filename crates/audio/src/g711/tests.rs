use super::*;

/// The value of a mu-law code word by the definition of Table 2/G.711, not by bit tricks: 8 segments of 16 values each, the first
/// with a step of 2, every next one with twice the step of the one before, starting where that ended.
fn mu_value(code: u8) -> i32 {
    let number = i32::from(!code & 0x7f);
    let (segment, place) = (number / 16, number % 16);
    let mut value = 0;
    for s in 0..segment {
        value += 16 * (2 << s);
        value += (2 << s) / 2; // the middle of the next segment's first step lies half an old step further
    }
    let magnitude = 4 * (value + place * (2 << segment));
    if code & 0x80 == 0 { -magnitude } else { magnitude }
}

/// The same for Table 1/G.711: value number n from decision values, which are 0, 2 .. 64 and then 16 to each doubling up to 4096.
fn a_value(code: u8) -> i32 {
    let decision = |n: i32| match n {
        0..=32 => 2 * n,
        _ => ((n - 32) % 16 + 16) << ((n - 32) / 16 + 2),
    };
    let number = i32::from((code ^ 0x55) & 0x7f);
    let magnitude = 8 * ((decision(number) + decision(number + 1)) / 2);
    if code & 0x80 == 0 { -magnitude } else { magnitude }
}

/// The encoders of ITU-T G.191, as a search for the interval between decision values.
fn interval(sample: i16, upper_ends: impl Fn(u8) -> i32) -> u8 {
    let magnitude = if sample < 0 { !i32::from(sample) } else { i32::from(sample) };
    (0..127).find(|&n| magnitude < upper_ends(n)).unwrap_or(127)
}

fn decoded(decode: fn(&[u8], &mut [i16])) -> [i16; 256] {
    let codes: [u8; 256] = std::array::from_fn(|i| i as u8);
    let mut samples = [0; 256];
    decode(&codes, &mut samples);
    samples
}

fn encoded(encode: fn(&[i16], &mut [u8])) -> Vec<(i16, u8)> {
    let samples: Vec<i16> = (i16::MIN..=i16::MAX).collect();
    let mut codes = vec![0; samples.len()];
    encode(&samples, &mut codes);
    samples.into_iter().zip(codes).collect()
}

#[test]
fn every_mu_law_word_has_the_value_of_table_2() {
    for (code, sample) in decoded(pcmu_decode).into_iter().enumerate() {
        assert_eq!(i32::from(sample), mu_value(code as u8), "{code:#04x}");
    }
    // Lines of the table as printed: decoder output values 8031, 4191, 99, 33, 2 and 0.
    let samples = decoded(pcmu_decode);
    for (code, value) in
        [(0x80, 8031), (0x8f, 4191), (0xdf, 99), (0xef, 33), (0xfe, 2), (0xff, 0), (0x00, -8031), (0x7e, -2)]
    {
        assert_eq!(samples[code], value * 4, "{code:#04x}");
    }
}

#[test]
fn every_a_law_word_has_the_value_of_table_1() {
    for (code, sample) in decoded(pcma_decode).into_iter().enumerate() {
        assert_eq!(i32::from(sample), a_value(code as u8), "{code:#04x}");
    }
    // Lines of the table as printed, even bits inverted: values 128, 113, 33, 32 and 1.
    let samples = decoded(pcma_decode);
    for (word, value) in [(0xff, 4032), (0xf0, 2112), (0xa0, 66), (0x9f, 63), (0x80, 1), (0x7f, -4032), (0x00, -1)] {
        assert_eq!(samples[word ^ 0x55], value * 8, "{word:#04x}");
    }
}

#[test]
fn every_sample_gets_the_mu_law_word_of_its_interval() {
    // Decision values of Table 2, 14-bit: 1, 3 .. 31, 35 .. 95, 103 .. 4063, 4319 .. 8159.
    let upper = |n: u8| {
        let (segment, place) = (n / 16, i32::from(n % 16));
        4 * ((32 << segment) - 33 + (place + 1) * (2 << segment))
    };
    for (sample, code) in encoded(pcmu_encode) {
        let positive = if sample < 0 { 0 } else { 0x80 };
        assert_eq!(code, (!interval(sample, upper) & 0x7f) | positive, "{sample}");
    }
}

#[test]
fn every_sample_gets_the_a_law_word_of_its_interval() {
    let upper = |n: u8| match n {
        0..=31 => 16 * (i32::from(n) + 1),
        _ => 8 * (((i32::from(n) - 31) % 16 + 16) << ((i32::from(n) - 31) / 16 + 2)),
    };
    for (sample, code) in encoded(pcma_encode) {
        let positive = if sample < 0 { 0 } else { 0x80 };
        assert_eq!(code, (interval(sample, upper) | positive) ^ 0x55, "{sample}");
    }
}

#[test]
fn decoding_and_encoding_gives_the_word_back() {
    for (code, sample) in decoded(pcma_decode).into_iter().enumerate() {
        let mut back = [0];
        pcma_encode(&[sample], &mut back);
        assert_eq!(usize::from(back[0]), code);
    }
    for (code, sample) in decoded(pcmu_decode).into_iter().enumerate() {
        let mut back = [0];
        pcmu_encode(&[sample], &mut back);
        // mu-law has two zeros, and linear has one.
        assert_eq!(usize::from(back[0]), if code == 0x7f { 0xff } else { code });
    }
}

#[test]
fn encoding_is_never_further_off_than_half_a_step() {
    for (decode, encode) in
        [(pcmu_decode as fn(&[u8], &mut [i16]), pcmu_encode as fn(&[i16], &mut [u8])), (pcma_decode, pcma_encode)]
    {
        for (sample, code) in encoded(encode) {
            let mut back = [0];
            decode(&[code], &mut back);
            let error = (i32::from(back[0]) - i32::from(sample)).abs();
            let magnitude = i32::from(sample).abs();
            let half_step = ((magnitude + 4 * 33) / 32).max(8);
            assert!(error <= half_step || magnitude > 32_124, "{sample} came back as {}", back[0]);
        }
    }
}

#[test]
fn lengths_that_differ_are_cut_to_the_shorter() {
    let mut samples = [5; 3];
    pcmu_decode(&[PCMU_SILENCE], &mut samples);
    assert_eq!(samples, [0, 5, 5]);
    let mut codes = [1; 2];
    pcma_encode(&[0; 9], &mut codes);
    assert_eq!(codes, [PCMA_SILENCE; 2]);
}

fn all() -> [u8; 256] {
    std::array::from_fn(|i| i as u8)
}

#[test]
fn a_law_through_mu_law_keeps_bits_1_to_7() {
    // G.711 Tables 3 and 4, Note 3.
    let mut codes = all();
    pcma_to_pcmu(&mut codes);
    pcmu_to_pcma(&mut codes);
    for (before, after) in all().into_iter().zip(codes) {
        assert_eq!(before & 0xfe, after & 0xfe, "{before:#04x} became {after:#04x}");
    }
    // A second round changes nothing any more.
    let mut again = codes;
    pcma_to_pcmu(&mut again);
    pcmu_to_pcma(&mut again);
    assert_eq!(codes, again);
}

#[test]
fn mu_law_through_a_law_changes_the_smallest_values_only() {
    let mut codes = all();
    pcmu_to_pcma(&mut codes);
    pcma_to_pcmu(&mut codes);
    for (before, after) in all().into_iter().zip(codes) {
        let number = !before & 0x7f;
        if number < 16 && number % 2 == 0 {
            assert_eq!(after, before - 1, "A-law has half as many steps there");
        } else {
            assert_eq!(after, before);
        }
    }
}

#[test]
fn conversion_is_within_a_step_of_the_linear_way_and_differs_where_the_recommendation_says() {
    let mut converted = all();
    pcmu_to_pcma(&mut converted);
    let mut differ = Vec::new();
    for (mu, a) in all().into_iter().zip(converted) {
        let mut linear = [0];
        let mut by_linear = [0];
        pcmu_decode(&[mu], &mut linear);
        pcma_encode(&linear, &mut by_linear);
        assert!(((a ^ 0x55) & 0x7f).abs_diff((by_linear[0] ^ 0x55) & 0x7f) <= 1, "{mu:#04x}");
        if a != by_linear[0] && mu >= 0x80 {
            differ.push(!mu & 0x7f);
        }
        assert_eq!(a & 0x80, mu & 0x80, "the sign stays");
    }
    // Values that lie on a decision value of the other law go up.
    let on_a_decision: Vec<u8> = [48, 49, 64].into_iter().chain(80..96).collect();
    differ.sort_unstable();
    assert_eq!(differ, on_a_decision);
    // Note 3: mu-80 is converted to to mu-79.
    assert_eq!(converted[0xff - 80], (81 - 1) ^ 0xd5);
    let mut a80 = [(80 - 1) ^ 0xd5];
    pcma_to_pcmu(&mut a80);
    assert_eq!(a80, [0xff - 79]);
}
