//! Codecs from end to end: the two legs of a forwarded call use the same one where both peers know it, so that the media is relayed
//! and not transcoded. The target is offered first what the caller has too, and the caller is answered first with what the target
//! chose.

use ringback_sdp::LocalCodec;

use crate::engine::Engine;
use crate::media_flow::Plan;
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

fn same_name(a: &str, b: &impl AsRef<str>) -> bool {
    a.eq_ignore_ascii_case(b.as_ref())
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
        let preferred = |codec: &LocalCodec| {
            let is_it = |(name, rate): &(_, u32)| codec.clock_rate == *rate && same_name(&codec.name, name);
            names.iter().any(is_it)
        };
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
        let codec = self.calls.get(target)?.media.config.as_ref()?.send?.codec;
        self.prefer_codecs(caller, &[(codec.name(), codec.clock_rate())]);
        self.plan_answer(caller, None).ok()
    }
}
