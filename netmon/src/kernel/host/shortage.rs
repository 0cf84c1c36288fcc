//! Resources that a process or its host can lack, and the remedies.

use std::{
    error::Error,
    io,
    thread::{self, Scope, ScopedJoinHandle},
};

use nix::errno::Errno;

/// A resource that has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Shortage {
    /// The process has no free descriptor.
    #[error(
        "this process may open no more files (EMFILE): raise its limit, with `ulimit -n`, or \
         LimitNOFILE= in a unit"
    )]
    Descriptors,
    /// The host has no free file.
    #[error(
        "this host can open no more files (ENFILE): raise the sysctl fs.file-max, or end programs \
         that hold many files"
    )]
    Files,
    /// The process may start no thread.
    #[error(
        "no more threads can start (EAGAIN): raise pids.max of the cgroup, TasksMax= in a unit, or \
         `ulimit -u` of the user"
    )]
    Threads,
    /// The kernel has no memory for the process.
    #[error(
        "the kernel has no memory for it (ENOMEM): free memory, or raise the limit of the cgroup, \
         with MemoryMax= in a unit"
    )]
    Memory,
}

impl Shortage {
    /// Returns the shortage that is among the causes of `error`, if there is one.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(shortage) = error.downcast_ref() {
                return Some(*shortage);
            }
            next = match error.downcast_ref::<io::Error>() {
                Some(error) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::EMFILE) => return Some(Self::Descriptors),
                    Some(Errno::ENFILE) => return Some(Self::Files),
                    Some(Errno::ENOMEM) => return Some(Self::Memory),
                    // EAGAIN has many meanings: only `of_thread` knows that a thread was to start.
                    // The source of an error within an error leaves out the inner one.
                    _ => error.get_ref().map(|inner| inner as &(dyn Error + 'static)),
                },
                None => error.source(),
            };
        }
        None
    }

    /// Returns the error of starting a thread, in words that help.
    pub(crate) fn of_thread(error: io::Error) -> io::Error {
        match error.raw_os_error() {
            Some(libc::EAGAIN) => io::Error::other(Self::Threads),
            _ => error,
        }
    }
}

/// Starts a thread in `scope`. A refused thread is an error: `Scope::spawn` would panic.
///
/// # Errors
/// The kernel's answer, in words that help.
pub(crate) fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    thread::Builder::new().spawn_scoped(scope, work).map_err(Shortage::of_thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_found_among_the_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("opening")]
        struct Opening(#[source] io::Error);

        let os = io::Error::from_raw_os_error;
        for (errno, shortage) in [
            (libc::EMFILE, Some(Shortage::Descriptors)),
            (libc::ENFILE, Some(Shortage::Files)),
            (libc::ENOMEM, Some(Shortage::Memory)),
            (libc::EAGAIN, None),
            (libc::EPERM, None),
        ] {
            assert_eq!(Shortage::of(&os(errno)), shortage);
            assert_eq!(Shortage::of(&Opening(os(errno))), shortage);
            assert_eq!(Shortage::of(&io::Error::other(Opening(os(errno)))), shortage);
        }
        let refused = Shortage::of_thread(os(libc::EAGAIN));
        assert_eq!(Shortage::of(&refused), Some(Shortage::Threads));
        assert!(refused.to_string().contains("(EAGAIN): raise pids.max"), "{refused}");
        assert_eq!(Shortage::of(&Shortage::of_thread(os(libc::EPERM))), None);
    }
}
