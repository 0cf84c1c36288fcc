//! A loop over rows that lie anywhere in memory.

use std::hint::black_box;

/// The number of items that are loaded before the first of them is used.
const TOGETHER: usize = 32;

/// Calls `each` with every item, some time after `load` has read what `each` reads first.
///
/// Rows are larger than a cache line, and a loop over a few hundred thousand rows mostly waits for
/// their memory. A processor waits for many loads at once where nothing depends on them.
pub(crate) fn for_each_prefetched<T>(
    items: impl Iterator<Item = T>,
    load: impl Fn(&T) -> i64,
    mut each: impl FnMut(T),
) {
    let mut loaded = Vec::with_capacity(TOGETHER);
    items.for_each(|item| {
        loaded.push(item);
        if loaded.len() == TOGETHER {
            black_box(loaded.iter().fold(0, |all, item| all ^ load(item)));
            loaded.drain(..).for_each(&mut each);
        }
    });
    loaded.into_iter().for_each(each);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_comes_once_in_order() {
        for count in [0, 1, 31, 32, 33, 64, 100] {
            let mut found = Vec::new();
            for_each_prefetched(0..count, |item| *item, |item| found.push(item));
            assert_eq!(found, (0..count).collect::<Vec<_>>());
        }
    }
}
