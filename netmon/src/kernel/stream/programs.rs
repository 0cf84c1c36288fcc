//! Turns the records of processes into entries of the table of processes.

use netmon_common::{self as wire, TICK, exec_flag};

use crate::core::{
    arguments::Arguments,
    process::ProcessKey,
    processes::ProcessId,
    processes::Processes,
    program::{Login, Program},
    time::Mono,
};

/// The beginning of a path whose first names are not known.
const CUT: &[u8] = "…".as_bytes();

fn id(pid: u32, host_pid: u32, started: u64) -> ProcessId {
    ProcessId { key: ProcessKey::new(pid, host_pid), started: started / TICK }
}

/// Returns the process of a record.
pub(super) fn exec_id(exec: &wire::Exec) -> ProcessId {
    id(exec.pid, exec.host_pid, exec.started)
}

/// Takes a process that runs another program.
pub(super) fn exec(processes: &mut Processes, exec: &wire::Exec) {
    let id = (exec_id(exec), exec.execs);
    let login = Login::new(exec.login_uid, exec.login_session);
    processes.exec(Mono::from_kernel(exec.time), id, program(exec), (login, exec.namespaces));
}

/// Takes a process that began.
pub(super) fn fork(processes: &mut Processes, fork: &wire::Fork) {
    let id = (id(fork.pid, fork.host_pid, fork.started), fork.execs);
    let parent = (ProcessKey::new(fork.parent_pid, fork.parent_host_pid), fork.parent_run);
    let login = Login::new(fork.login_uid, fork.login_session);
    processes.fork(Mono::from_kernel(fork.time), id, parent, (login, fork.namespaces));
}

/// Takes a process that ended.
pub(super) fn exit(processes: &mut Processes, exit: &wire::Exit) {
    let id = id(exit.pid, exit.host_pid, exit.started);
    processes.exit(Mono::from_kernel(exit.time), id);
}

/// Returns the program of a record; none if the kernel program could not read its path.
fn program(exec: &wire::Exec) -> Option<Program> {
    let names = exec.path.get(..usize::from(exec.path_length))?;
    let names = names.strip_suffix(b"\0")?.split(|byte| *byte == 0).rev();
    let mut names: Vec<_> = names.collect();
    let has_no_directory = exec.flags & exec_flag::NO_DIRECTORY != 0;
    let path = match names[..] {
        // A memfd.
        [name] if has_no_directory => name.to_vec(),
        _ => {
            // The tree of a mount that has been taken away has a root without a name.
            let is_cut = has_no_directory || exec.flags & exec_flag::PATH_CUT != 0;
            names.insert(0, if is_cut { CUT } else { &[] });
            names.join(&b'/')
        }
    };
    let arguments = exec.arguments.get(..usize::from(exec.arguments_length))?;
    let size = usize::try_from(exec.arguments_size).unwrap_or(usize::MAX);
    Some(Program {
        path: path.into(),
        is_deleted: exec.flags & exec_flag::LINKS != 0 && exec.links == 0,
        arguments: Arguments::new(arguments, size),
    })
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;

    fn of(names: &[u8], flags: u8, links: u32) -> Option<(String, bool)> {
        let mut exec = wire::Exec { flags, links, ..wire::Exec::zeroed() };
        exec.path[..names.len()].copy_from_slice(names);
        exec.path_length = u16::try_from(names.len()).expect("short");
        let program = program(&exec)?;
        Some((String::from_utf8(program.path.into()).expect("UTF-8"), program.is_deleted))
    }

    #[test]
    fn names_become_a_path() {
        let path = |text: &str, is_deleted| Some((text.to_owned(), is_deleted));
        let links = exec_flag::LINKS;
        assert_eq!(of(b"curl\0bin\0usr\0", links, 1), path("/usr/bin/curl", false));
        assert_eq!(of(b"curl\0bin\0usr\0", links, 0), path("/usr/bin/curl", true));
        assert_eq!(of(b"curl\0bin\0", links | exec_flag::PATH_CUT, 1), path("…/bin/curl", false));
        assert_eq!(of(b"memfd:x\0", links | exec_flag::NO_DIRECTORY, 0), path("memfd:x", true));
        let cut = exec_flag::NO_DIRECTORY;
        assert_eq!(of(b"prog\0a\0", links | cut, 1), path("…/a/prog", false));
        // Where links are not counted, nothing is known of them.
        assert_eq!(of(b"sh\0", 0, 0), path("/sh", false));
        assert_eq!(of(b"", 0, 0), None);
    }
}
