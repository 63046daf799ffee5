//! Responses and the header lines that all of our messages share.

use std::net::SocketAddr;

use bytes::Bytes;
use ringback_sip::{HeaderName, Message, Method, StatusCode, is_valid_header_text};

use crate::api::{Body, Config, ContactForm, Reply, Transport, UaError};
use crate::core::Ua;
use crate::core::session::LEAST;
use crate::wire::body::{self, BodyFault};
use crate::wire::echo::Echo;
use crate::wire::request::Sender;
use crate::wire::writer::Writer;

/// The methods that this user agent answers otherwise than 405 and 501, beside `Config::requests`.
const ALLOW: &str = "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, PRACK, UPDATE, REFER, NOTIFY";
/// Option tags that may stand in Require.
const EXTENSIONS: &[&str] = &["100rel", "timer", "replaces", "norefersub"];
/// Those that may stand in a REGISTER besides (RFC 3327 §5.3, RFC 5626 §4.2, RFC 5627 §4.2).
const OF_REGISTER: &[&str] = &["path", "outbound", "gruu"];

/// A response nobody above is asked about.
pub(super) struct Automatic<'a> {
    pub(super) status: StatusCode,
    pub(super) reason: Option<&'a str>,
    /// Seconds.
    pub(super) retry_after: Option<u32>,
    /// Whole header lines.
    pub(super) more: Vec<u8>,
}

/// Header lines that never change.
pub(super) struct Texts {
    server: Vec<u8>,
    user_agent: Vec<u8>,
    allow: String,
    supported: String,
    pub(super) public_address: Option<String>,
}

impl Texts {
    pub(super) fn new(config: &Config) -> Texts {
        let name: String = config.user_agent.chars().filter(|c| !c.is_control()).collect();
        let line = |header: &str| match name.trim() {
            "" => Vec::new(),
            name => format!("{header}: {name}\r\n").into_bytes(),
        };
        let public_address = config.public_address.as_ref().map(|host| match host.parse::<std::net::Ipv6Addr>() {
            Ok(ip) => format!("[{ip}]"),
            Err(_) => host.clone(),
        });
        let more: String = config.requests.iter().map(|method| format!(", {method}")).collect();
        let allow = format!("{ALLOW}{more}\r\n");
        // RFC 6228 §4 adds one that is said and never required.
        let supported = format!("Supported: {}, 199\r\n", EXTENSIONS.join(", "));
        Texts { server: line("Server"), user_agent: line("User-Agent"), allow, supported, public_address }
    }
}

/// Which header lines a program may not set: they are the dialog's and the transaction's.
fn is_ours(name: &HeaderName, contact_allowed: bool, route_allowed: bool) -> bool {
    match name {
        HeaderName::Contact => !contact_allowed,
        HeaderName::Route => !route_allowed,
        HeaderName::Via
        | HeaderName::From
        | HeaderName::To
        | HeaderName::CallId
        | HeaderName::CSeq
        | HeaderName::RecordRoute
        | HeaderName::MaxForwards
        | HeaderName::ContentLength
        | HeaderName::ContentType => true,
        _ => false,
    }
}

/// Whether headers from above may go out; else which one may not.
pub(super) fn check_headers(
    headers: &[(String, String)],
    contact_allowed: bool,
    route_allowed: bool,
) -> Result<(), UaError> {
    for (name, value) in headers {
        if !is_valid_header_text(name, value) || is_ours(&HeaderName::parse(name), contact_allowed, route_allowed) {
            return Err(UaError::InvalidHeader(name.clone()));
        }
    }
    Ok(())
}

pub(super) fn check_form(form: Option<&ContactForm>) -> Result<(), UaError> {
    let Some(form) = form else { return Ok(()) };
    let user = form.user.as_deref().unwrap_or_default();
    let fits = |text: &str| !text.contains(['<', '>', '"']) && is_valid_header_text("Contact", text);
    if fits(user) && fits(&form.uri_params) && is_valid_header_text("Contact", &form.params) {
        Ok(())
    } else {
        Err(UaError::InvalidHeader("Contact".into()))
    }
}

