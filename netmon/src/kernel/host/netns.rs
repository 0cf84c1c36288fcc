//! A network namespace: found by name or process, and entered on a separate thread.

use std::{
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
    file_systems::MissingFileSystem,
    privilege::{self, Duty},
    shortage::{Shortage, spawn_scoped},
};
use crate::core::escape::Escaped;

/// The directory in which `ip netns` keeps names.
pub(super) const NAMES: &str = "/run/netns";
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

impl Namespace {
    /// Returns the namespace of this process.
    ///
    /// # Errors
    /// Fails if `/proc` is not mounted.
    pub(crate) fn current() -> io::Result<Self> {
        let link = fs::metadata(OWN).map_err(|error| MissingFileSystem::of_proc(OWN, error))?;
        Ok(Self { inum: inum_of(&link), way: Way::Own })
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
        let name_path = Path::new(NAMES).join(name);
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

    /// Returns the namespace with inode number `inum`, to which `path` leads.
    pub(super) const fn by_path(inum: u32, path: PathBuf) -> Self {
        Self { inum, way: Way::Path(path) }
    }

    /// Returns the namespace with inode number `inum` and this cookie, by which Linux 6.18 opens
    /// it.
    pub(super) const fn by_cookie(inum: u32, cookie: u64) -> Self {
        Self { inum, way: Way::Cookie(cookie) }
    }

    /// Returns whether the namespace is that of this process, which needs no entering.
    pub(super) const fn is_own(&self) -> bool {
        matches!(self.way, Way::Own)
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
        let kind = match (error.kind(), &self.way) {
            // Its handle is stale once a namespace has ended.
            (io::ErrorKind::StaleNetworkFileHandle, _) => io::ErrorKind::NotFound,
            // The kernel denies the link of a process that ended while the link was looked up
            // (`proc_ns_get_link`, fs/proc/namespaces.c). `ip netns delete` leaves an empty file
            // for a moment, which netmon has no permission to open.
            (io::ErrorKind::PermissionDenied, Way::Path(path)) if !self.may_be_at(path) => {
                io::ErrorKind::NotFound
            }
            (kind, _) => kind,
        };
        let why = match kind {
            io::ErrorKind::PermissionDenied => format!("{error}{}", privilege::advice(Duty::Enter)),
            io::ErrorKind::NotFound => "the namespace has ended".to_owned(),
            io::ErrorKind::InvalidInput => "the file is no network namespace".to_owned(),
            _ => error.to_string(),
        };
        io::Error::new(kind, format!("cannot enter network namespace {}: {why}", self.inum))
    }

    /// Returns whether a path may still lead to the namespace. The kernel does not say if it denies
    /// the look.
    fn may_be_at(&self, path: &Path) -> bool {
        match fs::metadata(path) {
            Ok(metadata) => inum_of(&metadata) == self.inum,
            Err(_) => fs::symlink_metadata(path).is_ok(),
        }
    }

    fn at(path: PathBuf) -> io::Result<Self> {
        // Without `/proc` there would be no process and no namespace.
        let own = Self::current()?;
        let inum = inum_of(&fs::metadata(&path)?);
        Ok(if own.inum == inum { own } else { Self::by_path(inum, path) })
    }
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

/// Opens a namespace by its handle in nsfs, since Linux 6.18 (fs/nsfs.c, `nsfs_fh_to_dentry`). This
/// leads also to a namespace that a foreign mount keeps and, on 6.18 alone, to one that only an
/// open socket keeps.
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
pub(super) fn inum_of(metadata: &fs::Metadata) -> u32 {
    u32::try_from(metadata.ino()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, process::Command};

    use super::*;

    fn denied(inum: u32, path: &str) -> io::ErrorKind {
        let denied = io::ErrorKind::PermissionDenied.into();
        Namespace::by_path(inum, path.into()).explain(&denied).kind()
    }

    #[test]
    fn a_denied_link_of_a_process_that_is_gone_is_no_lack_of_privileges() {
        let mut child = Command::new("true").spawn().expect("a process");
        child.wait().expect("its end");
        assert_eq!(denied(1, &format!("/proc/{}/ns/net", child.id())), io::ErrorKind::NotFound);
        let own = Namespace::current().expect("/proc").inum;
        assert_eq!(denied(own, OWN), io::ErrorKind::PermissionDenied);
    }

    /// `ip netns delete` takes the mount away before the file, which has no permissions.
    #[test]
    fn a_name_without_its_mount_is_no_lack_of_privileges() {
        let name = std::env::temp_dir().join(format!("netmon-name-{}", std::process::id()));
        let file = File::create(&name).expect("a file");
        file.set_permissions(fs::Permissions::from_mode(0o0)).expect("no permissions");
        let kind = denied(1, name.to_str().expect("UTF-8"));
        fs::remove_file(&name).expect("removed");
        assert_eq!(kind, io::ErrorKind::NotFound);
    }
}
