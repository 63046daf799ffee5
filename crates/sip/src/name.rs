//! Header field names: known ones as an enum, long and compact forms, any case (RFC 3261 §7.3.1, §7.3.3).
//!
//! The parser asks for a [`Kind`], one byte, by a perfect hash that is built at compile time; [`HeaderName`] is what the
//! rest of the program sees.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::grammar;

macro_rules! names {
    ($($variant:ident $name:literal $($compact:literal)?,)*) => {
        /// The name of a header field. Two names are equal without regard to case.
        #[derive(Clone, Debug)]
        pub enum HeaderName {
            $(#[doc = concat!("`", $name, "`" $(, ", compact `", $compact, "`")?)] $variant,)*
            /// Any other token, as it was written.
            Other(Box<str>),
        }

        /// A known name in one byte.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Kind {
            $($variant,)*
            Other,
        }

        const KINDS: &[Kind] = &[$(Kind::$variant),*];
        const NAMES: &[&str] = &[$($name),*];
        const COMPACT: &[(u8, Kind)] = &[$($((($compact as &str).as_bytes()[0], Kind::$variant),)?)*];

        impl HeaderName {
            pub(crate) fn kind(&self) -> Kind {
                match self {
                    $(HeaderName::$variant => Kind::$variant,)*
                    HeaderName::Other(_) => Kind::Other,
                }
            }

            /// `other` is the spelling where the kind is not a known one.
            pub(crate) fn from_kind(kind: Kind, other: &str) -> HeaderName {
                match kind {
                    $(Kind::$variant => HeaderName::$variant,)*
                    Kind::Other => HeaderName::Other(other.into()),
                }
            }

            /// The canonical long form; an unknown name as it was written.
            pub fn as_str(&self) -> &str {
                match self {
                    $(HeaderName::$variant => $name,)*
                    HeaderName::Other(name) => name,
                }
            }
        }
    };
}

names! {
    Via "Via" "v",
    From "From" "f",
    To "To" "t",
    CallId "Call-ID" "i",
    CSeq "CSeq",
    Contact "Contact" "m",
    MaxForwards "Max-Forwards",
    ContentLength "Content-Length" "l",
    ContentType "Content-Type" "c",
    Route "Route",
    RecordRoute "Record-Route",
    Accept "Accept",
    AcceptContact "Accept-Contact" "a",
    AcceptEncoding "Accept-Encoding",
    AcceptLanguage "Accept-Language",
    AlertInfo "Alert-Info",
    Allow "Allow",
    AllowEvents "Allow-Events" "u",
    AuthenticationInfo "Authentication-Info",
    Authorization "Authorization",
    CallInfo "Call-Info",
    ContentDisposition "Content-Disposition",
    ContentEncoding "Content-Encoding" "e",
    ContentLanguage "Content-Language",
    Date "Date",
    Diversion "Diversion",
    ErrorInfo "Error-Info",
    Event "Event" "o",
    Expires "Expires",
    FeatureCaps "Feature-Caps",
    FlowTimer "Flow-Timer",
    Geolocation "Geolocation",
    HistoryInfo "History-Info",
    Identity "Identity" "y",
    InfoPackage "Info-Package",
    InReplyTo "In-Reply-To",
    Join "Join",
    MimeVersion "MIME-Version",
    MinExpires "Min-Expires",
    MinSe "Min-SE",
    Organization "Organization",
    PAccessNetworkInfo "P-Access-Network-Info",
    PAssertedIdentity "P-Asserted-Identity",
    PCalledPartyId "P-Called-Party-ID",
    PChargingVector "P-Charging-Vector",
    PEarlyMedia "P-Early-Media",
    PPreferredIdentity "P-Preferred-Identity",
    Path "Path",
    Priority "Priority",
    Privacy "Privacy",
    ProxyAuthenticate "Proxy-Authenticate",
    ProxyAuthorization "Proxy-Authorization",
    ProxyRequire "Proxy-Require",
    RAck "RAck",
    Reason "Reason",
    RecvInfo "Recv-Info",
    ReferSub "Refer-Sub",
    ReferTo "Refer-To" "r",
    ReferredBy "Referred-By" "b",
    RejectContact "Reject-Contact" "j",
    RemotePartyId "Remote-Party-ID",
    Replaces "Replaces",
    ReplyTo "Reply-To",
    RequestDisposition "Request-Disposition" "d",
    Require "Require",
    RetryAfter "Retry-After",
    RSeq "RSeq",
    Server "Server",
    ServiceRoute "Service-Route",
    SessionExpires "Session-Expires" "x",
    SessionId "Session-ID",
    SipEtag "SIP-ETag",
    SipIfMatch "SIP-If-Match",
    Subject "Subject" "s",
    SubscriptionState "Subscription-State",
    Supported "Supported" "k",
    TargetDialog "Target-Dialog",
    Timestamp "Timestamp",
    Unsupported "Unsupported",
    UserAgent "User-Agent",
    UserToUser "User-to-User",
    Warning "Warning",
    WwwAuthenticate "WWW-Authenticate",
}

const BUCKETS: usize = 512;
const NONE: u8 = u8::MAX;

/// The multipliers were found by trying; `table` fails to compile where they no longer separate the names.
const fn bucket(name: &[u8]) -> usize {
    let first = name[0].to_ascii_lowercase() as usize;
    let middle = name[name.len() / 2].to_ascii_lowercase() as usize;
    let last = name[name.len() - 1].to_ascii_lowercase() as usize;
    (first * 397 + last * 11 + middle * 421 + name.len() * 157) % BUCKETS
}

