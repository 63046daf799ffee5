//! The top Via, read in place: it decides which transaction a message belongs to and where a response goes.

use std::net::{IpAddr, SocketAddr};

use crate::api::{Flow, Transport};
use crate::wire::writer::Writer;

/// The first value of a Via line. Borrowed; nothing is allocated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TopVia<'a> {
    /// The value, without what follows its comma.
    pub(crate) text: &'a str,
    /// The line from its comma on.
    pub(crate) rest: &'a str,
    pub(crate) host: &'a str,
    pub(crate) port: Option<u16>,
    pub(crate) branch: Option<&'a str>,
    /// RFC 3581 §3: the client asks for its source port.
    pub(crate) rport: bool,
    /// Whether another value follows in the same line.
    pub(crate) more: bool,
}

/// Where `stop` stands outside of quoted strings, or the text ends.
fn until(text: &str, stop: u8) -> usize {
    // Quotes are legal in parameters, and nobody uses them.
    match memchr::memchr2(stop, b'"', text.as_bytes()) {
        None => text.len(),
        Some(place) if text.as_bytes().get(place) == Some(&stop) => place,
        Some(_) => until_unquoted(text, stop),
    }
}

#[cold]
fn until_unquoted(text: &str, stop: u8) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if !quoted && byte == stop => return place,
            _ => {}
        }
    }
    text.len()
}

impl<'a> TopVia<'a> {
    /// `line`: the value of the first Via header. `None`: not a Via.
    pub(crate) fn parse(line: &'a str) -> Option<TopVia<'a>> {
        let end = until(line, b',');
        let (text, more) = (line.get(..end)?.trim_ascii(), end < line.len());
        let head_end = until(text, b';');
        let (head, mut params) = text.split_at_checked(head_end)?;
        // sent-protocol may have spaces around its slashes; sent-by is what follows the last of them and a space.
        let mut slashes = memchr::memchr_iter(b'/', head.as_bytes());
        let transport = head.get(slashes.nth(1)? + 1..)?.trim_ascii_start();
        let sent_by = transport.get(memchr::memchr2(b' ', b'\t', transport.as_bytes())?..)?.trim_ascii();
        let (host, port) = split_host_port(sent_by)?;
        let rest = line.get(end..)?;
        let mut via = TopVia { text, rest, host, port, branch: None, rport: false, more };
        while let Some(rest) = params.strip_prefix(';') {
            let end = until(rest, b';');
            let (param, next) = rest.split_at_checked(end)?;
            let (name, value) = match memchr::memchr(b'=', param.as_bytes()) {
                Some(at) => (param.get(..at)?, param.get(at + 1..)),
                None => (param, None),
            };
            let name = name.trim_ascii();
            if name.eq_ignore_ascii_case("branch") {
                via.branch = value.map(str::trim_ascii);
            } else if name.eq_ignore_ascii_case("rport") {
                via.rport = true;
            }
            params = next;
        }
        Some(via)
    }

    /// The value as a response repeats it: with what RFC 3261 §18.2.1 and RFC 3581 §4 have the server add.
    pub(crate) fn write_received(&self, out: &mut Writer, flow: &Flow) {
        let head_end = until(self.text, b';');
        let (head, mut params) = self.text.split_at_checked(head_end).unwrap_or((self.text, ""));
        out.text(head);
        while let Some(rest) = params.strip_prefix(';') {
            let end = until(rest, b';');
            let (param, next) = rest.split_at_checked(end).unwrap_or((rest, ""));
            let name = param.split_once('=').map_or(param, |(name, _)| name).trim();
            if name.eq_ignore_ascii_case("rport") {
                out.text(";rport=").number(flow.remote.port().into());
            } else if !name.eq_ignore_ascii_case("received") {
                out.text(";").text(param);
            }
            params = next;
        }
        // RFC 3581 §4: with rport always; RFC 3261 §18.2.1: else when sent-by is not the address it came from.
        if self.rport || self.ip() != Some(flow.remote.ip()) {
            out.text(";received=").bare_ip(flow.remote.ip());
        }
    }

    fn ip(&self) -> Option<IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// RFC 3261 §18.2.2 with RFC 3581 §4. The address is always the one the request came from: `received` is what we saw, and `maddr` is
    /// not followed (it would let anyone have our responses sent to a third party).
    pub(crate) fn reply_address(&self, flow: &Flow) -> SocketAddr {
        let port = match flow.transport {
            Transport::Udp if self.rport => flow.remote.port(),
            // Only used where the connection is gone: `Transmit::connection` comes first.
            _ => self.port.unwrap_or(5060),
        };
        SocketAddr::new(flow.remote.ip(), port)
    }
}

fn split_host_port(sent_by: &str) -> Option<(&str, Option<u16>)> {
    let host_end = match sent_by.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => memchr::memchr(b':', sent_by.as_bytes()).unwrap_or(sent_by.len()),
    };
    let (host, rest) = sent_by.split_at_checked(host_end)?;
    let port = match rest.trim().strip_prefix(':') {
        Some(port) => Some(port.trim().parse().ok()?),
        None => None,
    };
    let host = host.trim();
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(transport: Transport) -> Flow {
        let (local, remote) = ("192.0.2.9:5060".parse().unwrap(), "192.0.2.1:7000".parse().unwrap());
        Flow { transport, local, remote, connection: None }
    }

