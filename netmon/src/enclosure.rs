//! Closes to a thread what its work does not take, with Landlock (landlock(7)).
//!
//! An enclosed thread opens only the files that stay within its reach. It binds and connects no TCP
//! socket, connects to no abstract unix socket of another process, and sends no signal to one. Its
//! open descriptors stay as they are. An enclosure is for good, and holds for the threads that the
//! thread starts.
//!
//! A thread that reads `/proc/PID/exe` or namespaces of other processes, or calls pidfd_getfd(2),
//! must never be enclosed: every domain of Landlock forbids that (`hook_ptrace_access_check`,
//! security/landlock/task.c).
//!
//! A kernel or a container without Landlock is no error: the thread then works as before.

use std::{
    fmt,
    fs::File,
    io,
    os::fd::BorrowedFd,
    panic,
    thread::{self, Builder},
};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, PathBeneath,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
    Scope, make_bitflags, path_beneath_rules,
};

/// The newest version of Landlock of which netmon was tested with every right.
const TESTED: ABI = ABI::V7;
/// The public files that a reader of a journal may open while it reads: time zones and services.
/// jiff looks for time zones in these directories, and in `$TZDIR`.
const PUBLIC: [&str; 5] = [
    "/etc/localtime",
    "/etc/services",
    "/etc/zoneinfo",
    "/usr/share/lib/zoneinfo",
    "/usr/share/zoneinfo",
];

/// The name that Rust gives the main thread.
const MAIN: &str = "main";

/// The files that an enclosed thread may open.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reach<'a> {
    /// No file.
    Nothing,
    /// Files below a directory, to read, and the public files of this host.
    Read(BorrowedFd<'a>),
    /// Files below a directory, to read, write, make, rename and remove.
    Write(BorrowedFd<'a>),
}

impl fmt::Display for Reach<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "none",
            Self::Read(_) => "the journal, to read",
            Self::Write(_) => "the journal, to write",
        })
    }
}

/// Closes everything to this thread but the files within `reach`, where the kernel can.
pub(crate) fn enclose(reach: Reach<'_>) {
    let current = thread::current();
    let name = current.name().filter(|name| *name != MAIN).unwrap_or("netmon");
    match restrict(reach) {
        Ok(_) => log::debug!("enclosed: {name}, which may open: {reach}"),
        Err(why) => log::debug!("not enclosed: {name}, as {why}"),
    }
}

/// Runs `work` on a thread that is enclosed, and returns the result. Where no thread can start, the
/// calling thread does the work, as it is.
pub(crate) fn enclosed<T: Send>(reach: Reach<'_>, mut work: impl FnMut() -> T + Send) -> T {
    let result = thread::scope(|scope| {
        let enclosed = || {
            enclose(reach);
            work()
        };
        io::Result::Ok(namesake().spawn_scoped(scope, enclosed)?.join())
    });
    match result {
        Ok(result) => result.unwrap_or_else(|cause| panic::resume_unwind(cause)),
        Err(error) => {
            log::debug!("not enclosed, as no thread can start: {error}");
            work()
        }
    }
}

/// Tries an enclosure on a thread of its own. Returns the version of Landlock.
///
/// # Errors
/// The reason why threads of this process are not enclosed.
pub(crate) fn probe() -> Result<u32, String> {
    let attempt = || {
        let version = restrict(Reach::Nothing)?;
        match File::open("/") {
            Ok(_) => Err("the kernel does not heed it".to_owned()),
            Err(_) => Ok(version),
        }
    };
    thread::scope(|scope| {
        let thread = namesake().spawn_scoped(scope, attempt).map_err(|error| error.to_string())?;
        thread.join().unwrap_or_else(|cause| panic::resume_unwind(cause))
    })
}

/// Returns a builder of a thread with the name of this thread. The kernel gives a thread without a
/// name that of its parent.
fn namesake() -> Builder {
    match thread::current().name() {
        Some(name) if name != MAIN => Builder::new().name(name.to_owned()),
        _ => Builder::new(),
    }
}

/// Restricts this thread. Returns the version of Landlock, or the reason why nothing is restricted.
fn restrict(reach: Reach<'_>) -> Result<u32, String> {
    let RestrictionStatus { ruleset, landlock, .. } =
        domain(reach).map_err(|error| format!("the kernel refuses it: {error}"))?;
    match landlock {
        LandlockStatus::NotImplemented => Err("there is no Landlock here".to_owned()),
        LandlockStatus::NotEnabled => Err("Landlock was not enabled at boot (lsm=)".to_owned()),
        LandlockStatus::Available { .. } if ruleset == RulesetStatus::NotEnforced => {
            Err("Landlock here is older than Linux 5.19".to_owned())
        }
        LandlockStatus::Available { effective_abi, .. } => Ok(effective_abi as u32),
    }
}

