//! Servers and strangers that send anything at all: nothing panics, nothing grows, and the clock goes on.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::SocketAddr;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use ringback_nat::{Component, Received, Servers, Traversal, TurnServer};
use ringback_time::Mono;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A response to one of the requests that were sent, with some of it spoiled.
fn spoiled(rng: &mut ChaCha12Rng, requests: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = match requests.get(rng.next_u32() as usize % (requests.len() + 1)) {
        Some(request) => request.clone(),
        None => (0..rng.next_u32() % 80).map(|_| rng.next_u32() as u8).collect(),
    };
    // Success or error of the same method; or left a request.
    if let Some(first) = bytes.first_mut() {
        *first |= (rng.next_u32() % 2) as u8;
    }
    if let Some(second) = bytes.get_mut(1).filter(|_| rng.next_u32().is_multiple_of(2)) {
        *second |= 0x10;
    }
    // RFC 8489 §14: attributes of every kind, of any length, cut off anywhere.
    for _ in 0..rng.next_u32() % 5 {
        let kind =
            [0x0001, 0x0006, 0x0008, 0x0009, 0x000c, 0x000d, 0x0012, 0x0013, 0x0014, 0x0015, 0x0016, 0x0020, 0x8028]
                [rng.next_u32() as usize % 13];
        let length = [0, 1, 4, 8, 20, 32][rng.next_u32() as usize % 6];
        bytes.extend(u16::to_be_bytes(kind));
        bytes.extend(u16::to_be_bytes(length));
        bytes.extend((0..length.next_multiple_of(4)).map(|_| rng.next_u32() as u8));
    }
    let length = bytes.len().saturating_sub(20) as u16;
    if let Some(field) = bytes.get_mut(2..4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    for _ in 0..rng.next_u32() % 3 {
        let index = rng.next_u32() as usize % bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(index) {
            *byte = rng.next_u32() as u8;
        }
    }
    if rng.next_u32().is_multiple_of(4) {
        bytes.truncate(rng.next_u32() as usize % (bytes.len() + 1));
    }
    bytes
}

#[test]
fn anything_may_come() {
    let mut rng = ChaCha12Rng::seed_from_u64(11);
    let server = at("192.0.2.9:3478");
    let turn = TurnServer { address: server, username: "alice".into(), password: "secret".into() };
    for round in 0..300 {
        let servers = Servers { stun: Some(server), turn: (round % 3 != 0).then(|| turn.clone()) };
        let mut now = Mono::from_nanos(1_000_000_000);
        let mut traversal = Traversal::new(now, at("10.0.0.1:4000"), &servers, u128::from(rng.next_u64()));
        let mut requests: Vec<Vec<u8>> = Vec::new();
        for step in 0..100 {
            let mut sent = 0;
            while let Some(transmit) = traversal.poll_transmit() {
                sent += 1;
                requests.push(transmit.bytes);
            }
            assert!(sent < 100, "one input, a flood of answers");
            requests.drain(..requests.len().saturating_sub(16));
            let bytes = spoiled(&mut rng, &requests);
            let component = if rng.next_u32().is_multiple_of(2) { Component::Rtp } else { Component::Rtcp };
            if let Received::Relayed { start, length, .. } = traversal.handle(now, component, server, &bytes) {
                assert!(bytes.get(start..start + length).is_some());
            }
            traversal.poll_outcome();
            if step % 5 == 0 {
                let due = traversal.poll_timeout().unwrap_or(now).max(now);
                now = due.min(now + Duration::from_secs(30));
                traversal.handle_timeout(now);
            }
            if step == 80 {
                traversal.close(now);
            }
        }
        for _ in 0..200 {
            let Some(due) = traversal.poll_timeout() else { break };
            now = due.max(now);
            traversal.handle_timeout(now);
        }
        assert!(traversal.is_closed(), "it comes to its end whatever it was told");
    }
}

/// The bodies of the fuzz targets, over noise and over what is nearly right.
#[test]
fn any_steps_and_any_datagram_do_no_harm() {
    let mut rng = ChaCha12Rng::seed_from_u64(12);
    for _ in 0..2000 {
        let mut data = vec![0; rng.next_u32() as usize % 600];
        rng.fill_bytes(&mut data);
        ringback_nat::fuzz::operations(&data);
        ringback_nat::fuzz::datagram(&data);
    }
    let mut requests = Vec::new();
    ringback_nat::Probe::new(Mono::ZERO, at("10.0.0.1:5060"), at("192.0.2.9:3478"), 7, |bytes| requests.push(bytes));
    for _ in 0..5000 {
        ringback_nat::fuzz::datagram(&spoiled(&mut rng, &requests));
    }
}
