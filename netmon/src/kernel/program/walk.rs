//! Runs the programs that walk over the sockets of all namespaces; they are attached to nothing.

use std::io;

use aya::{
    Ebpf,
    programs::{RawTracePoint, RawTracePointRunOptions, TestRun},
};

use netmon_common::Offsets;

use super::{
    error::refused,
    object::{Programs, program},
};

/// The program that lists the namespaces.
pub(super) const NAMESPACES: &str = "walk_namespaces";
const SOCKETS: &str = "walk_sockets";
/// The programs of a walk over sockets.
pub(super) const PROGRAMS: [&str; 2] = [NAMESPACES, SOCKETS];
/// The map that the programs write their records to.
pub(in crate::kernel) const RING: &str = "WALKED";

/// A hash table of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::kernel) struct HashTable {
    /// The address of the first head.
    pub(in crate::kernel) address: u64,
    /// The distance between two heads, bytes.
    pub(in crate::kernel) stride: u32,
    pub(in crate::kernel) buckets: u32,
}

/// One step of a walk. `skip` entries are passed over, because a step before had them.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernel) enum Step {
    /// Over the list of namespaces.
    Namespaces { skip: u32 },
    /// Over the sockets of a table, from `bucket` on.
    Sockets { table: HashTable, bucket: u32, skip: u32 },
}

/// Loads `names`, some of [`PROGRAMS`]. The result is the reason why this kernel does not run them.
/// Kernels before Linux 5.17 have no loops for them (`bpf_loop`).
pub(super) fn load(
    programs: &mut Programs<'_>,
    names: &[&str],
    offsets: &Offsets,
) -> Result<(), String> {
    if !offsets.allow_walk() {
        return Err("the kernel's types lack a field of its tables".to_owned());
    }
    for name in names {
        let program: &mut RawTracePoint = programs.get(name).map_err(|error| error.short())?;
        program.load().map_err(|error| refused(name, &error).short())?;
    }
    Ok(())
}

/// Takes a step. Its records are in the ring buffer afterwards.
///
/// # Errors
/// The kernel's answer.
pub(in crate::kernel) fn run(ebpf: &mut Ebpf, step: Step) -> io::Result<()> {
    let mut options = RawTracePointRunOptions::new();
    let name = match step {
        Step::Namespaces { skip } => {
            options.args[0] = skip.into();
            NAMESPACES
        }
        Step::Sockets { table, bucket, skip } => {
            let HashTable { address, stride, buckets } = table;
            let arguments = [address, stride.into(), buckets.into(), bucket.into(), skip.into()];
            options.args[..arguments.len()].copy_from_slice(&arguments);
            SOCKETS
        }
    };
    let program: &mut RawTracePoint = program(ebpf, name).map_err(io::Error::other)?;
    program.test_run(options).map_err(io::Error::other)?;
    Ok(())
}
