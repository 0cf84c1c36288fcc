//! The cgroups of the host, from before their first process to long after their removal.

use std::{collections::VecDeque, sync::Arc};

use rustc_hash::{FxHashMap, FxHashSet};

use super::cgroup::Cgroup;

/// The most cgroups, each with a path of some 100 bytes, and of 1 KiB at most.
const MOST: usize = 1 << 16;
/// The most removed cgroups that stay: a socket may outlive the cgroup of the process that made it.
const REMOVED: usize = 1 << 12;
/// The most cgroups below one unit or container, whose processes may make any number. Those that
/// were removed leave first, and then the oldest.
const BELOW: usize = 1 << 10;
/// The most units and containers whose cgroups are counted. Beyond that, counting begins anew.
const COUNTED: usize = 1 << 12;

/// The cgroups that the host has at a moment.
#[derive(Debug, Default)]
pub(crate) struct CgroupWalk {
    /// The id and the path of each.
    pub(crate) found: Vec<(u64, Box<[u8]>)>,
    /// No cgroup is missing.
    pub(crate) is_complete: bool,
}

/// The table of cgroups.
#[derive(Debug, Default)]
pub(crate) struct Cgroups {
    known: FxHashMap<u64, Entry>,
    /// Removed cgroups, in the order of their removal.
    removed: VecDeque<u64>,
    /// The cgroups below the path of a unit or a container, the oldest first.
    below: FxHashMap<Box<[u8]>, VecDeque<u64>>,
    /// A cgroup without a path has been asked for since the last call of [`Self::take_lacks`].
    lacks: bool,
}

#[derive(Debug)]
struct Entry {
    cgroup: Arc<Cgroup>,
    is_removed: bool,
    /// The last walk did not have it. It may have been made meanwhile.
    was_absent: bool,
}

