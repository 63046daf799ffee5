//! Datagrams in batches with what the kernel knows of each: the source, the local address it was sent to, the time it arrived; and
//! the ICMP errors that came back for those we sent.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use ringback_time::Wall;

use super::{check, set_option};

/// Room for a timestamp and a packet-info of either family, with their headers.
const CONTROL: usize = 128;

/// `cmsghdr`s must be aligned as a `usize` is.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

/// Receives up to so many datagrams of up to so many bytes in one call, into buffers that are made once.
pub(crate) struct Batch {
    size: usize,
    bytes: Vec<u8>,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    count: usize,
}

// SAFETY: the raw pointers in `vectors` and `headers` point into the other vectors of the same value only (which are never resized, so
// they do not move), and are written anew before each call.
unsafe impl Send for Batch {}

/// One received datagram.
pub(crate) struct Datagram<'a> {
    pub(crate) bytes: &'a mut [u8],
    pub(crate) from: SocketAddr,
    /// The address it was sent to, where `want_destination` asked for it.
    pub(crate) to: Option<IpAddr>,
    /// When the kernel got it, where `want_timestamps` asked for it.
    pub(crate) stamp: Option<Wall>,
}

impl Batch {
    pub(crate) fn new(most: usize, size: usize) -> Self {
        // SAFETY: all of these are plain C structs for which all-zero bytes are a valid value.
        let (name, vector, header) = unsafe {
            (
                std::mem::zeroed::<libc::sockaddr_storage>(),
                std::mem::zeroed::<libc::iovec>(),
                std::mem::zeroed::<libc::mmsghdr>(),
            )
        };
        Batch {
            size,
            bytes: vec![0; most * size],
            names: vec![name; most],
            controls: vec![Control([0; CONTROL]); most],
            vectors: vec![vector; most],
            headers: vec![header; most],
            count: 0,
        }
    }

    /// How many could come in one call: when `receive` returns as many, there may be more.
    pub(crate) fn capacity(&self) -> usize {
        self.headers.len()
    }

    /// Receives what is there, without waiting. `WouldBlock` when there is nothing.
    pub(crate) fn receive(&mut self, fd: impl AsRawFd) -> io::Result<usize> {
        self.count = 0;
        let parts = self
            .headers
            .iter_mut()
            .zip(&mut self.vectors)
            .zip(&mut self.names)
            .zip(&mut self.controls)
            .zip(self.bytes.chunks_exact_mut(self.size));
        for ((((header, vector), name), control), bytes) in parts {
            vector.iov_base = bytes.as_mut_ptr().cast();
            vector.iov_len = bytes.len();
            header.msg_len = 0;
            let header = &mut header.msg_hdr;
            header.msg_name = ptr::from_mut(name).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL as _;
            header.msg_flags = 0;
        }
        if let [only] = self.headers.as_mut_slice() {
            // Where one is all that is wanted, the kernel is spared the look for a second, a tenth of what a packet costs.
            // SAFETY: every pointer was set just above, to buffers of the lengths given, all of which `self` holds through the call.
            let length = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut only.msg_hdr, libc::MSG_DONTWAIT) };
            if length < 0 {
                return Err(io::Error::last_os_error());
            }
            only.msg_len = length as libc::c_uint;
            self.count = 1;
            return Ok(1);
        }
        let most = libc::c_uint::try_from(self.headers.len()).unwrap_or(libc::c_uint::MAX);
        // SAFETY: as above.
        let count = check(unsafe {
            libc::recvmmsg(fd.as_raw_fd(), self.headers.as_mut_ptr(), most, libc::MSG_DONTWAIT as _, ptr::null_mut())
        })?;
        self.count = count as usize;
        Ok(self.count)
    }

    /// The `index`th of those received last; `None` for one that is not whole or of no known family.
    pub(crate) fn get(&mut self, index: usize) -> Option<Datagram<'_>> {
        if index >= self.count {
            return None;
        }
        let header = self.headers.get(index)?;
        let length = header.msg_len as usize;
        if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            return None;
        }
        let from = address(self.names.get(index)?)?;
        let (mut to, mut stamp) = (None, None);
        // SAFETY: the kernel has filled the header's control buffer, which `self.controls` still holds, up to `msg_controllen`.
        unsafe {
            for_each_control(&header.msg_hdr, |level, kind, data| match (level, kind) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    stamp = read::<libc::timespec>(data)
                        .map(|at| Wall::from_unix_nanos(at.tv_sec as u64 * 1_000_000_000 + at.tv_nsec as u64));
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    to = read::<libc::in_pktinfo>(data)
                        .map(|info| IpAddr::V4(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr))));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    to = read::<libc::in6_pktinfo>(data).map(|info| IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)));
                }
                _ => {}
            });
        }
        let start = index * self.size;
        let bytes = self.bytes.get_mut(start..start + length)?;
        Some(Datagram { bytes, from, to, stamp })
    }
}

