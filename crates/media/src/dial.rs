//! Digits that a leg sends as telephone-events: jobs one after the other, digits one after the other, with gaps and pauses.
//!
//! While an event goes out, its end packets included, the leg sends nothing else.

use std::collections::VecDeque;

use ringback_media_api::Token;
use ringback_rtp::dtmf::{EventPacket, EventSender, code_of};

/// Jobs that may wait; one more is answered at once as not completed.
const JOBS: usize = 64;
/// A comma.
const PAUSE_MS: u64 = 1000;
/// -dBm0 of the tones that the events stand for.
const VOLUME: u8 = 10;

#[derive(Debug, Default)]
pub(crate) struct Dial {
    jobs: VecDeque<Job>,
    event: Option<EventSender>,
    /// Timestamp of the audio where it began.
    began: u32,
    /// Nothing begins before.
    resume_ms: u64,
}

#[derive(Debug)]
struct Job {
    digits: VecDeque<char>,
    duration_ms: u32,
    gap_ms: u32,
    token: Token,
}

/// What the leg does in this packet time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It sends this and no audio. `token`: that was the last of a job.
    Event { packet: EventPacket, began: u32, end_timestamp: u32, token: Option<Token> },
    /// Audio. `token`: a job came to its end with a pause.
    Audio { token: Option<Token> },
}

impl Dial {
    /// False: too many are waiting.
    pub(crate) fn add(&mut self, digits: &str, duration_ms: u32, gap_ms: u32, token: Token) -> bool {
        if self.jobs.len() >= JOBS {
            return false;
        }
        self.jobs.push_back(Job { digits: digits.chars().collect(), duration_ms, gap_ms, token });
        true
    }

    /// Whether an event is going out.
    pub(crate) fn is_sounding(&self) -> bool {
        self.event.is_some()
    }

    /// Nothing to do, and the gap after the last digit is over: another may begin at once.
    pub(crate) fn is_idle(&self, due_ms: u64) -> bool {
        self.jobs.is_empty() && self.event.is_none() && due_ms >= self.resume_ms
    }

    /// The turn of the packet time that is due at `due_ms` and lasts `units` of the events' clock, whose audio would have `timestamp`.
    pub(crate) fn turn(&mut self, due_ms: u64, timestamp: u32, units: u32, units_per_ms: u32) -> Turn {
        if self.event.is_none() && due_ms >= self.resume_ms {
            let Some(job) = self.jobs.front_mut() else { return Turn::Audio { token: None } };
            match job.digits.pop_front() {
                Some(',') => self.resume_ms = due_ms + PAUSE_MS,
                Some(digit) => {
                    // The session engine has checked the digits; what is none takes no time.
                    if let Some(code) = code_of(digit) {
                        let duration = job.duration_ms.saturating_mul(units_per_ms);
                        self.began = timestamp;
                        self.event = Some(EventSender::new(code, VOLUME, timestamp, duration));
                        self.resume_ms = due_ms + u64::from(job.duration_ms) + u64::from(job.gap_ms);
                    }
                }
                None => return Turn::Audio { token: self.jobs.pop_front().map(|job| job.token) },
            }
        }
        let Some(event) = &mut self.event else { return Turn::Audio { token: None } };
        let packet = event.next(units);
        let end_timestamp = event.end_timestamp();
        let mut token = None;
        if event.is_done() {
            self.event = None;
            if self.jobs.front().is_some_and(|job| job.digits.is_empty()) {
                token = self.jobs.pop_front().map(|job| job.token);
            }
        }
        match packet {
            Some(packet) => Turn::Event { packet, began: self.began, end_timestamp, token },
            None => Turn::Audio { token },
        }
    }

    /// The rest of the first job is not sent. What of it sounds is brought to its end; a pause is over.
    pub(crate) fn cut_short(&mut self, due_ms: u64) {
        let Some(job) = self.jobs.front_mut() else { return };
        job.digits.clear();
        if self.event.is_none() {
            let gap = due_ms + u64::from(job.gap_ms);
            self.resume_ms = self.resume_ms.min(gap);
        }
    }

