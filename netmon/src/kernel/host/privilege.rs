//! The privileges of this process: the purpose of each capability, how long it is kept, and how the
//! others go.
//!
//! Capabilities and no_new_privs are a thread's, and a thread begins with those of the one that
//! started it: so a command is confined before it has any threads, and each narrows itself to its
//! duties. `docs/privileges.md` has the same table, which `tests/privileges.rs` compares.

use std::{fs, io, panic, thread};

use rustix::{
    process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior},
    thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs},
};

/// Something that netmon does and that takes a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Loading the kernel program and attaching its hooks.
    Load,
    /// Having as much memory locked as that takes, where the kernel counts it so: before Linux
    /// 5.11.
    Lock,
    /// Using what is loaded, its maps, iterators and counters, where that takes a capability too:
    /// before Linux 6.0 (`__sys_bpf`, kernel/bpf/syscall.c; fdinfo, fs/proc/fd.c).
    Use,
    /// Finding network namespaces, and entering them.
    Enter,
    /// Reading in `/proc` who holds which socket.
    Look,
    /// Reading the formats of tracepoints, an object, or a journal that only others may read.
    Open,
}

impl Duty {
    /// All that a command may come to.
    pub const ALL: [Self; 6] =
        [Self::Load, Self::Lock, Self::Use, Self::Enter, Self::Look, Self::Open];

    /// Whether this kernel asks for a capability there.
    fn applies_here(self) -> bool {
        match self {
            Self::Lock => is_before(5, 11),
            Self::Use => is_before(6, 0),
            _ => true,
        }
    }
}

/// A capability, and what becomes of netmon without it.
#[derive(Debug)]
pub struct Capability {
    /// As in capabilities(7).
    pub name: &'static str,
    /// What netmon does with it.
    pub purpose: &'static str,
    /// How long it is kept.
    pub kept: &'static str,
    /// What is lost without it.
    pub without: &'static str,
    duties: &'static [Duty],
    set: CapabilitySet,
    /// What contains it.
    implied_by: CapabilitySet,
}

/// Every capability that netmon has a use for.
pub static CAPABILITIES: [Capability; 6] = [
    Capability {
        name: "CAP_BPF",
        purpose: "loading the kernel program",
        kept: "until attached; before Linux 6.0 throughout",
        without: "nothing is traced; `snapshot` reads `/proc`",
        duties: &[Duty::Load, Duty::Use],
        set: CapabilitySet::BPF,
        implied_by: CapabilitySet::SYS_ADMIN,
    },
    Capability {
        name: "CAP_PERFMON",
        purpose: "reading the kernel's memory in that program",
        kept: "until attached",
        without: "nothing is traced; `snapshot` reads `/proc`",
        duties: &[Duty::Load],
        set: CapabilitySet::PERFMON,
        implied_by: CapabilitySet::SYS_ADMIN,
    },
    Capability {
        name: "CAP_SYS_ADMIN",
        purpose: "entering other network namespaces",
        kept: "throughout",
        without: "what was there before, and what was lost, is known of netmon's own network namespace only; \
                  transitions are seen in all of them",
        duties: &[Duty::Enter],
        set: CapabilitySet::SYS_ADMIN,
        implied_by: CapabilitySet::SYS_ADMIN,
    },
    Capability {
        name: "CAP_SYS_PTRACE",
        purpose: "finding the network namespaces of other users' processes; in `/proc`, the sockets that they hold",
        kept: "throughout",
        without: "of other network namespaces, those with a name are known only; where `/proc` is read, sockets of \
                  other users have no owner",
        duties: &[Duty::Enter, Duty::Look],
        set: CapabilitySet::SYS_PTRACE,
        implied_by: CapabilitySet::SYS_PTRACE,
    },
    Capability {
        name: "CAP_DAC_READ_SEARCH",
        purpose: "opening `/proc/PID/fd` of other users, tracefs, and journals of other users",
        kept: "until attached; before Linux 6.0, or where `/proc` is read, throughout",
        without: "where `/proc` is read, sockets of other users have no owner",
        duties: &[Duty::Use, Duty::Look, Duty::Open],
        set: CapabilitySet::DAC_READ_SEARCH,
        implied_by: CapabilitySet::DAC_OVERRIDE,
    },
    Capability {
        name: "CAP_SYS_RESOURCE",
        purpose: "raising RLIMIT_MEMLOCK, before Linux 5.11 only",
        kept: "until attached",
        without: "before Linux 5.11, the limit has to be high enough: `ulimit -l unlimited`",
        duties: &[Duty::Lock],
        set: CapabilitySet::SYS_RESOURCE,
        implied_by: CapabilitySet::SYS_RESOURCE,
    },
];

impl Capability {
    /// Whether this thread has it, or what contains it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        // Whoever cannot ask is not told that something is missing.
        effective().is_none_or(|held| held.intersects(self.set | self.implied_by))
    }

    /// Whether this kernel asks for it at all.
    #[must_use]
    pub fn is_of_use(&self) -> bool {
        self.is_for(&Duty::ALL)
    }

    pub(in crate::kernel) fn is_for(&self, duties: &[Duty]) -> bool {
        self.duties.iter().any(|duty| duties.contains(duty) && duty.applies_here())
    }
}

/// The capabilities that `duty` takes and that this thread lacks, by name; empty when all is well.
#[must_use]
pub fn missing(duty: Duty) -> Vec<&'static str> {
    let lacks = |known: &&Capability| known.is_for(&[duty]) && !known.is_held();
    CAPABILITIES.iter().filter(lacks).map(|known| known.name).collect()
}

