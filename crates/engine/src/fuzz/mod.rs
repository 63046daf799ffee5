//! Random sequences of operations over three joined systems, and what must hold after each: the body of a fuzz target and of a
//! seeded test.
#![allow(clippy::panic, clippy::indexing_slicing, reason = "what does not hold ends the run")]

pub mod net;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringback_media_api::{AudioPort, Event as MediaEvent, Sound, Tape, Tone};

use crate::api::{
    BridgeId, BridgeRole, CallOptions, Command, Config, Decision, DtmfMethod, Event, Interest, Origin, SessionId,
    TransferTarget,
};
use net::{Net, address};

/// A description of media elsewhere, offer and answer alike.
const EXTERNAL: &str =
    "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

/// Where nobody answers.
const NOBODY: &str = "sip:nobody@10.9.9.9";

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn next(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn below(&mut self, most: usize) -> usize {
        usize::from(self.next()) % most.max(1)
    }

    fn yes(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

/// Runs the operations that `data` spells, ends everything, and checks that nothing is left: each command completed exactly once,
/// each session final with one `Ended` as its last event, no port, leg, bridge, timer or transaction kept.
pub fn operations(data: &[u8]) {
    let mut input = Input(data);
    let mut net = Net::default();
    for _ in 0..3 {
        let origin = if input.next() % 4 == 3 { Origin::Accept } else { Origin::Ask };
        let config = Config {
            origin,
            interest: Interest::ALL,
            max_sessions: 3 + input.below(8),
            session_timeout: input.yes().then_some(Duration::from_secs(200)),
            answer_timeout: input.yes().then_some(Duration::from_secs(30)),
            ..Config::default()
        };
        let node = net.add(config);
        net.nodes[node].ports().most = 3 + input.below(8);
        net.nodes[node].ports().more_threads = input.below(3) as u8;
    }
    let mut bridges: Vec<BridgeId> = Vec::new();
    let mut stopped = [false; 3];
    while !input.0.is_empty() {
        operation(&mut input, &mut net, &mut bridges, &mut stopped);
        check(&net);
    }
    for node in 0..3 {
        net.command(node, |token| Command::Stop { token, drain: Duration::ZERO });
        assert_eq!(net.nodes[node].engine.directory().active(), [], "a stop leaves no session");
    }
    net.deaf.clear();
    net.assert_idle();
    check(&net);
    for node in &net.nodes {
        assert_eq!(node.engine.counters().panics, 0);
        for event in &node.events {
            if let Event::Incoming(call) = event {
                assert!(call.session.state().is_final());
            }
        }
    }
}

/// A session that the node has; now and then one that it had, or never had.
fn session(input: &mut Input<'_>, net: &Net, node: usize) -> SessionId {
    let mut known: Vec<SessionId> = net.nodes[node].engine.directory().active();
    known.sort();
    match (input.below(12), known.is_empty()) {
        (0, _) => SessionId::from_u128(u128::from(input.next())),
        (1, _) | (_, true) => net.nodes[node].incoming().map_or(SessionId::from_u128(7), |session| session.id),
        _ => known[input.below(known.len())],
    }
}

fn target(input: &mut Input<'_>) -> String {
    match input.below(16) {
        14 => NOBODY.into(),
        15 => "sip:x@host.example".into(),
        node => format!("sip:x{}@{}", input.below(3), address(node % 3)),
    }
}

fn decision(input: &mut Input<'_>) -> Decision {
    let headers = vec![("X-Note".to_owned(), "1".to_owned())];
    match input.below(12) {
        0..=4 => Decision::Accept { sdp: None, headers },
        5 => Decision::Reject { status: 480 + u16::from(input.next() % 20), reason: "No".into(), headers },
        6 => Decision::Defer,
        7 => Decision::Progress { sdp: None },
        8 => Decision::Accept { sdp: Some(EXTERNAL.into()), headers },
        9 => Decision::Accept { sdp: Some("v=0\r\n".into()), headers },
        _ => {
            let targets = (0..1 + input.below(3)).map(|_| target(input)).collect();
            let ring = Duration::from_secs(1 + u64::from(input.next() % 40));
            Decision::Forward { targets, redirect: input.next().is_multiple_of(8), parallel: input.yes(), ring }
        }
    }
}

fn operation(input: &mut Input<'_>, net: &mut Net, bridges: &mut Vec<BridgeId>, stopped: &mut [bool; 3]) {
    let node = input.below(3);
    let op = input.below(34);
    let id = session(input, net, node);
    match op {
        0..=4 => {
            let to = target(input);
            let send = !input.next().is_multiple_of(8);
            net.command(node, |token| Command::CreateCall {
                token,
                from: "sip:caller@example.com".into(),
                to,
                sdp: None,
                headers: Vec::new(),
                send,
                options: CallOptions::default(),
            });
        }
        5..=10 => {
            let decision = decision(input);
            // Mostly the latest call, which is most likely to be open.
            let latest = net.nodes[node].incoming().map_or(id, |session| session.id);
            let session = if input.below(4) == 0 { id } else { latest };
            net.command(node, |token| Command::Decide { token, session, decision });
        }
        11 => drop(net.command(node, |token| Command::SendPrepared { token, session: id, sdp: None })),
        12 | 13 => {
            let reason = input.yes().then(|| "because \"so\"".to_owned());
            net.command(node, |token| Command::Hangup { token, session: id, reason });
        }
        14 => drop(net.command(node, |token| Command::Hold { token, session: id })),
        15 => drop(net.command(node, |token| Command::Resume { token, session: id })),
        16 => {
            let sdp = (input.below(6) == 0).then(|| EXTERNAL.to_owned());
            net.command(node, |token| Command::Reoffer { token, session: id, sdp });
        }
        17 => {
            let method = [DtmfMethod::Auto, DtmfMethod::Info, DtmfMethod::RtpEvent][input.below(3)];
            net.command(node, |token| Command::SendDtmf {
                token,
                session: id,
                digits: "1,#".into(),
                method,
                duration_ms: 100,
                gap_ms: 50,
            });
        }
        18 => {
            let tone = Tone {
                frequencies: vec![440.0],
                level_dbm0: -10.0,
                duration: input.yes().then_some(Duration::from_secs(3)),
            };
            net.command(node, |token| Command::PlayTone { token, session: id, tone });
        }
        19 => {
            let other = session(input, net, node);
            let reply = net.ask(node, |token| Command::Bridge { token, first: id, second: other });
            if let Some(Ok(crate::api::Reply::Bridge(bridge))) = reply {
                bridges.push(bridge);
            }
        }
        20 => {
            let bridge = bridges.get(input.below(bridges.len() + 1)).copied().unwrap_or(BridgeId::from_u128(1));
            net.command(node, |token| Command::DestroyBridge { token, bridge });
        }
        21 => media_question(input, net, node, id),
        22 => {
            let remote = SocketAddr::from(([10, 1, 1, input.next()], 4000));
            net.command(node, |token| Command::EstablishMediaFlow { token, session: id, remote });
        }
        23 => {
            let leg = net.nodes[node].legs.open.keys().min().copied();
            if let Some(leg) = leg {
                let event = match input.below(4) {
                    0 => MediaEvent::Failed { leg, cause: "a fault" },
                    1 => MediaEvent::Silent { leg, silent_for: Duration::from_secs(30) },
                    2 => MediaEvent::KeyDown { leg },
                    _ => MediaEvent::Dtmf { leg, digit: '5', duration_ms: 100 },
                };
                net.media_event(node, event);
            }
        }
        24 if input.below(3) == 0 || !net.deaf.is_empty() => {
            // A node goes deaf, or hears again.
            match net.deaf.iter().position(|deaf| *deaf == node) {
                Some(index) => drop(net.deaf.remove(index)),
                None => net.deaf.push(node),
            }
        }
        25 => resolve(input, net, node),
        26 if input.next().is_multiple_of(16) && !stopped[node] => {
            stopped[node] = true;
            let drain = Duration::from_secs(u64::from(input.next() % 20));
            net.command(node, |token| Command::Stop { token, drain });
        }
        27 => net.nodes[node].engine.handle_backlog(net.now, input.yes().then_some(Duration::from_secs(3))),
        29 if input.yes() => {
            let to = target(input);
            let timeout = input.yes().then(|| Duration::from_millis(u64::from(input.next()) * 20));
            let asked = net.command(node, |token| Command::SendOptions { token, from: None, to, timeout });
            if input.below(3) == 0 {
                net.command(node, |token| Command::GiveUp { token, request: asked });
            }
        }
        30 if input.yes() => {
            let to = target(input);
            let body = "x".repeat(input.below(3) * 900);
            let (from, content_type) = ("sip:caller@example.com".to_owned(), "text/plain".to_owned());
            net.command(node, |token| Command::SendMessage { token, from, to, content_type, body });
        }
        31 if input.yes() => transfer(input, net, node, id),
        31 => subscription(input, net, node),
        32 | 33 => conference(input, net, node, id, bridges),
        28 if input.yes() => net.advance(Duration::from_secs(u64::from(input.next()))),
        _ => net.advance(Duration::from_millis(u64::from(input.next()) * 10)),
    }
}

/// Transfers of either kind, and decisions about those that peers want.
fn transfer(input: &mut Input<'_>, net: &mut Net, node: usize, id: SessionId) {
    match input.below(3) {
        0 => {
            let target = TransferTarget::Uri(target(input));
            net.command(node, |token| Command::Transfer { token, session: id, target });
        }
        1 => {
            let target = TransferTarget::Session(session(input, net, node));
            net.command(node, |token| Command::Transfer { token, session: id, target });
        }
        _ => {
            let wanted = net.nodes[node].events.iter().rev().find_map(|event| match event {
                Event::TransferRequest { session, .. } => Some(session.id),
                _ => None,
            });
            let accept = input.below(4) != 0;
            net.command(node, |token| Command::DecideTransfer { token, session: wanted.unwrap_or(id), accept });
        }
    }
}

fn conference(input: &mut Input<'_>, net: &mut Net, node: usize, session_id: SessionId, bridges: &mut Vec<BridgeId>) {
    let bridge = bridges.get(input.below(bridges.len() + 1)).copied().unwrap_or(BridgeId::from_u128(1));
    let other = session(input, net, node);
    let (kind, yes, small) = (input.below(12), input.yes(), input.below(4));
    if kind == 0 {
        let max_sessions = yes.then_some(small);
        let reply = net.ask(node, |token| Command::CreateBridge { token, name: Some("fuzz".into()), max_sessions });
        if let Some(Ok(crate::api::Reply::Bridge(bridge))) = reply {
            bridges.push(bridge);
        }
        return;
    }
    if kind == 1 {
        let talking = net.nodes[node].legs.rooms.keys().min().copied();
        if let Some(leg) = talking {
            net.media_event(node, MediaEvent::Talking { leg, talking: yes });
        }
        return;
    }
    net.command(node, |token| match kind {
        2 => Command::RemoveFromBridge { token, bridge, session: session_id },
        3 => Command::LockBridge { token, bridge, locked: small == 0 },
        4 => Command::SetBridgeGain { token, bridge, session: session_id, gain_db: small as f32 * 30.0 - 60.0 },
        5 => Command::WatchBridge { token, bridge },
        6 => Command::UnwatchBridge { token, bridge },
        7 => Command::PlayToBridge { token, bridge, sound: Arc::new(Sound::of(8000, &[1; 80])) },
        8 | 9 => {
            let role = [BridgeRole::Member, BridgeRole::Listener, BridgeRole::Whisper, BridgeRole::Whisper][small];
            Command::SetBridgeRole { token, bridge, session: session_id, role, beside: yes.then_some(other) }
        }
        10 if yes => Command::RecordBridge { token, bridge, tape: Arc::new(Tape::new(false, || {})) },
        _ => Command::AddToBridge { token, bridge, session: session_id },
    });
}

/// Subscriptions, decisions about those of peers, and what they are told.
fn subscription(input: &mut Input<'_>, net: &mut Net, node: usize) {
    match input.below(6) {
        0 | 1 => {
            let (from, to) = ("sip:caller@example.com".to_owned(), target(input));
            let event = ["dialog", "message-summary", "presence"][input.below(3)].to_owned();
            let expires = Duration::from_secs(1 + u64::from(input.next()));
            net.command(node, |token| Command::Subscribe { token, from, to, event, expires });
        }
        2 => {
            let subscription = u64::from(input.next() % 8);
            net.command(node, |token| Command::Unsubscribe { token, subscription });
        }
        3 => {
            let (aor, new) = (target(input), u32::from(input.next()));
            net.command(node, |token| Command::PublishSummary { token, aor, new, old: 0 });
        }
        _ => {
            let request = net.nodes[node].events.iter().rev().find_map(|event| match event {
                Event::SubscribeRequest { request, .. } => Some(*request),
                _ => None,
            });
            let accept = input.below(4) != 0;
            let request = request.unwrap_or_default();
            net.command(node, |token| Command::DecideSubscribe { token, request, accept });
        }
    }
}

fn media_question(input: &mut Input<'_>, net: &mut Net, node: usize, session: SessionId) {
    let kind = input.below(11);
    net.command(node, |token| match kind {
        0 => Command::MediaStatistics { token, session },
        1 => Command::MediaInfo { token, session },
        2 => Command::GenerateOffer { token, session },
        3 => Command::GenerateAnswer { token, session, offer: EXTERNAL.into() },
        4 => Command::SetMuted { token, session, muted: true },
        5 => Command::SetTransmitting { token, session, on: false },
        6 => Command::Echo { token, session, on: true },
        7 => Command::OpenAudio { token, session, port: Arc::new(AudioPort::new(16_000, 20, 200)) },
        8 => Command::CloseAudio { token, session, port: Arc::new(AudioPort::new(16_000, 20, 200)) },
        9 => Command::StopPlaying { token, session },
        _ => Command::SessionBridge { token, session },
    });
}

fn resolve(input: &mut Input<'_>, net: &mut Net, node: usize) {
    let Some((id, _, port)) = net.nodes[node].resolves.pop() else { return };
    let to = address(input.below(3));
    let result = if input.yes() { Ok(vec![SocketAddr::new(to.ip(), port)]) } else { Err("no such host".to_owned()) };
    let now = net.now;
    net.nodes[node].engine.handle_resolved(now, id, result);
    net.run();
}

/// What holds at any time.
fn check(net: &Net) {
    for node in &net.nodes {
        let directory = node.engine.directory();
        let active = directory.active();
        assert!(active.len() <= 10, "more sessions than allowed");
        for id in &active {
            let session = directory.get(*id);
            assert!(
                session.is_some_and(|session| !session.state().is_final() && session.end().is_none()),
                "listed and final"
            );
        }
        let mut ended: HashMap<SessionId, u32> = HashMap::new();
        for event in &node.events {
            let (session, ends) = match event {
                Event::Ended { session } => (session, true),
                Event::Incoming(call) => (&call.session, false),
                Event::Progress { session, .. }
                | Event::Established { session, .. }
                | Event::StateChanged { session, .. }
                | Event::IncomingOver { session }
                | Event::Dtmf { session, .. }
                | Event::MediaQuality { session, .. }
                | Event::TransferRequest { session, .. }
                | Event::VoiceActivity { session, .. }
                | Event::MediaTimeout { session, .. } => (session, false),
                Event::Completed { .. }
                | Event::SubscribeRequest { .. }
                | Event::Notification { .. }
                | Event::SubscriptionOver { .. }
                | Event::Message(_)
                | Event::Password { .. }
                | Event::Store(_)
                | Event::Bridge { .. }
                | Event::Registration { .. } => continue,
            };
            assert!(!ended.contains_key(&session.id), "an event after the end of {}", session.id);
            if ends {
                assert!(session.state().is_final() && session.end().is_some());
                ended.insert(session.id, 1);
            }
        }
        assert_eq!(
            ended.len() as u64,
            directory.stats().total_sessions - active.len() as u64,
            "an end without its event"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha12Rng;
    use rand_core::{RngCore, SeedableRng};

    #[test]
    fn random_operations_leave_nothing_behind() {
        for seed in 0..400 {
            let mut rng = ChaCha12Rng::seed_from_u64(seed);
            let mut data = vec![0; 100 + (seed as usize % 8) * 100];
            rng.fill_bytes(&mut data);
            let run = std::panic::catch_unwind(|| operations(&data));
            assert!(run.is_ok(), "seed {seed}");
        }
    }
}
