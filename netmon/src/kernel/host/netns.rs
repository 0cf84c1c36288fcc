//! Network namespaces: found by name, process or inode number, and entered on a separate thread.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    thread,
};

use nix::{getsockopt_impl, sockopt_impl, sys::socket::getsockopt};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{
    privilege::{self, Duty},
    shortage::{Shortage, spawn_scoped},
};
use crate::core::escape::Escaped;

/// The directory in which `ip netns` keeps names.
const NAMED: &str = "/run/netns";
/// The namespace of this process.
const OWN: &str = "/proc/self/ns/net";

/// A network namespace that can be entered.
#[derive(Debug)]
pub(crate) struct Namespace {
    /// The inode number, as in `/proc/PID/ns/net`.
    pub inum: u32,
    /// The path to the namespace; none for the namespace of this process. A handle would keep the
    /// namespace alive, and a host may have more namespaces than a process may open files.
    path: Option<PathBuf>,
}

impl Namespace {
    /// Returns the namespace of this process.
    ///
    /// # Errors
    /// Fails if `/proc` is not mounted.
    pub(crate) fn current() -> io::Result<Self> {
        Ok(Self { inum: inum_of(&fs::metadata(OWN)?), path: None })
    }

    /// Returns the namespace that `ip netns` calls `name`, or the namespace of the process with
    /// that id.
    ///
    /// # Errors
    /// `NotFound`, with a text that names the missing namespace or process, or the error of opening
    /// the file.
    pub(crate) fn named(name: &str) -> io::Result<Self> {
        let is_pid = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        // A name is not a path, and must not lead to another directory.
        if name.contains('/') || matches!(name, "" | "." | "..") {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("'{}' is no name of a namespace", Escaped(name.as_bytes())),
            ));
        }
        let name_path = Path::new(NAMED).join(name);
        let path = if is_pid && !name_path.exists() {
            PathBuf::from(format!("/proc/{name}/ns/net"))
        } else {
            name_path
        };
        Self::at(path).map_err(|error| {
            let shown = Escaped(name.as_bytes());
            let text = match error.kind() {
                io::ErrorKind::NotFound if is_pid => format!("there is no process {shown}"),
                io::ErrorKind::NotFound => format!(
                    "there is no network namespace '{shown}': `ip netns` lists names, and a \
                     process id stands for its namespace"
                ),
                _ if is_pid => {
                    format!("cannot open the network namespace of process {shown}: {error}")
                }
                _ => format!("cannot open network namespace '{shown}': {error}"),
            };
            io::Error::new(error.kind(), text)
        })
    }

    /// Returns the namespace with inode number `inum`. A process in the namespace, or a name, must
    /// still exist: sockets alone do not make a namespace reachable.
    ///
    /// # Errors
    /// `NotFound` if neither a process nor a name leads to the namespace.
    pub(crate) fn with_inum(inum: u32) -> io::Result<Self> {
        let own = Self::current()?;
        if own.inum == inum {
            return Ok(own);
        }
        let path = paths()?
            .find(|path| fs::metadata(path).is_ok_and(|metadata| inum_of(&metadata) == inum))
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { inum, path: Some(path) })
    }

    /// Returns every namespace that has a process or a name and can be entered, each once, and this
    /// process' namespace first. Also returns the number of names and processes whose namespace the
    /// kernel refused.
    ///
    /// # Errors
    /// Fails if `/proc` cannot be read, or if a shortage of descriptors, threads or memory hides a
    /// namespace.
    pub(crate) fn all() -> io::Result<(Vec<Self>, usize)> {
        let own = Self::current()?;
        let mut seen = HashSet::from([own.inum]);
        let mut all = vec![own];
        let mut refused = 0;
        for path in paths()? {
            let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
            match fs::metadata(&path) {
                Ok(metadata) if !seen.insert(inum_of(&metadata)) => {}
                Ok(metadata) => {
                    let namespace = Self { inum: inum_of(&metadata), path: Some(path) };
                    match namespace.run(|| Ok(())) {
                        Ok(()) => all.push(namespace),
                        Err(error) if denied(&error) => refused += 1,
                        // Other namespaces would be missing too.
                        Err(error) if Shortage::of(&error).is_some() => return Err(error),
                        // The namespace has ended, or the file is not a namespace.
                        Err(error) => log::debug!("{error}"),
                    }
                }
                Err(error) if denied(&error) => refused += 1,
                // The process or the name is gone.
                Err(_) => {}
            }
        }
        Ok((all, refused))
    }

    /// Runs `work` inside the namespace.
    ///
    /// # Errors
    /// `NotFound` if the namespace has ended, `PermissionDenied` if this process may not enter it,
    /// otherwise the error of setns or of `work`.
    pub(crate) fn run<T: Send>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        let Some(path) = &self.path else { return work() };
        let handle = File::open(path).map_err(|error| self.explain(&error))?;
        // The process may have ended meanwhile, and another process may have its pid.
        if inum_of(&handle.metadata()?) != self.inum {
            return Err(self.explain(&io::ErrorKind::NotFound.into()));
        }
        // A separate thread: a thread that entered a namespace stays there.
        thread::scope(|scope| {
            let entered = move || {
                move_into_link_name_space(handle.as_fd(), Some(LinkNameSpaceType::Network))
                    .map_err(|error| self.explain(&error.into()))?;
                work()
            };
            spawn_scoped(scope, entered)?
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace panicked")))
        })
    }

    fn explain(&self, error: &io::Error) -> io::Error {
        if let Some(shortage) = Shortage::of(error) {
            return io::Error::other(shortage);
        }
        let why = match error.kind() {
            io::ErrorKind::PermissionDenied => format!("{error}{}", privilege::advice(Duty::Enter)),
            io::ErrorKind::NotFound => "the namespace has ended".to_owned(),
            io::ErrorKind::InvalidInput => "the file is no network namespace".to_owned(),
            _ => error.to_string(),
        };
        io::Error::new(error.kind(), format!("cannot enter network namespace {}: {why}", self.inum))
    }

    fn at(path: PathBuf) -> io::Result<Self> {
        let inum = inum_of(&fs::metadata(&path)?);
        let own = Self::current()?;
        Ok(if own.inum == inum { own } else { Self { inum, path: Some(path) } })
    }
}

