//! Calls whose ports have to be asked about first (STUN, TURN).

use super::*;
use ringback_media_api::{Event as MediaEvent, LegId, PublicAddress};

const RTP: &str = "203.0.113.5:50001";
const RTCP: &str = "203.0.113.5:50377";

fn public(rtcp: &str) -> Option<PublicAddress> {
    let at = |text: &str| text.parse().expect("an address");
    Some(PublicAddress { rtp: at(RTP), rtcp: at(rtcp) })
}

/// A pair of which one asks.
fn seeking(node: usize) -> Net {
    let net = pair();
    net.nodes[node].ports().seeking = true;
    net
}

fn leg(net: &Net, node: usize) -> LegId {
    *net.nodes[node].ports().out.keys().next().expect("ports are reserved")
}

fn tell(net: &mut Net, node: usize, public: Option<PublicAddress>) {
    let leg = leg(net, node);
    net.media_event(node, MediaEvent::Located { leg, public });
}

fn sent(net: &Net, node: usize, start: &str) -> Option<String> {
    net.nodes[node].sent.iter().rev().find(|message| message.starts_with(start)).cloned()
}

#[test]
fn an_incoming_call_is_told_once_it_can_be_answered() {
    let mut net = seeking(B);
    let caller = dial(&mut net, A, &uri(B));
    assert!(net.nodes[B].incoming().is_none());
    tell(&mut net, B, public(RTCP));
    let called = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &called, accept()).expect("accepted");
    let answer = sent(&net, B, "SIP/2.0 200").expect("an answer");
    for line in ["c=IN IP4 203.0.113.5\r\n", "m=audio 50001 RTP/AVP ", "a=rtcp:50377\r\n"] {
        assert!(answer.contains(line), "{line}: {answer}");
    }
    // The caller sends there, RTCP too.
    let config = net.nodes[A].config().expect("a leg").clone();
    assert_eq!(config.remote_rtp, Some(RTP.parse().expect("an address")));
    assert_eq!(config.remote_rtcp, Some(RTCP.parse().expect("an address")));
    hang_up(&mut net, A, &caller);
    net.assert_idle();
}

#[test]
fn an_outgoing_call_waits_with_its_invite() {
    let mut net = seeking(A);
    let caller = dial(&mut net, A, &uri(B));
    assert_eq!(sent(&net, A, "INVITE"), None);
    assert_eq!(caller.state(), State::Initiating);
    tell(&mut net, A, public("203.0.113.6:50002"));
    let invite = sent(&net, A, "INVITE").expect("it went out");
    assert!(invite.contains("m=audio 50001 ") && invite.contains("a=rtcp:50002 IN IP4 203.0.113.6\r\n"), "{invite}");
    // Told twice, it is sent once.
    tell(&mut net, A, public(RTCP));
    let called = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &called, accept()).expect("accepted");
    assert_eq!(net.nodes[A].sent.iter().filter(|message| message.starts_with("INVITE")).count(), 1);
    // Every later description says the same.
    let id = caller.id;
    net.ask(A, |token| Command::Hold { token, session: id });
    assert!(sent(&net, A, "INVITE").expect("a re-INVITE").contains("m=audio 50001 "));
    hang_up(&mut net, B, &called);
    net.assert_idle();
}

#[test]
fn adjacent_ports_need_no_word() {
    let mut net = seeking(A);
    dial(&mut net, A, &uri(B));
    tell(&mut net, A, public("203.0.113.5:50002"));
    assert!(!sent(&net, A, "INVITE").expect("it went out").contains("a=rtcp:"));
}

#[test]
fn where_nothing_was_learned_the_local_address_stands() {
    let mut net = seeking(A);
    let caller = dial(&mut net, A, &uri(B));
    tell(&mut net, A, None);
    let invite = sent(&net, A, "INVITE").expect("it went out");
    assert!(invite.contains("c=IN IP4 10.0.0.1\r\n"), "{invite}");
    hang_up(&mut net, A, &caller);
    net.assert_idle();
}

#[test]
fn a_generated_offer_waits_too() {
    let mut net = seeking(A);
    let to = uri(B);
    let created = net.ask(A, |token| match create(token, &to) {
        Command::CreateCall { token, from, to, sdp, headers, options, .. } => {
            Command::CreateCall { token, from, to, sdp, headers, send: false, options }
        }
        other => other,
    });
    let Some(Ok(Reply::Session(session))) = created else { panic!("no call: {created:?}") };
    let id = session.id;
    let offer = net.command(A, |token| Command::GenerateOffer { token, session: id });
    assert!(net.result(A, offer).is_none());
    tell(&mut net, A, public(RTCP));
    let Some(Ok(Reply::Text(sdp))) = net.result(A, offer) else { panic!("no offer") };
    assert!(sdp.contains("m=audio 50001 "), "{sdp}");
}

#[test]
fn a_call_that_ends_meanwhile_leaves_nothing() {
    // Cancelled by the caller: the program hears of it and of its end.
    let mut net = seeking(B);
    let caller = dial(&mut net, A, &uri(B));
    let reserved = leg(&net, B);
    // Not before it is tried (100): RFC 3261 §9.1.
    net.advance(SECOND);
    hang_up(&mut net, A, &caller);
    let called = net.nodes[B].incoming().expect("told with its end");
    let story = story(&net, B, called.id);
    assert_eq!(story.first().map(String::as_str), Some("incoming"), "{story:?}");
    assert!(story.iter().any(|event| event == "over"), "{story:?}");
    net.media_event(B, MediaEvent::Located { leg: reserved, public: public(RTCP) });
    net.assert_idle();

    // Given up by the program that placed it: nothing was sent.
    let mut net = seeking(A);
    let caller = dial(&mut net, A, &uri(B));
    hang_up(&mut net, A, &caller);
    assert_eq!(sent(&net, A, "INVITE"), None);
    net.assert_idle();
}
