//! RTCP of one leg: reports at random intervals, what the peer's reports tell, and the goodbye.

use std::time::Duration;

use rand_core::RngCore;
use ringback_media_api::{Codec, RemoteMetrics};
use ringback_rtp::ReceiverState;
use ringback_rtp::rtcp::{
    self, DelaySinceLast, Extended, ExtendedBlock, Interval, Report, ReportBlock, RoundTrip, SenderInfo, VoipMetrics,
};
use ringback_time::{Mono, Now};

use crate::outgoing::Outgoing;
use crate::voip;

/// RFC 3550 §6.2: 5 % of the session's 64 kbit/s, in octets a second, for both ends together.
const BANDWIDTH: f64 = 400.0;
/// RFC 3550 §6.3.3: IP and UDP headers count.
const HEADERS: usize = 28;

#[derive(Debug)]
pub(crate) struct Control {
    due: Mono,
    /// RFC 3550 §6.3.7: who never sent anything leaves without a word.
    reported: bool,
    average_size: f64,
    /// Middle of the NTP time of the peer's last sender report, and when it came.
    last_sr: Option<(u32, Mono)>,
    /// The same of the reference time of a peer that sends none, with its SSRC.
    last_reference: Option<(u32, u32, Mono)>,
    pub(crate) round_trip: RoundTrip,
    /// What of our packets the peer lost between its last two reports.
    pub(crate) peer_loss_percent: Option<u8>,
    /// What the peer has said of the stream that it gets.
    pub(crate) remote: Option<Box<RemoteMetrics>>,
    collision: Collision,
    /// Packets and octets that were sent with the SSRC that was given up for it.
    past: (u64, u64),
    /// RTP packets sent when each of the last two reports was made.
    sent_before: [u64; 2],
}

/// The peer sends with our SSRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Collision {
    Never,
    /// The next report takes leave of it.
    Found,
    /// RFC 3550 §8.2 remembers who did it: once more is a loop, and no accident.
    Settled,
}

/// What the peer wants in extended reports.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) reference_time: bool,
    pub(crate) voip: Option<VoipMetrics>,
}

impl Control {
    pub(crate) fn new(now: Mono, rng: &mut impl RngCore) -> Self {
        let mut control = Control {
            due: now,
            reported: false,
            average_size: 120.0,
            last_sr: None,
            last_reference: None,
            round_trip: RoundTrip::new(),
            peer_loss_percent: None,
            remote: None,
            collision: Collision::Never,
            past: (0, 0),
            sent_before: [0; 2],
        };
        control.schedule(now, true, rng);
        control
    }

    pub(crate) fn due(&self) -> Mono {
        self.due
    }

    fn schedule(&mut self, now: Mono, we_sent: bool, rng: &mut impl RngCore) {
        let of = Interval {
            members: 2,
            senders: 1 + u32::from(we_sent),
            we_sent,
            initial: !self.reported,
            bandwidth: BANDWIDTH,
            average_size: self.average_size,
        };
        self.due = now + rtcp::interval(&of, rng);
    }

    /// Skips a report that has nowhere to go.
    pub(crate) fn postpone(&mut self, now: Mono, rng: &mut impl RngCore) {
        self.schedule(now, false, rng);
    }