pub(super) fn check_body(body: Option<&Body>) -> Result<(), UaError> {
    match body {
        Some(body) if !is_valid_header_text("Content-Type", &body.content_type) => {
            Err(UaError::InvalidHeader("Content-Type".into()))
        }
        _ => Ok(()),
    }
}

pub(super) fn check_call_id(call_id: &str) -> Result<(), UaError> {
    if ringback_sip::is_valid_header_text("Call-ID", call_id) && !call_id.trim().is_empty() {
        Ok(())
    } else {
        Err(UaError::InvalidHeader("Call-ID".into()))
    }
}

fn check_reason(reason: Option<&str>) -> Result<(), UaError> {
    match reason {
        Some(text) if text.bytes().any(|byte| byte < 0x20 && byte != b'\t' || byte == 0x7f) => {
            Err(UaError::InvalidHeader("Reason-Phrase".into()))
        }
        _ => Ok(()),
    }
}

pub(super) fn check_reply(reply: &Reply) -> Result<(), UaError> {
    let status = reply.status.as_u16();
    // RFC 3261 §20.10: in 3xx and 485 Contact names other places to try.
    check_headers(&reply.headers, (300..400).contains(&status) || status == 485, false)?;
    check_body(reply.body.as_ref())?;
    check_reason(reply.reason.as_deref())
}

/// The same for a request outside of a dialog, where a 2xx may list contacts (RFC 3261 §10.3, 8).
pub(super) fn check_outside_reply(reply: &Reply) -> Result<(), UaError> {
    if !reply.status.is_success() {
        return check_reply(reply);
    }
    check_headers(&reply.headers, true, false)?;
    check_body(reply.body.as_ref())?;
    check_reason(reply.reason.as_deref())
}

pub(super) fn parts(body: Option<&Body>) -> Option<(&str, &[u8])> {
    body.map(|body| (body.content_type.as_str(), &body.bytes[..]))
}

pub(super) fn put_headers(out: &mut Writer, headers: &[(String, String)]) {
    for (name, value) in headers {
        out.header(name, value);
    }
}

fn headers_len(headers: &[(String, String)], body: Option<&Body>) -> usize {
    let headers: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    headers + body.map_or(0, |body| body.bytes.len() + body.content_type.len() + 20)
}

