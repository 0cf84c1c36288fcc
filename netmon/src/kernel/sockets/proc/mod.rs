//! The kernel's listings in `/proc`: open to every user, on every kernel, without BPF.
//!
//! Owns the text formats of `/proc/net` and the walk over `/proc/PID/fd`, and knows nothing that
//! they do not say. A table is read line by line, so that a large one costs no memory. A line that
//! cannot be understood is skipped and counted: it must never end a listing.

mod columns;
mod net;
mod processes;
mod unix;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

pub use columns::MalformedLine;
pub use net::parse_inet;
pub use processes::{owners, process_started};
pub use unix::parse_unix;

use crate::core::socket::{Protocol, Socket, UnixSocket};

/// The tables of the calling thread's network namespace; `/proc/self/net` has the main thread's.
const TABLES: &str = "/proc/thread-self/net";
/// The longest line that is looked at; the kernel's have some 200 bytes.
const LONGEST: usize = 64 * 1024;
/// The kernel hands over a page at most in one read (`seq_read_iter`, fs/seq_file.c): 64 KiB on
/// some.
const BLOCK: usize = 64 * 1024;

/// A table to be read, of the namespace that the opening thread was in.
pub type ProcTable = Box<dyn BufRead + Send>;

/// Opens `/proc/net/tcp` and the like; empty where the kernel does without, as it may without IPv6.
///
/// # Errors
/// Where `/proc` is not mounted, or what opening answered.
pub fn open_inet(protocol: Protocol, ipv6: bool) -> io::Result<ProcTable> {
    open(&format!("{}{}", protocol.name(), if ipv6 { "6" } else { "" }))
}

/// Opens `/proc/net/unix`; empty where the kernel does without.
///
/// # Errors
/// Where `/proc` is not mounted, or what opening answered.
pub fn open_unix() -> io::Result<ProcTable> {
    open("unix")
}

/// Hands every socket of `file` to `each`; answers how many lines could not be understood.
///
/// # Errors
/// What reading or `each` answered.
pub fn read_inet(
    file: impl BufRead,
    protocol: Protocol,
    ipv6: bool,
    netns: u32,
    each: impl FnMut(Socket) -> io::Result<()>,
) -> io::Result<usize> {
    read(file, |line| parse_inet(line, protocol, ipv6, netns), each)
}

/// Hands every socket of `file` to `each`; answers how many lines could not be understood.
///
/// The kernel prints a socket's path as it is. A process that puts a line break into it makes a
/// line of its own, mostly one that cannot be understood, but at will one that looks like another
/// socket.
///
/// # Errors
/// What reading or `each` answered.
pub fn read_unix(
    file: impl BufRead,
    netns: u32,
    each: impl FnMut(UnixSocket) -> io::Result<()>,
) -> io::Result<usize> {
    read(file, |line| parse_unix(line, netns), each)
}

fn open(name: &str) -> io::Result<ProcTable> {
    match File::open(Path::new(TABLES).join(name)) {
        Ok(file) => Ok(Box::new(BufReader::with_capacity(BLOCK, file))),
        // Without `/proc` nothing is known, which is not the same as that there is nothing.
        Err(error) if error.kind() == io::ErrorKind::NotFound && Path::new(TABLES).is_dir() => {
            Ok(Box::new(io::empty()))
        }
        Err(error) => Err(error),
    }
}

/// Hands what `parse` makes of every line but the first, a header, to `each`.
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
        // Only a last line, or one of which a part was read, has no end.
        let parsed = match line.strip_suffix(b"\n") {
            Some(line) => parse(line),
            None => Err(MalformedLine::new(&line, "an end of the line")),
        };
        match parsed {
            Ok(found) => each(found)?,
            Err(error) => {
                log::debug!("/proc: {error}");
                malformed += 1;
            }
        }
    }
    Ok(malformed)
}

/// Reads one line, as far as `LONGEST` reaches; false at the end of the file.
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