    /// Writes the report that is due, and sets the time of the next.
    #[allow(clippy::too_many_arguments)] // Parts of one leg, borrowed apart.
    pub(crate) fn report(
        &mut self,
        now: Now,
        outgoing: &mut Outgoing,
        incoming: &mut ReceiverState,
        codec: Codec,
        cname: &str,
        wanted: Wanted,
        goodbye: bool,
        rng: &mut impl RngCore,
        to: &mut Vec<u8>,
    ) {
        // RFC 3550 §6.4: a sender report is for who sent since the report before the last.
        let [before_last, last] = self.sent_before;
        let we_sent = outgoing.packets > before_last;
        self.sent_before = [last, outgoing.packets];
        let ntp = now.wall.ntp();
        let sender = we_sent.then(|| SenderInfo {
            ntp,
            timestamp: outgoing.clock(now.mono.as_nanos() / 1_000_000),
            packets: (outgoing.packets - self.past.0) as u32,
            octets: (outgoing.octets - self.past.1) as u32,
        });
        let block = incoming.ssrc().zip(incoming.report()).map(|(ssrc, reception)| {
            let (last_sr, delay) = match self.last_sr {
                Some((ntp, came)) => (ntp, units_65536(now.mono.since(came))),
                None => (0, 0),
            };
            ReportBlock {
                ssrc,
                fraction_lost: reception.fraction_lost,
                cumulative_lost: reception.cumulative_lost,
                extended_highest: reception.extended_highest,
                jitter: incoming.jitter_units(codec.clock_rate()),
                last_sr,
                delay_since_last_sr: delay,
            }
        });
        let extended =
            Extended {
                // RFC 3611 §4.4: for who sends no sender reports, by which the others measure.
                reference_time: (wanted.reference_time && sender.is_none()).then_some(ntp),
                delay: self.last_reference.filter(|_| wanted.reference_time).map(|(ssrc, last_rr, came)| {
                    DelaySinceLast { ssrc, last_rr, delay: units_65536(now.mono.since(came)) }
                }),
                voip: wanted.voip,
            };
        let collides = self.collision == Collision::Found;
        let goodbye = goodbye || (collides && self.owes_goodbye(outgoing));
        to.clear();
        rtcp::write(&Report { ssrc: outgoing.ssrc(), sender, block, cname, extended, goodbye }, to);
        if sender.is_some() || extended.reference_time.is_some() {
            self.round_trip.sent(ntp, now.mono);
        }
        if collides {
            // RFC 3550 §8.2.
            outgoing.set_ssrc(rng.next_u32());
            (self.collision, self.past) = (Collision::Settled, (outgoing.packets, outgoing.octets));
        }
        self.reported = true;
        self.sized(to.len());
        self.schedule(now.mono, we_sent, rng);
    }

    /// A stream of the peer's has our SSRC. True: the next report is due, and takes leave of it.
    pub(crate) fn collides(&mut self, now: Mono) -> bool {
        let first = self.collision == Collision::Never;
        if first {
            (self.collision, self.due) = (Collision::Found, now);
        }
        first
    }

    /// Whether a goodbye is owed.
    pub(crate) fn owes_goodbye(&self, outgoing: &Outgoing) -> bool {
        self.reported || outgoing.packets > 0
    }

    /// Takes a compound packet from the peer, checked as to where it came from. False: it is none.
    /// `clock_rate`: of what we send.
    pub(crate) fn receive(
        &mut self,
        now: Mono,
        packet: &[u8],
        own_ssrc: u32,
        peer_ssrc: Option<u32>,
        clock_rate: u32,
    ) -> bool {
        let Ok(compound) = rtcp::parse(packet) else { return false };
        self.sized(packet.len());
        for packet in compound.packets() {
            let blocks = match packet {
                rtcp::Packet::SenderReport { ssrc, info, blocks } => {
                    // Before the first RTP packet there is no knowing which SSRC will be the peer's.
                    if peer_ssrc.is_none_or(|peer| peer == ssrc) {
                        self.last_sr = Some(((info.ntp >> 16) as u32, now));
                    }
                    blocks
                }
                rtcp::Packet::ReceiverReport { blocks, .. } => blocks,
                rtcp::Packet::ExtendedReport { ssrc, blocks } => {
                    for block in blocks {
                        self.receive_extended(now, ssrc, block, own_ssrc);
                    }
                    continue;
                }
                _ => continue,
            };
            for block in blocks.filter(|block| block.ssrc == own_ssrc) {
                self.round_trip.received(&block, now);
                self.peer_loss_percent = Some((u16::from(block.fraction_lost) * 100 / 256) as u8);
                self.remote.get_or_insert_default().reported = Some(voip::reported(&block, clock_rate));
            }
        }
        true
    }

    fn receive_extended(&mut self, now: Mono, from: u32, block: ExtendedBlock<'_>, own_ssrc: u32) {
        match block {
            ExtendedBlock::ReferenceTime(time) => self.last_reference = Some((from, (time >> 16) as u32, now)),
            ExtendedBlock::Delays(mut delays) => {
                if let Some(delay) = delays.find(|delay| delay.ssrc == own_ssrc) {
                    self.round_trip.answered(delay.last_rr, delay.delay, now);
                }
            }
            ExtendedBlock::VoipMetrics(metrics) if metrics.ssrc == own_ssrc => {
                self.remote.get_or_insert_default().voip = Some(voip::received(&metrics));
            }
            _ => {}
        }
    }

    /// RFC 3550 §6.3.3: the running average of packet sizes.
    fn sized(&mut self, octets: usize) {
        self.average_size += ((octets + HEADERS) as f64 - self.average_size) / 16.0;
    }
}

/// 1/65536 s, as DLSR counts.
fn units_65536(duration: Duration) -> u32 {
    u32::try_from((duration.as_nanos() << 16) / 1_000_000_000).unwrap_or(u32::MAX)
}
