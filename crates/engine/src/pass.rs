//! What passes between the two answered legs of a forwarded call while they hear each other: holding, and the digits that the media
//! does not carry. Each leg answers its own peer at once; what the answer means for the other leg is asked of its peer afterwards.
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

    /// A description of one of the legs has changed, or a re-INVITE that was in the way is over.
    pub(crate) fn pass_hold(&mut self, now: Now, key: Key) {
        let Some(other) = self.bridged_peer(key) else { return };
        self.follow_hold(now, other, key);
        self.follow_hold(now, key, other);
    }

    /// Asks the peer of `leg` to be on hold while the peer of `of` holds.
    fn follow_hold(&mut self, now: Now, leg: Key, of: Key) {
        let held = self.calls.get(of).is_some_and(|call| call.session.remote_hold());
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
