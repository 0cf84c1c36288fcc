use std::net::{Ipv4Addr, SocketAddrV4};

use proptest::prelude::*;

use super::*;

/// The fixtures come from a little-endian machine.
#[cfg(target_endian = "little")]
mod fixtures {
    use super::*;

    fn parsed(line: &str, protocol: Protocol, ipv6: bool) -> Socket {
        parse_inet(line.as_bytes(), protocol, ipv6, 1).expect("a line of the kernel")
    }

    fn ends(socket: &Socket) -> (String, String) {
        (socket.tuple.local.to_string(), socket.tuple.remote.to_string())
    }

    fn both(local: &str, remote: &str) -> (String, String) {
        (local.into(), remote.into())
    }

    #[test]
    fn a_connection() {
        let line = "  12: 0101007F:1F90 0201A8C0:D431 01 0000001A:00000007 01:00000014 00000002  \
            1000        3 48211 4 0000000012345678 22 4 30 10 -1       ";
        let expected = Socket {
            protocol: Protocol::Tcp,
            ipv6: false,
            tuple: Tuple {
                netns: 1,
                interface: 0,
                local: SocketAddrV4::new(Ipv4Addr::new(127, 0, 1, 1), 8080).into(),
                remote: SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 2), 54321).into(),
            },
            binding: Binding::default(),
            state: TcpState::Established,
            cookie: None,
            recv_q: Some(7),
            send_q: Some(26),
            uid: Some(1000),
            inode: NonZeroU64::new(48211),
            cgroup: None,
            timer: Some(Timer { kind: TimerKind::On, left: Duration::from_millis(200) }),
            retransmits: 2,
            probes: 3,
            info: None,
            row: None,
        };
        assert_eq!(parsed(line, Protocol::Tcp, false), expected);
    }

    #[test]
    fn a_listener_does_not_show_its_limit() {
        let line = "   0: 00000000:07E8 00000000:0000 0A 00000000:00000005 00:00000000 00000000\
            \x20    0        0 1678 1 000000008594db0d 100 0 0 10 0";
        let socket = parsed(line, Protocol::Tcp, false);
        assert_eq!(ends(&socket), both("0.0.0.0:2024", "0.0.0.0:0"));
        assert_eq!((socket.state, socket.recv_q, socket.send_q), (TcpState::Listen, Some(5), None));
        assert_eq!((socket.timer, socket.uid), (None, Some(0)));
    }

    #[test]
    fn minisockets_belong_to_no_user() {
        for (code, state) in [("06", TcpState::TimeWait), ("05", TcpState::FinWait2)] {
            let line = format!(
                "123456: 0100007F:1F90 0100007F:D431 {code} 00000000:00000000 03:00001758 00000000\
                 \x20    0        0 0 3 0000000012345678"
            );
            let socket = parsed(&line, Protocol::Tcp, false);
            assert_eq!((socket.state, socket.uid, socket.inode), (state, None, None));
            let left = Duration::from_millis(59_760);
            assert_eq!(socket.timer, Some(Timer { kind: TimerKind::TimeWait, left }));
        }
    }

    #[test]
    fn a_half_open_connection() {
        for code in ["03", "0C"] {
            let line = format!(
                "   1: 0100007F:0050 0200007F:D431 {code} 00000000:00000000 01:00000063 00000001\
                 \x20   33 0 0 0 0000000012345678"
            );
            let socket = parsed(&line, Protocol::Tcp, false);
            assert_eq!(socket.state, TcpState::SynRecv);
            assert_eq!((socket.uid, socket.inode, socket.retransmits), (Some(33), None, 1));
        }
    }

    #[test]
    fn ipv6_keepalive_and_mapped_ipv4() {
        let line = "   2: B80D0120000000000000000001000000:01BB 0000000000000000FFFF00000A00000A:\
            A1B2 01 00000000:00000000 02:000AFC8A 00000000   999        0 31415 2 0000000012345678";
        let socket = parsed(line, Protocol::Tcp, true);
        assert_eq!(ends(&socket), both("[2001:db8::1]:443", "10.0.0.10:41394"));
        assert!(socket.ipv6);
        let left = Duration::from_millis(7_200_100);
        assert_eq!(socket.timer, Some(Timer { kind: TimerKind::Keepalive, left }));
    }

    #[test]
    fn udp_and_raw() {
        let line = " 1024: 00000000:0044 00000000:0000 07 00000000:00000300 00:00000000 00000000\
            \x20    0        0 18834 2 0000000012345678 17";
        let socket = parsed(line, Protocol::Udp, false);
        assert_eq!((socket.recv_q, socket.send_q), (Some(768), Some(0)));
        assert!(socket.is_listening());
        let line = "  58: 00000000000000000000000000000000:003A 00000000000000000000000000000000:\
            0000 07 00000000:00000000 00:00000000 00000000     0        0 20917 2 \
            0000000012345678 0";
        let socket = parsed(line, Protocol::Raw, true);
        assert_eq!(ends(&socket), both("[::]:58", "[::]:0"));
    }
}

