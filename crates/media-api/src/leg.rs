use std::fmt;

/// One RTP stream in each direction with one peer. The top byte names the media thread that it is opened on, so that a command finds its
/// way without a table unless the leg has moved; the rest is chosen by whoever hands out ports and is never used again within a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId(u64);

impl LegId {
    pub const fn new(thread: u8, serial: u64) -> Self {
        LegId(((thread as u64) << 56) | (serial & 0x00ff_ffff_ffff_ffff))
    }

    pub const fn thread(self) -> u8 {
        (self.0 >> 56) as u8
    }

    pub const fn serial(self) -> u64 {
        self.0 & 0x00ff_ffff_ffff_ffff
    }
}

impl fmt::Debug for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leg {}.{}", self.thread(), self.serial())
    }
}
