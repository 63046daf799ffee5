//! Requests of ours. The text is composed before it is known by which way it goes; Via, and Contact where there is one, are put in
//! when an address is tried, and exchanged when the next one is.

use std::net::SocketAddr;

use bytes::Bytes;
use ringback_sip::{HeaderName, Message, Method};

use crate::api::{ContactForm, Transport};
use crate::dialog::{is_sips, uri_of};
use crate::transaction::key::Branch;
use crate::wire::writer::Writer;

/// A request without, and then with, Via and Contact.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) bytes: Bytes,
    /// Where the request line ends and Via begins.
    split: u32,
    /// How long Via and Contact are; 0: not there yet.
    inserted: u32,
    /// How long the credentials behind them are.
    authorized: u32,
    /// Whether it has a Contact: requests that make or refresh a dialog.
    contact: bool,
    form: Option<Box<ContactForm>>,
}

/// What Via and Contact say.
pub(crate) struct Sender<'a> {
    pub(crate) transport: Transport,
    pub(crate) local: SocketAddr,
    /// Host instead of the local one.
    pub(crate) public_address: Option<&'a str>,
    /// In Contact, where there is no such host: what a NAT makes of the local one. Via needs it not (RFC 3581).
    pub(crate) mapped: Option<SocketAddr>,
    pub(crate) user: &'a str,
    /// RFC 3261 §8.1.1.8, §12.1.1: whether Contact is a `sips` URI.
    pub(crate) sips: bool,
}

impl Sender<'_> {
    /// `<sip:user@host:port;transport=tcp>`
    pub(crate) fn write_contact(&self, out: &mut Writer) {
        out.text("Contact: <");
        self.write_address(out, self.user);
        out.text(">\r\n");
    }

    /// The same with what its owner wants said.
    fn write_form(&self, out: &mut Writer, form: &ContactForm) {
        out.text("Contact: <");
        match &form.uri {
            Some(uri) => {
                out.text(uri.as_str());
            }
            None => self.write_address(out, form.user.as_deref().unwrap_or(self.user)),
        }
        out.text(&form.uri_params).text(">").text(&form.params).text("\r\n");
    }

    fn write_address(&self, out: &mut Writer, user: &str) {
        out.text(if self.sips { "sips:" } else { "sip:" });
        if !user.is_empty() {
            out.text(user).text("@");
        }
        out.host_port(self.public_address, self.mapped.unwrap_or(self.local));
        // RFC 3263 §4.1: what is used without the parameter; RFC 7118 §5.5 has `ws` for both, and `sips` says which.
        match self.transport {
            Transport::Udp => {}
            Transport::Tls if self.sips => {}
            Transport::Wss if self.sips => {
                out.text(";transport=ws");
            }
            transport => {
                out.text(";transport=").text(transport.as_param());
            }
        }
    }
}

/// Longest Via and Contact without the names in them.
const INSERTED: usize = 256;

impl Draft {
    /// `split`: where the request line ends.
    pub(crate) fn new(bytes: Bytes, split: usize, contact: bool) -> Draft {
        Draft { bytes, split: split as u32, inserted: 0, authorized: 0, contact, form: None }
    }

    pub(crate) fn with_form(self, form: Option<Box<ContactForm>>) -> Draft {
        Draft { form, ..self }
    }

    /// RFC 3261 §8.1.1.7, RFC 3581 §3: the Via of one attempt.
    pub(crate) fn address(&mut self, sender: &Sender<'_>, branch: Branch) {
        let split = self.split as usize;
        let mut out = Writer::with_capacity(self.bytes.len() + INSERTED);
        out.raw(self.bytes.get(..split).unwrap_or_default());
        out.text("Via: SIP/2.0/").text(sender.transport.as_str()).text(" ");
        out.host_port(sender.public_address, sender.local).text(";branch=").branch(branch);
        out.text(match sender.transport {
            Transport::Udp => ";rport\r\n",
            // RFC 5923 §5: requests of the peer may come by the connection that this one goes by.
            Transport::Tls => ";alias\r\n",
            _ => "\r\n",
        });
        if self.contact {
            match &self.form {
                None => sender.write_contact(&mut out),
                Some(form) => sender.write_form(&mut out, form),
            }
        }
        let inserted = (out.len() - split) as u32;
        out.raw(self.bytes.get(split + self.inserted as usize..).unwrap_or_default());
        self.inserted = inserted;
        self.bytes = out.finish();
    }