/// Calls `f(level, type, data)` for each control message.
///
/// # Safety
/// `header.msg_control` points to `msg_controllen` initialised bytes, aligned for `cmsghdr`.
unsafe fn for_each_control(header: &libc::msghdr, mut f: impl FnMut(libc::c_int, libc::c_int, &[u8])) {
    // SAFETY: by the caller's promise; the CMSG functions stay within `msg_controllen`.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(header);
        while let Some(control) = next.as_ref() {
            let length = control.cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
            let data = std::slice::from_raw_parts(libc::CMSG_DATA(control), length);
            f(control.cmsg_level, control.cmsg_type, data);
            next = libc::CMSG_NXTHDR(header, control);
        }
    }
}

/// A plain C struct out of bytes, `None` when they are too few. `T` must be one for which any bytes are a value.
fn read<T: Copy>(bytes: &[u8]) -> Option<T> {
    // SAFETY: there are enough bytes; every `T` used here is a C struct of integers.
    (bytes.len() >= size_of::<T>()).then(|| unsafe { ptr::read_unaligned(bytes.as_ptr().cast::<T>()) })
}

fn address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that it is a `sockaddr_in`, and a `sockaddr_storage` is large and aligned enough for each.
            let v4 = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for a `sockaddr_in6`.
            let v6 = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddr::V6(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id)))
        }
        _ => None,
    }
}

/// A socket address as the kernel reads it.
union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
    none: libc::sockaddr,
}

fn name(address: &SocketAddr) -> (Name, libc::socklen_t) {
    match address {
        SocketAddr::V4(v4) => {
            let name = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*v4.ip()).to_be() },
                sin_zero: [0; 8],
            };
            (Name { v4: name }, size_of::<libc::sockaddr_in>() as libc::socklen_t)
        }
        SocketAddr::V6(v6) => {
            let name = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            (Name { v6: name }, size_of::<libc::sockaddr_in6>() as libc::socklen_t)
        }
    }
}

const SEND_FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

fn sent(result: isize) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// To the peer that the socket is connected to.
pub(crate) fn send(fd: impl AsRawFd, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length are of one slice.
    sent(unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), SEND_FLAGS) })
}

pub(crate) fn send_to(fd: impl AsRawFd, bytes: &[u8], to: &SocketAddr) -> io::Result<()> {
    let (name, length) = name(to);
    // SAFETY: pointer and length are of one slice; the name lives through the call, and `length` is that of its variant.
    sent(unsafe {
        libc::sendto(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), SEND_FLAGS, (&raw const name).cast(), length)
    })
}

/// From a socket that is bound to a wildcard, with the source address `from`.
pub(crate) fn send_from(fd: BorrowedFd<'_>, bytes: &[u8], to: &SocketAddr, from: IpAddr) -> io::Result<()> {
    let (mut name, length) = name(to);
    let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = Control([0; CONTROL]);
    // SAFETY: all-zero bytes are a valid `msghdr`.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = length;
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    match from {
        IpAddr::V4(ip) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from(ip).to_be() },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            put_control(&mut header, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        IpAddr::V6(ip) => {
            let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: ip.octets() }, ipi6_ifindex: 0 };
            put_control(&mut header, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
    }
    // SAFETY: every pointer in the header is to a local that lives through the call; the kernel does not write to the bytes it sends.
    sent(unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const header, SEND_FLAGS) })
}

