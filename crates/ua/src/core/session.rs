//! Session timers: RFC 4028. A session that nobody refreshes in its interval has ended, whatever became of the BYE.
//!
//! The interval and who refreshes are agreed by each INVITE, re-INVITE and UPDATE anew: `judge_session` reads the peer's request,
//! `session_answered` its 2xx, and `start_session` puts what was agreed into force. Refreshing is done here by UPDATE where
//! the peer takes it, else the program is asked for a re-INVITE (`Event::Refresh`).

use std::time::Duration;

use ringback_sip::{HeaderName, Message, StatusCode};
use ringback_time::{Mono, Now};
use tracing::debug;

use crate::api::{CallKey, Event};
use crate::arena::Index;
use crate::core::Ua;
use crate::core::call::{OwnInvite, Stage};
use crate::timer::{Kind, Target as Wake, TimerId, Timers};

pub(super) const OPTION: &str = "timer";
/// RFC 4028 §4: no interval is shorter.
pub(super) const LEAST: u32 = 90;
/// So often a peer may ask for more in one call, each proxy on the way perhaps once (RFC 4028 §7.3); then its 422 is the answer.
const MOST_RAISES: u8 = 5;

/// What both sides know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Agreed {
    /// Seconds.
    interval: u32,
    /// We refresh.
    ours: bool,
}

/// The timer of one call.
#[derive(Default)]
pub(super) struct Session {
    agreed: Option<Agreed>,
    /// What the request that is being answered will have agreed on.
    next: Option<Agreed>,
    /// Seconds: the most that a 422 or the peer's Min-SE asked for.
    min_se: u32,
    /// 422s that were done as they said.
    raised: u8,
    timer: Option<TimerId>,
    end: Option<Mono>,
    /// The refresh is out, or the peer's is awaited: what fires next is the end.
    waits: bool,
}

impl Session {
    pub(super) fn stop(&mut self, timers: &mut Timers) {
        timers.stop(&mut self.timer);
    }
}

/// `Session-Expires: 1800;refresher=uac`
struct SessionExpires {
    seconds: u32,
    /// Whether the one who sent the request refreshes.
    by_requester: Option<bool>,
}

impl SessionExpires {
    fn of(message: &Message) -> Option<SessionExpires> {
        let value = message.headers().get(&HeaderName::SessionExpires)?;
        let mut parts = value.split(';').map(str::trim);
        let seconds = parts.next()?.parse().ok()?;
        let refresher = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("refresher").then(|| value.trim().to_ascii_lowercase())
        });
        let by_requester = match refresher.as_deref() {
            Some("uac") => Some(true),
            Some("uas") => Some(false),
            _ => None,
        };
        Some(SessionExpires { seconds, by_requester })
    }
}

fn min_se_of(message: &Message) -> Option<u32> {
    message.headers().get(&HeaderName::MinSe)?.split(';').next()?.trim().parse().ok()
}

impl Ua {
    /// The peer's INVITE, re-INVITE or UPDATE: what our 2xx will agree to. `Err`: 422, too short for us (§9).
    pub(super) fn judge_session(&mut self, index: Index, request: &Message) -> Result<(), StatusCode> {
        let asked = SessionExpires::of(request);
        let least = self.config.min_session_expires.max(LEAST);
        let wished = self.config.session_expires;
        let Some(call) = self.calls.get_mut(index) else { return Ok(()) };
        if asked.is_none() && wished.is_none() {
            // §9: a refresh that does not ask for it ends it.
            if let Some(session) = &mut call.session {
                session.next = None;
            }
            return Ok(());
        }
        let knows = request.supported().any(|option| option.eq_ignore_ascii_case(OPTION));
        if knows && asked.as_ref().is_some_and(|asked| asked.seconds < least) {
            return Err(StatusCode::SESSION_INTERVAL_TOO_SMALL);
        }
        let session = call.session.get_or_insert_default();
        let floor = min_se_of(request).unwrap_or(LEAST).max(least);
        session.min_se = session.min_se.max(floor);
        let longest = asked.as_ref().map_or(u32::MAX, |asked| asked.seconds);
        let interval = longest.min(wished.unwrap_or(u32::MAX)).max(floor);
        // §9, table 2: who does not know of timers does not refresh; else as asked, else whoever asks.
        let ours = !knows || asked.and_then(|asked| asked.by_requester) == Some(false);
        session.next = Some(Agreed { interval, ours });
        Ok(())
    }

    /// What the 2xx to the peer's request says of it, once `start_session` has put it into force.
    pub(super) fn session_reply_headers(&self, index: Index) -> Vec<(String, String)> {
        let agreed = self.calls.get(index).and_then(|call| call.session.as_ref()?.agreed);
        let Some(Agreed { interval, ours }) = agreed else { return Vec::new() };
        let refresher = if ours { "uas" } else { "uac" };
        let mut headers = vec![("Session-Expires".to_owned(), format!("{interval};refresher={refresher}"))];
        if !ours {
            // §9: it must know what it has agreed to.
            headers.push(("Require".to_owned(), OPTION.to_owned()));
        }
        headers
    }