    /// Puts these lines in as the request's credentials, instead of those that it had: RFC 3261 §22.2. A request that was sent is another one
    /// from then on: it gets a CSeq of its own, and needs an address again.
    pub(crate) fn authorize(&mut self, cseq: Option<u32>, lines: &str) {
        let split = self.split as usize;
        let old = split + self.inserted as usize + self.authorized as usize;
        let mut out = Writer::with_capacity(self.bytes.len() + lines.len() + 8);
        out.raw(self.bytes.get(..split).unwrap_or_default()).text(lines);
        let mut rest = self.bytes.get(old..).unwrap_or_default();
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, tail) = rest.split_at(end + 1);
            if line == b"\r\n" {
                break;
            }
            match line.iter().position(|byte| *byte == b':').and_then(|colon| line.get(..colon)) {
                // Credentials that the program gave by hand were refused.
                Some(name) if is_credentials(name) => {}
                Some(b"CSeq") if cseq.is_some() => {
                    let method = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
                    out.text("CSeq: ").number(cseq.unwrap_or_default().into()).text(" ").raw(method);
                }
                _ => {
                    out.raw(line);
                }
            }
            rest = tail;
        }
        out.raw(rest);
        self.inserted = 0;
        self.authorized = lines.len() as u32;
        self.bytes = out.finish();
    }

    /// The lines that `authorize` put in.
    pub(crate) fn authorization(&self) -> &[u8] {
        let start = self.split as usize + self.inserted as usize;
        self.bytes.get(start..start + self.authorized as usize).unwrap_or_default()
    }

    /// RFC 3261 §8.1.1.8: whether it is sent to a `sips` URI, or by one.
    pub(crate) fn is_sips(&self) -> bool {
        if is_sips(self.request_uri()) {
            return true;
        }
        let head = self.bytes.get(self.split as usize + self.inserted as usize..).unwrap_or_default();
        let mut lines = head.split(|byte| *byte == b'\n').take_while(|line| line.len() > 1);
        let route = lines.find_map(|line| line.strip_prefix(b"Route: "));
        route.and_then(|route| std::str::from_utf8(route).ok()).and_then(uri_of).is_some_and(is_sips)
    }

    /// The same request to be sent anew: RFC 3261 §8.1.3.5, with another number, perhaps another Request-URI, and headers that
    /// replace those of their names.
    pub(crate) fn again(&self, cseq: u32, request_uri: Option<&str>, headers: &[(String, String)]) -> Draft {
        let split = self.split as usize;
        let line = std::str::from_utf8(self.bytes.get(..split).unwrap_or_default()).unwrap_or_default();
        let method = line.split(' ').next().unwrap_or_default();
        // Credentials were for what it said before.
        let rest = self.bytes.get(split + (self.inserted + self.authorized) as usize..).unwrap_or_default();
        let head_end = memchr::memmem::find(rest, b"\r\n\r\n").map_or(rest.len(), |at| at + 2);
        let (head, body) = (rest.get(..head_end).unwrap_or_default(), rest.get(head_end..).unwrap_or_default());
        let mut out = Writer::with_capacity(self.bytes.len() + INSERTED);
        out.text(method).text(" ").text(request_uri.unwrap_or(self.request_uri())).text(" SIP/2.0\r\n");
        let split = out.len();
        // Our own text: one line a header, named in the long form where it matters here.
        for line in head.split_inclusive(|byte| *byte == b'\n') {
            let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            if is("CSeq") {
                out.text("CSeq: ").number(cseq.into()).text(" ").text(method).text("\r\n");
            } else if is("Content-Length") {
                for (name, value) in headers {
                    out.header(name, value);
                }
                out.raw(line);
            } else if !headers.iter().any(|(name, _)| is(name)) {
                out.raw(line);
            }
        }
        out.raw(body);
        let form = self.form.clone();
        Draft { bytes: out.finish(), split: split as u32, inserted: 0, authorized: 0, contact: self.contact, form }
    }

    pub(crate) fn request_uri(&self) -> &str {
        let line = self.bytes.get(..self.split as usize).unwrap_or_default();
        std::str::from_utf8(line).ok().and_then(|line| line.split(' ').nth(1)).unwrap_or_default()
    }

    pub(crate) fn has(&self, name: &HeaderName) -> bool {
        self.parsed().is_some_and(|request| request.headers().contains(name))
    }

    /// The request. Once addressed it is what RFC 3261 §9.1 and §17.1.1.3 make CANCEL and ACK of.
    pub(crate) fn parsed(&self) -> Option<Message> {
        Message::parse(self.bytes.clone()).ok()
    }

    /// §9.1: CANCEL has the INVITE's Request-URI, top Via, From, To, Call-ID, CSeq number and Route.
    pub(crate) fn cancel(&self, extra: &[u8]) -> Option<Bytes> {
        derived(&self.parsed()?, &Method::Cancel, None, extra)
    }

    /// §17.1.1.3: the ACK to a refusal has the To of the response.
    pub(crate) fn ack(&self, response: &Message) -> Option<Bytes> {
        derived(&self.parsed()?, &Method::Ack, response.headers().get(&HeaderName::To), &[])
    }
}

fn is_credentials(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"Authorization") || name.eq_ignore_ascii_case(b"Proxy-Authorization")
}

fn derived(invite: &Message, method: &Method, to: Option<&str>, extra: &[u8]) -> Option<Bytes> {
    let headers = invite.headers();
    let mut out = Writer::with_capacity(invite.raw().len().saturating_sub(invite.body().len()) + extra.len());
    out.text(method.as_str()).text(" ").text(invite.request_uri()?.as_str()).text(" SIP/2.0\r\n");
    out.header("Via", headers.get(&HeaderName::Via)?);
    for route in headers.get_all(&HeaderName::Route) {
        out.header("Route", route);
    }
    out.text("Max-Forwards: 70\r\n");
    out.header("From", headers.get(&HeaderName::From)?);
    out.header("To", to.or_else(|| headers.get(&HeaderName::To))?);
    out.header("Call-ID", headers.get(&HeaderName::CallId)?);
    let number = invite.cseq().ok()?.number;
    out.text("CSeq: ").number(number.into()).text(" ").text(method.as_str()).text("\r\n").raw(extra);
    Some(out.body(None))
}
