//! The one thing that is answered here: a request after which its stream cannot be read any further.

use bytes::Bytes;
use ringback_sip::{Builder, HeaderName, ParseError};

/// The response to give before closing; `None` where none can be given.
pub(super) fn write(error: &ParseError) -> Option<Bytes> {
    let request = error.partial.as_deref()?;
    let mut response = Builder::response(error.status, Some(error.reason));
    for name in [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq] {
        response.copy_headers(request, &name);
    }
    Some(response.finish())
}
