//! The search for network namespaces, by everything that leads to one.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    mem::MaybeUninit,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, RawDir, openat, readlinkat_raw, statat},
    path::Arg,
};

use super::{
    netns::{NAMES, Namespace, inum_of},
    shortage::Shortage,
};

/// The links of a directory `task` whose process has one thread: the directory, its parent, and the
/// thread (`proc_task_getattr`, fs/proc/base.c).
const LINKS_OF_ONE_THREAD: u8 = 3;
/// The size of one read of a directory, bytes: some thousand entries.
const ENTRIES: usize = 32 * 1024;
/// The size of a link: `net:[4294967295]`.
const LINK: usize = 16;

/// Network namespaces.
#[derive(Debug)]
pub(crate) struct Namespaces {
    /// The namespaces that can be entered, each once; this process' namespace first.
    pub(crate) reachable: Vec<Namespace>,
    /// The inode numbers of the other namespaces of which netmon knows.
    pub(crate) unreachable: Vec<u32>,
    /// The kernel has listed its namespaces: there are no others.
    pub(crate) is_all: bool,
}

impl Namespaces {
    /// Returns the one namespace.
    pub(crate) fn only(namespace: Namespace) -> Self {
        Self { reachable: vec![namespace], unreachable: Vec::new(), is_all: false }
    }

    /// Returns every namespace that a process, a thread, a name or a mount leads to. Processes of
    /// other users may hide theirs.
    ///
    /// # Errors
    /// Fails if `/proc` cannot be read, or if a shortage of descriptors, threads or memory hides a
    /// namespace.
    pub(crate) fn find() -> io::Result<Self> {
        let mut found = Self::only(Namespace::current()?);
        let mut seen = HashSet::from([found.reachable[0].inum]);
        let failed = Processes::read()?.leads(|inum, lead| {
            if seen.contains(&inum) {
                return ControlFlow::Continue(());
            }
            let namespace = Namespace::by_path(inum, lead.path());
            match access(&namespace) {
                Ok(Access::Granted) => found.reachable.push(namespace),
                Ok(Access::Denied) => found.unreachable.push(inum),
                // Something else may lead there.
                Ok(Access::Gone) => return ControlFlow::Continue(()),
                Err(error) => return ControlFlow::Break(error),
            }
            seen.insert(inum);
            ControlFlow::Continue(())
        });
        failed.break_value().map_or(Ok(found), Err)
    }

    /// Returns the namespaces that the kernel has listed, with their inode numbers and cookies.
    ///
    /// # Errors
    /// As for [`Self::find`].
    pub(crate) fn listed(listed: &[(u32, u64)]) -> io::Result<Self> {
        let own = Namespace::current()?;
        let (mut reachable, mut unreachable) = (Vec::new(), Vec::new());
        for &(inum, cookie) in listed.iter().filter(|(inum, _)| *inum != own.inum) {
            let namespace = Namespace::by_cookie(inum, cookie);
            match access(&namespace)? {
                Access::Granted => reachable.push(namespace),
                Access::Denied | Access::Gone => unreachable.push(inum),
            }
        }
        if !unreachable.is_empty() {
            // Only Linux 6.18 opens by its cookie a namespace that no process is in.
            let found = Self::find()?.reachable.into_iter();
            reachable.extend(found.filter(|namespace| unreachable.contains(&namespace.inum)));
            unreachable.retain(|inum| reachable.iter().all(|namespace| namespace.inum != *inum));
        }
        reachable.insert(0, own);
        Ok(Self { reachable, unreachable, is_all: true })
    }

    /// Returns whether a namespace of another process is to be entered.
    pub(crate) fn has_others(&self) -> bool {
        self.reachable.iter().any(|namespace| !namespace.is_own())
    }

    /// Keeps the namespaces with these inode numbers.
    pub(crate) fn retain(&mut self, inums: &[u32]) {
        self.reachable.retain(|namespace| inums.contains(&namespace.inum));
        self.unreachable.retain(|inum| inums.contains(inum));
    }
}

impl Namespace {
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
        let found = Processes::read()?.leads(|known, lead| match known == inum {
            true => ControlFlow::Break(Self::by_path(inum, lead.path())),
            false => ControlFlow::Continue(()),
        });
        found.break_value().ok_or(io::ErrorKind::NotFound.into())
    }
}

/// The answer of the kernel to entering a namespace.
enum Access {
    Granted,
    Denied,
    /// The namespace has ended, or the file is no namespace.
    Gone,
}

