//! The kernel's listings in `/proc`: open to every user, on every kernel, without BPF.
//!
//! Owns the text formats of `/proc/net` and the walk over `/proc/PID/fd`, and knows only their
//! contents. A table is read line by line, so that a large table costs no memory. A malformed line
//! is skipped and counted: it must never end a listing.

mod columns;
mod net;
mod processes;
pub(in crate::kernel) mod programs;
mod unix;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

pub(crate) use columns::MalformedLine;
pub use net::parse_inet;
pub(crate) use processes::{owners, process_started};
pub use unix::parse_unix;

use crate::{
    core::socket::{Protocol, Socket, UnixSocket},
    kernel::host::file_systems::MissingFileSystem,
};

/// The tables of the calling thread's network namespace; `/proc/self/net` has the main thread's.
pub(in crate::kernel) const TABLES: &str = "/proc/thread-self/net";
/// The longest line that is parsed; the kernel's lines have some 200 bytes.
const LONGEST: usize = 64 * 1024;
/// The size of a read, bytes. The kernel returns at most a page (`seq_read_iter`, fs/seq_file.c),
/// which some machines make this large.
const BLOCK: usize = 64 * 1024;

/// An open table of the network namespace that the opening thread was in.
pub(crate) type ProcTable = Box<dyn BufRead + Send>;

/// Opens `/proc/net/tcp` and the like. The table is empty if the kernel lacks it, for example
/// without IPv6.
///
/// # Errors
/// Fails if `/proc` is not mounted, or if opening fails.
pub(crate) fn open_inet(protocol: Protocol, ipv6: bool) -> io::Result<ProcTable> {
    open(&format!("{}{}", protocol.name(), if ipv6 { "6" } else { "" }))
}

/// Opens `/proc/net/unix`. The table is empty if the kernel lacks it.
///
/// # Errors
/// Fails if `/proc` is not mounted, or if opening fails.
pub(crate) fn open_unix() -> io::Result<ProcTable> {
    open("unix")
}

/// Hands every socket in the table `name` of the thread's namespace to `each`, those of IPv4 first:
/// `udp`, `udplite`, `raw`. Returns the number of malformed lines.
///
/// # Errors
/// As for [`open_inet`], or the error of reading, or of `each`.
pub(crate) fn read_both(
    name: &str,
    protocol: Protocol,
    netns: u32,
    mut each: impl FnMut(Socket) -> io::Result<()>,
) -> io::Result<usize> {
    let mut malformed = 0;
    for (name, ipv6) in [(name.to_owned(), false), (format!("{name}6"), true)] {
        malformed += read_inet(open(&name)?, protocol, ipv6, netns, &mut each)?;
    }
    Ok(malformed)
}

/// Hands every socket of `file` to `each`. Returns the number of malformed lines.
///
/// # Errors
/// The error of reading, or of `each`.
pub fn read_inet(
    file: impl BufRead,
    protocol: Protocol,
    ipv6: bool,
    netns: u32,
    each: impl FnMut(Socket) -> io::Result<()>,
) -> io::Result<usize> {
    read(file, |line| parse_inet(line, protocol, ipv6, netns), each)
}

/// Hands every socket of `file` to `each`. Returns the number of malformed lines.
///
/// The kernel prints a socket's path unescaped. A process that puts a line break into the path
/// makes an extra line. The extra line is mostly malformed, but the process can also make it look
/// like another socket. So this file is read only where the kernel refuses sock_diag.
///
/// # Errors
/// The error of reading, or of `each`.
pub(crate) fn read_unix(
    file: impl BufRead,
    netns: u32,
    each: impl FnMut(UnixSocket) -> io::Result<()>,
) -> io::Result<usize> {
    read(file, |line| parse_unix(line, netns), each)
}

fn open(name: &str) -> io::Result<ProcTable> {
    match File::open(Path::new(TABLES).join(name)) {
        Ok(file) => Ok(Box::new(BufReader::with_capacity(BLOCK, file))),
        // Without `/proc` nothing is known, which differs from an empty table.
        Err(error) if error.kind() == io::ErrorKind::NotFound && Path::new(TABLES).is_dir() => {
            Ok(Box::new(io::empty()))
        }
        Err(error) => Err(MissingFileSystem::of_proc(TABLES, error)),
    }
}

/// Parses every line except the first, which is a header, and hands the results to `each`. Returns
/// the number of malformed lines.
fn read<T>(
    mut file: impl BufRead,
    parse: impl Fn(&[u8]) -> Result<T, MalformedLine>,
    mut each: impl FnMut(T) -> io::Result<()>,
) -> io::Result<usize> {
    let mut line = Vec::with_capacity(256);
    let mut header = true;
    let mut malformed = 0;
    while next_line(&mut file, &mut line)? {
        if std::mem::take(&mut header) {
            continue;
        }
        // A line without an end is the last one, or was read only in part.
        let parsed = match line.strip_suffix(b"\n") {
            Some(line) => parse(line),
            None => Err(MalformedLine::new(&line, "an end of the line")),
        };
        match parsed {
            Ok(item) => each(item)?,
            Err(error) => {
                log::debug!("/proc: {error}");
                malformed += 1;
            }
        }
    }
    Ok(malformed)
}

/// Reads one line, at most `LONGEST` bytes of it. Returns `false` at the end of the file.
fn next_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    file.take(LONGEST as u64 + 1).read_until(b'\n', line)?;
    if line.len() > LONGEST && !line.ends_with(b"\n") {
        file.skip_until(b'\n')?;
    }
    Ok(!line.is_empty())
}

#[cfg(test)]
mod tests;
