//! STUN on the socket of SIP itself (RFC 5626 §4.4.2, §8): a Binding request that keeps a flow alive, or learns what a NAT makes of the
//! socket's address; and the answer to one.

use std::net::SocketAddr;
use std::time::Duration;

use ringback_time::Mono;
use stun_types::attribute::{Attribute as _, AttributeType, XorMappedAddress};
use stun_types::message::{BINDING, MAGIC_COOKIE, Message, MessageClass, MessageWriteVec};
use stun_types::prelude::{MessageWrite as _, MessageWriteExt as _};

use crate::binding::{Binding, Schedule, State};

/// RFC 8489 §6.2.1: seven requests, 500 ms and then twice as long apart. Longer than 4 s nobody waits between two of them, so that a flow
/// is known to be dead after 20 s rather than 40.
const PATIENT: Schedule = Schedule {
    rto: Duration::from_millis(500),
    longest: Duration::from_secs(4),
    sent_most: 7,
    last_wait: Duration::from_secs(4),
};

/// What became of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Where our packets come from, as the other side sees it.
    Mapped(SocketAddr),
    /// Somebody is there, and does not say.
    Refused(String),
    /// Not a word.
    Silent,
}

/// One Binding request, repeated until it is answered or given up.
#[derive(Debug)]
pub struct Probe(Binding);

impl Probe {
    /// `id`: 96 random bits. The first request goes to `send`.
    pub fn new(now: Mono, local: SocketAddr, remote: SocketAddr, id: u128, send: impl FnOnce(Vec<u8>)) -> Probe {
        Probe(Binding::new(now, local, remote, id, PATIENT, send))
    }

    /// Takes a datagram that [`is_stun`]. Only whom we asked is listened to.
    pub fn handle(&mut self, now: Mono, from: SocketAddr, bytes: &[u8]) {
        self.0.handle(now, from, bytes);
    }

    pub fn handle_timeout(&mut self, now: Mono, send: impl FnMut(Vec<u8>)) {
        self.0.handle_timeout(now, send);
    }

    pub fn poll_timeout(&self) -> Option<Mono> {
        self.0.poll_timeout()
    }

    /// `None`: not yet.
    pub fn outcome(&self) -> Option<Asked> {
        match self.0.state() {
            State::Asking => None,
            State::Known(mapped) => Some(Asked::Mapped(*mapped)),
            State::Silent => Some(Asked::Silent),
            State::Failed(why) => Some(Asked::Refused(why.clone())),
        }
    }
}

/// RFC 8489 §5, RFC 5626 §8: by its first octet, and the magic cookie, a datagram is STUN and no SIP, whose messages begin with a letter.
pub fn is_stun(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| *first < 4) && bytes.get(4..8) == Some(&MAGIC_COOKIE.to_be_bytes())
}

/// The transaction of a STUN message: 96 bits.
pub fn transaction(bytes: &[u8]) -> Option<u128> {
    let id = bytes.get(8..20)?;
    Some(id.iter().fold(0, |id, byte| id << 8 | u128::from(*byte)))
}

/// No answer is so many times as long as what it answers.
const LOUDEST: usize = 3;

/// The answer to a Binding request from there (RFC 5389 §7.3.1): its own address, and nothing else. `None`: it gets none.
pub fn answer(bytes: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    let request = Message::from_bytes(bytes).ok()?;
    if request.method() != BINDING || request.class() != MessageClass::Request {
        return None;
    }
    // RFC 5626 §8 has no authentication, nor anything else that would have to be understood.
    let unknown: Vec<AttributeType> = request
        .iter_attributes()
        .map(|(_, attribute)| attribute.get_type())
        .filter(|kind| kind.comprehension_required())
        .take(UNKNOWN_MOST)
        .collect();
    let answer = if unknown.is_empty() {
        let mut answer = Message::builder_success(&request, MessageWriteVec::new());
        answer.add_attribute(&XorMappedAddress::new(from, request.transaction_id())).ok()?;
        answer.finish()
    } else {
        Message::unknown_attributes(&request, &unknown, MessageWriteVec::new()).finish()
    };
    (answer.len() < LOUDEST * bytes.len()).then_some(answer)
}

/// Attributes that a refusal names.
const UNKNOWN_MOST: usize = 8;
