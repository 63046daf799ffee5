use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringback_sip::{Method, NameAddr, StatusCode, Uri};

use crate::api::{Credentials, Flow};

/// A message body with its Content-Type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    pub content_type: String,
    pub bytes: Bytes,
}

impl Body {
    pub fn sdp(text: impl Into<Bytes>) -> Body {
        Body { content_type: "application/sdp".into(), bytes: text.into() }
    }
}

/// A call to place. Via, tags, CSeq, Contact, Allow and User-Agent are the crate's.
#[derive(Clone, Debug)]
pub struct Invite {
    /// A tag in it is replaced.
    pub from: NameAddr,
    pub to: NameAddr,
    pub request_uri: Uri,
    /// From `Ua::new_call_id`, or the program's own.
    pub call_id: String,
    /// Extra headers. `Route` is the preloaded route set (RFC 3261 §8.1.1.1) and decides where the request goes.
    pub headers: Vec<(String, String)>,
    /// `None`: late offer.
    pub body: Option<Body>,
    pub max_forwards: u8,
    /// What Contact says beside the address.
    pub contact: Option<Box<ContactForm>>,
    /// The only way that it may take, whatever Route and Request-URI say (RFC 5626 §5.3).
    pub flow: Option<Flow>,
    /// Answers to 401 and 407, before those of `Config::credentials`; for the whole call.
    pub credentials: Option<Arc<Credentials>>,
    /// How many places that 3xx name are tried (RFC 3261 §8.1.3.4). 0: a 3xx is a refusal.
    pub redirects: u8,
}

/// What a Contact says beside the address that a request leaves by. `Default` is the user of `Config::user` and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContactForm {
    /// Instead of `Config::user`.
    pub user: Option<String>,
    /// Instead of the address: a GRUU (RFC 5627 §4.3).
    pub uri: Option<Uri>,
    /// Parameters of the URI, first semicolon included.
    pub uri_params: String,
    /// Parameters of the header field, first semicolon included.
    pub params: String,
}

/// A request outside of a dialog: OPTIONS, MESSAGE, REGISTER, SUBSCRIBE, PUBLISH. Via, From's tag and User-Agent are the crate's.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    pub request_uri: Uri,
    /// A tag in it is kept (a refresh repeats it); without one it gets one.
    pub from: NameAddr,
    /// A tag in it is left out: with one the request would belong to a dialog.
    pub to: NameAddr,
    /// From `Ua::new_call_id`; the same for all registrations with one registrar (RFC 3261 §10.2).
    pub call_id: String,
    pub cseq: u32,
    /// Extra headers. `Route` is the preloaded route set (RFC 3261 §8.1.1.1) and decides where the request goes.
    pub headers: Vec<(String, String)>,
    /// Whether the address that it leaves by is put in as Contact. Without it `headers` may have one.
    pub contact: bool,
    /// What that Contact says beside the address.
    pub contact_form: Option<Box<ContactForm>>,
    pub body: Option<Body>,
    pub max_forwards: u8,
    /// The only way that it may take, whatever Route and Request-URI say (RFC 5626 §4.2).
    pub flow: Option<Flow>,
    /// Answers to 401 and 407, before those of `Config::credentials`. A request that is answered takes further sequence numbers, as its
    /// final response tells. For a REGISTER, those without a realm are for whoever asks.
    pub credentials: Option<Arc<Credentials>>,
    /// Time for all of it: look-up, each address, each retransmission. `None`: what timer F gives each address.
    pub give_up_after: Option<Duration>,
}

/// A response to a request of the peer. Tags, Contact, Record-Route, Allow and Server are the crate's; `Contact` may be given with 3xx
/// and 485, where it names other places to try.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: StatusCode,
    /// `None`: the standard's phrase.
    pub reason: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: Option<Body>,
}

impl Reply {
    pub fn new(status: StatusCode) -> Reply {
        Reply { status, reason: None, headers: Vec::new(), body: None }
    }

    pub fn with_body(status: StatusCode, body: Body) -> Reply {
        Reply { body: Some(body), ..Reply::new(status) }
    }
}

/// What a CANCEL's Reason header says (RFC 3326), whole: `SIP;cause=200;text="Call completed elsewhere"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelReason(pub String);
