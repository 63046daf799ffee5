//! How messages find their way: TCP, names, peers that are no ringback, addresses that lead nowhere.

use std::net::{IpAddr, SocketAddr};

use ringback_engine::api::{CallOptions, Command, EndCause, State};
use ringback_netsim::Conditions;
use ringback_world::{Kind, SystemId, World};

use crate::common::{PORTS, QUIET, SECOND, accept_all, check_log, check_nothing_left, config, idle, pair, place};

fn hang_up_and_finish(mut world: World, systems: &[SystemId], from: SystemId) {
    for session in world.directory(from).active() {
        assert!(world.command(from, |token| Command::Hangup { token, session, reason: None }).is_ok());
    }
    assert_eq!(world.run_until_idle(QUIET), Ok(()));
    check_nothing_left(&world, systems, "");
    for system in systems {
        check_log(&world, *system, "");
    }
}

#[test]
fn a_call_over_tcp_uses_one_connection_and_survives_loss_of_datagrams() {
    let (mut world, a, b) = pair(1, Conditions::LAN.with_loss(0.3));
    let uri = format!("{};transport=tcp", world.uri(b, "bob"));
    let ours = place(&mut world, a, &uri);
    assert_eq!(world.run_until(5 * SECOND, |_| ours.state() == State::Active), Ok(true), "{}", ours.state());
    assert_eq!((world.streams(a), world.streams(b)), (1, 1));
    assert_eq!(world.traffic(a).sip_sent, 2, "INVITE and ACK, nothing twice");
    hang_up_and_finish(world, &[a, b], b);
}

#[test]
fn a_broken_connection_does_not_end_the_call() {
    let (mut world, a, b) = pair(2, Conditions::LAN);
    let uri = format!("{};transport=tcp", world.uri(b, "bob"));
    let ours = place(&mut world, a, &uri);
    assert_eq!(world.run_until(5 * SECOND, |_| ours.state() == State::Active), Ok(true));
    assert_eq!(world.break_streams(a), Ok(()));
    assert_eq!(world.run_for(SECOND), Ok(()));
    assert_eq!(ours.state(), State::Active);
    // The BYE opens a new one.
    hang_up_and_finish(world, &[a, b], a);
}

#[test]
fn a_large_request_moves_to_tcp() {
    let (mut world, a, b) = pair(3, Conditions::LAN);
    let uri = world.uri(b, "bob");
    let headers = vec![("X-Large".to_owned(), "x".repeat(1500))];
    let create = |token| Command::CreateCall {
        token,
        from: "sip:alice@10.0.0.1".into(),
        to: uri,
        sdp: None,
        headers,
        send: true,
        options: CallOptions::default(),
    };
    assert!(world.command(a, create).is_ok());
    let up = |world: &World| world.live(b).sessions == 1 && world.live(a).legs == 1;
    assert_eq!(world.run_until(5 * SECOND, up), Ok(true));
    assert_eq!(world.streams(a), 1, "RFC 3261 §18.1.1");
    hang_up_and_finish(world, &[a, b], a);
}

#[test]
fn names_are_looked_up_and_unknown_ones_fail() {
    let (mut world, a, b) = pair(4, Conditions::LAN);
    let there: IpAddr = world.address(b);
    world.set_name("pbx.example.com", vec![there]);
    let ours = place(&mut world, a, "sip:bob@PBX.example.com");
    assert_eq!(world.run_until(5 * SECOND, |_| ours.state() == State::Active), Ok(true), "{}", ours.state());
    let nobody = place(&mut world, a, "sip:bob@nowhere.example.com");
    assert_eq!(nobody.state(), State::Initiating, "the look-up goes on behind");
    assert_eq!(world.run_for(SECOND), Ok(()));
    assert_eq!(nobody.state(), State::Failed);
    assert!(matches!(nobody.end().map(|end| &end.cause), Some(EndCause::Failed { .. })));
    hang_up_and_finish(world, &[a, b], a);
}

#[test]
fn a_call_to_nobody_fails_with_408_after_64_t1() {
    let mut world = World::new(5, Conditions::LAN);
    let a = world.add(config(), PORTS, idle);
    let ours = place(&mut world, a, "sip:bob@203.0.113.7:5070");
    assert_eq!(world.run_for(31 * SECOND), Ok(()));
    assert_eq!(ours.state(), State::Initiating);
    assert_eq!(world.run_for(2 * SECOND), Ok(()));
    assert_eq!(ours.state(), State::Failed);
    let end = ours.end().map(|end| end.cause.clone());
    assert!(matches!(end, Some(EndCause::Failed { status: Some(408), .. })), "{end:?}");
    let sent = world.take_outside();
    assert_eq!(sent.len(), 7, "RFC 3261 §17.1.1.2: at 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s");
    assert!(sent.iter().all(|packet| packet.kind == Kind::Sip && packet.bytes == sent[0].bytes));
    hang_up_and_finish(world, &[a], a);
}

