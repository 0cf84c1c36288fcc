//! Parses a line of `/proc/net/unix`: `Num RefCount Protocol Flags Type St Inode [Path]`, as
//! `unix_seq_show` (net/unix/af_unix.c) prints it.

use std::num::NonZeroU64;

use super::columns::{LineColumns, MalformedLine, decimal, hex};
use crate::core::socket::UnixSocket;

/// `__SO_ACCEPTCON` (include/uapi/linux/net.h): the socket listens.
const ACCEPTS: u32 = 0x1_0000;

/// Parses one line, without its end.
///
/// The path is everything after the space behind the inode. The kernel prints NUL as `@`, so an
/// abstract name looks like a path that begins with `@`.
///
/// # Errors
/// Fails for a line that the kernel does not write.
pub fn parse_unix(line: &[u8], netns: u32) -> Result<UnixSocket, MalformedLine> {
    let mut columns = LineColumns::of(line);
    // The kernel prints a hashed address, which need not be a number.
    columns.next("an address and a colon", |text| {
        text.strip_suffix(b":").filter(|address| !address.is_empty())
    })?;
    let references = columns.next("a count of references", hex)?;
    columns.next("a protocol", hex::<u32>)?;
    let flags: u32 = columns.next("flags", hex)?;
    let kind = columns.next("a type", hex)?;
    let state = columns.next("a state", hex)?;
    let inode = columns.next("an inode", decimal)?;
    let path = columns.rest().strip_prefix(b" ").filter(|path| !path.is_empty());
    Ok(UnixSocket {
        netns,
        cookie: None,
        references: Some(references),
        listening: flags & ACCEPTS != 0,
        kind,
        state,
        inode: NonZeroU64::new(inode),
        peer: None,
        path: path.map(Into::into),
        is_abstract: path.is_some_and(|path| path.starts_with(b"@")),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the path of a fixture with `text` behind the inode.
    fn path(text: &str) -> Option<Vec<u8>> {
        let line = format!("ffff88810a5e1000: 00000002 00000000 00010000 0001 01 25141{text}")
            .into_bytes();
        parse_unix(&line, 1).expect("a line of the kernel").path.map(Into::into)
    }

    #[test]
    fn a_listener() {
        let line = b"00000000f5f8e2d9: 00000002 00000000 00010000 0005 01 18203 /run/udev/control";
        let expected = UnixSocket {
            netns: 7,
            cookie: None,
            references: Some(2),
            listening: true,
            kind: 5,
            state: 1,
            inode: NonZeroU64::new(18203),
            peer: None,
            path: Some(b"/run/udev/control"[..].into()),
            is_abstract: false,
        };
        assert_eq!(parse_unix(line, 7), Ok(expected));
    }

    #[test]
    fn one_not_accepted_yet_and_bound_nowhere() {
        let line = b"0000000000000000: 00000003 00000000 00000000 0001 02     0";
        let socket = parse_unix(line, 7).expect("a line of the kernel");
        assert_eq!((socket.inode, socket.path, socket.listening), (None, None, false));
    }

    #[test]
    fn the_path_is_all_that_follows_one_space() {
        assert_eq!(path(""), None);
        assert_eq!(path(" "), None);
        assert_eq!(path(" /tmp/with space").as_deref(), Some(&b"/tmp/with space"[..]));
        assert_eq!(path("  leads and ends ").as_deref(), Some(&b" leads and ends "[..]));
        assert_eq!(path(" @/tmp/.X11-unix/X0").as_deref(), Some(&b"@/tmp/.X11-unix/X0"[..]));
        assert_eq!(path(" @a@@b@").as_deref(), Some(&b"@a@@b@"[..]));
        let line = b"(____ptrval____): 00000002 00000000 00000000 0002 01 9 \xff\x1b";
        let socket = parse_unix(line, 1).expect("a line of the kernel");
        assert_eq!(socket.path.as_deref(), Some(&b"\xff\x1b"[..]));
    }

    #[test]
    fn lines_that_the_kernel_does_not_write() {
        for (line, expected) in [
            ("", "an address and a colon"),
            (": 00000002 00000000 00000000 0001 01 1", "an address and a colon"),
            ("0 00000002 00000000 00000000 0001 01 1", "an address and a colon"),
            ("0: x 00000000 00000000 0001 01 1", "a count of references"),
            ("0: 00000002", "a protocol"),
            ("0: 00000002 00000000 100000000 0001 01 1", "flags"),
            ("0: 00000002 00000000 00000000 10000 01 1", "a type"),
            ("0: 00000002 00000000 00000000 0001 100 1", "a state"),
            ("0: 00000002 00000000 00000000 0001 01", "an inode"),
            ("0: 00000002 00000000 00000000 0001 01 f", "an inode"),
            ("0: 00000002 00000000 00000000 0001 01 1\t/path", "an inode"),
        ] {
            let error = parse_unix(line.as_bytes(), 1).expect_err(line);
            assert_eq!(error.expected, expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_the_kernel_prints_comes_back(
            numbers: (u32, u32, bool, u16, u8, u64),
            path in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..108)),
        ) {
            let (netns, references, listening, kind, state, inode) = numbers;
            let flags = if listening { ACCEPTS } else { 0 };
            let mut line = format!(
                "{:016x}: {references:08X} {:08X} {flags:08X} {kind:04X} {state:02X} {inode:5}",
                0, 0
            ).into_bytes();
            if let Some(path) = &path {
                line.push(b' ');
                line.extend_from_slice(path);
            }
            let socket = UnixSocket {
                netns,
                cookie: None,
                references: Some(references),
                listening,
                kind,
                state,
                inode: NonZeroU64::new(inode),
                peer: None,
                is_abstract: path.as_ref().is_some_and(|path| path[0] == b'@'),
                path: path.map(Into::into),
            };
            prop_assert_eq!(parse_unix(&line, netns), Ok(socket));
        }

        #[test]
        fn any_bytes_are_a_socket_or_an_error(line: Vec<u8>) {
            let _ = parse_unix(&line, 1);
        }
    }
}
