//! What the rooms above see: identities, commands, events, the shared view of a session.

mod command;
mod config;
mod error;
mod event;
mod id;
mod registration;
mod session;
mod store;

pub use crate::headers::forwardable;
pub use command::{BridgeRole, CallOptions, Command, Decision, DtmfMethod, HeaderList, TransferTarget};
pub use config::{Config, InbandDtmf, Interest, Limits, Origin};
pub use error::Error;
pub use event::{BridgeEventKind, BridgeInfo, Event, IncomingCall, MediaInfo, Reply, TextMessage};
pub use id::{BridgeId, SessionId};
pub use registration::{AccountConfig, Registration, RegistrationState};
pub use session::{Direction, Directory, End, EndCause, Session, State, Stats};
pub use store::{GruuKey, Record, RegistrarConfig, Source, StoreKind, StoreRequest, StoreWork, Write};
