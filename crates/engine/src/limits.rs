//! Bounds on what a peer can make the engine and the program do.

use std::time::Duration;

use ringback_time::Mono;

/// Seconds that a 503 tells the caller to stay away (RFC 3261 §20.33).
pub(crate) const RETRY_AFTER: &str = "10";

/// New calls are refused while the oldest event that the program has not yet taken is older than this.
pub(crate) const BACKLOG_MOST: Duration = Duration::from_secs(2);

/// Targets of one `Forward`.
pub(crate) const TARGETS_MOST: usize = 32;

/// Digits of one `SendDtmf`.
pub(crate) const DIGITS_MOST: usize = 1024;

/// `SendDtmf` commands of one call that wait for their turn.
pub(crate) const DIGIT_JOBS_MOST: usize = 64;

/// Of one call, those who collect digits at a time.
pub(crate) const COLLECTORS_MOST: usize = 16;

/// Requests outside of calls that wait for an answer: a program may ask all that it knows at once, not without end.
pub(crate) const REQUESTS_MOST: usize = 16_384;

/// Octets of the text of a message that we send: it has to fit, with its headers, into what peers of our kind take.
pub(crate) const MESSAGE_MOST: usize = 32_768;

/// MESSAGEs that are taken for the program at once and in a second; beyond that peers get 503. What it has not yet taken is bounded so.
pub(crate) const MESSAGES_A_SECOND: u16 = 1000;
/// STUN requests that are answered in a second, and those of one source (and of few others, by chance): 100,000 telephones keep their flows alive
/// by 4,000 a second.
pub(crate) const STUN_A_SECOND: u16 = 20_000;
pub(crate) const STUN_A_SOURCE: u16 = 1000;
/// Accounts with other registrars.
pub(crate) const ACCOUNTS_MOST: usize = 10_000;
/// Outbound proxies of one account.
pub(crate) const FLOWS_MOST: usize = 4;

/// Requests about one address of record that wait for the binding store.
pub(crate) const ADDRESS_JOBS_MOST: usize = 32;

/// Addresses of record that the binding store is at work for, or is asked about.
pub(crate) const STORE_WORK_MOST: usize = 32_768;

/// Bridges that a program may create and leave without members.
pub(crate) const BRIDGES_MOST: usize = 65_536;

/// Subscriptions of ours, and of peers.
pub(crate) const SUBSCRIPTIONS_MOST: usize = 10_000;

/// Mailboxes that a summary was published for.
pub(crate) const SUMMARIES_MOST: usize = 100_000;

/// Commands of one call that wait for an answer of the media engine.
pub(crate) const MEDIA_REPLIES_MOST: usize = 256;

/// An outgoing call that rings without a word from the other side is given up after this (RFC 3261 §16.6, Timer C, is "more than
/// three minutes"; §13.3.1.1 obliges the called side to repeat its 1xx each minute).
pub(crate) const RINGING_MOST: Duration = Duration::from_secs(200);

/// RFC 3261 §13.3.1.1: a provisional response is repeated every minute.
pub(crate) const RINGING_REFRESH: Duration = Duration::from_secs(60);

/// A token bucket: what a peer sends beyond it is answered, but not reported to the program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket<const RATE: u16 = 32> {
    left: u16,
    since: Mono,
}

impl<const RATE: u16> Bucket<RATE> {
    /// So many at once, and again so many a second.
    pub(crate) const RATE: u16 = RATE;

    pub(crate) fn new(now: Mono) -> Self {
        Bucket { left: Self::RATE, since: now }
    }

    pub(crate) fn take(&mut self, now: Mono) -> bool {
        let step = Duration::from_secs(1) / u32::from(Self::RATE);
        let elapsed = now.since(self.since);
        let earned = elapsed.as_nanos() / step.as_nanos();
        if earned > 0 {
            self.left = (u128::from(self.left) + earned).min(u128::from(Self::RATE)) as u16;
            self.since = if self.left == Self::RATE { now } else { self.since + step * (earned as u32) };
        }
        let taken = self.left > 0;
        self.left = self.left.saturating_sub(1);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_a_burst_through_and_then_its_rate() {
        let start = Mono::from_nanos(1_000);
        let mut bucket: Bucket = Bucket::new(start);
        assert_eq!((0..1000).filter(|_| bucket.take(start)).count(), usize::from(Bucket::<32>::RATE));
        let mut passed = 0;
        for ms in 1..=10_000_u64 {
            passed += usize::from(bucket.take(start + Duration::from_millis(ms)));
        }
        assert!((315..=325).contains(&passed), "{passed} in ten seconds");
        assert!(bucket.take(start + Duration::from_secs(1_000_000)));
    }
}
