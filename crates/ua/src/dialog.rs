//! A dialog: RFC 3261 §12. What identifies it (Call-ID and the two tags), where its requests go (remote target, route set) and in which order
//! they come (the two sequence numbers).
//!
//! All its text lies in one buffer, of which the fields are parts: for the called side the very buffer that its responses are made
//! of.

use std::sync::Arc;

use bytes::Bytes;
use ringback_sip::{HeaderName, Message, Method, NameAddr, Uri};

use crate::api::Flow;
use crate::target::Target;
use crate::wire::echo::{Echo, Span, Spans, part_of, values};
use crate::wire::request::Draft;
use crate::wire::tags::to_tag;
use crate::wire::writer::Writer;

/// More Record-Route values than this are refused: 400.
pub(crate) const MAX_ROUTES: usize = 64;

#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    buffer: Bytes,
    call_id: Span,
    /// From of our requests, with our tag.
    local: Span,
    /// To of our requests, with the peer's tag where it has one (RFC 2543 peers may not).
    remote: Span,
    remote_tag: Span,
    target: Span,
    /// Set when a target refresh replaced `target`.
    refreshed: Option<Box<str>>,
    /// In the order in which our requests travel.
    routes: Spans,
    pub(crate) local_cseq: u32,
    pub(crate) remote_cseq: Option<u32>,
    /// Where the last request went, or the stream the peer itself uses: tried first.
    pub(crate) hop: Option<Target>,
    /// The name that led to `hop`: `Transmit::domain`.
    pub(crate) hop_domain: Option<Arc<str>>,
    /// RFC 3262 §4: number of the INVITE, and RSeq of the last provisional response to it that was acknowledged here.
    pub(crate) reliable: Option<(u32, u32)>,
    /// A description has come in such a response.
    pub(crate) described: bool,
}

impl Dialog {
    /// §12.1.1, of the called side. `echo.more` is the remote target.
    pub(crate) fn of_uas(echo: &Echo, remote_cseq: u32, flow: &Flow) -> Dialog {
        // With a stream and no proxy between, the peer is at the other end of it: no other way is as sure (a peer behind NAT
        // has no other). A GRUU (RFC 5627) leads to whoever gave it, which may be this very system: not a name to look up
        // while the peer itself is at hand.
        let at_hand = echo.hops == 1 && (flow.connection.is_some() || is_gruu(echo.more.of(&echo.buffer)));
        Dialog {
            remote_tag: echo.from_tag,
            buffer: echo.buffer.clone(),
            call_id: echo.call_id,
            local: echo.to,
            remote: echo.from,
            target: echo.more,
            refreshed: None,
            routes: echo.routes.clone(),
            local_cseq: 0,
            remote_cseq: Some(remote_cseq),
            hop: at_hand.then(|| Target::of_flow(flow)),
            hop_domain: None,
            reliable: None,
            described: false,
        }
    }

    /// §12.1.2, of the calling side. `invite`: whose Request-URI serves where the response has no Contact.
    pub(crate) fn of_uac(response: &Message, cseq: u32, invite: Option<&Draft>) -> Dialog {
        let headers = response.headers();
        let value = |name: &HeaderName| headers.get(name).unwrap_or_default();
        let (from, to, call_id) = (value(&HeaderName::From), value(&HeaderName::To), value(&HeaderName::CallId));
        let mut out = Writer::with_capacity(from.len() + to.len() + call_id.len() + 96);
        let mut put = |text: &str| {
            let start = out.len();
            out.text(text);
            Span::new(start, out.len())
        };
        let (local, remote, call_id) = (put(from), put(to), put(call_id));
        let target = match contact_of(response) {
            Some(contact) => put(contact),
            None => put(invite.map_or("", Draft::request_uri)),
        };
        let mut routes = Spans::new();
        for line in headers.get_all(&HeaderName::RecordRoute) {
            for (start, end) in values(line).take(MAX_ROUTES) {
                routes.push(put(line.get(start..end).unwrap_or_default()));
            }
        }
        // §12.1.2: in reverse.
        routes.reverse();
        routes.truncate(MAX_ROUTES);
        let remote_tag = to_tag(response).map_or(Span::default(), |tag| part_of(to, tag, remote.start));
        Dialog {
            remote_tag,
            buffer: out.finish(),
            call_id,
            local,
            remote,
            target,
            refreshed: None,
            routes,
            local_cseq: cseq,
            remote_cseq: None,
            hop: None,
            hop_domain: None,
            reliable: None,
            described: false,
        }
    }

    /// After a response that came by `flow` to a request for `request_uri`, which had no other way where it was `pinned`: keeps to that
    /// flow where the Contact leads nowhere.
    pub(crate) fn keep_to(&mut self, flow: &Flow, pinned: bool, request_uri: &str) {
        // RFC 7118 §5.2: what a WebSocket client says about its address leads nowhere; the connection does, unless a proxy is in between.
        // Nor does what a contact behind a NAT says, which is why the request had one way only (RFC 5626 §5.3). Who is called at its own
        // address and answers with a GRUU of another host is there, whoever else that name leads to (RFC 5627 §4.4).
        let elsewhere = || is_gruu(self.target()) && !same_host(self.target(), request_uri);
        if self.is_direct() && (flow.transport.is_websocket() || pinned || elsewhere()) {
            self.hop = Some(Target::of_flow(flow));
        }
    }

    pub(crate) fn call_id(&self) -> &str {
        self.call_id.of(&self.buffer)
    }

    pub(crate) fn remote_tag(&self) -> &str {
        self.remote_tag.of(&self.buffer)
    }

