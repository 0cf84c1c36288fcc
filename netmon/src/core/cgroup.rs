//! Cgroups, and the facts that the path of a cgroup tells: the unit of systemd, the container, the
//! pod. Engines may have names for these.
//!
//! systemd, the engines of containers and the kubelet choose these paths. Every user may make
//! cgroups below an own one, with names of any kind. So each fact is that of the outermost name
//! which tells it: a process in a container cannot pass for a process of another container, nor a
//! process of a user for a process of a system unit.

mod names;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    hash::{Hash, Hasher},
    sync::OnceLock,
};

use names::{container, is_id, pod, systemd, user_of};

/// A cgroup of version 2.
#[derive(Clone, Debug)]
pub struct Cgroup {
    /// The id: the inode number of its directory. The kernel does not use it again before the next
    /// boot. 0 where it is unknown.
    pub id: u64,
    /// The path below the root of the hierarchy, once it is known.
    path: OnceLock<Box<[u8]>>,
    /// The name of its container, once it is known.
    container_name: OnceLock<String>,
    /// The name of its pod and the pod's namespace, once they are known.
    pod_name: OnceLock<(String, String)>,
}

/// The names that the files of engines have for a container and its pod. Any text: escape it before
/// showing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The name of the container.
    pub container: Option<String>,
    /// The name of the pod, and its namespace.
    pub pod: Option<(String, String)>,
}

/// The id is the identity, and without an id the path: the rest may come later.
impl PartialEq for Cgroup {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && (self.id != 0 || self.path() == other.path())
    }
}

impl Eq for Cgroup {}

impl Hash for Cgroup {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

/// The engine of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Docker.
    Docker,
    /// containerd, through Kubernetes or nerdctl.
    Containerd,
    /// CRI-O.
    CriO,
    /// Podman.
    Podman,
    /// LXC, also through LXD, Incus or Proxmox.
    Lxc,
    /// systemd-nspawn.
    Nspawn,
}

impl Engine {
    /// The word for it in the output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Podman => "podman",
            Self::Lxc => "lxc",
            Self::Nspawn => "systemd-nspawn",
        }
    }
}

/// A container, as a path tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container<'a> {
    /// The engine; none where only the id is known.
    pub engine: Option<Engine>,
    /// The id: 64 hexadecimal digits, or the name that LXC and systemd-nspawn use instead.
    pub id: Cow<'a, [u8]>,
    /// The path of its outermost cgroup.
    pub path: &'a [u8],
    /// The user, as `user-1000`, or the unit below whose cgroup it is: the processes there may have
    /// chosen the id of any container.
    pub within: Option<&'a [u8]>,
    /// That is a user.
    pub is_of_user: bool,
}

/// Where the processes of a cgroup run, as far as it is known at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload<'a> {
    /// The path of the cgroup.
    pub path: Option<&'a [u8]>,
    /// The unit of the system's systemd, as `_SYSTEMD_UNIT` of the journal has it.
    pub unit: Option<&'a [u8]>,
    /// The unit of a user's systemd, as `_SYSTEMD_USER_UNIT` of the journal has it.
    pub user_unit: Option<&'a [u8]>,
    /// The innermost slice above the unit, as `_SYSTEMD_SLICE` of the journal has it.
    pub slice: Option<&'a [u8]>,
    /// The container.
    pub container: Option<Container<'a>>,
    /// The word for the container in the output: the name, or the short id if it has no name. A
    /// container below a user or a unit begins with that, unless a file of root names it:
    /// `user-1000/3f2a9c0d4b5e`.
    pub container_name: Option<Cow<'a, [u8]>>,
    /// The uid of the pod of Kubernetes, or the id of the pod of Podman.
    pub pod_uid: Option<Cow<'a, [u8]>>,
    /// As [`Container::within`], of the pod.
    pub pod_within: Option<&'a [u8]>,
    /// The word for the pod in the output: the name, or the uid if it has no name. A uid below a
    /// user or a unit begins with that, as for a container.
    pub pod_name: Option<Cow<'a, [u8]>>,
    /// The namespace of the pod.
    pub pod_namespace: Option<&'a str>,
    /// The bytes of the path up to the name of the unit, or of the container without a unit above.
    /// The processes there may choose the names below.
    pub reserved: usize,
}

