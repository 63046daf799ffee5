//! The fuzz targets' bodies over the vectors of RFC 4475, whole and mutated, so that the default test run has them too.
//! The mutations are seeded: a failure repeats.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests count as tests.

mod common;

use common::vectors;
use ringback_sip::fuzz;

/// xorshift64*: enough to choose places and bytes.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound.max(1)
    }
}

/// What grammars turn on.
const SPICE: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n ",
    b"\r\n\r\n",
    b"\0",
    b"\"",
    b"\\",
    b"<",
    b">",
    b";",
    b",",
    b":",
    b"@",
    b"%",
    b"%00",
    b"?",
    b"=",
    b" ",
    b"\xff",
    b"\xc3\xa9",
    b"[",
    b"Content-Length: 5\r\n",
    b"SIP/2.0",
];

fn mutate(rng: &mut Rng, seeds: &[Vec<u8>], seed: &[u8]) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..=rng.below(6) {
        let at = rng.below(data.len() + 1);
        let end = (at + rng.below(12)).min(data.len());
        match rng.below(6) {
            0 => drop(data.drain(at..end)),
            1 => data.truncate(at),
            2 => drop(data.splice(at..end, SPICE[rng.below(SPICE.len())].iter().copied())),
            3 => drop(data.splice(at..at, SPICE[rng.below(SPICE.len())].iter().copied())),
            4 => {
                if let Some(byte) = data.get_mut(at) {
                    *byte = rng.next() as u8;
                }
            }
            _ => {
                let other = &seeds[rng.below(seeds.len())];
                let from = rng.below(other.len());
                let to = (from + rng.below(80)).min(other.len());
                data.splice(at..end, other[from..to].iter().copied());
            }
        }
    }
    data
}

fn run(seeds: &[Vec<u8>], seed: u64, rounds: usize, body: fn(&[u8])) {
    let mut rng = Rng(seed);
    for data in seeds {
        body(data);
    }
    for round in 0..rounds {
        let data = mutate(&mut rng, seeds, &seeds[round % seeds.len()]);
        if std::panic::catch_unwind(|| body(&data)).is_err() {
            panic!("round {round}: {:?}", String::from_utf8_lossy(&data));
        }
    }
}

fn messages() -> Vec<Vec<u8>> {
    vectors().into_iter().map(|(_, bytes)| bytes.to_vec()).collect()
}

#[test]
fn mutated_messages() {
    run(&messages(), 0x5EED_0001, 20_000, fuzz::message);
}

#[test]
fn mutated_values() {
    // Values of all header lines, and what stands in a request line.
    let seeds: Vec<Vec<u8>> = messages()
        .iter()
        .flat_map(|message| message.split(|&b| matches!(b, b'\n' | b' ')).map(<[u8]>::to_vec).collect::<Vec<_>>())
        .filter(|value| value.len() > 4)
        .collect();
    let pairs: Vec<Vec<u8>> = seeds.windows(3).map(|three| three.join(&b'\n')).collect();
    run(&pairs, 0x5EED_0002, 8_000, fuzz::uri);
}

#[test]
fn mutated_streams() {
    let all = messages();
    let streams: Vec<Vec<u8>> = all
        .windows(3)
        .enumerate()
        .map(|(i, three)| [&[i as u8 * 5 + 1][..], &three[0], b"\r\n\r\n", &three[1], &three[2]].concat())
        .collect();
    run(&streams, 0x5EED_0003, 2_000, fuzz::stream);
}

#[test]
fn mutated_credentials() {
    let seeds: Vec<Vec<u8>> = [
        "Digest realm=\"atlanta.com\", domain=\"sip:boxesbybob.com\", qop=\"auth, auth-int\", nonce=\"f84f1cec\", opaque=\"\", stale=FALSE, \
         algorithm=MD5\nDigest realm=\"a\", nonce=\"b\", algorithm=SHA-256, qop=\"auth\", Basic realm=\"x\", Digest realm=\"c\",nonce=\"d\"",
        "Digest username=\"bob\", realm=\"biloxi.com\", nonce=\"dcd98b71\", uri=\"sip:bob@biloxi.com\", qop=auth, nc=00000001, \
         cnonce=\"0a4f113b\", response=\"6629fae49393a05397450978507c4ef1\", opaque=\"5ccc069c\", algorithm=SHA-512-256-sess",
        "Digest username*=UTF-8''J%C3%A4s%C3%B8n, realm=\"q\\\"\", nonce=\"n\", uri=\"u\", response=\"r\", userhash=true, x-y=z",
        "Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\", algorithm=sha-512-256\nNegotiate YWJj==, NTLM",
    ]
    .into_iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    run(&seeds, 0x5EED_0004, 8_000, fuzz::digest);
}