/// Makes `value` the one control message of `header`, whose control buffer is a whole [`Control`].
fn put_control<T: Copy>(header: &mut libc::msghdr, level: libc::c_int, kind: libc::c_int, value: T) {
    let size = size_of::<T>() as libc::c_uint;
    // SAFETY: CMSG_SPACE of the two packet-infos is 32 and 40 bytes, a `Control` has 128 and is aligned for a `cmsghdr`.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(size) as _;
        if let Some(control) = libc::CMSG_FIRSTHDR(header).as_mut() {
            control.cmsg_level = level;
            control.cmsg_type = kind;
            control.cmsg_len = libc::CMSG_LEN(size) as _;
            ptr::write_unaligned(libc::CMSG_DATA(control).cast::<T>(), value);
        }
    }
}

/// Binds a datagram socket to one peer: the kernel drops what others send.
pub(crate) fn connect(fd: BorrowedFd<'_>, peer: &SocketAddr) -> io::Result<()> {
    let (name, length) = name(peer);
    connect_to(fd, &name, length)
}

/// Lets it take packets from anyone again; the bound port stays.
pub(crate) fn disconnect(fd: BorrowedFd<'_>) -> io::Result<()> {
    let none = libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
    connect_to(fd, &Name { none }, size_of::<libc::sockaddr>() as libc::socklen_t)
}

fn connect_to(fd: BorrowedFd<'_>, name: &Name, length: libc::socklen_t) -> io::Result<()> {
    // SAFETY: the name lives through the call, and `length` is that of its variant.
    check(unsafe { libc::connect(fd.as_raw_fd(), ptr::from_ref(name).cast(), length) })?;
    Ok(())
}

/// A datagram that could not be delivered, as an ICMP message (or the local stack) said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SendFailure {
    /// Whom it was for.
    pub(crate) remote: SocketAddr,
    pub(crate) errno: i32,
}

/// The next entry of the socket's error queue (`want_failures`). `None`: there is none.
pub(crate) fn receive_failure(fd: BorrowedFd<'_>) -> Option<SendFailure> {
    // An entry of a kind that says nothing of a peer is passed over, and the queue is finite.
    for _ in 0..64 {
        // SAFETY: all-zero bytes are valid values of both.
        let (mut name, mut header) =
            unsafe { (std::mem::zeroed::<libc::sockaddr_storage>(), std::mem::zeroed::<libc::msghdr>()) };
        // The datagram itself comes back too; its first bytes are enough.
        let mut bytes = [0_u8; 64];
        let mut vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        let mut control = Control([0; CONTROL]);
        header.msg_name = (&raw mut name).cast();
        header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = CONTROL as _;
        // SAFETY: every pointer in the header is to a local of the length given, which lives through the call.
        let received =
            unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) };
        if received < 0 {
            return None;
        }
        let mut errno = None;
        // SAFETY: the kernel has filled `control` up to `msg_controllen`.
        unsafe {
            for_each_control(&header, |level, kind, data| {
                if let (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) = (level, kind) {
                    errno = read::<libc::sock_extended_err>(data).map(|error| error.ee_errno as i32);
                }
            });
        }
        if let (Some(remote), Some(errno)) = (address(&name), errno) {
            return Some(SendFailure { remote, errno });
        }
    }
    None
}

/// Asks for the kernel's arrival time of each packet.
pub(crate) fn want_timestamps(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
}

/// Asks for the local address that each packet was sent to.
pub(crate) fn want_destination(fd: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    if v6 {
        set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)
    } else {
        set_option(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
    }
}

/// Asks for ICMP errors of an unconnected socket.
pub(crate) fn want_failures(fd: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    if v6 {
        set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)
    } else {
        set_option(fd, libc::IPPROTO_IP, libc::IP_RECVERR, 1)
    }
}

