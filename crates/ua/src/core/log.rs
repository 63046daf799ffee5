//! What goes through the logs. Messages are written whole at DEBUG; credentials in them are not.

use std::fmt;
use std::net::SocketAddr;

use tracing::{Level, debug, enabled, event_enabled};

use crate::api::Transport;

/// A message as the log shows it.
struct Shown<'a>(&'a [u8]);

const SECRET: [&str; 2] = ["authorization", "proxy-authorization"];

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(self.0);
        let mut hiding = false;
        let mut head = true;
        for line in text.split_inclusive('\n') {
            let content = line.trim_end_matches(['\r', '\n']);
            if head && content.is_empty() {
                head = false;
                hiding = false;
            }
            if head && hiding && content.starts_with([' ', '\t']) {
                // The value goes on in a folded line.
                continue;
            }
            hiding = false;
            match content.split_once(':') {
                Some((name, _)) if head && SECRET.iter().any(|secret| name.trim().eq_ignore_ascii_case(secret)) => {
                    hiding = true;
                    write!(f, "{name}: <hidden>{}", &line[content.len()..])?;
                }
                _ => f.write_str(line)?,
            }
        }
        Ok(())
    }
}

/// The Call-ID of a message, for the log's field: a scan, done only when the log is on.
fn call_id(bytes: &[u8]) -> &str {
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() {
            break;
        }
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = line.split_at(colon);
        let name = name.trim_ascii();
        if name.eq_ignore_ascii_case(b"call-id") || name.eq_ignore_ascii_case(b"i") {
            return std::str::from_utf8(value.trim_ascii_start().get(1..).unwrap_or_default())
                .unwrap_or_default()
                .trim();
        }
    }
    ""
}

pub(super) fn received(transport: Transport, remote: SocketAddr, bytes: &[u8]) {
    if enabled!(target: "ringback.sip", Level::DEBUG) {
        debug!(target: "ringback.sip", call_id = call_id(bytes), "<- {transport} {remote}\n{}", Shown(bytes));
    }
}

pub(super) fn sent(transport: Transport, remote: SocketAddr, bytes: &[u8]) {
    if enabled!(target: "ringback.sip", Level::DEBUG) {
        debug!(target: "ringback.sip", call_id = call_id(bytes), "-> {transport} {remote}\n{}", Shown(bytes));
    }
}

pub(super) fn unreadable(transport: Transport, remote: SocketAddr, bytes: &[u8], why: &dyn fmt::Display) {
    if event_enabled!(target: "ringback.sip", Level::INFO) {
        tracing::info!(target: "ringback.sip", call_id = call_id(bytes), "unreadable message from {transport} {remote}: {why}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_hidden_and_all_else_is_shown() {
        let message = b"REGISTER sip:a SIP/2.0\r\nCall-ID: 7@x\r\nAuthorization: Digest username=\"bob\",\r\n response=\"secret\"\r\n\
                        X: y\r\nproxy-authorization : secret\r\n\r\nAuthorization: body";
        let shown = Shown(message).to_string();
        assert!(!shown.contains("secret") && !shown.contains("bob"), "{shown}");
        assert_eq!(
            shown,
            "REGISTER sip:a SIP/2.0\r\nCall-ID: 7@x\r\nAuthorization: <hidden>\r\nX: y\r\nproxy-authorization : <hidden>\r\n\r\n\
             Authorization: body"
        );
        assert_eq!(call_id(message), "7@x");
    }
}
