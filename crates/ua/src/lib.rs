//! SIP transactions, dialogs and INVITE usages, without I/O.

mod api;
mod arena;
mod core;
mod dialog;
#[doc(hidden)]
pub mod fuzz;
mod target;
mod timer;
mod transaction;
mod wire;

pub use api::*;
pub use core::Ua;
pub use wire::body::session_description;
