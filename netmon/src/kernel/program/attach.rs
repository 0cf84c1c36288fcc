//! Attaches the hooks of the kernel program, in the best way that this kernel allows.

use std::{fs, io, thread};

use aya::{Btf, Ebpf, EbpfLoader, programs::Iter};
use netmon_common::{DumpOptions, KernelFilter, Offsets, TracepointFormat};
use tokio::runtime::Handle;

use super::{
    btf_types::VMLINUX,
    error::{LoadError, refused},
    hook_catalog::{self, Hook},
    hooks::Hooks,
    iterators::BpfIter,
    object::{Options, Programs, Without, open, take},
    offsets_btf::{self, Functions},
    offsets_probed,
    peek::load_peek,
    tracefs, walk,
};
use crate::kernel::{
    host::{
        file_systems::MissingFileSystem, pid_namespace::PidNamespaces, privilege,
        shortage::spawn_scoped,
    },
    ring::rings::{self, Rings},
};

/// The reason why a part is missing that the caller excluded.
pub(in crate::kernel) const NOT_WANTED: &str = "not wanted";

/// The reason why dumps do without iterators where these would leave processes out.
pub(in crate::kernel) const ELSEWHERE: &str =
    "iterators visit the processes of netmon's own pid namespace, /proc has others";

/// The parts that threads make side by side, for errors.
const PROGRAMS: &str = "the kernel program";
const TYPES: &str = "the kernel's types";

/// The reason why the basic tier does not use a hook of the full tier.
const NO_FULL: &str = "the tier is basic";

/// The quality of the view that this kernel allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    /// With types and cookies.
    Full,
    /// Through the classic tracepoints, which name sockets by address.
    Basic,
}

impl Tier {
    /// Returns the word for the tier in the output.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Basic => "basic",
        }
    }
}

/// The result of attaching.
pub(in crate::kernel) struct Attachment {
    pub(in crate::kernel) tier: Tier,
    /// `Ok` if dumps can use iterators, otherwise the reason why not.
    pub(in crate::kernel) iterators: Result<(), String>,
    /// `Ok` if a dump is one walk over all namespaces, otherwise the reason why not.
    pub(in crate::kernel) walk: Result<(), String>,
    /// The reason why the tier is not full.
    pub(in crate::kernel) fell_back: Option<String>,
    /// The caller's options.
    pub(in crate::kernel) options: Options,
}

/// The kernel program, attached.
pub(in crate::kernel) struct Loaded {
    pub(in crate::kernel) ebpf: Ebpf,
    pub(in crate::kernel) rings: Rings,
    pub(in crate::kernel) hooks: Hooks,
    pub(in crate::kernel) tier: Tier,
    /// The places of the fields that the program reads in this kernel.
    pub(in crate::kernel) offsets: Offsets,
    /// `Ok` if dumps can use iterators, otherwise the reason why not.
    pub(in crate::kernel) iterators: Result<(), String>,
    /// `Ok` if a dump is one walk over all namespaces, otherwise the reason why not.
    pub(in crate::kernel) walk: Result<(), String>,
    /// The reason why the tier is not full.
    pub(in crate::kernel) fell_back: Option<String>,
}

/// Loads and attaches everything that traces. From here on the rings fill.
pub(in crate::kernel) fn load(options: Options) -> Result<Loaded, LoadError> {
    check_host()?;
    match full(options) {
        Err(error) if error.allows_fallback() => {
            log::info!("falling back to the classic tracepoints: {error}");
            basic(options, &error).inspect_err(|second| {
                // The first reason counts too, if the second is of a kind that permits a fallback.
                if second.allows_fallback() && second.to_string() != error.to_string() {
                    log::warn!("{error}");
                }
            })
        }
        other => other,
    }
}

