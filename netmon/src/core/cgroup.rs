//! Cgroups, and the facts that the path of a cgroup tells: the unit of systemd, the container, the
//! pod. Engines may have names for these.
//!
//! systemd, the engines of containers and the kubelet choose these paths. Every user may make
//! cgroups below an own one, with names of any kind. So each fact is that of the outermost name
//! which tells it: a process in a container cannot pass for a process of another container, nor a
//! process of a user for a process of a system unit.

#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    hash::{Hash, Hasher},
    sync::OnceLock,
};

/// A cgroup of version 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// The id: the inode number of its directory. The kernel does not use it again before the next
    /// boot. 0 where it is unknown.
    pub id: u64,
    /// The path below the root of the hierarchy, any bytes: escape them before showing. A path
    /// whose first names are not known begins with `…/`. None where it is not known.
    pub path: Option<Box<[u8]>>,
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

/// Names do not count: they may come later.
impl Hash for Cgroup {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.id, &self.path).hash(state);
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
}

impl<'a> Container<'a> {
    /// Returns the id as the engines show it: the first 12 digits, or the whole name.
    #[must_use]
    pub fn into_short_id(self) -> Cow<'a, [u8]> {
        match self.id {
            Cow::Borrowed(id) if is_id(id) => id[..SHORT_ID].into(),
            id => id,
        }
    }
}

/// The facts that the path of a cgroup tells of the processes in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload<'a> {
    /// The unit of the system's systemd, as `_SYSTEMD_UNIT` of the journal has it.
    pub unit: Option<&'a [u8]>,
    /// The unit of a user's systemd, as `_SYSTEMD_USER_UNIT` of the journal has it.
    pub user_unit: Option<&'a [u8]>,
    /// The innermost slice above the unit, as `_SYSTEMD_SLICE` of the journal has it.
    pub slice: Option<&'a [u8]>,
    /// The container.
    pub container: Option<Container<'a>>,
    /// The uid of the pod of Kubernetes, or the id of the pod of Podman.
    pub pod: Option<Cow<'a, [u8]>>,
}

impl Workload<'_> {
    /// Returns whether a user has processes there. That user may make cgroups of any name.
    #[must_use]
    pub fn is_of_user(&self) -> bool {
        self.slice.is_some_and(|slice| slice.starts_with(b"user-") || slice == b"user.slice")
    }
}

/// The digits of a container's id.
const ID: usize = 64;
/// The digits that engines show of an id.
const SHORT_ID: usize = 12;
/// The longest name of a unit (`UNIT_NAME_MAX` of systemd, with a NUL).
const MAX_UNIT: usize = 255;

/// The prefixes of the names that engines give to the cgroups of containers, before the id.
const PREFIXES: [(&[u8], Engine); 8] = [
    (b"docker-", Engine::Docker),
    (b"cri-containerd-", Engine::Containerd),
    (b"cri-containerd:", Engine::Containerd),
    (b"nerdctl-", Engine::Containerd),
    (b"crio-", Engine::CriO),
    (b"crio:", Engine::CriO),
    (b"libpod-", Engine::Podman),
    (b"libpod:", Engine::Podman),
];

impl Cgroup {
    /// Makes a cgroup, whose names are not known.
    #[must_use]
    pub const fn new(id: u64, path: Option<Box<[u8]>>) -> Self {
        Self { id, path, container_name: OnceLock::new(), pod_name: OnceLock::new() }
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

    /// Returns how many names are known yet.
    #[must_use]
    pub fn names(&self) -> u8 {
        u8::from(self.container_name.get().is_some()) + u8::from(self.pod_name.get().is_some())
    }

    /// Returns the name of the container, or its short id if it has no name.
    #[must_use]
    pub fn container(&self) -> Option<Cow<'_, [u8]>> {
        match self.container_name.get() {
            Some(name) => Some(name.as_bytes().into()),
            None => Some(self.workload().container?.into_short_id()),
        }
    }

    /// Returns the name of the pod, or its uid if it has no name.
    #[must_use]
    pub fn pod(&self) -> Option<Cow<'_, [u8]>> {
        match self.pod_name.get() {
            Some((name, _)) => Some(name.as_bytes().into()),
            None => self.workload().pod,
        }
    }

    /// Returns the namespace of the pod, if it is known.
    #[must_use]
    pub fn pod_namespace(&self) -> Option<&str> {
        Some(&*self.pod_name.get()?.1)
    }

    /// Returns what the path tells; nothing without a path.
    #[must_use]
    pub fn workload(&self) -> Workload<'_> {
        let Some(path) = &self.path else { return Workload::default() };
        let names = || path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        let [slice, unit, user_unit] = systemd(names());
        let mut outer: &[u8] = b"";
        let mut workload = Workload { unit, user_unit, slice, ..Workload::default() };
        let mut names = names().peekable();
        while let Some(name) = names.next() {
            workload.pod = workload.pod.or_else(|| pod(name, outer));
            workload.container = container(name, outer, names.peek().copied());
            // The names below are those that the container has chosen.
            if workload.container.is_some() {
                break;
            }
            outer = name;
        }
        workload
    }
}

