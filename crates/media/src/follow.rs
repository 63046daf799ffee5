//! Whose packets a leg's peer has heard last, where they were not of the leg's own encoder: its decoder knows what they told it, and whoever
//! goes on must know that too. A decoder of G.722 that is fed by an encoder which it does not know makes a burst as loud as can be.

use ringback_audio::{Encoder, Memory};
use ringback_media_api::Codec;

use crate::codec;

/// So much of what was passed on: G.722 has forgotten what was before (the slowest of its predictors falls to 1/e in 32 ms).
const OCTETS: usize = 1600;

pub(crate) enum Follow {
    /// Of an encoder that several legs share.
    Shared(Memory),
    /// Of another phone's, undecoded.
    Passed(Passed),
}

#[derive(Default)]
pub(crate) struct Passed(Vec<u8>);

impl Follow {
    /// The last that was passed on of G.722, joined.
    pub(crate) fn payloads(&self) -> &[u8] {
        match self {
            Follow::Passed(Passed(octets)) => octets.get(octets.len().saturating_sub(OCTETS)..).unwrap_or_default(),
            Follow::Shared(_) => &[],
        }
    }

    /// The encoder goes on from there.
    pub(crate) fn lead(&self, encoder: &mut Encoder) {
        match self {
            Follow::Shared(memory) => encoder.go_on_from(memory),
            Follow::Passed(_) => encoder.go_on_after(self.payloads()),
        }
    }
}

/// What another phone has encoded is sent.
#[inline]
pub(crate) fn pass_on(follow: &mut Option<Follow>, codec: Codec, payload: &[u8]) {
    if codec::is_stateless(codec) {
        return;
    }
    if !matches!(follow, Some(Follow::Passed(_))) {
        *follow = Some(Follow::Passed(Passed::default()));
    }
    if codec == Codec::G722
        && let Some(Follow::Passed(passed)) = follow
    {
        passed.push(payload);
    }
}

impl Passed {
    fn push(&mut self, payload: &[u8]) {
        let payload = payload.get(payload.len().saturating_sub(OCTETS)..).unwrap_or_default();
        if self.0.len() + payload.len() > 2 * OCTETS {
            // Moved once in many packets.
            self.0.drain(..self.0.len().saturating_sub(OCTETS));
        }
        self.0.extend_from_slice(payload);
    }
}
