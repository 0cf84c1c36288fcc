//! Loads the kernel program and attaches its hooks, in the best way that this kernel allows.

use std::{borrow::Cow, fs, path::PathBuf, thread};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::Map,
    programs::{Iter, ProgramError, RawTracePoint},
};
use netmon_common::{Format, KernelFilter, Offsets, Wanted};

use super::{
    hooks::{self, Hook, Hooks},
    iter::Walk,
    layout::{self, Functions, VMLINUX},
    measure, privilege,
    refusal::{LoadError, refused},
    rings::{self, Rings},
    tracefs,
};

/// The committed object: built by `cargo xtask ebpf`, so that users need no BPF toolchain.
static PREBUILT: &[u8] = aya::include_bytes_aligned!("../../../netmon-ebpf/prebuilt/netmon.bpf.o");
/// Names another object to load, for packagers and tests.
pub(super) const OBJECT_VARIABLE: &str = "NETMON_EBPF_OBJECT";
/// Run on request, attached to nothing: reads the kernel's memory.
pub(super) const PEEK: &str = "peek";

/// Why there is none of what the caller does without.
pub(super) const NOT_WANTED: &str = "not wanted";

/// Why what the full tier has is not used in another.
const NO_FULL: &str = "the tier is basic";

/// What the caller may choose.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Size of the ring buffers together in bytes: a power of two, at least a page.
    pub buffer: u32,
    /// The most verbose level of the kernel program's own messages.
    pub log: log::LevelFilter,
    /// What the kernel program may leave out.
    pub filter: KernelFilter,
    /// Whether to follow the accept system calls, which slows every system call of the host.
    pub accept_syscalls: bool,
    /// What to do without, though the kernel may have it.
    pub without: Without,
}

/// What netmon is to do without: each has something that stands in for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// The kernel's types.
    pub btf: bool,
    /// Hooks on functions.
    pub fentry: bool,
    /// Iterators.
    pub iterators: bool,
}

/// How well this kernel can be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// With types and cookies.
    Full,
    /// By the classic tracepoints; sockets are known by their addresses.
    Basic,
}

impl Tier {
    /// The word for it in the output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Basic => "basic",
        }
    }
}

/// The kernel program, attached.
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    pub(super) rings: Rings,
    pub(super) hooks: Hooks,
    pub(super) tier: Tier,
    /// Where this kernel keeps what.
    pub(super) offsets: Offsets,
    /// Whether there are iterators to dump with; or why not.
    pub(super) iterators: Result<(), String>,
    /// Why it is not the full tier.
    pub(super) fell_back: Option<String>,
}

/// Loads and attaches everything that traces; from here on the rings fill.
pub(super) fn load(options: Options) -> Result<Loaded, LoadError> {
    privileges()?;
    match full(options) {
        Err(error) if error.is_of_the_kernel() => {
            log::info!("falling back to the classic tracepoints: {error}");
            basic(options, &error).inspect_err(|second| {
                // Both reasons count, if the second is one of this kind.
                if second.is_of_the_kernel() && second.to_string() != error.to_string() {
                    log::warn!("{error}");
                }
            })
        }
        other => other,
    }
}

fn full(options: Options) -> Result<Loaded, LoadError> {
    let types = Types::read(options.without.btf)?;
    // What the stream's rows are seeded with.
    let wanted = Wanted { seed: 1, cgroup: 1, ..Wanted::default() };
    let mut format = Format::default();
    if options.accept_syscalls {
        format.accept_ret = tracefs::within(tracefs::accept_format)??;
    }
    let mut ebpf = open(options, wanted, &types.offsets, &format)?;
    for hook in &hooks::FULL {
        hook.load(&mut ebpf, Some(&types.btf))?;
    }
    let iterators = if options.without.iterators {
        Err(NOT_WANTED.to_owned())
    } else {
        load_walks(&mut ebpf, &types.btf, &[Walk::Tcp, Walk::Files])
            .inspect_err(|error| log::info!("the table is compared with /proc instead: {error}"))
            .map_err(|error| error.in_short())
    };
    load_peek(&mut ebpf)?;
    let mut hooks = Hooks::default();
    hooks.load_exact(&mut ebpf, &types.btf, &types.functions, !options.without.fentry);
    if options.accept_syscalls {
        hooks.load_accept(&mut ebpf);
    }
    let rings = Rings::new(&mut ebpf, options.buffer)?;
    // Before the transitions that they explain.
    if options.accept_syscalls {
        tracefs::within(|_| hooks.attach_loaded(&mut ebpf))?;
    } else {
        hooks.attach_loaded(&mut ebpf);
    }
    hooks.attach(&mut ebpf, &hooks::FULL)?;
    let (tier, offsets, fell_back) = (Tier::Full, types.offsets, None);
    Ok(Loaded { ebpf, rings, hooks, tier, offsets, iterators, fell_back })
}

