//! Whatever a sender or its path does: sound is back within 200 ms of the first packet after it, whoever listens (a program, another leg with
//! or without decoding, a conference, a recording), and the counts are true.

#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use std::sync::Arc;

use common::*;
use ringback_audio::{Coding, Decoder, Encoder, ToneGenerator};
use ringback_media_api::{
    AudioPort, Codec, Command, Event, LegConfig, LegId, Role, RoomId, SendFormat, Statistics, Tape,
};

const PEER: u8 = 101;
/// What is heard further on plays out of a buffer of its own.
const FAR_MS: u64 = 100;
/// Packets of 20 ms before the upset, and after it.
const BEFORE: u32 = 100;
const AFTER: u32 = 100;

/// How a packet goes out: numbers, SSRC, and by how much it is late.
#[derive(Clone, Copy)]
struct Packet {
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    late_ms: u32,
}

/// What becomes of packet `n`, which is `packet` on an even path; `None`: it is lost, or was not sent.
type Upset = fn(n: u32, packet: Packet) -> Option<Packet>;

struct Row {
    what: &'static str,
    upset: Upset,
    /// Packets that the receiver must find missing.
    lost: u64,
}

const UPSETS: [Row; 13] = [
    Row { what: "nothing", upset: |_, packet| Some(packet), lost: 0 },
    Row { what: "another SSRC", upset: |_, packet| Some(Packet { ssrc: 78, ..packet }), lost: 0 },
    Row {
        what: "another SSRC and other numbers",
        upset: |_, packet| {
            let (sequence, timestamp) =
                (packet.sequence.wrapping_add(30_000), packet.timestamp.wrapping_sub(5_000_000));
            Some(Packet { ssrc: 78, sequence, timestamp, ..packet })
        },
        lost: 0,
    },
    Row {
        what: "timestamps jump ahead",
        upset: |_, packet| Some(Packet { timestamp: packet.timestamp.wrapping_add(0x4000_0000), ..packet }),
        lost: 0,
    },
    Row {
        what: "timestamps jump back",
        upset: |_, packet| Some(Packet { timestamp: packet.timestamp.wrapping_sub(4_000), ..packet }),
        lost: 0,
    },
    Row {
        what: "sequence numbers jump",
        // RFC 3550 A.1: the second packet in a row is believed; nothing of that is loss.
        upset: |_, packet| Some(Packet { sequence: packet.sequence.wrapping_add(20_000), ..packet }),
        lost: 0,
    },
    Row {
        what: "sequence numbers jump back",
        upset: |_, packet| Some(Packet { sequence: packet.sequence.wrapping_sub(5_000), ..packet }),
        lost: 0,
    },
    Row {
        what: "a sender that starts over",
        upset: |n, packet| {
            Some(Packet { sequence: (n - BEFORE) as u16 + 40_000, timestamp: (n - BEFORE) * 160, ..packet })
        },
        lost: 0,
    },
    Row {
        what: "the path becomes slower by 150 ms",
        upset: |_, packet| Some(Packet { late_ms: 150, ..packet }),
        lost: 0,
    },
    Row {
        what: "300 ms come in one burst",
        upset: |n, packet| Some(Packet { late_ms: 20 * (BEFORE + 15).saturating_sub(n), ..packet }),
        lost: 0,
    },
    Row {
        what: "the path becomes slower by 100 ms, and quicker again",
        upset: |n, packet| Some(Packet { late_ms: if n < BEFORE + 30 { 100 } else { 0 }, ..packet }),
        lost: 0,
    },
    Row { what: "half a second is lost", upset: |n, packet| (n >= BEFORE + 25).then_some(packet), lost: 25 },
    Row {
        what: "a pause of half a second",
        upset: |n, packet| {
            let sequence = packet.sequence.wrapping_sub(25);
            (n >= BEFORE + 25).then_some(Packet { sequence, ..packet })
        },
        lost: 0,
    },
];

/// Who listens to the leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    Program,
    /// Another leg, that sends this codec.
    Bridge(Codec),
    /// Another member of a conference of three, that sends this codec.
    Conference(Codec),
    Recorder,
}

const PATHS: [Path; 8] = [
    Path::Program,
    Path::Bridge(Codec::Pcmu),
    Path::Bridge(Codec::Pcma),
    Path::Bridge(Codec::G722),
    Path::Bridge(Codec::Opus),
    Path::Conference(Codec::Pcmu),
    Path::Conference(Codec::G722),
    Path::Recorder,
];

impl Path {
    /// What the leg of the peer hears is heard as it comes.
    fn is_undecoded(self) -> bool {
        matches!(self, Path::Bridge(Codec::Pcmu | Codec::Pcma))
    }
}

