//! Network namespaces made for one test.

use std::{
    fs::{self, File},
    os::{fd::AsFd, unix::fs::MetadataExt},
    panic,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A namespace with its loopback up, removed on drop.
pub(crate) struct Netns {
    name: String,
    pub(crate) inum: u64,
}

impl Netns {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("netmon-test-{}-{next}", std::process::id());
        sh(&format!("ip netns add {name} && ip -n {name} link set lo up"));
        let inum = fs::metadata(format!("/run/netns/{name}")).expect("a named namespace").ino();
        crate::kernel::tier::begin(inum);
        Self { name, inum }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` on a thread within the namespace; processes that it starts are in it too.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let handle = File::open(format!("/run/netns/{}", self.name)).expect("the namespace");
        let result = thread::scope(|scope| {
            let inside = move || {
                move_into_link_name_space(handle.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("entering a namespace takes root: use `cargo xtask test`");
                work()
            };
            scope.spawn(inside).join()
        });
        result.unwrap_or_else(|cause| panic::resume_unwind(cause))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Runs a shell command that must succeed.
pub(crate) fn sh(command: &str) {
    let output = Command::new("sh").args(["-ec", command]).output().expect("sh");
    assert!(
        output.status.success(),
        "`{command}` failed (kernel tests need root and iproute2: use `cargo xtask test`): {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
