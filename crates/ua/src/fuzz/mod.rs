//! What fuzz targets and tests drive: not part of the interface.

pub mod pair;
pub mod program;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use crate::api::{ConnectionId, Live, ResolveId, Transport};
use pair::{Conditions, Pair};
use program::Program;

/// Numbers out of the input; zeros when it is used up.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((byte, rest)) => {
                self.0 = rest;
                *byte
            }
            None => 0,
        }
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at_checked(most).unwrap_or((self.0, &[]));
        self.0 = rest;
        taken.to_vec()
    }
}

/// More operations than this of one input are not done: a fuzzer's inputs are to stay fast.
const MAX_OPERATIONS: usize = 400;

struct Run<'a> {
    input: Input<'a>,
    pair: Pair,
    programs: [Program; 2],
}

impl Run<'_> {
    fn hear(&mut self) {
        // Programs act on events, which makes events: both fall silent before long.
        for _ in 0..10_000 {
            if self.pair.ends.iter().all(|end| end.events.is_empty()) {
                return;
            }
            for side in [0, 1] {
                for event in self.pair.take_events(side) {
                    let Some(program) = self.programs.get_mut(side) else { continue };
                    self.pair.with(side, |ua, now| program.handle(ua, now, event));
                }
            }
        }
        assert!(self.pair.ends.iter().all(|end| end.events.is_empty()), "events without end");
    }

    fn wait(&mut self, length: Duration) {
        let until = self.pair.now.mono + length;
        let mut steps = 0;
        while self.pair.step(until) {
            self.hear();
            steps += 1;
            assert!(steps < 1_000_000, "livelock");
        }
        self.hear();
    }

    /// A message that one end sent before, with some bytes changed, put before an end.
    fn replay(&mut self, to: usize) {
        let (from, back) = (usize::from(self.input.byte() % 2), usize::from(self.input.byte() % 16));
        let recent = self.pair.ends.get(from).and_then(|end| end.sent.iter().rev().nth(back));
        let Some(mut bytes) = recent.map(|(_, transmit)| transmit.bytes.to_vec()) else { return };
        for _ in 0..self.input.byte() % 4 {
            let place = usize::from(self.input.byte()) << 8 | usize::from(self.input.byte());
            let (byte, len) = (self.input.byte(), bytes.len().max(1));
            match byte % 3 {
                0 => {
                    if let Some(at) = bytes.get_mut(place % len) {
                        *at = self.input.byte();
                    }
                }
                1 => {
                    bytes.truncate(place % len);
                }
                _ => {
                    let piece = self.input.bytes(usize::from(byte % 8));
                    let at = place % len;
                    let at = at.min(bytes.len());
                    bytes.splice(at..at, piece);
                }
            }
        }
        self.inject(to, bytes);
    }

    fn inject(&mut self, to: usize, bytes: Vec<u8>) {
        let stranger = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)), 5060);
        let remote = match self.input.byte() % 4 {
            0 => stranger,
            _ => self.pair.ends.get(1 - to).map_or(stranger, |end| end.address),
        };
        self.pair.inject(to, remote, Bytes::from(bytes));
        self.hear();
    }

    fn operation(&mut self) {
        let code = self.input.byte();
        let side = usize::from(code >> 7);
        match code % 16 {
            0 | 1 => {
                let kind = self.input.byte();
                let Some(to) = self.pair.ends.get(1 - side).map(|end| end.address) else { return };
                let to = match kind % 8 {
                    0 => format!("sip:bob@{to};transport=tcp"),
                    1 => "sip:bob@pbx.test".to_owned(),
                    2 => "sip:bob@192.0.2.77:5090".to_owned(),
                    _ => format!("sip:bob@{to}"),
                };
                // Requests outside of calls, one time in four; some are forgotten at once.
                let choice = if kind & 0x60 == 0x60 { Some(self.input.byte()) } else { None };
                let Some(program) = self.programs.get_mut(side) else { return };
                if let Some(choice) = choice {
                    let key = self.pair.with(side, |ua, now| program.send(ua, now, &to, choice));
                    if let Some(key) = key
                        && choice & 0xe0 == 0xe0
                    {
                        program.standalone.retain(|known| *known != key);
                        self.pair.with(side, |ua, now| ua.forget(now, key));
                        self.pair.ends[side].events.retain(
                            |event| !matches!(event, crate::api::Event::Standalone { key: of, .. } if *of == key),
                        );
                    }
                } else if program.calls.len() < 20 {
                    self.pair.with(side, |ua, now| program.call(ua, now, &to, kind & 16 != 0));
                }
            }
            2..=7 => {
                let (which, choice) = (usize::from(self.input.byte()), self.input.byte());
                let Some(program) = self.programs.get_mut(side) else { return };
                let which = which.checked_rem(program.calls.len()).unwrap_or(0);
                if let Some(call) = program.calls.keys().nth(which).copied() {
                    self.pair.with(side, |ua, now| program.act(ua, now, call, choice));
                }
            }
            8 | 9 => {
                let length = u64::from(self.input.byte());
                self.wait(Duration::from_millis(length * length));
            }
            10 | 11 => self.replay(side),
            12 => {
                let most = usize::from(self.input.byte());
                let bytes = self.input.bytes(most);
                self.inject(side, bytes);
            }
            13 => {
                let (loss, jitter) = (self.input.byte(), self.input.byte());
                self.pair.conditions.loss = u32::from(loss) * 4;
                self.pair.conditions.duplication = u32::from(loss) * 2;
                self.pair.conditions.jitter = Duration::from_millis(u64::from(jitter) * 4);
            }
            14 => {
                let number = u64::from(self.input.byte());
                let Some(other) = self.pair.ends.get(1 - side).map(|end| end.address) else { return };
                self.pair.with(side, |ua, now| match number % 5 {
                    0 => ua.handle_send_failed(now, Transport::Udp, other, "refused"),
                    1 => ua.handle_connect_failed(now, Transport::Tcp, other, None, "refused"),
                    2 => ua.handle_closed(now, ConnectionId(number)),
                    3 => ua.handle_connected(now, Transport::Tcp, other, None, ConnectionId(number)),
                    _ => ua.handle_resolved(now, ResolveId::from_u64(number << 32 | number), Ok(vec![other])),
                });
            }
            _ => self.pair.close_streams(),
        }
        self.hear();
    }
}