/// Of pieces of 10 ms, when each was there to be heard, and whether the tone is in it.
#[derive(Default)]
struct Sounds(Vec<(u64, bool)>);

impl Sounds {
    fn hear(&mut self, at_ms: u64, samples: &[i16], per_piece: usize) {
        for piece in samples.chunks(per_piece) {
            self.0.push((at_ms, piece.iter().any(|sample| sample.unsigned_abs() > 3000)));
        }
    }

    fn between(&self, from_ms: u64, to_ms: u64) -> Vec<bool> {
        self.0.iter().filter(|(at, _)| (from_ms..to_ms).contains(at)).map(|(_, loud)| *loud).collect()
    }
}

/// A leg whose peer sends a tone or silence, and whoever listens.
struct Listening {
    world: World,
    path: Path,
    a: LegId,
    b: LegId,
    /// Of the program, or of the far end.
    port: Arc<AudioPort>,
    tape: Arc<Tape>,
    decoder: Decoder,
    seen: usize,
    taken: u64,
    /// As it leaves, and as it is heard at the far end.
    near: Sounds,
    far: Sounds,
    began_ms: u64,
}

impl Listening {
    fn begin(path: Path) -> Listening {
        let mut world = World::new(2, 40);
        let (a, b, third, far) = (leg(0, 1), leg(0, 2), leg(0, 3), leg(1, 1));
        world.open(a, config(leg(9, PEER)));
        let port = Arc::new(AudioPort::new(8000, 10, 100_000));
        let tape = Arc::new(Tape::new(true, || {}));
        let mut codec = Codec::Pcmu;
        match path {
            Path::Program => world.command(Command::OpenAudio { leg: a, port: port.clone() }),
            Path::Recorder => world.command(Command::Record { leg: a, tape: tape.clone() }),
            Path::Bridge(sends) | Path::Conference(sends) => {
                codec = sends;
                let payload_type = codec.static_payload_type().unwrap_or(96);
                let format = SendFormat { codec, payload_type, ptime_ms: 20 };
                let receive = vec![ringback_media_api::ReceiveFormat { codec, payload_type }];
                let spoken = |remote| LegConfig { send: Some(format), receive: receive.clone(), ..config(remote) };
                world.open(b, spoken(far));
                world.open(far, spoken(b));
                world.command(Command::OpenAudio { leg: far, port: port.clone() });
                if let Path::Bridge(_) = path {
                    world.command(Command::Bridge { a, b });
                } else {
                    world.open(third, config(leg(9, PEER + 1)));
                    let room = RoomId::new(0, 1);
                    for leg in [a, b, third] {
                        world.command(Command::Join { leg, room, role: Role::Member });
                    }
                }
            }
        }
        let coding = match codec {
            Codec::G722 => Coding::G722,
            Codec::Opus => Coding::Opus,
            Codec::Pcma => Coding::Pcma,
            _ => Coding::Pcmu,
        };
        let (near, far) = (Sounds::default(), Sounds::default());
        let mut listening = Listening {
            world,
            path,
            a,
            b,
            port,
            tape,
            decoder: Decoder::new(coding),
            seen: 0,
            taken: 0,
            near,
            far,
            began_ms: 0,
        };
        listening.began_ms = listening.now_ms();
        listening
    }

    fn now_ms(&self) -> u64 {
        self.world.now.mono.as_nanos() / 1_000_000
    }

    /// Takes what there is to be heard by now.
    fn listen(&mut self) {
        let now_ms = self.now_ms();
        let heard = if self.path == Path::Program { &mut self.near } else { &mut self.far };
        while let Some(frame) = self.port.read() {
            heard.hear(now_ms, &frame, 80);
        }
        while let Some(block) = self.tape.take() {
            let left: Vec<i16> = block.samples.iter().step_by(2).copied().collect();
            for piece in left.chunks(80) {
                // What it stands beside of the other direction, whenever it is written.
                self.near.hear(self.began_ms + self.taken / 8, piece, 80);
                self.taken += 80;
            }
        }
        let per_piece = self.decoder.sample_rate() as usize / 100;
        for sent in self.world.out.rtp.iter().skip(self.seen).filter(|sent| sent.leg == self.b) {
            let mut samples = Vec::new();
            self.decoder.decode(&sent.payload, &mut samples);
            self.near.hear(sent.at.as_nanos() / 1_000_000, &samples, per_piece);
        }
        self.seen = self.world.out.rtp.len();
    }
}

struct Heard {
    statistics: Statistics,
    near: Sounds,
    far: Sounds,
    /// When the first packet after the upset came.
    back_ms: u64,
    began_ms: u64,
    end_ms: u64,
}

