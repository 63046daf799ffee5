//! Typed values of the header fields that a user agent works with. Each call parses.

use super::Message;
use crate::cseq::CSeq;
use crate::error::HeaderError;
use crate::grammar;
use crate::name::{HeaderName, Kind};
use crate::name_addr::{self, NameAddr};
use crate::via::Via;

impl Message {
    fn required(&self, kind: Kind, name: HeaderName) -> Result<&str, HeaderError> {
        self.headers().get_kind(kind).ok_or_else(|| HeaderError::missing(&name))
    }

    /// The topmost Via value.
    pub fn top_via(&self) -> Result<Via, HeaderError> {
        let name = &HeaderName::Via;
        let value = self.headers().values(name).next().ok_or_else(|| HeaderError::missing(name))?;
        Via::parse(value).map_err(|_| HeaderError::malformed(&HeaderName::Via))
    }

    /// All Via values, topmost first.
    pub fn vias(&self) -> Result<Vec<Via>, HeaderError> {
        let values = self.headers().values(&HeaderName::Via);
        values.map(|v| Via::parse(v).map_err(|_| HeaderError::malformed(&HeaderName::Via))).collect()
    }

    fn address(&self, kind: Kind, name: HeaderName) -> Result<NameAddr, HeaderError> {
        let value = self.required(kind, HeaderName::from_kind(kind, ""))?;
        NameAddr::parse(value).map_err(|_| HeaderError::malformed(&name))
    }

    pub fn from(&self) -> Result<NameAddr, HeaderError> {
        self.address(Kind::From, HeaderName::From)
    }

    pub fn to(&self) -> Result<NameAddr, HeaderError> {
        self.address(Kind::To, HeaderName::To)
    }

    /// The tag of the From, without taking a copy; `None` also where the From cannot be read.
    pub fn from_tag(&self) -> Option<&str> {
        self.headers().get_kind(Kind::From).and_then(name_addr::tag)
    }

    /// The tag of the To, without taking a copy; `None` also where the To cannot be read.
    pub fn to_tag(&self) -> Option<&str> {
        self.headers().get_kind(Kind::To).and_then(name_addr::tag)
    }

    pub fn cseq(&self) -> Result<CSeq, HeaderError> {
        let value = self.required(Kind::CSeq, HeaderName::CSeq)?;
        CSeq::parse(value).map_err(|_| HeaderError::malformed(&HeaderName::CSeq))
    }

    pub fn call_id(&self) -> Option<&str> {
        self.headers().get_kind(Kind::CallId)
    }

    /// The addresses of all lines of this name, in their order: none is an empty list. `Contact: *` is no address.
    pub fn addresses(&self, name: &HeaderName) -> Result<Vec<NameAddr>, HeaderError> {
        let values = self.headers().values(name);
        values.map(|v| NameAddr::parse(v).map_err(|_| HeaderError::malformed(name))).collect()
    }

    /// The first Contact.
    pub fn contact(&self) -> Result<NameAddr, HeaderError> {
        let name = &HeaderName::Contact;
        let value = self.headers().values(name).next().ok_or_else(|| HeaderError::missing(name))?;
        NameAddr::parse(value).map_err(|_| HeaderError::malformed(name))
    }

    pub fn contacts(&self) -> Result<Vec<NameAddr>, HeaderError> {
        self.addresses(&HeaderName::Contact)
    }

    /// `Contact: *` (RFC 3261 §10.2.2).
    pub fn is_contact_wildcard(&self) -> bool {
        self.headers().get_kind(Kind::Contact) == Some("*")
    }

    pub fn routes(&self) -> Result<Vec<NameAddr>, HeaderError> {
        self.addresses(&HeaderName::Route)
    }

    pub fn record_routes(&self) -> Result<Vec<NameAddr>, HeaderError> {
        self.addresses(&HeaderName::RecordRoute)
    }

    /// `None` where it is not there, or above 255 (RFC 4475 §3.1.2.4: then as if it were absent).
    pub fn max_forwards(&self) -> Option<u8> {
        self.number(Kind::MaxForwards, u8::MAX.into()).map(|n| n as u8)
    }

    fn number(&self, kind: Kind, max: u64) -> Option<u64> {
        grammar::decimal(self.headers().get_kind(kind)?.as_bytes(), max)
    }

    /// The media type with its parameters, as it is written.
    pub fn content_type(&self) -> Option<&str> {
        self.headers().get_kind(Kind::ContentType)
    }

    /// Whether the media type is this one, such as `application/sdp`, whatever its case, white space and parameters.
    pub fn is_content_type(&self, media_type: &str) -> bool {
        let Some(value) = self.content_type() else { return false };
        let value = value.split(';').next().unwrap_or("");
        match (value.split_once('/'), media_type.split_once('/')) {
            (Some((a, b)), Some((x, y))) => {
                grammar::trim(a).eq_ignore_ascii_case(x) && grammar::trim(b).eq_ignore_ascii_case(y)
            }
            _ => false,
        }
    }

    /// What the header field says; the body has that many bytes.
    pub fn content_length(&self) -> Option<usize> {
        self.number(Kind::ContentLength, u32::MAX.into()).map(|n| n as usize)
    }

    /// In seconds. `None` where it is not there or above 32 bits (RFC 4475 §3.1.2.4: then the default counts).
    pub fn expires(&self) -> Option<u32> {
        self.number(Kind::Expires, u32::MAX.into()).map(|n| n as u32)
    }

    /// Option tags (RFC 3261 §20.37).
    pub fn supported(&self) -> impl Iterator<Item = &str> {
        self.tokens(&HeaderName::Supported)
    }

    pub fn require(&self) -> impl Iterator<Item = &str> {
        self.tokens(&HeaderName::Require)
    }

    /// Method names.
    pub fn allow(&self) -> impl Iterator<Item = &str> {
        self.tokens(&HeaderName::Allow)
    }

    /// Whether the peer says that it supports the extension, or requires it.
    pub fn supports(&self, option: &str) -> bool {
        self.supported().chain(self.require()).any(|tag| tag.eq_ignore_ascii_case(option))
    }

    fn tokens(&self, name: &'static HeaderName) -> impl Iterator<Item = &str> {
        self.headers().values(name).filter(|value| !value.is_empty())
    }
}
