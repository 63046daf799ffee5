//! The header fields of a message: an index of its lines, made in one pass, and views by name.
//!
//! `raw` is what came. `text` is the same bytes, but for two rare cases in which it is a copy of the head: folds are
//! spaces, and bytes that are not UTF-8 are question marks, one for one. So each place in the index is right in both, all
//! of `text` is UTF-8, and a value can be had as `&str` without loss to whoever asks for its bytes.

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::grammar::{self, Commas};
use crate::name::{HeaderName, Kind};

/// More header lines than this are refused (513).
pub const MAX_HEADER_LINES: usize = 512;

/// One header line. Offsets count from the start of the message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) kind: Kind,
    pub(crate) name_start: u32,
    pub(crate) name_end: u32,
    pub(crate) value_start: u32,
    pub(crate) value_end: u32,
}

pub(crate) type Lines = SmallVec<[Line; 20]>;

impl Line {
    /// The value as a part of [`Headers::head`].
    #[inline]
    pub(crate) fn of<'a>(&self, head: &'a str) -> &'a str {
        head.get(self.value()).unwrap_or("")
    }

    fn name(&self) -> Range<usize> {
        self.name_start as usize..self.name_end as usize
    }

    fn value(&self) -> Range<usize> {
        self.value_start as usize..self.value_end as usize
    }
}

/// The header fields of a message, in their order.
#[derive(Debug)]
pub struct Headers {
    pub(crate) raw: Bytes,
    pub(crate) text: Bytes,
    /// Where the body begins.
    pub(crate) end: usize,
    pub(crate) lines: Lines,
}

impl Headers {
    fn str(&self, range: Range<usize>) -> &str {
        // All of `text` is UTF-8, and lines are cut at ASCII bytes.
        self.text.get(range).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("")
    }

    /// The whole head; [`Line::of`] finds a value in it. Cheaper than [`Headers::value`] for whoever reads most lines.
    pub(crate) fn head(&self) -> &str {
        self.str(0..self.end)
    }

    pub(crate) fn value(&self, line: &Line) -> &str {
        self.str(line.value())
    }

    fn is(&self, line: &Line, name: &HeaderName) -> bool {
        line.kind == name.kind()
            && match name {
                HeaderName::Other(name) => self.str(line.name()).eq_ignore_ascii_case(name),
                _ => true,
            }
    }

    fn lines<'a>(&'a self, name: &'a HeaderName) -> impl DoubleEndedIterator<Item = &'a Line> {
        self.lines.iter().filter(move |line| self.is(line, name))
    }

    /// The number of header lines.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub fn contains(&self, name: &HeaderName) -> bool {
        self.lines(name).next().is_some()
    }

    /// The number of lines of this name.
    pub fn count(&self, name: &HeaderName) -> usize {
        self.lines(name).count()
    }

    /// The value of the first line of this name, without white space around it and without folds.
    pub fn get(&self, name: &HeaderName) -> Option<&str> {
        self.lines(name).next().map(|line| self.value(line))
    }

    /// The same by a name in long or compact form.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        match Kind::find(name.as_bytes()) {
            Kind::Other => self
                .lines
                .iter()
                .find(|line| line.kind == Kind::Other && self.str(line.name()).eq_ignore_ascii_case(name))
                .map(|line| self.value(line)),
            kind => self.get_kind(kind),
        }
    }

    pub(crate) fn get_kind(&self, kind: Kind) -> Option<&str> {
        self.lines.iter().find(|line| line.kind == kind).map(|line| self.value(line))
    }

    /// The bytes of the first value of this name as they came, folds included.
    pub fn get_bytes(&self, name: &HeaderName) -> Option<&[u8]> {
        self.lines(name).next().and_then(|line| self.raw.get(line.value()))
    }

    /// The values of all lines of this name.
    pub fn get_all<'a>(&'a self, name: &'a HeaderName) -> impl DoubleEndedIterator<Item = &'a str> {
        self.lines(name).map(|line| self.value(line))
    }

    /// The values of all lines of this name as they came, folds included.
    pub fn get_all_bytes<'a>(&'a self, name: &'a HeaderName) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.lines(name).filter_map(|line| self.raw.get(line.value()))
    }

    /// All values of this name, those of one line split at commas outside of quotes and angle brackets. A field whose
    /// grammar is no list (Subject, Date, credentials, ...) gives one value a line. An empty list gives none.
    pub fn values<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a str> {
        let list = name.kind().is_list();
        self.lines(name).map(|line| self.value(line)).flat_map(move |text| Values::new(text, list))
    }

    /// Each line's name as it is written, the known name, and the value.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, HeaderName, &str)> {
        let head = self.head();
        self.lines.iter().map(move |line| {
            let name = head.get(line.name()).unwrap_or("");
            (name, HeaderName::from_kind(line.kind, name), line.of(head))
        })
    }
}

/// The values of a comma-separated list, such as Route has: split at commas outside of quotes and angle brackets.
pub fn list_values(text: &str) -> impl Iterator<Item = &str> {
    Values::new(text, true)
}

/// The values of one line.
enum Values<'a> {
    One(Option<&'a str>),
    List(Commas<'a>),
}

impl<'a> Values<'a> {
    fn new(text: &'a str, list: bool) -> Values<'a> {
        if grammar::trim(text).is_empty() {
            Values::One(None)
        } else if list {
            Values::List(Commas::new(text))
        } else {
            Values::One(Some(text))
        }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        match self {
            Values::One(value) => value.take(),
            Values::List(commas) => commas.next(),
        }
    }
}
