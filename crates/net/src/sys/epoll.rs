//! Readiness with deadlines finer than a millisecond: `epoll_pwait2` (Linux 5.11), or a timerfd in the set where the kernel has none.

use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{check, owned};

/// What became ready: the key given to `add`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) key: u64,
    /// Set for a socket with something in its error queue.
    pub(crate) error: bool,
}

const TIMER_KEY: u64 = u64::MAX;

static NO_PWAIT2: AtomicBool = AtomicBool::new(false);

#[derive(Debug)]
pub(crate) struct Epoll {
    fd: OwnedFd,
    /// Only where `epoll_pwait2` is missing.
    timer: Option<std::fs::File>,
    buffer: Vec<libc::epoll_event>,
    ready: Vec<Ready>,
}

impl Epoll {
    /// `most`: events taken in one call.
    pub(crate) fn new(most: usize) -> io::Result<Self> {
        // SAFETY: takes an integer.
        let fd = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        let none = libc::epoll_event { events: 0, u64: 0 };
        Ok(Epoll { fd, timer: None, buffer: vec![none; most.max(1)], ready: Vec::with_capacity(most) })
    }

    /// A second handle, by which others add and remove sockets.
    pub(crate) fn handle(&self) -> io::Result<Handle> {
        Ok(Handle(self.fd.try_clone()?))
    }

    pub(crate) fn add(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        add(self.fd.as_fd(), fd, key)
    }

    /// Waits until something is ready or `timeout` has passed (`None`: for ever); a signal ends it early.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<&[Ready]> {
        self.ready.clear();
        let count = match timeout {
            Some(timeout) if timeout.is_zero() => self.wait_millis(0),
            None => self.wait_millis(-1),
            Some(timeout) if NO_PWAIT2.load(Ordering::Relaxed) => self.wait_timer(timeout),
            Some(timeout) => match self.wait_precise(timeout) {
                // Seccomp filters of older container runtimes answer EPERM to calls that they do not know.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    NO_PWAIT2.store(true, Ordering::Relaxed);
                    self.wait_timer(timeout)
                }
                other => other,
            },
        };
        let count = match count {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            other => other?,
        };
        for event in self.buffer.iter().take(count) {
            let (key, events) = (event.u64, event.events);
            if key == TIMER_KEY {
                if let Some(timer) = &mut self.timer {
                    let _ = timer.read(&mut [0; 8]);
                }
            } else {
                self.ready.push(Ready { key, error: events & libc::EPOLLERR as u32 != 0 });
            }
        }
        Ok(&self.ready)
    }

    fn most(&self) -> libc::c_int {
        libc::c_int::try_from(self.buffer.len()).unwrap_or(libc::c_int::MAX)
    }

    fn wait_millis(&mut self, millis: libc::c_int) -> io::Result<usize> {
        let most = self.most();
        // SAFETY: the buffer has room for `most` events and lives through the call.
        let count = check(unsafe { libc::epoll_wait(self.fd.as_raw_fd(), self.buffer.as_mut_ptr(), most, millis) })?;
        Ok(count as usize)
    }

    fn wait_precise(&mut self, timeout: Duration) -> io::Result<usize> {
        let most = self.most();
        let timeout = timespec(timeout);
        // By number, because glibc before 2.35 has no name for it.
        // SAFETY: the buffer has room for `most` events, the timespec lives through the call, no signal mask is given.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.fd.as_raw_fd(),
                self.buffer.as_mut_ptr(),
                most,
                &raw const timeout,
                ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        if count < 0 { Err(io::Error::last_os_error()) } else { Ok(count as usize) }
    }

    fn wait_timer(&mut self, timeout: Duration) -> io::Result<usize> {
        let timer = match &self.timer {
            Some(timer) => timer,
            None => {
                let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
                // SAFETY: takes two integers.
                let timer = owned(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })?;
                add(self.fd.as_fd(), timer.as_fd(), TIMER_KEY)?;
                self.timer.insert(std::fs::File::from(timer))
            }
        };
        let once = libc::itimerspec { it_interval: timespec(Duration::ZERO), it_value: timespec(timeout) };
        // SAFETY: `once` lives through the call, the old value is not asked for.
        check(unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &raw const once, ptr::null_mut()) })?;
        self.wait_millis(-1)
    }

    #[cfg(test)]
    fn wait_by_timer(&mut self, timeout: Duration) -> usize {
        self.wait_timer(timeout).expect("a timer")
    }
}

/// Adds and removes sockets from another thread than the one that waits.
#[derive(Debug)]
pub(crate) struct Handle(OwnedFd);

impl Handle {
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        add(self.0.as_fd(), fd, key)
    }

    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: both descriptors are open; EPOLL_CTL_DEL reads no event.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_DEL, fd.as_raw_fd(), ptr::null_mut()) })?;
        Ok(())
    }
}

fn add(epoll: BorrowedFd<'_>, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: key };
    // SAFETY: both descriptors are open, and the event lives through the call.
    check(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event) })?;
    Ok(())
}

fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(duration.subsec_nanos() as i32),
    }
}

#[cfg(test)]
mod tests {
    use super::super::EventFd;
    use super::*;
    use std::time::Instant;

    #[test]
    fn deadlines_are_kept_both_ways_and_are_not_early() {
        let mut epoll = Epoll::new(8).expect("an epoll");
        for timer in [false, true] {
            let before = Instant::now();
            let timeout = Duration::from_micros(1_700);
            if timer {
                assert_eq!(epoll.wait_by_timer(timeout), 1, "the timer itself");
            } else {
                assert!(epoll.wait(Some(timeout)).expect("a wait").is_empty());
            }
            assert!(before.elapsed() >= timeout);
        }
        assert!(epoll.wait(Some(Duration::from_micros(100))).expect("a wait").is_empty(), "the timer is no event");
    }

    #[test]
    fn an_event_carries_its_key() {
        let mut epoll = Epoll::new(8).expect("an epoll");
        let event = EventFd::new().expect("an eventfd");
        epoll.add(event.as_fd(), 42).expect("added");
        event.notify();
        let keys: Vec<u64> = epoll.wait(None).expect("a wait").iter().map(|ready| ready.key).collect();
        assert_eq!(keys, [42]);
        event.clear();
        assert!(epoll.wait(Some(Duration::ZERO)).expect("a wait").is_empty());
    }
}
