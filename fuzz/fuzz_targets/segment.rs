//! A file of a journal: any bytes are entries or an error, never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon::testing::entries_of;

fuzz_target!(|data: &[u8]| {
    let _ = entries_of(&data.to_vec().into());
});
