//! Bodies of the fuzz targets: each takes any bytes, and fails only by panicking.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use ringback_media_api::{
    AudioPort, Codec, Command, Event, EventFormat, LegConfig, LegId, ReceiveFormat, Role, RoomId, SendFormat, Sound,
    Tape, Token, Tone,
};
use ringback_rtp::{Header, Packet, rtcp};
use ringback_time::Now;

use crate::{MediaEngine, Out};

const LEGS: u8 = 4;

/// Checks whatever leaves.
#[derive(Default)]
struct Checker {
    ssrcs: BTreeMap<LegId, u32>,
    answers: BTreeMap<u64, u32>,
    failed: bool,
}

impl Out for Checker {
    fn rtp(&mut self, leg: LegId, _: SocketAddr, packet: &[u8]) {
        let parsed = Packet::parse(packet);
        assert!(packet.len() <= 1500, "{} octets", packet.len());
        let Ok(parsed) = parsed else {
            self.failed = true;
            return;
        };
        let ssrc = *self.ssrcs.entry(leg).or_insert(parsed.header.ssrc);
        assert_eq!(ssrc, parsed.header.ssrc, "one SSRC a leg");
    }

    fn rtcp(&mut self, _: LegId, _: SocketAddr, packet: &[u8]) {
        self.failed |= rtcp::parse(packet).is_err();
    }

    fn muxed_rtcp(&mut self, leg: LegId, to: SocketAddr, packet: &[u8]) {
        self.rtcp(leg, to, packet);
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::DtmfSent { token, .. }
            | Event::PlayEnded { token, .. }
            | Event::RoomPlayed { token, .. }
            | Event::Statistics { token, .. } => {
                *self.answers.entry(token.0).or_default() += 1;
            }
            Event::Failed { .. } => self.failed = true,
            Event::Closed { leg, .. } => {
                self.ssrcs.remove(&leg);
            }
            _ => {}
        }
    }

    fn audio_ready(&mut self, port: &Arc<AudioPort>) {
        port.unflag();
        while port.read().is_some() {}
    }

    fn accept_from(&mut self, _: LegId, _: Option<SocketAddr>) {}
}

/// Two media threads, and which of them has each leg.
struct Engines {
    both: [MediaEngine; 2],
    second: [bool; LEGS as usize],
}

impl Engines {
    fn new() -> Self {
        Engines {
            both: [0, 1].map(|n| MediaEngine::new(n, ChaCha12Rng::seed_from_u64(1 + u64::from(n)))),
            second: [false; LEGS as usize],
        }
    }

    fn of(&mut self, leg: LegId) -> &mut MediaEngine {
        let second = self.second.get(leg.serial() as usize).copied().unwrap_or_default();
        let [first, other] = &mut self.both;
        if second { other } else { first }
    }

    fn handle_command(&mut self, now: Now, command: Command, out: &mut Checker) {
        self.of(command.leg()).handle_command(now, command, out);
    }

    fn handle_timeout(&mut self, now: Now, out: &mut Checker) {
        self.both.iter_mut().for_each(|engine| engine.handle_timeout(now, out));
    }

    fn move_over(&mut self, now: Now, leg: LegId, out: &mut Checker) {
        let traveller = self.of(leg).depart(now, leg, out);
        if let Some(second) = self.second.get_mut(leg.serial() as usize) {
            *second = !*second;
        }
        if let Some(traveller) = traveller {
            self.of(leg).arrive(now, traveller, out);
        }
    }
}

