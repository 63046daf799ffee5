//! A forked child has the parent's memory and descriptors, and none of its threads.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real sockets are what is tested")]
#![allow(unsafe_code, reason = "fork has no safe name")]

mod common;

use common::{free_ports, running, settings, wait_for_event};
use ringback_engine::api::{Command, Event};
use ringback_media_api::Token;
use ringback_net::NetError;

#[test]
fn a_child_can_neither_use_nor_hurt_its_parents_system() {
    let system = running(settings(free_ports(4)));
    let command = |token| Command::ListBridges { token: Token(token) };
    // SAFETY: the child calls nothing but what is under test (which must not need the threads it has lost), then leaves.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let refused = matches!(system.command(command(1)), Err(NetError::NotRunning))
            && matches!(system.start(), Err(NetError::NotRunning))
            && !system.is_running()
            && !system.queue().drain(&mut Vec::new(), 10);
        system.shutdown();
        drop(system);
        // SAFETY: ends the child at once, without what the test harness would do at exit.
        unsafe { libc::_exit(i32::from(!refused)) };
    }
    assert!(child > 0, "forked");
    let mut status = 0;
    // SAFETY: the pointer is to a local.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child said so");
    system.command(command(2)).expect("the parent goes on");
    wait_for_event(&system, |event| match event {
        Event::Completed { token: Token(2), .. } => Some(()),
        _ => None,
    });
}
