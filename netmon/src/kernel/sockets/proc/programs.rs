//! The processes of `/proc`, with their programs, arguments and parents.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use netmon_common::Namespaces;

use super::processes::{pids, stat};
use crate::{
    core::{
        arguments::{Arguments, MAX_ARGUMENTS},
        process::ProcessKey,
        processes::{ProcessId, SeenProcess},
        program::{Above, Login, Program},
    },
    kernel::host::clock::{kernel_ticks, now},
};

/// The mark that the kernel appends to the path of a file that no directory has (`d_path`,
/// fs/d_path.c).
const DELETED: &[u8] = b" (deleted)";

/// The most threads that are asked for the program of their process.
const THREADS: usize = 64;

/// Returns every process of `/proc`, with `arguments` if wanted. A process that ends meanwhile is
/// left out.
///
/// # Errors
/// Fails if `/proc` cannot be read.
pub(in crate::kernel) fn running(arguments: bool) -> io::Result<Vec<SeenProcess>> {
    let began = now();
    let mut seen: Vec<_> = pids()?.into_iter().filter_map(|pid| look(pid, arguments)).collect();
    // A process that began after the list was read is not missing from it.
    if let Some(first) = seen.first_mut() {
        first.time = began;
    }
    Ok(seen)
}

/// Returns the process with a number, if there is one.
pub(crate) fn look(pid: u32, arguments: bool) -> Option<SeenProcess> {
    look_and(pid, arguments, || ()).map(|(seen, ())| seen)
}

/// As [`look`], with something else of the same process.
pub(crate) fn look_and<T>(
    pid: u32,
    arguments: bool,
    look: impl FnOnce() -> T,
) -> Option<(SeenProcess, T)> {
    let time = now();
    let (parent, started) = stat(pid)?;
    let (shown, path) = executable(pid);
    let program = path.map(|path| Arc::new(program(&shown, &path, arguments)));
    let (login, namespaces) = (login(pid), namespaces(&shown));
    let more = look();
    let id = ProcessId { key: ProcessKey::Inside(pid), started: kernel_ticks(started) };
    // The number may be that of another process by now.
    let seen = SeenProcess { id, time, parent, program, login, namespaces };
    (stat(pid)?.1 == started).then_some((seen, more))
}

/// Returns a process above others; none where it is gone, or does not show its program.
pub(crate) fn above(pid: u32) -> Option<Above> {
    let (shown, path) = executable(pid);
    let program = Arc::new(program(&shown, &path?, false));
    let (parent, started) = stat(pid)?;
    Some(Above { program, parent, started: kernel_ticks(started) })
}

/// Returns the directory of `/proc` that shows the program of a process, and the path of the
/// executable; no path for a kernel thread, and for a process that does not show its program to
/// this one.
fn executable(pid: u32) -> (String, Option<PathBuf>) {
    let link = |of: &str| fs::read_link(format!("{of}/exe"));
    let own = format!("/proc/{pid}");
    match link(&own) {
        Ok(path) => return (own, Some(path)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return (own, None),
        Err(_) => {}
    }
    // A process whose first thread has ended shows its program by another one only.
    let threads = fs::read_dir(format!("{own}/task")).into_iter().flatten().flatten();
    let mut threads =
        threads.take(THREADS).filter_map(|thread| Some(thread.path().to_str()?.to_owned()));
    let other = threads.find_map(|of| Some((link(&of).ok()?, of)));
    other.map_or((own, None), |(path, of)| (of, Some(path)))
}

/// Returns the program that a directory of `/proc` shows, with its `path`.
fn program(shown: &str, path: &Path, arguments: bool) -> Program {
    // Only a file with the mark is looked at: a file system of the network may not answer.
    let is_deleted = path.as_os_str().as_bytes().ends_with(DELETED)
        && fs::metadata(format!("{shown}/exe")).is_ok_and(|file| file.nlink() == 0);
    let path = name(path.as_os_str(), is_deleted).into();
    let arguments = arguments.then(|| self::arguments(shown)).flatten();
    Program { path, is_deleted, arguments }
}

/// Returns a path without the kernel's mark, as [`Program::path`] has it.
fn name(path: &OsStr, is_deleted: bool) -> &[u8] {
    let path = path.as_bytes();
    let path = if is_deleted { path.strip_suffix(DELETED).unwrap_or(path) } else { path };
    let memfd = path.strip_prefix(b"/").filter(|name| name.starts_with(b"memfd:"));
    memfd.filter(|_| is_deleted).unwrap_or(path)
}

/// Returns the login that led to a process; none where there is none, or where the kernel keeps
/// none. The user is in netmon's user namespace (`proc_loginuid_read`, fs/proc/base.c).
fn login(pid: u32) -> Option<Login> {
    let number = |name: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/{name}")).ok()?;
        text.trim_end().parse::<u32>().ok()
    };
    let uid = number("loginuid").filter(|uid| *uid != netmon_common::NO_LOGIN)?;
    Login::new(uid, number("sessionid")?)
}

