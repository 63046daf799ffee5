//! A sender of Opus that hardly sends silence (RFC 7587 §3.1.3), and what its peer hears.

mod common;

use std::sync::Arc;

use common::*;
use ringback_audio::{level_dbm0, voice};
use ringback_media_api::{AudioPort, Codec, Command, LegConfig, LegId, OpusSend, ReceiveFormat, SendFormat};

const RATE: u32 = 16_000;

fn saving(remote: LegId, dtx: bool) -> LegConfig {
    LegConfig {
        send: Some(SendFormat { codec: Codec::Opus, payload_type: 96, ptime_ms: 20 }),
        receive: vec![ReceiveFormat { codec: Codec::Opus, payload_type: 96 }],
        opus: OpusSend { dtx, ..OpusSend::default() },
        ..config(remote)
    }
}

fn call(seed: u64, dtx: bool) -> (World, LegId, LegId) {
    let mut world = World::new(2, seed);
    let (a, b) = (leg(0, 1), leg(1, 1));
    world.open(a, saving(b, dtx));
    world.open(b, saving(a, false));
    world.link.delay = ms(30);
    (world, a, b)
}

fn program(world: &mut World, leg: LegId) -> Arc<AudioPort> {
    let port = Arc::new(AudioPort::new(RATE, 20, 4000));
    world.command(Command::OpenAudio { leg, port: Arc::clone(&port) });
    port
}

/// The level of each frame that `port` has received.
fn heard(port: &AudioPort) -> Vec<f64> {
    std::iter::from_fn(|| port.read()).map(|frame| level_dbm0(&frame)).collect()
}

#[test]
fn silence_is_a_packet_each_400_ms() {
    for (dtx, most) in [(false, 201), (true, 13)] {
        let (mut world, a, b) = call(1, dtx);
        world.run(ms(4_000));
        let sent = world.sent_by(a);
        assert!((most - 2..=most).contains(&sent.len()), "{}", sent.len());
        assert_eq!(world.statistics(b).packets_lost, 0, "numbers have no gap");
        if dtx {
            let pauses: Vec<_> = sent.iter().skip(2).collect();
            assert!(pauses.iter().all(|packet| packet.payload.len() == 1));
            assert!(pauses.windows(2).all(|pair| pair[1].at.since(pair[0].at).as_millis() == 400));
            let stamped = |pair: &[&Sent]| pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp);
            assert!(pauses.windows(2).all(|pair| stamped(pair) == 400 * 48), "the clock goes on");
        }
    }
}

#[test]
fn what_is_said_after_a_pause_is_heard_from_its_beginning_and_pauses_are_quiet() {
    for lossy in [false, true] {
        let (mut world, a, b) = call(2, true);
        world.link.loss_percent = if lossy { 5.0 } else { 0.0 };
        let (speaker, listener) = (program(&mut world, a), program(&mut world, b));
        for round in 0..6 {
            // Silence of the program's own is silence all the same; in every second round it writes none.
            if round % 2 == 0 {
                speaker.write(&vec![0; RATE as usize]);
            }
            world.run(ms(1_500));
            heard(&listener);
            world.forget();
            world.run(ms(1_000));
            let sent = world.sent_by(a).len();
            assert!(sent <= 8, "{sent} packets in a second of silence");
            assert!(heard(&listener).iter().all(|level| *level < -60.0));

            world.forget();
            let said = voice(RATE, 1.0, 120.0);
            let spoken = said.chunks(RATE as usize / 50).filter(|frame| level_dbm0(frame) > -30.0).count();
            speaker.write(&said);
            world.run(ms(1_200));
            let sent = world.sent_by(a);
            assert!(sent.len() >= spoken, "{}", sent.len());
            let first = sent.iter().find(|packet| packet.payload.len() > 2).expect("what is said");
            assert!(first.header.marker, "RFC 3551 §4.1: a talkspurt begins");
            let loud = heard(&listener).iter().filter(|level| **level > -30.0).count();
            let least = if lossy { spoken * 17 / 20 } else { spoken - 2 };
            assert!((least..=spoken + 5).contains(&loud), "{loud} loud frames of {spoken}");
        }
        if !lossy {
            assert_eq!(world.statistics(b).packets_lost, 0);
        }
    }
}
