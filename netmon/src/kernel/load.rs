//! Loads the kernel program and attaches its hooks.

use std::{borrow::Cow, fs, io, path::PathBuf, thread};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::Map,
    programs::{BtfTracePoint, Iter, ProgramError, RawTracePoint, tp_btf::BtfTracePointLink},
};
use netmon_common::{KernelFilter, Offsets, Wanted};

use super::{
    iter::Walk,
    layout::{self, LayoutError, VMLINUX},
    privilege,
    rings::{self, Rings},
};

/// The committed object: built by `cargo xtask ebpf`, so that users need no BPF toolchain.
static PREBUILT: &[u8] = aya::include_bytes_aligned!("../../../netmon-ebpf/prebuilt/netmon.bpf.o");
/// Names another object to load, for packagers and tests.
const OBJECT_VARIABLE: &str = "NETMON_EBPF_OBJECT";
/// What follows every transition: the program, which has the name of its tracepoint.
pub(super) const TRANSITIONS: &str = "inet_sock_set_state";
/// The programs on BTF tracepoints, and their tracepoints, in the order in which they are attached: no
/// transition is to come without the resets that explain it, and of the two on one tracepoint the one on
/// standby runs second.
pub(super) const HOOKS: [(&str, &str); 4] = [
    ("tcp_receive_reset", "tcp_receive_reset"),
    ("tcp_send_reset", "tcp_send_reset"),
    (TRANSITIONS, TRANSITIONS),
    ("standby", TRANSITIONS),
];
/// Run on request, attached to nothing.
pub(super) const LOCAL_PORT: &str = "local_port";

/// What the caller may choose.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Size of the ring buffers together in bytes: a power of two, at least a page.
    pub buffer: u32,
    /// The most verbose level of the kernel program's own messages.
    pub log: log::LevelFilter,
    /// What the kernel program may leave out.
    pub filter: KernelFilter,
}

/// Why tracing cannot start; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Capabilities are missing.
    #[error("this takes {}, which this process lacks: run it with sudo", .0.join(" and "))]
    Privilege(Vec<&'static str>),
    /// The kernel publishes no types.
    #[error(
        "this kernel has no BTF ({VMLINUX} is missing), which netmon needs: run a kernel built with \
         CONFIG_DEBUG_INFO_BTF=y, as those of the large distributions are since 2021"
    )]
    NoBtf,
    /// The kernel's types are not as expected.
    #[error("{source}; netmon needs Linux 5.12 or newer, this is {}", release())]
    Layout {
        /// What is missing.
        #[from]
        source: LayoutError,
    },
    /// The ring buffer could not be made.
    #[error(
        "the kernel cannot make a ring buffer of {size} bytes ({source}): choose a smaller --buffer{}",
        privilege::memory_advice().map(|advice| format!("; {advice}")).unwrap_or_default()
    )]
    Buffer {
        /// The size asked for.
        size: u32,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The object named by the environment is unusable.
    #[error("{OBJECT_VARIABLE}={}: {source}", .path.display())]
    Object {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The environment names an object, and this process must not follow it.
    #[error(
        "{OBJECT_VARIABLE} is obeyed only for root, in a program without file capabilities: unset it"
    )]
    ObjectRefused,
    /// The kernel refused the program or a hook.
    #[error(
        "the kernel ({}) refused {what}: {reason}; netmon needs Linux 5.12 or newer with BTF",
        release()
    )]
    Refused {
        /// The map, program or hook.
        what: String,
        /// Its answer, one line.
        reason: String,
    },
}

/// A hook; dropped, it is detached.
pub(super) type Hook = BtfTracePointLink;

/// Loads and attaches everything that traces; from here on the ring fills. Also whether there are iterators
/// to dump with: the stream is worth having without.
pub(super) fn load(options: Options) -> Result<(Ebpf, Rings, Vec<Hook>, bool), LoadError> {
    // What the stream's rows are seeded with.
    let wanted = Wanted { seed: 1, cgroup: 1, ..Wanted::default() };
    let (mut ebpf, btf) = open(options, wanted)?;
    for (name, tracepoint) in HOOKS {
        let program: &mut BtfTracePoint = program(&mut ebpf, name)?;
        program.load(tracepoint, &btf).map_err(|error| refused(name, &error))?;
    }
    let iterators = load_walks(&mut ebpf, &btf, &[Walk::Tcp, Walk::Files])
        .inspect_err(|error| log::info!("the table is compared with /proc instead: {error}"))
        .is_ok();
    let local_port: &mut RawTracePoint = program(&mut ebpf, LOCAL_PORT)?;
    local_port.load().map_err(|error| refused(LOCAL_PORT, &error))?;
    let rings = Rings::new(&mut ebpf, options.buffer)?;
    let mut hooks = Vec::new();
    for (name, _) in HOOKS {
        let program: &mut BtfTracePoint = program(&mut ebpf, name)?;
        let link = program.attach().and_then(|link| program.take_link(link));
        hooks.push(link.map_err(|error| refused(name, &error))?);
    }
    Ok((ebpf, rings, hooks, iterators))
}

