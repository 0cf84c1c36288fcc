//! The fields of JSON objects about a process and its cgroup.

use std::sync::Arc;

use netmon_common::Namespaces;

use crate::{
    core::{
        cgroup::Cgroup,
        process::Process,
        program::{KnownProcess, ancestors_text},
    },
    view::text::{
        clock::{Clock, TimeStyle},
        json_object::JsonObject,
    },
};

/// The fields of the process and of the cgroup that were written last, which mostly come again.
#[derive(Default)]
pub(in crate::view) struct OwnerFields {
    process: Option<(Arc<KnownProcess>, Vec<u8>)>,
    cgroup: Option<(Arc<Cgroup>, Vec<u8>)>,
    /// How much was known of the cgroup.
    known: u8,
}

impl OwnerFields {
    /// Writes the knowledge of a process beside its number and its name.
    pub(in crate::view) fn put_process(
        &mut self,
        object: &mut JsonObject<'_>,
        process: &Arc<KnownProcess>,
    ) {
        object.part(remembered(&mut self.process, process, |process| fields(process, &OWNER)));
    }

    /// Writes where the processes of a cgroup run.
    pub(in crate::view) fn put_workload(
        &mut self,
        object: &mut JsonObject<'_>,
        cgroup: &Arc<Cgroup>,
    ) {
        // The path and the names may come at any time.
        let known = cgroup.known();
        if std::mem::replace(&mut self.known, known) != known {
            self.cgroup = None;
        }
        object.part(remembered(&mut self.cgroup, cgroup, workload));
    }
}

/// The keys of a process: parent, the parent's executable, ancestors, start, executable, whether
/// that is deleted, arguments, whether these are cut, the user, the user's name and the number of
/// the login, and the namespaces.
type ProcessKeys = [&'static str; 14];

const OWNER: ProcessKeys = [
    ",\"ppid\":",
    ",\"parent_exe\":",
    ",\"ancestors\":",
    ",\"process_started\":\"",
    ",\"exe\":",
    ",\"exe_deleted\":",
    ",\"args\":",
    ",\"args_cut\":",
    ",\"login_uid\":",
    ",\"login_user\":",
    ",\"login_session\":",
    ",\"mnt_ns\":",
    ",\"pid_ns\":",
    ",\"user_ns\":",
];
const HOLDER: ProcessKeys = [
    ",\"holder_ppid\":",
    ",\"holder_parent_exe\":",
    ",\"holder_ancestors\":",
    ",\"holder_started\":\"",
    ",\"holder_exe\":",
    ",\"holder_exe_deleted\":",
    ",\"holder_args\":",
    ",\"holder_args_cut\":",
    ",\"holder_login_uid\":",
    ",\"holder_login_user\":",
    ",\"holder_login_session\":",
    ",\"holder_mnt_ns\":",
    ",\"holder_pid_ns\":",
    ",\"holder_user_ns\":",
];

/// Writes the process that holds a connection, where that is not the one that opened it.
pub(in crate::view) fn put_holder(object: &mut JsonObject<'_>, holder: &Process) {
    for (key, pid) in [(",\"holder_pid\":", holder.pid), (",\"holder_host_pid\":", holder.host_pid)]
    {
        object.some(key, Some(u64::from(pid)).filter(|pid| *pid != 0));
    }
    object.text(",\"holder_comm\":", &holder.comm);
    if let Some(known) = &holder.known {
        object.part(&fields(known, &HOLDER));
    }
}

/// Writes the path of a cgroup, if it is known.
pub(in crate::view) fn put_path(object: &mut JsonObject<'_>, cgroup: &Cgroup) {
    if let Some(path) = cgroup.path() {
        object.text(",\"cgroup\":", path);
    }
}

/// Returns the text of `of`, which is made once for as long as the same comes again.
fn remembered<'a, T>(
    last: &'a mut Option<(Arc<T>, Vec<u8>)>,
    of: &Arc<T>,
    text: impl FnOnce(&T) -> Vec<u8>,
) -> &'a [u8] {
    if last.as_ref().is_some_and(|(known, _)| !Arc::ptr_eq(known, of)) {
        *last = None;
    }
    &last.get_or_insert_with(|| (Arc::clone(of), text(of))).1
}

/// Returns the fields of where the processes of a cgroup run.
fn workload(cgroup: &Cgroup) -> Vec<u8> {
    let workload = cgroup.workload();
    let mut out = Vec::new();
    let mut object = JsonObject::begin(&mut out, "");
    let mut put = |key: &'static str, text: Option<&[u8]>| {
        if let Some(text) = text {
            object.text(key, text);
        }
    };
    put(",\"unit\":", workload.unit);
    put(",\"user_unit\":", workload.user_unit);
    put(",\"slice\":", workload.slice);
    put(",\"container\":", workload.container_name.as_deref());
    if let Some(container) = &workload.container {
        put(",\"container_id\":", Some(&container.id));
        put(",\"container_engine\":", container.engine.map(|engine| engine.name().as_bytes()));
    }
    put(",\"pod\":", workload.pod_name.as_deref());
    put(",\"pod_uid\":", workload.pod_uid.as_deref());
    put(",\"pod_namespace\":", workload.pod_namespace.map(str::as_bytes));
    object.end_part();
    out
}

/// Returns the fields of a process.
fn fields(process: &KnownProcess, keys: &ProcessKeys) -> Vec<u8> {
    let KnownProcess { started, parent, program, login, namespaces, .. } = process;
    let [ppid, parent_exe, ancestors, start, exe, exe_deleted, args, args_cut, more @ ..] = *keys;
    let [uid, user, session, mnt_ns, pid_ns, user_ns] = more;
    let mut out = Vec::new();
    let mut object = JsonObject::begin(&mut out, "");
    object.some(ppid, Some(u64::from(*parent)).filter(|parent| *parent != 0));
    if let Some(path) = process.parent_path() {
        object.text(parent_exe, path);
    }
    if let Some(text) = ancestors_text(&process.ancestors) {
        object.text(ancestors, text.as_bytes());
    }
    object.wall_time(start, &mut Clock::new(TimeStyle::Rfc3339), *started);
    if let Some(program) = program {
        object.text(exe, &program.path);
        object.flag(exe_deleted, program.is_deleted);
        if let Some(arguments) = &program.arguments {
            object.text(args, &arguments.line);
            object.flag(args_cut, arguments.is_cut);
        }
    }
    if let Some(login) = login {
        object.number(uid, u64::from(login.uid));
        object.name(user, login.user.as_deref());
        object.number(session, u64::from(login.session));
    }
    let Namespaces { mnt, pid, user } = *namespaces;
    for (key, inum) in [(mnt_ns, mnt), (pid_ns, pid), (user_ns, user)] {
        object.some(key, Some(u64::from(inum)).filter(|inum| *inum != 0));
    }
    object.end_part();
    out
}
