//! The cgroups of version 2 that the host has, by a walk over their directories.

use std::{
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// The deepest level that is walked: no host nests cgroups as deep.
const MAX_DEPTH: usize = 32;
/// The most cgroups of a walk, some seconds of it.
const MOST: usize = 1 << 16;
/// The id of the root of the hierarchy (`kernfs_create_root`, fs/kernfs/dir.c).
const ROOT: u64 = 1;
/// The beginning of a path whose first names are not known.
const CUT: &[u8] = "…".as_bytes();
/// The mark that the kernel appends to the path of a removed cgroup (`proc_cgroup_show`,
/// kernel/cgroup/cgroup.c).
const DELETED: &[u8] = b" (deleted)";

/// The paths of `/proc` begin at the root of the hierarchy.
static FROM_ROOT: LazyLock<bool> = LazyLock::new(|| Top::find().is_some_and(|top| top.is_root));

/// Returns every cgroup with its id and its path below the root. From within a cgroup namespace, a
/// path begins with `…`, since its first names do not show. No cgroup without version 2.
pub(crate) fn cgroups() -> Vec<(u64, Box<[u8]>)> {
    let mut found = Vec::new();
    if let Some(top) = Top::find() {
        top.walk(&top.directory, MAX_DEPTH, &mut found);
    }
    found
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

/// Returns the path of a process' cgroup, as in [`cgroups`].
pub(in crate::kernel) fn of_process(pid: u32) -> Option<Box<[u8]>> {
    let text = fs::read(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    Some(whole(path, *FROM_ROOT))
}

/// Returns the whole path of a process' cgroup. From within a cgroup namespace, `/..` leads out of
/// it.
fn whole(path: &[u8], is_root: bool) -> Box<[u8]> {
    let mut path = path.strip_suffix(DELETED).unwrap_or(path);
    if is_root {
        return path.into();
    }
    while let Some(outside) = path.strip_prefix(b"/..") {
        path = outside;
    }
    [CUT, path].concat().into()
}

/// The directory of cgroup v2, which is not /sys/fs/cgroup on a hybrid host.
struct Top {
    directory: PathBuf,
    /// The directory is that of the hierarchy's root.
    is_root: bool,
}

impl Top {
    fn find() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/mounts").ok()?;
        let directory = mounts.lines().find_map(|line| {
            let mut words = line.split(' ');
            let path = words.nth(1)?;
            (words.next()? == "cgroup2").then(|| PathBuf::from(path))
        })?;
        let is_root = fs::metadata(&directory).ok()?.ino() == ROOT;
        Some(Self { directory, is_root })
    }

    /// Adds the cgroups from `directory` on. The id of a cgroup is the inode number of its
    /// directory (`kernfs_node.id`, on 64 bits).
    fn walk(&self, directory: &Path, depth: usize, found: &mut Vec<(u64, Box<[u8]>)>) {
        let Ok(metadata) = fs::metadata(directory) else { return };
        if found.len() >= MOST {
            return;
        }
        let below = directory.strip_prefix(&self.directory).unwrap_or(directory);
        let below = below.as_os_str().as_bytes();
        let cut = if self.is_root { &[][..] } else { CUT };
        found.push((metadata.ino(), [cut, b"/", below].concat().into()));
        if depth == 0 {
            return;
        }
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.walk(&entry.path(), depth - 1, found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_from_within_a_namespace_are_cut() {
        let whole = |path: &str, is_root| String::from_utf8(whole(path.as_bytes(), is_root).into());
        let is = |path: &str| Ok(path.to_owned());
        assert_eq!(whole("/system.slice/a.service", true), is("/system.slice/a.service"));
        assert_eq!(whole("/a (deleted)", true), is("/a"));
        assert_eq!(whole("/", false), is("…/"));
        assert_eq!(whole("/a", false), is("…/a"));
        assert_eq!(whole("/../../b.slice", false), is("…/b.slice"));
    }

    #[test]
    fn this_process_is_in_a_cgroup_of_the_walk() {
        let Some(own) = of_process(std::process::id()) else {
            assert!(cgroups().is_empty(), "a host without version 2");
            return;
        };
        let all = cgroups();
        let of_path = all.iter().find(|(_, path)| *path == own);
        let (id, _) = of_path.expect("its own cgroup");
        let path = String::from_utf8(own.into()).expect("UTF-8");
        assert_eq!(cgroup_at(path.trim_start_matches('…')), Some(*id));
    }
}
