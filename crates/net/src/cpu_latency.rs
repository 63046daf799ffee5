//! CPUs that come back in time: how long an idle one may take to wake, said to Linux by `/dev/cpu_dma_latency` (the CPU latency
//! requests of its power management, `Documentation/power/pm_qos_interface.rst`). The kernel heeds the shortest of all that is asked for, for
//! as long as the file is open.
//!
//! It costs power, so it is asked for only while a media thread has something due.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

pub(crate) const DEVICE: &str = "/dev/cpu_dma_latency";
/// Asks for nothing: PM_QOS_CPU_LATENCY_DEFAULT_VALUE, in microseconds.
const ANY: i32 = 2_000_000_000;

#[derive(Debug)]
pub(crate) struct CpuLatency {
    micros: i32,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    device: File,
    holders: usize,
}

impl CpuLatency {
    pub(crate) fn open(limit: Duration) -> io::Result<Self> {
        CpuLatency::at(Path::new(DEVICE), limit)
    }

    fn at(device: &Path, limit: Duration) -> io::Result<Self> {
        let micros = i32::try_from(limit.as_micros()).unwrap_or(ANY).min(ANY);
        let device = File::options().write(true).open(device)?;
        Ok(CpuLatency { micros, held: Mutex::new(Held { device, holders: 0 }) })
    }
}

impl Held {
    /// Four octets are the number itself, in native order.
    fn ask(&mut self, micros: i32) {
        // What could be opened takes a number; should it not, CPUs wake as they did before.
        if let Err(error) = self.device.write_all(&micros.to_ne_bytes()) {
            tracing::warn!(target: "ringback.net", %error, "cannot say how late CPUs may wake");
        }
    }
}

/// One media thread's part in it.
#[derive(Debug)]
pub(crate) struct Hold {
    latency: Option<Arc<CpuLatency>>,
    holding: bool,
}

impl Hold {
    pub(crate) fn new(latency: Option<Arc<CpuLatency>>) -> Self {
        Hold { latency, holding: false }
    }

    /// Whether the thread has something due.
    pub(crate) fn set(&mut self, wanted: bool) {
        let Some(latency) = self.latency.as_ref().filter(|_| wanted != self.holding) else { return };
        self.holding = wanted;
        let mut held = latency.held.lock();
        if wanted {
            held.holders += 1;
            if held.holders == 1 {
                held.ask(latency.micros);
            }
        } else {
            held.holders -= 1;
            if held.holders == 0 {
                held.ask(ANY);
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_held_while_any_thread_has_something_due() {
        let path = std::env::temp_dir().join(format!("ringback-cpu-latency-{}", std::process::id()));
        std::fs::write(&path, b"").expect("a file");
        let asked = || -> Vec<i32> {
            let octets = std::fs::read(&path).expect("what was written");
            octets.chunks_exact(4).map(|number| i32::from_ne_bytes(number.try_into().expect("four"))).collect()
        };
        let latency = Arc::new(CpuLatency::at(&path, Duration::from_micros(20)).expect("opened"));
        let mut one = Hold::new(Some(Arc::clone(&latency)));
        let mut other = Hold::new(Some(latency));
        assert_eq!(asked(), []);
        one.set(true);
        one.set(true);
        other.set(true);
        assert_eq!(asked(), [20]);
        one.set(false);
        assert_eq!(asked(), [20]);
        drop(other);
        assert_eq!(asked(), [20, ANY]);
        one.set(true);
        assert_eq!(asked(), [20, ANY, 20]);
        std::fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn who_does_not_ask_holds_nothing() {
        let mut hold = Hold::new(None);
        hold.set(true);
        hold.set(false);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let error = CpuLatency::at(Path::new("/nowhere/cpu_dma_latency"), Duration::ZERO).expect_err("nothing there");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
