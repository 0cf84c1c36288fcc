//! Connections by a common property, and how fast each group gains and loses connections.

use std::{collections::VecDeque, net::IpAddr};

use rustc_hash::FxHashMap;

use crate::core::{
    change::Change,
    connection::{Connection, Direction},
    escape::{Escaped, EscapedName},
    process::{Owner, PidText, ProcessKey},
    services::Services,
    socket::Protocol,
    tcp::TcpState,
};

/// Rates are averages of this number of past seconds.
const RECENT: usize = 5;

/// The property that the connections of a group have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupBy {
    Process,
    Remote,
    /// The port of the service: that of the listener, not of the client.
    Port,
    Cgroup,
    State,
}

impl GroupBy {
    pub(super) const ALL: [Self; 5] =
        [Self::Process, Self::Remote, Self::Port, Self::Cgroup, Self::State];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Remote => "foreign address",
            Self::Port => "port of the service",
            Self::Cgroup => "cgroup",
            Self::State => "state",
        }
    }

    /// Returns the next property; none after the last.
    pub(super) fn after(current: Option<Self>) -> Option<Self> {
        let at = current.and_then(|current| Self::ALL.iter().position(|by| *by == current));
        Self::ALL.get(at.map_or(0, |at| at + 1)).copied()
    }

    /// Returns the group of a connection.
    pub(super) fn key(self, row: &Connection) -> GroupKey {
        match self {
            Self::Process => GroupKey::Process(row.owner.as_ref().map(|owner| owner.key())),
            Self::Remote => GroupKey::Remote(row.tuple.remote.ip()),
            Self::Port => GroupKey::Port(service_port(row)),
            Self::Cgroup => {
                let cgroup = row.owner.as_ref().map(|owner| owner.cgroup);
                GroupKey::Cgroup(cgroup.filter(|cgroup| *cgroup != 0))
            }
            Self::State => GroupKey::State(row.state),
        }
    }
}

/// Returns the port of the end that waits for connections. Where the direction is not known, the
/// lower port is taken: ephemeral ports are high (`ip_local_port_range`, by default from 32768
/// on).
fn service_port(row: &Connection) -> u16 {
    let (local, remote) = (row.tuple.local.port(), row.tuple.remote.port());
    match row.direction.or(row.inferred_direction) {
        Some(Direction::Outbound) => remote,
        Some(Direction::Inbound | Direction::Listen) => local,
        None if remote == 0 => local,
        None => local.min(remote),
    }
}

/// A group: the value of the property that its connections have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum GroupKey {
    Process(Option<ProcessKey>),
    Remote(IpAddr),
    Port(u16),
    Cgroup(Option<u64>),
    State(TcpState),
}

impl GroupKey {
    /// Returns the name of the group; `owner` is the owner of one of its connections.
    pub(super) fn name(
        self,
        owner: Option<&Owner>,
        services: Option<&Services>,
        cgroup: Option<&str>,
    ) -> String {
        match self {
            Self::Process(None) => "- (no process)".to_owned(),
            Self::Process(Some(key)) => match (owner, key) {
                (Some(owner), _) => program(Some(owner)),
                (None, ProcessKey::Inside(pid)) => pid.to_string(),
                (None, ProcessKey::Outside(_)) => "- (outside)".to_owned(),
            },
            Self::Remote(address) => address.to_string(),
            Self::Port(0) => "- (no port)".to_owned(),
            Self::Port(port) => {
                let name = services.and_then(|services| services.name(Protocol::Tcp, port));
                let name = name.map(|name| format!(" ({})", Escaped(name.as_bytes())));
                format!(":{port}{}", name.unwrap_or_default())
            }
            Self::Cgroup(None) => "- (no cgroup)".to_owned(),
            Self::Cgroup(Some(id)) => match cgroup {
                Some(path) => Escaped(path.as_bytes()).to_string(),
                None => format!("cgroup {id}"),
            },
            Self::State(state) => state.to_string(),
        }
    }
}

/// The number of connections that came to a group, and the number that left the group.
type Flow = [u32; 2];

/// The flows of the last seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Flows {
    by: Option<GroupBy>,
    now: FxHashMap<GroupKey, Flow>,
    /// The current second was counted from its beginning.
    is_whole: bool,
    seconds: VecDeque<FxHashMap<GroupKey, Flow>>,
}

impl Flows {
    /// Begins anew for groups of another kind.
    pub(super) fn group(&mut self, by: Option<GroupBy>) {
        *self = Self { by, ..Self::default() };
    }

    /// Takes a change of a connection that is shown.
    pub(super) fn add(&mut self, change: &Change<'_>) {
        let Some(by) = self.by else { return };
        let Some(step) = change.step() else { return };
        if by == GroupBy::State {
            // A connection that begins leaves no state, and a connection that ends comes to none.
            if step.transition.new != TcpState::Close {
                self.now.entry(GroupKey::State(step.transition.new)).or_default()[0] += 1;
            }
            if !matches!(change, Change::Opened(_)) {
                self.now.entry(GroupKey::State(step.transition.old)).or_default()[1] += 1;
            }
            return;
        }
        let flow = match change {
            Change::Opened(_) => 0,
            Change::Closed(_) => 1,
            _ => return,
        };
        self.now.entry(by.key(step.connection)).or_default()[flow] += 1;
    }

    /// Ends the current second, as the last of `seconds` seconds.
    pub(super) fn tick(&mut self, seconds: usize) {
        if self.by.is_some() {
            let second = std::mem::take(&mut self.now);
            // The first count is of a part of a second.
            if std::mem::replace(&mut self.is_whole, true) {
                let idle = std::iter::repeat_with(FxHashMap::default);
                self.seconds.extend(idle.take(seconds.min(RECENT) - 1).chain([second]));
            }
        }
        while self.seconds.len() > RECENT {
            self.seconds.pop_front();
        }
    }

    /// Returns how many connections came and left each second, on average of the last seconds; none
    /// if no second was counted.
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    pub(super) fn of(&self, key: GroupKey) -> Option<[f64; 2]> {
        if self.seconds.is_empty() {
            return None;
        }
        let seconds = self.seconds.len() as f64;
        let flows = self.seconds.iter().filter_map(|second| second.get(&key));
        Some(flows.fold([0.0; 2], |sum, flow| {
            [sum[0] + f64::from(flow[0]) / seconds, sum[1] + f64::from(flow[1]) / seconds]
        }))
    }

    /// Returns the groups that connections came to or left in the last seconds.
    pub(super) fn keys(&self) -> impl Iterator<Item = GroupKey> {
        self.seconds.iter().flat_map(|second| second.keys().copied())
    }
}

/// Returns a process as netstat shows it; `-` for none.
pub(super) fn program(owner: Option<&Owner>) -> String {
    owner.map_or("-".to_owned(), |owner| {
        format!("{}/{}", PidText(owner.pid), EscapedName(&owner.comm))
    })
}
