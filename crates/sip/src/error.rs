//! What is wrong with a message, and what to answer.

use std::fmt;

use crate::message::Message;
use crate::name::HeaderName;
use crate::status::StatusCode;

/// Where in a message the fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Not a SIP message at all, or its start line cannot be read.
    StartLine,
    /// Another version than SIP/2.0: 505.
    Version,
    /// The Request-URI is malformed.
    RequestUri,
    /// The Request-URI is too long: 414.
    RequestUriTooLong,
    /// The Request-URI is of a scheme that is not SIP's or `tel`: 416.
    RequestUriScheme,
    /// A header line without colon, with a name that is no token, or without end.
    HeaderLine,
    /// A mandatory header field is not there.
    Missing,
    /// A header field that may be there once is there several times.
    Repeated,
    /// A header field's value is malformed.
    Value,
    /// The method of the CSeq is not that of the request.
    MethodMismatch,
    /// The Content-Length is no number, contradicts another one, or is more than there is.
    ContentLength,
    /// More bytes or header lines than are accepted: 513.
    TooLarge,
}

/// A message that is refused: the response to give, and why.
///
/// `partial` is there where a response can be given at all: the message is a request other than ACK, and its topmost Via
/// can be read, if need be by [`Message::reply_via`]. Any of From, To, Call-ID and CSeq may be missing in it: a response
/// copies those that are there. Without `partial`, and always with responses, drop the message.
#[derive(Clone, Debug)]
pub struct ParseError {
    pub status: StatusCode,
    pub reason: &'static str,
    pub partial: Option<Box<Message>>,
    kind: ErrorKind,
}

impl ParseError {
    pub(crate) fn new(kind: ErrorKind, reason: &'static str) -> ParseError {
        let status = match kind {
            ErrorKind::Version => StatusCode::VERSION_NOT_SUPPORTED,
            ErrorKind::RequestUriTooLong => StatusCode::REQUEST_URI_TOO_LONG,
            ErrorKind::RequestUriScheme => StatusCode::UNSUPPORTED_URI_SCHEME,
            ErrorKind::TooLarge => StatusCode::MESSAGE_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        ParseError { status, reason, partial: None, kind }
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> ParseError {
        self.status = status;
        self
    }

    /// Takes the message along where it can be answered.
    pub(crate) fn about(mut self, message: Message) -> ParseError {
        self.partial = message.is_answerable().then(|| Box::new(message));
        self
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether nothing is to be sent back.
    pub fn is_drop(&self) -> bool {
        self.partial.is_none()
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.reason)
    }
}

impl std::error::Error for ParseError {}

/// A header field that is not there, or whose value cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderError {
    /// `true` where the header field is not there.
    pub missing: bool,
    /// A reason phrase for a 400.
    pub reason: &'static str,
}

macro_rules! reasons {
    ($($variant:ident $name:literal)*) => {
        pub(crate) fn missing_reason(name: &HeaderName) -> &'static str {
            match name {
                $(HeaderName::$variant => concat!("Missing ", $name, " Header Field"),)*
                _ => "Missing Header Field",
            }
        }

        pub(crate) fn malformed_reason(name: &HeaderName) -> &'static str {
            match name {
                $(HeaderName::$variant => concat!("Malformed ", $name, " Header Field"),)*
                _ => "Malformed Header Field",
            }
        }

        pub(crate) fn repeated_reason(name: &HeaderName) -> &'static str {
            match name {
                $(HeaderName::$variant => concat!("Repeated ", $name, " Header Field"),)*
                _ => "Repeated Header Field",
            }
        }
    };
}

reasons! {
    Via "Via"
    From "From"
    To "To"
    CallId "Call-ID"
    CSeq "CSeq"
    Contact "Contact"
    MaxForwards "Max-Forwards"
    ContentLength "Content-Length"
    ContentType "Content-Type"
    Route "Route"
    RecordRoute "Record-Route"
    ReferTo "Refer-To"
    ReferredBy "Referred-By"
    ReplyTo "Reply-To"
    PAssertedIdentity "P-Asserted-Identity"
    Replaces "Replaces"
}

impl HeaderError {
    pub(crate) fn missing(name: &HeaderName) -> HeaderError {
        HeaderError { missing: true, reason: missing_reason(name) }
    }

    pub(crate) fn malformed(name: &HeaderName) -> HeaderError {
        HeaderError { missing: false, reason: malformed_reason(name) }
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)
    }
}

impl std::error::Error for HeaderError {}

impl From<HeaderError> for ParseError {
    fn from(error: HeaderError) -> ParseError {
        ParseError::new(if error.missing { ErrorKind::Missing } else { ErrorKind::Value }, error.reason)
    }
}
