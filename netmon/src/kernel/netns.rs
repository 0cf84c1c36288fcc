//! Network namespaces: found by inode number, entered on a thread of their own.

use std::{
    fs::{self, File},
    io,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::PathBuf,
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where `ip netns` keeps names.
const NAMED: &str = "/run/netns";

/// Runs `work` inside the namespace with inode number `inum`.
///
/// A process in it, or a name, must still exist; sockets alone do not make it reachable.
///
/// # Errors
/// `NotFound` when no process and no name leads there; else what setns or `work` answered.
pub(super) fn within<T: Send>(
    inum: u32,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    if fs::metadata("/proc/self/ns/net").is_ok_and(|own| own.ino() == u64::from(inum)) {
        return work();
    }
    let handle = open(inum)?;
    // A thread of its own: entering a namespace is for good.
    thread::scope(|scope| {
        scope
            .spawn(move || {
                move_into_link_name_space(handle.as_fd(), Some(LinkNameSpaceType::Network))?;
                work()
            })
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace panicked")))
    })
}

fn open(inum: u32) -> io::Result<File> {
    let named = fs::read_dir(NAMED).into_iter().flatten().flatten().map(|entry| entry.path());
    let processes = fs::read_dir("/proc")?
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .map(|entry| entry.path().join("ns/net"));
    let found: Option<PathBuf> = named
        .chain(processes)
        .find(|path| fs::metadata(path).is_ok_and(|found| found.ino() == u64::from(inum)));
    let handle = File::open(found.ok_or(io::ErrorKind::NotFound)?)?;
    // The process may have ended meanwhile, and its pid be another's.
    if handle.metadata()?.ino() != u64::from(inum) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(handle)
}
