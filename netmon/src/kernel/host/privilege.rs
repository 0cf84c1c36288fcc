//! The privileges of this process: the purpose of each capability, the time that netmon keeps it,
//! and how netmon gives the others up.
//!
//! Capabilities and no_new_privs belong to a thread, and a new thread begins with those of its
//! parent. So a command is confined before it starts any thread, and each thread then narrows
//! itself to its duties. `docs/privileges.md` has the same table; `tests/it/privileges.rs` compares
//! the two.

use std::{fs, io, os::unix::fs::MetadataExt, panic, thread};

use rustix::{
    process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior},
    thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs},
};

use super::shortage::spawn_scoped;

/// A task of netmon that takes a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Loading the kernel program and attaching its hooks.
    Load,
    /// Locking the memory that loading takes, where the kernel counts it as locked: before Linux
    /// 5.11.
    Lock,
    /// Using the loaded maps, iterators and counters, where that takes a capability too: before
    /// Linux 6.0 (`__sys_bpf`, kernel/bpf/syscall.c; fdinfo, fs/proc/fd.c).
    Use,
    /// Finding and entering network namespaces.
    Enter,
    /// Reading in `/proc` which process holds which socket.
    Look,
    /// Reading the formats of tracepoints, an object, or a journal that this user may not read.
    Open,
}

impl Duty {
    /// Every duty that a command may have.
    pub(crate) const ALL: [Self; 6] =
        [Self::Load, Self::Lock, Self::Use, Self::Enter, Self::Look, Self::Open];

    /// Returns whether this kernel asks for a capability for this duty.
    fn applies_here(self) -> bool {
        match self {
            Self::Lock => is_before(5, 11),
            Self::Use => is_before(6, 0),
            _ => true,
        }
    }
}

/// A capability, and the consequence of its absence.
#[derive(Debug)]
pub struct Capability {
    /// The name, as in capabilities(7).
    pub name: &'static str,
    /// The purpose that netmon has for the capability.
    pub purpose: &'static str,
    /// The time until which netmon keeps the capability.
    pub kept: &'static str,
    /// The loss without the capability.
    pub without: &'static str,
    duties: &'static [Duty],
    set: CapabilitySet,
    /// A capability that includes this one.
    implied_by: CapabilitySet,
}

/// Every capability that netmon uses.
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
        without: "connections from before the start, and lost ones, are known in netmon's own \
                  network namespace only; transitions are seen in all of them",
        duties: &[Duty::Enter],
        set: CapabilitySet::SYS_ADMIN,
        implied_by: CapabilitySet::SYS_ADMIN,
    },
    Capability {
        name: "CAP_SYS_PTRACE",
        purpose: "finding the network namespaces of other users' processes; in `/proc`, their \
                  executables, namespaces, and the sockets that they hold",
        kept: "throughout",
        without: "of other network namespaces, those with a name are known only; of other users' \
                  processes from before, the executables and namespaces are not; where `/proc` is \
                  read, sockets of other users have no owner",
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
    /// Returns whether this thread has the capability, or one that includes it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        // A failed query does not prove that a capability is missing.
        effective().is_none_or(|held| held.intersects(self.set | self.implied_by))
    }

    /// Returns whether this kernel asks for the capability at all.
    #[must_use]
    pub fn is_of_use(&self) -> bool {
        self.is_for(&Duty::ALL)
    }

    pub(in crate::kernel) fn is_for(&self, duties: &[Duty]) -> bool {
        self.duties.iter().any(|duty| duties.contains(duty) && duty.applies_here())
    }
}

/// Returns the names of the capabilities that `duty` takes and this thread lacks.
#[must_use]
pub(crate) fn missing(duty: Duty) -> Vec<&'static str> {
    let lacks = |capability: &&Capability| capability.is_for(&[duty]) && !capability.is_held();
    CAPABILITIES.iter().filter(lacks).map(|capability| capability.name).collect()
}

/// The inode number of the initial user namespace (`PROC_USER_INIT_INO`, linux/proc_ns.h).
const INITIAL: u64 = 0xEFFF_FFFD;

/// Returns whether capabilities of this process count for every object of the host.
fn is_on_host() -> bool {
    // A kernel without user namespaces has no such file.
    fs::metadata("/proc/self/ns/user").map_or(true, |namespace| namespace.ino() == INITIAL)
}

/// Returns the end of a message about network namespaces that netmon knows and does not enter.
#[must_use]
pub(crate) fn advice_to_enter() -> String {
    // Only open sockets keep such a namespace. Linux 6.18 opens it by its cookie, and no other
    // version does (since 6.19: `ns_get_unless_inactive`, include/linux/ns_common.h).
    if missing(Duty::Enter).is_empty() && is_on_host() {
        return "; no process, name or mount leads there".into();
    }
    advice(Duty::Enter)
}

