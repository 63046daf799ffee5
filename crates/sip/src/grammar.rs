//! Byte classes and small scanners of RFC 3261 §25.1 that every parser of this crate stands on.
//!
//! All scanners cut text only at ASCII bytes, so slices of a `&str` made with their results lie on character boundaries.

/// `token` (RFC 3261 §25.1).
pub(crate) const TOKEN: u8 = 1;
/// `word`, of which a Call-ID is made, with its `@`.
pub(crate) const CALL_ID: u8 = 2;
/// What stands in the user part of a SIP URI, escapes included. Wider than the grammar by `#`, which telephones send
/// unescaped for feature codes, and by bytes above 127.
pub(crate) const USER: u8 = 4;
/// Names and values of URI parameters. Wider than the grammar by `@`, `,` and bytes above 127.
pub(crate) const URI_PARAM: u8 = 8;
/// Names and values of URI headers, `=` and `&` apart.
pub(crate) const URI_HEADER: u8 = 16;
/// Letters, digits, hyphen, dot; underscore besides, which real host names contain.
pub(crate) const HOST: u8 = 32;
/// An unquoted parameter value of a header field: anything visible but quotes and separators.
pub(crate) const VALUE: u8 = 64;
/// Visible bytes that can stand in a URI of any scheme.
pub(crate) const URI_ANY: u8 = 128;

static CLASS: [u8; 256] = classes();

const fn contains(set: &[u8], byte: u8) -> bool {
    let mut i = 0;
    while i < set.len() {
        if set[i] == byte {
            return true;
        }
        i += 1;
    }
    false
}

const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut i = 0usize;
    while i < 256 {
        let b = i as u8;
        let alnum = b.is_ascii_alphanumeric();
        let high = b >= 0x80;
        let unreserved = alnum || contains(b"-_.!~*'()", b);
        let mut class = 0;
        if alnum || contains(b"-.!%*_+`'~", b) {
            class |= TOKEN;
        }
        if alnum || contains(b"-.!%*_+`'~()<>:\\\"/[]?{}@", b) {
            class |= CALL_ID;
        }
        if unreserved || high || contains(b"&=+$,;?/%#", b) {
            class |= USER;
        }
        if unreserved || high || contains(b"[]/:&+$%@,", b) {
            class |= URI_PARAM;
        }
        if unreserved || high || contains(b"[]/?:+$%@,;", b) {
            class |= URI_HEADER;
        }
        if alnum || contains(b"-._", b) {
            class |= HOST;
        }
        let visible = b > b' ' && b != 0x7f;
        if visible && !contains(b"\",;<>", b) {
            class |= VALUE;
        }
        if visible && !contains(b"\"<>\\^`{|}", b) {
            class |= URI_ANY;
        }
        table[i] = class;
        i += 1;
    }
    table
}

#[inline]
pub(crate) fn is(byte: u8, class: u8) -> bool {
    CLASS[byte as usize] & class != 0
}

/// Whether all bytes are of the class; true for nothing at all.
#[inline]
pub(crate) fn all(text: &[u8], class: u8) -> bool {
    text.iter().all(|&b| is(b, class))
}

#[inline]
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && all(text, TOKEN)
}

/// White space as it can stand in a header field: CR and LF occur only as part of a fold.
#[inline]
pub(crate) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The number of leading bytes for which `accept` holds.
#[inline]
pub(crate) fn span(bytes: &[u8], accept: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|&b| !accept(b)).unwrap_or(bytes.len())
}

#[inline]
pub(crate) fn trim_start(text: &str) -> &str {
    text.get(span(text.as_bytes(), is_space)..).unwrap_or("")
}

#[inline]
pub(crate) fn trim_end(text: &str) -> &str {
    let len = text.as_bytes().iter().rposition(|&b| !is_space(b)).map_or(0, |at| at + 1);
    text.get(..len).unwrap_or("")
}

