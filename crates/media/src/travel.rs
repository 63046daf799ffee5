//! A leg's way to another media thread: out of one engine with all that belongs to it, into another, which goes on where the first has
//! stopped: same stream, same phase, same clocks. A turn that came due on the way is taken on arrival.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ringback_media_api::LegId;
use ringback_time::Now;

use crate::leg::{Leg, millis};
use crate::wheel::Entry;
use crate::{MediaEngine, Out};

/// A leg between two engines.
pub struct Traveller(Box<Leg>);

impl Traveller {
    pub fn leg(&self) -> LegId {
        self.0.id
    }
}

impl std::fmt::Debug for Traveller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} on its way", self.0.id)
    }
}

impl MediaEngine {
    /// Takes a leg out of whatever bridge or room it is in, and out of this engine. `None`: there is no such leg (any more).
    pub fn depart<O: Out + ?Sized>(&mut self, now: Now, leg: LegId, out: &mut O) -> Option<Traveller> {
        if let Some(&key) = self.index.get(&leg) {
            self.rouse(millis(now.mono), key);
        }
        match catch_unwind(AssertUnwindSafe(|| self.remove(leg))) {
            Ok(gone) => gone.map(Traveller),
            Err(_) => {
                self.fail(leg, out);
                None
            }
        }
    }

    /// Takes in a leg that another engine has let go.
    pub fn arrive<O: Out + ?Sized>(&mut self, now: Now, Traveller(leg): Traveller, out: &mut O) {
        let id = leg.id;
        if catch_unwind(AssertUnwindSafe(|| self.take_in(now, leg))).is_err() {
            self.fail(id, out);
        }
    }

    fn take_in(&mut self, now: Now, leg: Box<Leg>) {
        let now_ms = millis(now.mono);
        let due_ms = leg.due_ms;
        let key = self.settle_in(now_ms, leg, due_ms);
        let (of_audio, of_recorder) = (self.next_epoch(), self.next_epoch());
        let Some(leg) = self.legs.get_mut(key as usize) else { return };
        if let Some(audio) = &mut leg.audio {
            audio.epoch = of_audio;
            self.wheel.insert(now_ms, audio.due_ms, Entry { key, epoch: of_audio });
        }
        if let Some(recorder) = &mut leg.recorder {
            recorder.epoch = of_recorder;
            self.wheel.insert(now_ms, recorder.due_ms, Entry { key, epoch: of_recorder });
        }
    }
}
