//! Who takes the place of a call in a bridge is there what that was.

use super::*;
use crate::api::{BridgeId, BridgeRole};
use ringback_media_api::{Command as MediaCommand, LegId, Role};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Replaces,
    /// Without an offer: its media is there with the ACK.
    ReplacesLate,
    Refer,
}

const WAYS: [Way; 3] = [Way::Replaces, Way::ReplacesLate, Way::Refer];

fn done(reply: Option<Result<Reply, Error>>) {
    assert!(matches!(reply, Some(Ok(Reply::Unit))), "{reply:?}");
}

fn leg(net: &Net) -> LegId {
    *net.nodes[B].legs.open.keys().max().expect("a leg")
}

fn role(net: &mut Net, bridge: BridgeId, session: &Session, role: BridgeRole, beside: Option<&Session>) {
    let (session, beside) = (session.id, beside.map(|beside| beside.id));
    done(net.ask(B, |token| Command::SetBridgeRole { token, bridge, session, role, beside }));
}

fn gain(net: &mut Net, bridge: BridgeId, session: &Session, gain_db: f32) {
    let session = session.id;
    done(net.ask(B, |token| Command::SetBridgeGain { token, bridge, session, gain_db }));
}

/// The gain that the media engine was told last.
fn gain_of(net: &Net, of: LegId) -> Option<f32> {
    net.nodes[B].legs.log.iter().rev().find_map(|command| match command {
        MediaCommand::SetGain { leg, gain_db } if *leg == of => Some(*gain_db),
        _ => None,
    })
}

/// Another telephone takes the phone's place; its leg.
fn succeed(net: &mut Net, way: Way, phone: &mut Phone, session: &Session) -> LegId {
    let mut other = Phone::new(B);
    (other.call_id, other.branch) = ("other".into(), 1000);
    let ours = phone.theirs.split("tag=").nth(1).expect("a tag").to_owned();
    let theirs = phone.own.split("tag=").nth(1).expect("a tag").to_owned();
    let headers = format!("Replaces: {};to-tag={ours};from-tag={theirs}\r\n", session.call_id);
    let offer = sdp(4002, 1, "sendrecv");
    match way {
        Way::Refer => {
            phone.request(net, "REFER", "Refer-To: <sip:mobile@10.9.0.1>\r\n", "", "");
            let id = session.id;
            net.command(B, |token| Command::DecideTransfer { token, session: id, accept: true });
            let invite = other.receive(net, "INVITE ");
            other.reply(net, &invite, "200 OK", "", &offer);
        }
        Way::Replaces | Way::ReplacesLate => {
            let late = way == Way::ReplacesLate;
            other.invite(net, &headers, if late { "" } else { &offer });
            other.receive(net, "SIP/2.0 200");
            other.ack(net, if late { &offer } else { "" });
        }
    }
    leg(net)
}

#[test]
fn a_monitor_or_coach_who_is_transferred_is_heard_by_nobody_else_afterwards() {
    for way in WAYS {
        for coach in [false, true] {
            let mut net = pair();
            let [customer, agent] = [(); 2].map(|()| (answered(&mut net).1, leg(&net)));
            let (mut phone, boss) = phone_calls(&mut net);
            let Some(Ok(Reply::Bridge(bridge))) =
                net.ask(B, |token| Command::CreateBridge { token, name: None, max_sessions: None })
            else {
                panic!("no bridge")
            };
            for session in [customer.0.id, agent.0.id, boss.id] {
                done(net.ask(B, |token| Command::AddToBridge { token, bridge, session }));
            }
            let expected = if coach {
                role(&mut net, bridge, &boss, BridgeRole::Whisper, Some(&agent.0));
                Role::Whisper { beside: agent.1 }
            } else {
                role(&mut net, bridge, &boss, BridgeRole::Listener, None);
                Role::Listener
            };
            gain(&mut net, bridge, &boss, -6.0);
            role(&mut net, bridge, &customer.0, BridgeRole::Whisper, Some(&boss));
            let new = succeed(&mut net, way, &mut phone, &boss);
            let role_of = |leg: LegId| net.nodes[B].legs.rooms.get(&leg).map(|(_, role)| *role);
            assert_eq!(role_of(new), Some(expected), "{way:?}");
            let heard =
                net.nodes[B].legs.log.iter().any(
                    |command| matches!(command, MediaCommand::Join { leg, role: Role::Member, .. } if *leg == new),
                );
            assert!(!heard, "{way:?}: not for a moment");
            assert_eq!(gain_of(&net, new), Some(-6.0), "{way:?}");
            assert_eq!(role_of(customer.1), Some(Role::Whisper { beside: new }), "{way:?}: who whispers to it");
        }
    }
}

