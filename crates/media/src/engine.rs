use std::collections::HashMap;
use std::net::SocketAddr;

use foldhash::fast::FixedState;
use rand_chacha::ChaCha12Rng;
use ringback_media_api::{Command, Event, LegConfig, LegId, Statistics};
use ringback_time::{Mono, Now};

use crate::Out;

/// All legs of one media thread.
pub struct MediaEngine {
    _thread: u8,
    _rng: ChaCha12Rng,
    legs: HashMap<LegId, Box<LegConfig>, FixedState>,
}

impl MediaEngine {
    pub fn new(thread: u8, rng: ChaCha12Rng) -> Self {
        MediaEngine { _thread: thread, _rng: rng, legs: HashMap::default() }
    }

    pub fn handle_command<O: Out + ?Sized>(&mut self, _now: Now, command: Command, out: &mut O) {
        match command {
            Command::Open { leg, config } | Command::Configure { leg, config } => {
                out.accept_from(leg, config.remote_rtp);
                self.legs.insert(leg, config);
            }
            Command::Close { leg } => {
                self.legs.remove(&leg);
                out.event(Event::Closed { leg, statistics: Statistics::default() });
            }
            _ => {}
        }
    }

    /// `packet` may be rewritten in place. `arrival` is the kernel's time of receipt on the clock of `now.mono`.
    pub fn handle_rtp<O: Out + ?Sized>(
        &mut self,
        _now: Now,
        _leg: LegId,
        _arrival: Mono,
        _from: SocketAddr,
        _packet: &mut [u8],
        _out: &mut O,
    ) {
    }

    pub fn handle_rtcp<O: Out + ?Sized>(
        &mut self,
        _now: Now,
        _leg: LegId,
        _from: SocketAddr,
        _packet: &[u8],
        _out: &mut O,
    ) {
    }

    pub fn handle_timeout<O: Out + ?Sized>(&mut self, _now: Now, _out: &mut O) {}

    /// The next time `handle_timeout` has work. `None`: no legs, the thread may park.
    pub fn poll_timeout(&self) -> Option<Mono> {
        None
    }

    pub fn live_legs(&self) -> usize {
        self.legs.len()
    }
}
