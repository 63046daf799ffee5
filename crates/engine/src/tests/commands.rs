//! Every command for one session, in every stage that a session can be in.

use super::*;
use crate::api::DtmfMethod;
use ringback_media_api::AudioPort;

const NAMES: [&str; 24] = [
    "accept",
    "reject",
    "defer",
    "progress",
    "forward",
    "redirect",
    "send",
    "hangup",
    "hold",
    "resume",
    "reoffer",
    "dtmf",
    "info",
    "mute",
    "transmit",
    "offer",
    "answer",
    "flow",
    "statistics",
    "monitor",
    "media info",
    "echo",
    "audio",
    "bridge of",
];

fn command(name: &str, token: Token, session: SessionId) -> Command {
    let decide = |decision| Command::Decide { token, session, decision };
    let digits =
        |method| Command::SendDtmf { token, session, digits: "1".into(), method, duration_ms: 100, gap_ms: 100 };
    match name {
        "accept" => decide(accept()),
        "reject" => decide(reject(486, "")),
        "defer" => decide(Decision::Defer),
        "progress" => decide(Decision::Progress { sdp: None }),
        "forward" => decide(super::forward(&["sip:nobody@10.9.9.9"])),
        "redirect" => {
            let targets = vec!["sip:nobody@10.9.9.9".to_owned()];
            decide(Decision::Forward { targets, redirect: true, parallel: false, ring: SECOND })
        }
        "send" => Command::SendPrepared { token, session, sdp: None },
        "hangup" => Command::Hangup { token, session, reason: None },
        "hold" => Command::Hold { token, session },
        "resume" => Command::Resume { token, session },
        "reoffer" => Command::Reoffer { token, session, sdp: None },
        "dtmf" => digits(DtmfMethod::Auto),
        "info" => digits(DtmfMethod::Info),
        "mute" => Command::SetMuted { token, session, muted: true },
        "transmit" => Command::SetTransmitting { token, session, on: false },
        "offer" => Command::GenerateOffer { token, session },
        "answer" => Command::GenerateAnswer { token, session, offer: sdp(4000, 1, "sendrecv") },
        "flow" => Command::EstablishMediaFlow { token, session, remote: address(C) },
        "statistics" => Command::MediaStatistics { token, session },
        "monitor" => Command::MonitorStatistics { token, session, interval: Some(SECOND) },
        "media info" => Command::MediaInfo { token, session },
        "echo" => Command::Echo { token, session, on: true },
        "audio" => Command::OpenAudio { token, session, port: Arc::new(AudioPort::new(8000, 20, 200)) },
        _ => Command::SessionBridge { token, session },
    }
}

/// What came of a command, in one letter: done, waits, Invalid state, Media error, not Found.
fn verdict(result: Option<Result<Reply, Error>>) -> char {
    match result {
        Some(Ok(_)) => 'd',
        None => 'w',
        Some(Err(Error::InvalidState { .. })) => 'I',
        Some(Err(Error::Media(_))) => 'M',
        Some(Err(Error::SessionNotFound(_))) => 'F',
        Some(Err(Error::Ended(_))) => 'E',
        Some(Err(other)) => panic!("{other:?}"),
    }
}

type Stage = fn(&mut Net) -> SessionId;

fn prepared(net: &mut Net) -> SessionId {
    let reply = net.ask(B, |token| match create(token, &uri(A)) {
        Command::CreateCall { token, from, to, sdp, headers, .. } => {
            Command::CreateCall { token, from, to, sdp, headers, send: false, options: CallOptions::default() }
        }
        other => other,
    });
    match reply {
        Some(Ok(Reply::Session(session))) => session.id,
        other => panic!("{other:?}"),
    }
}

/// Columns in the order of `NAMES`.
const TABLE: [(&str, Stage, &str); 10] = [
    ("undecided", |net| ringing(net).1.id, "dddddd I d III II dd I d I ddd II d"),
    (
        "deferred",
        |net| {
            let session = ringing(net).1;
            decide(net, B, &session, Decision::Defer).expect("deferred");
            session.id
        },
        "dddddd I d III II dd I d I ddd II d",
    ),
    (
        "early media",
        |net| {
            let session = ringing(net).1;
            decide(net, B, &session, Decision::Progress { sdp: None }).expect("progress");
            session.id
        },
        "dddddd I d IId II dd I I d ddd dd d",
    ),
    (
        "forwarding",
        |net| {
            let session = ringing(net).1;
            decide(net, B, &session, super::forward(&["sip:nobody@10.9.9.9"])).expect("forwarded");
            session.id
        },
        "IIIIII I d III II dd I I I ddd II d",
    ),
    ("prepared", prepared, "IIIIII d d III II dd d I I ddd II d"),
    ("locating", |net| dial(net, B, "sip:x@slow.example").id, "IIIIII I d III II dd I I I ddd II d"),
    ("calling", |net| dial(net, B, "sip:nobody@10.9.9.9").id, "IIIIII I d III II dd I I I ddd II d"),
    ("active", |net| answered(net).1.id, "IIIIII I d dId wd dd d d d ddd dd d"),
    (
        "on hold",
        |net| {
            let id = answered(net).1.id;
            net.ask(B, |token| Command::Hold { token, session: id }).expect("answered").expect("held");
            id
        },
        "IIIIII I d Idd wd dd d d d ddd dd d",
    ),
    (
        "ended",
        |net| {
            let session = answered(net).1;
            hang_up(net, B, &session);
            session.id
        },
        "IIIIII I d III II II I I I dId II d",
    ),
];

#[test]
fn every_command_in_every_stage() {
    let mut wrong = Vec::new();
    for (stage, reach, row) in TABLE {
        let row: Vec<char> = row.chars().filter(|c| *c != ' ').collect();
        assert_eq!(row.len(), NAMES.len(), "{stage}");
        for (name, expected) in NAMES.into_iter().zip(row) {
            let mut net = pair();
            let session = reach(&mut net);
            let result = net.ask(B, |token| command(name, token, session));
            let shown = format!("{result:?}");
            let got = verdict(result);
            if got != expected {
                wrong.push(format!("{name} when {stage}: {got} instead of {expected}: {shown}"));
            }
            for node in [A, B] {
                net.command(node, |token| Command::Stop { token, drain: Duration::ZERO });
            }
            net.assert_idle();
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_session_that_never_was_is_not_found() {
    for name in NAMES {
        let mut net = pair();
        let session = SessionId::from_u128(0x1234);
        let result = net.ask(B, |token| command(name, token, session));
        assert!(matches!(result, Some(Err(Error::SessionNotFound(id))) if id == session), "{name}: {result:?}");
    }
}

#[test]
fn commands_without_a_token_are_carried_out_and_not_answered() {
    for name in NAMES {
        let mut net = pair();
        let (_, called) = answered(&mut net);
        let now = net.now;
        net.nodes[B].engine.handle_command(now, command(name, Token(0), called.id));
        net.run();
        net.advance(SECOND);
        assert!(!net.nodes[B].events.iter().any(|event| matches!(event, Event::Completed { .. })), "{name}");
        for node in [A, B] {
            net.command(node, |token| Command::Stop { token, drain: Duration::ZERO });
        }
        net.assert_idle();
    }
}