impl Cgroups {
    /// Returns the cgroup with an id; none for 0. Its path may come later.
    pub(crate) fn get(&mut self, id: u64) -> Option<Arc<Cgroup>> {
        if id == 0 {
            return None;
        }
        if let Some(entry) = self.known.get(&id) {
            return Some(Arc::clone(&entry.cgroup));
        }
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
        if path.is_empty() || id == 0 {
            return None;
        }
        let cgroup = match self.known.get(&id) {
            Some(entry) if !entry.cgroup.found_at(path.into()) => return None,
            Some(entry) => Arc::clone(&entry.cgroup),
            None => {
                let cgroup = Arc::new(Cgroup::new(id, Some(path.into())));
                self.keep(&cgroup);
                cgroup
            }
        };
        self.count(id, path, cgroup.workload().reserved);
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

    /// Takes the cgroups that the host has, and returns those whose paths are new. A cgroup that
    /// two complete walks in a row lack has been removed.
    pub(crate) fn seed(&mut self, walk: &CgroupWalk) -> Vec<Arc<Cgroup>> {
        let new = walk.found.iter().filter_map(|(id, path)| self.made(*id, path)).collect();
        if walk.is_complete {
            let there: FxHashSet<u64> = walk.found.iter().map(|(id, _)| *id).collect();
            let mut gone = Vec::new();
            for (id, entry) in &mut self.known {
                let is_absent = !there.contains(id);
                if std::mem::replace(&mut entry.was_absent, is_absent) && is_absent {
                    gone.push(*id);
                }
            }
            gone.into_iter().for_each(|id| self.removed(id));
        }
        new
    }

    /// Keeps a new cgroup, if there is room.
    fn keep(&mut self, cgroup: &Arc<Cgroup>) {
        if self.known.len() >= MOST && !self.forget_first() {
            return;
        }
        let cgroup = Arc::clone(cgroup);
        self.known.insert(cgroup.id, Entry { cgroup, is_removed: false, was_absent: false });
    }

    /// Counts a cgroup that is below the first `reserved` bytes of its path.
    fn count(&mut self, id: u64, path: &[u8], reserved: usize) {
        let Some(above) = path.get(..reserved).filter(|above| above.len() < path.len()) else {
            return;
        };
        if self.below.len() >= COUNTED && !self.below.contains_key(above) {
            self.below.clear();
        }
        let ids = self.below.entry(above.into()).or_default();
        ids.push_back(id);
        if ids.len() > BELOW {
            let is_over = |id: &u64| self.known.get(id).is_none_or(|entry| entry.is_removed);
            let first = ids.iter().position(is_over).unwrap_or(0);
            if let Some(id) = ids.remove(first) {
                self.known.remove(&id);
            }
        }
    }

    /// Forgets the cgroup that was removed first. Returns `false` if none was removed.
    fn forget_first(&mut self) -> bool {
        while let Some(id) = self.removed.pop_front() {
            if self.known.remove(&id).is_some() {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(cgroups: &mut Cgroups, id: u64) -> Option<String> {
        Some(String::from_utf8(cgroups.get(id)?.path()?.to_vec()).expect("UTF-8"))
    }

    fn walk(found: &[(u64, &str)]) -> CgroupWalk {
        let found = found.iter().map(|(id, path)| (*id, path.as_bytes().into())).collect();
        CgroupWalk { found, is_complete: true }
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
    fn a_path_that_comes_late_comes_to_every_owner() {
        let mut cgroups = Cgroups::default();
        assert_eq!(cgroups.get(0), None);
        assert!(!cgroups.take_lacks());
        let of_owner = cgroups.get(5).expect("not 0");
        assert!(cgroups.take_lacks());
        assert_eq!(path(&mut cgroups, 5), None);
        assert!(!cgroups.take_lacks(), "it is missed once");
        assert_eq!(cgroups.made(5, b""), None);
        assert_eq!(cgroups.seed(&walk(&[(5, "/five"), (6, "/six")])).len(), 2);
        assert_eq!(of_owner.path(), Some(&b"/five"[..]));
        // The first path stays.
        assert_eq!(cgroups.made(5, b"/other"), None);
        assert_eq!(path(&mut cgroups, 5).as_deref(), Some("/five"));
    }

    #[test]
    fn two_walks_prove_a_removal() {
        let mut cgroups = Cgroups::default();
        cgroups.seed(&walk(&[(5, "/five"), (6, "/six")]));
        cgroups.seed(&walk(&[(6, "/six")]));
        assert!(cgroups.removed.is_empty(), "it may have been made during the walk");
        cgroups.seed(&CgroupWalk { found: Vec::new(), is_complete: false });
        assert!(cgroups.removed.is_empty());
        cgroups.seed(&walk(&[(6, "/six")]));
        assert_eq!(cgroups.removed, [5]);
        assert_eq!(path(&mut cgroups, 5).as_deref(), Some("/five"));
    }

    #[test]
    fn cgroups_of_one_user_leave_those_of_others_alone() {
        let mut cgroups = Cgroups::default();
        cgroups.made(1, b"/system.slice/a.service");
        cgroups.made(2, b"/docker/x/init");
        let user = "/user.slice/user-1.slice/user@1.service";
        for id in 3..=BELOW as u64 + 3 {
            cgroups.made(id, format!("{user}/{id}").as_bytes());
        }
        assert_eq!(path(&mut cgroups, 3), None);
        assert!(path(&mut cgroups, 4).is_some() && path(&mut cgroups, 1).is_some());
        assert!(path(&mut cgroups, 2).is_some());
        cgroups.removed(9);
        let last = BELOW as u64 + 4;
        cgroups.made(last, format!("{user}/docker-{}.scope", "0".repeat(64)).as_bytes());
        assert_eq!(path(&mut cgroups, 9), None, "one that was removed leaves before the oldest");
        assert!(path(&mut cgroups, 4).is_some() && path(&mut cgroups, last).is_some());
    }

    #[test]
    fn the_table_is_bounded() {
        let mut cgroups = Cgroups::default();
        for id in 1..=MOST as u64 {
            cgroups.made(id, format!("/{id}").as_bytes());
        }
        cgroups.made(u64::MAX, b"/y");
        assert_eq!((cgroups.known.len(), path(&mut cgroups, u64::MAX)), (MOST, None));
        cgroups.removed(1);
        cgroups.made(u64::MAX, b"/y");
        assert_eq!(cgroups.known.len(), MOST);
        assert_eq!(path(&mut cgroups, u64::MAX).as_deref(), Some("/y"));
    }
}
