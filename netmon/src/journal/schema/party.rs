//! The party: which side began a connection, and the process behind it.

use std::sync::Arc;

use arrow_array::{
    Int32Array, Int64Array, RecordBatch,
    types::{Int32Type, Int64Type},
};
use rustc_hash::FxHashMap;

use super::{
    NumberNames,
    cgroup::{CgroupColumns, CgroupKeys, CgroupReader},
    column::{
        BatchColumns, Numbers, TextReader, Texts, WordBuilder, WordReader, column, get, names_of,
        pid, recorder_netns, text_of,
    },
    holder::{HolderColumns, HolderReader},
    moment::MomentReader,
    place::PlaceReader,
    process::{OWNER, ProcessColumns, ProcessKeys, ProcessReader},
};
use crate::{
    core::{
        connection::{Connection, Direction, Labels},
        process::{Evidence, Owner, Process},
    },
    journal::error::Result,
};

/// Builds the columns `direction`, `pid`, `comm`, those of [`OWNER`], `uid`, `user`, `real_uid`,
/// `real_user`, those of [`CgroupColumns`], `owner_evidence`, and those of [`HolderColumns`].
pub(super) struct PartyBuilder {
    direction: WordBuilder,
    pid: Numbers<Int32Type>,
    comm: Texts<Vec<u8>>,
    processes: ProcessColumns,
    uid: Numbers<Int64Type>,
    real_uid: Numbers<Int64Type>,
    cgroups: CgroupColumns,
    evidence: WordBuilder,
    holders: HolderColumns,
    /// The last two owners, with the numbers of their names, processes and cgroups. The same owners
    /// often come again, as both ends of a connection of this host.
    last: [Option<(Arc<Owner>, OwnerNumbers)>; 2],
}

/// The numbers of the name of an owner, and of its process and its cgroup if they are known.
type OwnerNumbers = (i32, Option<i32>, Option<i32>);

impl PartyBuilder {
    pub(super) fn new() -> Self {
        Self {
            direction: WordBuilder::of(Direction::ALL.map(Direction::name)),
            pid: Numbers::default(),
            comm: Texts::new(),
            processes: ProcessColumns::new(OWNER),
            uid: Numbers::default(),
            real_uid: Numbers::default(),
            cgroups: CgroupColumns::default(),
            evidence: WordBuilder::of(Evidence::ALL.map(Evidence::name)),
            holders: HolderColumns::new(),
            last: [None, None],
        }
    }

    /// Puts the direction of a connection, and who opened it and holds it.
    #[inline]
    pub(super) fn put(&mut self, row: usize, connection: &Connection) {
        self.direction.put(row, connection.direction.map(|direction| direction as usize));
        self.evidence.put(row, connection.evidence.map(|evidence| evidence as usize));
        if let Some(holder) = &connection.holder {
            self.holders.put(row, holder);
        }
        let Some(owner) = &connection.owner else { return };
        self.pid.put(row, pid(owner.pid));
        self.uid.put(row, Some(owner.uid.into()));
        self.real_uid.put(row, owner.real_uid.map(Into::into));
        let (name, process, cgroup) = self.numbers(owner);
        self.comm.put_number(row, name);
        self.processes.put(row, process);
        self.cgroups.put(row, cgroup);
    }

    #[inline]
    fn numbers(&mut self, owner: &Arc<Owner>) -> OwnerNumbers {
        let is_same = |last: &&(Arc<Owner>, OwnerNumbers)| Arc::ptr_eq(&last.0, owner);
        if let Some((_, numbers)) = self.last.iter().flatten().find(is_same) {
            return *numbers;
        }
        let process = owner.process.as_ref().map(|process| self.processes.number(process));
        let cgroup = owner.cgroup.as_ref().map(|cgroup| self.cgroups.number(cgroup));
        let numbers = (self.comm.number(&*owner.comm, text_of), process, cgroup);
        self.last.swap(0, 1);
        self.last[0] = Some((Arc::clone(owner), numbers));
        numbers
    }

    pub(super) fn finish(
        &mut self,
        rows: usize,
        names: &mut dyn NumberNames,
        to: &mut BatchColumns,
    ) {
        self.last = [None, None];
        to.some("direction", self.direction.finish(rows));
        to.some("pid", self.pid.finish(rows));
        to.some("comm", self.comm.finish(rows));
        self.processes.finish(rows, names, to);
        users(self.uid.finish(rows), self.real_uid.finish(rows), names, to);
        self.cgroups.finish(rows, to);
        to.some("owner_evidence", self.evidence.finish(rows));
        self.holders.finish(rows, names, to);
    }
}

/// Adds the columns of the effective and the real user.
pub(super) fn users(
    uid: Int64Array,
    real_uid: Int64Array,
    names: &mut dyn NumberNames,
    to: &mut BatchColumns,
) {
    let mut name = |uid: &Int64Array| names_of(uid, |uid| names.user(uid.try_into().ok()?));
    let (user, real_user) = (name(&uid), name(&real_uid));
    to.some("uid", uid);
    to.some("user", user);
    to.some("real_uid", real_uid);
    to.some("real_user", real_user);
}