    fn received(line: &str) -> String {
        let mut out = Writer::default();
        TopVia::parse(line).unwrap().write_received(&mut out, &flow(Transport::Udp));
        String::from_utf8(out.finish().to_vec()).unwrap()
    }

    #[test]
    fn what_a_response_repeats() {
        for (line, expected) in [
            ("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1"),
            (
                "SIP/2.0/UDP a.example;branch=z9hG4bK1, SIP/2.0/UDP b",
                "SIP/2.0/UDP a.example;branch=z9hG4bK1;received=192.0.2.1",
            ),
            (
                "SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK1",
                "SIP/2.0/UDP 192.0.2.1:5060;rport=7000;branch=z9hG4bK1;received=192.0.2.1",
            ),
            // What the client says about itself is not believed.
            (
                "SIP/2.0/UDP 10.0.0.1;received=203.0.113.5;rport=1;branch=x",
                "SIP/2.0/UDP 10.0.0.1;rport=7000;branch=x;received=192.0.2.1",
            ),
            ("SIP / 2.0 / UDP  192.0.2.1 ;x=\"a;b,c\";branch=y", "SIP / 2.0 / UDP  192.0.2.1 ;x=\"a;b,c\";branch=y"),
        ] {
            assert_eq!(received(line), expected);
        }
    }

    #[test]
    fn where_a_response_goes() {
        for (line, transport, expected) in [
            ("SIP/2.0/UDP 10.0.0.1:5070;branch=x", Transport::Udp, "192.0.2.1:5070"),
            ("SIP/2.0/UDP 10.0.0.1;branch=x", Transport::Udp, "192.0.2.1:5060"),
            ("SIP/2.0/UDP 10.0.0.1;rport;branch=x", Transport::Udp, "192.0.2.1:7000"),
            ("SIP/2.0/UDP 10.0.0.1;maddr=203.0.113.5;branch=x", Transport::Udp, "192.0.2.1:5060"),
            ("SIP/2.0/TCP 10.0.0.1:5080;rport;branch=x", Transport::Tcp, "192.0.2.1:5080"),
        ] {
            let via = TopVia::parse(line).unwrap();
            assert_eq!(via.reply_address(&flow(transport)).to_string(), expected, "{line}");
        }
    }

    #[test]
    fn parts_are_read_in_place() {
        let via = TopVia::parse("SIP/2.0/TCP [2001:db8::1]:5061 ; branch = z9hG4bKx ;RPORT, next").unwrap();
        assert_eq!((via.host, via.port, via.branch), ("[2001:db8::1]", Some(5061), Some("z9hG4bKx")));
        assert!(via.rport && via.more);
        for bad in
            ["", "SIP/2.0", "SIP/2.0/UDP", "SIP/2.0/UDP ;branch=x", "SIP/2.0/UDP a:b;branch=x", "SIP/2.0/UDP [::1"]
        {
            assert_eq!(TopVia::parse(bad), None, "{bad}");
        }
    }
}
