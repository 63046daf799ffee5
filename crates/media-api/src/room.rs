use std::fmt;

use crate::LegId;

/// A conference of one media thread, whose number is the top byte. The rest is chosen by whoever opens it and is never used again
/// within a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(u64);

impl RoomId {
    /// Set in all of them and in no leg's serial: commands and events that concern a whole room still name one [`LegId`].
    const MARK: u64 = 1 << 55;

    pub const fn new(thread: u8, serial: u64) -> Self {
        RoomId(((thread as u64) << 56) | (serial & (Self::MARK - 1)) | Self::MARK)
    }

    pub const fn thread(self) -> u8 {
        (self.0 >> 56) as u8
    }

    /// What stands for the room where a leg is asked for. No leg has it.
    pub const fn place(self) -> LegId {
        LegId::new(self.thread(), self.0)
    }
}

impl fmt::Debug for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "room {}.{}", self.thread(), self.0 & (Self::MARK - 1))
    }
}

/// What a member of a room is to the others. All hear everybody else who is heard by all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Heard by all.
    #[default]
    Member,
    /// Heard by nobody.
    Listener,
    /// Heard by that leg alone, as long as it is in the same room.
    Whisper { beside: LegId },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_never_taken_for_a_leg() {
        let room = RoomId::new(3, 7);
        assert_eq!((room.thread(), room.place().thread()), (3, 3));
        assert_ne!(room.place(), LegId::new(3, 7));
        assert_eq!(format!("{room:?}"), "room 3.7");
    }
}
