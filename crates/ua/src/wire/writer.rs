//! One buffer a message is written into, front to back.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use ringback_sip::StatusCode;

use crate::transaction::key::{Branch, COOKIE, hex};

/// Bytes of a message, or of a part of one.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn with_capacity(capacity: usize) -> Writer {
        Writer(Vec::with_capacity(capacity))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.raw(text.as_bytes())
    }

    pub(crate) fn number(&mut self, value: u64) -> &mut Self {
        let mut digits = [0u8; 20];
        let mut place = digits.len();
        let mut rest = value;
        loop {
            place -= 1;
            if let Some(digit) = digits.get_mut(place) {
                *digit = b'0' + (rest % 10) as u8;
            }
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.raw(digits.get(place..).unwrap_or_default())
    }

    pub(crate) fn hex(&mut self, value: u64) -> &mut Self {
        self.raw(&hex(value))
    }

    /// `Name: value` and the line's end.
    pub(crate) fn header(&mut self, name: &str, value: &str) -> &mut Self {
        self.text(name).text(": ").text(value).text("\r\n")
    }

    pub(crate) fn branch(&mut self, branch: Branch) -> &mut Self {
        self.text(COOKIE).hex(branch.0)
    }

    /// As it stands in URIs and Via: IPv6 in brackets.
    pub(crate) fn ip(&mut self, ip: IpAddr) -> &mut Self {
        match ip {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                self.number(a.into()).text(".").number(b.into()).text(".").number(c.into()).text(".").number(d.into())
            }
            IpAddr::V6(ip) => {
                // Writing to a vector does not fail.
                let _ = write!(self.0, "[{ip}]");
                self
            }
        }
    }

    /// As the `received` parameter takes it: IPv6 without brackets (RFC 3261 §25.1, `via-received`).
    pub(crate) fn bare_ip(&mut self, ip: IpAddr) -> &mut Self {
        match ip {
            IpAddr::V4(_) => self.ip(ip),
            IpAddr::V6(ip) => {
                let _ = write!(self.0, "{ip}");
                self
            }
        }
    }

    pub(crate) fn host_port(&mut self, host: Option<&str>, address: SocketAddr) -> &mut Self {
        match host {
            Some(host) => self.text(host),
            None => self.ip(address.ip()),
        };
        self.text(":").number(address.port().into())
    }

    pub(crate) fn status_line(&mut self, status: StatusCode, reason: Option<&str>) -> &mut Self {
        self.text("SIP/2.0 ").number(status.as_u16().into()).text(" ");
        self.text(reason.unwrap_or(status.reason())).text("\r\n")
    }

    /// Content-Type, Content-Length, the empty line and the body: the end of a message.
    pub(crate) fn body(mut self, body: Option<(&str, &[u8])>) -> Bytes {
        match body {
            Some((content_type, bytes)) if !bytes.is_empty() => {
                self.header("Content-Type", content_type);
                self.text("Content-Length: ").number(bytes.len() as u64).text("\r\n\r\n").raw(bytes);
            }
            _ => {
                self.text("Content-Length: 0\r\n\r\n");
            }
        }
        self.finish()
    }

    pub(crate) fn finish(self) -> Bytes {
        Bytes::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_addresses_are_written_as_the_grammar_wants_them() {
        let mut out = Writer::default();
        out.number(0).text(" ").number(u64::MAX).text(" ");
        out.host_port(None, "192.0.2.1:5060".parse().unwrap()).text(" ");
        out.host_port(None, "[2001:db8::1]:5070".parse().unwrap()).text(" ");
        out.host_port(Some("pbx.example"), "192.0.2.1:5060".parse().unwrap()).text(" ");
        out.bare_ip("2001:db8::1".parse().unwrap());
        assert_eq!(
            out.finish(),
            "0 18446744073709551615 192.0.2.1:5060 [2001:db8::1]:5070 pbx.example:5060 2001:db8::1"
        );
    }
}
