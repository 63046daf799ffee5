//! SIP messages, headers, URIs and stream framing (RFC 3261): the wire format and nothing else.
//!
//! * A datagram goes to [`Message::parse`]; a stream goes through [`StreamFramer`] first, which cuts messages out of it.
//! * [`Message`] keeps what came and an index of its header lines; typed values ([`Via`], [`NameAddr`], [`CSeq`], ...) are
//!   parsed when they are asked for. [`validate`] checks all that a user agent relies on.
//! * A fault is a [`ParseError`]: the response to give and, where one can be given, the message to answer.
//! * [`digest`] is who is who: challenges, credentials and what is computed (RFC 7616).
//! * [`Builder`] writes. It refuses what would break out of a header field.
//!
//! Each value type can only be had valid, and `parse(emit(x)) == x` for it. Parsers take any bytes, never panic, and cost
//! no more than linear time; sizes are bounded by [`MAX_URI_LEN`], [`MAX_HEADER_LINES`] and the framer's limits.

mod builder;
mod cseq;
pub mod digest;
mod error;
mod framer;
#[doc(hidden)]
pub mod fuzz;
mod grammar;
mod headers;
mod host;
mod message;
mod method;
mod name;
mod name_addr;
mod params;
mod reason;
mod status;
mod uri;
mod validate;
mod via;

pub use builder::{BuildError, Builder, is_valid_header_text};
pub use cseq::{CSeq, CSeqError};
pub use error::{ErrorKind, HeaderError, ParseError};
pub use framer::{Frame, FrameError, FrameErrorKind, Limits, StreamFramer};
pub use headers::{Headers, MAX_HEADER_LINES, list_values};
pub use host::{Host, HostOwned};
pub use message::{Message, StartLine};
pub use method::Method;
pub use name::HeaderName;
pub use name_addr::{NameAddr, NameAddrError};
pub use params::{Params, ParamsError};
pub use reason::Reason;
pub use status::StatusCode;
pub use uri::{MAX_URI_LEN, Scheme, Uri, UriError};
pub use validate::validate;
pub use via::{SentBy, Via, ViaError, ViaTransport};
