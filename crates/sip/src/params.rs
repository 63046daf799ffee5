//! Parameters of a header field value: `;name=value;flag;text="quoted"`.
//!
//! Order and spelling stay; white space around separators does not.

use std::borrow::Cow;
use std::fmt;

use crate::grammar::{self, TOKEN, VALUE};

/// Parameters in their order, as one text that begins with a semicolon, or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Params {
    text: String,
}

/// A text that is not a list of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed parameter")]
pub struct ParamsError;

/// A name and, where it has one, its value as it is written, quotes included.
type Param<'a> = (&'a str, Option<&'a str>);

/// Splits the parameter off that `text`, not empty, begins with, semicolon included.
fn take_param(text: &str) -> Option<(Param<'_>, &str)> {
    let rest = grammar::trim_start(text.strip_prefix(';')?);
    let (name, rest) = grammar::take(rest, TOKEN);
    if name.is_empty() {
        return None;
    }
    let rest = grammar::trim_start(rest);
    let Some(rest) = rest.strip_prefix('=') else { return Some(((name, None), rest)) };
    let rest = grammar::trim_start(rest);
    let (value, rest) = if rest.starts_with('"') {
        let (value, rest) = rest.split_at_checked(grammar::quoted_len(rest.as_bytes())?)?;
        if !grammar::is_quoted_text(value.as_bytes().get(1..value.len() - 1)?) {
            return None;
        }
        (value, rest)
    } else {
        // Wider than `token / host`: an IPv6 address without brackets, a value left empty, and what else is visible.
        grammar::take(rest, VALUE)
    };
    Some(((name, Some(value)), grammar::trim_start(rest)))
}

/// Checks a text of parameters and hands each to `each`, without taking a copy.
pub(crate) fn scan<'a>(text: &'a str, mut each: impl FnMut(&'a str, Option<&'a str>)) -> Result<(), ParamsError> {
    let mut rest = grammar::trim_start(text);
    while !rest.is_empty() {
        let ((name, value), tail) = take_param(rest).ok_or(ParamsError)?;
        each(name, value);
        rest = tail;
    }
    Ok(())
}

impl Params {
    /// The text from the first semicolon on; empty text is no parameters.
    pub fn parse(text: &str) -> Result<Params, ParamsError> {
        let mut out = String::with_capacity(text.len());
        scan(text, |name, value| push(&mut out, name, value))?;
        Ok(Params { text: out })
    }

    /// What can be read before the first fault.
    pub(crate) fn salvage(text: &str) -> Params {
        let mut out = String::with_capacity(text.len());
        let _ = scan(text, |name, value| push(&mut out, name, value));
        Params { text: out }
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// All parameters as they are written, first semicolon included.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Names and values in their order; a quoted value keeps its quotes.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let mut rest = self.text.as_str();
        std::iter::from_fn(move || {
            let (param, tail) = take_param(rest)?;
            rest = tail;
            Some(param)
        })
    }

    /// The first parameter of this name, without regard to case: `Some(None)` where it has no value. A quoted value
    /// keeps its quotes; [`Params::get_unquoted`] takes them off.
    pub fn get(&self, name: &str) -> Option<Option<&str>> {
        self.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value of the first parameter of this name, without quotes and quoted pairs.
    pub fn get_unquoted(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name)?.map(unquoted)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Puts the value where the first parameter of this name stands, and removes further ones; otherwise appends. What is
    /// neither an unquoted value nor already quoted gets quotes. Returns whether that was possible: not where the name is no
    /// token, nor where the value has a CR, LF or NUL; then nothing changes.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> bool {
        if !grammar::is_token(name.as_bytes()) || value.is_some_and(|v| v.contains(['\r', '\n', '\0'])) {
            return false;
        }
        let value = value.map(as_value);
        let value = value.as_deref();
        if !self.contains(name) {
            push(&mut self.text, name, value);
            return true;
        }
        let mut text = String::with_capacity(self.text.len() + 16);
        let mut done = false;
        for (key, old) in self.iter() {
            if !key.eq_ignore_ascii_case(name) {
                push(&mut text, key, old);
            } else if !done {
                done = true;
                push(&mut text, key, value);
            }
        }
        self.text = text;
        true
    }

