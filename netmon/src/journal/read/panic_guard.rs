//! Arrow's and Parquet's readers panic over some files that are corrupt: such a file is malformed,
//! not more.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::Once,
};

use crate::journal::error::Malformed;

thread_local! {
    static READING: Cell<bool> = const { Cell::new(false) };
}

/// Returns what `read` returns; a panic of it is an error, and is not reported on stderr.
pub(super) fn catch_reader_panic<T>(
    read: impl FnOnce() -> Result<T, Malformed>,
) -> Result<T, Malformed> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !READING.get() {
                before(panic);
            }
        }));
    });
    let before = READING.replace(true);
    // What it was reading is not read on after a panic.
    let result = catch_unwind(AssertUnwindSafe(read));
    READING.set(before);
    result.unwrap_or(Err(Malformed::Corrupt))
}
