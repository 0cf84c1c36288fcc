//! Network namespaces: found by name, process or inode number, entered on a thread of their own.

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

use super::privilege::{self, Duty};

/// Where `ip netns` keeps names.
const NAMED: &str = "/run/netns";
/// The namespace of this process.
const OWN: &str = "/proc/self/ns/net";

/// A network namespace that can be entered.
#[derive(Debug)]
pub struct Namespace {
    /// Its inode number, as in `/proc/PID/ns/net`.
    pub inum: u32,
    /// The way there; none for the one that this process is in. Not a handle, which would keep
    /// it alive, and of which a host with many would have more than a process may open.
    path: Option<PathBuf>,
}

impl Namespace {
    /// The one that this process is in.
    ///
    /// # Errors
    /// Where `/proc` is not mounted.
    pub fn current() -> io::Result<Self> {
        Ok(Self { inum: inum_of(&fs::metadata(OWN)?), path: None })
    }

    /// The one that `ip netns` calls `name`, or that of the process with that id.
    ///
    /// # Errors
    /// `NotFound`, with a text that says what was looked for; or what opening it answered.
    pub fn named(name: &str) -> io::Result<Self> {
        let is_pid = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        // A name is no path: it must not lead elsewhere.
        if name.contains('/') || matches!(name, "" | "." | "..") {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("'{}' is no name of a namespace", name.escape_debug()),
            ));
        }
        let named = Path::new(NAMED).join(name);
        let path = if is_pid && !named.exists() {
            PathBuf::from(format!("/proc/{name}/ns/net"))
        } else {
            named
        };
        Self::at(path).map_err(|error| {
            let what = if is_pid { "process" } else { "network namespace" };
            let shown = name.escape_debug();
            let text = match error.kind() {
                io::ErrorKind::NotFound if is_pid => format!("there is no process {shown}"),
                io::ErrorKind::NotFound => format!(
                    "there is no network namespace '{shown}': `ip netns` lists names, and a process \
                     id stands for its namespace"
                ),
                _ => format!("the namespace of {what} {shown}: {error}"),
            };
            io::Error::new(error.kind(), text)
        })
    }

    /// The one with inode number `inum`; a process in it, or a name, must still exist: sockets
    /// alone do not make it reachable.
    ///
    /// # Errors
    /// `NotFound` when nothing leads there.
    pub fn with_inum(inum: u32) -> io::Result<Self> {
        let own = Self::current()?;
        if own.inum == inum {
            return Ok(own);
        }
        let path = paths()?
            .find(|path| fs::metadata(path).is_ok_and(|found| inum_of(&found) == inum))
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { inum, path: Some(path) })
    }

    /// Every one that has a process or a name and can be entered, each once, this process' first;
    /// and how many names or processes did not lead into theirs.
    ///
    /// # Errors
    /// Where `/proc` cannot be read.
    pub fn all() -> io::Result<(Vec<Self>, usize)> {
        let own = Self::current()?;
        let mut seen = HashSet::from([own.inum]);
        let mut all = vec![own];
        let mut refused = 0;
        for path in paths()? {
            let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
            match fs::metadata(&path) {
                Ok(found) if !seen.insert(inum_of(&found)) => {}
                Ok(found) => {
                    let namespace = Self { inum: inum_of(&found), path: Some(path) };
                    match namespace.run(|| Ok(())) {
                        Ok(()) => all.push(namespace),
                        Err(error) if denied(&error) => refused += 1,
                        // It has ended, or is a file that is none.
                        Err(error) => log::debug!("{error}"),
                    }
                }
                Err(error) if denied(&error) => refused += 1,
                // It has ended.
                Err(_) => {}
            }
        }
        Ok((all, refused))
    }

    /// Runs `work` inside it.
    ///
    /// # Errors
    /// `NotFound` when it has ended, `PermissionDenied` when it may not be entered; else what setns
    /// or `work` answered.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let Some(path) = &self.path else { return work() };
        let handle = File::open(path).map_err(|error| self.explain(&error))?;
        // The process may have ended meanwhile, and its pid be another's.
        if inum_of(&handle.metadata()?) != self.inum {
            return Err(self.explain(&io::ErrorKind::NotFound.into()));
        }
        // A thread of its own: entering a namespace is for good.
        thread::scope(|scope| {
            scope
                .spawn(move || {
                    move_into_link_name_space(handle.as_fd(), Some(LinkNameSpaceType::Network))
                        .map_err(|error| self.explain(&error.into()))?;
                    work()
                })
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace panicked")))
        })
    }

    fn explain(&self, error: &io::Error) -> io::Error {
        let why = match error.kind() {
            io::ErrorKind::PermissionDenied => format!("{error}{}", privilege::advice(Duty::Enter)),
            io::ErrorKind::NotFound => "it has ended".to_owned(),
            io::ErrorKind::InvalidInput => "it is no network namespace".to_owned(),
            _ => error.to_string(),
        };
        io::Error::new(error.kind(), format!("entering network namespace {}: {why}", self.inum))
    }

    fn at(path: PathBuf) -> io::Result<Self> {
        let inum = inum_of(&fs::metadata(&path)?);
        let own = Self::current()?;
        Ok(if own.inum == inum { own } else { Self { inum, path: Some(path) } })
    }
}

/// The name that `ip netns` gave to the namespace with inode number `inum`.
#[must_use]
pub fn name_of(inum: u32) -> Option<String> {
    fs::read_dir(NAMED).ok()?.flatten().find_map(|entry| {
        let found = fs::metadata(entry.path()).ok()?;
        (inum_of(&found) == inum).then(|| entry.file_name().to_string_lossy().into_owned())
    })
}

/// The network namespaces that `ip netns` knows, by inode number.
#[must_use]
pub fn named_namespaces() -> Vec<(u32, String)> {
    let entries = fs::read_dir(NAMED).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let found = fs::metadata(entry.path()).ok()?;
        Some((inum_of(&found), entry.file_name().to_string_lossy().into_owned()))
    });
    named.collect()
}

/// The kernel's cookie of the network namespace that this thread is in (`SO_NETNS_COOKIE`, Linux
/// 5.14).
#[must_use]
pub fn own_netns_cookie() -> Option<u64> {
    // Of any family: the unit permits this one.
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

/// Everything that may lead to a namespace: names, then processes.
fn paths() -> io::Result<impl Iterator<Item = PathBuf>> {
    let named = fs::read_dir(NAMED).into_iter().flatten().flatten().map(|entry| entry.path());
    let processes = fs::read_dir("/proc")?
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .map(|entry| entry.path().join("ns/net"));
    Ok(named.chain(processes))
}

/// Namespaces are numbered in 32 bits (`struct ns_common`).
fn inum_of(metadata: &fs::Metadata) -> u32 {
    u32::try_from(metadata.ino()).unwrap_or_default()
}