/// The numbers of the texts of a row's labels: boot, namespace, both users.
type LabelKeys = [Option<usize>; 4];

/// The key of an owner of a batch: pid, both users, the number of the name, the process, and the
/// cgroup.
type OwnerKeys = (i32, i64, Option<i64>, usize, Option<ProcessKeys>, Option<CgroupKeys>);

/// Reads the columns that [`PartyBuilder`] wrote.
pub(in crate::journal) struct PartyReader {
    direction: WordReader<Direction>,
    pid: Int32Array,
    comm: TextReader<Box<[u8]>>,
    processes: ProcessReader,
    uid: Int64Array,
    user: TextReader<Arc<str>>,
    real_uid: Int64Array,
    real_user: TextReader<Arc<str>>,
    cgroups: CgroupReader,
    evidence: WordReader<Evidence>,
    holders: HolderReader,
    own_netns: Option<u32>,
    owners: FxHashMap<OwnerKeys, Arc<Owner>>,
    labels: FxHashMap<LabelKeys, Arc<Labels>>,
    last_labels: Option<(LabelKeys, Arc<Labels>)>,
}

impl PartyReader {
    pub(in crate::journal) fn new(batch: &RecordBatch) -> Result<Self> {
        let text = |text: &str| Some(Arc::from(text));
        Ok(Self {
            direction: WordReader::new(batch, "direction", &Direction::ALL, Direction::name)?,
            pid: column(batch, "pid")?,
            comm: TextReader::new(batch, "comm", |text| Some(text.as_bytes().into()))?,
            processes: ProcessReader::new(batch, OWNER)?,
            uid: column(batch, "uid")?,
            user: TextReader::new(batch, "user", text)?,
            real_uid: column(batch, "real_uid")?,
            real_user: TextReader::new(batch, "real_user", text)?,
            cgroups: CgroupReader::new(batch)?,
            evidence: WordReader::new(batch, "owner_evidence", &Evidence::ALL, Evidence::name)?,
            holders: HolderReader::new(batch)?,
            own_netns: recorder_netns(batch),
            owners: FxHashMap::default(),
            labels: FxHashMap::default(),
            last_labels: None,
        })
    }

    /// Completes the connection of a row by its direction, its processes, and the names at that
    /// time.
    pub(super) fn complete(
        &mut self,
        row: usize,
        moments: &MomentReader,
        places: &PlaceReader,
        connection: &mut Connection,
    ) {
        connection.direction = self.direction.get(row);
        connection.owner = self.owner(row);
        connection.evidence = self.evidence.get(row);
        connection.holder = self.holders.holder(row);
        connection.labels = Some(self.labels(row, moments, places));
    }

    pub(in crate::journal) fn owner(&mut self, row: usize) -> Option<Arc<Owner>> {
        let uid = get(&self.uid, row)?;
        // A process outside of the pid namespace that the recorder was in has no number.
        let pid = get(&self.pid, row).unwrap_or(0);
        let comm = self.comm.get(row)?;
        let name = self.comm.key(row)?;
        let real = get(&self.real_uid, row);
        let key = (pid, uid, real, name, self.processes.keys(row), self.cgroups.keys(row));
        if let Some(owner) = self.owners.get(&key) {
            return Some(Arc::clone(owner));
        }
        let (pid, uid) = (pid.try_into().ok()?, uid.try_into().ok()?);
        let real_uid = real.and_then(|uid| uid.try_into().ok());
        let cgroup = self.cgroups.cgroup(row);
        let (comm, process) = (comm.clone(), self.processes.process(row));
        let owner = Arc::new(Owner { pid, host_pid: 0, uid, real_uid, cgroup, comm, process });
        self.owners.insert(key, Arc::clone(&owner));
        Some(owner)
    }

    pub(super) fn evidence(&self, row: usize) -> Option<Evidence> {
        self.evidence.get(row)
    }

    pub(in crate::journal) fn holder(&self, row: usize) -> Option<Arc<Process>> {
        self.holders.holder(row)
    }

    fn labels(&mut self, row: usize, moments: &MomentReader, places: &PlaceReader) -> Arc<Labels> {
        let (boot, netns) = (&moments.boot, &places.netns_name);
        let keys = [boot.key(row), netns.key(row), self.user.key(row), self.real_user.key(row)];
        if let Some((known, labels)) = &self.last_labels
            && *known == keys
        {
            return Arc::clone(labels);
        }
        let labels = self.labels.entry(keys).or_insert_with(|| {
            Arc::new(Labels {
                boot_id: boot.get(row).cloned(),
                own_netns: self.own_netns,
                netns: netns.get(row).cloned(),
                user: self.user.get(row).cloned(),
                real_user: self.real_user.get(row).cloned(),
            })
        });
        self.last_labels = Some((keys, Arc::clone(labels)));
        Arc::clone(labels)
    }
}
