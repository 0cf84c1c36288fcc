//! English: the words of netstat.

use super::{Headings, Language, ServicesHeadings, SummaryWords, Topics};
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
    topics: Topics {
        states: include_str!("en/states.txt"),
        ports: include_str!("en/ports.txt"),
        columns: include_str!("en/columns.txt"),
    },
};

fn timer(kind: Option<TimerKind>) -> &'static str {
    kind.map_or("off", TimerKind::name)
}
