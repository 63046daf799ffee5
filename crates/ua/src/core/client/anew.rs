//! A request once more, as another transaction: with credentials, or at the next address after a 503.

use std::time::Duration;

use bytes::Bytes;
use ringback_sip::{HeaderName, Message, StatusCode};
use ringback_time::Now;

use crate::arena::Index;
use crate::core::answering::Authorizing;
use crate::core::client::{Client, Machine, Owner};
use crate::core::{Transaction, Ua};
use crate::target::Target;
use crate::timer::{Kind, Target as Wake};
use crate::transaction::key::Key;
use crate::transaction::linger::{Length, Past};
use crate::transaction::{client_invite, client_request};
use crate::wire::request::Draft;

impl Ua {
    /// The request once more, as another transaction with its own CSeq and branch, to where the first one went.
    pub(in crate::core) fn send_again(
        &mut self,
        now: Now,
        index: Index,
        cseq: u32,
        lines: &str,
        authorizing: Box<Authorizing>,
    ) {
        self.begin_anew(now, index, |client, current| {
            client.keep_on(current);
            client.draft.authorize(Some(cseq), lines);
            client.cseq = cseq;
            client.authorizing = Some(authorizing);
            client.targets.insert(0, current);
        });
    }

    /// RFC 3261 §21.5.4: a 503 says how long nothing else is to go to that server.
    pub(super) fn take_retry_after(&mut self, now: Now, index: Index, response: &Message) {
        let Some(current) = self.clients.get(index).and_then(|client| client.current) else { return };
        let Some(value) = response.headers().get(&HeaderName::RetryAfter) else { return };
        // §20.33: seconds, then perhaps a comment and parameters.
        let digits = value.trim_start().split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        if let Ok(seconds) = digits.parse::<u32>() {
            self.resting.rest(now.mono, current.transport, current.address, Duration::from_secs(seconds.into()));
        }
    }

    /// RFC 3263 §4.3: whether a 503 has the next address tried instead of being the answer.
    pub(super) fn fails_over(&self, index: Index, status: StatusCode) -> bool {
        let Some(client) = self.clients.get(index) else { return false };
        status == StatusCode::SERVICE_UNAVAILABLE && client.has_more() && self.may_move(client.owner)
    }

    /// What belongs to no dialog yet, and is still wanted.
    pub(super) fn may_move(&self, owner: Owner) -> bool {
        match owner {
            Owner::Standalone(_) => true,
            Owner::Invite(call) => !self.is_cancelling(call),
            _ => false,
        }
    }

    /// Lets go of a transaction that has its final response, and begins the next one for the same owner with what `change` makes of it. The
    /// old one stays for its retransmitted responses, as far as its machine wants that.
    pub(super) fn begin_anew(&mut self, now: Now, index: Index, change: impl FnOnce(&mut Client, Target)) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let (Some(branch), Some(current)) = (client.branch.take(), client.current) else { return };
        self.timers.stop(&mut client.retransmit);
        self.timers.stop(&mut client.end);
        let old = Key::of_client(branch, client.class);
        let reliable = current.transport.is_reliable();
        let (class, local, ack, old_cseq) = (client.class, client.local, client.ack.take(), client.cseq);
        change(client, current);
        let rest = match client.machine {
            Machine::Invite(_) => {
                client.machine = Machine::Invite(client_invite::State::Calling);
                Machine::Invite(client_invite::State::Completed)
            }
            Machine::Request(_) => {
                client.machine = Machine::Request(client_request::State::Trying);
                Machine::Request(client_request::State::Completed)
            }
        };
        match rest {
            // §17.1.1.2, §17.1.2.2: D and K are zero over a reliable transport.
            _ if reliable => {
                self.transactions.remove(&old);
            }
            Machine::Request(_) => self.retire(now, old, Length::Short, Past::ClientCompleted),
            Machine::Invite(_) => {
                let draft = Draft::new(Bytes::new(), 0, false);
                let rest = self.clients.insert(Client {
                    branch: Some(branch),
                    current: Some(current),
                    local,
                    ack,
                    ..Client::new(now, class, rest, draft, old_cseq, self.config.t1)
                });
                self.transactions.insert(old, Transaction::Client(rest));
                let wake = Wake { kind: Kind::ClientEnd, owner: rest };
                let end = self.timers.set(now.mono, self.config.t1 * 64, wake);
                if let Some(client) = self.clients.get_mut(rest) {
                    client.end = Some(end);
                }
            }
        }
        self.try_next(now, index, None);
    }
}
