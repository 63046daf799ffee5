//! Alone in its process, because it counts what the process has.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real sockets are what is tested")]
#![allow(clippy::expect_used, reason = "a test")]

mod common;

use common::{Phone, address, free_ports, settings, until};
use ringback_net::System;

fn count(what: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{what}")).expect("procfs").count()
}

#[test]
fn cycles_leave_no_descriptor_and_no_thread() {
    let range = free_ports(50);
    let cycle = || {
        let system = System::bind(settings(range)).expect("bound");
        system.start().expect("started");
        let mut phone = Phone::udp(address(&system));
        assert_eq!(phone.call().status, 200);
        phone.hang_up();
        let mut phone = Phone::tcp(address(&system));
        assert_eq!(phone.call().status, 200);
        phone.hang_up();
        system.shutdown();
        system.start().expect("started again");
    };
    cycle();
    let (files, threads) = (count("fd"), count("task"));
    for _ in 0..200 {
        cycle();
    }
    until("threads are left", || count("task") <= threads);
    assert!(count("fd") <= files, "{} descriptors, before {files}", count("fd"));
}