/// Two user agents, a program above each, and an input that says what they and the network do, forged and damaged messages included. Asserts
/// what holds whatever happens: the order of events, and that everything ends and is given back.
pub fn operations(input: &[u8]) {
    let mut pair = Pair::asking(u64::from(input.len() as u32), Conditions::PERFECT);
    pair.record = true;
    pair.conditions.losses_in_a_row = u8::MAX;
    if let Some(end) = pair.ends.get(1) {
        let address = end.address;
        pair.names.insert("pbx.test".into(), vec![SocketAddr::from(([192, 0, 2, 78], 5060)), address]);
    }
    let mut run = Run { input: Input(input), pair, programs: [Program::default(), Program::default()] };
    for _ in 0..MAX_OPERATIONS {
        if run.input.0.is_empty() {
            break;
        }
        run.operation();
        for end in &mut run.pair.ends {
            let excess = end.sent.len().saturating_sub(32);
            end.sent.drain(..excess);
        }
    }
    // Everybody leaves; the rest is timers.
    for side in [0, 1] {
        let Some(program) = run.programs.get_mut(side) else { continue };
        let calls: Vec<_> = program.calls.keys().copied().collect();
        for call in calls {
            run.pair.with(side, |ua, now| program.act(ua, now, call, 7));
        }
        run.hear();
    }
    let start = run.pair.now.mono;
    while run.pair.next_deadline().is_some() {
        run.wait(Duration::from_secs(1));
        // What the leaving of one end begins at the other: an ACK that never comes, a BYE for it, its row.
        let took = run.pair.now.mono.since(start);
        assert!(took < Duration::from_secs(64 * 4), "still busy after {took:?}");
        // A call that arrives now has nobody to answer it.
        for side in [0, 1] {
            let Some(program) = run.programs.get_mut(side) else { continue };
            let calls: Vec<_> = program.calls.iter().filter(|(_, known)| !known.over).map(|(call, _)| *call).collect();
            for call in calls {
                run.pair.with(side, |ua, now| program.act(ua, now, call, 7));
            }
        }
        run.hear();
    }
    for (end, program) in run.pair.ends.iter().zip(&run.programs) {
        assert!(program.calls.is_empty(), "calls without an end: {:?}", program.calls);
        assert!(program.standalone.is_empty(), "requests without an outcome: {:?}", program.standalone);
        let live = end.ua.stats().live;
        assert!(live == Live::default(), "left behind: {live:?}");
    }
}
