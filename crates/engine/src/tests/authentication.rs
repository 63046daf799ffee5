//! Calls between systems that ask each other who they are.

use std::sync::Arc;

use ringback_ua::{Authenticator, Credentials, Password, PasswordKey, Passwords};

use super::{A, B, SECOND, accept, config, decide, dial, end_of, hang_up, sent, uri};
use crate::api::{Command, Config, Event, State};
use crate::fuzz::net::Net;

fn credentials(password: &str) -> Vec<Arc<Credentials>> {
    vec![Arc::new(Credentials {
        username: "alice".into(),
        password: password.into(),
        realm: Some("example.com".into()),
    })]
}

fn pair(password: &str, passwords: Passwords) -> Net {
    let mut net = Net::default();
    net.add(Config { credentials: credentials(password), ..config() });
    let authenticator = Authenticator::new("example.com", passwords);
    net.add(Config { authenticator: Some(authenticator), ..config() });
    net
}

fn table() -> Passwords {
    Passwords::table([("alice".to_owned(), "secret".to_owned())])
}

#[test]
fn a_call_with_the_right_password_is_like_any_other() {
    let mut net = pair("secret", table());
    let caller = dial(&mut net, A, &uri(B));
    let called = net.nodes[B].incoming().expect("let in");
    decide(&mut net, B, &called, accept()).expect("accepted");
    assert_eq!((caller.state(), called.state()), (State::Active, State::Active));
    assert_eq!(sent(&net, B, "SIP/2.0 401 ").len(), 1);
    hang_up(&mut net, A, &caller);
    net.assert_idle();
}

#[test]
fn a_wrong_password_is_a_rejection() {
    let mut net = pair("wrong", table());
    let caller = dial(&mut net, A, &uri(B));
    assert_eq!(end_of(&caller), (State::Rejected, "rejected 401 Unauthorized".into()));
    assert_eq!(sent(&net, A, "INVITE ").len(), 2);
    assert!(net.nodes[B].incoming().is_none());
    net.assert_idle();
}

fn asked(net: &mut Net) -> PasswordKey {
    let found = net.nodes[B].events.iter().rev().find_map(|event| match event {
        Event::Password { key, username, realm } => Some((*key, username.clone(), realm.clone())),
        _ => None,
    });
    let (key, username, realm) = found.expect("the program is asked");
    assert_eq!((username.as_str(), realm.as_str()), ("alice", "example.com"));
    key
}

#[test]
fn the_program_is_asked_for_passwords() {
    for (password, state) in [
        (Password::Known("secret".into()), None),
        (Password::Known("wrong".into()), Some("rejected 401 Unauthorized")),
        (Password::Unknown, Some("rejected 401 Unauthorized")),
        (Password::Failed, Some("rejected 500 Server Internal Error")),
    ] {
        let mut net = pair("secret", Passwords::Ask);
        let caller = dial(&mut net, A, &uri(B));
        let key = asked(&mut net);
        assert!(net.nodes[B].incoming().is_none());
        let now = net.now;
        net.nodes[B].engine.handle_command(now, Command::Password { key, password });
        net.run();
        match state {
            None => {
                let called = net.nodes[B].incoming().expect("let in");
                decide(&mut net, B, &called, accept()).expect("accepted");
                hang_up(&mut net, A, &caller);
            }
            Some(end) => assert_eq!(end_of(&caller), (State::Rejected, end.into())),
        }
        net.assert_idle();
    }
    // Nobody says anything.
    let mut net = pair("secret", Passwords::Ask);
    let caller = dial(&mut net, A, &uri(B));
    net.advance(5 * SECOND);
    assert_eq!(end_of(&caller), (State::Rejected, "rejected 503 Service Unavailable".into()));
    net.assert_idle();
}