/// Datagrams that are nothing, from anywhere, at every port: nothing comes of them.
#[test]
fn noise_is_ignored() {
    let (mut world, a, b) = pair(6, Conditions::LAN);
    let (ours, _) = crate::common::establish(&mut world, a, b);
    let stranger: SocketAddr = "203.0.113.9:4000".parse().expect("an address");
    let noise: [&[u8]; 7] = [
        b"",
        b"\r\n\r\n",
        b"\0\0\0\0",
        b"INVITE sip:x SIP/2.0\r\n\r\n",
        b"SIP/2.0 200 OK\r\n\r\n",
        &[0xff; 1400],
        &[0x80, 0, 0, 0],
    ];
    for bytes in noise {
        for port in [5060, 20_000, 20_001, 20_002, 40_000] {
            let to = SocketAddr::new(world.address(b), port);
            world.send_raw(stranger, to, bytes);
            // As if it came from the peer itself.
            world.send_raw(SocketAddr::new(world.address(a), 20_000), to, bytes);
        }
    }
    assert_eq!(world.run_for(5 * SECOND), Ok(()));
    assert_eq!(ours.state(), State::Active);
    assert_eq!(world.live(b).sessions, 1);
    let answers = world.take_outside();
    let largest = answers.iter().map(|packet| packet.bytes.len()).max().unwrap_or(0);
    assert!(answers.len() <= 10 && largest < 1000, "{} answers, the largest of {largest} bytes", answers.len());
    hang_up_and_finish(world, &[a, b], a);
}

/// A peer that speaks for itself: an INVITE as another stack writes it, with an offer that has more than audio.
#[test]
fn an_invite_of_another_stack() {
    let mut world = World::new(7, Conditions::LAN);
    let b = world.add(config(), PORTS, accept_all);
    let phone: SocketAddr = "203.0.113.9:5070".parse().expect("an address");
    let sdp = "v=0\no=- 3 3 IN IP4 203.0.113.9\ns=-\nc=IN IP4 203.0.113.9\nt=0 0\nm=video 5000 RTP/AVP 31\n\
        m=audio 4000 RTP/AVP 8 97\na=rtpmap:97 telephone-event/8000\n";
    let invite = |branch: &str| {
        format!(
            "INVITE sip:bob@10.0.0.1 SIP/2.0\r\nv: SIP/2.0/UDP 203.0.113.9:5070;branch=z9hG4bK{branch}\r\n\
             f: <sip:p@203.0.113.9>;tag=1\r\nt: <sip:bob@10.0.0.1>\r\ni: abc@phone\r\nCSeq: 1 INVITE\r\n\
             m: <sip:p@203.0.113.9:5070>\r\nMax-Forwards: 70\r\nc: application/sdp\r\nl: {}\r\n\r\n{sdp}",
            sdp.len()
        )
    };
    world.send_raw(phone, SocketAddr::new(world.address(b), 5060), invite("x"));
    assert_eq!(world.run_for(2 * SECOND), Ok(()));
    let sip: Vec<String> = world
        .take_outside()
        .into_iter()
        .filter(|packet| packet.kind == Kind::Sip)
        .map(|packet| String::from_utf8_lossy(&packet.bytes).into_owned())
        .collect();
    let ok = sip.last().expect("an answer");
    assert!(ok.starts_with("SIP/2.0 200 "), "{ok}");
    assert!(ok.contains("m=video 0 RTP/AVP 31\r\n") && ok.contains("RTP/AVP 8 97\r\n"), "{ok}");
    assert!(sip.len() >= 2, "the 200 is repeated until the ACK comes");
    // The ACK never comes: after 64*T1 the call is given up with BYE.
    assert_eq!(world.run_for(40 * SECOND), Ok(()));
    assert_eq!(world.live(b).sessions, 0);
    let goodbye =
        world.take_outside().into_iter().any(|packet| packet.bytes.starts_with(b"BYE sip:p@203.0.113.9:5070 "));
    assert!(goodbye, "RFC 3261 §13.3.1.4");
    hang_up_and_finish(world, &[b], b);
}
