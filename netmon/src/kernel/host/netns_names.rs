//! The names of network namespaces: those of `ip netns`.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;

use super::netns::{NAMES, inum_of};
use crate::core::escape::Escaped;

/// The time after which names are listed again. The kernel gives the inode number of a namespace
/// that has ended to the next one, which may have another name.
const NAMED: Duration = Duration::from_secs(1);
/// The time after which names are listed again for a namespace without a name, which may be new.
const NAMELESS: Duration = Duration::from_millis(100);
/// The most namespaces that a message names.
const SHOWN: usize = 3;

/// Returns the network namespaces that `ip netns` knows, with their inode numbers.
#[must_use]
pub(crate) fn named_namespaces() -> Vec<(u32, String)> {
    let entries = fs::read_dir(NAMES).into_iter().flatten().flatten();
    let namespaces = entries.filter_map(|entry| {
        let metadata = fs::metadata(entry.path()).ok()?;
        Some((inum_of(&metadata), entry.file_name().to_string_lossy().into_owned()))
    });
    namespaces.collect()
}

/// Returns a function that finds the name of a network namespace by its inode number.
pub(crate) fn netns_names() -> impl FnMut(u32) -> Option<Arc<str>> {
    let mut listed: Option<(Instant, FxHashMap<u32, Arc<str>>)> = None;
    move |inum| {
        let is_fresh = |(at, names): &(Instant, FxHashMap<u32, Arc<str>>)| {
            at.elapsed() < if names.contains_key(&inum) { NAMED } else { NAMELESS }
        };
        let fresh = listed.take().filter(is_fresh);
        let names = || named_namespaces().into_iter().map(|(inum, name)| (inum, name.into()));
        let list = || (Instant::now(), names().collect());
        listed.insert(fresh.unwrap_or_else(list)).1.get(&inum).cloned()
    }
}

/// Returns network namespaces for a message, as in `network namespaces blue, red, green and 7
/// more`. A namespace without a name has its inode number, and comes last.
#[must_use]
pub(crate) fn netns_text(inums: &[u32]) -> String {
    let mut name_of = netns_names();
    let mut all: Vec<_> = inums.iter().map(|inum| (name_of(*inum), *inum)).collect();
    all.sort_by(|(one, a), (two, b)| (one.is_none(), one, a).cmp(&(two.is_none(), two, b)));
    let more = all.len().saturating_sub(SHOWN);
    let mut shown: Vec<String> = all.into_iter().take(SHOWN).map(text).collect();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    match shown.split_last() {
        Some((last, [])) => format!("network namespace {last}"),
        Some((last, others)) => format!("network namespaces {} and {last}", others.join(", ")),
        None => "no network namespace".to_owned(),
    }
}

fn text((name, inum): (Option<Arc<str>>, u32)) -> String {
    name.map_or_else(|| inum.to_string(), |name| Escaped(name.as_bytes()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No namespace of a kernel has such a number (`PROC_DYNAMIC_FIRST`, fs/proc/generic.c).
    #[test]
    fn a_message_names_three_namespaces_at_most() {
        assert_eq!(netns_text(&[1]), "network namespace 1");
        assert_eq!(netns_text(&[2, 1]), "network namespaces 1 and 2");
        assert_eq!(netns_text(&[3, 2, 1]), "network namespaces 1, 2 and 3");
        assert_eq!(netns_text(&[5, 4, 3, 2, 1]), "network namespaces 1, 2, 3 and 2 more");
    }
}
