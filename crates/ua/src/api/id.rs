use std::fmt;

use crate::arena::Index;

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            pub(crate) const fn new(index: Index) -> Self {
                Self(index.to_bits())
            }

            pub(crate) const fn index(self) -> Index {
                Index::from_bits(self.0)
            }

            /// For tables and logs; unique over the life of one `Ua`.
            pub const fn as_u64(self) -> u64 {
                self.0
            }

            /// Reads back what `as_u64` gave. A number that was never given names nothing, and operations on it fail as
            /// those on an ended call do.
            pub const fn from_u64(bits: u64) -> Self {
                Self(bits)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:x})"), self.0)
            }
        }
    };
}

key! {
    /// One INVITE usage: a call we place with all its forks, or a call we receive. Checked by generation: a key outlives its call
    /// harmlessly.
    CallKey
}
key! {
    /// A request within a call other than INVITE and BYE: one of the peer's that waits for our answer, or one of ours in flight.
    RequestKey
}
key! {
    /// A request of ours outside of a dialog, until its outcome has been told.
    StandaloneKey
}
key! {
    /// A password asked for by `Event::Password`.
    PasswordKey
}
key! {
    /// A subscription's dialog, ours or a peer's, until the program closes it.
    UsageKey
}
key! {
    /// A name look-up asked for by `Output::Resolve`.
    ResolveId
}

/// Marks the names of our own requests: theirs and those of the peer's come from different tables.
const OWN: u64 = 1 << 63;

impl RequestKey {
    pub(crate) const fn of_client(index: Index) -> Self {
        Self(index.to_bits() | OWN)
    }

    pub(crate) const fn client(self) -> Option<Index> {
        if self.0 & OWN == 0 { None } else { Some(Index::from_bits(self.0 & !OWN)) }
    }
}

/// What identifies a dialog: RFC 3261 §12.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DialogId {
    pub call_id: String,
    /// Ours.
    pub local_tag: String,
    /// The peer's; empty where it has none (RFC 2543).
    pub remote_tag: String,
}
