//! `/proc/net/unix`: any bytes are a socket or a malformed line, never a panic, and a path is the
//! end of its line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon::testing::parse_unix;

fuzz_target!(|data: &[u8]| {
    if let Ok(socket) = parse_unix(data, 1) {
        assert_eq!(socket.netns, 1);
        if let Some(path) = socket.path {
            assert!(!path.is_empty());
            assert!(data.strip_suffix(&*path).is_some_and(|before| before.ends_with(b" ")));
        }
    }
});
