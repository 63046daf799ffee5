//! Whether a sound keeps its level: noise and tones do, no voice does for a second.

/// Frames whose levels are compared: 960 ms.
const SPAN: usize = 60;
/// Frames that a level is measured over, 160 ms: of noise it varies by a few tenths of a decibel then.
const OVER: usize = 10;
/// 2 dB.
const VARIES: f32 = 1.585;

#[derive(Debug)]
pub(super) struct Steady {
    /// Energies of the last frames, in a ring, and of the last `OVER` of them at each.
    energies: [f32; SPAN],
    levels: [f32; SPAN],
    at: usize,
    /// Frames heard, as far as it matters.
    heard: usize,
}

impl Steady {
    pub(super) fn new() -> Self {
        Steady { energies: [0.0; SPAN], levels: [0.0; SPAN], at: 0, heard: 0 }
    }

    /// Takes the next frame. True: it is as loud as all have been for a while.
    pub(super) fn hear(&mut self, frame: &[i16]) -> bool {
        let energy = frame.iter().map(|sample| f32::from(*sample).powi(2)).sum::<f32>();
        let at = self.at;
        self.at = (at + 1) % SPAN;
        self.heard = (self.heard + 1).min(SPAN + OVER);
        if let Some(slot) = self.energies.get_mut(at) {
            *slot = energy;
        }
        let level = (0..OVER).filter_map(|back| self.energies.get((at + SPAN - back) % SPAN)).sum::<f32>();
        if let Some(slot) = self.levels.get_mut(at) {
            *slot = level;
        }
        if self.heard < SPAN + OVER {
            return false;
        }
        let (least, most) =
            self.levels.iter().fold((f32::MAX, 0.0_f32), |(least, most), level| (least.min(*level), most.max(*level)));
        most <= least * VARIES
    }
}
