//! The CSeq header field (RFC 3261 §20.16).

use std::fmt;

use crate::grammar;
use crate::method::Method;

/// A sequence number and a method.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CSeq {
    pub number: u32,
    pub method: Method,
}

/// A text that is no CSeq, or whose number does not fit 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed CSeq")]
pub struct CSeqError;

/// Number and method as they are written.
pub(crate) fn scan(text: &str) -> Option<(u32, &str)> {
    let text = grammar::trim(text);
    let (digits, rest) = text.split_at(grammar::span(text.as_bytes(), |b| b.is_ascii_digit()));
    let method = grammar::trim_start(rest);
    if method.len() == rest.len() || !grammar::is_token(method.as_bytes()) {
        return None;
    }
    // RFC 4475 §3.1.2.4: the number does not exceed 32 bits. (RFC 3261 §8.1.1.5 asks senders for 31, so a greater one
    // that fits is accepted here.)
    let number = grammar::decimal(digits.as_bytes(), u32::MAX.into())?;
    Some((number as u32, method))
}

impl CSeq {
    pub fn new(number: u32, method: Method) -> CSeq {
        CSeq { number, method }
    }

    pub fn parse(text: &str) -> Result<CSeq, CSeqError> {
        let (number, method) = scan(text).ok_or(CSeqError)?;
        Ok(CSeq { number, method: Method::parse(method.as_bytes()).ok_or(CSeqError)? })
    }
}

impl std::str::FromStr for CSeq {
    type Err = CSeqError;

    fn from_str(text: &str) -> Result<CSeq, CSeqError> {
        CSeq::parse(text)
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(CSeq::parse("0009\r\n  INVITE"), Ok(CSeq::new(9, Method::Invite)));
        assert_eq!(CSeq::parse("4294967295 X").map(|c| c.to_string()).as_deref(), Ok("4294967295 X"));
        for text in [
            "",
            "1",
            "INVITE",
            "1INVITE",
            "-1 INVITE",
            "4294967296 INVITE",
            "1 IN VITE",
            "1 \"x\"",
            "36893488147419103232 REGISTER",
        ] {
            assert_eq!(CSeq::parse(text), Err(CSeqError), "{text}");
        }
    }
}
