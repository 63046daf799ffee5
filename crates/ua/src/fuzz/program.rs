//! A program above a user agent, as random as its numbers: it answers, rejects, cancels, holds and hangs up, and checks what it is told. One
//! at each end of a [`Pair`](super::pair::Pair).

use std::collections::BTreeMap;
use std::time::Duration;

use ringback_sip::{Message, Method, NameAddr, StatusCode, Uri};
use ringback_time::Now;

use crate::api::{Body, CallKey, Event, Invite, Password, Reply, Request, RequestKey, StandaloneKey};
use crate::core::Ua;

/// What the program knows of one call.
#[derive(Clone, Debug)]
pub struct Known {
    pub call_id: String,
    pub caller: bool,
    /// Answered, and not over as far as this end knows.
    pub up: bool,
    /// An event has told, or a command has said, that it is over.
    pub over: bool,
    /// Its last event said how it ended.
    pub told: bool,
    /// Our INVITE had no offer: the ACK brings the answer.
    pub late: bool,
    /// The peer's re-INVITE waits for us.
    pub reinvited: bool,
    /// Ours is under way.
    pub reinviting: bool,
    /// Ours under way has no offer.
    pub reinviting_late: bool,
    /// Our 2xx waits for its ACK.
    pub unacked: bool,
    pub requests: Vec<RequestKey>,
}

#[derive(Default)]
pub struct Program {
    pub calls: BTreeMap<CallKey, Known>,
    /// How many calls there have been, and how each ended: counts by name.
    pub ends: BTreeMap<&'static str, u32>,
    /// Our requests without an answer.
    pub in_flight: Vec<(CallKey, RequestKey)>,
    /// Our requests outside of calls whose outcome has not been told.
    pub standalone: Vec<StandaloneKey>,
}

const SDP: &[u8] =
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

pub fn sdp() -> Body {
    Body::sdp(SDP)
}

impl Program {
    fn call_id(message: &Message) -> String {
        message.call_id().unwrap_or_default().to_owned()
    }

    /// Places a call. `late`: without an offer.
    pub fn call(&mut self, ua: &mut Ua, now: Now, to: &str, late: bool) -> Option<CallKey> {
        let call_id = ua.new_call_id();
        let invite = Invite {
            from: NameAddr::parse("\"A\" <sip:alice@a.test>").ok()?,
            to: NameAddr::parse(&format!("<{to}>")).ok()?,
            request_uri: Uri::parse(to).ok()?,
            call_id: call_id.clone(),
            headers: Vec::new(),
            body: (!late).then(sdp),
            max_forwards: 70,
            contact: None,
            flow: None,
            credentials: None,
            redirects: 0,
        };
        let call = ua.invite(now, invite).ok()?;
        self.know(call, call_id, true, late);
        Some(call)
    }

    /// Sends a request outside of calls. `choice`: which, and how long it may take.
    pub fn send(&mut self, ua: &mut Ua, now: Now, to: &str, choice: u8) -> Option<StandaloneKey> {
        let methods = [Method::Options, Method::Message, Method::Register, Method::Subscribe];
        let call_id = ua.new_call_id();
        let request = Request {
            method: methods.get(usize::from(choice % 4))?.clone(),
            request_uri: Uri::parse(to).ok()?,
            from: NameAddr::parse("<sip:alice@a.test>").ok()?,
            to: NameAddr::parse(&format!("<{to}>")).ok()?,
            call_id,
            cseq: 1,
            headers: Vec::new(),
            contact: choice & 4 != 0,
            // Too long for a datagram.
            body: (choice & 8 != 0).then(|| Body { content_type: "text/plain".into(), bytes: vec![b'x'; 1400].into() }),
            max_forwards: 70,
            contact_form: None,
            flow: None,
            credentials: None,
            give_up_after: (choice & 16 != 0).then(|| Duration::from_millis(u64::from(choice) * 20)),
        };
        let key = ua.send(now, request).ok()?;
        self.standalone.push(key);
        Some(key)
    }

    fn standalone_ended(&mut self, event: Event) {
        let Event::Standalone { key, .. } = event else { return };
        let place = self.standalone.iter().position(|known| *known == key);
        assert!(place.is_some(), "an outcome of nothing");
        if let Some(place) = place {
            self.standalone.swap_remove(place);
        }
    }

