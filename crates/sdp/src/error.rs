/// What is wrong with a description, or with a pair of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdpError {
    /// The text is not SDP. `line` counts from 1.
    #[error("SDP line {line}: {why}: {text:?}")]
    Syntax { line: usize, why: &'static str, text: String },
    /// The description as a whole lacks something, or is too large.
    #[error("SDP: {0}")]
    Invalid(&'static str),
    /// Well-formed, but no audio in it that we can send and receive.
    #[error("no audio in common: {0}")]
    NothingInCommon(&'static str),
    /// A description that does not answer the offer. `media` counts media lines from 1.
    #[error("not an answer to the offer: media line {media}: {why}")]
    NotAnAnswer { media: usize, why: &'static str },
}

impl SdpError {
    /// The SIP status that a peer's request with this fault in it is answered with: 400 for what cannot be read, 488 for what
    /// cannot be met (RFC 3261 §21.4.26).
    pub const fn status(&self) -> u16 {
        match self {
            SdpError::Syntax { .. } | SdpError::Invalid(_) => 400,
            SdpError::NothingInCommon(_) | SdpError::NotAnAnswer { .. } => 488,
        }
    }
}
