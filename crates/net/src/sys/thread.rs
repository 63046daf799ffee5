//! Scheduling of the calling thread, and the process's limit of descriptors.

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use super::check;

/// Moves the calling thread to SCHED_FIFO. Fails without CAP_SYS_NICE or an RLIMIT_RTPRIO.
pub(crate) fn set_fifo(priority: i32) -> io::Result<()> {
    // A thread or process that comes out of this one does not inherit it.
    set_scheduler(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, priority)
}

pub(crate) fn set_normal() -> io::Result<()> {
    set_scheduler(libc::SCHED_OTHER, 0)
}

fn set_scheduler(policy: libc::c_int, priority: i32) -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: priority };
    // SAFETY: the parameter lives through the call; pid 0 is the calling thread.
    check(unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) })?;
    Ok(())
}

/// The CPU time that the calling thread has had.
pub(crate) fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the struct lives through the call, which fills it; where it fails it is zero, as it was.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Lets the calling thread's sleeps end when they are due, not up to 50 us later.
pub(crate) fn set_precise_timers() {
    // SAFETY: takes integers. Without it sleeps are a little late, so the result does not matter.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_usize) };
}

/// Raises the soft limit of open descriptors to the hard one, once a process, and returns it.
pub(crate) fn allow_many_descriptors() -> u64 {
    static LIMIT: OnceLock<u64> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the struct lives through the call, which fills it.
        if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
            return 1024;
        }
        if limit.rlim_cur < limit.rlim_max {
            let raised = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
            // SAFETY: the struct lives through the call.
            if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
                return limit.rlim_max;
            }
        }
        limit.rlim_cur
    })
}

/// Leaves signals to the program's own threads; those that a fault of this thread raises stay.
pub(crate) fn block_signals() {
    // SAFETY: the set is initialised by `sigfillset` before use, and lives through the calls.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut set);
        for fault in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT, libc::SIGTRAP] {
            libc::sigdelset(&raw mut set, fault);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}
