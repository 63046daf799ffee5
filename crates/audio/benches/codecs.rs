//! What decoding and encoding alone cost in the memory of many streams: nanoseconds of CPU a frame. For the media bench, which gives a
//! recording in payloads, each after its length (16 bits, native order):
//!
//!     cargo bench -p ringback-audio --bench codecs -- PCMU|PCMA|G722|L16|opus FILE STREAMS SIZE SECONDS
//!
//! Each of STREAMS has a decoder and an encoder; what is encoded is the sum of SIZE streams without the own one (of one: the own one).
//! Prints "DECODE ENCODE".

// A bench measures time and prints it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::fs;
use std::hint::black_box;
use std::io;

use ringback_audio::{Coding, Decoder, Encoder, accumulate, saturate, saturate_without};

/// CPU time of this thread, nanoseconds.
fn cpu() -> io::Result<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).ok_or(io::ErrorKind::InvalidData.into())
}

fn payloads(file: &str) -> io::Result<Vec<Vec<u8>>> {
    let octets = fs::read(file)?;
    let mut rest = &octets[..];
    let mut found = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_ne_bytes(*length));
        let (payload, after) = after.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
        found.push(payload.to_vec());
        rest = after;
    }
    if found.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(found) }
}

struct Stream {
    decoder: Decoder,
    encoder: Encoder,
    own: Vec<i16>,
}

/// What is done with a frame.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Work {
    Decode,
    Mix,
    Encode,
}

/// Nanoseconds a frame of each stream.
fn cost(coding: Coding, payloads: &[Vec<u8>], streams: usize, size: usize, work: Work, nanos: f64) -> io::Result<f64> {
    let new = || Stream { decoder: Decoder::new(coding), encoder: Encoder::new(coding), own: Vec::new() };
    let mut streams: Vec<Stream> = (0..streams.max(1)).map(|_| new()).collect();
    let samples = coding.sample_rate() as usize / 50;
    let (mut sum, mut heard, mut payload) = (vec![0; samples], vec![0; samples], Vec::new());
    let (start, mut frames) = (cpu()?, 0_usize);
    loop {
        for (n, stream) in streams.iter_mut().enumerate() {
            stream.own.clear();
            stream.decoder.decode(black_box(&payloads[(frames + 37 * n) % payloads.len()]), &mut stream.own);
            stream.own.resize(samples, 0);
        }
        for room in streams.chunks_mut(size.max(1)).filter(|_| work >= Work::Mix) {
            sum.fill(0);
            room.iter().for_each(|stream| accumulate(&mut sum, &stream.own));
            for stream in room {
                match size {
                    ..=1 => saturate(&sum, &mut heard),
                    _ => saturate_without(&sum, &stream.own, &mut heard),
                }
                if work >= Work::Encode {
                    payload.clear();
                    stream.encoder.encode(black_box(&heard), &mut payload);
                }
                black_box((&heard, &payload));
            }
        }
        frames += 1;
        let spent = cpu()? - start;
        if spent >= nanos {
            return Ok(spent / frames as f64 / streams.len() as f64);
        }
    }
}

fn run(coding: Coding, file: &str, streams: usize, size: usize, seconds: f64) -> io::Result<(f64, f64)> {
    let payloads = payloads(file)?;
    let cost = |work| cost(coding, &payloads, streams, size, work, seconds / 3.0 * 1e9);
    Ok((cost(Work::Decode)?, cost(Work::Encode)? - cost(Work::Mix)?))
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [name, file, streams, size, seconds] = &arguments[..] else {
        // As `cargo test --benches` and `cargo bench` run it.
        println!("usage: codecs CODEC FILE STREAMS SIZE SECONDS");
        return;
    };
    let coding = match name.as_str() {
        "PCMA" => Coding::Pcma,
        "G722" => Coding::G722,
        "L16" => Coding::L16(16_000),
        "opus" => Coding::Opus,
        _ => Coding::Pcmu,
    };
    let numbers = (streams.parse().unwrap_or(1), size.parse().unwrap_or(1), seconds.parse().unwrap_or(1.0));
    match run(coding, file, numbers.0, numbers.1, numbers.2) {
        Ok((decoding, encoding)) => println!("{decoding:.1} {encoding:.1}"),
        Err(error) => {
            eprintln!("{file}: {error}");
            std::process::exit(1);
        }
    }
}
