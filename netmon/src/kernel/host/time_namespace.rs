//! The time namespace of this process, which shifts `CLOCK_MONOTONIC` and `CLOCK_BOOTTIME`. The
//! clock of the kernel program, `bpf_ktime_get_ns`, is never shifted.

use std::{fs, io, os::unix::fs::MetadataExt};

/// The inode number of the initial time namespace (`PROC_TIME_INIT_INO`, linux/proc_ns.h).
const INITIAL: u64 = 0xEFFF_FFFA;

/// A time namespace that is not the initial one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) struct TimeNamespace {
    /// The inode number, as in `/proc/PID/ns/time`.
    pub inum: u64,
    /// The offsets of its clocks.
    pub ahead: Ahead,
}

/// The time by which clocks are ahead of those of the initial namespace, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::kernel) struct Ahead {
    /// Of `CLOCK_MONOTONIC`.
    pub monotonic: i64,
    /// Of `CLOCK_BOOTTIME`, in which `/proc/PID/stat` has the start of a process (`do_task_stat`,
    /// fs/proc/array.c).
    pub boottime: i64,
}

impl TimeNamespace {
    /// Returns the namespace of this process; nothing if that is the initial one, or if the kernel
    /// has no time namespaces.
    ///
    /// # Errors
    /// Fails if the offset cannot be learnt.
    pub(in crate::kernel) fn current() -> io::Result<Option<Self>> {
        let inum = match fs::metadata("/proc/self/ns/time") {
            Ok(metadata) => metadata.ino(),
            // Before Linux 5.6, and without CONFIG_TIME_NS.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unknown(&error.to_string())),
        };
        if inum == INITIAL {
            return Ok(None);
        }
        // The file has the offsets of the namespace that children will be in. Before Linux 6.3
        // `unshare --time netmon` leaves netmon itself in its parent's namespace.
        let parent = std::os::unix::process::parent_id();
        let process = ["self".to_owned(), parent.to_string()].into_iter().find(|process| {
            let children = fs::metadata(format!("/proc/{process}/ns/time_for_children"));
            children.is_ok_and(|children| children.ino() == inum)
        });
        let process = process.ok_or_else(|| unknown("only its children are in the known one"))?;
        let offsets = fs::read_to_string(format!("/proc/{process}/timens_offsets"))
            .map_err(|error| unknown(&error.to_string()))?;
        let ahead = |clock| offset(&offsets, clock).ok_or_else(|| unknown(&format!("{offsets:?}")));
        let ahead = Ahead { monotonic: ahead("monotonic")?, boottime: ahead("boottime")? };
        Ok(Some(Self { inum, ahead }))
    }
}

fn unknown(why: &str) -> io::Error {
    io::Error::other(format!("cannot learn the offset of this process' time namespace: {why}"))
}

/// Returns the offset of a clock, ns: a line `CLOCK SECONDS NANOSECONDS`
/// (`proc_timens_show_offsets`, kernel/time/namespace.c). The seconds may be negative.
fn offset(offsets: &str, clock: &str) -> Option<i64> {
    let words = offsets.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let numbers = words.filter_map(|words| match words[..] {
        [name, seconds, nanos] if name == clock => {
            Some((seconds.parse().ok()?, nanos.parse().ok()?))
        }
        _ => None,
    });
    let (seconds, nanos): (i64, i64) = numbers.take(1).next()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_have_either_sign() {
        let file = |seconds: &str, nanos: &str| {
            format!("monotonic  {seconds:>10} {nanos:>9}\nboottime            7         0\n")
        };
        let monotonic = |offsets: &str| offset(offsets, "monotonic");
        assert_eq!(offset(&file("1", "0"), "boottime"), Some(7_000_000_000));
        assert_eq!(monotonic(&file("86400", "0")), Some(86_400_000_000_000));
        assert_eq!(monotonic(&file("-1", "250000000")), Some(-750_000_000));
        for wrong in ["", "boottime 1 0", "monotonic 1", "monotonic x 0", "monotonic 1 0 0"] {
            assert_eq!(monotonic(wrong), None, "{wrong}");
        }
        assert_eq!(monotonic(&file("9223372036854775807", "0")), None);
    }
}
