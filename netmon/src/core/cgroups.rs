//! The cgroups of the host, from before their first process to long after their removal.

use std::{collections::VecDeque, sync::Arc};

use rustc_hash::FxHashMap;

use super::cgroup::Cgroup;

/// The most cgroups, some 300 bytes each.
const MOST: usize = 1 << 16;
/// The most removed cgroups that stay: a socket may outlive the cgroup of the process that made it.
const REMOVED: usize = 1 << 12;

/// The table of cgroups.
#[derive(Debug, Default)]
pub(crate) struct Cgroups {
    known: FxHashMap<u64, Entry>,
    /// Removed cgroups, in the order of their removal.
    removed: VecDeque<u64>,
    /// A cgroup without a path has been asked for since the last call of [`Self::take_lacks`].
    lacks: bool,
}

#[derive(Debug)]
struct Entry {
    cgroup: Arc<Cgroup>,
    is_removed: bool,
}

impl Cgroups {
    /// Returns the cgroup with an id; none for 0.
    pub(crate) fn get(&mut self, id: u64) -> Option<Arc<Cgroup>> {
        if id == 0 {
            return None;
        }
        if let Some(entry) = self.known.get(&id) {
            return Some(Arc::clone(&entry.cgroup));
        }
        // Kept, so that one without a path is missed once.
        self.lacks = true;
        let cgroup = Arc::new(Cgroup::new(id, None));
        self.keep(&cgroup);
        Some(cgroup)
    }

    /// Returns whether a cgroup without a path has been asked for since the last call.
    pub(crate) fn take_lacks(&mut self) -> bool {
        std::mem::take(&mut self.lacks)
    }

    /// Takes a cgroup that was made, and returns it if its path is new. A path of no bytes is not
    /// known.
    pub(crate) fn made(&mut self, id: u64, path: &[u8]) -> Option<Arc<Cgroup>> {
        let has_path = |entry: &Entry| entry.cgroup.path.is_some();
        if path.is_empty() || self.known.get(&id).is_some_and(has_path) {
            return None;
        }
        let cgroup = Arc::new(Cgroup::new(id, Some(path.into())));
        self.keep(&cgroup);
        Some(cgroup)
    }

    /// Takes the removal of a cgroup.
    pub(crate) fn removed(&mut self, id: u64) {
        let Some(entry) = self.known.get_mut(&id) else { return };
        if !std::mem::replace(&mut entry.is_removed, true) {
            self.removed.push_back(id);
        }
        if self.removed.len() > REMOVED {
            self.forget_first();
        }
    }

    /// Takes all cgroups that the host has, and returns those whose paths are new. The others have
    /// been removed.
    pub(crate) fn seed(&mut self, all: &[(u64, Box<[u8]>)]) -> Vec<Arc<Cgroup>> {
        let new = all.iter().filter_map(|(id, path)| self.made(*id, path)).collect();
        let there: rustc_hash::FxHashSet<u64> = all.iter().map(|(id, _)| *id).collect();
        let gone: Vec<u64> = self.known.keys().copied().filter(|id| !there.contains(id)).collect();
        for id in gone {
            self.removed(id);
        }
        new
    }

    fn keep(&mut self, cgroup: &Arc<Cgroup>) {
        let is_new = !self.known.contains_key(&cgroup.id);
        if is_new && self.known.len() >= MOST && !self.forget_first() {
            return;
        }
        let is_removed = self.known.get(&cgroup.id).is_some_and(|entry| entry.is_removed);
        self.known.insert(cgroup.id, Entry { cgroup: Arc::clone(cgroup), is_removed });
    }

    /// Forgets the cgroup that was removed first. Returns `false` if none was removed.
    fn forget_first(&mut self) -> bool {
        self.removed.pop_front().is_some_and(|id| self.known.remove(&id).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(cgroups: &mut Cgroups, id: u64) -> Option<String> {
        let path = cgroups.get(id)?.path.clone()?;
        Some(String::from_utf8(path.into()).expect("UTF-8"))
    }

    #[test]
    fn a_removed_cgroup_keeps_its_path_and_the_oldest_leave_first() {
        let mut cgroups = Cgroups::default();
        let most = REMOVED as u64;
        for id in 1..=most + 2 {
            cgroups.made(id, format!("/{id}").as_bytes());
        }
        for id in 2..=most + 1 {
            cgroups.removed(id);
            cgroups.removed(id);
        }
        assert_eq!(path(&mut cgroups, 2).as_deref(), Some("/2"));
        cgroups.removed(most + 2);
        assert_eq!(path(&mut cgroups, 2), None);
        assert_eq!(path(&mut cgroups, 3).as_deref(), Some("/3"));
        assert_eq!(path(&mut cgroups, 1).as_deref(), Some("/1"), "it was not removed");
    }

    #[test]
    fn a_cgroup_without_a_path_is_missed_once() {
        let mut cgroups = Cgroups::default();
        assert_eq!(cgroups.get(0), None);
        assert!(!cgroups.take_lacks());
        assert_eq!(path(&mut cgroups, 5), None);
        assert!(cgroups.take_lacks());
        assert_eq!(path(&mut cgroups, 5), None);
        assert!(!cgroups.take_lacks());
        cgroups.made(5, b"");
        assert_eq!(path(&mut cgroups, 5), None);
        cgroups.seed(&[(5, b"/five"[..].into()), (6, b"/six"[..].into())]);
        assert_eq!(path(&mut cgroups, 5).as_deref(), Some("/five"));
        // The kernel's report of the making stays.
        cgroups.made(5, b"/other");
        assert_eq!(path(&mut cgroups, 5).as_deref(), Some("/five"));
        cgroups.seed(&[(6, b"/six"[..].into())]);
        assert_eq!(cgroups.removed, [5]);
        assert_eq!(path(&mut cgroups, 5).as_deref(), Some("/five"));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut cgroups = Cgroups::default();
        for id in 1..=MOST as u64 {
            cgroups.made(id, b"/x");
        }
        cgroups.made(u64::MAX, b"/y");
        assert_eq!((cgroups.known.len(), path(&mut cgroups, u64::MAX)), (MOST, None));
        cgroups.removed(1);
        cgroups.made(u64::MAX, b"/y");
        assert_eq!(cgroups.known.len(), MOST);
        assert_eq!(path(&mut cgroups, u64::MAX).as_deref(), Some("/y"));
    }
}