#[test]
fn roles_in_a_bridge_of_two_outlive_a_transfer() {
    for way in WAYS {
        for (ours, theirs) in [
            (BridgeRole::Listener, BridgeRole::Member),
            (BridgeRole::Member, BridgeRole::Whisper),
            (BridgeRole::Whisper, BridgeRole::Whisper),
            (BridgeRole::Member, BridgeRole::Member),
        ] {
            let mut net = pair();
            let (agent, of_agent) = (answered(&mut net).1, leg(&net));
            let (mut phone, boss) = phone_calls(&mut net);
            let (first, second) = (agent.id, boss.id);
            let Some(Ok(Reply::Bridge(bridge))) = net.ask(B, |token| Command::Bridge { token, first, second }) else {
                panic!("no bridge")
            };
            for (session, of, other) in [(&boss, ours, &agent), (&agent, theirs, &boss)] {
                if of != BridgeRole::Member {
                    role(&mut net, bridge, session, of, (of == BridgeRole::Whisper).then_some(other));
                }
            }
            let new = succeed(&mut net, way, &mut phone, &boss);
            let seen = [new, of_agent].map(|leg| net.nodes[B].legs.rooms.get(&leg).map(|(_, role)| *role));
            let expected = [(ours, of_agent), (theirs, new)].map(|(role, beside)| match role {
                BridgeRole::Member => Role::Member,
                BridgeRole::Listener => Role::Listener,
                BridgeRole::Whisper => Role::Whisper { beside },
            });
            if expected == [Role::Member; 2] {
                assert_eq!(net.nodes[B].legs.bridged.get(&new), Some(&of_agent), "{way:?}: relayed as before");
            } else {
                assert_eq!(seen, expected.map(Some), "{way:?}");
            }
        }
    }
}

#[test]
fn a_leg_of_a_forwarded_call_has_its_place_in_a_conference_taken() {
    for way in WAYS {
        let mut net = pair();
        let caller = dial(&mut net, A, &uri(B));
        let called = net.nodes[B].incoming().expect("it rings");
        let mut phone = Phone::new(B);
        decide(&mut net, B, &called, forward(&["sip:phone@10.9.0.1"])).expect("it is forwarded");
        let invite = phone.receive(&mut net, "INVITE ");
        phone.reply(&mut net, &invite, "200 OK", "", &sdp(4000, 1, "sendrecv"));
        phone.receive(&mut net, "ACK ");
        let directory = net.nodes[B].engine.directory();
        let target = called.peer().and_then(|id| directory.get(id)).expect("the other leg");
        let (third, of_third) = (answered(&mut net).1, leg(&net));
        let id = called.id;
        let Some(Ok(Reply::SessionBridge(Some(bridge)))) =
            net.ask(B, |token| Command::SessionBridge { token, session: id })
        else {
            panic!("no bridge")
        };
        let session = third.id;
        done(net.ask(B, |token| Command::AddToBridge { token, bridge, session }));
        phone.theirs = header(&invite, "From").expect("a From").to_owned();
        let new = succeed(&mut net, way, &mut phone, &target);
        let rooms = &net.nodes[B].legs.rooms;
        assert!(rooms.contains_key(&new) && rooms[&new].0 == rooms[&of_third].0, "{way:?}: {rooms:?}");
        assert_eq!(caller.state(), State::Active);
    }
}
