use std::time::Duration;

use crate::gruu::GruuKey;

/// What one registrar is told at the start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Hosts of the addresses of record that it keeps, without ports.
    pub domains: Vec<String>,
    /// A shorter life is refused with 423 (RFC 3261 §10.3, 7). Not above `max_expires`.
    pub min_expires: Duration,
    /// A longer life is shortened to this.
    pub max_expires: Duration,
    /// Bindings of one address of record; a request for more is refused with 403.
    pub max_contacts: usize,
    /// Bindings in all; one more is refused with 503.
    pub max_bindings: usize,
    /// Of temporary GRUUs (RFC 5627 Appendix A.2): random.
    pub gruu_key: GruuKey,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            domains: Vec::new(),
            min_expires: Duration::from_secs(60),
            max_expires: Duration::from_secs(3600),
            max_contacts: 10,
            max_bindings: 1_000_000,
            gruu_key: GruuKey([0; 32]),
        }
    }
}
