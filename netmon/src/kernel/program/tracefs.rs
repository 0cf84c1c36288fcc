//! Where the classic tracepoints have their fields: `format` files of tracefs.
//!
//! Never constants: distributions add fields, kernels widen them. tracefs is mounted in a mount namespace of
//! a thread's own where the host has not mounted it; the host's mounts stay as they are.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
};

use netmon_common::Format;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// Where it is mounted mostly, and where else.
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/// As much of an event as the kernel program can read at all: no tracepoint is near it.
const LARGEST: u32 = 4096;

/// Why the tracepoints cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// tracefs is not mounted, and could not be.
    #[error(
        "tracefs is not mounted, and mounting it for netmon alone failed ({0}): \
         mount -t tracefs tracefs /sys/kernel/tracing"
    )]
    Mount(io::Error),
    /// The kernel has no such tracepoint, or does not let it be read.
    #[error("{}: {source}; it takes a kernel with CONFIG_FTRACE", .path.display())]
    Read {
        /// The `format` file.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A field that netmon needs is missing, or is of a size that no kernel had.
    #[error("the tracepoint {tracepoint} has no field {field} that netmon could read")]
    Field {
        /// `category/name`.
        tracepoint: &'static str,
        /// The field.
        field: &'static str,
    },
}

/// Runs `work` where tracefs is mounted, which is given: on a thread of its own, if it takes a mount.
pub(in crate::kernel) fn within<T: Send>(
    work: impl FnOnce(&Path) -> T + Send,
) -> Result<T, FormatError> {
    if let Some(place) = mounted() {
        return Ok(work(place));
    }
    thread::scope(|scope| {
        scope
            .spawn(|| {
                let place = mount_own().map_err(|error| FormatError::Mount(error.into()))?;
                Ok(work(place))
            })
            .join()
            .unwrap_or_else(|_| Err(FormatError::Mount(io::Error::other("its thread panicked"))))
    })
}

pub(in crate::kernel) fn mounted() -> Option<&'static Path> {
    PLACES.map(Path::new).into_iter().find(|place| place.join("events").is_dir())
}

/// Mounts it for this thread alone, which ends soon.
fn mount_own() -> nix::Result<&'static Path> {
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    // Else the mount would show up outside.
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    mount(Some("tracefs"), PLACES[0], Some("tracefs"), MsFlags::empty(), NONE)?;
    Ok(Path::new(PLACES[0]))
}

/// Reads the offsets of all that the kernel program takes from tracepoints.
pub(in crate::kernel) fn format(tracefs: &Path) -> Result<Format, FormatError> {
    let of = |tracepoint| Fields::read(tracefs, tracepoint);
    let sent = of("tcp/tcp_send_reset")?;
    let received = of("tcp/tcp_receive_reset")?;
    of("sock/inet_sock_set_state")?.transition().and_then(|transition| {
        Ok(Format {
            reset_sent: sent.offset("skaddr", &[8])?.0,
            reset_received: received.offset("skaddr", &[8])?.0,
            ..transition
        })
    })
}

/// Reads where the return of the accept system calls is.
pub(in crate::kernel) fn accept_format(tracefs: &Path) -> Result<u32, FormatError> {
    let fields = Fields::read(tracefs, "syscalls/sys_exit_accept4")?;
    fields.offset("ret", &[8]).map(|(offset, _)| offset)
}

/// The fields of a tracepoint, as its `format` file lists them.
struct Fields {
    tracepoint: &'static str,
    text: String,
}

impl Fields {
    fn read(tracefs: &Path, tracepoint: &'static str) -> Result<Self, FormatError> {
        let path = tracefs.join("events").join(tracepoint).join("format");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Self { tracepoint, text }),
            Err(source) => Err(FormatError::Read { path, source }),
        }
    }

    fn transition(&self) -> Result<Format, FormatError> {
        let offset = |field, size| self.offset(field, &[size]).map(|(offset, _)| offset);
        let (protocol, protocol_size) = self.offset("protocol", &[1, 2])?;
        Ok(Format {
            skaddr: offset("skaddr", 8)?,
            oldstate: offset("oldstate", 4)?,
            newstate: offset("newstate", 4)?,
            sport: offset("sport", 2)?,
            dport: offset("dport", 2)?,
            family: offset("family", 2)?,
            protocol,
            protocol_size,
            saddr: offset("saddr", 4)?,
            daddr: offset("daddr", 4)?,
            saddr_v6: offset("saddr_v6", 16)?,
            daddr_v6: offset("daddr_v6", 16)?,
            ..Format::default()
        })
    }

    /// Offset and size of `field`, which must have one of `sizes`.
    fn offset(&self, field: &'static str, sizes: &[u32]) -> Result<(u32, u32), FormatError> {
        let found = self.text.lines().find_map(|line| parse(line, field));
        found
            .filter(|(offset, size)| sizes.contains(size) && *offset < LARGEST)
            .ok_or(FormatError::Field { tracepoint: self.tracepoint, field })
    }
}

/// Offset and size, if the line is about `field`: `field:__u8 saddr[4]; offset:32; size:4; signed:0;`
fn parse(line: &str, field: &str) -> Option<(u32, u32)> {
    let mut parts = line.trim().split(';').map(str::trim);
    let declaration = parts.next()?.strip_prefix("field:")?;
    let name = declaration.split(|c: char| c.is_whitespace() || c == '*').next_back()?;
    if name.split('[').next()? != field {
        return None;
    }
    let (mut offset, mut size) = (None, None);
    for part in parts {
        match part.split_once(':') {
            Some(("offset", value)) => offset = value.parse().ok(),
            Some(("size", value)) => size = value.parse().ok(),
            _ => {}
        }
    }
    offset.zip(size)
}

#[cfg(test)]
mod tests;