/// A leg whose peer sends a tone, and is upset halfway; `first`: its first numbers.
fn hear(path: Path, upset: Upset, first: (u16, u32)) -> Heard {
    let mut listening = Listening::begin(path);
    let a = listening.a;
    let mut encoder = Encoder::new(Coding::Pcmu);
    let mut tone = ToneGenerator::new(8000, &[400.0], -10.0).unwrap();
    let mut samples = vec![0; 160];
    let began_ms = listening.began_ms;
    let mut waiting: Vec<(u32, Vec<u8>)> = Vec::new();
    let mut back_ms = 0;
    for ms_passed in 0..(BEFORE + AFTER) * 20 {
        if ms_passed % 20 == 0 {
            let n = ms_passed / 20;
            samples.fill(0);
            tone.fill(&mut samples);
            let mut payload = Vec::new();
            encoder.encode(&samples, &mut payload);
            let even = Packet {
                sequence: first.0.wrapping_add(n as u16),
                timestamp: first.1.wrapping_add(n * 160),
                ssrc: 77,
                late_ms: 0,
            };
            let goes = if n < BEFORE { Some(even) } else { upset(n, even) };
            if let Some(goes) = goes {
                let bytes = packet(0, goes.sequence, goes.timestamp, goes.ssrc, &payload);
                waiting.push((ms_passed + goes.late_ms, bytes));
                if n >= BEFORE && back_ms == 0 {
                    back_ms = began_ms + u64::from(ms_passed + goes.late_ms);
                }
            }
        }
        for (_, bytes) in waiting.extract_if(.., |(due, _)| *due <= ms_passed) {
            listening.world.deliver(rtp_address(leg(9, PEER)), a, &bytes);
        }
        listening.world.run(ms(1));
        listening.listen();
    }
    let end_ms = listening.now_ms();
    let statistics = listening.world.statistics(a);
    Heard { statistics, near: listening.near, far: listening.far, back_ms, began_ms, end_ms }
}

fn assert_sound(sounds: &Sounds, from_ms: u64, to_ms: u64, what: &str) {
    let heard = sounds.between(from_ms, to_ms);
    // A block of the tape is 100 ms.
    let pieces = (to_ms - from_ms) / 10;
    assert!(heard.len() as u64 + 12 >= pieces, "{what}: {} pieces of {pieces}", heard.len());
    let silent = heard.iter().filter(|loud| !**loud).count();
    assert_eq!(silent, 0, "{what}: {silent} of {pieces}, first at {:?}", heard.iter().position(|loud| !loud));
}

#[test]
fn sound_is_back_within_200_ms_of_any_upset() {
    for path in PATHS {
        for Row { what, upset, lost } in UPSETS {
            // Both numbers wrap before the upset, and neither does.
            for first in [(65_500, 0xffff_f000), (7, 7)] {
                let heard = hear(path, upset, first);
                let what = format!("{path:?}, {what}, from {}", first.0);
                let late_ms = if path.is_undecoded() { 0 } else { FAR_MS };
                assert_sound(&heard.near, heard.began_ms + 300, heard.began_ms + 1990, &format!("{what}: before"));
                assert_sound(&heard.near, heard.back_ms + 200, heard.end_ms, &what);
                if !heard.far.0.is_empty() {
                    let far = format!("{what}: further on");
                    assert_sound(&heard.far, heard.began_ms + 400, heard.began_ms + 1990, &format!("{far}: before"));
                    assert_sound(&heard.far, heard.back_ms + 200 + late_ms, heard.end_ms, &far);
                }
                assert_eq!(heard.statistics.packets_lost, lost, "{what}: {:?}", heard.statistics);
                let sent = u64::from(BEFORE + AFTER) - if heard.back_ms > heard.began_ms + 2300 { 25 } else { 0 };
                let came = heard.statistics.packets_received;
                // What is on its way yet, or was the first of a jump that could have been noise.
                assert!((sent - 9..=sent).contains(&came), "{what}: {came} of {sent}");
            }
        }
    }
}

