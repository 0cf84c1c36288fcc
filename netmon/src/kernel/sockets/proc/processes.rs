//! Finds the process that holds each socket, from the links in `/proc/PID/fd`.
//!
//! A link is read into a fixed buffer, relative to its directory: a host may have millions of
//! links, and a whole path for each takes half as long again. An open directory stays that of its
//! process, so netmon cannot mix up two processes that had the same pid.
//!
//! Processes that the mount option `hidepid` hides are neither seen nor counted. Threads share the
//! descriptors of their process. If the first thread has ended and left no descriptors, the other
//! threads are searched. A thread that has descriptors of its own (`unshare`, CLONE_FILES) is not
//! searched while the process has some.

use std::{fs, io, mem::MaybeUninit, num::NonZeroU64, path::Path};

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{CWD, Dir, Mode, OFlags, RawDir, openat, readlinkat_raw},
    io::Errno,
    path::Arg,
};

use super::columns::decimal;
use crate::{
    core::{id::HolderKey, process::SocketHolders, processes::start, time::Wall},
    kernel::host::clock::{booted, kernel_ticks},
};

/// The size of one read of a directory, bytes: some thousand entries.
const ENTRIES: usize = 32 * 1024;
/// The longest link of interest: `socket:[18446744073709551615]`.
const LINK: usize = 32;
/// More than the length of a name: 15 bytes, or 63 for a kernel thread (`proc_task_name`,
/// fs/proc/array.c).
const COMM: usize = 64;

