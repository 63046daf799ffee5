//! What the tests share: the caller's and the called side's moves.

use std::time::Duration;

use ringback_sip::{NameAddr, Uri};
use ringback_ua::fuzz::pair::Pair;
use ringback_ua::{Body, CallKey, Event, Invite};

pub(crate) fn invite(pair: &mut Pair, side: usize, body: Option<&'static str>) -> CallKey {
    let uri = format!("sip:bob@{}", pair.ends[1 - side].address);
    invite_to(pair, side, &uri, body)
}

pub(crate) fn invite_to(pair: &mut Pair, side: usize, uri: &str, body: Option<&'static str>) -> CallKey {
    let from = format!("<sip:alice@{}>", pair.ends[side].address);
    pair.with(side, |ua, now| {
        let call_id = ua.new_call_id();
        let invite = Invite {
            from: NameAddr::parse(&from).unwrap(),
            to: NameAddr::parse(&format!("<{uri}>")).unwrap(),
            request_uri: Uri::parse(uri).unwrap(),
            call_id,
            headers: Vec::new(),
            body: body.map(Body::sdp),
            max_forwards: 70,
        };
        ua.invite(now, invite).unwrap()
    })
}

pub(crate) fn incoming(pair: &mut Pair, side: usize) -> CallKey {
    pair.run(Duration::from_millis(50));
    let events = pair.take_events(side);
    match &events[..] {
        [Event::Invite { call, .. }] => *call,
        other => panic!("{other:?}"),
    }
}
