//! Bindings of addresses of record: what a registrar knows, without I/O (RFC 3261 §10, RFC 3327, RFC 5626).
//!
//! * [`Registrar::plan`] reads a REGISTER against what is bound and says what it would change, or how it is refused. Nothing has changed then:
//!   whoever has to make the change durable first does that, and calls [`Registrar::commit`].
//! * [`Registrar::reply`] gives the header lines of the 200; [`Registrar::lookup`] the contacts of an address, best first.
//! * [`Registrar::handle_timeout`] lets bindings go whose time is over, [`Registrar::handle_closed`] forgets a connection.
//!
//! Invariants. Between `plan` and `commit` nobody else changes the same address (the caller keeps requests for one address in order). Each
//! address with bindings stands in the expiry queue with a time not after its first binding's end; so there is one entry an address, not one a
//! binding, and refreshing costs none. What a peer can grow is bounded: bindings an address, bindings in all, octets a binding.

mod aor;
mod binding;
mod config;
mod expiry;
#[doc(hidden)]
pub mod fuzz;
mod gruu;
mod plan;
mod registrar;
mod request;
#[cfg(test)]
mod tests;

pub use aor::{address_of_record, same_host};
pub use binding::{BindingKey, Record, Source};
pub use config::Config;
pub use gruu::GruuKey;
pub use plan::{Plan, Refusal, Write};
pub use registrar::Registrar;
