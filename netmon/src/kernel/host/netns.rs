//! Network namespaces: found by name, process or inode number, and entered on a separate thread.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, FromRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
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
    way: Way,
}

/// The way into a namespace. A descriptor would keep the namespace alive, and a host may have more
/// namespaces than a process may open files.
#[derive(Debug)]
enum Way {
    /// None is needed: it is the namespace of this process.
    Own,
    Path(PathBuf),
    /// The namespace's cookie, by which Linux 6.18 opens it.
    Cookie(u64),
}

/// Network namespaces that can be entered, this process' namespace first.
#[derive(Debug)]
pub(crate) struct Namespaces {
    /// The namespaces, each once.
    pub(crate) reachable: Vec<Namespace>,
    /// The number of names and processes whose namespace the kernel refused.
    pub(crate) refused: usize,
    /// The inode numbers of the kernel's other namespaces, if the kernel has listed its namespaces.
    pub(crate) unreachable: Option<Vec<u32>>,
}

impl Namespace {
    /// Returns the namespace of this process.
    ///
    /// # Errors
    /// Fails if `/proc` is not mounted.
    pub(crate) fn current() -> io::Result<Self> {
        Ok(Self { inum: inum_of(&fs::metadata(OWN)?), way: Way::Own })
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
        let (path, _) = paths()?
            .find(|(path, _)| fs::metadata(path).is_ok_and(|metadata| inum_of(&metadata) == inum))
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { inum, way: Way::Path(path) })
    }

    /// Returns every namespace that a process, a thread, a name or a mount leads to.
    ///
    /// # Errors
    /// Fails if `/proc` cannot be read, or if a shortage of descriptors, threads or memory hides a
    /// namespace.
    pub(crate) fn all() -> io::Result<Namespaces> {
        let own = Self::current()?;
        let mut seen = HashSet::from([own.inum]);
        let mut reachable = vec![own];
        let mut refused = 0;
        for (path, is_thread) in paths()? {
            match fs::metadata(&path) {
                Ok(metadata) if !seen.insert(inum_of(&metadata)) => {}
                Ok(metadata) => {
                    let namespace = Self { inum: inum_of(&metadata), way: Way::Path(path) };
                    if namespace.admits(&mut refused)? {
                        reachable.push(namespace);
                    }
                }
                Err(error) if is_denied(&error) && !is_thread => refused += 1,
                // The process or the name is gone, or its process was counted.
                Err(_) => {}
            }
        }
        Ok(Namespaces { reachable, refused, unreachable: None })
    }

    /// Returns the namespaces that the kernel has listed, with their inode numbers and cookies.
    ///
    /// # Errors
    /// As for [`Self::all`].
    pub(crate) fn all_of(listed: &[(u32, u64)]) -> io::Result<Namespaces> {
        let own = Self::current()?;
        let (mut refused, mut unreachable, mut reachable) = (0, Vec::new(), Vec::new());
        for &(inum, cookie) in listed.iter().filter(|(inum, _)| *inum != own.inum) {
            let namespace = Self { inum, way: Way::Cookie(cookie) };
            if namespace.admits(&mut refused)? {
                reachable.push(namespace);
            } else {
                unreachable.push(inum);
            }
        }
        if !unreachable.is_empty() {
            // A kernel before Linux 6.18 does not open a namespace by its cookie.
            let found = Self::all()?;
            let is_missing = |namespace: &Self| unreachable.contains(&namespace.inum);
            reachable.extend(found.reachable.into_iter().filter(is_missing));
            refused = found.refused;
            unreachable.retain(|inum| reachable.iter().all(|namespace| namespace.inum != *inum));
        }
        reachable.insert(0, own);
        Ok(Namespaces { reachable, refused, unreachable: Some(unreachable) })
    }

    /// Returns whether the namespace can be entered; counts a refusal.
    fn admits(&self, refused: &mut usize) -> io::Result<bool> {
        match self.run(|| Ok(())) {
            Ok(()) => return Ok(true),
            Err(error) if is_denied(&error) => *refused += 1,
            // Other namespaces would be missing too.
            Err(error) if Shortage::of(&error).is_some() => return Err(error),
            // The namespace has ended, or the file is not a namespace.
            Err(error) => log::debug!("{error}"),
        }
        Ok(false)
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
        let opened = match &self.way {
            Way::Own => return work(),
            Way::Path(path) => File::open(path),
            Way::Cookie(cookie) => open_by_cookie(*cookie, self.inum),
        };
        let handle = opened.map_err(|error| self.explain(&error))?;
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
        // Its handle is stale once a namespace has ended.
        let kind = match error.kind() {
            io::ErrorKind::StaleNetworkFileHandle => io::ErrorKind::NotFound,
            kind => kind,
        };
        let why = match kind {
            io::ErrorKind::PermissionDenied => format!("{error}{}", privilege::advice(Duty::Enter)),
            io::ErrorKind::NotFound => "the namespace has ended".to_owned(),
            io::ErrorKind::InvalidInput => "the file is no network namespace".to_owned(),
            _ => error.to_string(),
        };
        io::Error::new(kind, format!("cannot enter network namespace {}: {why}", self.inum))
    }

    fn at(path: PathBuf) -> io::Result<Self> {
        let inum = inum_of(&fs::metadata(&path)?);
        let own = Self::current()?;
        Ok(if own.inum == inum { own } else { Self { inum, way: Way::Path(path) } })
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

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// Returns every path that may lead to a namespace: names, processes, mounts, and with `true` the
/// other threads of processes.
fn paths() -> io::Result<impl Iterator<Item = (PathBuf, bool)>> {
    let names = fs::read_dir(NAMED).into_iter().flatten().flatten().map(|entry| entry.path());
    let processes: Vec<PathBuf> = numbered(fs::read_dir("/proc")?).collect();
    let threads = processes.clone().into_iter().flat_map(|process| {
        let leader = process.file_name().map(ToOwned::to_owned);
        let tasks = fs::read_dir(process.join("task")).into_iter();
        tasks.flat_map(numbered).filter(move |task| task.file_name() != leader.as_deref())
    });
    let of_task = |task: PathBuf| task.join("ns/net");
    let others = names.chain(processes.into_iter().map(of_task)).chain(mounts());
    Ok(others.map(|path| (path, false)).chain(threads.map(move |task| (of_task(task), true))))
}

/// Returns the entries of a directory whose names are numbers.
fn numbered(directory: fs::ReadDir) -> impl Iterator<Item = PathBuf> {
    let is_number = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
    };
    directory.flatten().map(|entry| entry.path()).filter(is_number)
}

