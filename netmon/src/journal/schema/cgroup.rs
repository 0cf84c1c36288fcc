//! The cgroup of a party, and where the party runs: its unit, its container, its pod.

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, types::Int64Type};
use rustc_hash::FxHashMap;

use super::{
    column::{BatchColumns, TextReader, column, get},
    shared::{Shared, SharedRows},
};
use crate::{
    core::cgroup::{Cgroup, Engine, Names, Workload},
    journal::error::Result,
};

/// Builds the columns `cgroup_id`, `cgroup`, `unit`, `user_unit`, `container`, `container_id`,
/// `pod`, `pod_uid` and `pod_namespace`.
#[derive(Default)]
pub(super) struct CgroupColumns(Shared<Cgroup>);

impl CgroupColumns {
    /// Returns the number of a cgroup, for [`Self::put`].
    pub(super) fn number(&mut self, cgroup: &Arc<Cgroup>) -> i32 {
        self.0.number(cgroup)
    }

    #[inline]
    pub(super) fn put(&mut self, row: usize, number: Option<i32>) {
        self.0.put(row, number);
    }

    pub(super) fn finish(&mut self, rows: usize, to: &mut BatchColumns) {
        let cgroups = self.0.finish(rows);
        add(&cgroups.map(Moment::of), to);
    }

    /// Adds the columns `slice` and `container_engine` too.
    pub(super) fn finish_all(&mut self, rows: usize, to: &mut BatchColumns) {
        let cgroups = self.0.finish(rows);
        let rows = cgroups.map(Moment::of);
        add(&rows, to);
        to.some("slice", rows.texts(|of| Some(of.workload.slice?.into())));
        let engine = |of: &Moment| of.workload.container.as_ref()?.engine.map(Engine::name);
        to.some("container_engine", rows.texts(|of| Some(engine(of)?.as_bytes().into())));
    }
}

/// A cgroup as it is known when the columns are made. The names may come while they are.
struct Moment<'a> {
    id: u64,
    workload: Workload<'a>,
}

impl<'a> Moment<'a> {
    fn of(cgroup: &'a Arc<Cgroup>) -> Self {
        Self { id: cgroup.id, workload: cgroup.workload() }
    }
}

fn add(rows: &SharedRows<Moment<'_>>, to: &mut BatchColumns) {
    let id = |of: &Moment| Some(of.id.cast_signed()).filter(|id| *id != 0);
    to.some("cgroup_id", rows.numbers::<Int64Type>(id));
    to.some("cgroup", rows.texts(|of| Some(of.workload.path?.into())));
    to.some("unit", rows.texts(|of| Some(of.workload.unit?.into())));
    to.some("user_unit", rows.texts(|of| Some(of.workload.user_unit?.into())));
    to.some("container", rows.texts(|of| of.workload.container_name.clone()));
    to.some("container_id", rows.texts(|of| Some(of.workload.container.as_ref()?.id.clone())));
    to.some("pod", rows.texts(|of| of.workload.pod_name.clone()));
    to.some("pod_uid", rows.texts(|of| of.workload.pod_uid.clone()));
    to.some("pod_namespace", rows.texts(|of| Some(of.workload.pod_namespace?.as_bytes().into())));
}

/// The key of a cgroup of a batch: the id, and the numbers of the path, the container's name, and
/// the pod's name and namespace.
pub(super) type CgroupKeys = (i64, [Option<usize>; 4]);

/// Reads the columns that [`CgroupColumns`] wrote. The path tells what the other columns have.
pub(super) struct CgroupReader {
    id: Int64Array,
    path: TextReader<Box<[u8]>>,
    container: TextReader<String>,
    pod: TextReader<String>,
    pod_namespace: TextReader<String>,
    known: FxHashMap<CgroupKeys, Arc<Cgroup>>,
}

impl CgroupReader {
    pub(super) fn new(batch: &RecordBatch) -> Result<Self> {
        let bytes = |text: &str| Some(text.as_bytes().into());
        let text = |text: &str| Some(text.to_owned());
        Ok(Self {
            id: column(batch, "cgroup_id")?,
            path: TextReader::new(batch, "cgroup", bytes)?,
            container: TextReader::new(batch, "container", text)?,
            pod: TextReader::new(batch, "pod", text)?,
            pod_namespace: TextReader::new(batch, "pod_namespace", text)?,
            known: FxHashMap::default(),
        })
    }

    /// Returns the keys of a row's cgroup; none where it is not known.
    pub(super) fn keys(&self, row: usize) -> Option<CgroupKeys> {
        let texts = [self.container.key(row), self.pod.key(row), self.pod_namespace.key(row)];
        let [container, pod, namespace] = texts;
        Some((get(&self.id, row)?, [self.path.key(row), container, pod, namespace]))
    }

    /// Returns the cgroup of a row, if it is known.
    pub(super) fn cgroup(&mut self, row: usize) -> Option<Arc<Cgroup>> {
        let keys = self.keys(row)?;
        if let Some(known) = self.known.get(&keys) {
            return Some(Arc::clone(known));
        }
        let id = get(&self.id, row)?.cast_unsigned();
        let cgroup = Cgroup::new(id, self.path.get(row).cloned());
        // Without a name, the column has the id.
        let own = cgroup.workload().container_name;
        let own = own.map(|id| String::from_utf8_lossy(&id).into_owned());
        let container = self.container.get(row).filter(|name| Some(*name) != own.as_ref());
        let pod = self.pod.get(row).cloned().zip(self.pod_namespace.get(row).cloned());
        cgroup.name(Names { container: container.cloned(), pod });
        Some(Arc::clone(self.known.entry(keys).or_insert(Arc::new(cgroup))))
    }
}