    /// Gives up whatever is under way or waiting; with each job, whether its digits have been sent.
    pub(crate) fn abandon(&mut self) -> impl Iterator<Item = (Token, bool)> {
        // RFC 4733 §2.5.1.4: the first end packet tells the end, the other two are for the case that it was lost.
        let is_over = self.event.take().is_none_or(|event| event.is_over());
        let jobs = std::mem::take(&mut self.jobs).into_iter().enumerate();
        jobs.map(move |(n, job)| (job.token, n == 0 && is_over && job.digits.iter().all(|digit| *digit == ',')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Code, duration, end.
    type Sent = Option<(u8, u16, bool)>;

    /// Turns of 20 ms, `None` for audio; and when which token came.
    fn turns(dial: &mut Dial, ticks: u64) -> (Vec<Sent>, Vec<(u64, u64)>) {
        let (mut all, mut tokens) = (Vec::new(), Vec::new());
        for tick in 0..ticks {
            match dial.turn(tick * 20, tick as u32 * 160, 160, 8) {
                Turn::Event { packet, token, .. } => {
                    all.push(Some((packet.event.code, packet.event.duration, packet.event.end)));
                    tokens.extend(token.map(|t| (tick, t.0)));
                }
                Turn::Audio { token } => {
                    all.push(None);
                    tokens.extend(token.map(|t| (tick, t.0)));
                }
            }
        }
        (all, tokens)
    }

    #[test]
    fn digits_keep_their_gaps_and_the_last_end_packet_completes_the_job() {
        let mut dial = Dial::default();
        assert!(dial.add("1#", 40, 60, Token(7)));
        let (all, tokens) = turns(&mut dial, 12);
        let one = [Some((1, 160, false)), Some((1, 320, true)), Some((1, 320, true)), Some((1, 320, true))];
        let hash = [Some((11, 160, false)), Some((11, 320, true)), Some((11, 320, true)), Some((11, 320, true))];
        assert_eq!(all[..4], one);
        assert_eq!(all[4..5], [None], "40 + 60 ms from the start of the first");
        assert_eq!(all[5..9], hash);
        assert_eq!(all[9..], [None; 3]);
        assert_eq!(tokens, [(8, 7)]);
        assert!(!dial.is_idle(199) && dial.is_idle(200), "the gap after the last digit is kept");
    }

    #[test]
    fn a_job_that_is_cut_short_ends_its_digit_and_leaves_the_rest_out() {
        let mut dial = Dial::default();
        dial.add("12", 40, 0, Token(1));
        dial.add("3", 40, 0, Token(2));
        assert!(matches!(dial.turn(0, 0, 160, 8), Turn::Event { token: None, .. }));
        dial.cut_short(0);
        let (all, tokens) = turns(&mut dial, 9);
        let codes: Vec<u8> = all.iter().flatten().map(|(code, ..)| *code).collect();
        assert_eq!(codes, [1, 1, 1, 3, 3, 3, 3]);
        assert_eq!(tokens, [(2, 1), (6, 2)]);

        let mut dial = Dial::default();
        dial.cut_short(0);
        dial.add(",,,4", 40, 60, Token(3));
        assert_eq!(dial.turn(0, 0, 160, 8), Turn::Audio { token: None });
        dial.cut_short(0);
        assert_eq!(turns(&mut dial, 10), (vec![None; 10], vec![(3, 3)]), "not after the pause");
    }

    #[test]
    fn a_comma_pauses_for_a_second_and_jobs_wait_for_each_other() {
        let mut dial = Dial::default();
        dial.add("5,", 40, 0, Token(1));
        dial.add("6", 40, 0, Token(2));
        dial.add("", 40, 0, Token(3));
        let (all, tokens) = turns(&mut dial, 70);
        assert_eq!(all.iter().position(|t| t.is_some_and(|(code, ..)| code == 6)), Some(55));
        assert_eq!(tokens, [(54, 1), (58, 2), (59, 3)]);
    }

    #[test]
    fn only_so_many_jobs_wait() {
        let mut dial = Dial::default();
        assert_eq!((0..100).filter(|n| dial.add("1", 100, 100, Token(*n))).count(), JOBS);
        assert_eq!(dial.abandon().count(), JOBS);
        assert!(dial.is_idle(0));
    }

    #[test]
    fn digits_that_are_given_up_have_been_sent_once_the_end_of_the_last_has() {
        // 40 ms and 60 ms of gap: the ends of the digits go out in ticks 1, 2, 3 and 6, 7, 8.
        for (digits, ticks, sent) in
            [("1", 0, false), ("1", 1, false), ("1", 2, true), ("12", 4, false), ("12", 6, false), ("12", 7, true)]
        {
            let mut dial = Dial::default();
            dial.add(digits, 40, 60, Token(1));
            dial.add("3", 40, 60, Token(2));
            turns(&mut dial, ticks);
            assert_eq!(dial.abandon().collect::<Vec<_>>(), [(Token(1), sent), (Token(2), false)], "{digits} {ticks}");
        }
        let mut dial = Dial::default();
        dial.add("1,,", 40, 60, Token(1));
        turns(&mut dial, 10);
        assert_eq!(dial.abandon().collect::<Vec<_>>(), [(Token(1), true)], "only pauses were left");
    }
}
