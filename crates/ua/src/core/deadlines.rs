//! Time: RFC 3261 §17, table 4.

use ringback_time::Now;

use crate::core::Ua;
use crate::timer::Kind;

impl Ua {
    /// Everything whose deadline has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some((_, target)) = self.timers.pop(now.mono) {
            match target.kind {
                Kind::ClientRetransmit | Kind::ClientEnd => self.client_timer(now, target.owner, target.kind),
                Kind::Trying | Kind::ServerRetransmit | Kind::ServerEnd => {
                    self.server_timer(now, target.owner, target.kind);
                }
                Kind::Accepted => self.accepted_timer(now, target.owner),
                Kind::Session => self.session_timer(now, target.owner),
                Kind::Reliable => self.reliable_timer(now, target.owner),
                Kind::Retry => self.retry_reinvite(now, target.owner),
                Kind::Password => self.password_overdue(target.owner),
                Kind::GiveUp => self.standalone_overdue(now, target.owner),
                Kind::CancelEnd => self.cancel_timed_out(now, target.owner),
            }
        }
        // I, J, K, L and M.
        self.linger.expire(now.mono);
    }
}
