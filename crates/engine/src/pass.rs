//! What passes between the two answered legs of a forwarded call while they hear each other: holding, and the digits that the media
//! does not carry. Each leg answers its own peer at once; what the answer means for the other leg is asked of its peer afterwards.
//! Holding passes while the two are alone with each other: in a conference whoever holds is just not heard, and the others go on.
//!
//! Invariant: `Call::held_for_peer` of a leg says that the last that was asked of its peer on behalf of the other leg is to be on
//! hold. A leg that the program holds itself is left as it is.

use ringback_media_api::Token;
use ringback_time::Now;

use crate::api::{DtmfMethod, State};
use crate::call::Link;
use crate::engine::Engine;
use crate::reinvite::Wanted;
use crate::table::Key;

/// Between digits that are passed on.
const GAP_MS: u32 = 50;
/// What is passed on lasts as long as what came, within what can be sent (`digits`).
const DURATION_MS: std::ops::RangeInclusive<u32> = 40..=8_000;

impl Engine {
    /// The other leg of a forwarded call, while a bridge connects the two.
    pub(crate) fn bridged_peer(&self, key: Key) -> Option<Key> {
        let call = self.calls.get(key)?;
        let Link::Peer(other) = call.link else { return None };
        let bridge = call.bridge?;
        (self.calls.get(other)?.bridge == Some(bridge)).then_some(other)
    }

    /// A description of one of the legs has changed, a re-INVITE that was in the way is over, or whom they hear.
    pub(crate) fn pass_hold(&mut self, now: Now, key: Key) {
        let Some(&Link::Peer(other)) = self.calls.get(key).map(|call| &call.link) else { return };
        let bridge = self.calls.get(key).and_then(|call| self.bridges.table.get(&call.bridge?));
        let alone = self.bridged_peer(key).is_some() && bridge.is_some_and(|bridge| bridge.members.len() == 2);
        let holds = |of: Key| alone && self.calls.get(of).is_some_and(|call| call.session.remote_hold());
        let (held, other_held) = (holds(other), holds(key));
        self.follow_hold(now, other, other_held);
        self.follow_hold(now, key, held);
    }

    /// Those who came into a bridge or left one since the last input.
    pub(crate) fn pass_holds(&mut self, now: Now) {
        for key in std::mem::take(&mut self.bridges.changed) {
            self.pass_hold(now, key);
        }
    }

    /// Asks the peer of `leg` to be on hold while that of the other leg holds (`held`), and no longer.
    fn follow_hold(&mut self, now: Now, leg: Key, held: bool) {
        let is_up = self.is_up(leg);
        let Some(call) = self.calls.get_mut(leg) else { return };
        if !is_up || call.media.external || call.reinvite.is_some() {
            return;
        }
        let wanted = match (held, call.held_for_peer, call.session.state()) {
            (true, false, State::Active) => Wanted::Hold,
            (false, true, State::OnHold) => Wanted::Resume,
            (false, true, _) => {
                call.held_for_peer = false;
                return;
            }
            _ => return,
        };
        call.held_for_peer = held;
        let id = call.session.id;
        if let Err(error) = self.reinvite(now, id, Token::default(), wanted, None) {
            tracing::info!(target: "ringback.session", call_id = self.call_id(leg), "holding is not passed on: {error}");
        }
    }

    /// A digit came by INFO (`by_info`), or as a telephone-event. The media passes events on where both legs have them; every other
    /// digit goes to the other peer in the way that it knows.
    pub(crate) fn pass_digit(&mut self, now: Now, key: Key, digit: char, duration_ms: u32, by_info: bool) {
        let Some(other) = self.bridged_peer(key) else { return };
        let carried = self.calls.get(other).is_some_and(|call| call.media.has_dtmf_events());
        if carried && !by_info {
            return;
        }
        let duration_ms = duration_ms.clamp(*DURATION_MS.start(), *DURATION_MS.end());
        let digits = digit.to_string();
        let result = self.send_digits(now, other, Token::default(), digits, DtmfMethod::Auto, duration_ms, GAP_MS);
        if let Err(error) = result {
            tracing::info!(target: "ringback.session", call_id = self.call_id(other), "a digit is not passed on: {error}");
        }
    }
}
