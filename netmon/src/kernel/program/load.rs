//! Loads the kernel program and attaches its hooks, in the best way that this kernel allows.

use std::{borrow::Cow, collections::HashMap, fs, path::PathBuf, thread};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::Map,
    programs::{Iter, Program, ProgramError, RawTracePoint},
};
use netmon_common::{Format, KernelFilter, Offsets, Wanted};
use tokio::runtime::Handle;

use super::{
    error::{LoadError, refused},
    hook_catalog::{self, Hook},
    hooks::Hooks,
    offsets_btf::{self, Functions, VMLINUX},
    offsets_probed, tracefs,
};
use crate::kernel::{
    host::privilege,
    ring::rings::{self, Rings},
    sockets::bpf_iter::Walk,
};

/// The committed object: built by `cargo xtask ebpf`, so that users need no BPF toolchain.
static PREBUILT: &[u8] =
    aya::include_bytes_aligned!("../../../../netmon-ebpf/prebuilt/netmon.bpf.o");
/// Names another object to load, for packagers and tests.
pub(in crate::kernel) const OBJECT_VARIABLE: &str = "NETMON_EBPF_OBJECT";
/// Run on request, attached to nothing: reads the kernel's memory.
pub(in crate::kernel) const PEEK: &str = "peek";

/// Why there is none of what the caller does without.
pub(in crate::kernel) const NOT_WANTED: &str = "not wanted";

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
pub(in crate::kernel) struct Loaded {
    pub(in crate::kernel) ebpf: Ebpf,
    pub(in crate::kernel) rings: Rings,
    pub(in crate::kernel) hooks: Hooks,
    pub(in crate::kernel) tier: Tier,
    /// Where this kernel keeps what.
    pub(in crate::kernel) offsets: Offsets,
    /// Whether there are iterators to dump with; or why not.
    pub(in crate::kernel) iterators: Result<(), String>,
    /// Why it is not the full tier.
    pub(in crate::kernel) fell_back: Option<String>,
}

/// Loads and attaches everything that traces; from here on the rings fill.
pub(in crate::kernel) fn load(options: Options) -> Result<Loaded, LoadError> {
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
    let Types { btf, loader, offsets, functions } = Types::read(options.without.btf)?;
    // What the stream's rows are seeded with.
    let wanted = Wanted { seed: 1, cgroup: 1, ..Wanted::default() };
    let mut format = Format::default();
    if options.accept_syscalls {
        format.accept_ret = tracefs::within(tracefs::accept_format)??;
    }
    let mut ebpf = open(loader, options, wanted, &offsets, &format)?;
    let mut map = take(&mut ebpf, rings::NAME)?;
    let mut programs = Programs::of(&mut ebpf);
    let walks = [Walk::Tcp, Walk::Files];
    let [first @ .., standby] = &hook_catalog::FULL;
    let mut others = programs.split_off(&[standby.program, walks[0].program(), walks[1].program()]);
    let mut hooks = Hooks::default();
    // The verifier's work on two threads. The rings are waiting, for the most part.
    let runtime = Handle::current();
    let (rings, iterators) = thread::scope(|scope| {
        let rings = scope.spawn(|| {
            let _entered = runtime.enter();
            Rings::new(&mut map, options.buffer)
        });
        let others = scope.spawn(|| -> Result<_, LoadError> {
            standby.load(&mut others, Some(&btf))?;
            Ok(if options.without.iterators {
                Err(NOT_WANTED.to_owned())
            } else {
                load_walks(&mut others, &btf, &walks).map_err(|error| {
                    log::info!("the table is compared with /proc instead: {error}");
                    error.in_short()
                })
            })
        });
        for hook in first {
            hook.load(&mut programs, Some(&btf))?;
        }
        load_peek(&mut programs)?;
        hooks.load_exact(&mut programs, &btf, &functions, !options.without.fentry);
        if options.accept_syscalls {
            hooks.load_accept(&mut programs);
        }
        Ok::<_, LoadError>((joined(rings)?, joined(others)?))
    })?;
    // Before the transitions that they explain.
    if options.accept_syscalls {
        tracefs::within(|_| hooks.attach_loaded(&mut ebpf))?;
    } else {
        hooks.attach_loaded(&mut ebpf);
    }
    hooks.attach(&mut ebpf, &hook_catalog::FULL)?;
    let (tier, fell_back) = (Tier::Full, None);
    Ok(Loaded { ebpf, rings, hooks, tier, offsets, iterators, fell_back })
}

/// By the classic tracepoints, since `error` keeps netmon from the better ones.
fn basic(options: Options, error: &LoadError) -> Result<Loaded, LoadError> {
    let mut format = tracefs::within(tracefs::format)??;
    let offsets = match Types::read(options.without.btf) {
        Ok(types) => types.offsets,
        Err(_) => offsets_probed::offsets(&format)?,
    };
    if options.accept_syscalls {
        format.accept_ret = tracefs::within(tracefs::accept_format)??;
    }
    let mut ebpf = open(EbpfLoader::new(), options, Wanted::default(), &offsets, &format)?;
    let mut hooks = Hooks::default();
    let mut programs = Programs::of(&mut ebpf);
    for hook in &hook_catalog::CLASSIC {
        hook.load(&mut programs, None)?;
    }
    if options.accept_syscalls {
        hooks.load_accept(&mut programs);
    }
    load_peek(&mut programs)?;
    let rings = Rings::new(&mut take(&mut ebpf, rings::NAME)?, options.buffer)?;
    tracefs::within(|_| {
        hooks.attach_loaded(&mut ebpf);
        hooks.attach(&mut ebpf, &hook_catalog::CLASSIC)
    })??;
    let iterators =
        Err("they tell sockets by cookies, which the classic tracepoints lack".to_owned());
    let error = match error {
        LoadError::NoBtf if options.without.btf => "the kernel's types are not wanted".to_owned(),
        error => error.in_short(),
    };
    hooks.pass_over(&hook_catalog::FULL, NO_FULL);
    hooks.pass_over(&hook_catalog::EXACT, NO_FULL);
    let (tier, fell_back) = (Tier::Basic, Some(error));
    Ok(Loaded { ebpf, rings, hooks, tier, offsets, iterators, fell_back })
}