/// The texts before and after the first `byte`, which is ASCII.
#[inline]
pub(crate) fn split_once(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = memchr::memchr(byte, text.as_bytes())?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// The texts before and after the last `byte`, which is ASCII.
#[inline]
pub(crate) fn rsplit_once(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = memchr::memrchr(byte, text.as_bytes())?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

#[inline]
pub(crate) fn trim(text: &str) -> &str {
    trim_end(trim_start(text))
}

/// Splits a leading run of bytes of `class` off. The run may be empty.
#[inline]
pub(crate) fn take(text: &str, class: u8) -> (&str, &str) {
    text.split_at(span(text.as_bytes(), |b| is(b, class)))
}

/// The length of the quoted string that `bytes` begins with, both quotes included, or `None` where it never ends.
///
/// RFC 3261 §25.1: a backslash takes the byte that follows it out of the game, except CR and LF.
pub(crate) fn quoted_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        match bytes.get(at + 1) {
            None | Some(b'\r' | b'\n') => return None,
            Some(_) => at += 2,
        }
    }
}

/// Undoes quoted pairs. The argument is the text between the quotes.
pub(crate) fn unquote(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            // A fold inside of the quotes stands for one space (RFC 3261 §7.3.1).
            '\r' | '\n' => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            c => out.push(c),
        }
    }
    out
}

/// Writes `text` as a quoted string. CR and LF cannot be said in one, and become a space.
pub(crate) fn write_quoted(out: &mut impl std::fmt::Write, text: &str) -> std::fmt::Result {
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '\r' | '\n' => out.write_char(' ')?,
            '"' | '\\' => {
                out.write_char('\\')?;
                out.write_char(c)?;
            }
            // Raw controls are not in `qdtext`, but a quoted pair may hold them.
            c if c.is_ascii_control() && c != '\t' => {
                out.write_char('\\')?;
                out.write_char(c)?;
            }
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

/// Whether the text between two quotes has no control bytes but escaped ones, tabs and folds.
pub(crate) fn is_quoted_text(inner: &[u8]) -> bool {
    let mut escaped = false;
    for &b in inner {
        if escaped {
            escaped = false;
        } else if b == b'\\' {
            escaped = true;
        } else if (b < b' ' && !is_space(b)) || b == 0x7f {
            return false;
        }
    }
    !escaped
}

/// Splits at commas that stand neither in quotes nor in angle brackets (RFC 3261 §7.3.1).
#[derive(Clone, Debug)]
pub(crate) struct Commas<'a> {
    rest: Option<&'a str>,
}

impl<'a> Commas<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Commas { rest: Some(text) }
    }

    /// Where the first such comma is.
    fn find(bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            at += memchr::memchr3(b',', b'"', b'<', bytes.get(at..)?)?;
            match bytes.get(at) {
                Some(b',') => return Some(at),
                Some(b'"') => at += quoted_len(bytes.get(at..)?)?,
                _ => at += memchr::memchr(b'>', bytes.get(at..)?)? + 1,
            }
        }
    }
}

impl<'a> Iterator for Commas<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest.take()?;
        match Self::find(rest.as_bytes()) {
            Some(at) => {
                self.rest = rest.get(at + 1..);
                Some(trim(rest.get(..at)?))
            }
            None => Some(trim(rest)),
        }
    }
}

/// The decimal value of all the bytes, or `None` where one is not a digit, there are none, or the value is above `max`.
pub(crate) fn decimal(bytes: &[u8], max: u64) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    let mut value: u64 = 0;
    for &b in bytes {
        if !b.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(b - b'0'))?;
        if value > max {
            return None;
        }
    }
    Some(value)
}

/// The byte that `%XX` at the start of `bytes` stands for.
#[inline]
pub(crate) fn escape(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [b'%', high, low, ..] => Some((hex(*high)? << 4) | hex(*low)?),
        _ => None,
    }
}

const fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Whether each `%` is followed by two hexadecimal digits.
pub(crate) fn escapes_ok(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'%', bytes).all(|at| bytes.get(at..).and_then(escape).is_some())
}

/// Undoes `%XX` once (RFC 3986 §2.4: never twice). What is not UTF-8 afterwards becomes U+FFFD.
pub(crate) fn unescape(text: &str) -> std::borrow::Cow<'_, str> {
    use std::borrow::Cow;
    if memchr::memchr(b'%', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        match bytes.get(at..).and_then(escape) {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None => {
                out.push(b);
                at += 1;
            }
        }
    }
    Cow::Owned(match String::from_utf8(out) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}