impl Ua {
    pub(super) fn sender(&self, transport: Transport, local: SocketAddr, remote: SocketAddr) -> Sender<'_> {
        let public_address = self.texts.public_address.as_deref();
        let mapped = self.mapped(transport, local, remote);
        Sender { transport, local, public_address, mapped, user: &self.config.user, sips: false }
    }

    /// Where a Contact is that is told to that peer, if not at the local address. A connection has no use for it: nobody else gets in by it.
    pub(super) fn mapped(&self, transport: Transport, local: SocketAddr, remote: SocketAddr) -> Option<SocketAddr> {
        let known = transport == Transport::Udp && self.texts.public_address.is_none();
        if known { self.routes.public_address(local, remote) } else { None }
    }

    pub(super) fn put_user_agent(&self, out: &mut Writer) {
        out.raw(&self.texts.user_agent);
    }

    pub(super) fn put_server(&self, out: &mut Writer) {
        out.raw(&self.texts.server);
    }

    /// What INVITE and its 2xx say about us (RFC 3261 §13.2.1, §13.3.1.4).
    pub(super) fn put_abilities(&self, out: &mut Writer) {
        out.text(&self.texts.allow).text(&self.texts.supported);
    }

    /// A response to an INVITE, by the user.
    pub(super) fn compose_invite_response(&self, echo: &Echo, contact: &Sender<'_>, reply: &Reply) -> Bytes {
        let status = reply.status;
        let mut out = Writer::with_capacity(
            echo.buffer.len() + 256 + headers_len(&reply.headers, reply.body.as_ref()) + self.texts.server.len(),
        );
        out.status_line(status, reply.reason.as_deref()).raw(echo.lines());
        // RFC 3261 §12.1.1: 101-299 make a dialog. Contact and Record-Route tell the peer how to reach it.
        if (101..300).contains(&status.as_u16()) {
            out.raw(echo.record_routes());
            contact.write_contact(&mut out);
            self.put_abilities(&mut out);
        }
        out.raw(&self.texts.server);
        put_headers(&mut out, &reply.headers);
        out.body(parts(reply.body.as_ref()))
    }

    /// A response to another request, by the user.
    pub(super) fn compose_response(&self, echo: &Echo, reply: &Reply) -> Bytes {
        let mut out = Writer::with_capacity(
            echo.buffer.len() + 128 + headers_len(&reply.headers, reply.body.as_ref()) + self.texts.server.len(),
        );
        out.status_line(reply.status, reply.reason.as_deref()).raw(echo.lines()).raw(&self.texts.server);
        put_headers(&mut out, &reply.headers);
        out.body(parts(reply.body.as_ref()))
    }

    /// The same for a request that makes or refreshes a dialog: a 2xx says where we are (RFC 3515 §2.2, RFC 6665 §8.2).
    pub(super) fn compose_dialog_response(&self, echo: &Echo, contact: &Sender<'_>, reply: &Reply) -> Bytes {
        let mut out = Writer::with_capacity(
            echo.buffer.len() + 256 + headers_len(&reply.headers, reply.body.as_ref()) + self.texts.server.len(),
        );
        out.status_line(reply.status, reply.reason.as_deref()).raw(echo.lines()).raw(echo.record_routes());
        contact.write_contact(&mut out);
        out.raw(&self.texts.server);
        put_headers(&mut out, &reply.headers);
        out.body(parts(reply.body.as_ref()))
    }

    /// A response that is a function of the request and the status, so that it can be made again for a retransmission.
    pub(super) fn compose_automatic(&self, request: &Message, echo: &Echo, automatic: Automatic<'_>) -> Bytes {
        let Automatic { status, reason, retry_after, more } = automatic;
        let mut out = Writer::with_capacity(echo.buffer.len() + 320 + self.texts.server.len());
        out.status_line(status, reason).raw(echo.lines()).raw(&self.texts.server);
        if let Some(seconds) = retry_after {
            out.text("Retry-After: ").number(seconds.into()).text("\r\n");
        }
        out.raw(&more);
        match status.as_u16() {
            // RFC 4028 §6.
            422 => {
                out.text("Min-SE: ").number(self.config.min_session_expires.max(LEAST).into()).text("\r\n");
            }
            200 if request.method() == Some(&Method::Options) => {
                // §11.2: what a 200 to OPTIONS says, as far as it fits: a forged source address must not make us the louder one.
                let most = (LOUDEST * request.raw().len()).saturating_sub(CONTENT_LENGTH.len());
                let accept = "Accept: application/sdp\r\nAccept-Encoding: identity\r\nAccept-Language: en\r\n";
                for lines in [self.texts.allow.as_str(), &self.texts.supported, accept] {
                    if out.len() + lines.len() <= most {
                        out.text(lines);
                    }
                }
            }
            // §8.2.1.
            405 => {
                out.text(&self.texts.allow);
            }
            415 => match body::check_encoding(request) {
                Err(BodyFault::Encoding) => {
                    out.text("Accept-Encoding: identity\r\n");
                }
                _ => {
                    out.text("Accept: application/sdp\r\n");
                }
            },
            // §8.2.2.3.
            420 => {
                for option in unsupported(request) {
                    out.header("Unsupported", option);
                }
            }
            _ => {}
        }
        out.body(None)
    }
}

/// A response without a body is at most so many times as long as the request.
const LOUDEST: usize = 3;
/// What follows the headers.
const CONTENT_LENGTH: &str = "Content-Length: 0\r\n\r\n";

/// §8.2.2.3: the options in Require that are not understood here.
pub(super) fn unsupported(request: &Message) -> impl Iterator<Item = &str> {
    let more = if request.method() == Some(&Method::Register) { OF_REGISTER } else { &[] };
    request
        .require()
        .filter(move |option| !EXTENSIONS.iter().chain(more).any(|known| known.eq_ignore_ascii_case(option)))
}