const fn table() -> [u8; BUCKETS] {
    let mut table = [NONE; BUCKETS];
    let mut i = 0;
    while i < NAMES.len() {
        let at = bucket(NAMES[i].as_bytes());
        assert!(table[at] == NONE, "two header names share a bucket: choose other multipliers");
        table[at] = i as u8;
        i += 1;
    }
    table
}

const fn compact_table() -> [Kind; 26] {
    let mut table = [Kind::Other; 26];
    let mut i = 0;
    while i < COMPACT.len() {
        table[(COMPACT[i].0 - b'a') as usize] = COMPACT[i].1;
        i += 1;
    }
    table
}

static TABLE: [u8; BUCKETS] = table();
static COMPACT_TABLE: [Kind; 26] = compact_table();

impl Kind {
    /// The kind of a name in long or compact form, without regard to case.
    #[inline]
    pub(crate) fn find(name: &[u8]) -> Kind {
        match name {
            [] => Kind::Other,
            [letter] if letter.is_ascii_alphabetic() => COMPACT_TABLE[(letter.to_ascii_lowercase() - b'a') as usize],
            _ => {
                let index = TABLE[bucket(name)] as usize;
                match (NAMES.get(index), KINDS.get(index)) {
                    // Most senders write the canonical form, and comparing that is the faster one.
                    (Some(known), Some(&kind))
                        if known.as_bytes() == name || known.as_bytes().eq_ignore_ascii_case(name) =>
                    {
                        kind
                    }
                    _ => Kind::Other,
                }
            }
        }
    }

    /// Whether the grammar of the header field is a comma-separated list, so that several lines and one line with
    /// commas mean the same (RFC 3261 §7.3.1). Unknown fields count as lists: who asks for their values knows them.
    pub(crate) fn is_list(self) -> bool {
        !matches!(
            self,
            Kind::From
                | Kind::To
                | Kind::CallId
                | Kind::CSeq
                | Kind::MaxForwards
                | Kind::ContentLength
                | Kind::ContentType
                | Kind::ContentDisposition
                | Kind::AuthenticationInfo
                | Kind::Authorization
                | Kind::ProxyAuthenticate
                | Kind::ProxyAuthorization
                | Kind::WwwAuthenticate
                | Kind::Date
                | Kind::Event
                | Kind::Expires
                | Kind::Identity
                | Kind::MimeVersion
                | Kind::MinExpires
                | Kind::MinSe
                | Kind::Organization
                | Kind::Priority
                | Kind::RAck
                | Kind::ReferTo
                | Kind::ReferredBy
                | Kind::Replaces
                | Kind::ReplyTo
                | Kind::RetryAfter
                | Kind::RSeq
                | Kind::Server
                | Kind::SessionExpires
                | Kind::SipEtag
                | Kind::SipIfMatch
                | Kind::Subject
                | Kind::SubscriptionState
                | Kind::TargetDialog
                | Kind::Timestamp
                | Kind::UserAgent
        )
    }
}

impl HeaderName {
    /// The name in long or compact form. What is unknown, or no name at all, becomes [`HeaderName::Other`].
    pub fn parse(name: &str) -> HeaderName {
        HeaderName::from_kind(Kind::find(name.as_bytes()), name)
    }

    /// Whether the name is a token, which only an `Other` can fail.
    pub fn is_valid(&self) -> bool {
        grammar::is_token(self.as_str().as_bytes())
    }
}

impl PartialEq for HeaderName {
    fn eq(&self, other: &HeaderName) -> bool {
        match (self, other) {
            (HeaderName::Other(a), HeaderName::Other(b)) => a.eq_ignore_ascii_case(b),
            _ => self.kind() == other.kind(),
        }
    }
}

impl Eq for HeaderName {}

impl Hash for HeaderName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u8(self.kind() as u8);
        if let HeaderName::Other(name) = self {
            name.bytes().for_each(|b| state.write_u8(b.to_ascii_lowercase()));
        }
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for (index, name) in NAMES.iter().enumerate() {
            for spelling in [name.to_string(), name.to_lowercase(), name.to_uppercase()] {
                assert_eq!(Kind::find(spelling.as_bytes()), KINDS[index], "{spelling}");
                assert_eq!(HeaderName::parse(&spelling).as_str(), *name);
            }
            assert_eq!(HeaderName::parse(&format!("{name}x")), HeaderName::Other(format!("{name}X").into()));
        }
    }

    #[test]
    fn compact_forms() {
        // RFC 3261 §20, RFC 3515, RFC 3841, RFC 3892, RFC 4028, RFC 4474, RFC 6665.
        for (compact, long) in [
            ("a", "Accept-Contact"),
            ("b", "Referred-By"),
            ("c", "Content-Type"),
            ("d", "Request-Disposition"),
            ("e", "Content-Encoding"),
            ("f", "From"),
            ("i", "Call-ID"),
            ("j", "Reject-Contact"),
            ("k", "Supported"),
            ("l", "Content-Length"),
            ("m", "Contact"),
            ("o", "Event"),
            ("r", "Refer-To"),
            ("s", "Subject"),
            ("t", "To"),
            ("u", "Allow-Events"),
            ("v", "Via"),
            ("x", "Session-Expires"),
            ("y", "Identity"),
        ] {
            assert_eq!(HeaderName::parse(compact).as_str(), long);
            assert_eq!(HeaderName::parse(&compact.to_uppercase()).as_str(), long);
        }
        assert_eq!(HeaderName::parse("z"), HeaderName::Other("Z".into()));
        assert_eq!(HeaderName::parse(""), HeaderName::Other("".into()));
        assert_eq!(HeaderName::parse("!"), HeaderName::Other("!".into()));
    }
}
