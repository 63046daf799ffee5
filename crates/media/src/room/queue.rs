//! What a member is to hear whose packets are longer or shorter than the room's frame: frames in, packets out.
//!
//! It starts when it holds enough never to run dry while frames come on time, and starts anew after it did. What a stall piles up is
//! dropped.

use super::FRAME_MS;

#[derive(Debug, Default)]
pub(crate) struct Queue {
    samples: Vec<i16>,
    running: bool,
}

impl Queue {
    /// Adds a frame; `per_ms`: samples.
    pub(crate) fn push(&mut self, frame: impl Iterator<Item = i16>, packet_ms: usize, per_ms: usize) {
        self.samples.extend(frame);
        let most = (packet_ms + 3 * FRAME_MS as usize) * per_ms;
        let excess = self.samples.len().saturating_sub(most);
        self.samples.drain(..excess);
    }

    /// Appends the samples of one packet. False: there are none yet.
    pub(crate) fn pop(&mut self, packet_ms: usize, per_ms: usize, to: &mut Vec<i16>) -> bool {
        let frame_ms = FRAME_MS as usize;
        // Packets and frames meet at other points each time where neither is a multiple of the other.
        let slack_ms =
            if frame_ms.is_multiple_of(packet_ms) || packet_ms.is_multiple_of(frame_ms) { 0 } else { frame_ms };
        let packet = packet_ms * per_ms;
        let needs = if self.running { packet } else { packet + slack_ms * per_ms };
        self.running = self.samples.len() >= needs;
        if self.running {
            to.extend(self.samples.drain(..packet));
        }
        self.running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_time_runs_without_a_gap_on_every_phase() {
        for packet_ms in [10, 15, 25, 30, 35, 40, 50, 60_usize] {
            for phase in 0..20 {
                let mut queue = Queue::default();
                let (mut said, mut heard, mut started) = (0_i16, Vec::new(), false);
                for ms in 0..2000_usize {
                    if ms % 20 == 0 {
                        queue.push(
                            (0..160).map(|_| {
                                said = said.wrapping_add(1);
                                said
                            }),
                            packet_ms,
                            8,
                        );
                    }
                    if ms % packet_ms == phase % packet_ms {
                        let went = queue.pop(packet_ms, 8, &mut heard);
                        assert!(went || !started, "dry at {ms} ms, packets of {packet_ms} from {phase}");
                        started = went;
                    }
                }
                assert!(heard.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
                assert!(heard.len() > 15_000);
            }
        }
    }
}
