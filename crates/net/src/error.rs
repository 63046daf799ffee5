use std::io;
use std::path::PathBuf;

use ringback_ua::Transport;

/// What can go wrong between a program and the network machinery.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// A listening socket could not be had. The text is what users see.
    #[error("Failed to bind SIP port {port}: {} ({} {host})", os_reason(.source), .transport.as_str())]
    Bind { transport: Transport, host: String, port: u16, source: io::Error },
    #[error("the system is not running")]
    NotRunning,
    /// The operating system refused a thread, an epoll instance or the like.
    #[error("cannot start: {what}: {source}")]
    Start { what: &'static str, source: io::Error },
    /// A file that a setting names.
    #[error("cannot read the {what} {path:?}: {}", os_reason(.source))]
    Unreadable { what: &'static str, path: PathBuf, source: io::Error },
    #[error("the {what} {path:?} cannot be used: {why}")]
    BadCertificate { what: &'static str, path: PathBuf, why: String },
    /// The registrar's file cannot be used.
    #[error("cannot use the binding store {path:?}: {why}")]
    Store { path: PathBuf, why: String },
    /// The system does not let the program say how late its CPUs may wake.
    #[error("cannot hold the CPUs' latency: {device}: {}. The program's user needs the right to write there", os_reason(.source))]
    CpuLatency { device: &'static str, source: io::Error },
    #[error("{0}")]
    BadSettings(String),
}

/// `Address already in use`, without the `(os error 98)` that Rust appends.
fn os_reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_error_reads_well() {
        let source = io::Error::from_raw_os_error(libc::EADDRINUSE);
        let error = NetError::Bind { transport: Transport::Udp, host: "0.0.0.0".into(), port: 5060, source };
        assert_eq!(error.to_string(), "Failed to bind SIP port 5060: Address already in use (UDP 0.0.0.0)");
    }
}
