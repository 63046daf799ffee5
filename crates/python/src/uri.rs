//! What Python asks of the SIP grammar: the parts of a URI, the canonical name of a header, the headers of a request.

use std::net::IpAddr;

use pyo3::prelude::*;
use ringback_sip::{HeaderName, Message, NameAddr, Scheme, Uri};

use crate::errors;

/// The parts of a `sip:` URI: (user, host without brackets, port). `InvalidUri` for anything else.
#[pyfunction]
fn sip_uri_parts(py: Python<'_>, text: &str) -> PyResult<(Option<String>, String, Option<u16>)> {
    let uri = Uri::parse(text).map_err(|error| errors::invalid_uri(py, text, &error.to_string()))?;
    if uri.scheme() != Scheme::Sip {
        return Err(errors::invalid_uri(py, text, "not a sip: URI"));
    }
    let Some(host) = uri.host() else { return Err(errors::invalid_uri(py, text, "no host")) };
    let host = host.ip().map_or_else(|| host.to_string(), |ip| ip.to_string());
    Ok((uri.user().map(|user| user.into_owned()), host, uri.port()))
}

/// `sip:user@host:port` with what RFC 3261 §19.1.2 wants escaped; a transport other than UDP as parameter.
#[pyfunction]
fn sip_uri(py: Python<'_>, user: &str, host: &str, port: u16, transport: &str) -> PyResult<String> {
    let user = Some(user).filter(|user| !user.is_empty());
    let uri = match host.parse::<IpAddr>() {
        Ok(ip) => Uri::from_address(user, (ip, port).into()),
        Err(_) => {
            Uri::sip(user, host, Some(port)).map_err(|error| errors::invalid_uri(py, host, &error.to_string()))?
        }
    };
    Ok(if transport == "udp" { uri.to_string() } else { uri.with_param("transport", Some(transport)).to_string() })
}

/// User part of a URI or name-addr, unescaped; "" where there is none.
#[pyfunction]
fn user_part(text: &str) -> String {
    let uri = if text.contains('<') {
        NameAddr::parse(text).ok().map(|address| address.uri)
    } else {
        // RFC 3261 §25.1: a user part may hold ";", "," and "?". The value of a header field may not, without brackets.
        Uri::parse(text.trim()).ok()
    };
    uri.and_then(|uri| uri.user().map(|user| user.into_owned())).unwrap_or_default()
}

/// The long, canonical form of a header name: "f" and "FROM" give "From".
#[pyfunction]
fn header_name(name: &str) -> String {
    HeaderName::parse(name).as_str().to_owned()
}

/// All header lines of a message, (canonical name, value) in order.
pub(crate) fn header_lines(message: &[u8]) -> Vec<(String, String)> {
    match Message::parse(message.to_vec().into()) {
        Ok(message) => {
            let lines = message.headers().iter();
            lines
                .map(|(original, name, value)| match name {
                    // Nobody's spelling is better than the sender's.
                    HeaderName::Other(_) => (original.to_owned(), value.to_owned()),
                    known => (known.as_str().to_owned(), value.to_owned()),
                })
                .collect()
        }
        // The engine has parsed it before.
        Err(_) => Vec::new(),
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(sip_uri_parts, module)?)?;
    module.add_function(wrap_pyfunction!(sip_uri, module)?)?;
    module.add_function(wrap_pyfunction!(user_part, module)?)?;
    module.add_function(wrap_pyfunction!(header_name, module)?)
}