/// Returns the namespaces of a process, as far as the kernel has them and the process shows them to
/// this one.
fn namespaces(shown: &str) -> Namespaces {
    let inum = |name: &str| {
        let of = fs::metadata(format!("{shown}/ns/{name}")).ok()?;
        of.ino().try_into().ok()
    };
    // A process of another user shows none.
    let Some(mnt) = inum("mnt") else { return Namespaces::default() };
    let of = |name: &str| inum(name).unwrap_or(0);
    Namespaces { mnt, pid: of("pid"), user: of("user") }
}

fn arguments(shown: &str) -> Option<Arguments> {
    let file = File::open(format!("{shown}/cmdline")).ok()?;
    // One byte more shows that there are more.
    let mut bytes = Vec::with_capacity(MAX_ARGUMENTS + 1);
    file.take(MAX_ARGUMENTS as u64 + 1).read_to_end(&mut bytes).ok()?;
    let size = bytes.len();
    if size <= MAX_ARGUMENTS {
        // A process that has written a title over its arguments leaves zeros up to their end.
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        bytes.push(0);
    }
    Arguments::new(&bytes, size.min(bytes.len()))
}

#[cfg(test)]
mod tests {
    use std::{
        process::{self, Command},
        thread,
        time::Duration,
    };

    use super::*;

    #[test]
    fn this_process_is_there_with_its_program() {
        let own = process::id();
        let seen = running(true).expect("/proc");
        let seen = seen.iter().find(|seen| seen.id.key == ProcessKey::Inside(own)).expect("there");
        assert_eq!(seen.parent, std::os::unix::process::parent_id());
        let program = seen.program.as_ref().expect("readable");
        let path = std::env::current_exe().expect("a path");
        assert_eq!(&*program.path, path.as_os_str().as_bytes());
        assert!(!program.is_deleted && program.arguments.is_some());
        assert_eq!(look(own, false).and_then(|seen| seen.program.clone()?.arguments.clone()), None);
        assert_eq!(look(u32::MAX, true), None);
    }

    #[test]
    fn a_deleted_program_has_its_former_path() {
        let path = std::env::temp_dir().join(format!("netmon-sleep-{}", process::id()));
        fs::copy("/bin/sleep", &path).expect("a copy");
        let mut child = Command::new(&path).arg("60").spawn().expect("a process");
        fs::remove_file(&path).expect("removed");
        // A process that has just called exec may have no arguments yet.
        let look = || {
            thread::sleep(Duration::from_millis(1));
            let program = look(child.id(), true)?.program?;
            program.arguments.clone().map(|arguments| (program, arguments))
        };
        let seen = (0..1_000).find_map(|_| look());
        child.kill().and_then(|()| child.wait()).expect("ended");
        let (program, arguments) = seen.expect("readable");
        assert!(program.is_deleted);
        assert_eq!(&*program.path, path.as_os_str().as_bytes());
        let line = arguments.line.to_vec();
        assert!(line.ends_with(b" 60"), "{line:?}");
    }

    #[test]
    fn marks_of_the_kernel_are_no_part_of_a_name() {
        let name = |path, is_deleted| name(OsStr::new(path), is_deleted);
        assert_eq!(name("/bin/x (deleted)", true), b"/bin/x");
        assert_eq!(name("/bin/x (deleted)", false), b"/bin/x (deleted)");
        assert_eq!(name("/memfd:x (deleted)", true), b"memfd:x");
        assert_eq!(name("/memfd:x", false), b"/memfd:x");
    }
}
