use super::*;

const INPUT: &[u8] = include_bytes!("../../../../tests/vectors/g722/input.s16");
const CODE: &[u8] = include_bytes!("../../../../tests/vectors/g722/code.g722");
const OUTPUT: &[u8] = include_bytes!("../../../../tests/vectors/g722/output.s16");
const RANDOM: &[u8] = include_bytes!("../../../../tests/vectors/g722/random.g722");
const RANDOM_OUTPUT: &[u8] = include_bytes!("../../../../tests/vectors/g722/random.s16");

fn samples(octets: &[u8]) -> Vec<i16> {
    octets.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

#[test]
fn encodes_to_the_octet_as_spandsp_and_ffmpeg_do() {
    let mut codes = Vec::new();
    G722Encoder::new().encode(&samples(INPUT), &mut codes);
    let first = codes.iter().zip(CODE).position(|(a, b)| a != b);
    assert_eq!((first, codes.len()), (None, CODE.len()));
}

#[test]
fn decodes_to_the_sample_as_ffmpeg_does() {
    for (codes, expected) in [(CODE, OUTPUT), (RANDOM, RANDOM_OUTPUT)] {
        let mut out = Vec::new();
        G722Decoder::new().decode(codes, &mut out);
        let expected = samples(expected);
        let first = out.iter().zip(&expected).position(|(a, b)| a != b);
        assert_eq!((first, out.len()), (None, expected.len()));
    }
}

#[test]
fn pieces_of_any_length_are_one_stream() {
    let (mut encoder, mut codes) = (G722Encoder::new(), Vec::new());
    let (mut decoder, mut out) = (G722Decoder::new(), Vec::new());
    let input = samples(INPUT);
    let (mut rest, mut length) = (&input[..], 0);
    while !rest.is_empty() {
        length = (length + 46) % 702;
        let (piece, after) = rest.split_at(length.min(rest.len()));
        let before = codes.len();
        encoder.encode(piece, &mut codes);
        decoder.decode(&codes[before..], &mut out);
        rest = after;
    }
    assert!(codes == CODE && out == samples(OUTPUT));
}
