//! `Scheme name=value, name="value", Scheme ...`: RFC 7235 §2.1. RFC 3261 §20.44 has one challenge a line, RFC 7235 several; both are read.

use std::fmt;

use crate::grammar::{self, TOKEN, VALUE};

/// More parameters than this in one value are refused.
const MAX_PARAMS: usize = 32;

/// One parameter. The value is without quotes and quoted pairs.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Param {
    name: Box<str>,
    value: Box<str>,
    quoted: bool,
}

/// The parameters of one challenge or one set of credentials, in their order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct List(Vec<Param>);

impl List {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|param| param.name.eq_ignore_ascii_case(name)).map(|param| &*param.value)
    }

    /// Each name is there once.
    fn insert(&mut self, name: &str, value: &str, quoted: bool) -> bool {
        let fits = self.0.len() < MAX_PARAMS && self.get(name).is_none() && !value.chars().any(char::is_control);
        if fits {
            self.0.push(Param { name: name.into(), value: value.into(), quoted });
        }
        fits
    }

    /// `name="value"`. Nothing is added where the value cannot be said: a control character is in it.
    pub(super) fn quoted(mut self, name: &str, value: &str) -> List {
        self.insert(name, value, true);
        self
    }

    /// `name=value`.
    pub(super) fn token(mut self, name: &str, value: &str) -> List {
        self.insert(name, value, !grammar::is_token(value.as_bytes()));
        self
    }

    /// Name and value of each, in their order, and whether it is quoted.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        self.0.iter().map(|param| (&*param.name, &*param.value, param.quoted))
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest")?;
        for (place, Param { name, value, quoted }) in self.0.iter().enumerate() {
            f.write_str(if place == 0 { " " } else { ", " })?;
            f.write_str(name)?;
            f.write_str("=")?;
            if *quoted {
                grammar::write_quoted(f, value)?;
            } else {
                f.write_str(value)?;
            }
        }
        Ok(())
    }
}

/// The values of the Digest scheme in these lines. What is malformed, or of another scheme, is left out; what stands beside is read.
pub(super) fn read<'a>(lines: impl Iterator<Item = &'a str>) -> impl Iterator<Item = List> {
    lines.flat_map(|line| Scan { rest: line })
}

struct Scan<'a> {
    rest: &'a str,
}

/// Splits `name = value` off, when the text begins with that.
fn take_param(text: &str) -> Option<(&str, std::borrow::Cow<'_, str>, bool, &str)> {
    let (name, rest) = grammar::take(text, TOKEN);
    if name.is_empty() {
        return None;
    }
    let rest = grammar::trim_start(grammar::trim_start(rest).strip_prefix('=')?);
    if rest.starts_with('"') {
        let (value, rest) = rest.split_at_checked(grammar::quoted_len(rest.as_bytes())?)?;
        let inner = value.get(1..value.len() - 1)?;
        let value = if inner.contains(['\\', '\r', '\n']) { grammar::unquote(inner).into() } else { inner.into() };
        return Some((name, value, true, rest));
    }
    // Wider than a token: some write a URI, or base64, without quotes.
    let (value, rest) = grammar::take(rest, VALUE);
    Some((name, value.into(), false, rest))
}

/// Past the end of an element that cannot be read: the next comma outside of quotes.
fn skip_element(text: &str) -> &str {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return text.get(at..).unwrap_or(""),
            _ => {}
        }
    }
    ""
}

fn skip_commas(text: &str) -> &str {
    let bytes = text.as_bytes();
    text.get(grammar::span(bytes, |b| grammar::is_space(b) || b == b',')..).unwrap_or("")
}

impl Iterator for Scan<'_> {
    type Item = List;

    fn next(&mut self) -> Option<List> {
        loop {
            let text = skip_commas(self.rest);
            if text.is_empty() {
                self.rest = "";
                return None;
            }
            let (scheme, rest) = grammar::take(text, TOKEN);
            if scheme.is_empty() {
                self.rest = skip_element(text.get(text.chars().next().map_or(1, char::len_utf8)..).unwrap_or(""));
                continue;
            }
            let mut list = List::default();
            let mut sound = scheme.eq_ignore_ascii_case("Digest");
            let mut rest = rest;
            loop {
                rest = skip_commas(rest);
                match take_param(rest) {
                    Some((name, value, quoted, tail)) => {
                        // An unquoted value must be one that can be written without quotes.
                        let quoted = quoted || !grammar::is_token(value.as_bytes());
                        sound = list.insert(name, &value, quoted) && sound;
                        let tail = grammar::trim_start(tail);
                        if !tail.is_empty() && !tail.starts_with(',') {
                            sound = false;
                        }
                        rest = if sound { tail } else { skip_element(tail) };
                    }
                    None => {
                        let (token, tail) = grammar::take(rest, TOKEN);
                        let another = !token.is_empty() && (tail.is_empty() || tail.starts_with([' ', '\t', ',']));
                        if rest.is_empty() || another {
                            break;
                        }
                        // `token68`, or garbage.
                        sound = false;
                        rest = skip_element(rest.get(rest.chars().next().map_or(1, char::len_utf8)..).unwrap_or(""));
                    }
                }
            }
            self.rest = rest;
            if sound {
                return Some(list);
            }
        }
    }
}