/// Returns the places of this mount namespace at which a network namespace is mounted.
fn mounts() -> impl Iterator<Item = PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // The fourth column is the root of the mount, the fifth its place (proc_pid_mountinfo(5)).
    let place = |line: &str| {
        let mut columns = line.split(' ').skip(3);
        let is_network = columns.next()?.starts_with("net:[");
        // A place with a space or the like is escaped. It is left to the other ways.
        let place = columns.next().filter(|place| is_network && !place.contains('\\'))?;
        Some(PathBuf::from(place))
    };
    table.lines().filter_map(place).collect::<Vec<_>>().into_iter()
}

/// Opens a namespace by its handle in nsfs, since Linux 6.18 (fs/nsfs.c, `nsfs_fh_to_dentry`). This
/// leads also to a namespace that only an open socket or a foreign mount keeps.
fn open_by_cookie(cookie: u64, inum: u32) -> io::Result<File> {
    /// `FD_NSFS_ROOT` (include/uapi/linux/fcntl.h).
    const NSFS_ROOT: libc::c_int = -10_003;
    /// `FILEID_NSFS` (include/linux/exportfs.h).
    const NSFS: libc::c_int = 0xf1;
    /// `struct file_handle` with a `struct nsfs_file_handle` (include/uapi/linux/nsfs.h).
    #[repr(C)]
    struct Handle {
        length: libc::c_uint,
        kind: libc::c_int,
        ns_id: u64,
        ns_type: u32,
        inum: u32,
    }
    let ns_type = LinkNameSpaceType::Network as u32;
    let mut handle = Handle { length: 16, kind: NSFS, ns_id: cookie, ns_type, inum };
    #[expect(unsafe_code, reason = "no crate has this call, which std and rustix lack")]
    // SAFETY: `handle` has the length that it names, and outlives the call. A descriptor that the
    // call returns is this function's own.
    let opened = unsafe {
        let handle = std::ptr::from_mut(&mut handle).cast();
        let fd = libc::open_by_handle_at(NSFS_ROOT, handle, libc::O_RDONLY | libc::O_CLOEXEC);
        (fd >= 0).then(|| File::from(OwnedFd::from_raw_fd(fd)))
    };
    opened.ok_or_else(io::Error::last_os_error)
}

/// Returns the inode number of a namespace, which has 32 bits (`struct ns_common`).
fn inum_of(metadata: &fs::Metadata) -> u32 {
    u32::try_from(metadata.ino()).unwrap_or_default()
}
