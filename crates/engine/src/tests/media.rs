use super::*;
use ringback_media_api::{AudioPort, Command as MediaCommand, Event as MediaEvent, Sound, Statistics, Tone};

pub(super) fn tone(duration: Option<Duration>) -> Tone {
    Tone { frequencies: vec![440.0], level_dbm0: -10.0, duration }
}

#[test]
fn switches_set_before_the_answer_hold_after_it() {
    let mut net = pair();
    let (_, called) = ringing(&mut net);
    let id = called.id;
    net.ask(B, |token| Command::SetMuted { token, session: id, muted: true }).expect("at once").expect("done");
    net.ask(B, |token| Command::SetTransmitting { token, session: id, on: false }).expect("at once").expect("done");
    let interval = Some(5 * SECOND);
    net.ask(B, |token| Command::MonitorStatistics { token, session: id, interval }).expect("at once").expect("done");
    decide(&mut net, B, &called, accept()).expect("accepted");
    let log = &net.nodes[B].legs.log;
    assert!(matches!(log[0], MediaCommand::Open { .. }));
    for expected in ["Mute", "Transmit", "Monitor", "WatchSilence"] {
        assert!(log.iter().any(|command| format!("{command:?}").starts_with(expected)), "{expected}: {log:?}");
    }
}

#[test]
fn before_the_answer_there_is_no_media() {
    let mut net = pair();
    let (_, called) = ringing(&mut net);
    let session = called.id;
    let port = || Arc::new(AudioPort::new(16_000, 20, 200));
    for result in [
        net.ask(B, |token| Command::Echo { token, session, on: true }),
        net.ask(B, |token| Command::PlayTone { token, session, tone: tone(None) }),
        net.ask(B, |token| Command::Play { token, session, sound: Arc::new(Sound::of(8000, &[1])) }),
        net.ask(B, |token| Command::StopPlaying { token, session }),
        net.ask(B, |token| Command::OpenAudio { token, session, port: port() }),
        net.ask(B, |token| Command::CloseAudio { token, session, port: port() }),
        net.ask(B, |token| Command::EstablishMediaFlow { token, session, remote: address(C) }),
    ] {
        assert!(matches!(result, Some(Err(Error::InvalidState { state: State::Initiating, .. }))), "{result:?}");
    }
    let info = net.ask(B, |token| Command::MediaInfo { token, session });
    assert!(matches!(info, Some(Ok(Reply::MediaInfo(None)))));
    // Early media is media: an announcement before the answer.
    decide(&mut net, B, &called, Decision::Progress { sdp: None }).expect("progress");
    assert!(net.ask(B, |token| Command::PlayTone { token, session, tone: tone(Some(SECOND)) }).is_none());
    net.ask(B, |token| Command::OpenAudio { token, session, port: port() }).expect("at once").expect("opened");
}

#[test]
fn a_tone_is_over_when_it_was_played_or_stopped() {
    let mut net = pair();
    let (caller, _) = answered(&mut net);
    let session = caller.id;
    let played = net.command(A, |token| Command::PlayTone { token, session, tone: tone(Some(2 * SECOND)) });
    net.advance(SECOND);
    assert!(net.result(A, played).is_none());
    net.advance(2 * SECOND);
    assert!(matches!(net.result(A, played), Some(Ok(Reply::Unit))));
    let stopped = net.command(A, |token| Command::PlayTone { token, session, tone: tone(None) });
    net.ask(A, |token| Command::StopPlaying { token, session }).expect("at once").expect("done");
    assert!(matches!(net.result(A, stopped), Some(Ok(Reply::Unit))));
    let replaced = net.command(A, |token| Command::PlayTone { token, session, tone: tone(None) });
    let given_up = net.command(A, |token| Command::PlayTone { token, session, tone: tone(None) });
    assert!(matches!(net.result(A, replaced), Some(Ok(Reply::Unit))));
    for playing in [replaced, given_up] {
        assert!(net.result(A, given_up).is_none());
        net.ask(A, |token| Command::GiveUpPlaying { token, session, playing }).expect("at once").expect("done");
    }
    assert!(matches!(net.result(A, given_up), Some(Ok(Reply::Unit))));
    let ended = net.command(A, |token| Command::PlayTone { token, session, tone: tone(None) });
    hang_up(&mut net, A, &caller);
    assert!(matches!(net.result(A, ended), Some(Err(Error::Ended(_)))));
    net.assert_idle();
}

#[test]
fn tones_and_ports_are_checked() {
    let mut net = pair();
    let (caller, _) = answered(&mut net);
    let session = caller.id;
    let bad = [
        Tone { frequencies: vec![], ..tone(None) },
        Tone { frequencies: vec![440.0; 9], ..tone(None) },
        Tone { frequencies: vec![24_000.0], ..tone(None) },
        Tone { frequencies: vec![0.0], ..tone(None) },
        Tone { frequencies: vec![f32::NAN], ..tone(None) },
        Tone { level_dbm0: f32::INFINITY, ..tone(None) },
        Tone { level_dbm0: 4.0, ..tone(None) },
    ];
    for tone in bad {
        let result = net.ask(A, |token| Command::PlayTone { token, session, tone: tone.clone() });
        assert!(matches!(result, Some(Err(Error::BadValue(_)))), "{tone:?}");
    }
    for (rate, frame) in [(11_025, 20), (16_000, 5), (16_000, 61), (0, 20)] {
        let port = Arc::new(AudioPort::new(rate, frame, 200));
        let result = net.ask(A, |token| Command::OpenAudio { token, session, port });
        assert!(matches!(result, Some(Err(Error::BadValue(_)))), "{rate} {frame}");
    }
    for remote in [
        "0.0.0.0:4000",
        "10.0.0.1:0",
        "224.0.0.1:4000",
        "[::ffff:224.0.0.1]:4000",
        "255.255.255.255:4000",
        "[::ffff:0.0.0.0]:4000",
        "[ff02::1]:4000",
        "[2001:db8::1]:4000",
    ] {
        let remote = remote.parse().expect("an address");
        let result = net.ask(A, |token| Command::EstablishMediaFlow { token, session, remote });
        assert!(matches!(result, Some(Err(Error::BadValue(_)))), "{remote}");
    }
    let interval = Some(Duration::from_millis(1));
    let result = net.ask(A, |token| Command::MonitorStatistics { token, session, interval });
    assert!(matches!(result, Some(Err(Error::BadValue(_)))));
}

