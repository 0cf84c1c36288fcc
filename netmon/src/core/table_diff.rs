//! The table against the kernel's own: what differs.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    connection::Connection,
    id::{SocketId, Tuple},
    tcp::TcpState,
};

/// The kernel's own table: every TCP socket of some namespaces.
#[derive(Clone, Debug, Default)]
pub(crate) struct KernelTable {
    sockets: FxHashMap<(Option<SocketId>, Tuple), TcpState>,
    namespaces: FxHashSet<u32>,
    /// All namespaces that exist, where that is known.
    existing: Option<FxHashSet<u32>>,
    /// Sockets are known by their places: the table has names of its own for them.
    by_place: bool,
}

impl KernelTable {
    /// One to be compared with a table that does not know all cookies.
    #[must_use]
    pub(crate) fn by_place() -> Self {
        Self { by_place: true, ..Self::default() }
    }

    fn key(&self, cookie: SocketId, tuple: Tuple) -> (Option<SocketId>, Tuple) {
        (Some(cookie).filter(|_| !self.by_place), tuple)
    }

    /// It has such a socket.
    pub(crate) fn add(&mut self, cookie: SocketId, tuple: Tuple, state: TcpState) {
        self.sockets.insert(self.key(cookie, tuple), state);
    }

    /// Notes that all sockets of namespace `netns` were added.
    pub(crate) fn add_namespace(&mut self, netns: u32) {
        self.namespaces.insert(netns);
    }

    /// How many sockets it has.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.sockets.len()
    }

    /// How many namespaces were looked into.
    #[must_use]
    pub(crate) fn namespaces(&self) -> usize {
        self.namespaces.len()
    }

    /// Sets the namespaces that exist.
    pub(crate) fn set_existing(&mut self, existing: FxHashSet<u32>) {
        self.existing = Some(existing);
    }

    /// Returns whether rows of namespace `netns` are compared: the namespace was read, or does not
    /// exist, so that it has no sockets.
    #[must_use]
    pub(crate) fn compares(&self, netns: u32) -> bool {
        let exists = self.existing.as_ref().is_none_or(|existing| existing.contains(&netns));
        self.namespaces.contains(&netns) || !exists
    }

    /// Returns where the table differs, in the namespaces that are compared.
    pub(crate) fn differences<'a>(
        &self,
        table: impl Iterator<Item = &'a Connection>,
    ) -> FxHashSet<Difference> {
        let mut differences = FxHashSet::default();
        let mut unseen: FxHashSet<&(Option<SocketId>, Tuple)> = self.sockets.keys().collect();
        for row in table.filter(|row| self.compares(row.tuple.netns)) {
            let key = self.key(row.id.cookie, row.tuple);
            unseen.remove(&key);
            let kernel = self.sockets.get(&key).copied();
            if kernel != Some(row.state) {
                let (cookie, tuple) = key;
                differences.insert(Difference { cookie, tuple, table: Some(row.state), kernel });
            }
        }
        differences.extend(unseen.into_iter().map(|&(cookie, tuple)| Difference {
            cookie,
            tuple,
            table: None,
            kernel: self.sockets.get(&(cookie, tuple)).copied(),
        }));
        differences
    }
}

/// One socket on which table and kernel disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Difference {
    /// The socket; none where sockets are known by their places.
    pub cookie: Option<SocketId>,
    /// Its place.
    pub tuple: Tuple,
    /// Its state in the table; none where that does not have it.
    pub table: Option<TcpState>,
    /// Its state in the kernel; none where that does not have it.
    pub kernel: Option<TcpState>,
}

impl Difference {
    /// Returns the text of the difference, with the text of the socket's network namespace.
    pub(crate) fn text(&self, netns: impl FnOnce(u32) -> String) -> String {
        let state = |state: Option<TcpState>| state.map_or("nothing", TcpState::name);
        let Self { cookie, tuple, table, kernel } = *self;
        let socket = cookie.map_or_else(|| "a socket".into(), |id| format!("socket {}", id.get()));
        let device = match tuple.interface {
            0 => String::new(),
            interface => format!(" on interface {interface}"),
        };
        format!(
            "{socket} of {}, {} to {}{device}: {} in the table, {} in the kernel",
            netns(tuple.netns),
            tuple.local,
            tuple.remote,
            state(table),
            state(kernel)
        )
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::core::{
        event::{Event, Seed},
        id::{Binding, socket},
        table::ConnectionTable,
        time::at,
    };

    fn tuple(netns: u32, port: u16) -> Tuple {
        let end = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        Tuple { netns, interface: 0, local: end(port), remote: end(80) }
    }

    fn text(difference: &Difference) -> String {
        difference.text(|netns| format!("namespace {netns}"))
    }

    #[test]
    fn says_what_differs_and_nothing_else() {
        use TcpState::{Established, FinWait2, TimeWait};
        let mut table = ConnectionTable::default();
        for (cookie, netns, state) in
            [(1, 1, Established), (2, 1, FinWait2), (3, 1, Established), (4, 2, Established)]
        {
            let tuple = tuple(netns, 1000 + cookie);
            let cookie = socket(cookie.into());
            let seed = Seed {
                time: at(1),
                cookie,
                tuple,
                binding: Binding::default(),
                state,
                minisocket: false,
                holders: Box::default(),
                young: Box::default(),
            };
            let result: Result<(), Infallible> = table.apply(&Event::Seed(seed), |_| Ok(()));
            result.expect("infallible");
        }
        let mut kernel = KernelTable::default();
        kernel.add_namespace(1);
        kernel.add(socket(1), tuple(1, 1001), Established);
        kernel.add(socket(2), tuple(1, 1002), TimeWait);
        kernel.add(socket(5), tuple(1, 1005), Established);
        let mut reported: Vec<String> = kernel.differences(table.rows()).iter().map(text).collect();
        reported.sort();
        assert_eq!(
            reported,
            [
                "socket 2 of namespace 1, 127.0.0.1:1002 to 127.0.0.1:80: FIN_WAIT2 in the table, \
                 TIME_WAIT in the kernel",
                "socket 3 of namespace 1, 127.0.0.1:1003 to 127.0.0.1:80: ESTABLISHED in the \
                 table, nothing in the kernel",
                "socket 5 of namespace 1, 127.0.0.1:1005 to 127.0.0.1:80: nothing in the table, \
                 ESTABLISHED in the kernel",
            ]
        );
        let mut places = KernelTable::by_place();
        places.add_namespace(1);
        for cookie in [1, 2, 3] {
            let state = if cookie == 2 { TimeWait } else { Established };
            places.add(socket(u64::from(cookie) + 10), tuple(1, 1000 + cookie), state);
        }
        let reported: Vec<String> = places.differences(table.rows()).iter().map(text).collect();
        assert_eq!(
            reported,
            ["a socket of namespace 1, 127.0.0.1:1002 to 127.0.0.1:80: FIN_WAIT2 in the table, \
              TIME_WAIT in the kernel"]
        );
    }
}
