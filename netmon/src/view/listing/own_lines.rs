//! The lines that belong to the row above them.

use std::io::Write;

use super::cells::put_owners;
use crate::{
    core::{arguments::Arguments, escape::Escaped, process::Process},
    view::text::layout::Layout,
};

/// Writes a line that belongs to the row above.
pub(super) fn put_line<const N: usize>(
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
pub(super) fn put_wide_owners<const N: usize>(
    out: &mut Vec<u8>,
    layout: &Layout<N>,
    owners: &[&Process],
) {
    for process in owners {
        put_line(out, layout, |out| put_wide_owner(out, process));
    }
}

/// Writes a process with the facts that are known of it, in the words of filters.
fn put_wide_owner(out: &mut Vec<u8>, process: &Process) {
    put_owners(out, &[process], usize::MAX);
    let mut put = |word: &str, text: Option<&[u8]>| {
        if let Some(text) = text {
            let _ = write!(out, " {word}:{}", Escaped(text));
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
    let login_uid = known.login.as_ref().map(|login| login.uid.to_string());
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