/// Returns the innermost slice above the unit, the unit, and the unit of a user
/// (`cg_path_get_slice`, `cg_path_get_unit` and `cg_path_get_user_unit`, src/basic/cgroup-util.c of
/// systemd).
fn systemd<'a>(names: impl Iterator<Item = &'a [u8]>) -> [Option<&'a [u8]>; 3] {
    let mut names = names.map(|name| name.strip_prefix(b"_").unwrap_or(name));
    let (slice, unit) = below_slices(&mut names);
    let is_of_user = |unit: &&[u8]| unit.starts_with(b"user@") && unit.ends_with(b".service");
    let user_unit = unit.filter(is_of_user).and_then(|_| below_slices(&mut names).1);
    [slice, unit, user_unit]
}

/// Passes over slices. Returns the last of them, and the name after it if that is a unit.
fn below_slices<'a>(
    names: &mut impl Iterator<Item = &'a [u8]>,
) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
    let mut slice = None;
    for name in names {
        if !is_unit(name) {
            break;
        }
        if !name.ends_with(b".slice") {
            return (slice, Some(name));
        }
        slice = Some(name);
    }
    (slice, None)
}

/// Returns whether a name is that of a unit which can have processes, or of a slice.
fn is_unit(name: &[u8]) -> bool {
    const KINDS: [&[u8]; 6] = [b".service", b".scope", b".slice", b".socket", b".mount", b".swap"];
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(byte);
    name.len() <= MAX_UNIT
        && name.iter().all(is_plain)
        && KINDS.iter().any(|kind| name.len() > kind.len() && name.ends_with(kind))
}

/// Returns the container whose cgroup has a name, between the names `outer` and `inner`.
fn container<'a>(name: &'a [u8], outer: &[u8], inner: Option<&[u8]>) -> Option<Container<'a>> {
    let of = |engine, id| Some(Container { engine, id });
    // systemd's form in the words of the engine: kubepods.slice:cri-containerd:ID.
    let colon = name.iter().position(|byte| *byte == b':');
    let below_slice = colon.map(|at| name.split_at(at)).filter(|(of, _)| of.ends_with(b".slice"));
    let own = below_slice.and_then(|(_, own)| own.strip_prefix(b":")).unwrap_or(name);
    let own = own.strip_suffix(b".scope").unwrap_or(own);
    for (prefix, engine) in PREFIXES {
        if let Some(id) = own.strip_prefix(prefix).filter(|id| is_id(id)) {
            return of(Some(engine), id.into());
        }
    }
    if is_id(name) {
        let engine = match outer {
            b"docker" => Some(Engine::Docker),
            b"libpod_parent" => Some(Engine::Podman),
            _ => None,
        };
        return of(engine, name.into());
    }
    if let Some(id) = name.strip_prefix(b"lxc.payload.") {
        return of(Some(Engine::Lxc), id.into());
    }
    if matches!(outer, b"lxc" | b"lxc.payload") {
        return of(Some(Engine::Lxc), name.into());
    }
    // The process that watches over the container is in another cgroup, `supervisor`.
    if inner == Some(b"payload") {
        let service =
            name.strip_prefix(b"systemd-nspawn@").and_then(|n| n.strip_suffix(b".service"));
        let scope = name.strip_prefix(b"machine-").and_then(|n| n.strip_suffix(b".scope"));
        let id = service.or(scope)?;
        return of(Some(Engine::Nspawn), unescaped(id));
    }
    None
}

/// Returns the pod whose cgroup has a name, below the name `outer`.
fn pod<'a>(name: &'a [u8], outer: &[u8]) -> Option<Cow<'a, [u8]>> {
    let has = |name: &[u8], part: &[u8]| name.windows(part.len()).any(|window| window == part);
    let name = name.split(|byte| *byte == b':').next().unwrap_or(name);
    let own = name.strip_suffix(b".slice").unwrap_or(name);
    if let Some(id) = own.strip_prefix(b"machine-").unwrap_or(own).strip_prefix(b"libpod_pod_") {
        return is_id(id).then(|| id.into());
    }
    // Its cgroup driver decides whether Kubernetes nests names, or writes all in one.
    let last = own.rsplit(|byte| *byte == b'-').next().unwrap_or(own);
    let uid = match own.strip_prefix(b"pod") {
        Some(uid) if has(outer, b"kubepods") || matches!(outer, b"burstable" | b"besteffort") => {
            uid
        }
        _ if has(own, b"kubepods") => last.strip_prefix(b"pod")?,
        _ => return None,
    };
    // A uid with its dashes, which systemd takes for levels, or that of a pod from a file.
    let is_digit = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b'-' | b'_');
    let is_uid = matches!(uid.len(), 32 | 36) && uid.iter().all(is_digit);
    is_uid.then(|| match uid.contains(&b'_') {
        true => uid.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect(),
        false => uid.into(),
    })
}

fn is_id(name: &[u8]) -> bool {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    name.len() == ID && name.iter().all(is_digit)
}

/// Returns a name of systemd without its escapes, `\x2d` for `-` (`unit_name_unescape`).
fn unescaped(name: &[u8]) -> Cow<'_, [u8]> {
    if !name.contains(&b'\\') {
        return name.into();
    }
    let mut rest = name;
    let mut plain = Vec::with_capacity(name.len());
    while let [first, tail @ ..] = rest {
        let digits =
            tail.strip_prefix(b"x").and_then(|tail| tail.get(..2)).filter(|_| *first == b'\\');
        let code = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        plain.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    plain.into()
}
