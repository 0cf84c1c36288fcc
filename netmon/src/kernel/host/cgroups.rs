//! The cgroups of version 2 that the host has, by a walk over their directories.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use crate::core::cgroups::CgroupWalk;

/// The most cgroups of a walk, some seconds of it. The upper levels come first: a user can make
/// cgroups only below the own one.
const MOST: usize = 1 << 16;
/// The longest path that is kept whole, bytes: as long as those that the kernel reports
/// (`TRACE_CGROUP_PATH_LEN`, kernel/cgroup/cgroup-internal.h).
const LONGEST: usize = 1022;
/// The id of the root of the hierarchy (`kernfs_create_root`, fs/kernfs/dir.c).
const ROOT: u64 = 1;
/// The inode number of the initial cgroup namespace (`PROC_CGROUP_INIT_INO`,
/// include/linux/proc_ns.h).
const INITIAL: u64 = 0xefff_fffb;
/// The bits of a directory's mode by which others than its owner may make entries. An access list
/// shows in those of the group.
const OTHERS_MAY_WRITE: u32 = 0o022;
/// The names of a path that are not known.
const CUT: &[u8] = "…".as_bytes();
/// The mark that the kernel appends to the path of a removed cgroup (`proc_cgroup_show`,
/// kernel/cgroup/cgroup.c).
const DELETED: &[u8] = b" (deleted)";

/// The paths of `/proc` begin at the root of the hierarchy.
static FROM_ROOT: LazyLock<bool> =
    LazyLock::new(|| fs::metadata("/proc/self/ns/cgroup").is_ok_and(|own| own.ino() == INITIAL));

/// Returns every cgroup with its id and its path below the root. Where the directories of the
/// hierarchy begin below its root, a path begins with `…`. No cgroup without version 2.
pub(crate) fn cgroups() -> CgroupWalk {
    Top::find().map(|top| top.walk()).unwrap_or_default()
}

/// Returns the id of the cgroup at `path`, a path below the hierarchy as listings show it, or one
/// of the file system.
pub(crate) fn cgroup_at(path: &str) -> Option<u64> {
    let top = Top::find()?.directory;
    let below = top.join(path.trim_start_matches('/'));
    let path = Path::new(path);
    let found = if path.starts_with(&top) { path.to_owned() } else { below };
    Some(fs::metadata(found).ok()?.ino())
}

/// Returns whether only root can have made the cgroup at a path: the one above is root's.
pub(in crate::kernel) fn is_made_by_root(path: &[u8]) -> bool {
    let above = path.rsplitn(2, |byte| *byte == b'/').nth(1);
    above.filter(|_| path.starts_with(b"/")).is_some_and(|above| {
        let above = Path::new(OsStr::from_bytes(above.strip_prefix(b"/").unwrap_or(above)));
        let directory = Top::find().filter(|top| top.is_root).map(|top| top.directory.join(above));
        let owner = directory.and_then(|directory| fs::metadata(directory).ok());
        owner.is_some_and(|owner| owner.uid() == 0 && owner.mode() & OTHERS_MAY_WRITE == 0)
    })
}

