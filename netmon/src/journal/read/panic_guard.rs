//! A guard against panics of Arrow's and Parquet's readers. Some corrupt files make the readers
//! panic; netmon reports such a file as malformed.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::Once,
};

use crate::journal::error::Malformed;

thread_local! {
    static READING: Cell<bool> = const { Cell::new(false) };
}

/// Returns the result of `read`. A panic of `read` becomes an error, and is not printed on stderr.
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
    // After a panic, the objects that were in use are not read again.
    let result = catch_unwind(AssertUnwindSafe(read));
    READING.set(before);
    result.unwrap_or(Err(Malformed::Corrupt))
}