/// Returns the end of an error message: the missing capabilities that `duty` takes, or the advice
/// to run netmon outside the container.
#[must_use]
pub(crate) fn advice(duty: Duty) -> String {
    match missing(duty).as_slice() {
        [] if is_on_host() => "; a security module of the kernel may forbid it".into(),
        // netmon has the capabilities, but in another user namespace than the object in question.
        [] => {
            "; netmon's privileges in this container do not count there: run it on the host".into()
        }
        missing => format!("; that takes {}: use sudo", missing.join(" and ")),
    }
}

/// Gives up every capability that a command with these `duties` does not use, and the way to get
/// more. Must be called before there are threads.
///
/// # Errors
/// The kernel's answer. The caller must then not continue with the remaining privileges.
pub(crate) fn confine(duties: &[Duty]) -> io::Result<()> {
    set_no_new_privs(true)?;
    narrow(duties)?;
    // Threads that have given up everything share memory with threads that have not. So no process
    // may attach to the former if it may not attach to the latter (`__ptrace_may_access`,
    // kernel/ptrace.c).
    if effective().is_none_or(|held| !held.is_empty()) {
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    }
    Ok(())
}

/// Gives up, for good, every capability that this thread does not need for its `duties`. The
/// thread's later children have no more.
///
/// # Errors
/// The kernel's answer.
pub(crate) fn narrow(duties: &[Duty]) -> io::Result<()> {
    let held = capabilities(None)?.effective;
    let kept =
        CAPABILITIES.iter().filter(|capability| capability.is_for(duties)).map(|capability| {
            if held.contains(capability.set) { capability.set } else { capability.implied_by }
        });
    let kept = held & kept.fold(CapabilitySet::empty(), |all, set| all | set);
    let inheritable = CapabilitySet::empty();
    // A capability that is not inheritable is not ambient either.
    Ok(set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })?)
}

/// Runs `work` on a thread that has only the capabilities of its `duties`, as have the threads that
/// `work` starts. Returns the result of `work`.
///
/// # Errors
/// The kernel's answer to starting the thread, or to giving up the other capabilities.
pub(crate) fn narrowed<T: Send>(duties: &[Duty], work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let narrowed = move || narrow(duties).map(|()| work());
    let result = thread::scope(|scope| io::Result::Ok(spawn_scoped(scope, narrowed)?.join()))?;
    result.unwrap_or_else(|cause| panic::resume_unwind(cause))
}

/// Returns advice for a lack of memory, or nothing where locked memory cannot be the reason.
pub(in crate::kernel) fn memory_advice() -> Option<&'static str> {
    (Duty::Lock.applies_here() && getrlimit(Resource::Memlock).current.is_some()).then_some(
        "before Linux 5.11 the memory of BPF counts as locked memory: use `ulimit -l unlimited`, \
         or LimitMEMLOCK=infinity in a unit, or CAP_SYS_RESOURCE",
    )
}

fn effective() -> Option<CapabilitySet> {
    capabilities(None).ok().map(|held| held.effective)
}

pub(in crate::kernel) fn is_before(major: u32, minor: u32) -> bool {
    let name = rustix::system::uname();
    release(&name.release().to_string_lossy()).is_none_or(|release| release < (major, minor))
}

/// Returns the first two numbers of a release.
fn release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Returns whether this program has more privileges than its caller: setuid, or file capabilities.
///
/// This is AT_SECURE of getauxval(3), read from `/proc/self/auxv`. In doubt the answer is yes.
pub(crate) fn is_secure() -> bool {
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
            let (held, child_sets) = narrowed(duties, || {
                let sets = || capabilities(None).expect("capget");
                (sets(), thread::spawn(sets).join().expect("a thread"))
            })
            .expect("capset");
            assert_eq!(held, child_sets);
            assert_eq!(held.effective, held.permitted);
            assert!(held.inheritable.is_empty());
            let (due, other): (Vec<_>, Vec<_>) =
                CAPABILITIES.iter().partition(|capability| capability.is_for(duties));
            for capability in &due {
                let has =
                    |set: CapabilitySet| set.intersects(capability.set | capability.implied_by);
                assert_eq!(has(held.effective), has(before), "{} for {duties:?}", capability.name);
            }
            // No other capability is held, except one that includes a needed one.
            let stands_in = |set| due.iter().any(|capability| capability.implied_by == set);
            for capability in other.iter().filter(|capability| !stands_in(capability.set)) {
                assert!(
                    !held.effective.contains(capability.set),
                    "{} for {duties:?}",
                    capability.name
                );
            }
            assert!(before.contains(held.effective));
        }
        assert_eq!(capabilities(None).expect("capget").effective, before);
    }

    #[test]
    fn every_duty_has_a_capability_and_every_capability_a_bit_of_its_own() {
        for duty in Duty::ALL {
            assert!(
                CAPABILITIES.iter().any(|capability| capability.duties.contains(&duty)),
                "{duty:?}"
            );
        }
        let all = CAPABILITIES
            .iter()
            .fold(CapabilitySet::empty(), |all, capability| all | capability.set);
        assert_eq!(all.bits().count_ones() as usize, CAPABILITIES.len());
    }
}