/// The digits that engines show of an id.
const SHORT_ID: usize = 12;

impl Cgroup {
    /// Makes a cgroup, whose names are not known.
    #[must_use]
    pub fn new(id: u64, path: Option<Box<[u8]>>) -> Self {
        let path = path.map_or_else(OnceLock::new, OnceLock::from);
        Self { id, path, container_name: OnceLock::new(), pod_name: OnceLock::new() }
    }

    /// Returns the path, once it is known. Any bytes: escape them before showing. A path begins
    /// with `…/` where its first names are not known, and ends with `/…` where the last are not.
    #[must_use]
    pub fn path(&self) -> Option<&[u8]> {
        self.path.get().map(|path| &**path)
    }

    /// Gives a path to the cgroup. Returns `false` if it has one.
    pub fn found_at(&self, path: Box<[u8]>) -> bool {
        self.path.set(path).is_ok()
    }

    /// Gives names to the cgroup. Those that it has stay.
    pub fn name(&self, names: Names) {
        if let Some(container) = names.container {
            let _ = self.container_name.set(container);
        }
        if let Some(pod) = names.pod {
            let _ = self.pod_name.set(pod);
        }
    }

    /// Returns how much of the path and the names is known yet.
    #[must_use]
    pub fn known(&self) -> u8 {
        let (container, pod) = (self.container_name.get(), self.pod_name.get());
        [self.path().is_some(), container.is_some(), pod.is_some()].map(u8::from).iter().sum()
    }

    /// Returns where the processes of the cgroup run.
    #[must_use]
    pub fn workload(&self) -> Workload<'_> {
        let mut workload = self.path().map(Workload::of).unwrap_or_default();
        let name = self.container_name.get().map(|name| name.as_bytes().into());
        let container = workload.container.as_ref();
        workload.container_name = name.or_else(|| Some(container?.short_name()));
        let pod = self.pod_name.get();
        let uid = || Some(below(workload.pod_within, workload.pod_uid.clone()?));
        workload.pod_name = pod.map(|(pod, _)| pod.as_bytes().into()).or_else(uid);
        workload.pod_namespace = pod.map(|(_, namespace)| &**namespace);
        workload
    }
}

impl<'a> Container<'a> {
    /// Returns the word for a container without a name: the first digits of the id, or the whole
    /// name that is used instead.
    fn short_name(&self) -> Cow<'a, [u8]> {
        let short = match self.id {
            Cow::Borrowed(id) if is_id(id) => id[..SHORT_ID].into(),
            ref id => id.clone(),
        };
        below(self.within, short)
    }
}

/// Returns an id, after the user or the unit below which it is.
fn below<'a>(within: Option<&'a [u8]>, id: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
    match within {
        Some(within) => [within, b"/", &id].concat().into(),
        None => id,
    }
}

impl<'a> Workload<'a> {
    /// Returns what a path tells.
    fn of(path: &'a [u8]) -> Self {
        let names = || path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        let end = |part: &[u8]| part.as_ptr().addr() - path.as_ptr().addr() + part.len();
        let [slice, unit, user_unit] = systemd(names());
        let reserved = unit.map_or(path.len(), end);
        let whole = Some(path);
        let mut workload =
            Self { path: whole, unit, user_unit, slice, reserved, ..Self::default() };
        let (mut outer, mut user): (&[u8], _) = (b"", None);
        let mut names = names().peekable();
        while let Some(name) = names.next() {
            // A user's slice is above every unit.
            let is_above = unit.is_none_or(|unit| end(name) < end(unit));
            user = user.or_else(|| user_of(name).filter(|_| is_above));
            if workload.pod_uid.is_none()
                && let Some(uid) = pod(name, outer)
            {
                workload.pod_uid = Some(uid);
                workload.pod_within = user.or_else(|| unit.filter(|unit| end(unit) < end(name)));
            }
            // The names below are those that the container has chosen.
            if let Some((engine, id)) = container(name, outer, names.peek().copied()) {
                let path = &path[..end(name)];
                let above = unit.filter(|unit| end(unit) < path.len());
                workload.reserved = above.map_or(path.len(), end);
                let (within, is_of_user) = (user.or(above), user.is_some());
                workload.container = Some(Container { engine, id, path, within, is_of_user });
                break;
            }
            outer = name;
        }
        workload
    }
}
