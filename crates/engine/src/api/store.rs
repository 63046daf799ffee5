//! What the registrar asks of its store, and how a registrar is set up.

use std::time::Duration;

pub use ringback_registrar::{GruuKey, Record, Source, Write};

/// Where bindings are kept beside the engine's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreKind {
    /// Nowhere.
    #[default]
    Memory,
    /// This system alone writes it: read at the start (`Engine::restore`), written before a REGISTER is answered.
    Own,
    /// Others write it too: asked before each REGISTER, look-up and call.
    Shared,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrarConfig {
    /// Hosts of the addresses of record.
    pub domains: Vec<String>,
    pub min_expires: Duration,
    pub max_expires: Duration,
    pub max_contacts: usize,
    /// Of temporary GRUUs; `None`: random, so that those of before lead nowhere.
    pub gruu_key: Option<GruuKey>,
    pub store: StoreKind,
}

/// Work for the store; never two for one address at a time. Answered by `Engine::handle_stored`, always, exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreRequest {
    pub id: u64,
    pub work: StoreWork,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreWork {
    /// All bindings of an address.
    Find { aor: String },
    /// To be durable when it is answered.
    Write(Write),
}