/// Returns every process of `/proc` that holds a socket, and the number of processes that do not
/// show their descriptors.
///
/// # Errors
/// Fails if `/proc` cannot be read, or if this process has no descriptor left.
pub(crate) fn owners() -> io::Result<(SocketHolders, usize)> {
    let mut owners = SocketHolders::default();
    let mut entries = vec![MaybeUninit::uninit(); ENTRIES];
    let mut refused = 0;
    for pid in pids()? {
        match scan(pid, &mut entries, &mut owners) {
            Ok(()) => {}
            // The kernel denies the links of a process that ended while a link was looked up
            // (`proc_pid_readlink`, fs/proc/base.c).
            Err(Errno::ACCESS | Errno::PERM) => {
                refused += usize::from(Path::new(&format!("/proc/{pid}")).exists());
            }
            // The process has ended.
            Err(Errno::NOENT | Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((owners, refused))
}

pub(super) fn pids() -> io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        pids.extend(decimal::<u32>(entry?.file_name().as_encoded_bytes()));
    }
    pids.sort_unstable();
    Ok(pids)
}

/// Notes the sockets that process `pid` holds.
fn scan(
    pid: u32,
    entries: &mut [MaybeUninit<u8>],
    owners: &mut SocketHolders,
) -> rustix::io::Result<()> {
    let process = directory(CWD, format!("/proc/{pid}"))?;
    if !descriptors(pid, process.as_fd(), process.as_fd(), entries, owners)? {
        // The first thread may have ended; the other threads keep its descriptors.
        for thread in threads(process.as_fd()) {
            let thread = directory(process.as_fd(), format!("task/{thread}"))?;
            if descriptors(pid, process.as_fd(), thread.as_fd(), entries, owners)? {
                break;
            }
        }
    }
    Ok(())
}

/// Returns the threads of a process except the first, which has been searched; none if the process
/// has ended.
fn threads(process: BorrowedFd<'_>) -> Vec<u32> {
    let Ok(tasks) = directory(process, "task").and_then(|tasks| Dir::read_from(&tasks)) else {
        return Vec::new();
    };
    let ids = tasks.filter_map(|entry| decimal::<u32>(entry.ok()?.file_name().to_bytes()));
    ids.skip(1).collect()
}

/// Notes the sockets among the descriptors of `thread`. Returns whether the thread has any
/// descriptor.
fn descriptors(
    pid: u32,
    process: BorrowedFd<'_>,
    thread: BorrowedFd<'_>,
    entries: &mut [MaybeUninit<u8>],
    owners: &mut SocketHolders,
) -> rustix::io::Result<bool> {
    let fds = directory(thread, "fd")?;
    let mut name = None;
    let mut has_any = false;
    let mut links = RawDir::new(&fds, entries);
    while let Some(entry) = links.next() {
        let mut buffer = [0; LINK];
        let length = match readlinkat_raw(&fds, entry?.file_name(), &mut buffer) {
            Ok(length) => length,
            Err(error @ (Errno::ACCESS | Errno::PERM | Errno::SRCH)) => return Err(error),
            // The descriptor is closed by now, or the entry is the directory or its parent, or the
            // path of the file is longer than the kernel prints (ENAMETOOLONG). No socket has such
            // a path.
            Err(_) => continue,
        };
        has_any = true;
        let inode = socket(&buffer[..length]).and_then(NonZeroU64::new);
        let Some(inode) = inode else { continue };
        // Most processes hold no socket, and need no name.
        let name = match &name {
            Some(name) => name,
            None => name.insert(comm(process)?),
        };
        owners.add(HolderKey::of_inode(inode), pid, 0, name);
    }
    Ok(has_any)
}

fn directory(at: BorrowedFd<'_>, path: impl Arg) -> rustix::io::Result<OwnedFd> {
    openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Returns the inode of a link `socket:[INODE]` (`sockfs_dname`, net/socket.c).
fn socket(link: &[u8]) -> Option<u64> {
    decimal(link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?)
}

/// Returns the name of the process' first thread. `comm_show` (fs/proc/base.c) ends the name with a
/// line break; the name itself may contain more.
fn comm(process: BorrowedFd<'_>) -> rustix::io::Result<Vec<u8>> {
    let file = openat(process, "comm", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut name = vec![0; COMM + 1];
    let length = rustix::io::read(&file, &mut name)?;
    name.truncate(length);
    name.pop_if(|last| *last == b'\n');
    Ok(name)
}

/// Returns the number of a process' parent, and the start of the process in the ticks of `/proc`.
///
/// Source: `do_task_stat`, fs/proc/array.c.
pub(super) fn stat(pid: u32) -> Option<(u32, u64)> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name in front may contain anything, parentheses too.
    let after = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = std::str::from_utf8(&stat[after..]).ok()?.split_ascii_whitespace();
    // The first field after the name is the third, the parent the fourth, the start the 22nd.
    let parent = fields.nth(1)?.parse().ok()?;
    Some((parent, fields.nth(22 - 5)?.parse().ok()?))
}

/// Returns the time at which a process started, rounded to the kernel's ticks;
/// nothing if the process is gone.
#[must_use]
pub(crate) fn process_started(pid: u32) -> Option<Wall> {
    stat(pid).map(|(_, ticks)| start(booted(), kernel_ticks(ticks)))
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, TcpListener},
        num::NonZeroU64,
        os::{fd::AsRawFd, linux::fs::MetadataExt},
        process,
    };

    use super::*;

    #[test]
    fn links_of_sockets_only() {
        assert_eq!(socket(b"socket:[1]"), Some(1));
        assert_eq!(socket(b"socket:[18446744073709551615]"), Some(u64::MAX));
        for wrong in
            ["", "socket:[", "socket:[]", "socket:[x]", "socket:[1] ", "pipe:[1]", "/socket:[1]"]
        {
            assert_eq!(socket(wrong.as_bytes()), None, "{wrong}");
        }
        // A path that the buffer cuts off cannot pass for a socket.
        assert_eq!(socket(&b"/tmp/a/very/long/path/to/socket:[1]"[..LINK]), None);
    }

    #[test]
    fn a_path_that_the_kernel_cannot_print_ends_nothing() {
        // Longer than PATH_MAX: reading the link to it is refused with ENAMETOOLONG.
        let top = std::env::temp_dir().join(format!("netmon-deep-{}", process::id()));
        fs::create_dir(&top).expect("a directory");
        let mut deep = directory(CWD, top.as_path()).expect("opened");
        let name = "d".repeat(250);
        for _ in 0..20 {
            rustix::fs::mkdirat(&deep, name.as_str(), Mode::RWXU).expect("a directory");
            deep = directory(deep.as_fd(), name.as_str()).expect("opened");
        }
        let mut link = [0; LINK];
        let path = format!("/proc/self/fd/{}", deep.as_raw_fd());
        assert_eq!(readlinkat_raw(CWD, path, &mut link).err(), Some(Errno::NAMETOOLONG));
        let result = owners();
        drop(deep);
        fs::remove_dir_all(&top).expect("removed");
        assert!(result.is_ok(), "{result:?}");
    }

    #[test]
    fn this_process_holds_what_it_opened() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        // A process that holds a socket by two descriptors is counted once.
        let again = listener.try_clone().expect("a descriptor");
        let link = format!("/proc/self/fd/{}", again.as_raw_fd());
        let inode = fs::metadata(link).expect("a link").st_ino();
        let (owners, _) = owners().expect("/proc");
        let holders = owners.of(NonZeroU64::new(inode).map(HolderKey::of_inode));
        let [holder] = holders[..] else { panic!("{holders:?}") };
        assert_eq!(holder.pid, process::id());
        let comm = fs::read("/proc/self/comm").expect("a name");
        assert_eq!(Some(&*holder.comm), comm.strip_suffix(b"\n"));
        assert!(owners.of(NonZeroU64::new(u64::MAX).map(HolderKey::of_inode)).is_empty());
    }

    #[test]
    fn a_process_that_is_none_has_ended() {
        let mut entries = vec![MaybeUninit::uninit(); ENTRIES];
        // Above PID_MAX_LIMIT, 4 Mi.
        let scanned = scan(u32::MAX, &mut entries, &mut SocketHolders::default());
        assert_eq!(scanned, Err(Errno::NOENT));
    }

    #[test]
    fn pids_come_in_order_and_with_this_one() {
        let pids = pids().expect("/proc");
        assert!(pids.is_sorted());
        assert!(pids.binary_search(&process::id()).is_ok());
    }
}
