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
    /// The word for the pod in the output: the name, or the uid if it has no name.
    pub pod_name: Option<Cow<'a, [u8]>>,
    /// The namespace of the pod.
    pub pod_namespace: Option<&'a str>,
    /// The bytes of the path up to the name of the unit, or of the container without a unit above.
    /// The processes there may choose the names below.
    pub reserved: usize,
}

/// The digits of a container's id.
const ID: usize = 64;
/// The digits that engines show of an id.
const SHORT_ID: usize = 12;
/// The longest name of a unit (`UNIT_NAME_MAX` of systemd, with a NUL).
const MAX_UNIT: usize = 255;

/// The prefixes of the names that engines give to the cgroups of containers, before the id.
const PREFIXES: [(&[u8], Engine); 9] = [
    (b"docker-", Engine::Docker),
    (b"cri-containerd-", Engine::Containerd),
    (b"cri-containerd:", Engine::Containerd),
    (b"nerdctl-", Engine::Containerd),
    (b"crio-", Engine::CriO),
    (b"crio:", Engine::CriO),
    (b"libpod-", Engine::Podman),
    (b"libpod:", Engine::Podman),
    // With `--cgroups=split`, as Quadlet runs containers.
    (b"libpod-payload-", Engine::Podman),
];

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
        workload.pod_name = pod.map(|(pod, _)| pod.as_bytes().into()).or(workload.pod_uid.clone());
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
        match self.within {
            Some(within) => [within, b"/", &short].concat().into(),
            None => short,
        }
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
            workload.pod_uid = workload.pod_uid.or_else(|| pod(name, outer));
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

/// Returns the user whose slice has a name: `user-1000` of `user-1000.slice`.
fn user_of(name: &[u8]) -> Option<&[u8]> {
    let user = name.strip_suffix(b".slice")?;
    let uid = user.strip_prefix(b"user-")?;
    (!uid.is_empty() && uid.iter().all(u8::is_ascii_digit)).then_some(user)
}

/// Returns the engine and the id of the container whose cgroup has a name, between the names
/// `outer` and `inner`.
fn container<'a>(
    name: &'a [u8],
    outer: &[u8],
    inner: Option<&[u8]>,
) -> Option<(Option<Engine>, Cow<'a, [u8]>)> {
    let of = |engine, id| Some((engine, id));
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
    if matches!(outer, b"lxc" | b"lxc.payload") {
        return of(Some(Engine::Lxc), name.into());
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
    // The process that watches over the container is in another cgroup, `supervisor`.
    if inner == Some(b"payload") {
        let between = |from: &[u8], to: &[u8]| name.strip_prefix(from)?.strip_suffix(to);
        let service = between(b"systemd-nspawn@", b".service");
        let id = service.or_else(|| between(b"machine-", b".scope"))?;
        return of(Some(Engine::Nspawn), unescaped(id));
    }
    None
}

/// Returns the pod whose cgroup has a name, below the name `outer`.
fn pod<'a>(name: &'a [u8], outer: &[u8]) -> Option<Cow<'a, [u8]>> {
    let after = |name: &'a [u8], part: &[u8]| {
        let at = name.windows(part.len()).position(|window| window == part)?;
        Some(&name[at + part.len()..])
    };
    let name = name.split(|byte| *byte == b':').next().unwrap_or(name);
    let own = name.strip_suffix(b".slice").unwrap_or(name);
    // Below machine.slice or user.slice, the name begins with that of the slice.
    if let Some(id) = after(own, b"libpod_pod_") {
        return is_id(id).then(|| id.into());
    }
    // Its cgroup driver decides whether Kubernetes nests names, or writes all in one.
    let last = own.rsplit(|byte| *byte == b'-').next().unwrap_or(own);
    let is_nested = || {
        matches!(outer, b"burstable" | b"besteffort")
            || outer.windows(b"kubepods".len()).any(|window| window == b"kubepods")
    };
    let uid = match own.strip_prefix(b"pod") {
        Some(uid) if is_nested() => uid,
        _ if after(own, b"kubepods").is_some() => last.strip_prefix(b"pod")?,
        _ => return None,
    };
    // A uid with its dashes, which systemd takes for levels, or that of a pod from a file.
    let is_digit = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b'-' | b'_');
    let is_uid = matches!(uid.len(), 32 | 36) && uid.iter().all(is_digit);
    is_uid.then(|| {
        if uid.contains(&b'_') {
            uid.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect()
        } else {
            uid.into()
        }
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
        let digits = tail.strip_prefix(b"x").and_then(|tail| tail.get(..2));
        let digits = digits.filter(|_| *first == b'\\');
        let code = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        plain.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    plain.into()
}