    /// What a request of ours says, `again` in a dialog.
    pub(super) fn session_headers(&self, index: Index, again: bool) -> Vec<(String, String)> {
        let session = self.calls.get(index).and_then(|call| call.session.as_ref());
        let agreed = session.and_then(|session| session.agreed).filter(|_| again);
        let asked = session.map_or(0, |session| session.min_se);
        let (interval, refresher) = match (agreed, self.config.session_expires) {
            // §7.4: the roles stay as they are, said from where we stand.
            (Some(Agreed { interval, ours: true }), _) => (interval, ";refresher=uac"),
            (Some(Agreed { interval, ours: false }), _) => (interval, ";refresher=uas"),
            (None, Some(wished)) => (wished, ""),
            (None, None) => return Vec::new(),
        };
        let least = self.config.min_session_expires.max(asked).max(LEAST);
        let mut headers = vec![("Session-Expires".to_owned(), format!("{}{refresher}", interval.max(least)))];
        if least > LEAST {
            headers.push(("Min-SE".to_owned(), least.to_string()));
        }
        headers
    }

    /// 422 to a request of ours (§7.3): what it wants at least, when that can be done.
    pub(super) fn longer_session(&mut self, index: Index, response: &Message) -> bool {
        let Some(least) = min_se_of(response).filter(|least| *least > LEAST) else { return false };
        let Some(call) = self.calls.get_mut(index) else { return false };
        let session = call.session.get_or_insert_default();
        if least <= session.min_se || session.raised == MOST_RAISES {
            // It said so before, and we did as it said; or it is never content.
            return false;
        }
        session.min_se = least;
        session.raised += 1;
        true
    }

    /// A 2xx to a request of ours (§7.2).
    pub(super) fn session_answered(&mut self, now: Now, index: Index, response: &Message) {
        let agreed = SessionExpires::of(response);
        let wished = self.config.session_expires;
        let Some(call) = self.calls.get_mut(index) else { return };
        if agreed.is_none() && wished.is_none() && call.session.is_none() {
            return;
        }
        let session = call.session.get_or_insert_default();
        session.next = match (agreed, wished) {
            (Some(agreed), _) => {
                Some(Agreed { interval: agreed.seconds.max(LEAST), ours: agreed.by_requester != Some(false) })
            }
            // The peer knows nothing of it; we refresh all the same.
            (None, Some(wished)) => Some(Agreed { interval: wished.max(session.min_se).max(LEAST), ours: true }),
            (None, None) => None,
        };
        self.start_session(now, index);
    }

    /// What was agreed is in force from now on.
    pub(super) fn start_session(&mut self, now: Now, index: Index) {
        let Some(session) = self.calls.get_mut(index).and_then(|call| call.session.as_mut()) else { return };
        self.timers.stop(&mut session.timer);
        session.agreed = session.next.take();
        let Some(Agreed { interval, ours }) = session.agreed else { return };
        let interval = Duration::from_secs(interval.into());
        // §10: whoever waits gives up a little before the end.
        let early = if ours { Duration::ZERO } else { (interval / 3).min(Duration::from_secs(32)) };
        let end = interval - early;
        session.end = Some(now.mono + end);
        session.waits = !ours;
        let wait = if ours { interval / 2 } else { end };
        session.timer = Some(self.timers.set(now.mono, wait, Wake { kind: Kind::Session, owner: index }));
    }

    /// Half of the interval, or its end.
    pub(super) fn session_timer(&mut self, now: Now, index: Index) {
        let Some(call) = self.calls.get_mut(index) else { return };
        let established = call.stage == Stage::Confirmed;
        let Some(session) = &mut call.session else { return };
        session.timer = None;
        let Some(end) = session.end.filter(|_| established) else { return };
        let key = CallKey::new(index);
        if session.waits || end <= now.mono {
            debug!(target: "ringback.dialog", "call {key:?}: nobody refreshed the session");
            self.call_event(index, Event::Expired { call: key });
            return self.bye(now, key, Some("SIP;cause=408;text=\"Session timer expired\"".into()));
        }
        session.waits = true;
        let wait = end.since(now.mono);
        session.timer = Some(self.timers.set(now.mono, wait, Wake { kind: Kind::Session, owner: index }));
        // A request of ours that is under way refreshes as well.
        if call.own_invite.is_some() {
            return;
        }
        if self.can_update(key) {
            self.begin_own(now, index, OwnInvite { update: true, refresh: true, ..OwnInvite::default() });
        } else {
            self.call_event(index, Event::Refresh { call: key });
        }
    }

    pub(super) fn stop_session(&mut self, index: Index) {
        if let Some(session) = self.calls.get_mut(index).and_then(|call| call.session.as_mut()) {
            session.stop(&mut self.timers);
        }
    }
}
