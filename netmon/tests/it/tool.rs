//! Programs of this host that only some tests take.

use std::{
    env,
    io::{self, Write},
};

/// Returns whether this host has a program. Without it, the test reports on standard error what it
/// does not check.
pub(super) fn has_tool(name: &str, check: &str) -> bool {
    let paths = env::var_os("PATH").unwrap_or_default();
    let is_there = env::split_paths(&paths).any(|directory| directory.join(name).is_file());
    if !is_there {
        // Tests print to a buffer that nothing shows when they pass. This goes past the buffer.
        let _ = writeln!(io::stderr(), "NOT CHECKED without {name}: {check}");
    }
    is_there
}