fn domain(reach: Reach<'_>) -> Result<RestrictionStatus, RulesetError> {
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let write = read
        | make_bitflags!(AccessFs::{
            WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer
        });
    let ruleset = Ruleset::default()
        // The first version forbids to move a file into another directory, which the archiver does.
        .set_compatibility(CompatLevel::SoftRequirement)
        .handle_access(AccessFs::Refer)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(TESTED))?
        .handle_access(AccessNet::from_all(TESTED))?
        .scope(Scope::from_all(TESTED))?
        .create()?;
    let ruleset = match reach {
        Reach::Nothing => ruleset,
        Reach::Write(directory) => ruleset.add_rule(PathBeneath::new(directory, write))?,
        Reach::Read(directory) => {
            let zones = std::env::var("TZDIR").ok();
            let public = PUBLIC.into_iter().chain(zones.as_deref());
            ruleset
                .add_rule(PathBeneath::new(directory, read))?
                .add_rules(path_beneath_rules(public, read))?
        }
    };
    ruleset.restrict_self()
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        fs::{self, File, OpenOptions},
        io::{ErrorKind, Write},
        net::{TcpListener, TcpStream},
        os::{
            fd::AsFd,
            linux::net::SocketAddrExt,
            unix::net::{SocketAddr, UnixListener, UnixStream},
        },
        path::{Path, PathBuf},
        process,
    };

    use super::*;

    /// A directory with a file, and one beside it.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("netmon-{name}-{}", process::id()));
            for room in ["inside/one", "inside/two", "outside"] {
                fs::create_dir_all(path.join(room)).expect("a directory");
                fs::write(path.join(room).join("file"), "text").expect("a file");
            }
            Self(path)
        }

        fn inside(&self) -> File {
            File::open(self.0.join("inside")).expect("a directory")
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[track_caller]
    fn denied<T: fmt::Debug>(result: io::Result<T>) {
        assert_eq!(result.expect_err("denied").kind(), ErrorKind::PermissionDenied);
    }

    /// Tries what no reach includes.
    fn try_outside(scratch: &Path) {
        let outside = scratch.join("outside");
        denied(fs::read(outside.join("file")));
        denied(fs::read_dir(&outside));
        denied(fs::write(outside.join("new"), ""));
        denied(OpenOptions::new().append(true).open(outside.join("file")));
        denied(fs::remove_file(outside.join("file")));
        denied(fs::create_dir(scratch.join("new")));
        denied(fs::read("/etc/passwd"));
    }

    /// Fails on a kernel without Landlock: no test may pass because nothing was tried.
    fn version() -> u32 {
        probe().expect("Landlock")
    }

    #[test]
    fn a_writer_works_below_its_directory_and_nowhere_else() {
        let scratch = Scratch::new("enclosed-writer");
        let (path, directory) = (&scratch.0, scratch.inside());
        version();
        enclosed(Reach::Write(directory.as_fd()), || {
            let inside = path.join("inside");
            let mut file = File::create_new(inside.join("new")).expect("made");
            file.write_all(b"text").expect("written");
            file.set_len(1).expect("cut");
            file.sync_all().expect("synced");
            assert_eq!(fs::read(inside.join("new")).expect("read"), b"t");
            // Another directory takes the right to refer.
            fs::rename(inside.join("new"), inside.join("one/file")).expect("moved");
            fs::create_dir(inside.join("three")).expect("made");
            fs::remove_dir(inside.join("three")).expect("removed");
            assert_eq!(fs::read_dir(&inside).expect("read").count(), 2);
            try_outside(path);
            denied(fs::rename(inside.join("two/file"), path.join("outside/moved")));
            denied(std::os::unix::fs::symlink("/etc/passwd", inside.join("link")));
        });
        // This thread is as free as before.
        fs::write(path.join("outside/new"), "text").expect("written");
    }

    #[test]
    fn a_reader_reads_its_directory_and_public_files() {
        let scratch = Scratch::new("enclosed-reader");
        let (path, directory) = (&scratch.0, scratch.inside());
        version();
        enclosed(Reach::Read(directory.as_fd()), || {
            let inside = path.join("inside");
            assert_eq!(fs::read(inside.join("one/file")).expect("read"), b"text");
            try_outside(path);
            denied(fs::write(inside.join("new"), ""));
            denied(OpenOptions::new().append(true).open(inside.join("one/file")));
            denied(fs::remove_file(inside.join("one/file")));
            for public in PUBLIC {
                let error = File::open(public).err().map(|error| error.kind());
                assert!(matches!(error, None | Some(ErrorKind::NotFound)), "{public}: {error:?}");
            }
            // A thread of this thread has no more.
            thread::scope(|scope| scope.spawn(|| try_outside(path)).join()).expect("denied");
        });
    }

    #[test]
    fn open_descriptors_stay_and_other_processes_are_out_of_reach() {
        let scratch = Scratch::new("enclosed-nothing");
        let version = version();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("bound");
        let name = format!("netmon-{}", process::id());
        let name = SocketAddr::from_abstract_name(name).expect("a name");
        let _unix = UnixListener::bind_addr(&name).expect("a listener");
        let open = File::open("/etc/passwd").expect("opened");
        enclosed(Reach::Nothing, || {
            try_outside(&scratch.0);
            denied(fs::read(scratch.0.join("inside/one/file")));
            assert!(open.metadata().expect("read").len() > 0);
            io::read_to_string(&open).expect("read");
            // As root, another process's namespace is another one's only to a domain.
            denied(fs::read_link("/proc/1/ns/net"));
            if version >= 4 {
                denied(TcpListener::bind("127.0.0.1:0"));
                denied(TcpStream::connect(address));
            }
            if version >= 6 {
                denied(UnixStream::connect_addr(&name));
            }
        });
    }

    #[test]
    fn a_panic_of_the_work_is_passed_on() {
        let panic = || enclosed(Reach::Nothing, || panic!("the work's"));
        let cause = panic::catch_unwind(panic).expect_err("a panic");
        assert_eq!(cause.downcast_ref::<&str>(), Some(&"the work's"));
    }
}