/// A sequence of commands, packets and passing time, four octets each: nothing panics, every token is answered once.
pub fn operations(bytes: &[u8]) {
    let mut engine = Engines::new();
    let mut out = Checker::default();
    let mut now = Now::default() + Duration::from_secs(1);
    let mut asked = 0_u64;
    let mut ports: Vec<Arc<AudioPort>> = Vec::new();
    let mut tapes: Vec<Arc<Tape>> = Vec::new();
    for step in bytes.chunks_exact(4) {
        let &[what, who, x, y] = step else { continue };
        let leg = LegId::new(0, u64::from(who % LEGS));
        let other = LegId::new(0, u64::from(x % LEGS));
        let on = x & 1 == 1;
        let token = Token(asked);
        let command = match what % 31 {
            30 => {
                engine.move_over(now, leg, &mut out);
                None
            }
            0 => Some(Command::Open { leg, config: config(who, x, y) }),
            1 => Some(Command::Configure { leg, config: config(who, x, y) }),
            2 => Some(Command::Close { leg }),
            3 => Some(Command::Bridge { a: leg, b: other }),
            4 => Some(Command::Unbridge { leg }),
            5 => Some(Command::Echo { leg, on }),
            6 => {
                let duration = (y > 0).then(|| Duration::from_millis(u64::from(y)));
                let tone = Tone { frequencies: vec![f32::from(x) * 20.0], level_dbm0: -f32::from(y) / 8.0, duration };
                asked += 1;
                Some(Command::PlayTone { leg, tone, token })
            }
            7 if y > 127 => {
                let rate = [8000, 16_000, 48_000, 11_025].get(usize::from(x) % 4).copied().unwrap_or(8000);
                asked += 1;
                let sound = Arc::new(Sound::of(rate, &vec![i16::from(x) * 100; usize::from(y)]));
                Some(Command::Play { leg, sound, token })
            }
            7 if on => Some(Command::GiveUpPlaying { leg, token: Token(u64::from(x)) }),
            7 => Some(Command::StopPlaying { leg }),
            8 => {
                asked += 1;
                let digits =
                    ["1", "5#,A", ",", "", "x9"].get(usize::from(x) % 5).copied().unwrap_or_default().to_owned();
                let (duration_ms, gap_ms) = (u32::from(y) * 40, u32::from(x));
                if y & 1 == 1 {
                    engine.handle_command(
                        now,
                        Command::SendTones { leg, digits, duration_ms, gap_ms, token },
                        &mut out,
                    );
                    continue;
                }
                Some(Command::SendDtmf { leg, digits, duration_ms, gap_ms, token })
            }
            9 => Some(Command::Mute { leg, on }),
            10 => Some(Command::Transmit { leg, on }),
            11 => {
                asked += 1;
                Some(Command::Statistics { leg, token })
            }
            12 => Some(Command::Monitor { leg, interval: on.then(|| Duration::from_millis(u64::from(y))) }),
            13 => Some(Command::WatchSilence { leg, after: on.then(|| Duration::from_millis(u64::from(y) * 10)) }),
            14 => {
                let rate = [8000, 16_000, 24_000, 48_000, 44_100].get(usize::from(x) % 5).copied().unwrap_or(8000);
                let port = Arc::new(AudioPort::new(rate, u32::from(y % 51) + 10, 200));
                ports.push(port.clone());
                ports.drain(..ports.len().saturating_sub(8));
                Some(Command::OpenAudio { leg, port })
            }
            15 if y > 127 => {
                let tape = Arc::new(Tape::new(on, || {}));
                tapes.push(tape.clone());
                Some(Command::Record { leg, tape })
            }
            15 => ports
                .get(usize::from(x) % ports.len().max(1))
                .map(|port| Command::CloseAudio { leg, port: port.clone() }),
            16 => {
                if let Some(port) = ports.get(usize::from(x) % ports.len().max(1)) {
                    match y % 4 {
                        0 => port.close(),
                        1 => drop(port.clear()),
                        _ => drop(port.write(&vec![i16::from(y) * 100; usize::from(x) * 8])),
                    }
                }
                None
            }
            17 | 18 => {
                now = now + Duration::from_micros(u64::from(x) * u64::from(y));
                engine.handle_timeout(now, &mut out);
                None
            }
            19 => {
                let mut report = report(what, x, y);
                engine.of(leg).handle_rtcp(now, leg, address(who, x % 3 + 1), &report, &mut out);
                engine.of(leg).handle_rtp(now, leg, now.mono, address(who, x % 3), &mut report, &mut out);
                None
            }
            20 | 21 => Some(Command::Join { leg, room: RoomId::new(0, u64::from(y % 2)), role: role(x, other) }),
            22 => Some(Command::SetRole { leg, role: role(y, other) }),
            23 if y < 40 => Some(Command::CloseRoom { room: RoomId::new(0, u64::from(x % 2)) }),
            23 if y < 80 => {
                asked += 1;
                let sound =
                    Arc::new(Sound::of(if on { 8000 } else { 11_025 }, &vec![i16::from(x) * 100; usize::from(y) * 20]));
                Some(Command::PlayToRoom { room: RoomId::new(0, u64::from(x % 2)), sound, token })
            }
            23 => Some(Command::SetGain { leg, gain_db: f32::from(x) - 100.0 }),
            _ => {
                let mut packet = rtp(what, x, y);
                let from = address(who, u8::from(what >= 250));
                engine.of(leg).handle_rtp(now, leg, now.mono, from, &mut packet, &mut out);
                None
            }
        };
        if let Some(command) = command {
            engine.handle_command(now, command, &mut out);
        }
    }
    for serial in 0..LEGS {
        engine.handle_command(now, Command::Close { leg: LegId::new(0, u64::from(serial)) }, &mut out);
    }
    assert!(engine.both.iter().all(|engine| engine.live_legs() == 0));
    for _ in 0..30 {
        now = now + Duration::from_millis(20);
        engine.handle_timeout(now, &mut out);
    }
    assert!(engine.both.iter().all(|engine| engine.live_rooms() == 0), "a room without members is none");
    assert!(tapes.iter().all(|tape| tape.is_ended() || tape.is_stopped()), "every tape is ended");
    assert!(!out.failed, "a panic, or a malformed packet of ours");
    assert!((0..asked).all(|token| out.answers.get(&token) == Some(&1)), "every token is answered once");
}

