//! The capabilities of `docs/privileges.md`, and a test that every file that grants some grants
//! these.

/// The capabilities for everything that netmon does, without `CAP_`.
pub(crate) const ALL: [&str; 5] = ["BPF", "PERFMON", "SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH"];

#[cfg(test)]
mod tests {
    use std::fs;

    use super::ALL;
    use crate::shell::root;

    /// Returns the capabilities in the line of `file` that begins with `start`.
    fn granted(file: &str, start: &str) -> Vec<String> {
        let text = fs::read_to_string(root().join(file)).expect(file);
        let line = text.lines().find_map(|line| line.trim().strip_prefix(start));
        let line = line.unwrap_or_else(|| panic!("{file} has no line {start}"));
        let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let words = words.filter(|word| !word.is_empty()).map(str::to_uppercase);
        words.map(|word| word.trim_start_matches("CAP_").to_owned()).collect()
    }

    #[test]
    fn every_file_grants_the_same() {
        assert_eq!(granted("dist/netmon.service", "CapabilityBoundingSet="), ALL);
        assert_eq!(granted("dist/netmon.service", "AmbientCapabilities="), ALL);
        assert_eq!(granted("dist/daemonset.yaml", "add:"), ALL);
        assert_eq!(granted("docs/containers.md", "--cap-add"), ALL);
    }
}