/// Makes the receive (or send) buffer this large: beyond the system's limit where that is permitted, else up to it.
pub(crate) fn force_buffer(fd: BorrowedFd<'_>, receive: bool, bytes: usize) {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let (force, plain) = match receive {
        true => (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        false => (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    };
    if set_option(fd, libc::SOL_SOCKET, force, bytes).is_err() {
        // The default stays where even this fails.
        let _ = set_option(fd, libc::SOL_SOCKET, plain, bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use socket2::{Domain, Socket, Type};

    use super::*;

    fn socket(bind: &str) -> (Socket, SocketAddr) {
        let bind: SocketAddr = bind.parse().expect("an address");
        let socket = Socket::new(Domain::for_address(bind), Type::DGRAM.nonblocking(), None).expect("a socket");
        socket.bind(&bind.into()).expect("bound");
        let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("an address");
        (socket, address)
    }

    #[test]
    fn a_batch_tells_source_destination_and_time_in_both_families() {
        for (wildcard, host) in [("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "::1")] {
            let (receiver, bound) = socket(wildcard);
            let (sender, source) = socket(&SocketAddr::new(host.parse().expect("an ip"), 0).to_string());
            want_timestamps(receiver.as_fd()).expect("timestamps");
            want_destination(receiver.as_fd(), bound.is_ipv6()).expect("destination");
            let to = SocketAddr::new(host.parse().expect("an ip"), bound.port());
            for text in ["one", "two", "a datagram larger than the room for it"] {
                send_to(sender.as_fd(), text.as_bytes(), &to).expect("sent");
            }
            let mut batch = Batch::new(4, 16);
            assert_eq!(batch.receive(receiver.as_fd()).expect("received"), 3);
            let first = batch.get(0).expect("whole");
            assert_eq!((&*first.bytes, first.from, first.to), (&b"one"[..], source, Some(to.ip())));
            let age = crate::clock::wall().unix_nanos().saturating_sub(first.stamp.expect("a stamp").unix_nanos());
            assert!(age < 60_000_000_000, "{age} ns");
            assert_eq!(batch.get(1).expect("whole").bytes, b"two");
            assert!(batch.get(2).is_none(), "truncated");
            assert!(batch.get(3).is_none(), "none such");
            let nothing = batch.receive(receiver.as_fd()).expect_err("nothing left");
            assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn a_wildcard_socket_sends_from_the_address_it_is_told() {
        let (receiver, to) = socket("127.0.0.1:0");
        let (sender, bound) = socket("0.0.0.0:0");
        let from: IpAddr = "127.0.0.9".parse().expect("an ip");
        send_from(sender.as_fd(), b"hi", &to, from).expect("sent");
        let mut batch = Batch::new(1, 16);
        batch.receive(receiver.as_fd()).expect("received");
        assert_eq!(batch.get(0).expect("whole").from, SocketAddr::new(from, bound.port()));
    }

    #[test]
    fn a_connected_socket_hears_its_peer_only_until_disconnected() {
        // A port that the kernel has picked is lost by disconnecting; one that was asked for stays.
        let free = socket("127.0.0.1:0").1.to_string();
        let (receiver, to) = socket(&free);
        let (peer, peer_address) = socket("127.0.0.1:0");
        let (stranger, _) = socket("127.0.0.1:0");
        let mut batch = Batch::new(4, 16);
        connect(receiver.as_fd(), &peer_address).expect("connected");
        send_to(stranger.as_fd(), b"stranger", &to).expect("sent");
        send_to(peer.as_fd(), b"peer", &to).expect("sent");
        assert_eq!(batch.receive(receiver.as_fd()).expect("received"), 1);
        assert_eq!(batch.get(0).expect("whole").bytes, b"peer");
        disconnect(receiver.as_fd()).expect("disconnected");
        send_to(stranger.as_fd(), b"stranger", &to).expect("sent");
        assert_eq!(batch.receive(receiver.as_fd()).expect("received"), 1);
    }

    #[test]
    fn a_refused_datagram_comes_back_with_the_address_it_was_for() {
        let (sender, _) = socket("127.0.0.1:0");
        want_failures(sender.as_fd(), false).expect("failures");
        let gone = socket("127.0.0.1:0").1;
        send_to(sender.as_fd(), b"anyone there?", &gone).expect("sent");
        // On loopback the error is there when the call returns.
        let failure = receive_failure(sender.as_fd()).expect("a failure");
        assert_eq!(failure, SendFailure { remote: gone, errno: libc::ECONNREFUSED });
        assert_eq!(receive_failure(sender.as_fd()), None);
        send_to(sender.as_fd(), b"still works", &gone).expect("the error is not sticky");
    }
}