fn address(who: u8, port: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, who % LEGS], 4000 + u16::from(port)))
}

fn role(x: u8, beside: LegId) -> Role {
    match x % 4 {
        0 => Role::Listener,
        1 => Role::Whisper { beside },
        _ => Role::Member,
    }
}

fn config(who: u8, x: u8, y: u8) -> Box<LegConfig> {
    let codec = Codec::ALL.get(usize::from(y) % Codec::ALL.len()).copied().unwrap_or(Codec::Pcmu);
    Box::new(LegConfig {
        remote_rtp: (x & 2 == 0).then(|| address(who, 0)),
        remote_rtcp: (x & 4 == 0).then(|| address(who, 1)),
        send: (x & 8 == 0).then_some(SendFormat { codec, payload_type: 96 + x % 3, ptime_ms: y }),
        receive: vec![
            ReceiveFormat { codec: Codec::Pcmu, payload_type: 0 },
            ReceiveFormat { codec: Codec::Pcma, payload_type: 8 },
            ReceiveFormat { codec, payload_type: 111 },
        ],
        dtmf_send: (x & 16 == 0)
            .then_some(EventFormat { payload_type: 101, clock_rate: [8000, 48_000][usize::from(y & 1)] }),
        dtmf_receive: vec![EventFormat::narrow(96), EventFormat { payload_type: 98, clock_rate: 48_000 }],
        comfort_noise: Some(13),
        comfort_noise_send: (y & 64 == 0).then_some(19),
        dtmf_inband: y & 2 != 0,
        may_send: x & 32 == 0,
        may_receive: x & 64 == 0,
        symmetric: x & 128 != 0,
        sends_first: y & 32 != 0,
        signalling: (y & 128 == 0).then(|| address(who, 0).ip()),
        rtcp_mux: y & 4 != 0,
        xr_voip: y & 8 != 0,
        xr_reference_time: y & 16 != 0,
        latch_generation: u32::from(y & 1),
        cname: "fuzz".into(),
        ..LegConfig::default()
    })
}

/// A compound packet with an extended report, one octet of which may be anything.
fn report(what: u8, x: u8, y: u8) -> Vec<u8> {
    let voip = rtcp::VoipMetrics { loss_rate: x, r_factor: Some(y), gmin: 16, ..rtcp::VoipMetrics::default() };
    let extended = rtcp::Extended {
        reference_time: (x & 1 == 0).then_some(u64::from(y) << 28),
        delay: (x & 2 == 0).then(rtcp::DelaySinceLast::default),
        voip: (x & 4 == 0).then_some(voip),
    };
    let block = Some(rtcp::ReportBlock { fraction_lost: y, ..rtcp::ReportBlock::default() });
    let report = rtcp::Report { ssrc: u32::from(x >> 6), block, cname: "fuzz", extended, ..rtcp::Report::default() };
    let mut bytes = Vec::new();
    rtcp::write(&report, &mut bytes);
    if let Some(octet) = bytes.get_mut(usize::from(x) * 2).filter(|_| what & 64 != 0) {
        *octet = y;
    }
    bytes
}

fn rtp(what: u8, x: u8, y: u8) -> Vec<u8> {
    let payload_type = match (what % 4, y % 4) {
        (0, 0) => 98,
        (0, _) => 96,
        (1, 0) => 13,
        (1, _) => 8,
        (2, _) => 111,
        _ => 0,
    };
    let header = Header {
        marker: what & 4 != 0,
        payload_type,
        sequence: u16::from(x) << u32::from(what >> 5 & 1),
        timestamp: u32::from(x) * 160 + u32::from(y) * u32::from(what),
        ssrc: u32::from(what >> 6),
    };
    let mut packet = header.to_bytes().to_vec();
    let length = [0, 4, 80, 160, 160, 160, 240, 1488].get(usize::from(y) % 8).copied().unwrap_or(160);
    packet.resize(packet.len() + length, y);
    if what & 8 != 0
        && let Some(first) = packet.first_mut()
    {
        // Padding, extension and CSRCs that fit or do not.
        *first |= y & 0x3f;
    }
    packet
}

#[cfg(test)]
mod tests {
    use rand_core::RngCore;

    use super::*;

    #[test]
    fn random_operations_do_no_harm() {
        for seed in 0..60 {
            let mut rng = ChaCha12Rng::seed_from_u64(seed);
            let mut bytes = vec![0; 4 * 1000];
            rng.fill_bytes(&mut bytes);
            // All legs begin open, or nothing would come about.
            let mut opened: Vec<u8> = (0..LEGS).flat_map(|leg| [0, leg, rng.next_u32() as u8 & 1, 20]).collect();
            opened.extend(bytes);
            operations(&opened);
        }
    }
}
