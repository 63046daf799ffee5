//! Digits in INFO requests: `application/dtmf-relay` (`Signal=5`, `Duration=160`) and `application/dtmf` (the digit alone). No
//! standard describes either; these are the forms that gateways and telephones send.

use std::fmt::Write;

pub(crate) const RELAY: &str = "application/dtmf-relay";
pub(crate) const PLAIN: &str = "application/dtmf";

/// Milliseconds of a digit whose length was not told.
const DURATION_UNKNOWN: u32 = 100;
const DURATION_MOST: u32 = 8_000;

/// What an INFO says, for its content type without parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Info {
    Digit {
        digit: char,
        duration_ms: u32,
    },
    /// The type is ours, and the body is not understood.
    Garbage,
    /// A type that is not ours.
    Other,
}

pub(crate) fn parse(content_type: &str, body: &[u8]) -> Info {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let text = std::str::from_utf8(body).unwrap_or_default();
    if media_type.eq_ignore_ascii_case(RELAY) {
        relay(text)
    } else if media_type.eq_ignore_ascii_case(PLAIN) {
        match signal(text.trim()) {
            Some(digit) => Info::Digit { digit, duration_ms: DURATION_UNKNOWN },
            None => Info::Garbage,
        }
    } else {
        Info::Other
    }
}

fn relay(text: &str) -> Info {
    let mut digit = None;
    let mut duration_ms = DURATION_UNKNOWN;
    for line in text.lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("signal") {
            digit = signal(value);
        } else if name.eq_ignore_ascii_case("duration") {
            duration_ms = value.parse().map_or(DURATION_UNKNOWN, |ms: u32| ms.min(DURATION_MOST));
        }
    }
    match digit {
        Some(digit) => Info::Digit { digit, duration_ms },
        None => Info::Garbage,
    }
}

/// A digit as itself, or by its number in RFC 4733 (10 is `*`, 11 is `#`, 12 to 15 are `A` to `D`).
fn signal(text: &str) -> Option<char> {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => {
            let digit = c.to_ascii_uppercase();
            matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D').then_some(digit)
        }
        _ => match text.parse::<u8>() {
            Ok(10) => Some('*'),
            Ok(11) => Some('#'),
            Ok(number @ 12..=15) => Some(char::from(b'A' + number - 12)),
            _ => None,
        },
    }
}

/// The body that sends one digit.
pub(crate) fn write(digit: char, duration_ms: u32) -> String {
    let mut body = String::with_capacity(32);
    // Writing to a string does not fail.
    let _ = write!(body, "Signal={digit}\r\nDuration={duration_ms}\r\n");
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digit(digit: char, duration_ms: u32) -> Info {
        Info::Digit { digit, duration_ms }
    }

    #[test]
    fn the_forms_that_are_seen() {
        for (content_type, body, expected) in [
            ("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n", digit('5', 160)),
            ("application/dtmf-relay", "Signal= *\nDuration= 250", digit('*', 250)),
            ("Application/DTMF-Relay ; charset=x", "signal=10\r\n", digit('*', 100)),
            ("application/dtmf-relay", "Signal=11", digit('#', 100)),
            ("application/dtmf-relay", "Signal=d\r\nDuration=999999", digit('D', 8000)),
            ("application/dtmf-relay", "Signal=15\r\nDuration=x", digit('D', 100)),
            ("application/dtmf-relay", "Signal=16\r\n", Info::Garbage),
            ("application/dtmf-relay", "Duration=160\r\n", Info::Garbage),
            ("application/dtmf-relay", "\u{0}", Info::Garbage),
            ("application/dtmf", "7", digit('7', 100)),
            ("application/dtmf", " 11\r\n", digit('#', 100)),
            ("application/dtmf", "77", Info::Garbage),
            ("application/dtmf", "", Info::Garbage),
            ("text/plain", "5", Info::Other),
            ("", "5", Info::Other),
        ] {
            assert_eq!(parse(content_type, body.as_bytes()), expected, "{content_type} {body:?}");
        }
        assert_eq!(parse(RELAY, &[0xff, 0xfe]), Info::Garbage);
    }

    #[test]
    fn what_is_written_is_read_back() {
        for c in "0123456789*#ABCD".chars() {
            assert_eq!(parse(RELAY, write(c, 120).as_bytes()), digit(c, 120));
        }
    }
}
