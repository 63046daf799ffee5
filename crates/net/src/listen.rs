//! The sockets that SIP is listened on, and binding them all or none.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use ringback_ua::Transport;
use socket2::{Domain, Socket, Type};

use crate::NetError;
use crate::sys;
use crate::tls::{Tls, TlsSettings};

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub transport: Transport,
    /// Port 0: any free one; the same for UDP and TCP, and another for each of the others.
    pub address: SocketAddr,
    /// Of the transports that run over TLS.
    pub tls: TlsSettings,
}

impl Listen {
    pub fn new(transport: Transport, address: SocketAddr) -> Listen {
        Listen { transport, address, tls: TlsSettings { verify: true, ..TlsSettings::default() } }
    }

    /// Those with port 0 in one group get the same number.
    fn group(&self) -> Transport {
        if self.transport == Transport::Tcp { Transport::Udp } else { self.transport }
    }
}

#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) transport: Transport,
    /// As it is really bound.
    pub(crate) address: SocketAddr,
    pub(crate) socket: Socket,
    pub(crate) tls: Option<Arc<Tls>>,
}

/// Room for the bursts of a busy system: 8 MB hold some 5,000 INVITEs.
const RECEIVE_BUFFER: usize = 8 << 20;
const SEND_BUFFER: usize = 4 << 20;
const STREAM_BACKLOG: i32 = 1024;
/// Ports that one transport has free and another has not.
const SAME_PORT_TRIES: usize = 64;

/// Binds all of them.
pub(crate) fn bind_all(wanted: &[Listen]) -> Result<Vec<Listener>, NetError> {
    let tls = wanted
        .iter()
        .map(|listen| match listen.transport.is_secure() {
            true => Tls::load(listen.tls.clone()).map(|tls| Some(Arc::new(tls))),
            false => Ok(None),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut tries = 0;
    loop {
        tries += 1;
        let mut chosen: Vec<(Transport, u16)> = Vec::new();
        let mut bound = Vec::with_capacity(wanted.len());
        let mut collision = None;
        for (listen, tls) in wanted.iter().zip(&tls) {
            let mut address = listen.address;
            let any = address.port() == 0;
            let known = chosen.iter().find(|(group, _)| any && *group == listen.group()).map(|(_, port)| *port);
            if let Some(port) = known {
                address.set_port(port);
            }
            match bind(listen.transport, address) {
                Ok((socket, address)) => {
                    if any && known.is_none() {
                        chosen.push((listen.group(), address.port()));
                    }
                    bound.push(Listener { transport: listen.transport, address, socket, tls: tls.clone() });
                }
                Err(source) => {
                    let again = known.is_some() && source.kind() == io::ErrorKind::AddrInUse;
                    let error = NetError::Bind {
                        transport: listen.transport,
                        host: host(listen.address.ip()),
                        port: address.port(),
                        source,
                    };
                    if !again || tries >= SAME_PORT_TRIES {
                        return Err(error);
                    }
                    collision = Some(error);
                    break;
                }
            }
        }
        if collision.is_none() {
            return Ok(bound);
        }
    }
}

fn host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

fn bind(transport: Transport, address: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
    let kind = if transport.is_reliable() { Type::STREAM } else { Type::DGRAM };
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking().cloexec(), None)?;
    if address.is_ipv6() {
        // So that 0.0.0.0 and [::] can be listened on side by side, and no address is ever a mapped one.
        socket.set_only_v6(true)?;
    }
    if transport.is_reliable() {
        // Connections of an earlier run that linger in TIME_WAIT must not keep the port; one that listens still does.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    if transport.is_reliable() {
        socket.listen(STREAM_BACKLOG)?;
    } else {
        let fd = socket.as_fd();
        sys::force_buffer(fd, true, RECEIVE_BUFFER);
        sys::force_buffer(fd, false, SEND_BUFFER);
        sys::want_failures(fd, address.is_ipv6())?;
        if address.ip().is_unspecified() {
            sys::want_destination(fd, address.is_ipv6())?;
        }
    }
    let address = socket
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an internet address"))?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(transport: Transport, address: &str) -> Listen {
        Listen::new(transport, address.parse().expect("an address"))
    }

    #[test]
    fn port_zero_is_the_same_number_for_all() {
        let wanted = [listen(Transport::Udp, "127.0.0.1:0"), listen(Transport::Tcp, "127.0.0.1:0")];
        let bound = bind_all(&wanted).expect("bound");
        assert_ne!(bound[0].address.port(), 0);
        assert_eq!(bound[0].address, bound[1].address);
    }

    #[test]
    fn a_port_in_use_names_transport_address_and_reason() {
        for transport in [Transport::Udp, Transport::Tcp] {
            let first = bind_all(&[listen(transport, "127.0.0.1:0")]).expect("bound");
            let port = first[0].address.port();
            let error = bind_all(&[listen(transport, &format!("127.0.0.1:{port}"))]).expect_err("taken");
            assert_eq!(
                error.to_string(),
                format!("Failed to bind SIP port {port}: Address already in use ({transport} 127.0.0.1)")
            );
        }
    }

    #[test]
    fn an_address_that_is_not_ours_fails() {
        let error = bind_all(&[listen(Transport::Udp, "192.0.2.1:0")]).expect_err("not ours");
        assert!(error.to_string().contains("192.0.2.1"), "{error}");
    }
}
