//! Arrow's and Parquet's readers panic over some files that are corrupt: such a file is malformed, not more.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::Once,
};

use super::decode::Malformed;

thread_local! {
    static READING: Cell<bool> = const { Cell::new(false) };
}

/// What `read` answers; a panic of it is an error, and is not told on stderr.
pub(super) fn guarded<T>(read: impl FnOnce() -> Result<T, Malformed>) -> Result<T, Malformed> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let told = take_hook();
        set_hook(Box::new(move |panic| {
            if !READING.get() {
                told(panic);
            }
        }));
    });
    let before = READING.replace(true);
    // What it was reading is not read on after a panic.
    let result = catch_unwind(AssertUnwindSafe(read));
    READING.set(before);
    result.unwrap_or(Err(Malformed::Corrupt))
}