fn full(options: Options) -> Result<Loaded, LoadError> {
    let Types { btf, loader, offsets, functions } = Types::read(options.without.btf)?;
    // The stream's seeds need these fields.
    let dump_options = DumpOptions { seed: 1, cgroup: 1, ..DumpOptions::default() };
    let mut format = TracepointFormat::default();
    if options.accept_syscalls {
        format.accept_ret = tracefs::within(tracefs::accept_format)??;
    }
    let mut ebpf = open(loader, options, dump_options, &offsets, &format)?;
    let mut map = take(&mut ebpf, rings::NAME)?;
    let of_processes = take(&mut ebpf, rings::OF_PROCESSES)?;
    let mut programs = Programs::of(&mut ebpf);
    let walks = [BpfIter::Tcp, BpfIter::Files];
    let [first @ .., standby] = &hook_catalog::FULL;
    let of_walks = walks.map(BpfIter::programs);
    let others = [&[standby.program][..], &of_walks.concat(), &walk::PROGRAMS].concat();
    let mut others = programs.split_off(&others);
    let mut hooks = Hooks::default();
    // The verifier works on two threads. Making the rings is mostly waiting.
    let runtime = Handle::current();
    let (rings, (iterators, walk)) = thread::scope(|scope| {
        let no_thread = |error: io::Error| refused(PROGRAMS, &error);
        let rings = spawn_scoped(scope, || {
            let _entered = runtime.enter();
            Rings::new(&mut map, Some(of_processes), options.buffer)
        })
        .map_err(no_thread)?;
        let others = spawn_scoped(scope, || -> Result<_, LoadError> {
            standby.load(&mut others, Some(&btf))?;
            let iterators = if options.without.iterators {
                Err(NOT_WANTED.to_owned())
            } else if !PidNamespaces::current().iterators_see_all() {
                Err(ELSEWHERE.to_owned())
            } else {
                load_walks(&mut others, &btf, &walks).map_err(|error| {
                    log::info!("the table is compared with /proc instead: {error}");
                    error.short()
                })
            };
            // A walk cannot make cookies. Iterators do.
            let walk = iterators.clone().and_then(|()| {
                walk::load(&mut others, &walk::PROGRAMS, &offsets)
                    .inspect_err(|why| log::info!("dumps read each namespace by itself: {why}"))
            });
            Ok((iterators, walk))
        })
        .map_err(no_thread)?;
        for hook in first {
            hook.load(&mut programs, Some(&btf))?;
        }
        load_peek(&mut programs)?;
        if offsets.allow_processes() {
            hooks.load_processes(&mut programs, &btf);
        } else {
            hooks.pass_over(&hook_catalog::PROCESSES, "the kernel's types lack a field");
        }
        if offsets.allow_cgroups() {
            hooks.load_cgroups(&mut programs, &btf);
        } else {
            hooks.pass_over(&hook_catalog::CGROUPS, "the kernel's types lack a field");
        }
        hooks.load_exact(&mut programs, &btf, &functions, !options.without.fentry);
        if options.accept_syscalls {
            hooks.load_accept(&mut programs);
        }
        Ok::<_, LoadError>((joined(rings)?, joined(others)?))
    })?;
    // Attached before the transitions that these hooks explain.
    if options.accept_syscalls {
        tracefs::within(|_| hooks.attach_loaded(&mut ebpf))?;
    } else {
        hooks.attach_loaded(&mut ebpf);
    }
    hooks.attach(&mut ebpf, &hook_catalog::FULL)?;
    let (tier, fell_back) = (Tier::Full, None);
    Ok(Loaded { ebpf, rings, hooks, tier, offsets, iterators, walk, fell_back })
}

/// Loads the classic tracepoints, because `error` prevents the full tier.
fn basic(options: Options, error: &LoadError) -> Result<Loaded, LoadError> {
    let mut format = tracefs::within(tracefs::format)??;
    let offsets = match Types::read(options.without.btf) {
        Ok(types) => types.offsets,
        Err(_) => offsets_probed::offsets(&format)?,
    };
    if options.accept_syscalls {
        format.accept_ret = tracefs::within(tracefs::accept_format)??;
    }
    let mut ebpf = open(EbpfLoader::new(), options, DumpOptions::default(), &offsets, &format)?;
    let mut hooks = Hooks::default();
    let mut programs = Programs::of(&mut ebpf);
    for hook in &hook_catalog::CLASSIC {
        hook.load(&mut programs, None)?;
    }
    if options.accept_syscalls {
        hooks.load_accept(&mut programs);
    }
    load_peek(&mut programs)?;
    let rings = Rings::new(&mut take(&mut ebpf, rings::NAME)?, None, options.buffer)?;
    tracefs::within(|_| {
        hooks.attach_loaded(&mut ebpf);
        hooks.attach(&mut ebpf, &hook_catalog::CLASSIC)
    })??;
    let iterators: Result<(), String> =
        Err("iterators name sockets by cookie, which the classic tracepoints lack".to_owned());
    let error = match error {
        LoadError::NoBtf if options.without.btf => "the kernel's types are not wanted".to_owned(),
        error => error.short(),
    };
    hooks.pass_over(&hook_catalog::FULL, NO_FULL);
    hooks.pass_over(&hook_catalog::EXACT, NO_FULL);
    hooks.pass_over(&hook_catalog::PROCESSES, NO_FULL);
    hooks.pass_over(&hook_catalog::CGROUPS, NO_FULL);
    let (tier, fell_back) = (Tier::Basic, Some(error));
    let walk = iterators.clone();
    Ok(Loaded { ebpf, rings, hooks, tier, offsets, iterators, walk, fell_back })
}

