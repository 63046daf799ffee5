//! Where others reach a call's media, when a NAT is between: the ports' owner asks (STUN, TURN) as soon as they are reserved, and no
//! description can be made before it has an answer. A call that goes out waits with its INVITE, one that comes in waits to be told to
//! the program. The owner answers in a few seconds at most, with nothing where nothing was learned; then the local address stands.

use ringback_media_api::PublicAddress;
use ringback_time::Now;

use crate::engine::Engine;
use crate::table::Key;

impl Engine {
    /// A new call's ports may have to be asked about.
    pub(crate) fn seek(&mut self, key: Key) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let Some(port) = call.media.port.filter(|port| self.ports.is_seeking(port.leg)) else { return };
        call.media.seeking = true;
        // The answer comes by the leg's name, though there is no leg yet.
        self.legs.insert(port.leg, key);
    }

    pub(crate) fn is_seeking(&self, key: Key) -> bool {
        self.calls.get(key).is_some_and(|call| call.media.seeking)
    }

    /// The ports' owner has asked.
    pub(crate) fn reached(&mut self, now: Now, key: Key, public: Option<PublicAddress>) {
        let Some(call) = self.calls.get_mut(key).filter(|call| call.media.seeking) else { return };
        call.media.seeking = false;
        call.media.public = public;
        match call.arrival.take() {
            Some(arrival) => self.arrived(now, key, *arrival),
            None => self.go_out(now, key),
        }
    }
}
