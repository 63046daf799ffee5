use ringback_time::Mono;

/// The world makes no progress.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Stuck {
    #[error("{steps} steps at one instant ({at:?}), the last of them: {last}")]
    Livelock { at: Mono, steps: u64, last: String },
    #[error("more than {steps} steps within a second, until {at:?}, the last of them: {last}")]
    Storm { at: Mono, steps: u64, last: String },
    #[error("still busy after the time that was given: {what}")]
    Busy { what: String },
}
