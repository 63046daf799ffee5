//! Codecs from end to end: the two legs of a forwarded call use the same one where both peers know it, so that the media is relayed
//! and not transcoded. The target is offered first what the caller has too, and the caller is answered first with what the target
//! chose.

use ringback_media_api::Codec;
use ringback_sdp::LocalCodec;
use ringback_time::Now;
use ringback_ua::Body;

use crate::call::Stage;
use crate::engine::Engine;
use crate::media_flow::Plan;
use crate::reinvite::Reinvite;
use crate::table::Key;

impl Plan {
    /// The encodings that both sides know, by name and clock rate; none where they are not settled yet.
    pub(crate) fn codec_names(&self) -> Vec<(String, u32)> {
        match self {
            Plan::Answer(negotiated) => {
                negotiated.receive.iter().map(|codec| (codec.name.to_string(), codec.clock_rate)).collect()
            }
            Plan::Offer(_) | Plan::Settled | Plan::External { .. } => Vec::new(),
        }
    }
}

impl Plan {
    /// Whether pauses of the peer may come as comfort noise.
    fn has_comfort_noise(&self) -> bool {
        matches!(self, Plan::Answer(negotiated) if negotiated.comfort_noise_send.is_some())
    }
}

fn is_one_of(codec: &LocalCodec, names: &[(impl AsRef<str>, u32)]) -> bool {
    names.iter().any(|(name, rate)| codec.clock_rate == *rate && codec.name.eq_ignore_ascii_case(name.as_ref()))
}

impl Engine {
    /// What the target of a forwarded call is offered first, by what its caller has.
    pub(crate) fn offer_like(&mut self, target: Key, caller: Option<&Plan>) {
        let Some(caller) = caller else { return };
        self.prefer_codecs(target, &caller.codec_names());
        if let Some(call) = self.calls.get_mut(target) {
            call.media.offers_noise = caller.has_comfort_noise();
        }
    }

    /// Puts the codecs with those names and clock rates first in what the call's descriptions say from now on; the others keep their order.
    pub(crate) fn prefer_codecs(&mut self, key: Key, names: &[(impl AsRef<str>, u32)]) {
        let preferred = |codec: &LocalCodec| is_one_of(codec, names);
        let all = &self.codecs;
        if all.iter().skip_while(|codec| preferred(codec)).all(|codec| !preferred(codec)) {
            // As they stand.
            return;
        }
        let (mut first, rest): (Vec<LocalCodec>, Vec<LocalCodec>) = all.iter().cloned().partition(preferred);
        first.extend(rest);
        if let Some(call) = self.calls.get_mut(key) {
            call.media.codecs = Some(first.into());
        }
    }

    /// The answer for a caller whose target has settled on a codec: that codec first. `None`: there is no answer to give yet.
    pub(crate) fn plan_like(&mut self, caller: Key, target: Key) -> Option<Plan> {
        let codec = self.codec_of(target)?;
        self.prefer_codecs(caller, &[(codec.name(), codec.clock_rate())]);
        self.plan_answer(caller, None).ok()
    }

    /// The caller of a forwarded call has acknowledged our answer. That had to be the one of the early media that it heard (RFC 3261 §13.2.1),
    /// which may have been another target's: then it is offered anew what the call was answered with, if it has that.
    pub(crate) fn agree_on_codec(&mut self, now: Now, caller: Key) {
        let Some(target) = self.bridged_peer(caller) else { return };
        let Some(wanted) = self.codec_of(target) else { return };
        let Some(call) = self.calls.get(caller) else { return };
        let (Some(ua), Some(config), Stage::Confirmed, None) =
            (call.ua, &call.media.config, call.stage, &call.reinvite)
        else {
            return;
        };
        let passes = config.send.is_some_and(|send| send.codec.passes_as(wanted));
        let knows = config.receive.iter().any(|format| format.codec == wanted);
        if call.media.external || passes || !knows {
            return;
        }
        let name = [(wanted.name(), wanted.clock_rate())];
        // By itself: the order of an answer is the caller's own matter.
        let alone = self.codecs.iter().filter(|codec| is_one_of(codec, &name)).cloned().collect();
        if let Some(call) = self.calls.get_mut(caller) {
            call.media.codecs = Some(alone);
        }
        let plan = self.plan_reoffer(caller, None);
        if let Some(call) = self.calls.get_mut(caller) {
            call.media.codecs = None;
        }
        self.prefer_codecs(caller, &name);
        let Ok(Plan::Offer(sdp)) = plan else { return };
        // Who refuses it goes on with what was settled.
        if self.ua.reinvite(now, ua, Some(Body::sdp(sdp.clone()))).is_ok()
            && let Some(call) = self.calls.get_mut(caller)
        {
            tracing::debug!(target: "ringback.media", call_id = %call.session.call_id, "offering {} anew", wanted.name());
            call.media.local_offer = Some(sdp);
            call.reinvite = Some(Reinvite::refresh(call.media.direction));
        }
    }

    fn codec_of(&self, key: Key) -> Option<Codec> {
        Some(self.calls.get(key)?.media.config.as_ref()?.send?.codec)
    }
}
