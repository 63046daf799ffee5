//! Whole calls over a network without faults.

use std::time::Duration;

use ringback_sip::StatusCode;
use ringback_ua::fuzz::pair::{Conditions, Pair};
use ringback_ua::{Body, Event, Live, Reply};

use crate::common::{incoming, invite};

#[test]
fn a_call_is_placed_answered_and_hung_up() {
    let mut pair = Pair::new(1, Conditions::PERFECT);
    let caller = invite(&mut pair, 0, Some("v=0\r\n"));
    let called = incoming(&mut pair, 1);
    pair.with(1, |ua, now| ua.respond(now, called, Reply::new(StatusCode::RINGING)).unwrap());
    pair.run(Duration::from_millis(50));
    assert!(matches!(&pair.take_events(0)[..], [Event::Provisional { .. }]));
    pair.with(1, |ua, now| ua.respond(now, called, Reply::with_body(StatusCode::OK, Body::sdp("v=0\r\n"))).unwrap());
    pair.run(Duration::from_millis(50));
    assert!(matches!(&pair.take_events(0)[..], [Event::Answered { .. }]));
    pair.with(0, |ua, now| ua.ack(now, caller, None));
    pair.run(Duration::from_millis(50));
    assert!(matches!(&pair.take_events(1)[..], [Event::Acked { .. }]));
    pair.with(0, |ua, now| ua.bye(now, caller, None));
    pair.run(Duration::from_millis(50));
    assert!(matches!(&pair.take_events(1)[..], [Event::Bye { .. }, Event::Released { .. }]));
    assert!(matches!(&pair.take_events(0)[..], [Event::Released { .. }]));
    let took = pair.settle();
    assert!(took <= Duration::from_secs(33), "{took:?}");
    for end in &pair.ends {
        assert_eq!(end.ua.stats().live, Live::default());
    }
}
