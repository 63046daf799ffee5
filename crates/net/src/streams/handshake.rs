//! From a TCP connection to one that carries SIP: TLS, then the WebSocket upgrade. Bounded in time by whoever calls, and in size here.

use std::io;
use std::net::SocketAddr;

use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use ringback_ua::Transport;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_websockets::{ClientBuilder, CloseCode, Limits, Message, ServerBuilder};

use super::wire::{Line, Wire};
use crate::tls::{Tls, handshake_failure};

/// RFC 7118 §4.1: what SIP is called among the protocols that WebSockets carry.
const SUBPROTOCOL: &str = "sip";
/// A browser's upgrade request with its cookies.
const UPGRADE_MOST: u64 = 16 * 1024;

/// The accepting side. `Err`: why, for the log.
pub(super) async fn accept(
    stream: TcpStream,
    transport: Transport,
    tls: Option<&Tls>,
    message_bytes: usize,
) -> Result<Wire, String> {
    let line = if transport.is_secure() {
        let config = tls.and_then(Tls::server).ok_or("we have no certificate to show")?;
        let stream = TlsAcceptor::from(config).accept(stream).await.map_err(|error| handshake_failure(&error))?;
        Line::from(Box::new(stream))
    } else {
        Line::from(stream)
    };
    if !transport.is_websocket() {
        return Ok(Wire::Bytes(line));
    }
    let builder = ServerBuilder::new()
        .limits(sizes(message_bytes))
        .add_header(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL))
        .map_err(|error| error.to_string())?;
    let (request, mut socket) =
        builder.accept(bounded(line)).await.map_err(|error| format!("no WebSocket: {error}"))?;
    socket.get_mut().allowance = None;
    let mut wire = Wire::Frames(Box::new(socket));
    // RFC 7118 §4.1: the client has to ask for it.
    if !offers(request.headers()) {
        refuse(&mut wire).await;
        return Err("the client does not offer the subprotocol sip".into());
    }
    Ok(wire)
}

fn bounded(mut line: Line) -> Line {
    line.allowance = Some(line.received + UPGRADE_MOST);
    line
}

fn sizes(message_bytes: usize) -> Limits {
    Limits::default().max_payload_len(Some(message_bytes))
}

fn offers(headers: &http::HeaderMap) -> bool {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|name| name.trim().eq_ignore_ascii_case(SUBPROTOCOL))
}

async fn refuse(wire: &mut Wire) {
    use futures_sink::Sink as _;
    if let Wire::Frames(socket) = wire {
        let mut socket = std::pin::Pin::new(&mut **socket);
        let close = Message::close(Some(CloseCode::PROTOCOL_ERROR), "the subprotocol must be sip");
        if socket.as_mut().start_send(close).is_ok() {
            let _ = std::future::poll_fn(|cx| socket.as_mut().poll_flush(cx)).await;
        }
    }
}

/// The connecting side. `domain`: the name whose certificate it has to be (RFC 5922 §7.3); without one the address itself.
pub(super) async fn connect(
    stream: TcpStream,
    transport: Transport,
    remote: SocketAddr,
    domain: Option<&str>,
    tls: Option<&Tls>,
    message_bytes: usize,
) -> io::Result<Wire> {
    let failed = |why: String| io::Error::other(why);
    let line = if transport.is_secure() {
        let config = tls.ok_or_else(|| failed("TLS is not configured".into()))?.client().map_err(failed)?;
        let name = match domain {
            // SNI and certificates have names without the final dot.
            Some(domain) => ServerName::try_from(domain.trim_end_matches('.').to_owned())
                .map_err(|_| failed(format!("{domain:?} is no name for a certificate")))?,
            None => ServerName::IpAddress(remote.ip().into()),
        };
        let stream = TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(|error| failed(handshake_failure(&error)))?;
        Line::from(Box::new(stream))
    } else {
        Line::from(stream)
    };
    if !transport.is_websocket() {
        return Ok(Wire::Bytes(line));
    }
    let scheme = if transport.is_secure() { "wss" } else { "ws" };
    let authority = match domain {
        Some(domain) => format!("{domain}:{}", remote.port()),
        None => remote.to_string(),
    };
    let refused = |error: &dyn std::fmt::Display| failed(format!("no WebSocket: {error}"));
    let builder = ClientBuilder::new()
        .uri(&format!("{scheme}://{authority}/"))
        .map_err(|error| refused(&error))?
        .limits(sizes(message_bytes))
        .add_header(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL))
        .map_err(|error| refused(&error))?;
    let (mut socket, response) = builder.connect_on(bounded(line)).await.map_err(|error| refused(&error))?;
    // RFC 6455 §4.1 step 6, RFC 7118 §4.1.
    if !offers(response.headers()) {
        return Err(refused(&"the server does not speak the subprotocol sip"));
    }
    socket.get_mut().allowance = None;
    Ok(Wire::Frames(Box::new(socket)))
}
