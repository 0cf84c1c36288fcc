//! English: the words of netstat.

use super::{Headings, Language, ServicesHeadings, SummaryWords, TableWords, Topics};
use crate::core::{
    socket::{TimerKind, UnixSocket},
    tcp::TcpState,
};

/// English.
pub(crate) static ENGLISH: Language = Language {
    locale: "en",
    headings: Headings {
        proto: "Proto",
        recv_q: "Recv-Q",
        send_q: "Send-Q",
        local_address: "Local Address",
        local: "Local",
        foreign_address: "Foreign Address",
        foreign: "Foreign",
        state: "State",
        user: "User",
        inode: "Inode",
        program: "PID/Program name",
        netns: "Netns",
        timer: "Timer",
        references: "RefCnt",
        flags: "Flags",
        kind: "Type",
        unix_inode: "I-Node",
        path: "Path",
    },
    internet: "Active Internet connections",
    unix: "Active UNIX domain sockets",
    without_servers: "w/o servers",
    only_servers: "only servers",
    servers_and_established: "servers and established",
    past: "What there was on {host} at {time}",
    state: TcpState::name,
    unix_state: UnixSocket::state_name,
    timer,
    summary: SummaryWords {
        sockets: "Sockets",
        total: "Total",
        remote_address: "Remote address",
        port: "Port",
        others: "others",
    },
    services: ServicesHeadings {
        service: "Service",
        port: "Port/Proto",
        aliases: "Also known as",
        listening: "Listening",
    },
    tables: TableWords {
        routes: "Kernel IP routing table",
        route_cache: "Kernel IP routing cache",
        route_headings: [
            "Destination     Gateway         Genmask         Flags   MSS Window  irtt Iface",
            "Destination     Gateway         Genmask         Flags Metric Ref    Use Iface",
            "Destination     Gateway         Genmask         Flags Metric Ref    Use Iface    \
             MSS   Window irtt",
        ],
        cache_headings: [
            "Source          Destination     Gateway         Flags   MSS Window  irtt Iface",
            "Source          Destination     Gateway         Flags Metric Ref    Use Iface",
            "Source          Destination     Gateway         Flags Metric Ref    Use Iface    \
             MSS   Window irtt  TOS HHRef HHUptod     SpecDst",
        ],
        ipv6_routes: "Kernel IPv6 routing table",
        ipv6_route_cache: "Kernel IPv6 routing cache",
        ipv6_route_headings: "Destination                    Next Hop                   \
                              Flag Met Ref  Use If",
        devices: "Kernel Interface table",
        device_headings: "Iface             MTU    RX-OK RX-ERR RX-DRP RX-OVR    \
                          TX-OK TX-ERR TX-DRP TX-OVR Flg",
        no_flags: "[NO FLAGS]",
        groups: "IPv6/IPv4 Group Memberships",
        group_headings: "Interface       RefCnt Group",
        counter: |english| english,
    },
    topics: Topics {
        states: include_str!("en/states.txt"),
        ports: include_str!("en/ports.txt"),
        columns: include_str!("en/columns.txt"),
    },
};

fn timer(kind: Option<TimerKind>) -> &'static str {
    kind.map_or("off", TimerKind::name)
}
