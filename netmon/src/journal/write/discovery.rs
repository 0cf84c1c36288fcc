//! Finds the processes and network namespaces that are new to a segment, in the batches that are
//! written.

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, TimestampMicrosecondArray};
use rustc_hash::{FxHashMap, FxHashSet};

use super::names::RecorderNames;
use crate::{
    core::{
        process::{Owner, Process},
        program::KnownProcess,
        time::Wall,
    },
    journal::{
        error::Result,
        schema::{
            NamespaceBuilder, NamespaceRow, NumberNames, PartyReader, ProcessBuilder, ProcessRow,
            column::column,
        },
    },
};

/// The maximum number of processes that a segment remembers, some 500 bytes each. Beyond that, some
/// processes get a second row.
const REMEMBERED: usize = 64 << 10;
/// The maximum number of start times that are looked up for a batch, where processes are not
/// followed. On a host that starts more processes, the other start times are unknown.
const LOOKED_UP: usize = 1_000;

/// A process with its effective and its real user; those of one that only held a socket are not
/// known.
type Met = (Process, [Option<u32>; 2]);

/// The number, the name and the program of a holder.
type HolderIdentity = (u32, Box<[u8]>, Option<Arc<KnownProcess>>);

/// Processes and namespaces that a segment has met.
#[derive(Default)]
pub(super) struct Discovery {
    /// Without real users: a dump that finds a process does not know them.
    processes: FxHashSet<Owner>,
    holders: FxHashSet<HolderIdentity>,
    namespaces: FxHashSet<u32>,
}

impl Discovery {
    /// Returns the rows of the processes and namespaces that are new in a batch of events, for the
    /// boot with the id `boot`.
    pub(super) fn rows_of(
        &mut self,
        events: &RecordBatch,
        boot: &Arc<str>,
        names: &mut RecorderNames,
    ) -> Result<(RecordBatch, RecordBatch)> {
        let time: TimestampMicrosecondArray = column(events, "time")?;
        let mut processes = ProcessBuilder::new();
        let mut looked_up = 0;
        for (first_time, (mut process, [uid, real_uid])) in self.new_processes(events, &time)? {
            if process.known.is_none() && looked_up < LOOKED_UP {
                looked_up += 1;
                // The number may be that of a later process by now.
                let started = names.process_started(process.pid);
                let started = started.filter(|started| *started <= first_time);
                process.known = started.map(|started| Arc::new(KnownProcess::started_at(started)));
            }
            processes.push(&ProcessRow {
                time: first_time,
                boot,
                process: &process,
                uid,
                real_uid,
            });
        }
        let mut namespaces = NamespaceBuilder::default();
        for (first_time, inum) in self.new_namespaces(events, &time)? {
            namespaces.push(&NamespaceRow {
                time: first_time,
                boot,
                inum,
                cookie: names.netns_cookie(inum),
                name: names.netns(inum).as_deref(),
            });
        }
        Ok((processes.finish(names)?, namespaces.finish()?))
    }

    /// Returns the processes that are new, each with the least time of its rows, or of a holder
    /// with that of its first row. The first row is not always the earliest, since rows come only
    /// nearly in order.
    fn new_processes(
        &mut self,
        events: &RecordBatch,
        time: &TimestampMicrosecondArray,
    ) -> Result<Vec<(Wall, Met)>> {
        let mut parties = PartyReader::new(events)?;
        // The reader keeps each owner, so that no other comes to its address.
        let mut seen: FxHashMap<*const Owner, Option<usize>> = FxHashMap::default();
        let mut new: Vec<(Wall, Met)> = Vec::new();
        for row in 0..events.num_rows() {
            let row_time = Wall::from_micros(time.value(row));
            if let Some(holder) = parties.holder(row).filter(|holder| holder.pid != 0)
                && self.is_new_holder(&holder)
            {
                new.push((row_time, ((*holder).clone(), [None; 2])));
            }
            let Some(owner) = parties.owner(row).filter(|owner| owner.pid != 0) else { continue };
            if let Some(number) = seen.get(&Arc::as_ptr(&owner)) {
                if let Some((first_time, _)) = number.and_then(|number| new.get_mut(number)) {
                    *first_time = row_time.min(*first_time);
                }
                continue;
            }
            if self.processes.len() >= REMEMBERED {
                self.processes.clear();
            }
            let is_new = self.processes.insert(Owner { real_uid: None, ..(*owner).clone() });
            seen.insert(Arc::as_ptr(&owner), is_new.then_some(new.len()));
            if is_new {
                new.push((row_time, (Process::from(&*owner), [Some(owner.uid), owner.real_uid])));
            }
        }
        Ok(new)
    }

    fn is_new_holder(&mut self, holder: &Process) -> bool {
        if self.holders.len() >= REMEMBERED {
            self.holders.clear();
        }
        let Process { pid, ref comm, ref known, .. } = *holder;
        self.holders.insert((pid, comm.clone(), known.clone()))
    }

    /// Returns the namespaces that are new, each with the least time of its rows.
    fn new_namespaces(
        &mut self,
        events: &RecordBatch,
        time: &TimestampMicrosecondArray,
    ) -> Result<Vec<(Wall, u32)>> {
        let netns: Int64Array = column(events, "netns")?;
        let mut first_times: FxHashMap<u32, Wall> = FxHashMap::default();
        for (row, inum) in netns.iter().enumerate() {
            let Some(inum) = inum.and_then(|inum| u32::try_from(inum).ok()) else { continue };
            let row_time = Wall::from_micros(time.value(row));
            if self.namespaces.insert(inum) {
                first_times.insert(inum, row_time);
            } else if let Some(first_time) = first_times.get_mut(&inum) {
                *first_time = row_time.min(*first_time);
            }
        }
        let mut namespaces: Vec<_> =
            first_times.into_iter().map(|(inum, first_time)| (first_time, inum)).collect();
        namespaces.sort_unstable();
        Ok(namespaces)
    }
}
