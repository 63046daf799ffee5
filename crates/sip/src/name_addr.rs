//! `name-addr` and `addr-spec`: the values of From, To, Contact, Route and their kin (RFC 3261 §20, §25.1).

use std::fmt;

use crate::grammar::{self, TOKEN};
use crate::params::{self, Params};
use crate::uri::{self, Parts, Uri, UriError};

/// An address with an optional display name and the parameters of the header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAddr {
    /// Without quotes and quoted pairs. May hold any character.
    pub display_name: Option<String>,
    pub uri: Uri,
    /// Parameters of the header field (`tag`, `expires`, ...), not those of the URI.
    pub params: Params,
}

/// Why a text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameAddrError {
    #[error("malformed display name")]
    DisplayName,
    #[error("unbalanced angle brackets")]
    Brackets,
    /// RFC 3261 §20: a URI with a comma, question mark or semicolon must stand in angle brackets.
    #[error("URI must be enclosed in angle brackets")]
    NotEnclosed,
    #[error(transparent)]
    Uri(#[from] UriError),
    #[error("malformed parameter")]
    Params,
}

/// The parts of a value as views of its text.
pub(crate) struct Scanned<'a> {
    /// As written: with its quotes, or tokens.
    display: &'a str,
    uri: &'a str,
    parts: Parts,
    params: &'a str,
}

pub(crate) fn scan(text: &str) -> Result<Scanned<'_>, NameAddrError> {
    let text = grammar::trim(text);
    let Some((display, rest)) = split_display(text)? else { return scan_addr_spec(text) };
    let rest = rest.strip_prefix('<').ok_or(NameAddrError::Brackets)?;
    let (uri, params) = grammar::split_once(rest, b'>').ok_or(NameAddrError::Brackets)?;
    // RFC 4475 §3.1.2.14: no white space within the brackets.
    Ok(Scanned { display, uri, parts: uri::scan(uri)?, params })
}

/// The display name and the rest from the bracket on, or `None` where the value has no brackets around its URI.
fn split_display(text: &str) -> Result<Option<(&str, &str)>, NameAddrError> {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(b'<') => return Ok(Some(("", text))),
        Some(b'"') => {
            let len = grammar::quoted_len(bytes).ok_or(NameAddrError::DisplayName)?;
            let (display, rest) = text.split_at_checked(len).ok_or(NameAddrError::DisplayName)?;
            let inner = display.as_bytes().get(1..len - 1).unwrap_or_default();
            if !grammar::is_quoted_text(inner) {
                return Err(NameAddrError::DisplayName);
            }
            return Ok(Some((display, grammar::trim_start(rest))));
        }
        _ => {}
    }
    let Some(bracket) = memchr::memchr(b'<', bytes) else { return Ok(None) };
    let (display, rest) = text.split_at(bracket);
    // A semicolon before the bracket: that one stands in a quoted parameter of an addr-spec.
    if memchr::memchr(b';', display.as_bytes()).is_some() {
        return Ok(None);
    }
    // RFC 3261 §25.1: `*(token LWS)`; RFC 4475 §3.1.1.6 takes the last LWS away. Bytes above 127 are no token, but are
    // sent by enough telephones, and harmless.
    if display.bytes().all(|b| grammar::is(b, TOKEN) || grammar::is_space(b) || b >= 0x80) {
        Ok(Some((grammar::trim_end(display), rest)))
    } else {
        Err(NameAddrError::DisplayName)
    }
}

fn scan_addr_spec(text: &str) -> Result<Scanned<'_>, NameAddrError> {
    let end = memchr::memchr(b';', text.as_bytes()).unwrap_or(text.len());
    let (uri, params) = text.split_at(end);
    let uri = grammar::trim_end(uri);
    if memchr::memchr2(b'?', b',', uri.as_bytes()).is_some() {
        return Err(NameAddrError::NotEnclosed);
    }
    Ok(Scanned { display: "", uri, parts: uri::scan(uri)?, params })
}

/// Whether the text would parse, without taking copies.
pub(crate) fn check(text: &str) -> Result<(), NameAddrError> {
    let scanned = scan(text)?;
    params::scan(scanned.params, |_, _| {}).map_err(|_| NameAddrError::Params)
}

/// The `tag` of a From or To, without taking copies.
pub(crate) fn tag(text: &str) -> Option<&str> {
    let mut tag = None;
    params::scan(scan(text).ok()?.params, |name, value| {
        // The first of several counts, as in `Params::get`, even where it has no value.
        if tag.is_none() && name.eq_ignore_ascii_case("tag") {
            tag = Some(value);
        }
    })
    .ok()?;
    tag?
}

impl NameAddr {
    /// Either form. In the one without angle brackets, parameters belong to the header field, not to the URI.
    pub fn parse(text: &str) -> Result<NameAddr, NameAddrError> {
        let scanned = scan(text)?;
        let display_name = match scanned.display {
            "" => None,
            display if display.starts_with('"') => Some(params::unquoted(display).into_owned()),
            display => Some(words(display)),
        };
        let params = Params::parse(scanned.params).map_err(|_| NameAddrError::Params)?;
        Ok(NameAddr { display_name, uri: Uri::from_scanned(scanned.uri, scanned.parts), params })
    }

