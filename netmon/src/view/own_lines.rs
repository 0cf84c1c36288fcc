//! The lines that belong to the row above them.

use std::io::Write;

use super::text::{layout::Layout, owners::put_owners};
use crate::core::{
    arguments::Arguments,
    connection::Connection,
    escape::{Escaped, EscapedValue},
    process::{Evidence, Owner, Process},
};

/// Writes a line that belongs to the row above.
pub(in crate::view) fn put_line<const N: usize>(
    out: &mut Vec<u8>,
    layout: &Layout<N>,
    put: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(if layout.terminal().is_some() { b"        " } else { b"\t" });
    put(out);
    layout.end(out, start, start);
}

/// Writes a line for each process.
pub(in crate::view) fn put_wide_owners<const N: usize>(
    out: &mut Vec<u8>,
    layout: &Layout<N>,
    owners: &[&Process],
) {
    for process in owners {
        put_line(out, layout, |out| {
            put_owners(out, &[process], usize::MAX);
            put_facts(out, process);
        });
    }
}

/// Writes a line for the process that opened a connection, and one for another that holds it.
pub(in crate::view) fn put_parties<const N: usize>(
    out: &mut Vec<u8>,
    layout: &Layout<N>,
    connection: &Connection,
) {
    let Connection { owner, holder, .. } = connection;
    if let Some(owner) = owner {
        put_line(out, layout, |out| put_opener(out, connection, owner));
    }
    if let Some(holder) = holder {
        put_line(out, layout, |out| {
            out.extend_from_slice(b"held by ");
            put_owners(out, &[holder], usize::MAX);
            put_facts(out, holder);
        });
    }
}

fn put_opener(out: &mut Vec<u8>, connection: &Connection, owner: &Owner) {
    let process = Process::from(owner);
    let called = connection.evidence.filter(|evidence| *evidence != Evidence::FdScan);
    out.extend_from_slice(if called.is_some() { b"opened by " } else { b"held by " });
    put_owners(out, &[&process], usize::MAX);
    // Writing to a vector does not fail, here and below.
    if let Some(call) = called {
        let _ = write!(out, " ({})", call.name());
    }
    let labels = connection.labels.as_deref();
    let mut put = |word: &str, uid: u32, name: Option<&str>| {
        let _ = match name {
            Some(name) => write!(out, " {word}:{}", EscapedValue(name.as_bytes())),
            None => write!(out, " {word}:{uid}"),
        };
    };
    put("uid", owner.uid, labels.and_then(|labels| labels.user.as_deref()));
    if let Some(real) = owner.real_uid.filter(|real| *real != owner.uid) {
        put("real_uid", real, labels.and_then(|labels| labels.real_user.as_deref()));
    }
    put_facts(out, &process);
}

/// Writes the facts that are known of a process, in the words of filters. The arguments come last,
/// as they are: no word follows them.
fn put_facts(out: &mut Vec<u8>, process: &Process) {
    let mut put = |word: &str, text: Option<&[u8]>| {
        if let Some(text) = text {
            let _ = write!(out, " {word}:{}", EscapedValue(text));
        }
    };
    if let Some(cgroup) = &process.cgroup {
        let workload = cgroup.workload();
        put("unit", workload.unit);
        put("user_unit", workload.user_unit);
        put("container", workload.container_name.as_deref());
        put("pod_namespace", workload.pod_namespace.map(str::as_bytes));
        put("pod", workload.pod_name.as_deref());
    }
    let Some(known) = &process.known else { return };
    put("parent", known.parent_path());
    let login_uid = known.login.as_ref().map(|login| match &login.user {
        Some(user) => user.to_string(),
        None => login.uid.to_string(),
    });
    put("login_uid", login_uid.as_deref().map(str::as_bytes));
    if let Some(program) = &known.program {
        put("exe", Some(&program.path));
        if program.is_deleted {
            out.extend_from_slice(b" (deleted)");
        }
        if let Some(Arguments { line, is_cut }) = &program.arguments {
            let cut = if *is_cut { " …" } else { "" };
            let _ = write!(out, " args:{}{cut}", Escaped(line));
        }
    }
}