#[test]
fn an_established_flow_holds_until_the_peer_s_address_changes() {
    let mut net = pair();
    let (mut phone, session) = phone_calls(&mut net);
    let id = session.id;
    let elsewhere: SocketAddr = "192.0.2.7:9000".parse().expect("an address");
    let mapped: SocketAddr = "[::ffff:192.0.2.7]:9000".parse().expect("an address");
    let before = net.nodes[B].config().expect("a leg").latch_generation;
    net.ask(B, |token| Command::EstablishMediaFlow { token, session: id, remote: mapped })
        .expect("at once")
        .expect("done");
    let config = net.nodes[B].config().expect("a leg");
    assert_eq!((config.remote_rtp, config.remote_rtcp.map(|rtcp| rtcp.port())), (Some(elsewhere), Some(9001)));
    assert_eq!(config.signalling, Some(elsewhere.ip()), "no third host is believed");
    assert!(config.latch_generation > before, "learning starts anew");
    phone.invite(&mut net, "", &sdp(4000, 2, "sendonly"));
    phone.receive(&mut net, "SIP/2.0 200");
    phone.ack(&mut net, "");
    assert_eq!(net.nodes[B].config().and_then(|config| config.remote_rtp), Some(elsewhere), "the address is the same");
    phone.invite(&mut net, "", &sdp(4002, 3, "sendrecv"));
    phone.receive(&mut net, "SIP/2.0 200");
    phone.ack(&mut net, "");
    assert_eq!(net.nodes[B].config().and_then(|config| config.remote_rtp), Some("10.9.0.1:4002".parse().expect("one")));
}

#[test]
fn information_about_media_is_what_was_settled() {
    let mut net = pair();
    let (caller, _) = answered(&mut net);
    let id = caller.id;
    let Some(Ok(Reply::MediaInfo(Some(info)))) = net.ask(A, |token| Command::MediaInfo { token, session: id }) else {
        panic!("no information")
    };
    assert_eq!((info.codec, info.sample_rate), (Some("opus"), Some(48_000)));
    assert_eq!(info.local_address.map(|local| local.ip()), Some(address(A).ip()));
    assert_eq!(info.remote_address, net.nodes[A].config().and_then(|config| config.remote_rtp));
    assert_eq!(info.local_sdp.as_deref(), Some(body(sent(&net, A, "INVITE")[0])));
    assert_eq!(info.remote_sdp.as_deref(), Some(body(sent(&net, B, "SIP/2.0 200")[0])));
    let statistics = net.ask(A, |token| Command::MediaStatistics { token, session: id });
    assert!(matches!(statistics, Some(Ok(Reply::Statistics(Some(_))))));
    hang_up(&mut net, A, &caller);
    let statistics = net.ask(A, |token| Command::MediaStatistics { token, session: id });
    assert!(matches!(statistics, Some(Ok(Reply::Statistics(None)))));
}

#[test]
fn what_the_media_engine_sees_is_told() {
    let mut net = pair();
    let (caller, called) = answered(&mut net);
    let leg = *net.nodes[A].legs.open.keys().next().expect("a leg");
    net.media_event(A, MediaEvent::Quality { leg, statistics: Statistics::default() });
    net.media_event(A, MediaEvent::Silent { leg, silent_for: 30 * SECOND });
    assert_eq!(story(&net, A, caller.id)[2..], ["quality", "silent"]);
    net.media_event(A, MediaEvent::Failed { leg, cause: "the socket broke" });
    assert_eq!(end_of(&caller), (State::Failed, "failed: media: the socket broke".into()));
    assert_eq!(end_of(&called).1, "remote hangup");
    net.media_event(A, MediaEvent::Dtmf { leg, digit: '1', duration_ms: 1 });
    net.assert_idle();
}

#[test]
fn the_public_address_is_what_descriptions_say() {
    let mut net = with(Config { public_address: Some("203.0.113.9".into()), ..config() });
    let (_, called) = ringing(&mut net);
    decide(&mut net, B, &called, accept()).expect("accepted");
    assert!(body(sent(&net, B, "SIP/2.0 200")[0]).contains("c=IN IP4 203.0.113.9"));
    assert_eq!(
        net.nodes[A].config().and_then(|config| config.remote_rtp).map(|remote| remote.ip()),
        "203.0.113.9".parse().ok()
    );
    let mut net = with(Config { media_address: Some("10.0.0.222".parse().expect("an address")), ..config() });
    let (_, called) = ringing(&mut net);
    decide(&mut net, B, &called, accept()).expect("accepted");
    assert!(body(sent(&net, B, "SIP/2.0 200")[0]).contains("c=IN IP4 10.0.0.222"));
}
