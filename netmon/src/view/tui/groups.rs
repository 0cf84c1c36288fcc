//! Connections by a common property, and how fast each group gains and loses connections.

use std::{
    borrow::Cow,
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::LazyLock,
};

use rustc_hash::FxHashMap;

use crate::core::{
    cgroup::Workload,
    change::Change,
    connection::{Connection, Direction},
    escape::{Escaped, EscapedName},
    process::{Owner, PidText, ProcessKey},
    services::Services,
    socket::Protocol,
    tcp::TcpState,
    time::Wall,
};

/// Rates are averages of this number of past seconds.
const RECENT: usize = 5;

/// The property that the connections of a group have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum GroupBy {
    Process,
    Program,
    Unit,
    Container,
    Pod,
    Cgroup,
    Remote,
    /// The port of the service: that of the listener, not of the client.
    Port,
    State,
}

impl GroupBy {
    pub(super) const ALL: [Self; 9] = [
        Self::Process,
        Self::Program,
        Self::Unit,
        Self::Container,
        Self::Pod,
        Self::Cgroup,
        Self::Remote,
        Self::Port,
        Self::State,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Program => "program",
            Self::Unit => "unit",
            Self::Container => "container",
            Self::Pod => "pod",
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
            Self::Process => GroupKey::Process(row.owner.as_ref().map(|owner| {
                let started = owner.process.as_ref().map(|process| process.started);
                (owner.key(), started)
            })),
            Self::Remote => GroupKey::Remote(row.tuple.remote.ip()),
            Self::Port => GroupKey::Port(service_port(row)),
            Self::State => GroupKey::State(row.state),
            Self::Program | Self::Unit | Self::Container | Self::Pod | Self::Cgroup => {
                let text = row.owner.as_ref().and_then(|owner| self.text(owner));
                GroupKey::Text(self, text.map(|text| HASH.hash_one(text)))
            }
        }
    }

    /// Returns the text that the owners of a group have in common.
    pub(super) fn text(self, owner: &Owner) -> Option<Cow<'_, [u8]>> {
        let workload = || Some(owner.cgroup.as_ref()?.workload());
        match self {
            Self::Program => Some((*owner.process.as_ref()?.program.as_ref()?.path).into()),
            Self::Unit => {
                let Workload { unit, user_unit, .. } = workload()?;
                // Users may name their units like those of the system.
                Some(match user_unit {
                    Some(own) => [unit?, b"/", own].concat().into(),
                    None => unit?.into(),
                })
            }
            Self::Container => workload()?.container_name,
            Self::Pod => {
                let Workload { pod_name, pod_namespace, .. } = workload()?;
                Some(match pod_namespace {
                    Some(namespace) => [namespace.as_bytes(), b"/", &pod_name?].concat().into(),
                    None => pod_name?,
                })
            }
            Self::Cgroup => {
                let cgroup = owner.cgroup.as_ref()?;
                Some(cgroup.path().map_or_else(
                    || format!("cgroup {}", cgroup.id).into_bytes().into(),
                    Into::into,
                ))
            }
            Self::Process | Self::Remote | Self::Port | Self::State => None,
        }
    }
}

/// The hash of texts. Its key is random: no user can make two texts that pass for one group.
static HASH: LazyLock<RandomState> = LazyLock::new(RandomState::new);

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
    /// The process and its start: the kernel gives a number again.
    Process(Option<(ProcessKey, Option<Wall>)>),
    Remote(IpAddr),
    Port(u16),
    State(TcpState),
    /// The hash of a text; none for connections without that text.
    Text(GroupBy, Option<u64>),
}

impl GroupKey {
    /// Returns the name of the group; `owner` is the owner of one of its connections.
    pub(super) fn name(self, owner: Option<&Owner>, services: Option<&Services>) -> String {
        match self {
            Self::Process(None) => "- (no process)".to_owned(),
            Self::Process(Some((key, _))) => match (owner, key) {
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
            Self::State(state) => state.to_string(),
            Self::Text(by, of) => match of.and(owner).and_then(|owner| by.text(owner)) {
                Some(text) => Escaped(&text).to_string(),
                None => format!("- (no {})", by.name()),
            },
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
