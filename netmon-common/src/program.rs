//! Records about processes: a program that began, a copy of a process, an end. A ring of their own
//! carries them.

use core::mem::{offset_of, size_of};

/// Room for the names of a path, bytes. A path is cut at the end of a name once it takes more than
/// half of the room, so that the longest name (`NAME_MAX` and a NUL) always fits.
pub const PATH_ROOM: usize = 512;
/// The most bytes of arguments that a record has.
pub const ARGUMENTS: usize = 512;

/// A process that runs another program now, 1088 bytes.
///
/// Source: tracepoint `sched:sched_process_exec` (fs/exec.c, `exec_binprm`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Exec {
    /// [`kind::EXEC`](crate::kind::EXEC).
    pub kind: u8,
    /// Bits of [`exec_flag`].
    pub flags: u8,
    /// The used bytes of `path`.
    pub path_length: u16,
    /// The used bytes of `arguments`.
    pub arguments_length: u16,
    /// As in [`Fork::execs`], this one included.
    pub execs: u8,
    /// Zero.
    pub reserved: u8,
    /// `CLOCK_MONOTONIC`, ns.
    pub time: u64,
    /// As in [`Fork::started`].
    pub started: u64,
    /// As in [`Process::pid`](crate::Process::pid).
    pub pid: u32,
    /// As in [`Process::host_pid`](crate::Process::host_pid).
    pub host_pid: u32,
    /// Link count of the file; 0 for a file that no directory has.
    pub links: u32,
    /// The bytes of all arguments, also of those that `arguments` has no room for.
    pub arguments_size: u32,
    /// As in [`Fork::login_uid`].
    pub login_uid: u32,
    /// As in [`Fork::login_session`].
    pub login_session: u32,
    /// As in [`Fork::namespaces`].
    pub namespaces: Namespaces,
    /// Zero.
    pub unused: u32,
    /// The names of the path, the file's own first, each with its NUL.
    pub path: [u8; PATH_ROOM],
    /// The arguments from the first on, each with its NUL.
    pub arguments: [u8; ARGUMENTS],
}

/// Bits of [`Exec::flags`].
pub mod exec_flag {
    /// The path has more names than `path`.
    pub const PATH_CUT: u8 = 1;
    /// The file is in no directory of any file system, as a memfd.
    pub const NO_DIRECTORY: u8 = 2;
    /// The link count is known.
    pub const LINKS: u8 = 4;
}

/// A process that began as a copy of its parent, 64 bytes. Threads are left out.
///
/// Source: tracepoint `sched:sched_process_fork` (kernel/fork.c, `kernel_clone`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Fork {
    /// [`kind::FORK`](crate::kind::FORK).
    pub kind: u8,
    /// The low bits of the number of programs that the process and those it is a copy of have run.
    pub execs: u8,
    /// Zero.
    pub reserved: u16,
    /// The parent's [`run`].
    pub parent_run: u32,
    /// `CLOCK_MONOTONIC`, ns.
    pub time: u64,
    /// `start_boottime` of the process, `CLOCK_BOOTTIME`, ns; 0 where unknown.
    pub started: u64,
    /// As in [`Process::pid`](crate::Process::pid).
    pub pid: u32,
    /// As in [`Process::host_pid`](crate::Process::host_pid).
    pub host_pid: u32,
    /// `pid` of the process that forked.
    pub parent_pid: u32,
    /// `host_pid` of the process that forked.
    pub parent_host_pid: u32,
    /// The user who logged in, `loginuid` of the task (kernel/audit.c), in the initial user
    /// namespace; [`NO_LOGIN`] where there is none, or where the kernel keeps none.
    pub login_uid: u32,
    /// The number of the login since the boot, `sessionid` of the task.
    pub login_session: u32,
    /// The namespaces of the process, but for that of its network.
    pub namespaces: Namespaces,
    /// Zero.
    pub unused: u32,
}

/// Namespaces of a process: inode numbers as in `/proc/PID/ns`, 0 where unknown.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Namespaces {
    /// The mount namespace.
    pub mnt: u32,
    /// The pid namespace.
    pub pid: u32,
    /// The user namespace.
    pub user: u32,
}

/// The end of a process, 32 bytes.
///
/// Source: tracepoint `sched:sched_process_exit` (kernel/exit.c, `do_exit`), of the last thread.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Exit {
    /// [`kind::EXIT`](crate::kind::EXIT).
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 7],
    /// `CLOCK_MONOTONIC`, ns.
    pub time: u64,
    /// As in [`Fork::started`].
    pub started: u64,
    /// As in [`Process::pid`](crate::Process::pid).
    pub pid: u32,
    /// As in [`Process::host_pid`](crate::Process::host_pid).
    pub host_pid: u32,
}

/// [`Fork::login_uid`] of a process that no login led to (`INVALID_UID`, include/linux/uidgid.h).
pub const NO_LOGIN: u32 = u32::MAX;

/// The ticks of `/proc/PID/stat`, ns: `USER_HZ` is 100 on x86-64 and arm64.
pub const TICK: u64 = 10_000_000;

/// Returns the mark of what a process does from one exec to the next: the low 24 bits of its start
/// in [`TICK`]s, and the low 8 bits of `self_exec_id`, which every exec counts up and a fork copies
/// (`begin_new_exec`, fs/exec.c). 0 where the start is unknown.
#[must_use]
#[cfg_attr(feature = "user", expect(clippy::cast_possible_truncation, reason = "the low bits"))]
pub const fn run(started: u64, execs: u8) -> u32 {
    if started == 0 { 0 } else { ((started / TICK) as u32) << 8 | execs as u32 }
}

const _: () = {
    assert!(size_of::<Exec>() == 64 + PATH_ROOM + ARGUMENTS);
    assert!(offset_of!(Exec, path) == 64);
    assert!(size_of::<Fork>() == 64);
    assert!(size_of::<Exit>() == 32);
};
