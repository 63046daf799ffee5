//! Two programs that do anything at any time over a network that loses, delays, doubles and reorders: both ends of each call come to the
//! same end, nothing outlives its timers, and everything that was taken is given back.

use std::collections::BTreeSet;
use std::time::Duration;

use ringback_ua::Live;
use ringback_ua::fuzz::pair::{Conditions, Pair};
use ringback_ua::fuzz::program::Program;

struct World {
    pair: Pair,
    programs: [Program; 2],
}

impl World {
    fn hear(&mut self) {
        for side in [0, 1] {
            while !self.pair.ends[side].events.is_empty() {
                for event in self.pair.take_events(side) {
                    let program = &mut self.programs[side];
                    self.pair.with(side, |ua, now| program.handle(ua, now, event));
                }
            }
        }
    }

    /// Runs so long; both programs hear everything at once.
    fn run(&mut self, length: Duration) {
        let until = self.pair.now.mono + length;
        let mut steps = 0;
        while self.pair.step(until) {
            self.hear();
            steps += 1;
            assert!(steps < 2_000_000, "livelock");
        }
        self.hear();
    }

    fn act(&mut self, side: usize) {
        let program = &mut self.programs[side];
        let count = program.calls.len() as u32;
        if count == 0 {
            return;
        }
        let (which, choice) = (self.pair.random(count), self.pair.random(16) as u8);
        let program = &mut self.programs[side];
        let Some(call) = program.calls.keys().nth(which as usize).copied() else { return };
        self.pair.with(side, |ua, now| program.act(ua, now, call, choice));
        self.hear();
    }

    fn call(&mut self, side: usize, tcp: bool) {
        let late = self.pair.random(4) == 0;
        let transport = if tcp { ";transport=tcp" } else { "" };
        let to = format!("sip:bob@{}{transport}", self.pair.ends[1 - side].address);
        let program = &mut self.programs[side];
        self.pair.with(side, |ua, now| program.call(ua, now, &to, late)).unwrap();
        self.hear();
    }

    fn up(&self, side: usize) -> BTreeSet<String> {
        let calls = self.programs[side].calls.values();
        calls.filter(|known| known.up).map(|known| known.call_id.clone()).collect()
    }

    fn decide(&mut self) {
        for side in [0, 1] {
            let accept = self.pair.random(2) == 0;
            let program = &mut self.programs[side];
            self.pair.with(side, |ua, now| program.decide(ua, now, accept));
        }
        self.hear();
    }
}

fn scenario(seed: u64, conditions: Conditions, calls: u32, tcp: bool) -> (Pair, [Program; 2]) {
    let mut world = World { pair: Pair::asking(seed, conditions), programs: [Program::default(), Program::default()] };
    let mut placed = 0;
    while placed < calls || world.pair.random(200) != 0 {
        if placed < calls && world.pair.random(3) == 0 {
            let side = world.pair.random(2) as usize;
            world.call(side, tcp);
            placed += 1;
        }
        for side in [0, 1] {
            world.act(side);
        }
        let pause = u64::from(world.pair.random(400));
        world.run(Duration::from_millis(pause));
    }
    // Nothing new begins; what waits for a program is decided until nothing waits.
    for _ in 0..40 {
        world.decide();
        world.run(Duration::from_secs(10));
    }
    assert_eq!(world.up(0), world.up(1), "seed {seed}: one end is up where the other is not");
    for (side, program) in world.programs.iter().enumerate() {
        for (call, known) in &program.calls {
            assert!(
                known.up && !known.reinviting && !known.reinvited && !known.unacked,
                "seed {seed}, {side}: {call:?} {known:?}"
            );
        }
        let live = world.pair.ends[side].ua.stats().live;
        assert_eq!((live.calls, live.dialogs), (program.calls.len(), program.calls.len()), "seed {seed}");
        assert_eq!((live.server_transactions, live.client_transactions, live.resolutions), (0, 0, 0), "seed {seed}");
        assert!(program.in_flight.is_empty());
    }
    // Everybody hangs up, here both ends at once, there one.
    let keys: Vec<_> = world.programs[0].calls.keys().copied().collect();
    for call in keys {
        let program = &mut world.programs[0];
        world.pair.with(0, |ua, now| program.act(ua, now, call, 7));
        if world.pair.random(2) == 0 {
            let call_id = world.programs[0].calls.get(&call).map(|known| known.call_id.clone());
            let program = &mut world.programs[1];
            let other = program.calls.iter().find(|(_, known)| Some(&known.call_id) == call_id.as_ref());
            let Some(other) = other.map(|(call, _)| *call) else { continue };
            world.pair.with(1, |ua, now| program.act(ua, now, other, 7));
        }
    }
    let started = world.pair.now.mono;
    while world.pair.next_deadline().is_some() {
        world.run(Duration::from_secs(1));
        let took = world.pair.now.mono.since(started);
        assert!(
            took < Duration::from_secs(64 + 5),
            "seed {seed}: still busy after {took:?}: {:?}",
            world.pair.ends[0].ua.stats()
        );
    }
    for (side, program) in world.programs.iter().enumerate() {
        assert!(program.calls.is_empty(), "seed {seed}: {:?}", program.calls);
        assert_eq!(world.pair.ends[side].ua.stats().live, Live::default(), "seed {seed}");
        assert!(world.pair.ends[side].ua.stats().lingering_bytes < 64 * 1024);
    }
    (world.pair, world.programs)
}

#[test]
fn both_ends_come_to_the_same_end_whatever_the_network_does() {
    let mut ends = std::collections::BTreeMap::new();
    for seed in 0..60 {
        let conditions = Conditions {
            loss: (seed as u32 % 7) * 50,
            duplication: (seed as u32 % 5) * 40,
            delay: Duration::from_millis(2 + seed % 3 * 30),
            jitter: Duration::from_millis([0, 20, 300, 900][seed as usize % 4]),
            losses_in_a_row: 4,
        };
        let (_, programs) = scenario(seed, conditions, 12, false);
        for program in programs {
            for (end, count) in program.ends {
                *ends.entry(end).or_insert(0) += count;
            }
        }
    }
    // Everything that can happen did happen.
    for end in ["bye", "cancelled", "refused", "rejected", "hung up", "failed"] {
        assert!(ends.get(end).is_some_and(|count| *count >= 5), "{ends:?}");
    }
}

#[test]
fn both_ends_come_to_the_same_end_over_tcp() {
    for seed in 100..120 {
        let conditions = Conditions { delay: Duration::from_millis(1 + seed % 50), ..Conditions::PERFECT };
        scenario(seed, conditions, 12, true);
    }
}