    /// Removes all parameters of this name; tells whether there were any.
    pub fn remove(&mut self, name: &str) -> bool {
        if !self.contains(name) {
            return false;
        }
        let mut text = String::with_capacity(self.text.len());
        for (key, value) in self.iter().filter(|(key, _)| !key.eq_ignore_ascii_case(name)) {
            push(&mut text, key, value);
        }
        self.text = text;
        true
    }
}

/// Takes the quotes off where there are any.
pub(crate) fn unquoted(value: &str) -> Cow<'_, str> {
    match value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) {
        Some(inner) if memchr::memchr3(b'\\', b'\r', b'\n', inner.as_bytes()).is_some() => {
            Cow::Owned(grammar::unquote(inner))
        }
        Some(inner) => Cow::Borrowed(inner),
        None => Cow::Borrowed(value),
    }
}

fn as_value(value: &str) -> Cow<'_, str> {
    let bytes = value.as_bytes();
    let quoted = bytes.first() == Some(&b'"')
        && grammar::quoted_len(bytes) == Some(bytes.len())
        && grammar::is_quoted_text(value.get(1..value.len() - 1).unwrap_or("\0").as_bytes());
    if quoted || grammar::all(bytes, VALUE) {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len() + 2);
    // Writing to a String cannot fail.
    let _ = grammar::write_quoted(&mut out, value);
    Cow::Owned(out)
}

fn push(text: &mut String, name: &str, value: Option<&str>) {
    text.push(';');
    text.push_str(name);
    if let Some(value) = value {
        text.push('=');
        text.push_str(value);
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_and_change() {
        let mut p = Params::parse(" ; tag = abc;lr ;text=\"a;b\\\"c\" ; E=").unwrap();
        assert_eq!(p.as_str(), ";tag=abc;lr;text=\"a;b\\\"c\";E=");
        assert_eq!(p.get("TAG"), Some(Some("abc")));
        assert_eq!(p.get("lr"), Some(None));
        assert_eq!(p.get("e"), Some(Some("")));
        assert_eq!(p.get_unquoted("text").as_deref(), Some("a;b\"c"));
        assert_eq!(p.get("x"), None);
        assert!(p.set("lr", Some("on")));
        assert!(p.set("new", Some("two words")));
        assert!(p.set("flag", None));
        assert!(p.remove("TEXT"));
        assert!(!p.remove("text"));
        assert_eq!(p.to_string(), ";tag=abc;lr=on;E=;new=\"two words\";flag");
        assert!(p.set("new", Some("\"already\"")));
        assert_eq!(p.get("new"), Some(Some("\"already\"")));
        assert!(p.set("new", Some("\"half")));
        assert_eq!(p.get("new"), Some(Some("\"\\\"half\"")));
        for (name, value) in [("a b", "x"), ("", "x"), ("x", "a\r\nb"), ("x", "\0")] {
            assert!(!p.set(name, Some(value)));
        }
    }

    #[test]
    fn refused() {
        for text in [
            "tag=x",
            ";",
            ";;a",
            ";a;",
            ";=x",
            ";a=\"x",
            ";a=\"x\"y",
            ";a b",
            ";a=b c",
            ";a=<b>",
            ";a,b",
            ";a=\"\x01\"",
        ] {
            assert_eq!(Params::parse(text), Err(ParamsError), "{text}");
        }
        assert!(Params::parse("").unwrap().is_empty());
        assert_eq!(Params::parse(";received=::1;i=\"\\\0\"").unwrap().get("received"), Some(Some("::1")));
    }
}