/// The programs of a dump.
pub(in crate::kernel) struct LoadedIterators {
    pub(in crate::kernel) ebpf: Ebpf,
    pub(in crate::kernel) offsets: Offsets,
    /// `Ok` if walks are loaded too, otherwise the reason why not.
    pub(in crate::kernel) walk: Result<(), String>,
}

/// Loads the iterators of a dump, and if wanted the walks. An iterator runs only while it is read.
pub(in crate::kernel) fn load_iterators(
    dump_options: DumpOptions,
    filter: KernelFilter,
    walks: &[BpfIter],
    everywhere: bool,
) -> Result<LoadedIterators, LoadError> {
    check_host()?;
    let Types { btf, loader, offsets, .. } = Types::read(false)?;
    // A dump needs no ring.
    let log = log::LevelFilter::Off;
    let without = Without::default();
    let (accept_syscalls, arguments) = (false, false);
    let options = Options { buffer: 4096, log, filter, accept_syscalls, arguments, without };
    let mut ebpf = open(loader, options, dump_options, &offsets, &TracepointFormat::default())?;
    let mut programs = Programs::of(&mut ebpf);
    load_walks(&mut programs, &btf, walks)?;
    let walk = if everywhere {
        walk::load(&mut programs, &[walk::NAMESPACES], &offsets)
    } else {
        Err(NOT_WANTED.to_owned())
    };
    Ok(LoadedIterators { ebpf, offsets, walk })
}

fn load_walks(programs: &mut Programs<'_>, btf: &Btf, walks: &[BpfIter]) -> Result<(), LoadError> {
    for walk in walks {
        let mut load = |name: &&'static str| {
            let program: &mut Iter = programs.get(name)?;
            program.load(walk.target(), btf).map_err(|error| refused(name, &error))
        };
        let [first, others @ ..] = walk.programs() else { continue };
        if let Err(error) = load(first)
            && !others.iter().any(|name| load(name).is_ok())
        {
            return Err(error);
        }
    }
    Ok(())
}

/// Returns the thread's result, or continues its panic.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Fails if this process lacks a capability for loading, or the host a file system.
pub(crate) fn check_host() -> Result<(), LoadError> {
    let missing = privilege::missing(privilege::Duty::Load);
    if !missing.is_empty() {
        return Err(LoadError::Privilege(missing));
    }
    Ok(MissingFileSystem::check()?)
}

/// The kernel's types.
struct Types {
    btf: Btf,
    loader: EbpfLoader<'static>,
    offsets: Offsets,
    functions: Functions,
}

impl Types {
    /// Reads the types with three parsers side by side: aya's loader insists on a parser of its own
    /// for the same 5 MB.
    fn read(without: bool) -> Result<Self, LoadError> {
        if without || !fs::exists(VMLINUX).unwrap_or(false) {
            return Err(LoadError::NoBtf);
        }
        let names: Vec<_> = hook_catalog::EXACT.iter().flat_map(Hook::targets).copied().collect();
        let (layout, btf, loader) = thread::scope(|scope| {
            let no_thread = |error: io::Error| refused(TYPES, &error);
            let layout = spawn_scoped(scope, || offsets_btf::read(&names)).map_err(no_thread)?;
            let btf = spawn_scoped(scope, Btf::from_sys_fs).map_err(no_thread)?;
            let loader = EbpfLoader::new();
            Ok::<_, LoadError>((joined(layout), joined(btf), loader))
        })?;
        let (offsets, functions) = layout?;
        let btf = btf.map_err(|error| refused("its own BTF", &error))?;
        Ok(Self { btf, loader, offsets, functions })
    }
}