/// Returns the path of a process' cgroup, as in [`cgroups`].
pub(in crate::kernel) fn of_process(pid: u32) -> Option<Box<[u8]>> {
    let text = fs::read(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    Some(whole(path, *FROM_ROOT))
}

/// Returns the whole path of a process' cgroup. From within a cgroup namespace, `/..` leads out of
/// it.
fn whole(path: &[u8], is_from_root: bool) -> Box<[u8]> {
    let mut path = path.strip_suffix(DELETED).unwrap_or(path);
    if is_from_root {
        return shortened(path);
    }
    while let Some(outside) = path.strip_prefix(b"/..") {
        path = outside;
    }
    shortened(&[CUT, path].concat())
}

/// Returns a path that the kernel or netmon has cut at some byte without its last name, which is
/// `…` then.
pub(in crate::kernel) fn cut(path: &[u8]) -> Box<[u8]> {
    let last = path.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
    [&path[..last], b"/", CUT].concat().into()
}

/// Returns a path, cut if it is long: the outermost names tell the facts.
fn shortened(path: &[u8]) -> Box<[u8]> {
    path.get(..LONGEST).map_or_else(|| path.into(), cut)
}

/// The directory of cgroup v2, which is not /sys/fs/cgroup on a hybrid host.
struct Top {
    directory: PathBuf,
    /// The directory is that of the hierarchy's root.
    is_root: bool,
}

impl Top {
    fn find() -> Option<Self> {
        // A user may mount at a path of any bytes.
        let mounts = fs::read("/proc/mounts").ok()?;
        let directory = mounts.split(|byte| *byte == b'\n').find_map(|line| {
            let mut words = line.split(|byte| *byte == b' ');
            let path = words.nth(1)?;
            (words.next()? == b"cgroup2").then(|| PathBuf::from(OsStr::from_bytes(path)))
        })?;
        let is_root = fs::metadata(&directory).ok()?.ino() == ROOT;
        Some(Self { directory, is_root })
    }

    /// Returns the cgroups, level by level. The id of a cgroup is the inode number of its directory
    /// (`kernfs_node.id`, on 64 bits).
    fn walk(&self) -> CgroupWalk {
        let mut walk = CgroupWalk { found: Vec::new(), is_complete: self.is_root };
        let start = if self.is_root { &[][..] } else { CUT };
        let mut directories = VecDeque::from([self.directory.clone()]);
        while let Some(directory) = directories.pop_front() {
            // One that is gone by now is none.
            let Some(metadata) = there(fs::metadata(&directory), &mut walk.is_complete) else {
                continue;
            };
            if walk.found.len() >= MOST {
                walk.is_complete = false;
                break;
            }
            let below = directory.strip_prefix(&self.directory).unwrap_or(&directory);
            let path = [start, b"/", below.as_os_str().as_bytes()].concat();
            walk.found.push((metadata.ino(), shortened(&path)));
            // A user may close an own cgroup to others, and make paths that are too long for the
            // system.
            let entries = there(fs::read_dir(&directory), &mut walk.is_complete);
            let entries = entries.into_iter().flatten().flatten();
            let is_cgroup =
                |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
            let free = (MOST + 1).saturating_sub(directories.len());
            directories.extend(entries.filter(is_cgroup).map(|entry| entry.path()).take(free));
        }
        walk
    }
}

/// Returns what was read; nothing if it is gone. Notes when it is there and cannot be read.
fn there<T>(read: io::Result<T>, is_complete: &mut bool) -> Option<T> {
    read.inspect_err(|error| *is_complete &= error.kind() == io::ErrorKind::NotFound).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    #[test]
    fn paths_from_within_a_namespace_are_cut() {
        let whole = |path: &str, is_from_root| text(&whole(path.as_bytes(), is_from_root));
        assert_eq!(whole("/system.slice/a.service", true), "/system.slice/a.service");
        assert_eq!(whole("/a (deleted)", true), "/a");
        assert_eq!(whole("/", false), "…/");
        assert_eq!(whole("/a", false), "…/a");
        assert_eq!(whole("/../../b.slice", false), "…/b.slice");
    }

    #[test]
    fn a_long_path_keeps_its_first_names() {
        let long = format!("/a/{}/{}/c", "b".repeat(500), "b".repeat(600));
        assert_eq!(text(&shortened(long.as_bytes())), format!("/a/{}/…", "b".repeat(500)));
        assert_eq!(text(&shortened(b"/a/b")), "/a/b");
        assert_eq!(text(&cut(b"")), "/…");
        assert_eq!(text(&cut(b"/abc")), "/…");
    }

    #[test]
    fn this_process_is_in_a_cgroup_of_the_walk() {
        let Some(own) = of_process(std::process::id()) else {
            assert!(cgroups().found.is_empty(), "a host without version 2");
            return;
        };
        let all = cgroups();
        let of_path = all.found.iter().find(|(_, path)| *path == own);
        let (id, _) = of_path.expect("its own cgroup");
        assert_eq!(cgroup_at(text(&own).trim_start_matches('…')), Some(*id));
    }

    #[test]
    fn cgroups_below_roots_are_roots() {
        assert!(Top::find().is_none_or(|top| is_made_by_root(b"/any") == top.is_root));
        assert!(!is_made_by_root(b"/no-such-cgroup/any") && !is_made_by_root("…/any".as_bytes()));
        assert!(!is_made_by_root(b"") && !is_made_by_root(b"any"));
    }
}
