//! Bodies of fuzz targets: whatever comes to a pair of ports or to SIP's own socket, nothing panics or floods, and all comes to its end.

use std::net::SocketAddr;
use std::time::Duration;

use ringback_time::Mono;

use crate::{Component, Probe, Received, Servers, Traversal, TurnServer, answer, is_stun, transaction};

const SERVER: [u8; 4] = [192, 0, 2, 9];
const START: Mono = Mono::from_nanos(1_000_000_000);
/// Datagrams that one input may cause.
const MOST: usize = 100;

fn address(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([SERVER[0], SERVER[1], SERVER[2], last], port))
}

/// One datagram to SIP's socket: a question, or the answer to one of ours.
pub fn datagram(data: &[u8]) {
    let from = address(1, 5060);
    if let Some(answer) = answer(data, from) {
        assert!(is_stun(data) && answer.len() < 3 * data.len(), "no amplification");
        assert_eq!(transaction(&answer), transaction(data));
    }
    let mut asked = Vec::new();
    let mut probe = Probe::new(START, address(2, 5060), from, 7, |bytes| asked = bytes);
    probe.handle(START, from, data);
    // The same as an answer to the question.
    let mut bytes = data.to_vec();
    if let (Some(own), Some(theirs)) = (asked.get(4..20), bytes.get_mut(4..20)) {
        theirs.copy_from_slice(own);
    }
    probe.handle(START, from, &bytes);
    let mut now = START;
    for _ in 0..MOST {
        if probe.outcome().is_some() {
            return;
        }
        now = probe.poll_timeout().unwrap_or(now).max(now);
        probe.handle_timeout(now, |_| ());
    }
    assert!(probe.outcome().is_some(), "it is asked for ever");
}

/// A reader of what to do.
struct Steps<'d>(&'d [u8]);

impl<'d> Steps<'d> {
    fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or_default()
    }

    fn bytes(&mut self, most: usize) -> &'d [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// `data`: steps of a server, a peer, the leg and time.
pub fn operations(data: &[u8]) {
    let mut steps = Steps(data);
    let kind = steps.byte();
    let server = SocketAddr::from((SERVER, 3478));
    let turn = TurnServer { address: server, username: "alice".into(), password: "secret".into() };
    let servers = Servers { stun: (kind % 3 != 1).then_some(server), turn: (kind % 3 != 0).then_some(turn) };
    let mut now = START;
    let mut traversal = Traversal::new(now, address(1, 4000), &servers, u128::from(kind) << 64);
    let mut requests: Vec<Vec<u8>> = Vec::new();
    let mut room = Vec::new();
    while !steps.0.is_empty() {
        drain(&mut traversal, &mut requests);
        let what = steps.byte();
        let component = if what & 0x80 == 0 { Component::Rtp } else { Component::Rtcp };
        match what % 8 {
            0 => {
                now += Duration::from_millis(u64::from(steps.byte()) * 40);
                traversal.handle_timeout(now);
            }
            1 => {
                now = traversal.poll_timeout().unwrap_or(now).clamp(now, now + Duration::from_secs(600));
                traversal.handle_timeout(now);
            }
            2 => traversal.set_peer(now, Some(address(steps.byte(), 6000)), Some(address(steps.byte(), 6001))),
            3 => {
                let (to, length) = (address(steps.byte(), 6000), usize::from(steps.byte()));
                let packet = steps.bytes(length);
                if let Some((_, wrapped)) = traversal.wrap(now, component, to, packet, &mut room) {
                    assert!(wrapped.len() >= packet.len());
                }
            }
            4 if steps.byte() == 0 => traversal.close(now),
            4 => drop(traversal.poll_outcome()),
            5 => {
                let length = usize::from(steps.byte());
                let (from, bytes) = (address(steps.byte(), 6000), steps.bytes(length));
                receive(&mut traversal, now, component, from, bytes);
            }
            _ => {
                let bytes = response(&mut steps, &requests);
                receive(&mut traversal, now, component, server, &bytes);
            }
        }
    }
    drain(&mut traversal, &mut requests);
    traversal.close(now);
    for _ in 0..2 * MOST {
        let Some(due) = traversal.poll_timeout() else { break };
        now = due.max(now);
        traversal.handle_timeout(now);
        drain(&mut traversal, &mut requests);
    }
    assert!(traversal.is_closed(), "it comes to its end whatever it was told");
}

fn drain(traversal: &mut Traversal, requests: &mut Vec<Vec<u8>>) {
    let mut sent = 0;
    while let Some(transmit) = traversal.poll_transmit() {
        sent += 1;
        requests.push(transmit.bytes);
    }
    assert!(sent < MOST, "one input, a flood of answers");
    requests.drain(..requests.len().saturating_sub(16));
}

fn receive(traversal: &mut Traversal, now: Mono, component: Component, from: SocketAddr, bytes: &[u8]) {
    if let Received::Relayed { start, length, .. } = traversal.handle(now, component, from, bytes) {
        assert!(bytes.get(start..start + length).is_some());
    }
}

/// An answer to one of the requests: its header, turned into a success or an error, and attributes of any content.
fn response(steps: &mut Steps<'_>, requests: &[Vec<u8>]) -> Vec<u8> {
    /// RFC 8489 §18.3, RFC 8656 §18: those that a client looks at.
    const KINDS: [u16; 16] = [
        0x0001, 0x0006, 0x0008, 0x0009, 0x000a, 0x000c, 0x000d, 0x0012, 0x0013, 0x0014, 0x0015, 0x0016, 0x0017, 0x0020,
        0x8022, 0x8028,
    ];
    let (which, class) = (usize::from(steps.byte()), steps.byte());
    let request = requests.get(which % requests.len().max(1)).map(Vec::as_slice).unwrap_or_default();
    let mut bytes = request.get(..20).unwrap_or_default().to_vec();
    // RFC 8489 §5: the two bits of the class.
    if let [first, second, ..] = &mut bytes[..] {
        *first |= class & 1;
        *second |= (class & 2) << 3;
    }
    for _ in 0..class >> 4 & 7 {
        let (kind, length) = (steps.byte(), usize::from(steps.byte() % 64));
        let value = steps.bytes(length);
        bytes.extend(u16::to_be_bytes(KINDS[usize::from(kind) % KINDS.len()]));
        bytes.extend(u16::to_be_bytes(value.len() as u16));
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    let length = bytes.len().saturating_sub(20) as u16;
    if let Some(field) = bytes.get_mut(2..4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    if class & 0x80 != 0 {
        bytes.truncate(bytes.len().saturating_sub(usize::from(steps.byte() % 24)));
    }
    bytes
}
