//! What a REGISTER would change, and how one is refused.

use ringback_sip::StatusCode;

use crate::binding::{BindingKey, Record};

/// What has to be durable before the answer: deletions first, then what is saved, all or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Write {
    pub aor: String,
    /// All that is bound goes, whatever `deleted` names.
    pub all: bool,
    pub deleted: Vec<BindingKey>,
    pub saved: Vec<Record>,
}

impl Write {
    pub fn is_empty(&self) -> bool {
        self.deleted.is_empty() && self.saved.is_empty()
    }
}

/// A REGISTER that may be carried out.
#[derive(Clone, Debug)]
pub struct Plan {
    pub write: Write,
    pub(crate) supports_path: bool,
    pub(crate) supports_gruu: bool,
    /// The request's own Path, to be repeated in the 200.
    pub(crate) path: String,
    pub(crate) outbound: bool,
}

/// The final response to a REGISTER that changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    /// `None`: the standard's phrase.
    pub reason: Option<&'static str>,
    pub headers: Vec<(String, String)>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode) -> Refusal {
        Refusal { status, reason: None, headers: Vec::new() }
    }

    pub(crate) fn with_reason(status: StatusCode, reason: &'static str) -> Refusal {
        Refusal { reason: Some(reason), ..Refusal::new(status) }
    }
}