/// How a sentence ends that says what could not be done: with what `duty` takes, where that is
/// missing.
#[must_use]
pub fn advice(duty: Duty) -> String {
    match missing(duty).as_slice() {
        // In another user namespace than what it is to look into.
        [] => {
            "; what netmon may do in this container does not count there: run it on the host".into()
        }
        missing => format!("; that takes {}: use sudo", missing.join(" and ")),
    }
}

/// Gives up all that netmon has no use for, and the way to get more; to be called before there are
/// threads.
///
/// # Errors
/// What the kernel answered: then nothing should be done with what is left.
pub fn confine() -> io::Result<()> {
    set_no_new_privs(true)?;
    narrow(&Duty::ALL)?;
    // Threads that have given everything up share their memory with those that have not: nobody may
    // get in through them who could not through the others (`__ptrace_may_access`,
    // kernel/ptrace.c).
    if effective().is_none_or(|held| !held.is_empty()) {
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    }
    Ok(())
}

/// Gives up what this thread does not need for its `duties`, for good. Threads that it starts have
/// no more.
///
/// # Errors
/// What the kernel answered.
pub fn narrow(duties: &[Duty]) -> io::Result<()> {
    let held = capabilities(None)?.effective;
    let kept = CAPABILITIES
        .iter()
        .filter(|known| known.is_for(duties))
        .map(|known| if held.contains(known.set) { known.set } else { known.implied_by });
    let kept = held & kept.fold(CapabilitySet::empty(), |all, set| all | set);
    let inheritable = CapabilitySet::empty();
    // What is not inheritable is not ambient either.
    Ok(set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })?)
}

/// Does `work` on a thread that has no more than its `duties` take; nor have those that it starts.
/// Returns its answer.
///
/// # Errors
/// What the kernel answered when that was to be given up.
pub fn narrowed<T: Send>(duties: &[Duty], work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let narrowed = move || narrow(duties).map(|()| work());
    let result = thread::scope(|scope| scope.spawn(narrowed).join());
    result.unwrap_or_else(|cause| panic::resume_unwind(cause))
}

/// What to do when the kernel does not give memory; nothing where that cannot be the reason.
pub(in crate::kernel) fn memory_advice() -> Option<&'static str> {
    (Duty::Lock.applies_here() && getrlimit(Resource::Memlock).current.is_some()).then_some(
        "before Linux 5.11 what BPF takes counts as locked memory: `ulimit -l unlimited`, or \
         LimitMEMLOCK=infinity in a unit, or CAP_SYS_RESOURCE",
    )
}

fn effective() -> Option<CapabilitySet> {
    capabilities(None).ok().map(|held| held.effective)
}

pub(in crate::kernel) fn is_before(major: u32, minor: u32) -> bool {
    let name = rustix::system::uname();
    release(&name.release().to_string_lossy()).is_none_or(|release| release < (major, minor))
}

/// The first two numbers of a release.
fn release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Whether this program runs with more than its caller has: setuid, or file capabilities.
///
/// That is AT_SECURE of getauxval(3), here from `/proc/self/auxv`; in doubt, it does.
pub(in crate::kernel) fn is_secure() -> bool {
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
    use super::*;

    #[test]
    fn a_test_runs_with_no_more_than_its_caller_has() {
        assert!(!is_secure());
    }

    #[test]
    fn releases_are_numbers_and_more() {
        assert_eq!(release("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(release("5.10.0-28-amd64"), Some((5, 10)));
        assert_eq!(release("6.1-rc3"), Some((6, 1)));
        assert_eq!(release("unknown"), None);
        assert!(release("5.9.1") < Some((5, 11)) && release("10.0") > Some((6, 0)));
    }

    #[test]
    fn a_thread_has_what_its_duties_take_and_others_keep_theirs() {
        let before = capabilities(None).expect("capget").effective;
        for duties in [&[][..], &[Duty::Enter], &[Duty::Use, Duty::Enter, Duty::Look]] {
            let (held, of_a_child) = narrowed(duties, || {
                let of = || capabilities(None).expect("capget");
                (of(), thread::spawn(of).join().expect("a thread"))
            })
            .expect("capset");
            assert_eq!(held, of_a_child);
            assert_eq!(held.effective, held.permitted);
            assert!(held.inheritable.is_empty());
            let (due, other): (Vec<_>, Vec<_>) =
                CAPABILITIES.iter().partition(|known| known.is_for(duties));
            for known in &due {
                let of = |set: CapabilitySet| set.intersects(known.set | known.implied_by);
                assert_eq!(of(held.effective), of(before), "{} for {duties:?}", known.name);
            }
            // Nothing else, but for what stands in.
            let stands_in = |set| due.iter().any(|known| known.implied_by == set);
            for known in other.iter().filter(|known| !stands_in(known.set)) {
                assert!(!held.effective.contains(known.set), "{} for {duties:?}", known.name);
            }
            assert!(before.contains(held.effective));
        }
        assert_eq!(capabilities(None).expect("capget").effective, before);
    }

    #[test]
    fn every_duty_has_a_capability_and_every_capability_a_bit_of_its_own() {
        for duty in Duty::ALL {
            assert!(CAPABILITIES.iter().any(|known| known.duties.contains(&duty)), "{duty:?}");
        }
        let all = CAPABILITIES.iter().fold(CapabilitySet::empty(), |all, known| all | known.set);
        assert_eq!(all.bits().count_ones() as usize, CAPABILITIES.len());
    }
}
