//! SDP for audio calls: reading (RFC 8866), writing, and the offer/answer model (RFC 3264). Pure: text and wishes go in, text and
//! what was settled come out; nothing is remembered in between.
//!
//! How data passes. A program's wishes are a [`LocalMedia`]. [`offer`] writes them down. [`answer`] reads the peer's offer, takes
//! the first audio line that we can use, rejects every other line with port 0 and returns the answer together with what it means
//! for the media ([`Negotiated`]). [`accept`] reads the peer's answer to our offer, [`answered`] reads back an answer that the
//! program edited. All three end in the same function, so that both sides of a call understand a pair of descriptions alike.
//!
//! [`Description`] is a view of the text, which stays as it came: [`redirected`] can therefore change the direction and the version
//! of a description that somebody else made and leave every other byte alone.
//!
//! Rules that hold everywhere:
//! - We send with the payload types that the peer's description gives, and receive with those of ours (RFC 3264 §5.1).
//! - The order of the answer decides which codec is used; as the answerer we list what is common by our own preference.
//! - A later description of ours ([`LocalMedia::previous`]) keeps the `o=` line, the media lines and the payload types of the
//!   earlier one, and raises the version only when something changed (RFC 3264 §8).
//! - `a=rtcp-mux` is answered, and offered where that is wished ([`LocalMedia::rtcp_mux`]); without it RTCP goes to `a=rtcp` (RFC 3605), or
//!   to the port above RTP.
//! - What a peer can grow is bounded: size, lines, media lines, formats (see [`limits`]).

mod answer;
mod check;
mod codec;
mod direction;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod host;
mod line;
mod local;
mod offer;
mod opus;
mod parse;
mod redirect;
mod role;
mod rtcp;
mod settle;
mod write;

pub use answer::{answer, answered};
pub use check::{check_answer, check_offer};
pub use codec::{AudioCodec, EventType, LocalCodec};
pub use direction::Direction;
pub use error::SdpError;
pub use host::{Families, MediaHost};
pub use line::limits;
pub use local::LocalMedia;
pub use offer::{accept, offer};
pub use opus::OpusParameters;
pub use parse::{Description, Media, Origin, media_address};
pub use redirect::{redirected, succeeding};
pub use role::Role;
pub use settle::Negotiated;