/// Returns the name that `ip netns` gave to the namespace with inode number `inum`.
#[must_use]
pub(crate) fn name_of(inum: u32) -> Option<String> {
    fs::read_dir(NAMED).ok()?.flatten().find_map(|entry| {
        let metadata = fs::metadata(entry.path()).ok()?;
        (inum_of(&metadata) == inum).then(|| entry.file_name().to_string_lossy().into_owned())
    })
}

/// Returns the network namespaces that `ip netns` knows, with their inode numbers.
#[must_use]
pub(crate) fn named_namespaces() -> Vec<(u32, String)> {
    let entries = fs::read_dir(NAMED).into_iter().flatten().flatten();
    let namespaces = entries.filter_map(|entry| {
        let metadata = fs::metadata(entry.path()).ok()?;
        Some((inum_of(&metadata), entry.file_name().to_string_lossy().into_owned()))
    });
    namespaces.collect()
}

/// Returns the kernel's cookie of this thread's network namespace (`SO_NETNS_COOKIE`, Linux 5.14).
#[must_use]
pub(crate) fn own_netns_cookie() -> Option<u64> {
    // A socket of any family has the cookie; the systemd unit permits this family.
    let family = rustix::net::AddressFamily::UNIX;
    let socket = rustix::net::socket(family, rustix::net::SocketType::STREAM, None).ok()?;
    getsockopt(&socket, NetnsCookie).ok()
}

sockopt_impl!(
    /// The cookie of a socket's network namespace.
    NetnsCookie,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_NETNS_COOKIE,
    u64
);

/// Returns every path that may lead to a namespace: names first, then processes.
fn paths() -> io::Result<impl Iterator<Item = PathBuf>> {
    let names = fs::read_dir(NAMED).into_iter().flatten().flatten().map(|entry| entry.path());
    let processes = fs::read_dir("/proc")?
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .map(|entry| entry.path().join("ns/net"));
    Ok(names.chain(processes))
}

/// Returns the inode number of a namespace, which has 32 bits (`struct ns_common`).
fn inum_of(metadata: &fs::Metadata) -> u32 {
    u32::try_from(metadata.ino()).unwrap_or_default()
}
