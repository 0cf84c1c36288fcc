//! The names in the path of a cgroup, as systemd, the engines of containers and the kubelet choose
//! them.

use std::borrow::Cow;

use super::Engine;

/// The digits of a container's id.
const ID: usize = 64;
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

/// Returns the innermost slice above the unit, the unit, and the unit of a user
/// (`cg_path_get_slice`, `cg_path_get_unit` and `cg_path_get_user_unit`, src/basic/cgroup-util.c of
/// systemd).
pub(super) fn systemd<'a>(names: impl Iterator<Item = &'a [u8]>) -> [Option<&'a [u8]>; 3] {
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
pub(super) fn user_of(name: &[u8]) -> Option<&[u8]> {
    let user = name.strip_suffix(b".slice")?;
    let uid = user.strip_prefix(b"user-")?;
    (!uid.is_empty() && uid.iter().all(u8::is_ascii_digit)).then_some(user)
}

/// Returns the engine and the id of the container whose cgroup has a name, between the names
/// `outer` and `inner`.
pub(super) fn container<'a>(
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
pub(super) fn pod<'a>(name: &'a [u8], outer: &[u8]) -> Option<Cow<'a, [u8]>> {
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

pub(super) fn is_id(name: &[u8]) -> bool {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    name.len() == ID && name.iter().all(is_digit)
}

/// Returns a name of systemd without its escapes, `\x2d` for `-` (`unit_name_unescape`).
pub(super) fn unescaped(name: &[u8]) -> Cow<'_, [u8]> {
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