    pub(crate) fn target(&self) -> &str {
        self.refreshed.as_deref().unwrap_or_else(|| self.target.of(&self.buffer))
    }

    /// §12.2: a 2xx to a (re-)INVITE, or a re-INVITE that we accept, says where the peer is from now on.
    pub(crate) fn refresh_target(&mut self, message: &Message) {
        if let Some(contact) = contact_of(message) {
            self.set_target(contact);
        }
    }

    pub(crate) fn set_target(&mut self, target: &str) {
        if !target.is_empty() && target != self.target() {
            self.refreshed = Some(target.into());
            // A stream the peer itself opened leads to it whatever its Contact says.
            if self.hop.is_some_and(|hop| hop.connection.is_none()) {
                self.hop = None;
            }
        }
    }

    /// §12.2.2: whether a request comes in its order. RFC 3261 refuses lower numbers; an equal one in another transaction is no
    /// request of its own either.
    pub(crate) fn accept_cseq(&mut self, cseq: u32) -> bool {
        if self.remote_cseq.is_some_and(|last| cseq <= last) {
            return false;
        }
        self.remote_cseq = Some(cseq);
        true
    }

    /// Whether a request of ours has a higher number than `cseq`.
    pub(crate) fn has_sent_after(&self, cseq: u32) -> bool {
        self.local_cseq > cseq
    }

    pub(crate) fn next_cseq(&mut self) -> u32 {
        self.local_cseq = self.local_cseq.saturating_add(1);
        self.local_cseq
    }

    /// Whether no proxy has put itself between us and the peer.
    pub(crate) fn is_direct(&self) -> bool {
        self.routes.is_empty()
    }

    /// RFC 3261 §26.2.2: whether its requests may go by TLS only.
    pub(crate) fn is_sips(&self) -> bool {
        is_sips(self.target()) || self.route(0).and_then(uri_of).is_some_and(is_sips)
    }

    fn route(&self, place: usize) -> Option<&str> {
        self.routes.get(place).map(|span| span.of(&self.buffer))
    }

    fn first_route(&self) -> Option<Uri> {
        NameAddr::parse(self.route(0)?).ok().map(|route| route.uri)
    }

    /// The URI that decides where a request goes: §12.2.1.1 and §8.1.2.
    pub(crate) fn next_hop(&self) -> Option<Uri> {
        match self.route(0) {
            Some(_) => self.first_route(),
            None => Uri::parse(self.target()).ok(),
        }
    }

    /// Request line, then Route, From, To, Call-ID and CSeq, as §12.2.1.1 wants them. Returns where the request line ends.
    pub(crate) fn write_request(&self, out: &mut Writer, method: &Method, cseq: u32, max_forwards: u8) -> usize {
        let strict = self.first_route().filter(|first| !first.is_loose_router());
        out.text(method.as_str()).text(" ");
        match &strict {
            // A strict router expects itself in the Request-URI, and the target last in the route.
            Some(first) => out.text(first.request_uri().as_str()),
            None => out.text(self.target()),
        };
        out.text(" SIP/2.0\r\n");
        let line_end = out.len();
        for span in self.routes.iter().skip(usize::from(strict.is_some())) {
            out.header("Route", span.of(&self.buffer));
        }
        if strict.is_some() {
            out.text("Route: <").text(self.target()).text(">\r\n");
        }
        out.text("Max-Forwards: ").number(max_forwards.into()).text("\r\nFrom: ").raw(self.local.bytes(&self.buffer));
        out.text("\r\nTo: ").raw(self.remote.bytes(&self.buffer));
        out.text("\r\nCall-ID: ").raw(self.call_id.bytes(&self.buffer));
        out.text("\r\nCSeq: ").number(cseq.into()).text(" ").text(method.as_str()).text("\r\n");
        line_end
    }
}

/// RFC 5627 §3.1.
pub(crate) fn is_gruu(uri: &str) -> bool {
    // Hardly any is: parsed only where it may be.
    memchr::memmem::find(uri.as_bytes(), b";gr").is_some() && Uri::parse(uri).is_ok_and(|uri| uri.param("gr").is_some())
}

fn same_host(one: &str, other: &str) -> bool {
    match (Uri::parse(one), Uri::parse(other)) {
        (Ok(one), Ok(other)) => one.host() == other.host(),
        _ => false,
    }
}

pub(crate) fn is_sips(uri: &str) -> bool {
    uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sips:"))
}

/// The URI of the first Contact, in place.
pub(crate) fn contact_of(message: &Message) -> Option<&str> {
    let line = message.headers().get(&HeaderName::Contact)?;
    let (start, end) = values(line).next()?;
    uri_of(line.get(start..end)?).filter(|uri| !uri.is_empty())
}

/// The URI of a name-addr or addr-spec, in place. RFC 3261 §20: without angle brackets, parameters are the header's.
pub(crate) fn uri_of(value: &str) -> Option<&str> {
    if let Some(rest) = value.strip_prefix('<') {
        return rest.get(..memchr::memchr(b'>', rest.as_bytes())?).map(str::trim_ascii);
    }
    let mut quoted = false;
    let mut escaped = false;
    let mut open = None;
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'<' if !quoted && open.is_none() => open = Some(at + 1),
            b'>' if !quoted => return value.get(open?..at).map(str::trim),
            _ => {}
        }
    }
    match open {
        Some(_) => None,
        None => value.split(';').next().map(str::trim).filter(|uri| !uri.is_empty() && *uri != "*"),
    }
}
