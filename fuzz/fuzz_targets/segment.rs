//! A file of a journal: any bytes are events or an error, never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon::journal::events_of;

fuzz_target!(|data: &[u8]| {
    let _ = events_of(&data.to_vec().into());
});