    fn know(&mut self, call: CallKey, call_id: String, caller: bool, late: bool) {
        let known = Known {
            call_id,
            caller,
            up: false,
            over: false,
            told: false,
            late,
            reinvited: false,
            reinviting: false,
            reinviting_late: false,
            unacked: false,
            requests: Vec::new(),
        };
        assert!(self.calls.insert(call, known).is_none(), "{call:?} twice");
    }

    fn count(&mut self, end: &'static str) {
        *self.ends.entry(end).or_default() += 1;
    }

    /// Takes an event, does what is due at once, and checks that it may come now.
    pub fn handle(&mut self, ua: &mut Ua, now: Now, event: Event) {
        if let Event::Invite { call, request, .. } = &event {
            return self.know(*call, Self::call_id(request), false, request.body().is_empty());
        }
        if let Event::OutOfDialog { key, .. } = event {
            return ua.answer_request(now, key, Reply::new(StatusCode::OK));
        }
        if let Event::Password { key, .. } = event {
            return ua.password(now, key, Password::Known("secret".into()));
        }
        match &event {
            Event::Subscribe { usage, key, .. } => {
                ua.answer_request(now, *key, Reply::new(StatusCode::FORBIDDEN));
                return ua.close_usage(now, *usage);
            }
            Event::UsageRequest { key, .. } => return ua.answer_request(now, *key, Reply::new(StatusCode::OK)),
            Event::UsageResponse { .. } => return,
            _ => {}
        }
        let Some(call) = event.call() else { return self.standalone_ended(event) };
        let known = self.calls.get_mut(&call);
        assert!(known.is_some(), "an event of a call that is not there: {event:?}");
        let Some(known) = known else { return };
        assert!(
            !known.told || matches!(event, Event::Released { .. } | Event::Response { .. }),
            "after the end: {event:?}"
        );
        match event {
            Event::Invite { .. }
            | Event::Standalone { .. }
            | Event::OutOfDialog { .. }
            | Event::Subscribe { .. }
            | Event::UsageRequest { .. }
            | Event::Password { .. }
            | Event::UsageResponse { .. } => {}
            Event::Provisional { offers, .. } => {
                assert!(known.caller && !known.up && (known.late || !offers));
                if offers {
                    ua.prack(now, call, Some(sdp()));
                }
            }
            Event::Offer { key, .. } => {
                let accepted = key.as_u64() & 3 != 0;
                let refusal = Reply::new(StatusCode::NOT_ACCEPTABLE_HERE);
                ua.answer_request(now, key, if accepted { Reply::with_body(StatusCode::OK, sdp()) } else { refusal });
            }
            Event::Pracked { .. } => assert!(!known.caller && known.late),
            Event::Refresh { .. } => {
                if ua.reinvite(now, call, Some(sdp())).is_ok() {
                    (known.reinviting, known.reinviting_late) = (true, false);
                }
            }
            Event::Answered { response, .. } => {
                assert!(known.caller && !known.up);
                known.up = true;
                let offered = !response.body().is_empty();
                ua.ack(now, call, (known.late && offered).then(sdp));
            }
            Event::Acked { .. } => {
                assert!(known.unacked && known.up);
                known.unacked = false;
            }
            Event::Reinvite { .. } => {
                assert!(known.up && !known.reinvited);
                known.reinvited = true;
            }
            Event::ReinviteCancelled { .. } => known.reinvited = false,
            Event::ReinviteAcked { .. } => known.unacked = false,
            Event::ReinviteAnswered { .. } => {
                assert!(known.reinviting);
                known.reinviting = false;
                if known.reinviting_late {
                    ua.ack(now, call, Some(sdp()));
                }
            }
            Event::ReinviteFailed { .. } => {
                assert!(known.reinviting);
                known.reinviting = false;
            }
            Event::Request { key, .. } => known.requests.push(key),
            Event::Response { key, .. } => {
                let place = self.in_flight.iter().position(|request| *request == (call, key));
                assert!(place.is_some(), "a response to nothing");
                if let Some(place) = place {
                    self.in_flight.swap_remove(place);
                }
            }
            Event::Cancelled { .. } => {
                assert!(!known.caller && (!known.up || known.unacked));
                (known.told, known.over) = (true, true);
                self.count("cancelled");
            }
            Event::Rejected { .. } => {
                assert!(known.caller && !known.up);
                (known.told, known.over) = (true, true);
                self.count("rejected");
            }
            Event::Failed { .. } => {
                assert!(known.caller && !known.up);
                (known.told, known.over) = (true, true);
                self.count("failed");
            }
            Event::Bye { .. } => {
                (known.told, known.over, known.up) = (true, true, false);
                self.count("bye");
            }
            Event::Gone { .. } | Event::Expired { .. } => {
                (known.told, known.over, known.up) = (true, true, false);
                self.count("gone");
            }
            Event::Released { .. } => {
                assert!(known.over || known.told, "released without an end: {known:?}");
                // A program that hung up is not told what became of its requests.
                let open = self.in_flight.iter().filter(|(of, _)| *of == call).count();
                assert!(open == 0 || !known.told, "requests without an answer");
                self.in_flight.retain(|(of, _)| *of != call);
                self.calls.remove(&call);
            }
        }
    }