/// Loads what dumps: iterators run when they are read, and only then.
pub(in crate::kernel) fn load_iterators(
    wanted: Wanted,
    filter: KernelFilter,
    walks: &[Walk],
) -> Result<Ebpf, LoadError> {
    privileges()?;
    let Types { btf, loader, offsets, .. } = Types::read(false)?;
    // A dump needs no ring.
    let log = log::LevelFilter::Off;
    let without = Without::default();
    let options = Options { buffer: 4096, log, filter, accept_syscalls: false, without };
    let mut ebpf = open(loader, options, wanted, &offsets, &Format::default())?;
    load_walks(&mut Programs::of(&mut ebpf), &btf, walks)?;
    Ok(ebpf)
}

fn load_walks(programs: &mut Programs<'_>, btf: &Btf, walks: &[Walk]) -> Result<(), LoadError> {
    for walk in walks {
        let name = walk.program();
        let program: &mut Iter = programs.get(name)?;
        program.load(walk.target(), btf).map_err(|error| refused(name, &error))?;
    }
    Ok(())
}

pub(super) fn load_peek(programs: &mut Programs<'_>) -> Result<(), LoadError> {
    let peek: &mut RawTracePoint = programs.get(PEEK)?;
    peek.load().map_err(|error| refused(PEEK, &error))
}

/// What the thread came to.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn privileges() -> Result<(), LoadError> {
    let missing = privilege::missing(privilege::Duty::Load);
    if missing.is_empty() { Ok(()) } else { Err(LoadError::Privilege(missing)) }
}

/// What the kernel says of its types.
struct Types {
    btf: Btf,
    loader: EbpfLoader<'static>,
    offsets: Offsets,
    functions: Functions,
}

impl Types {
    /// Three parsers of the same 5 MB, since aya's loader insists on one of its own: side by side.
    fn read(without: bool) -> Result<Self, LoadError> {
        if without || !fs::exists(VMLINUX).unwrap_or(false) {
            return Err(LoadError::NoBtf);
        }
        let names: Vec<_> = hook_catalog::EXACT.iter().flat_map(Hook::targets).copied().collect();
        let (layout, btf, loader) = thread::scope(|scope| {
            let layout = scope.spawn(|| offsets_btf::read(&names));
            let btf = scope.spawn(Btf::from_sys_fs);
            let loader = EbpfLoader::new();
            (joined(layout), joined(btf), loader)
        });
        let (offsets, functions) = layout?;
        let btf = btf.map_err(|error| refused("its own BTF", &error))?;
        Ok(Self { btf, loader, offsets, functions })
    }
}

/// The object, its globals set and its maps made.
pub(in crate::kernel) fn open(
    loader: EbpfLoader<'static>,
    options: Options,
    wanted: Wanted,
    offsets: &Offsets,
    format: &Format,
) -> Result<Ebpf, LoadError> {
    let object = object()?;
    let log = [options.log as u8];
    let rings = rings::count(options.buffer)?;
    // One that may borrow what is set here.
    let mut loader: EbpfLoader<'_> = loader;
    loader
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
pub(in crate::kernel) fn program<'a, P>(
    ebpf: &'a mut Ebpf,
    name: &str,
) -> Result<&'a mut P, LoadError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    of_kind(name, ebpf.program_mut(name))
}

fn of_kind<'a, P>(name: &str, program: Option<&'a mut Program>) -> Result<&'a mut P, LoadError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    program
        .ok_or_else(|| LoadError::missing(name, "program"))?
        .try_into()
        .map_err(|error| refused(name, &error))
}

/// Programs of an object, some of which another thread may load.
pub(in crate::kernel) struct Programs<'a>(HashMap<&'a str, &'a mut Program>);

impl<'a> Programs<'a> {
    /// All.
    pub(in crate::kernel) fn of(ebpf: &'a mut Ebpf) -> Self {
        Self(ebpf.programs_mut().collect())
    }

    /// Parts with those of these names.
    fn split_off(&mut self, names: &[&str]) -> Self {
        Self(self.0.extract_if(|name, _| names.contains(name)).collect())
    }

    /// The program `name`, which a foreign object may lack.
    pub(in crate::kernel) fn get<P>(&mut self, name: &str) -> Result<&mut P, LoadError>
    where
        for<'b> &'b mut P: TryFrom<&'b mut Program, Error = ProgramError>,
    {
        of_kind(name, self.0.get_mut(name).map(|program| &mut **program))
    }
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
pub(in crate::kernel) fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map, LoadError> {
    ebpf.take_map(name).ok_or_else(|| LoadError::missing(name, "map"))
}
