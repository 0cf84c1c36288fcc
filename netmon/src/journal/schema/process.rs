//! The process of a party: its start, its parent, its program, its login, its namespaces.

use std::sync::Arc;

use arrow_array::{
    Array, BooleanArray, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray,
    types::{Int32Type, Int64Type},
};
use netmon_common::Namespaces;

use super::{
    NumberNames,
    column::{BatchColumns, TextReader, column, get, pid},
    shared::Shared,
};
use crate::{
    core::{
        arguments::Arguments,
        program::{Ancestor, KnownProcess, Login, Program, ancestors_of, ancestors_text},
        time::Wall,
    },
    journal::error::Result,
};

/// The names of the columns of a process: start, parent, the parent's executable, ancestors,
/// executable, whether that is deleted, arguments, whether these are cut, the user, the user's name
/// and the number of the login, and the namespaces.
pub(super) type ProcessNames = [&'static str; 14];

/// The columns of the process that opened a connection.
pub(super) const OWNER: ProcessNames = [
    "process_started",
    "ppid",
    "parent_exe",
    "ancestors",
    "exe",
    "exe_deleted",
    "args",
    "args_cut",
    "login_uid",
    "login_user",
    "login_session",
    "mnt_ns",
    "pid_ns",
    "user_ns",
];
/// The columns of the process that holds it, where that is another.
pub(super) const HOLDER: ProcessNames = [
    "holder_started",
    "holder_ppid",
    "holder_parent_exe",
    "holder_ancestors",
    "holder_exe",
    "holder_exe_deleted",
    "holder_args",
    "holder_args_cut",
    "holder_login_uid",
    "holder_login_user",
    "holder_login_session",
    "holder_mnt_ns",
    "holder_pid_ns",
    "holder_user_ns",
];

/// Builds the columns of a process.
pub(super) struct ProcessColumns(Shared<KnownProcess>, ProcessNames);

impl ProcessColumns {
    pub(super) fn new(names: ProcessNames) -> Self {
        Self(Shared::default(), names)
    }

    /// Returns the number of a process, for [`Self::put`].
    pub(super) fn number(&mut self, process: &Arc<KnownProcess>) -> i32 {
        self.0.number(process)
    }

    #[inline]
    pub(super) fn put(&mut self, row: usize, number: Option<i32>) {
        self.0.put(row, number);
    }

    /// Adds the columns. A user has the name of `names` if the process knows none.
    pub(super) fn finish(
        &mut self,
        rows: usize,
        names: &mut dyn NumberNames,
        to: &mut BatchColumns,
    ) {
        let rows = self.0.finish(rows);
        let [
            start,
            parent,
            parent_exe,
            above,
            exe,
            deleted,
            args,
            cut,
            login @ ..,
            mnt,
            pid_ns,
            user_ns,
        ] = self.1;
        let [uid, user, session] = login;
        let started = rows.numbers(|of| Some(of.started.as_micros()));
        to.times(start, started, true);
        to.some(parent, rows.numbers::<Int32Type>(|of| pid(of.parent)));
        to.some(parent_exe, rows.texts(|of| Some(of.parent_path()?.into())));
        let ancestors = |of: &Arc<KnownProcess>| ancestors_text(&of.ancestors);
        to.some(above, rows.texts(|of| Some(ancestors(of)?.into_bytes().into())));
        to.some(exe, rows.texts(|of| Some((*of.program.as_ref()?.path).into())));
        let is_deleted =
            |of: &Arc<KnownProcess>| of.program.as_ref().is_some_and(|of| of.is_deleted);
        to.always(deleted, rows.flags(is_deleted));
        to.some(args, rows.texts(|of| Some((*arguments(of)?.line).into())));
        to.always(cut, rows.flags(|of| arguments(of).is_some_and(|of| of.is_cut)));
        let login_uid = rows.numbers::<Int64Type>(|of| Some(of.login.as_ref()?.uid.into()));
        let login_user = rows.texts(|of| {
            let login = of.login.as_ref()?;
            let user = login.user.clone().or_else(|| names.user(login.uid))?;
            Some(user.as_bytes().to_vec().into())
        });
        to.some(uid, login_uid);
        to.some(user, login_user);
        to.some(session, rows.numbers::<Int64Type>(|of| Some(of.login.as_ref()?.session.into())));
        let known = |inum: u32| Some(i64::from(inum)).filter(|inum| *inum != 0);
        to.some(mnt, rows.numbers::<Int64Type>(|of| known(of.namespaces.mnt)));
        to.some(pid_ns, rows.numbers::<Int64Type>(|of| known(of.namespaces.pid)));
        to.some(user_ns, rows.numbers::<Int64Type>(|of| known(of.namespaces.user)));
    }
}

fn arguments(process: &KnownProcess) -> Option<&Arguments> {
    process.program.as_ref()?.arguments.as_ref()
}

/// The key of a process of a batch: the start, the parent, the numbers of the ancestors, of the
/// program's path, of its arguments and of the login's user, both flags, and both
/// numbers of the login with the namespaces.
pub(super) type ProcessKeys = (i64, i32, [Option<usize>; 4], [bool; 2], [Option<i64>; 5]);

/// Returns a flag, false where it is null.
fn flag(flags: &BooleanArray, row: usize) -> bool {
    flags.is_valid(row) && flags.value(row)
}

/// Reads the columns that [`ProcessColumns`] wrote.
pub(super) struct ProcessReader {
    started: TimestampMicrosecondArray,
    parent: Int32Array,
    ancestors: TextReader<Box<[Ancestor]>>,
    path: TextReader<Box<[u8]>>,
    is_deleted: BooleanArray,
    arguments: TextReader<Box<[u8]>>,
    is_cut: BooleanArray,
    login_uid: Int64Array,
    login_user: TextReader<Arc<str>>,
    login_session: Int64Array,
    namespaces: [Int64Array; 3],
}

impl ProcessReader {
    pub(super) fn new(batch: &RecordBatch, names: ProcessNames) -> Result<Self> {
        let bytes = |text: &str| Some(text.as_bytes().into());
        let [start, parent, _, above, exe, deleted, args, cut, login @ .., mnt, pid, user_ns] =
            names;
        let [uid, user, session] = login;
        Ok(Self {
            started: column(batch, start)?,
            parent: column(batch, parent)?,
            ancestors: TextReader::new(batch, above, |text| Some(ancestors_of(text)))?,
            path: TextReader::new(batch, exe, bytes)?,
            is_deleted: column(batch, deleted)?,
            arguments: TextReader::new(batch, args, bytes)?,
            is_cut: column(batch, cut)?,
            login_uid: column(batch, uid)?,
            login_user: TextReader::new(batch, user, |text| Some(Arc::from(text)))?,
            login_session: column(batch, session)?,
            namespaces: [column(batch, mnt)?, column(batch, pid)?, column(batch, user_ns)?],
        })
    }

    /// Returns the keys of a row's process; none where it is not known.
    pub(super) fn keys(&self, row: usize) -> Option<ProcessKeys> {
        let (started, parent) = (get(&self.started, row)?, get(&self.parent, row).unwrap_or(0));
        let flags = [flag(&self.is_deleted, row), flag(&self.is_cut, row)];
        let texts = [
            self.ancestors.key(row),
            self.path.key(row),
            self.arguments.key(row),
            self.login_user.key(row),
        ];
        let [mnt, pid, user] = self.namespaces.each_ref().map(|of| get(of, row));
        let numbers = [get(&self.login_uid, row), get(&self.login_session, row), mnt, pid, user];
        Some((started, parent, texts, flags, numbers))
    }

    /// Returns the process of a row, if it is known.
    pub(super) fn process(&self, row: usize) -> Option<Arc<KnownProcess>> {
        let started = Wall::from_micros(get(&self.started, row)?);
        let program = self.path.get(row).map(|path| {
            let line = self.arguments.get(row);
            let arguments =
                line.map(|line| Arguments { line: line.clone(), is_cut: flag(&self.is_cut, row) });
            let is_deleted = flag(&self.is_deleted, row);
            Arc::new(Program { path: path.clone(), is_deleted, arguments })
        });
        let parent = get(&self.parent, row).and_then(|pid| pid.try_into().ok()).unwrap_or(0);
        let ancestors = self.ancestors.get(row).cloned().unwrap_or_default();
        let (run, login, namespaces) = (0, self.login(row), self.namespaces(row));
        let process = KnownProcess { started, parent, run, program, login, namespaces, ancestors };
        Some(Arc::new(process))
    }

    fn login(&self, row: usize) -> Option<Login> {
        let number = |of: &Int64Array| get(of, row)?.try_into().ok();
        let (uid, session) = (number(&self.login_uid)?, number(&self.login_session)?);
        Some(Login { uid, session, user: self.login_user.get(row).cloned() })
    }

    fn namespaces(&self, row: usize) -> Namespaces {
        let inum = |of: &Int64Array| get(of, row).and_then(|inum| inum.try_into().ok());
        let [mnt, pid, user] = self.namespaces.each_ref().map(|of| inum(of).unwrap_or(0));
        Namespaces { mnt, pid, user }
    }
}