/// A second of an even stream, and beside it each 60 ms a packet that is none of it, from the same address.
#[test]
fn stray_packets_cut_no_running_stream() {
    let junk = vec![0x55; 160];
    let strays: [(&str, u8, &[u8]); 5] = [
        ("what could be another stream", 0, &junk),
        ("nothing to be played", 0, &[]),
        ("a type that was not negotiated", 55, b"x"),
        ("an event", DTMF, &[5, 0x8a, 0, 0xa0]),
        ("no event, though of its type", DTMF, b"junk junk"),
    ];
    for path in PATHS {
        for (what, payload_type, payload) in strays {
            let what = format!("{path:?}, {what}");
            let mut listening = Listening::begin(path);
            let (mut tone, mut encoder) =
                (ToneGenerator::new(8000, &[400.0], -10.0).unwrap(), Encoder::new(Coding::Pcmu));
            let from = rtp_address(leg(9, PEER));
            for n in 0..100_u16 {
                let (mut samples, mut sound) = (vec![0; 160], Vec::new());
                tone.fill(&mut samples);
                encoder.encode(&samples, &mut sound);
                listening.world.deliver(from, listening.a, &packet(0, n, u32::from(n) * 160, 77, &sound));
                if n % 3 == 2 {
                    // Each of an SSRC of its own, or all of one, with numbers that are not in a row.
                    let ssrc = if n % 2 == 0 { 1000 } else { 1000 + u32::from(n) };
                    let stray = packet(payload_type, n.wrapping_mul(777), u32::from(n) * 99_991, ssrc, payload);
                    listening.world.deliver(from, listening.a, &stray);
                }
                for _ in 0..20 {
                    listening.world.run(ms(1));
                    listening.listen();
                }
            }
            let end_ms = listening.now_ms();
            assert_sound(&listening.near, listening.began_ms + 300, end_ms, &what);
            let statistics = listening.world.statistics(listening.a);
            assert_eq!((statistics.packets_received, statistics.packets_lost), (100, 0), "{what}");
            assert!(!listening.world.events().iter().any(|event| matches!(event, Event::Dtmf { .. })), "{what}");
        }
    }
}

/// Speech: a second of tone, a second of near silence, in which the delay is put right. Of the middle of each second of tone, some delay after it
/// was sent, the pieces in which it is not heard.
fn drift(path: Path, ppm: i64, packets: u64) -> (usize, usize, Statistics) {
    let mut listening = Listening::begin(path);
    let mut encoder = Encoder::new(Coding::Pcmu);
    let (mut loud, mut quiet) = (Vec::new(), Vec::new());
    let mut samples = vec![0; 160];
    ToneGenerator::new(8000, &[400.0], -10.0).unwrap().fill(&mut samples);
    encoder.encode(&samples, &mut loud);
    encoder.encode(&[0; 160], &mut quiet);
    let period_ns = (20_000_000 * (1_000_000 + ppm) / 1_000_000) as u64;
    let began = listening.world.now.mono.as_nanos();
    let sent_at = |sent: u64| began + sent * period_ns;
    for sent in 0..packets {
        let now = listening.world.now.mono.as_nanos();
        listening.world.run(std::time::Duration::from_nanos(sent_at(sent).saturating_sub(now)));
        let payload = if sent / 50 % 2 == 0 { &loud } else { &quiet };
        let bytes = packet(0, sent as u16, sent as u32 * 160, 77, payload);
        listening.world.deliver(rtp_address(leg(9, PEER)), listening.a, &bytes);
        listening.listen();
        listening.world.out.rtp.clear();
        listening.seen = 0;
    }
    // Those that pass undecoded are heard by the buffer of the far end.
    let sounds = if path.is_undecoded() { &listening.far } else { &listening.near };
    let in_tone = |at: &u64| {
        let part = ((at * 1_000_000).saturating_sub(began) / period_ns).saturating_sub(8) % 100;
        (10..35).contains(&part)
    };
    let pieces: Vec<bool> = sounds.0.iter().filter(|(at, _)| in_tone(at)).map(|(_, loud)| *loud).collect();
    let silent = pieces.iter().filter(|loud| !**loud).count();
    (silent, pieces.len(), listening.world.statistics(listening.a))
}

/// 200 parts in a million are more than any two telephones are apart, for twenty minutes; and as much in two, for whoever listens: nothing is lost,
/// discarded, or heard as a gap.
#[test]
fn a_clock_that_drifts_costs_nothing() {
    let shorter = PATHS.map(|path| (path, 2000, 6_000));
    for (path, ppm, packets) in [(Path::Program, 200, 60_000)].into_iter().chain(shorter) {
        for ppm in [-ppm, ppm] {
            let (silent, pieces, statistics) = drift(path, ppm, packets);
            let what = format!("{path:?}, {ppm} ppm: {statistics:?}");
            assert_eq!((statistics.packets_lost, statistics.packets_received), (0, packets), "{what}");
            assert!(statistics.packets_discarded <= 2, "{what}");
            assert!(pieces as u64 >= packets / 100 * 45, "{what}: {pieces}");
            assert!(silent <= 4, "{what}: {silent} of {pieces} are gaps");
            assert!(statistics.quality.unwrap().jitter_ms.unwrap() < 0.1, "{what}");
        }
    }
}