#[test]
fn lines_that_the_kernel_does_not_write() {
    let right = "0: 00000000:0000 00000000:0000 01 0:0 00:0 0 0 0 1";
    assert!(parse_inet(right.as_bytes(), Protocol::Tcp, false, 1).is_ok());
    let ipv6 = "00000000000000000000000000000000:0000";
    for (column, wrong, expected) in [
        (0, vec!["0", ":", "x:", "-1:", "0:0"], "a number and a colon"),
        (1, vec!["00000000", "0:0", "000000000:0", "0000000g:0", ipv6], "a local address"),
        (2, vec!["00000000:", "00000000:10000", "00000000:-1", ":"], "a remote address"),
        (3, vec!["00", "0D", "FF", "101", "x"], "a state"),
        (4, vec!["0", "0:", ":0", "0:100000000", "100000000:0"], "tx_queue:rx_queue"),
        (5, vec!["00", "05:0", "100:0", "01:", "01:-1", "01:10000000000000000"], "a timer"),
        (6, vec!["100000000", "-1"], "retrnsmt"),
        (7, vec!["-1", "4294967296", "f"], "a user id"),
        (8, vec!["-1", "x"], "timeout"),
        (9, vec!["18446744073709551616", "f", "1\n"], "an inode"),
    ] {
        for wrong in wrong {
            let mut columns: Vec<_> = right.split(' ').collect();
            columns[column] = wrong;
            let line = columns.join(" ");
            let error =
                parse_inet(line.as_bytes(), Protocol::Tcp, false, 1).expect_err("a wrong column");
            assert_eq!(error.expected, expected, "{line}");
            // The line cut off before the column.
            let line = columns[..column].join(" ");
            let error =
                parse_inet(line.as_bytes(), Protocol::Tcp, false, 1).expect_err("too short");
            assert_eq!(error.expected, expected, "{line}");
        }
    }
    assert!(parse_inet(right.as_bytes(), Protocol::Tcp, true, 1).is_err(), "IPv4 among IPv6");
}

/// Prints an address as the kernel prints its memory.
fn print_end(end: SocketAddr, ipv6: bool) -> String {
    let print = |bytes: &[u8]| {
        let words = bytes.chunks(4).map(|word| u32::from_ne_bytes(word.try_into().expect("four")));
        words.map(|word| format!("{word:08X}")).collect::<String>()
    };
    let address = match end.ip() {
        IpAddr::V4(ip) if ipv6 => print(&ip.to_ipv6_mapped().octets()),
        IpAddr::V4(ip) => print(&ip.octets()),
        IpAddr::V6(ip) => print(&ip.octets()),
    };
    format!("{address}:{:04X}", end.port())
}