    /// One move with one call, chosen by `choice`. Moves that do not fit its state are tried as well: they must do no harm.
    pub fn act(&mut self, ua: &mut Ua, now: Now, call: CallKey, choice: u8) {
        let Some(known) = self.calls.get_mut(&call) else { return };
        match choice % 20 {
            0 | 1 => {
                let _ = ua.respond(now, call, Reply::new(StatusCode::RINGING));
            }
            2..=4 => {
                if !known.caller
                    && !known.over
                    && ua.respond(now, call, Reply::with_body(StatusCode::OK, sdp())).is_ok()
                {
                    (known.up, known.unacked) = (true, true);
                }
            }
            5 => {
                if !known.caller && !known.over && ua.respond(now, call, Reply::new(StatusCode::BUSY_HERE)).is_ok() {
                    known.over = true;
                    self.count("refused");
                }
            }
            6 => {
                if known.caller && !known.up && !known.over {
                    ua.cancel(now, call, None);
                }
            }
            7 => {
                (known.over, known.up) = (true, false);
                ua.bye(now, call, Some("SIP;cause=200".into()));
                self.count("hung up");
            }
            8 | 9 => {
                if !known.over && ua.reinvite(now, call, Some(sdp())).is_ok() {
                    (known.reinviting, known.reinviting_late) = (true, false);
                }
            }
            10 => {
                if !known.over && ua.reinvite(now, call, None).is_ok() {
                    (known.reinviting, known.reinviting_late) = (true, true);
                }
            }
            11 | 12 => {
                if known.reinvited {
                    known.reinvited = false;
                    known.unacked = true;
                    ua.answer_reinvite(now, call, Reply::with_body(StatusCode::OK, sdp()));
                }
            }
            13 => {
                if known.reinvited {
                    known.reinvited = false;
                    ua.answer_reinvite(now, call, Reply::new(StatusCode::NOT_ACCEPTABLE_HERE));
                }
            }
            15 => {
                if !known.caller && !known.up {
                    let _ = ua.respond(now, call, Reply::with_body(StatusCode::SESSION_PROGRESS, sdp()));
                }
            }
            16 | 17 => {
                let body = (choice.is_multiple_of(2)).then(sdp);
                if !known.over && ua.update(now, call, body).is_ok() {
                    (known.reinviting, known.reinviting_late) = (true, false);
                }
            }
            14 => {
                if let Some(key) = known.requests.pop() {
                    ua.answer_request(now, key, Reply::new(StatusCode::OK));
                } else if !known.over
                    && let Ok(key) = ua.request(now, call, Method::Info, Vec::new(), None)
                {
                    self.in_flight.push((call, key));
                }
            }
            _ => {
                // Moves out of place.
                ua.ack(now, call, None);
                if known.up {
                    let _ = ua.respond(now, call, Reply::new(StatusCode::OK));
                }
                if !known.reinvited {
                    ua.answer_reinvite(now, call, Reply::new(StatusCode::OK));
                }
            }
        }
    }

    /// Answers everything that waits for this program, so that nothing is left open.
    pub fn decide(&mut self, ua: &mut Ua, now: Now, accept: bool) {
        let keys: Vec<CallKey> = self.calls.keys().copied().collect();
        for call in keys {
            let Some(known) = self.calls.get(&call) else { continue };
            if !known.caller && !known.up && !known.over {
                self.act(ua, now, call, if accept { 2 } else { 5 });
            } else if known.reinvited {
                self.act(ua, now, call, if accept { 11 } else { 13 });
            } else if !known.requests.is_empty() {
                self.act(ua, now, call, 14);
            }
        }
    }
}
