//! The reasons why tracing cannot start, with advice.

use std::{error::Error, io, path::PathBuf};

use aya::{EbpfError, programs::ProgramError, sys::SyscallError};
use nix::errno::Errno;

use super::{
    btf_types::{LayoutError, VMLINUX},
    tracefs::FormatError,
};
use crate::kernel::{
    host::{file_systems::MissingFileSystem, privilege, shortage::Shortage},
    ring::rings::RingError,
};

/// The environment variable that names another object, for packagers and tests.
pub(in crate::kernel) const OBJECT_VARIABLE: &str = "NETMON_EBPF_OBJECT";

/// An error that was not meant to leave the kernel, so that no C library has its name
/// (include/linux/errno.h).
const ENOTSUPP: i32 = 524;

/// A reason why tracing cannot start. Each message includes advice.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// Capabilities are missing.
    #[error("this takes {}, which this process lacks: run it with sudo", .0.join(" and "))]
    Privilege(Vec<&'static str>),
    /// A file system of the kernel is not mounted.
    #[error(transparent)]
    FileSystem(#[from] MissingFileSystem),
    /// The kernel has no BPF.
    #[error(
        "the kernel ({}) has no bpf(2) (ENOSYS), which this takes: run a kernel built with \
         CONFIG_BPF_SYSCALL=y; if a container hides the system call, run netmon on the host",
        release()
    )]
    NoBpf,
    /// The kernel publishes no types.
    #[error(
        "this kernel has no BTF ({VMLINUX} is missing), which this takes: run a kernel built with \
         CONFIG_DEBUG_INFO_BTF=y, as the large distributions have built theirs since 2021"
    )]
    NoBtf,
    /// The process or its host lacks a resource.
    #[error("cannot load {what}: {shortage}")]
    Shortage {
        /// The map, program, hook, file or thread.
        what: String,
        /// The resource.
        shortage: Shortage,
    },
    /// The kernel's types are not as expected.
    #[error("{source}; netmon needs Linux 5.10 or newer, this is {}", release())]
    Layout {
        /// The missing part.
        source: LayoutError,
    },
    /// The classic tracepoints cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The ring buffer could not be made.
    #[error(
        "the kernel cannot make a ring buffer of {size} bytes ({source}): choose a smaller \
         --buffer{}",
        privilege::memory_advice().map(|advice| format!("; {advice}")).unwrap_or_default()
    )]
    Buffer {
        /// The requested size.
        size: u32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The object named by the environment is unusable.
    #[error("{OBJECT_VARIABLE}={}: {source}", .path.display())]
    Object {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The environment names an object that this process must not load.
    #[error(
        "{OBJECT_VARIABLE} is obeyed only for root, in a program without file capabilities: \
         unset it"
    )]
    ObjectRefused,
    /// The kernel refused the program or a hook.
    #[error(
        "the kernel ({}) refused {what}: {reason}; `netmon doctor` says what works here",
        release()
    )]
    Refused {
        /// The map, program or hook.
        what: String,
        /// The kernel's answer, one line.
        reason: String,
        /// The kernel's answer as a number, if there is one.
        errno: Option<i32>,
    },
}

impl LoadError {
    /// Returns the error for a part that the object lacks.
    pub(in crate::kernel) fn missing(what: &str, kind: &str) -> Self {
        let reason = format!("the object has no such {kind}");
        Self::Refused { what: what.to_owned(), reason, errno: None }
    }

    /// Returns the error of the first calls of bpf(2), which make the maps of the object.
    pub(super) fn of_object(error: &EbpfError) -> Self {
        match refused("the object", error) {
            Self::Refused { errno: Some(libc::ENOSYS), .. } => Self::NoBpf,
            other => other,
        }
    }

    /// Returns the reason why the kernel's types cannot be read.
    pub(in crate::kernel) fn no_types() -> Self {
        MissingFileSystem::check().map_or_else(Self::from, |()| Self::NoBtf)
    }

    /// Returns the bare fact without advice, for a list of findings.
    pub(in crate::kernel) fn short(&self) -> String {
        match self {
            Self::Refused { what, reason, .. } => format!("the kernel refused {what}: {reason}"),
            Self::Privilege(missing) => format!("this process lacks {}", missing.join(" and ")),
            Self::NoBtf => format!("this kernel has no BTF ({VMLINUX} is missing)"),
            Self::NoBpf => "this kernel has no bpf(2) (ENOSYS)".to_owned(),
            Self::FileSystem(missing) => missing.fact().to_owned(),
            other => other.to_string(),
        }
    }

    /// Returns whether another kind of tracing may work.
    pub(super) const fn allows_fallback(&self) -> bool {
        matches!(self, Self::NoBtf | Self::Layout { .. } | Self::Refused { .. })
    }
}

impl From<LayoutError> for LoadError {
    fn from(source: LayoutError) -> Self {
        match Shortage::of(&source) {
            Some(shortage) => Self::Shortage { what: "the kernel's types".to_owned(), shortage },
            None => Self::Layout { source },
        }
    }
}

impl From<RingError> for LoadError {
    fn from(error: RingError) -> Self {
        match error {
            RingError::Memory { size, source } => match Shortage::of(&source) {
                None | Some(Shortage::Memory) => Self::Buffer { size, source },
                Some(shortage) => Self::Shortage { what: "the ring buffers".to_owned(), shortage },
            },
            RingError::Refused { what, source } => refused(&what, &*source),
        }
    }
}

