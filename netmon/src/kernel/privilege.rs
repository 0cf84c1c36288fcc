//! What this process may do, asked before the kernel says a bare EPERM.

use std::fs;

use rustix::thread::{CapabilitySet, capabilities};

/// The capabilities that tracing needs and that this process lacks, by name; empty when all is well.
///
/// CAP_SYS_ADMIN contains both (Linux 5.8, include/linux/capability.h, `bpf_capable`).
pub(super) fn missing() -> Vec<&'static str> {
    let Ok(held) = capabilities(None) else { return Vec::new() };
    if held.effective.contains(CapabilitySet::SYS_ADMIN) {
        return Vec::new();
    }
    [(CapabilitySet::BPF, "CAP_BPF"), (CapabilitySet::PERFMON, "CAP_PERFMON")]
        .into_iter()
        .filter(|(capability, _)| !held.effective.contains(*capability))
        .map(|(_, name)| name)
        .collect()
}

/// Whether this program runs with more than its caller has: setuid, or file capabilities.
///
/// That is AT_SECURE of getauxval(3), here from `/proc/self/auxv`; in doubt, it does.
pub(super) fn is_secure() -> bool {
    #[expect(clippy::cast_possible_truncation, reason = "23")]
    const AT_SECURE: usize = libc::AT_SECURE as usize;
    const WORD: usize = size_of::<usize>();
    let word = |bytes: &[u8]| bytes.try_into().ok().map(usize::from_ne_bytes);
    fs::read("/proc/self/auxv").map_or(true, |auxv| {
        auxv.chunks_exact(2 * WORD)
            .find(|entry| word(&entry[..WORD]) == Some(AT_SECURE))
            .is_none_or(|entry| word(&entry[WORD..]) != Some(0))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_test_runs_with_no_more_than_its_caller_has() {
        assert!(!super::is_secure());
    }
}
