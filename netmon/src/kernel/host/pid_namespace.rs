//! The pid namespaces of this process and of `/proc`. The numbers that netmon shows are those of
//! `/proc`, as `ps` shows them.
//!
//! A process that is outside of the namespace of `/proc` has no number there. `/proc` of the host
//! may be mounted in a pid namespace (`unshare --pid` without `--mount-proc`), and `/proc` of a
//! namespace outside of that namespace.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    sync::LazyLock,
};

use netmon_common::PidNamespace;
use rustix::fs::{major, minor};

/// The inode number of the initial pid namespace (`PROC_PID_INIT_INO`, linux/proc_ns.h).
const INITIAL: u64 = 0xEFFF_FFFC;

static CURRENT: LazyLock<PidNamespaces> = LazyLock::new(PidNamespaces::read);

/// The pid namespaces of this process and of `/proc`, by inode number, as in `/proc/PID/ns/pid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) struct PidNamespaces {
    /// The namespace of this process; none if this process is outside of the namespace of `/proc`.
    own: Option<u64>,
    /// The namespace of `/proc`.
    proc: u64,
    /// The device of all namespaces' inodes.
    device: u64,
}

impl PidNamespaces {
    /// Returns the namespaces. Neither changes while the process runs, so that the first call must
    /// come before privileges are given up.
    pub(in crate::kernel) fn current() -> Self {
        *CURRENT
    }

    fn read() -> Self {
        let namespace = |process| fs::metadata(format!("/proc/{process}/ns/pid")).ok();
        // Its own name may have any bytes.
        let status = fs::read("/proc/self/status").unwrap_or_default();
        let status = String::from_utf8_lossy(&status);
        let (own, first) = (namespace("self"), namespace("1"));
        let device = own.as_ref().or(first.as_ref()).map_or(0, Metadata::dev);
        let [own, first] = [own, first].map(|namespace| namespace.map(|found| found.ino()));
        Self { device, ..Self::of(own, levels(&status), first) }
    }

    /// Takes the namespace of this process, the number of namespaces from that of `/proc` down to
    /// it, and the namespace of process 1 of `/proc`, which is always the namespace of `/proc`.
    fn of(own: Option<u64>, levels: usize, first: Option<u64>) -> Self {
        // Process 1 may be another user's, which hides its namespace. Without any namespace, the
        // kernel has no pid namespaces.
        let proc = if levels == 1 { own } else { first };
        Self { own, proc: proc.unwrap_or(INITIAL), device: 0 }
    }

    /// Returns the namespace whose numbers netmon shows, as the kernel program takes it; none for
    /// the initial namespace.
    pub(in crate::kernel) fn shown(self) -> Option<PidNamespace> {
        let inum = u32::try_from(self.proc).ok().filter(|_| self.proc != INITIAL)?;
        // `MKDEV` (include/linux/kdev_t.h).
        let device = major(self.device) << 20 | minor(self.device);
        Some(PidNamespace { inum, device })
    }

    /// Returns the inode number of this process' namespace; none for the initial one.
    pub(in crate::kernel) fn own(self) -> Option<u64> {
        self.own.filter(|own| *own != INITIAL)
    }

    /// Returns whether iterators visit every process of `/proc`. They visit the processes of the
    /// namespace of the process that opens them (`init_seq_pidns`, kernel/bpf/task_iter.c).
    pub(in crate::kernel) fn iterators_see_all(self) -> bool {
        self.own.is_none_or(|own| own == INITIAL || own == self.proc)
    }
}

/// Returns the number of pid namespaces from that of `/proc` down to that of the process with this
/// `/proc/PID/status`, 0 where unknown (`task_state`, fs/proc/array.c).
fn levels(status: &str) -> usize {
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.map_or(0, |numbers| numbers.split_ascii_whitespace().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_counted_from_that_of_proc() {
        assert_eq!(levels("Name:\tsh\nNStgid:\t7\nNSpid:\t7\nNSpgid:\t7\t3\n"), 1);
        assert_eq!(levels("NSpid:\t4711\t7\t1\n"), 3);
        assert_eq!(levels("Name:\tNSpid: 1\n"), 0);
    }

    #[test]
    fn the_namespace_of_proc_decides() {
        for (own, levels, first, shown, sees_all) in [
            (Some(INITIAL), 1, Some(INITIAL), None, true),
            // A container, also where process 1 is another user's.
            (Some(7), 1, Some(7), Some(7), true),
            (Some(7), 1, None, Some(7), true),
            // `/proc` of the host, and of a namespace between.
            (Some(7), 2, Some(INITIAL), None, false),
            (Some(8), 2, Some(7), Some(7), false),
            (Some(7), 2, None, None, false),
            // There is no `/proc/self`: this process is above.
            (None, 0, Some(7), Some(7), true),
            // The kernel has no pid namespaces.
            (None, 0, None, None, true),
        ] {
            let namespaces = PidNamespaces::of(own, levels, first);
            let case = (own, levels, first);
            assert_eq!(namespaces.shown().map(|shown| shown.inum), shown, "{case:?}");
            assert_eq!(namespaces.own(), own.filter(|own| *own != INITIAL), "{case:?}");
            assert_eq!(namespaces.iterators_see_all(), sees_all, "{case:?}");
        }
    }
}