/// Returns the kernel's answer by name and in words: `EPERM (Operation not permitted)`.
pub(in crate::kernel) fn errno_text(error: &io::Error) -> String {
    match error.raw_os_error() {
        None => error.to_string(),
        // An answer to a hook on a function, by Linux 6.1 on arm64.
        Some(ENOTSUPP) => "ENOTSUPP (Operation is not supported)".to_owned(),
        Some(errno) => {
            let errno = Errno::from_raw(errno);
            format!("{errno:?} ({})", errno.desc())
        }
    }
}

/// Returns the last message of the verifier, which is the complaint; nothing if the log is empty.
fn verifier_complaint(log: &str) -> Option<&str> {
    // The log ends with statistics: `processed 5 insns …`, and the verification time.
    const STATISTICS: [&str; 4] =
        ["processed ", "verification time ", "stack depth ", "max_states_per_insn "];
    let is_complaint =
        |line: &&str| !line.is_empty() && !STATISTICS.iter().any(|prefix| line.starts_with(prefix));
    log.lines().rev().map(str::trim).find(is_complaint)
}

/// Returns the refusal in one line, its causes joined. The verifier's log goes to the debug log. A
/// shortage is no refusal: another kernel would not help.
pub(in crate::kernel) fn refused(what: &str, error: &(dyn Error + 'static)) -> LoadError {
    if let Some(shortage) = Shortage::of(error) {
        log::debug!("{what}: {error}");
        return LoadError::Shortage { what: what.to_owned(), shortage };
    }
    let mut reasons = Vec::new();
    let mut errno = None;
    let mut advice = None;
    // Set once the reasons include those of the sources that follow.
    let mut is_covered = false;
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        log::debug!("{what}: {text}");
        let (reason, covers_sources) = match (error.downcast_ref(), error.downcast_ref()) {
            (Some(ProgramError::LoadError { io_error, verifier_log }), _) => {
                let complaint =
                    verifier_complaint(&verifier_log.to_string()).map(|line| format!(": {line}"));
                (errno_text(io_error) + &complaint.unwrap_or_default(), true)
            }
            // The name of the call, which would come before the answer, is in the debug log.
            (Some(ProgramError::SyscallError(SyscallError { io_error, .. })), _) => {
                (errno_text(io_error), true)
            }
            (_, Some(error)) => (errno_text(error), false),
            _ => (text.lines().next().unwrap_or_default().trim_end_matches(':').to_owned(), false),
        };
        if !is_covered && reasons.last() != Some(&reason) {
            reasons.push(reason);
        }
        is_covered |= covers_sources;
        if let Some(error) = error.downcast_ref::<io::Error>() {
            errno = error.raw_os_error().or(errno);
            if error.kind() == io::ErrorKind::PermissionDenied {
                advice = privilege::memory_advice().map(str::to_owned);
            }
        }
        next = error.source();
    }
    reasons.extend(advice);
    LoadError::Refused { what: what.to_owned(), reason: reasons.join(": "), errno }
}

fn release() -> String {
    format!("Linux {}", rustix::system::uname().release().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_no_refusal_of_the_kernel() {
        let error = |errno| ProgramError::LoadError {
            io_error: io::Error::from_raw_os_error(errno),
            verifier_log: aya_obj::VerifierLog::new(String::new()),
        };
        for (errno, words) in [
            (libc::EMFILE, "cannot load a hook: this process may open no more files (EMFILE): "),
            (libc::ENFILE, "cannot load a hook: this host can open no more files (ENFILE): "),
            (libc::ENOMEM, "cannot load a hook: the kernel has no memory for it (ENOMEM): "),
        ] {
            let error = refused("a hook", &error(errno));
            let text = error.to_string();
            assert!(text.starts_with(words) && !text.contains("Linux"), "{text}");
            assert!(!error.allows_fallback(), "the basic tier would lack the same");
        }
        let source = io::Error::from_raw_os_error(libc::EMFILE);
        let text = LoadError::from(RingError::Memory { size: 4_096, source }).to_string();
        assert!(text.starts_with("cannot load the ring buffers: this process may"), "{text}");
        let source = io::Error::from_raw_os_error(libc::ENOMEM);
        let text = LoadError::from(RingError::Memory { size: 4_096, source }).to_string();
        assert!(text.contains("choose a smaller --buffer"), "{text}");
    }

    #[test]
    fn the_kernels_answer_is_short_and_has_a_name() {
        let error = |errno, log: &str| ProgramError::LoadError {
            io_error: io::Error::from_raw_os_error(errno),
            verifier_log: aya_obj::VerifierLog::new(log.to_owned()),
        };
        let reason = |error: &ProgramError| match refused("a hook", error) {
            LoadError::Refused { reason, errno, .. } => (reason, errno),
            other => panic!("{other}"),
        };
        let (text, errno) = reason(&error(libc::EPERM, ""));
        assert_eq!((text.as_str(), errno), ("EPERM (Operation not permitted)", Some(libc::EPERM)));
        // Linux 6.1 on arm64 loads hooks on functions, and refuses to attach them.
        let io_error = io::Error::from_raw_os_error(524);
        let attaching = SyscallError { call: "bpf_raw_tracepoint_open", io_error };
        let (text, errno) = reason(&attaching.into());
        assert_eq!((text.as_str(), errno), ("ENOTSUPP (Operation is not supported)", Some(524)));
        let log = "func#0 @0\n0: (85) call bpf_get_socket_cookie#46\nunknown func \
                   bpf_get_socket_cookie#46\nprocessed 1 insns (limit 1000000)\n\n";
        let (text, errno) = reason(&error(libc::EINVAL, log));
        assert_eq!(
            (text.as_str(), errno),
            (
                "EINVAL (Invalid argument): unknown func bpf_get_socket_cookie#46",
                Some(libc::EINVAL)
            )
        );
    }
}
