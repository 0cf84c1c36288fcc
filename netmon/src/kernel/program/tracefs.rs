//! Reads from the `format` files of tracefs where the classic tracepoints have their fields.
//!
//! The offsets are never constants: distributions add fields, kernels widen them. If the host has
//! not mounted tracefs, a separate thread mounts it in a mount namespace of its own; the host's
//! mounts stay as they are.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
};

use netmon_common::TracepointFormat;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use crate::kernel::host::shortage::spawn_scoped;

/// The usual mount point of tracefs, and the other one.
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/// The limit of an offset in an event, bytes: the kernel program can read no more. No tracepoint
/// comes near.
const LARGEST: u32 = 4096;

/// The reason why the tracepoints cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormatError {
    /// tracefs is not mounted, and mounting it failed.
    #[error(
        "tracefs is not mounted, and mounting it for netmon alone failed ({0}): \
         mount -t tracefs tracefs /sys/kernel/tracing"
    )]
    Mount(io::Error),
    /// The kernel has no such tracepoint, or refuses the file.
    #[error("cannot read {}: {source}; use a kernel with CONFIG_FTRACE", .path.display())]
    Read {
        /// The `format` file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A field that netmon needs is missing, or has a size that no kernel had.
    #[error("the tracepoint {tracepoint} has no field {field} that netmon could read")]
    Field {
        /// `category/name`.
        tracepoint: &'static str,
        /// The field.
        field: &'static str,
    },
}

/// Runs `work` with the path of the mounted tracefs. If a mount is needed, `work` runs on a
/// separate thread.
pub(in crate::kernel) fn within<T: Send>(
    work: impl FnOnce(&Path) -> T + Send,
) -> Result<T, FormatError> {
    if let Some(place) = mounted() {
        return Ok(work(place));
    }
    thread::scope(|scope| {
        let mounted = || {
            let place = mount_own().map_err(|error| FormatError::Mount(error.into()))?;
            Ok(work(place))
        };
        spawn_scoped(scope, mounted)
            .map_err(FormatError::Mount)?
            .join()
            .unwrap_or_else(|_| Err(FormatError::Mount(io::Error::other("its thread panicked"))))
    })
}

pub(in crate::kernel) fn mounted() -> Option<&'static Path> {
    PLACES.map(Path::new).into_iter().find(|place| place.join("events").is_dir())
}

/// Mounts tracefs for this thread alone. The mount ends with the thread.
fn mount_own() -> nix::Result<&'static Path> {
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    // Otherwise the mount would appear on the host.
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    mount(Some("tracefs"), PLACES[0], Some("tracefs"), MsFlags::empty(), NONE)?;
    Ok(Path::new(PLACES[0]))
}

/// Reads the offsets of the fields that the kernel program takes from tracepoints.
pub(in crate::kernel) fn format(tracefs: &Path) -> Result<TracepointFormat, FormatError> {
    let fields = |tracepoint| Fields::read(tracefs, tracepoint);
    let sent = fields("tcp/tcp_send_reset")?;
    let received = fields("tcp/tcp_receive_reset")?;
    fields("sock/inet_sock_set_state")?.transition().and_then(|transition| {
        Ok(TracepointFormat {
            reset_sent: sent.offset("skaddr", &[8])?.0,
            reset_received: received.offset("skaddr", &[8])?.0,
            ..transition
        })
    })
}

/// Reads the offset of the return value of the accept system calls.
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

    fn transition(&self) -> Result<TracepointFormat, FormatError> {
        let offset = |field, size| self.offset(field, &[size]).map(|(offset, _)| offset);
        let (protocol, protocol_size) = self.offset("protocol", &[1, 2])?;
        Ok(TracepointFormat {
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
            ..TracepointFormat::default()
        })
    }

    /// Returns offset and size of `field`, which must have one of `sizes`.
    fn offset(&self, field: &'static str, sizes: &[u32]) -> Result<(u32, u32), FormatError> {
        let place = self.text.lines().find_map(|line| parse(line, field));
        place
            .filter(|(offset, size)| sizes.contains(size) && *offset < LARGEST)
            .ok_or(FormatError::Field { tracepoint: self.tracepoint, field })
    }
}

/// Returns offset and size if the line describes `field`: `field:__u8 saddr[4]; offset:32; size:4;
/// signed:0;`
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
