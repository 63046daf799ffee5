use super::*;

fn file(tag: u16, channels: u16, rate: u32, bits: u16, before: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = b"RIFF\0\0\0\0WAVEfmt ".to_vec();
    bytes.extend(16_u32.to_le_bytes());
    bytes.extend(tag.to_le_bytes());
    bytes.extend(channels.to_le_bytes());
    bytes.extend(rate.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend((channels * bits / 8).to_le_bytes());
    bytes.extend(bits.to_le_bytes());
    bytes.extend(before);
    bytes.extend(b"data");
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes
}

fn played(bytes: &[u8], piece: usize) -> Vec<i16> {
    let layout = parse(bytes).expect("a WAV file").expect("a whole header");
    let body = &bytes[layout.offset as usize..];
    let mut mono = Mono::new(layout.format);
    let mut out = Vec::new();
    for piece in body.chunks(piece) {
        mono.push(piece, &mut out);
    }
    out
}

#[test]
fn each_encoding_says_the_same() {
    let samples = [0_i16, 256, -256, 32_512, -32_768];
    let bytes = |each: &dyn Fn(i16) -> Vec<u8>| samples.iter().flat_map(|&s| each(s)).collect::<Vec<u8>>();
    let cases = [
        (1, 8, bytes(&|s| vec![((s >> 8) + 128) as u8])),
        (1, 16, bytes(&|s| s.to_le_bytes().to_vec())),
        (1, 24, bytes(&|s| (i32::from(s) << 8).to_le_bytes()[..3].to_vec())),
        (1, 32, bytes(&|s| (i32::from(s) << 16).to_le_bytes().to_vec())),
    ];
    for (tag, bits, data) in cases {
        for piece in [1, 2, 3, 5, 1000] {
            assert_eq!(played(&file(tag, 1, 8000, bits, &[], &data), piece), samples, "{bits} bits");
        }
    }
    for (bits, data) in [
        (32, bytes(&|s| (f32::from(s) / 32_767.0).to_le_bytes().to_vec())),
        (64, bytes(&|s| (f64::from(s) / 32_767.0).to_le_bytes().to_vec())),
    ] {
        assert_eq!(played(&file(3, 1, 48_000, bits, &[], &data), 7), samples, "{bits} bits");
    }
    let mut codes = [0; 3];
    crate::pcma_encode(&[0, 8000, -8000], &mut codes);
    let out = played(&file(6, 1, 8000, 8, &[], &codes), 1);
    assert!(out.iter().zip([0, 8000, -8000]).all(|(a, b)| a.abs_diff(b) < 300), "{out:?}");
}

#[test]
fn two_channels_become_their_mean() {
    let data: Vec<u8> = [1000_i16, 3000, 32_767, 32_767, -5, 6].iter().flat_map(|s| s.to_le_bytes()).collect();
    for piece in 1..9 {
        assert_eq!(played(&file(1, 2, 16_000, 16, &[], &data), piece), [2000, 32_767, 0]);
    }
}

#[test]
fn other_chunks_are_passed_over_and_lengths_may_be_missing() {
    let mut list = b"LIST".to_vec();
    list.extend(3_u32.to_le_bytes());
    list.extend(b"abc\0");
    let bytes = file(1, 1, 8000, 16, &list, &[1, 0, 2, 0]);
    assert_eq!(played(&bytes, 100), [1, 2]);
    for end in 0..bytes.len() - 4 {
        assert_eq!(parse(&bytes[..end]), Ok(None), "{end}");
    }
    let length_at = bytes.len() - 8;
    for length in [0, u32::MAX] {
        let mut open = bytes.clone();
        open[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
        assert_eq!(parse(&open).expect("a file").expect("a header").length, None);
    }
}

/// With the RIFF size filled in, as whoever closes a file does.
fn finished(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = (bytes.len() - 8) as u32;
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes
}

#[test]
fn text_after_no_samples_is_not_played() {
    let empty = file(1, 1, 8000, 16, &[], &[]);
    let mut with_text = empty.clone();
    with_text.extend(b"LIST\x08\0\0\0INFOabcd");
    let length = |bytes: &[u8]| parse(bytes).expect("a file").expect("a header").length;
    assert_eq!(length(&finished(with_text.clone())), Some(0));
    // Cut off after its header was written: the RIFF size says that nothing follows, or nothing at all.
    let samples = [finished(empty.clone()), vec![1, 0, 2, 0]].concat();
    assert_eq!((length(&samples), length(&finished(empty))), (None, None));
    for size in [0, u32::MAX] {
        with_text[4..8].copy_from_slice(&size.to_le_bytes());
        assert_eq!(length(&with_text), None);
    }
}

#[test]
fn chunks_before_the_samples_may_be_long() {
    let mut art = b"id3 ".to_vec();
    art.extend(5_000_001_u32.to_le_bytes());
    art.extend(vec![0; 5_000_002]);
    assert_eq!(played(&file(1, 1, 8000, 16, &art, &[1, 0, 2, 0]), 100), [1, 2]);
    let many = b"junk\0\0\0\0".repeat(100_000);
    let error = parse(&file(1, 1, 8000, 16, &many, &[1, 0])).expect_err("too many");
    assert!(error.to_string().contains("chunks before the samples"), "{error}");
}

#[test]
fn samples_may_be_shorter_than_their_containers_where_it_is_said_how_they_stand() {
    // WAVE_FORMAT_EXTENSIBLE: 24 valid bits in 32, the upper ones.
    let mut bytes = b"RIFF\0\0\0\0WAVEfmt ".to_vec();
    bytes.extend(40_u32.to_le_bytes());
    for word in [0xfffe_u16, 1, 8000, 0, 32_000, 0, 4, 32, 22, 24, 4, 0, 1, 0, 0, 16, 128, 0xaa00, 0x3800, 0x719b] {
        bytes.extend(word.to_le_bytes());
    }
    let data: Vec<u8> = [1000_i32, -1000].iter().flat_map(|s| (s << 16 | 0x7f00).to_le_bytes()).collect();
    bytes.extend(b"data");
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    assert_eq!(played(&bytes, 3), [1000, -1000]);
    // The plain format does not tell whether the upper or the lower ones.
    let mut bytes = file(1, 1, 8000, 24, &[], &[0; 8]);
    bytes[32..34].copy_from_slice(&4_u16.to_le_bytes());
    let error = parse(&bytes).expect_err("ambiguous").to_string();
    assert!(error.contains("24 bits in 4 bytes"), "{error}");
    // Nobody needs what some writers leave out.
    bytes[32..34].copy_from_slice(&0_u16.to_le_bytes());
    assert_eq!(played(&bytes, 100), [0, 0]);
}

#[test]
fn what_cannot_be_played_is_named() {
    for (bytes, message) in [
        (b"not a wav file at all".to_vec(), "not a WAV file"),
        (file(2, 1, 8000, 4, &[], &[]), "encoding 2 of 4 bits"),
        (file(1, 6, 8000, 16, &[], &[]), "6 channels"),
        (file(1, 1, 96_000, 16, &[], &[]), "96000 Hz"),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0".to_vec(), "without format"),
    ] {
        let error = parse(&bytes).expect_err("no such file");
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    for (channels, rate, data) in [(1, 8000, 0), (2, 48_000, 192_000), (1, 16_000, 1 << 40)] {
        let bytes = header(channels, rate, data);
        let layout = parse(&bytes).expect("a file").expect("a header");
        assert_eq!(layout.offset, HEADER_LEN as u64);
        assert_eq!(layout.format, Format { encoding: Encoding::Signed16, channels, sample_rate: rate });
        assert_eq!(layout.length, u32::try_from(data).ok().filter(|data| *data > 0).map(u64::from));
    }
}

#[test]
fn fuzzed() {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let seed = file(1, 2, 16_000, 16, b"LIST\x02\0\0\0ab", &[7; 64]);
    for _ in 0..20_000 {
        let mut bytes = seed.clone();
        for _ in 0..next() % 6 {
            let at = next() as usize % bytes.len();
            bytes[at] = next() as u8;
        }
        bytes.truncate(next() as usize % (bytes.len() + 1));
        fuzz(&bytes);
    }
}
