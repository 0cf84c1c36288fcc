//! Attaches the hooks of the kernel program, in the best way that this kernel allows.

use std::{fs, thread};

use aya::{Btf, Ebpf, EbpfLoader, programs::Iter};
use netmon_common::{Format, KernelFilter, Offsets, Wanted};
use tokio::runtime::Handle;

use super::{
    error::{LoadError, refused},
    hook_catalog::{self, Hook},
    hooks::Hooks,
    iterators::BpfIter,
    object::{Options, Programs, Without, open, take},
    offsets_btf::{self, Functions, VMLINUX},
    offsets_probed,
    peek::load_peek,
    tracefs,
};
use crate::kernel::{
    host::privilege,
    ring::rings::{self, Rings},
};

/// Why there is none of what the caller does without.
pub(in crate::kernel) const NOT_WANTED: &str = "not wanted";

/// Why what the full tier has is not used in another.
const NO_FULL: &str = "the tier is basic";

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

/// How it came to be attached.
pub(in crate::kernel) struct Attachment {
    pub(in crate::kernel) tier: Tier,
    /// Whether there are iterators to dump with; or why not.
    pub(in crate::kernel) iterators: Result<(), String>,
    /// Why it is not the full tier.
    pub(in crate::kernel) fell_back: Option<String>,
    /// What was asked for.
    pub(in crate::kernel) options: Options,
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
        Err(error) if error.allows_fallback() => {
            log::info!("falling back to the classic tracepoints: {error}");
            basic(options, &error).inspect_err(|second| {
                // Both reasons count, if the second is one of this kind.
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
    // What the stream's rows are seeded with.
    let wanted = Wanted { seed: 1, cgroup: 1, ..Wanted::default() };
    let mut format = Format::default();
    if options.accept_syscalls {
        format.accept_ret = tracefs::within(tracefs::accept_format)??;
    }
    let mut ebpf = open(loader, options, wanted, &offsets, &format)?;
    let mut map = take(&mut ebpf, rings::NAME)?;
    let mut programs = Programs::of(&mut ebpf);
    let walks = [BpfIter::Tcp, BpfIter::Files];
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
                    error.short()
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
        error => error.short(),
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
    walks: &[BpfIter],
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

fn load_walks(programs: &mut Programs<'_>, btf: &Btf, walks: &[BpfIter]) -> Result<(), LoadError> {
    for walk in walks {
        let name = walk.program();
        let program: &mut Iter = programs.get(name)?;
        program.load(walk.target(), btf).map_err(|error| refused(name, &error))?;
    }
    Ok(())
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