/// By the classic tracepoints, since `error` keeps netmon from the better ones.
fn basic(options: Options, error: &LoadError) -> Result<Loaded, LoadError> {
    let mut format = tracefs::within(tracefs::format)??;
    let offsets = match Types::read(options.without.btf) {
        Ok(types) => types.offsets,
        Err(_) => measure::offsets(&format)?,
    };
    if options.accept_syscalls {
        format.accept_ret = tracefs::within(tracefs::accept_format)??;
    }
    let mut ebpf = open(options, Wanted::default(), &offsets, &format)?;
    let mut hooks = Hooks::default();
    for hook in &hooks::CLASSIC {
        hook.load(&mut ebpf, None)?;
    }
    if options.accept_syscalls {
        hooks.load_accept(&mut ebpf);
    }
    load_peek(&mut ebpf)?;
    let rings = Rings::new(&mut ebpf, options.buffer)?;
    tracefs::within(|_| {
        hooks.attach_loaded(&mut ebpf);
        hooks.attach(&mut ebpf, &hooks::CLASSIC)
    })??;
    let iterators =
        Err("they tell sockets by cookies, which the classic tracepoints lack".to_owned());
    let error = match error {
        LoadError::NoBtf if options.without.btf => "the kernel's types are not wanted".to_owned(),
        error => error.in_short(),
    };
    hooks.pass_over(&hooks::FULL, NO_FULL);
    hooks.pass_over(&hooks::EXACT, NO_FULL);
    let (tier, fell_back) = (Tier::Basic, Some(error));
    Ok(Loaded { ebpf, rings, hooks, tier, offsets, iterators, fell_back })
}

/// Loads what dumps: iterators run when they are read, and only then.
pub(super) fn load_iterators(
    wanted: Wanted,
    filter: KernelFilter,
    walks: &[Walk],
) -> Result<Ebpf, LoadError> {
    privileges()?;
    let types = Types::read(false)?;
    // A dump needs no ring.
    let log = log::LevelFilter::Off;
    let without = Without::default();
    let options = Options { buffer: 4096, log, filter, accept_syscalls: false, without };
    let mut ebpf = open(options, wanted, &types.offsets, &Format::default())?;
    load_walks(&mut ebpf, &types.btf, walks)?;
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

pub(super) fn load_peek(ebpf: &mut Ebpf) -> Result<(), LoadError> {
    let peek: &mut RawTracePoint = program(ebpf, PEEK)?;
    peek.load().map_err(|error| refused(PEEK, &error))
}

fn privileges() -> Result<(), LoadError> {
    let missing = privilege::missing(privilege::Duty::Load);
    if missing.is_empty() { Ok(()) } else { Err(LoadError::Privilege(missing)) }
}

/// What the kernel says of its types.
struct Types {
    btf: Btf,
    offsets: Offsets,
    functions: Functions,
}

impl Types {
    /// Three parsers of the same 5 MB, with that of aya's loader, which insists: these two side by side.
    fn read(without: bool) -> Result<Self, LoadError> {
        if without || !fs::exists(VMLINUX).unwrap_or(false) {
            return Err(LoadError::NoBtf);
        }
        let names: Vec<_> = hooks::EXACT.iter().flat_map(Hook::targets).copied().collect();
        let (layout, btf) = thread::scope(|scope| {
            let layout = scope.spawn(|| layout::read(&names));
            (layout.join(), Btf::from_sys_fs())
        });
        let (offsets, functions) = layout.map_err(|_| LoadError::NoBtf)??;
        let btf = btf.map_err(|error| refused("its own BTF", &error))?;
        Ok(Self { btf, offsets, functions })
    }
}

/// The object, its globals set and its maps made.
pub(super) fn open(
    options: Options,
    wanted: Wanted,
    offsets: &Offsets,
    format: &Format,
) -> Result<Ebpf, LoadError> {
    let object = object()?;
    let log = [options.log as u8];
    let rings = rings::count(options.buffer)?;
    EbpfLoader::new()
        .override_global("OFFSETS", bytemuck::bytes_of(offsets), true)
        .override_global("FORMAT", bytemuck::bytes_of(format), true)
        .override_global("FILTER", bytemuck::bytes_of(&options.filter), true)
        .override_global("WANTED", bytemuck::bytes_of(&wanted), true)
        .override_global("AYA_LOG_LEVEL", log.as_slice(), true)
        .override_global("RINGS", bytemuck::bytes_of(&rings), true)
        .map_max_entries(rings::NAME, rings)
        .load(&object)
        .map_err(|error| refused("the object", &error))
}

/// The program `name` of the object, which a foreign object may lack.
pub(super) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, LoadError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .ok_or_else(|| LoadError::missing(name, "program"))?
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
    ebpf.take_map(name).ok_or_else(|| LoadError::missing(name, "map"))
}
