//! The object: reads it, sets its globals, makes its maps, and finds its programs and maps by name.

use std::{borrow::Cow, collections::HashMap, fs, path::PathBuf};

use aya::{
    Ebpf, EbpfLoader,
    maps::Map,
    programs::{Program, ProgramError},
};
use netmon_common::{DumpOptions, KernelFilter, Offsets, TracepointFormat};

use super::error::{LoadError, OBJECT_VARIABLE, refused};
use crate::kernel::{
    host::{pid_namespace::PidNamespaces, privilege},
    ring::rings,
};

/// The committed object: built by `cargo xtask ebpf`, so that users need no BPF toolchain.
static PREBUILT: &[u8] =
    aya::include_bytes_aligned!("../../../../netmon-ebpf/prebuilt/netmon.bpf.o");

/// The choices of the caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// The size of all ring buffers together, bytes: a power of two, at least a page.
    pub buffer: u32,
    /// The most verbose level of the kernel program's own messages.
    pub log: log::LevelFilter,
    /// The filter by which the kernel program may leave connections out.
    pub filter: KernelFilter,
    /// `true` to follow the accept system calls, which slows every system call of the host.
    pub accept_syscalls: bool,
    /// `true` to keep the arguments of processes.
    pub arguments: bool,
    /// The parts to do without, even if the kernel has them.
    pub without: Without,
}

/// The parts that netmon is to do without. Each part has a substitute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Without {
    /// The kernel's types.
    pub btf: bool,
    /// Hooks on functions.
    pub fentry: bool,
    /// Iterators.
    pub iterators: bool,
}

/// Opens the object, sets its globals and makes its maps.
pub(in crate::kernel) fn open(
    loader: EbpfLoader<'static>,
    options: Options,
    dump_options: DumpOptions,
    offsets: &Offsets,
    format: &TracepointFormat,
) -> Result<Ebpf, LoadError> {
    let object = object()?;
    let log = [options.log as u8];
    let rings = rings::count(options.buffer)?;
    let with_arguments = u32::from(options.arguments);
    let pid_namespace = PidNamespaces::current().shown().unwrap_or_default();
    // A loader that may borrow the values below.
    let mut loader: EbpfLoader<'_> = loader;
    loader
        .override_global("OFFSETS", bytemuck::bytes_of(offsets), true)
        .override_global("TRACEPOINT_FORMAT", bytemuck::bytes_of(format), true)
        .override_global("FILTER", bytemuck::bytes_of(&options.filter), true)
        .override_global("DUMP_OPTIONS", bytemuck::bytes_of(&dump_options), true)
        .override_global("AYA_LOG_LEVEL", log.as_slice(), true)
        .override_global("PID_NAMESPACE", bytemuck::bytes_of(&pid_namespace), true)
        .override_global("WITH_ARGUMENTS", bytemuck::bytes_of(&with_arguments), true)
        .override_global("RINGS", bytemuck::bytes_of(&rings), true)
        .map_max_entries(rings::OF_PROCESSES, rings::process_size(options.buffer))
        .map_max_entries(rings::NAME, rings)
        .load(&object)
        .map_err(|error| LoadError::of_object(&error))
}

/// Returns the program `name` of the object; a foreign object may lack it.
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

/// The programs of an object. Another thread may load some of them.
pub(in crate::kernel) struct Programs<'a>(HashMap<&'a str, &'a mut Program>);

impl<'a> Programs<'a> {
    /// Returns all programs of the object.
    pub(in crate::kernel) fn of(ebpf: &'a mut Ebpf) -> Self {
        Self(ebpf.programs_mut().collect())
    }

    /// Splits off the programs with these names.
    pub(super) fn split_off(&mut self, names: &[&str]) -> Self {
        Self(self.0.extract_if(|name, _| names.contains(name)).collect())
    }

    /// Returns the program `name`; a foreign object may lack it.
    pub(in crate::kernel) fn get<P>(&mut self, name: &str) -> Result<&mut P, LoadError>
    where
        for<'b> &'b mut P: TryFrom<&'b mut Program, Error = ProgramError>,
    {
        of_kind(name, self.0.get_mut(name).map(|program| &mut **program))
    }
}

/// Returns the object to load: the one that the environment names, or the committed one.
fn object() -> Result<Cow<'static, [u8]>, LoadError> {
    let Some(path) = std::env::var_os(OBJECT_VARIABLE).map(PathBuf::from) else {
        return Ok(Cow::Borrowed(PREBUILT));
    };
    // With file capabilities, or through `sudo -E` for another user than root, the caller would
    // choose the code that runs in the kernel.
    if !rustix::process::getuid().is_root() || privilege::is_secure() {
        return Err(LoadError::ObjectRefused);
    }
    fs::read(&path).map(Cow::Owned).map_err(|source| LoadError::Object { path, source })
}

/// Takes the map `name` of the object; a foreign object may lack it.
pub(in crate::kernel) fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map, LoadError> {
    ebpf.take_map(name).ok_or_else(|| LoadError::missing(name, "map"))
}
