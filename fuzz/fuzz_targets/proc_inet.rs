//! `/proc/net/tcp` and files like it: any bytes are sockets or malformed lines, never a panic, and
//! the reader agrees with the parser.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon::testing::{Protocol, parse_inet, read_inet};

fuzz_target!(|data: &[u8]| {
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Raw] {
        for ipv6 in [false, true] {
            let mut read = Vec::new();
            let malformed = read_inet(data, protocol, ipv6, 1, |socket| {
                read.push(socket);
                Ok(())
            })
            .expect("memory can be read");
            // The first line is a header, and the bytes after the last line break are no whole
            // line.
            let lines: Vec<_> = data.split_inclusive(|byte| *byte == b'\n').skip(1).collect();
            let parsed: Vec<_> = lines
                .iter()
                .filter_map(|line| line.strip_suffix(b"\n"))
                // The reader does not look at longer lines.
                .filter(|line| line.len() <= 64 * 1024)
                .filter_map(|line| parse_inet(line, protocol, ipv6, 1).ok())
                .collect();
            assert_eq!(read.len() + malformed, lines.len());
            assert_eq!(read, parsed);
        }
    }
});
