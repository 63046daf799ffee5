//! What a leg sends of another leg (or, as an echo, of itself) whose codec it cannot send: decoded, resampled, and encoded anew on the
//! leg's own turns. A playout buffer stands between, since a turn comes when it comes.
//!
//! Invariant: exists only while packets come that need it. Where they no longer do, what waits in the buffer is sent at once, ahead of
//! the packets that are relayed from then on, so that nothing is lost.

use ringback_audio::Resampler;
use ringback_media_api::Codec;

use crate::hearing::Hearing;
use crate::statistics::PlayoutDelay;

pub(crate) struct Transcode {
    /// Which stream of packets is decoded.
    stream: u32,
    sends: Codec,
    hearing: Hearing,
}

impl Transcode {
    /// `None`: there is no way from the one to the other.
    pub(crate) fn new(stream: u32, comes: Codec, sends: Codec) -> Option<Self> {
        Some(Transcode { stream, sends, hearing: Hearing::new(comes, sends.sample_rate()).ok()? })
    }

    /// Goes on with what waits to be heard of a stream.
    pub(crate) fn going_on(stream: u32, sends: Codec, mut hearing: Hearing) -> Self {
        hearing.change_rate(sends.sample_rate());
        Transcode { stream, sends, hearing }
    }

    /// What waits to be heard of that stream.
    pub(crate) fn into_hearing(self, stream: u32) -> Option<Hearing> {
        (self.stream == stream).then_some(self.hearing)
    }

    /// The packet that comes first is heard at once: what came before it was.
    pub(crate) fn begin_at(&mut self, timestamp: u32) {
        self.hearing.begin_at(timestamp);
    }

    /// Whether it makes samples for this codec.
    pub(crate) fn is_for(&self, sends: Codec) -> bool {
        self.sends == sends
    }

    /// False: it came too late.
    pub(crate) fn push(&mut self, stream: u32, extended: u64, timestamp: u32, codec: Codec, payload: &[u8]) -> bool {
        self.at(stream);
        self.hearing.push(extended, timestamp, codec, payload)
    }

    pub(crate) fn push_noise(&mut self, stream: u32, extended: u64, timestamp: u32, payload: &[u8]) {
        self.at(stream);
        self.hearing.push_noise(extended, timestamp, payload);
    }

    pub(crate) fn playout(&self) -> PlayoutDelay {
        self.hearing.playout()
    }

    fn at(&mut self, stream: u32) {
        if self.stream != stream {
            self.stream = stream;
            self.hearing.reset();
        }
    }

    /// Appends the samples of one packet. False: they are silence.
    pub(crate) fn pull(&mut self, ms: usize, to: &mut Vec<i16>) -> bool {
        let start = to.len();
        self.hearing.pull(ms, to);
        to.iter().skip(start).any(|sample| *sample != 0)
    }

    /// Appends all that waits, at the rate of the codec that is sent from now on.
    pub(crate) fn drain(&mut self, sends: Codec, to: &mut Vec<i16>) {
        let mut samples = Vec::new();
        self.hearing.drain(&mut samples);
        if let Ok(mut resampler) = Resampler::new(self.sends.sample_rate(), sends.sample_rate()) {
            resampler.process(&samples, to);
        }
    }
}