/// Loads what dumps: iterators run when they are read, and only then.
pub(super) fn load_iterators(
    wanted: Wanted,
    filter: KernelFilter,
    walks: &[Walk],
) -> Result<Ebpf, LoadError> {
    // A dump needs no ring.
    let options = Options { buffer: 4096, log: log::LevelFilter::Off, filter };
    let (mut ebpf, btf) = open(options, wanted)?;
    load_walks(&mut ebpf, &btf, walks)?;
    Ok(ebpf)
}

fn load_walks(ebpf: &mut Ebpf, btf: &Btf, walks: &[Walk]) -> Result<(), LoadError> {
    for walk in walks {
        let name = walk.program();
        let program: &mut Iter = program(ebpf, name)?;
        program.load(walk.target(), btf).map_err(|error| refused(name, &error))?;
    }
    Ok(())
}

/// The object, its globals set and its maps made, and the types to load its programs with.
fn open(options: Options, wanted: Wanted) -> Result<(Ebpf, Btf), LoadError> {
    let missing = privilege::missing(privilege::Duty::Load);
    if !missing.is_empty() {
        return Err(LoadError::Privilege(missing));
    }
    if !fs::exists(VMLINUX).unwrap_or(false) {
        return Err(LoadError::NoBtf);
    }
    let object = object()?;
    // Three parsers of the same 5 MB, aya's twice (its loader insists): side by side.
    let (offsets, btf, mut loader) = thread::scope(|scope| {
        let offsets = scope.spawn(layout::offsets);
        let btf = scope.spawn(Btf::from_sys_fs);
        let loader = EbpfLoader::new();
        (offsets.join(), btf.join(), loader)
    });
    let offsets: Offsets = offsets.map_err(|_| LoadError::NoBtf)??;
    let btf = btf.map_err(|_| LoadError::NoBtf)?.map_err(|error| refused("its own BTF", &error))?;
    let log = [options.log as u8];
    let rings = rings::count(options.buffer)?;
    let ebpf = loader
        .override_global("OFFSETS", bytemuck::bytes_of(&offsets), true)
        .override_global("FILTER", bytemuck::bytes_of(&options.filter), true)
        .override_global("WANTED", bytemuck::bytes_of(&wanted), true)
        .override_global("AYA_LOG_LEVEL", log.as_slice(), true)
        .override_global("RINGS", bytemuck::bytes_of(&rings), true)
        .map_max_entries(rings::NAME, rings)
        .load(&object)
        .map_err(|error| refused("the object", &error))?;
    Ok((ebpf, btf))
}

/// The program `name` of the object, which a foreign object may lack.
pub(super) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, LoadError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .ok_or_else(|| LoadError::Refused {
            what: name.to_owned(),
            reason: "the object has no such program".to_owned(),
        })?
        .try_into()
        .map_err(|error| refused(name, &error))
}

/// The object to load: the environment's, or the committed one.
fn object() -> Result<Cow<'static, [u8]>, LoadError> {
    let Some(path) = std::env::var_os(OBJECT_VARIABLE).map(PathBuf::from) else {
        return Ok(Cow::Borrowed(PREBUILT));
    };
    // With file capabilities, or through sudo -E for a lesser user, the caller would choose what
    // runs in the kernel.
    if !rustix::process::getuid().is_root() || privilege::is_secure() {
        return Err(LoadError::ObjectRefused);
    }
    fs::read(&path).map(Cow::Owned).map_err(|source| LoadError::Object { path, source })
}

/// The map `name` of the object, which a foreign object may lack.
pub(super) fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map, LoadError> {
    ebpf.take_map(name).ok_or_else(|| LoadError::Refused {
        what: name.to_owned(),
        reason: "the object has no such map".to_owned(),
    })
}

/// The refusal in one line: causes joined, the verifier's log to the debug log.
pub(super) fn refused(what: &str, error: &(dyn std::error::Error + 'static)) -> LoadError {
    let mut reasons = Vec::new();
    let mut next = Some(error);
    let mut advice = None;
    while let Some(error) = next {
        if error
            .downcast_ref()
            .is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied)
        {
            advice = privilege::memory_advice().map(str::to_owned);
        }
        let text = error.to_string();
        log::debug!("{what}: {text}");
        let first = text.lines().next().unwrap_or_default().trim_end_matches(':').to_owned();
        if reasons.last() != Some(&first) {
            reasons.push(first);
        }
        next = error.source();
    }
    reasons.extend(advice);
    LoadError::Refused { what: what.to_owned(), reason: reasons.join(": ") }
}

fn release() -> String {
    format!("Linux {}", rustix::system::uname().release().to_string_lossy())
}