fn access(namespace: &Namespace) -> io::Result<Access> {
    match namespace.run(|| Ok(())) {
        Ok(()) => Ok(Access::Granted),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Access::Denied),
        // Other namespaces would be missing too.
        Err(error) if Shortage::of(&error).is_some() => Err(error),
        Err(error) => {
            log::debug!("{error}");
            Ok(Access::Gone)
        }
    }
}

/// Something that leads to a namespace.
enum Lead<'a> {
    /// A name or a mount.
    File(&'a Path),
    /// The link of a process, or of a thread, below `/proc`.
    Task(&'a str),
}

impl Lead<'_> {
    fn path(self) -> PathBuf {
        match self {
            Self::File(path) => path.to_owned(),
            Self::Task(task) => Path::new("/proc").join(task),
        }
    }
}

/// The processes of this host.
struct Processes {
    proc: File,
    ids: Vec<u32>,
}

impl Processes {
    fn read() -> io::Result<Self> {
        Ok(Self { proc: File::open("/proc")?, ids: numbered("/proc")? })
    }

    /// Hands everything that leads to a namespace, with the inode number, to `each`: names, mounts,
    /// processes and their threads. Processes of other users may hide.
    fn leads<B>(&self, mut each: impl FnMut(u32, Lead<'_>) -> ControlFlow<B>) -> ControlFlow<B> {
        for entry in fs::read_dir(NAMES).into_iter().flatten().flatten() {
            let path = entry.path();
            if let Ok(metadata) = fs::metadata(&path) {
                each(inum_of(&metadata), Lead::File(&path))?;
            }
        }
        for (inum, place) in mounts() {
            each(inum, Lead::File(&place))?;
        }
        for id in &self.ids {
            let mut task = |link: &str| match self.inum_of(link) {
                Some(inum) => each(inum, Lead::Task(link)),
                None => ControlFlow::Continue(()),
            };
            task(&format!("{id}/ns/net"))?;
            for thread in self.threads(*id) {
                task(&format!("{id}/task/{thread}/ns/net"))?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Returns the inode number to which a link leads. To read the link takes a third of the time
    /// of following it.
    fn inum_of(&self, link: &str) -> Option<u32> {
        let mut text = [0; LINK];
        let length = readlinkat_raw(&self.proc, link, &mut text).ok()?;
        inum_of_link(std::str::from_utf8(&text[..length]).ok()?)
    }

    /// Returns the other threads of a process. Most processes have none.
    fn threads(&self, id: u32) -> Vec<u32> {
        let links = statat(&self.proc, format!("{id}/task"), AtFlags::empty());
        match links {
            Ok(links) if links.st_nlink > LINKS_OF_ONE_THREAD.into() => {
                let mut threads = numbered(format!("/proc/{id}/task")).unwrap_or_default();
                threads.retain(|thread| *thread != id);
                threads
            }
            _ => Vec::new(),
        }
    }
}

/// Reads the name of a network namespace (`ns_get_name`, fs/nsfs.c).
fn inum_of_link(link: &str) -> Option<u32> {
    link.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// Returns the entries of a directory whose names are numbers.
fn numbered(directory: impl Arg) -> rustix::io::Result<Vec<u32>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, directory, flags, Mode::empty())?;
    let mut entries = vec![MaybeUninit::uninit(); ENTRIES];
    let (mut entries, mut numbers) = (RawDir::new(directory, &mut entries), Vec::new());
    while let Some(entry) = entries.next() {
        numbers.extend(entry?.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(numbers)
}

/// Returns the places of this mount namespace at which a network namespace is mounted. Every user
/// may read the table, also about places that only root may enter.
fn mounts() -> Vec<(u32, PathBuf)> {
    // A user may mount at a path of any bytes.
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let table = String::from_utf8_lossy(&table);
    // The fourth column is the root of the mount, the fifth its place (proc_pid_mountinfo(5)).
    let mount = |line: &str| {
        let mut columns = line.split(' ').skip(3);
        let inum = inum_of_link(columns.next()?)?;
        // A place with a space or the like is escaped. It is left to the other ways.
        let place = columns.next().filter(|place| !place.contains('\\'))?;
        Some((inum, place.into()))
    };
    // Few mounts are of a namespace.
    table.lines().filter(|line| line.contains(" net:[")).filter_map(mount).collect()
}
