//! The system calls that libstd and socket2 have no safe name for. The only unsafe code of the project; each block says what makes it
//! sound. Linux for now: epoll, eventfd and the socket options here need a kqueue twin for macOS, behind these same types.

mod datagram;
mod epoll;
mod memory;
mod thread;

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

pub(crate) use datagram::{Batch, connect, disconnect, receive_failure, send, send_from, send_to};
pub(crate) use datagram::{force_buffer, want_destination, want_failures, want_timestamps};
pub(crate) use epoll::{Epoll, Handle};
pub(crate) use memory::give_back;
pub(crate) use thread::{allow_many_descriptors, block_signals, set_fifo, set_normal, set_precise_timers, thread_time};

/// `Ok` of a system call's result, or errno.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Takes a descriptor that a system call has just made.
fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    let fd = check(fd)?;
    // SAFETY: not negative, so the call has made it, and nobody else has seen it yet.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A counter that makes a descriptor readable while it is not zero.
#[derive(Debug)]
pub(crate) struct EventFd(File);

impl EventFd {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes two integers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        Ok(EventFd(File::from(owned(fd)?)))
    }

    pub(crate) fn notify(&self) {
        // It fails only when the counter is full: then it is readable anyway.
        let _ = (&self.0).write(&1_u64.to_ne_bytes());
    }

    pub(crate) fn clear(&self) {
        // It fails only when there is nothing to clear.
        let _ = (&self.0).read(&mut [0; 8]);
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sets an integer socket option.
fn set_option(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer is to a `c_int` that lives through the call, and the length is its size.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), size) })?;
    Ok(())
}