/// Prints a line as `get_tcp4_sock` and its counterparts do.
fn print(socket: &Socket, number: u32) -> String {
    let (code, ticks) = socket.timer.map_or((0, 0), |timer| {
        let code = match timer.kind {
            TimerKind::On => 1,
            TimerKind::Keepalive => 2,
            TimerKind::TimeWait => 3,
            TimerKind::Probe => 4,
        };
        (code, timer.left.as_millis() / 10)
    });
    format!(
        "{number:4}: {} {} {:02X} {:08X}:{:08X} {code:02X}:{ticks:08X} {:08X} {:5} {:8} {} 2 \
         {:016x}   ",
        print_end(socket.tuple.local, socket.ipv6),
        print_end(socket.tuple.remote, socket.ipv6),
        socket.state as u8,
        socket.send_q.unwrap_or(0),
        socket.recv_q.unwrap_or(0),
        socket.retransmits,
        socket.uid.unwrap_or(0),
        socket.probes,
        socket.inode.map_or(0, NonZeroU64::get),
        0,
    )
}

fn any_end(ipv6: bool) -> BoxedStrategy<SocketAddr> {
    let ipv4 = any::<Ipv4Addr>().prop_map(IpAddr::V4);
    let ip = if ipv6 {
        prop_oneof![any::<Ipv6Addr>().prop_map(|ip| ip.to_canonical()), ipv4].boxed()
    } else {
        ipv4.boxed()
    };
    (ip, any::<u16>()).prop_map(SocketAddr::from).boxed()
}

fn any_socket() -> impl Strategy<Value = Socket> {
    let ends = any::<bool>().prop_flat_map(|ipv6| (Just(ipv6), any_end(ipv6), any_end(ipv6)));
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Raw)];
    let state = (1..=11u8).prop_map(|number| TcpState::from_number(number).expect("a state"));
    let kind = prop_oneof![
        Just(TimerKind::On),
        Just(TimerKind::Keepalive),
        Just(TimerKind::TimeWait),
        Just(TimerKind::Probe),
    ];
    let timer = (kind, 0..1u64 << 40)
        .prop_map(|(kind, ticks)| Timer { kind, left: Duration::from_millis(ticks * TICK) });
    let numbers = any::<(u32, u32, u32, u32, u64, u32, u32)>();
    (protocol, ends, state, proptest::option::of(timer), numbers).prop_map(
        |(protocol, (ipv6, local, remote), state, timer, numbers)| {
            let (netns, recv_q, send_q, uid, inode, retransmits, probes) = numbers;
            let listens = protocol == Protocol::Tcp && state == TcpState::Listen;
            let is_minisocket = matches!(timer, Some(Timer { kind: TimerKind::TimeWait, .. }));
            Socket {
                protocol,
                ipv6,
                tuple: Tuple { netns, interface: 0, local, remote },
                binding: Binding::default(),
                state,
                cookie: None,
                recv_q: Some(recv_q),
                send_q: (!listens).then_some(send_q),
                uid: (!is_minisocket).then_some(uid),
                inode: NonZeroU64::new(inode),
                cgroup: None,
                timer,
                retransmits,
                probes,
                info: None,
                row: None,
            }
        },
    )
}

proptest! {
    #[test]
    fn what_the_kernel_prints_comes_back(socket in any_socket(), number: u32) {
        let line = print(&socket, number);
        let Socket { protocol, ipv6, .. } = socket;
        let parsed = parse_inet(line.as_bytes(), protocol, ipv6, socket.tuple.netns);
        prop_assert_eq!(parsed, Ok(socket));
    }

    #[test]
    fn any_change_is_a_socket_or_an_error(socket in any_socket(), at: usize, byte: u8, cut: usize) {
        let mut line = print(&socket, 1).into_bytes();
        let length = line.len();
        line[at % length] = byte;
        line.truncate(cut % (length + 1));
        let _ = parse_inet(&line, socket.protocol, socket.ipv6, 1);
    }

    #[test]
    fn any_bytes_are_a_socket_or_an_error(line: Vec<u8>, ipv6: bool) {
        let _ = parse_inet(&line, Protocol::Tcp, ipv6, 1);
    }
}
