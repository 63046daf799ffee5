//! The Reason header field (RFC 3326): why a request, or a final response, was sent.

use crate::grammar;
use crate::headers::list_values;
use crate::params::Params;

/// One value of the header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// `SIP`, `Q.850`, or what else the sender speaks.
    pub protocol: String,
    /// A status code, or a cause of Q.850 §2.2.7.
    pub cause: Option<u16>,
    pub text: Option<String>,
}

impl Reason {
    /// `None` for what is no value of the header field.
    pub fn parse(value: &str) -> Option<Reason> {
        let value = grammar::trim(value);
        let end = value.find(';').unwrap_or(value.len());
        let (protocol, params) = value.split_at_checked(end)?;
        let protocol = grammar::trim(protocol);
        if !grammar::is_token(protocol.as_bytes()) {
            return None;
        }
        let params = Params::parse(params).ok()?;
        let number = |text| grammar::decimal(grammar::trim(text).as_bytes(), u16::MAX.into());
        Some(Reason {
            protocol: protocol.to_owned(),
            cause: params.get("cause").flatten().and_then(number).map(|n| n as u16),
            text: params.get_unquoted("text").map(std::borrow::Cow::into_owned),
        })
    }

    /// All values of a header field's text; what is none is left out.
    pub fn parse_all(text: &str) -> impl Iterator<Item = Reason> {
        list_values(text).filter_map(Reason::parse)
    }

    /// RFC 3326 §3.1: of several telephones that rang, another was answered.
    pub fn is_completed_elsewhere(&self) -> bool {
        self.protocol.eq_ignore_ascii_case("SIP") && self.cause == Some(200)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(protocol: &str, cause: Option<u16>, text: Option<&str>) -> Reason {
        Reason { protocol: protocol.into(), cause, text: text.map(str::to_owned) }
    }

    #[test]
    fn the_examples_of_rfc_3326_and_what_is_none() {
        for (value, expected) in [
            (
                r#"SIP ;cause=200 ;text="Call completed elsewhere""#,
                Some(reason("SIP", Some(200), Some("Call completed elsewhere"))),
            ),
            (r#"Q.850 ;cause=16 ;text="Terminated""#, Some(reason("Q.850", Some(16), Some("Terminated")))),
            ("SIP", Some(reason("SIP", None, None))),
            ("SIP;cause=many", Some(reason("SIP", None, None))),
            ("SIP;cause=70000", Some(reason("SIP", None, None))),
            (r#"preemption;cause=1;text="a \"b\"""#, Some(reason("preemption", Some(1), Some("a \"b\"")))),
            ("", None),
            (";cause=200", None),
            ("a b;cause=200", None),
            ("SIP;;", None),
        ] {
            assert_eq!(Reason::parse(value), expected, "{value}");
        }
    }

    #[test]
    fn one_of_several_values_may_say_that_it_was_answered_elsewhere() {
        let elsewhere = |text: &str| Reason::parse_all(text).any(|reason| reason.is_completed_elsewhere());
        assert!(elsewhere(r#"Q.850;cause=26, sip;cause=200;text="a, b""#));
        for text in ["SIP;cause=487", "Q.850;cause=200", "", r#"X;text="SIP;cause=200""#] {
            assert!(!elsewhere(text), "{text}");
        }
    }
}
