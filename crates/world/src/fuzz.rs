//! The body of a fuzz target: sequences of operations on three systems, as bytes tell them. Whatever they do to each other and
//! whatever is sent to them meanwhile, every command is answered once, every session ends once, and nothing is left.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use ringback_engine::api::{
    BridgeId, CallOptions, Command, Config, Decision, DtmfMethod, Event, Interest, Origin, Reply, SessionId,
};
use ringback_media_api::{Token, Tone};
use ringback_netsim::Conditions;

use crate::{Actions, Packet, Stuck, SystemId, World, check_log};

/// Operations of one run at most: a run is to stay short.
const OPERATIONS: usize = 200;
/// Packets that are remembered, to be sent again whole or damaged.
const REMEMBERED: usize = 64;
/// By then nothing of any call may be left: three times 64*T1, and the minute for which ended sessions stay known.
const QUIET: Duration = Duration::from_secs(200);

/// Reads operations off the input; zeros when it is used up.
struct Input<'a> {
    bytes: &'a [u8],
}

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((first, rest)) => {
                self.bytes = rest;
                *first
            }
            None => 0,
        }
    }

    fn below(&mut self, most: usize) -> usize {
        if most == 0 { 0 } else { usize::from(self.byte()) % most }
    }
}

struct Run<'a> {
    input: Input<'a>,
    world: World,
    systems: [SystemId; 3],
    tokens: Vec<(SystemId, Token)>,
    bridges: Vec<(SystemId, BridgeId)>,
    packets: Rc<RefCell<VecDeque<Packet>>>,
}

/// Runs what `data` says and checks the end of it. The error says what does not hold.
pub fn operations(data: &[u8]) -> Result<(), String> {
    let mut world = World::new(u64::from(data.first().copied().unwrap_or(0)), Conditions::LAN);
    let config = || Config { origin: Origin::Ask, interest: Interest::ALL, max_sessions: 32, ..Config::default() };
    let undecided = |_: &Event, _: &mut Actions| {};
    // With one, two and three media threads.
    let systems = [1, 2, 3].map(|threads| world.add_with_threads(config(), (20_000, 20_015), threads, undecided));
    let packets: Rc<RefCell<VecDeque<Packet>>> = Rc::default();
    let remember = Rc::clone(&packets);
    world.set_tap(move |_, packet| {
        let mut packets = remember.borrow_mut();
        if packets.len() == REMEMBERED {
            packets.pop_front();
        }
        packets.push_back(packet.clone());
    });
    let mut run =
        Run { input: Input { bytes: data }, world, systems, tokens: Vec::new(), bridges: Vec::new(), packets };
    for _ in 0..OPERATIONS {
        if run.input.bytes.is_empty() {
            break;
        }
        run.operation().map_err(|stuck| stuck.to_string())?;
    }
    run.finish()
}

