//! Lines and the small pieces that they are made of.

use std::str::FromStr;

use crate::SdpError;

/// What a description may grow to. More is an error, not work.
pub mod limits {
    pub const BYTES: usize = 65_536;
    pub const LINES: usize = 1_024;
    pub const MEDIA: usize = 32;
    /// Formats of one media line.
    pub const FORMATS: usize = 128;
}

/// One line `<kind>=<value>`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) kind: u8,
    pub(crate) value: &'a str,
}

impl Line<'_> {
    pub(crate) fn error(&self, why: &'static str) -> SdpError {
        let text = format!("{}={}", self.kind as char, self.value);
        syntax(self.number, why, &text)
    }
}

fn syntax(line: usize, why: &'static str, text: &str) -> SdpError {
    // A peer's line goes into logs and error messages: an excerpt is enough.
    SdpError::Syntax { line, why, text: text.chars().take(120).collect() }
}

/// Splits a description. RFC 8866 §5: lines end in CRLF, a bare LF is tolerated.
pub(crate) struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Result<Self, SdpError> {
        if text.len() > limits::BYTES {
            return Err(SdpError::Invalid("too long"));
        }
        Ok(Lines { rest: text, number: 0 })
    }

    pub(crate) fn next(&mut self) -> Result<Option<Line<'a>>, SdpError> {
        // Some peers end with a blank line or with padding.
        if self.rest.trim_ascii_start().is_empty() {
            return Ok(None);
        }
        self.number += 1;
        if self.number > limits::LINES {
            return Err(SdpError::Invalid("too many lines"));
        }
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.bytes().any(|b| b == b'\r' || b == 0) {
            return Err(syntax(self.number, "a CR or NUL inside the line", line));
        }
        match line.as_bytes() {
            [kind, b'=', ..] if kind.is_ascii_lowercase() => {
                // The two bytes before are ASCII, so this is a character boundary.
                Ok(Some(Line { number: self.number, kind: *kind, value: line.get(2..).unwrap_or_default() }))
            }
            _ => Err(syntax(self.number, "not of the form <letter>=<value>", line)),
        }
    }
}

/// Digits only: no sign, no space.
pub(crate) fn number<T: FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}