    /// An address of only a URI.
    pub fn new(uri: Uri) -> NameAddr {
        NameAddr { display_name: None, uri, params: Params::default() }
    }

    pub fn with_display_name(mut self, name: impl Into<String>) -> NameAddr {
        self.display_name = Some(name.into());
        self
    }

    /// The `tag` parameter, where it has a value.
    pub fn tag(&self) -> Option<&str> {
        self.params.get("tag")?
    }

    /// The same address with this tag.
    pub fn with_tag(mut self, tag: &str) -> NameAddr {
        self.params.set("tag", Some(tag));
        self
    }
}

/// Tokens with one space between each two.
fn words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

impl From<Uri> for NameAddr {
    fn from(uri: Uri) -> NameAddr {
        NameAddr::new(uri)
    }
}

impl std::str::FromStr for NameAddr {
    type Err = NameAddrError;

    fn from_str(text: &str) -> Result<NameAddr, NameAddrError> {
        NameAddr::parse(text)
    }
}

/// Always with angle brackets, and a display name always in quotes: correct for every content.
impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.display_name {
            grammar::write_quoted(f, name)?;
            f.write_str(" ")?;
        }
        write!(f, "<{}>{}", self.uri, self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> NameAddr {
        NameAddr::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn forms() {
        for (text, name, uri, params) in [
            ("sip:a@b", None, "sip:a@b", ""),
            ("sip:a@b;tag=1", None, "sip:a@b", ";tag=1"),
            ("sip:a@b ;  tag = 1", None, "sip:a@b", ";tag=1"),
            ("sip:a@b;x=\"<sip:c@d>\"", None, "sip:a@b", ";x=\"<sip:c@d>\""),
            ("<sip:a@b;lr?h=v>;q=0.5", None, "sip:a@b;lr?h=v", ";q=0.5"),
            ("<sip:a@b>", None, "sip:a@b", ""),
            ("caller<sip:a@b>", Some("caller"), "sip:a@b", ""),
            ("A. \t G.  Bell <sip:a@b>;tag=1", Some("A. G. Bell"), "sip:a@b", ";tag=1"),
            ("\"\" <sip:a@b>", Some(""), "sip:a@b", ""),
            ("\"A \\\"B\\\\ <c>, d\"<sip:a@b> ; tag=1", Some("A \"B\\ <c>, d"), "sip:a@b", ";tag=1"),
            ("Jürgen <sip:a@b>", Some("Jürgen"), "sip:a@b", ""),
            ("<tel:+123;phone-context=x>", None, "tel:+123;phone-context=x", ""),
            ("<http://x/?a,b>", None, "http://x/?a,b", ""),
            // Found by fuzzing: the first tag counts, in both ways to ask for it.
            ("sip:a@b;tag;tag=2", None, "sip:a@b", ";tag;tag=2"),
            ("sip:a@b;tag=1;TAG=2", None, "sip:a@b", ";tag=1;TAG=2"),
        ] {
            let n = parse(text);
            assert_eq!(n.display_name.as_deref(), name, "{text}");
            assert_eq!(n.uri.as_str(), uri, "{text}");
            assert_eq!(n.params.as_str(), params, "{text}");
            assert_eq!(parse(&n.to_string()), n, "{n}");
            check(text).unwrap();
            assert_eq!(tag(text), n.tag());
        }
    }

    #[test]
    fn refused() {
        for (text, error) in [
            ("", NameAddrError::Uri(UriError::Scheme)),
            ("\"Mr. J. User <sip:j.user@example.com>", NameAddrError::DisplayName),
            ("Bell, Alexander <sip:a@b>", NameAddrError::DisplayName),
            ("\"a\x01\" <sip:a@b>", NameAddrError::DisplayName),
            ("\"Watson\" < sip:t@b >", NameAddrError::Uri(UriError::Scheme)),
            ("<sip:a@b >", NameAddrError::Uri(UriError::Character)),
            ("<sip:a@b", NameAddrError::Brackets),
            ("\"x\" sip:a@b", NameAddrError::Brackets),
            ("sip:a@b?x=y", NameAddrError::NotEnclosed),
            ("sip:a,b@c", NameAddrError::NotEnclosed),
            ("sip:a@b>", NameAddrError::Uri(UriError::Character)),
            ("<sip:a@b>;;", NameAddrError::Params),
            ("<sip:a@b>x", NameAddrError::Params),
            ("<sip:a@b>, <sip:c@d>", NameAddrError::Params),
        ] {
            assert_eq!(NameAddr::parse(text).err(), Some(error), "{text}");
            assert!(check(text).is_err(), "{text}");
        }
    }

    #[test]
    fn written_safely() {
        let n = NameAddr::new(Uri::parse("sip:a@b").unwrap())
            .with_display_name("x\"\r\nVia: y")
            .with_tag("1\r\n2")
            .with_tag("t");
        assert_eq!(n.to_string(), "\"x\\\"  Via: y\" <sip:a@b>;tag=t");
    }
}
