//! A table of the past, as a listing takes it.

use std::{collections::HashMap, sync::Arc};

use crate::core::{
    connection::Connection,
    process::{Process, SocketHolders},
    socket::Socket,
    time::Anchor,
};

/// The table of a host at a moment, as a listing takes it.
pub(in crate::cli) struct PastTable {
    /// The host.
    pub(in crate::cli) host: Arc<str>,
    /// The clocks at that moment.
    pub(in crate::cli) anchor: Anchor,
    pub(in crate::cli) sockets: Vec<Socket>,
    pub(in crate::cli) owners: SocketHolders,
    /// The recorder's own network namespace at that time.
    pub(in crate::cli) own_netns: Option<u32>,
    /// Names at that time.
    pub(in crate::cli) users: HashMap<u32, String>,
    pub(in crate::cli) namespaces: HashMap<u32, String>,
    pub(in crate::cli) cgroups: HashMap<u64, String>,
}

impl PastTable {
    pub(super) fn new(host: Arc<str>, anchor: Anchor, rows: &[&Connection]) -> Self {
        let mut owners = SocketHolders::default();
        let sockets: Vec<_> = rows.iter().map(|row| Socket::from(*row)).collect();
        for (row, socket) in rows.iter().zip(&sockets) {
            let owner = row.owner.as_deref().map(Process::from);
            let holder = row.holder.as_deref().cloned().map(|mut holder| {
                // A process that runs another program by then is in the cgroup that it was in.
                let is_same = |owner: &&Process| owner.pid != 0 && owner.pid == holder.pid;
                let same = owner.as_ref().filter(is_same);
                holder.cgroup = same.and_then(|owner| owner.cgroup.clone());
                holder
            });
            let holder = holder.or(owner);
            if let (Some(holder), Some(key)) = (holder, socket.holder_key()) {
                owners.add_process(key, holder);
            }
        }
        let (mut users, mut namespaces, mut cgroups) =
            (HashMap::new(), HashMap::new(), HashMap::new());
        for row in rows {
            let Some(labels) = &row.labels else { continue };
            if let Some(name) = &labels.netns {
                namespaces.insert(row.tuple.netns, name.to_string());
            }
            let Some(owner) = &row.owner else { continue };
            if let Some(name) = &labels.user {
                users.insert(owner.uid, name.to_string());
            }
            if let Some(cgroup) = &owner.cgroup
                && let Some(path) = cgroup.path()
            {
                cgroups.insert(cgroup.id, String::from_utf8_lossy(path).into_owned());
            }
        }
        let own_netns = rows.iter().find_map(|row| row.labels.as_ref()?.own_netns);
        Self { host, anchor, sockets, owners, own_netns, users, namespaces, cgroups }
    }
}
