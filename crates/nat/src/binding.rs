//! One STUN Binding request (RFC 8489 §2): which address does a packet from this socket come from?

use std::net::SocketAddr;
use std::time::Duration;

use ringback_time::Mono;
use stun_proto::agent::{StunAgent, StunAgentPollRet};
use stun_types::TransportType;
use stun_types::attribute::{ErrorCode, XorMappedAddress};
use stun_types::message::{BINDING, Message, MessageClass, MessageType, MessageWriteVec, TransactionId};
use stun_types::prelude::MessageWrite as _;

use crate::clock::{instant, mono};

/// How a request is repeated: after `rto`, and then twice as long each time up to `longest`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) rto: Duration,
    pub(crate) longest: Duration,
    pub(crate) sent_most: u32,
    /// After the last one.
    pub(crate) last_wait: Duration,
}

/// RFC 8489 §6.2.1 begins with 500 ms and sends seven times, over half a minute. A caller waits here: sent at 0, 100, 300 and 700 ms,
/// given up after a second (the RFC leaves these open to configuration).
pub(crate) const BRISK: Schedule = Schedule {
    rto: Duration::from_millis(100),
    longest: Duration::from_millis(400),
    sent_most: 4,
    last_wait: Duration::from_millis(300),
};

#[derive(Debug)]
pub(crate) struct Binding {
    agent: StunAgent,
    server: SocketAddr,
    id: TransactionId,
    state: State,
    next: Option<Mono>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Asking,
    Known(SocketAddr),
    /// Given up.
    Silent,
    Failed(String),
}

impl Binding {
    /// `id`: 96 random bits. The first request goes to `send`.
    pub(crate) fn new(
        now: Mono,
        local: SocketAddr,
        server: SocketAddr,
        id: u128,
        schedule: Schedule,
        send: impl FnOnce(Vec<u8>),
    ) -> Self {
        let Schedule { rto, longest, sent_most, last_wait } = schedule;
        let mut agent = StunAgent::builder(TransportType::Udp, local)
            .remote_addr(server)
            .request_retransmits(rto, longest, sent_most, last_wait)
            .build();
        let id = TransactionId::from(id);
        let kind = MessageType::from_class_method(MessageClass::Request, BINDING);
        let request = Message::builder(kind, id, MessageWriteVec::new()).finish();
        let state = match agent.send_request(request, server, instant(now)) {
            Ok(transmit) => {
                send(transmit.data.to_vec());
                State::Asking
            }
            Err(error) => State::Failed(error.to_string()),
        };
        Binding { agent, server, id, state, next: Some(now + rto) }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn server(&self) -> SocketAddr {
        self.server
    }

    /// Takes a datagram that looks like STUN. True: it was for us.
    pub(crate) fn handle(&mut self, now: Mono, from: SocketAddr, bytes: &[u8]) -> bool {
        // Whoever else knows the transaction is not whom we asked.
        if from != self.server || self.state != State::Asking {
            return false;
        }
        let Ok(message) = Message::from_bytes(bytes) else { return false };
        if message.method() != BINDING || message.transaction_id() != self.id {
            return false;
        }
        if !message.is_response() || !self.agent.handle_stun_message_with_time(&message, from, instant(now)) {
            return false;
        }
        self.state = match message.class() {
            MessageClass::Success => match message.attribute::<XorMappedAddress>().map(|mapped| mapped.addr(self.id)) {
                Ok(mapped) if mapped.ip().is_unspecified() || mapped.port() == 0 => {
                    State::Failed(format!("the server says {mapped}, which is no address"))
                }
                Ok(mapped) => State::Known(mapped),
                Err(_) => State::Failed("a response without XOR-MAPPED-ADDRESS".into()),
            },
            _ => State::Failed(refusal(&message)),
        };
        self.next = None;
        true
    }

    pub(crate) fn handle_timeout(&mut self, now: Mono, mut send: impl FnMut(Vec<u8>)) {
        if self.state != State::Asking {
            return;
        }
        match self.agent.poll(instant(now)) {
            StunAgentPollRet::WaitUntil(until) => self.next = Some(mono(until)),
            StunAgentPollRet::TransactionTimedOut(_) | StunAgentPollRet::TransactionCancelled(_) => {
                self.state = State::Silent;
                self.next = None;
                return;
            }
        }
        let mut sent = false;
        while let Some(transmit) = self.agent.poll_transmit(instant(now)) {
            send(transmit.data.to_vec());
            sent = true;
        }
        if sent && let StunAgentPollRet::WaitUntil(until) = self.agent.poll(instant(now)) {
            self.next = Some(mono(until));
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Mono> {
        self.next.filter(|_| self.state == State::Asking)
    }
}

/// What an error response says, for people.
pub(crate) fn refusal(message: &Message<'_>) -> String {
    match message.attribute::<ErrorCode>() {
        // The reason is the server's text: not longer than what is worth reading, nothing that would disturb a log.
        Ok(error) => {
            let reason: String = error.reason().chars().filter(|c| !c.is_control()).take(80).collect();
            format!("refused: {} {reason}", error.code())
        }
        Err(_) => "refused without an error code".into(),
    }
}

/// A Binding indication (RFC 8489 §2): nobody answers it, and on its way it keeps the NAT's mapping alive.
pub(crate) fn indication(id: u128) -> Vec<u8> {
    let kind = MessageType::from_class_method(MessageClass::Indication, BINDING);
    Message::builder(kind, TransactionId::from(id), MessageWriteVec::new()).finish()
}

/// RFC 7983 §7: by the first octet, a STUN message is none of RTP, RTCP, DTLS and ChannelData.
pub(crate) fn looks_like_stun(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| *first < 4)
}