impl Run<'_> {
    fn system(&mut self) -> SystemId {
        let [first, second, third] = self.systems;
        match self.input.byte() % 3 {
            0 => first,
            1 => second,
            _ => third,
        }
    }

    /// A session of the system that lives, or one that never did.
    fn session(&mut self, system: SystemId) -> SessionId {
        let mut active = self.world.directory(system).active();
        active.sort_unstable();
        let index = self.input.below(active.len());
        active.get(index).copied().unwrap_or(SessionId::from_u128(7))
    }

    fn command(&mut self, system: SystemId, make: impl FnOnce(Token) -> Command) -> Result<(), Stuck> {
        let token = self.world.command(system, make)?;
        self.tokens.push((system, token));
        Ok(())
    }

    fn operation(&mut self) -> Result<(), Stuck> {
        match self.input.byte() % 28 {
            0..=2 => self.place(),
            3..=6 => self.decide(),
            7..=9 => {
                let time = u32::from(self.input.byte());
                self.world.run_for(Duration::from_millis(1) * time * time)
            }
            10 => self.on_session(|token, session| Command::Hangup { token, session, reason: None }),
            11 => self.on_session(|token, session| Command::Hold { token, session }),
            12 => self.on_session(|token, session| Command::Resume { token, session }),
            13 => self.on_session(|token, session| Command::Reoffer { token, session, sdp: None }),
            14 => self.media(),
            15 => {
                let system = self.system();
                let (first, second) = (self.session(system), self.session(system));
                self.command(system, |token| Command::Bridge { token, first, second })
            }
            16 => {
                let conditions = match self.input.byte() % 4 {
                    0 => Conditions::LAN,
                    1 => Conditions::LAN.with_loss(0.5),
                    2 => Conditions::LAN.with_duplication(0.5).with_reordering(0.5, Duration::from_millis(700)),
                    _ => Conditions::CUT,
                };
                self.world.network_mut().set_conditions(conditions);
                Ok(())
            }
            17 => {
                let system = self.system();
                self.world.break_streams(system)
            }
            18..=20 => {
                self.damage();
                Ok(())
            }
            21 => {
                let system = self.system();
                let session = self.session(system);
                let digits = ["1", "0123456789*#ABCD", "1,2", ",,,", "x", ""];
                let digits = digits.get(self.input.below(digits.len())).copied().unwrap_or_default().to_owned();
                let method = [DtmfMethod::Auto, DtmfMethod::RtpEvent, DtmfMethod::Info];
                let method = method.get(self.input.below(3)).copied().unwrap_or(DtmfMethod::Auto);
                let duration_ms = u32::from(self.input.byte()) * 2;
                self.command(system, |token| Command::SendDtmf {
                    token,
                    session,
                    digits,
                    method,
                    duration_ms,
                    gap_ms: duration_ms,
                })
            }
            24..=27 => self.conference(),
            22 => self.on_session(|token, session| Command::GenerateOffer { token, session }),
            _ => self.on_session(|token, session| Command::MediaStatistics { token, session }),
        }
    }

    fn on_session(&mut self, make: impl FnOnce(Token, SessionId) -> Command) -> Result<(), Stuck> {
        let system = self.system();
        let session = self.session(system);
        self.command(system, |token| make(token, session))
    }

    fn place(&mut self) -> Result<(), Stuck> {
        let (from, to) = (self.system(), self.system());
        let mut uri = self.world.uri(to, "bob");
        match self.input.byte() % 8 {
            0 => uri.push_str(";transport=tcp"),
            1 => uri = "sip:nobody@nowhere.example".into(),
            2 => uri = "sip:nobody@192.0.2.1".into(),
            _ => {}
        }
        let send = !self.input.byte().is_multiple_of(8);
        let sdp = self.external();
        let own = self.world.uri(from, "alice");
        self.command(from, |token| Command::CreateCall {
            token,
            from: own,
            to: uri,
            sdp,
            headers: Vec::new(),
            send,
            options: CallOptions::default(),
        })
    }

    /// A description of the program's own, now and then.
    fn external(&mut self) -> Option<String> {
        match self.input.byte() % 10 {
            0 => Some(
                "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
                    .into(),
            ),
            1 => Some(
                "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=video 4000 RTP/AVP 31\r\n"
                    .into(),
            ),
            2 => Some("no description".into()),
            _ => None,
        }
    }

    fn decide(&mut self) -> Result<(), Stuck> {
        let decision = match self.input.byte() % 8 {
            0..=2 => Decision::Accept { sdp: self.external(), headers: Vec::new() },
            3 => Decision::Reject {
                status: 400 + u16::from(self.input.byte()),
                reason: "No".into(),
                headers: Vec::new(),
            },
            4 => Decision::Defer,
            5 => Decision::Progress { sdp: self.external() },
            choice => {
                let target = self.system();
                let targets = vec![self.world.uri(target, "carol")];
                let ring = Duration::from_secs(u64::from(self.input.byte() % 32));
                Decision::Forward { targets, redirect: choice == 6, parallel: false, ring }
            }
        };
        self.on_session(|token, session| Command::Decide { token, session, decision })
    }

    /// Conferences are begun, joined, left and ended.
    fn conference(&mut self) -> Result<(), Stuck> {
        let system = self.system();
        let number = self.input.below(self.bridges.len());
        let Some(&(system, bridge)) = self.bridges.get(number).filter(|_| !self.input.byte().is_multiple_of(8)) else {
            let token =
                self.world.command(system, |token| Command::CreateBridge { token, name: None, max_sessions: None })?;
            self.tokens.push((system, token));
            if let Some(Ok(Reply::Bridge(bridge))) = self.world.outcome(token) {
                self.bridges.push((system, *bridge));
            }
            return Ok(());
        };
        let session = self.session(system);
        match self.input.byte() % 8 {
            0 => self.command(system, |token| Command::DestroyBridge { token, bridge }),
            1 | 2 => self.command(system, |token| Command::RemoveFromBridge { token, bridge, session }),
            _ => self.command(system, |token| Command::AddToBridge { token, bridge, session }),
        }
    }

    fn media(&mut self) -> Result<(), Stuck> {
        let on = self.input.byte().is_multiple_of(2);
        let choice = self.input.byte() % 6;
        let remote = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 20_000);
        self.on_session(|token, session| match choice {
            0 => Command::Echo { token, session, on },
            1 => Command::SetMuted { token, session, muted: on },
            2 => Command::SetTransmitting { token, session, on },
            3 => {
                let duration = on.then_some(Duration::from_millis(300));
                let tone = Tone { frequencies: vec![440.0, 480.0], level_dbm0: -10.0, duration };
                Command::PlayTone { token, session, tone }
            }
            4 => Command::StopPlaying { token, session },
            _ => Command::EstablishMediaFlow { token, session, remote },
        })
    }

    /// Sends a packet of before again, as it was or damaged, from where it came or from elsewhere.
    fn damage(&mut self) {
        let index = self.input.below(REMEMBERED);
        let Some(packet) = self.packets.borrow().get(index).cloned() else { return };
        let mut bytes = packet.bytes.to_vec();
        for _ in 0..self.input.below(4) {
            let at = (usize::from(self.input.byte()) << 8 | usize::from(self.input.byte())) % bytes.len().max(1);
            let with = self.input.byte();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = with;
            }
        }
        if self.input.byte().is_multiple_of(4) {
            bytes.truncate(bytes.len() / 2);
        }
        let from = if self.input.byte().is_multiple_of(3) {
            SocketAddr::new([203, 0, 113, 9].into(), 5060)
        } else {
            packet.from
        };
        self.world.send_raw(from, packet.to, bytes);
    }

    fn finish(mut self) -> Result<(), String> {
        let stuck = |stuck: Stuck| stuck.to_string();
        self.world.network_mut().set_conditions(Conditions::LAN);
        self.world.run_for(Duration::from_secs(1)).map_err(stuck)?;
        for system in self.systems {
            for session in self.world.directory(system).active() {
                self.command(system, |token| Command::Hangup { token, session, reason: None }).map_err(stuck)?;
            }
        }
        self.world.run_for(QUIET).map_err(stuck)?;
        // What was under way at the hanging up may have begun a call since.
        for system in self.systems {
            for session in self.world.directory(system).active() {
                self.command(system, |token| Command::Hangup { token, session, reason: None }).map_err(stuck)?;
            }
        }
        self.world.run_until_idle(QUIET).map_err(stuck)?;
        for system in self.systems {
            let live = self.world.live(system);
            if !live.is_nothing() {
                return Err(format!("{system:?} still has {live:?}"));
            }
            let panics = self.world.engine(system).counters().panics;
            if panics != 0 {
                return Err(format!("{panics} panics were caught in {system:?}"));
            }
            check_log(self.world.log(system)).map_err(|what| format!("{system:?}: {what}"))?;
        }
        match self.tokens.iter().find(|(_, token)| self.world.outcome(*token).is_none()) {
            Some((system, token)) => Err(format!("{system:?}: {token:?} was never answered")),
            None => Ok(()),
        }
    }
}
