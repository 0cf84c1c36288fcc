//! Counts instead of rows: by protocol and state, and by owner.
//!
//! JSON Lines: objects of type `summary`, in the order of the table. Each object has `count`, the
//! number of its sockets, and the fields of one row.
//!
//! | fields | |
//! |---|---|
//! | `proto`, `family`, `state` | one object for each protocol, family and state that occurs |
//! | `proto` | `unix`: all unix sockets; absent if there are none |
//! | `pid`, `host_pid`, `comm` | with `-p`: one object for each process, the most sockets first |
//! | `owned` | with `-p`: `false`: sockets without a known owner; absent if there are none |
//!
//! `proto` is `tcp`, `udp` or `raw`, and `state` is the kernel's name, `CLOSE` for UDP without a
//! connection. `family` is `ipv4` or `ipv6`, the family of the socket: an `ipv6` socket may carry
//! IPv4. A socket of several processes counts for each process. No object has a `time` or a `host`.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use super::ListingView;
use crate::{
    core::{
        escape::{EscapedName, put_json_text},
        process::{PidText, Process, SocketHolders},
        socket::{Protocol, Socket, UnixSocket},
        tcp::TcpState,
    },
    view::text::output::Output,
};

/// Counts rows, and writes the counts at the end.
pub struct SummaryListing<W> {
    out: Output<W>,
    json: bool,
    /// Sockets are counted by owner too.
    owners: bool,
    states: BTreeMap<(Protocol, bool, TcpState), u64>,
    unix: u64,
    processes: BTreeMap<Process, u64>,
    unowned: u64,
}

impl<W: Write> SummaryListing<W> {
    /// Writes to `to`, as JSON Lines or as text; with `owners`, also the counts by owner.
    pub fn new(to: W, json: bool, owners: bool) -> Self {
        Self {
            out: Output::new(to),
            json,
            owners,
            states: BTreeMap::new(),
            unix: 0,
            processes: BTreeMap::new(),
            unowned: 0,
        }
    }

    fn count_owners(&mut self, owners: &[&Process]) {
        self.unowned += u64::from(owners.is_empty());
        for process in owners {
            // Looked up by reference: a copy of the name for each socket would cost more than
            // counting.
            match self.processes.get_mut(*process) {
                Some(count) => *count += 1,
                None => {
                    self.processes.insert((*process).clone(), 1);
                }
            }
        }
    }
}

impl<W: Write> ListingView for SummaryListing<W> {
    fn socket(&mut self, socket: &Socket, owners: &SocketHolders) -> io::Result<()> {
        *self.states.entry((socket.protocol, socket.ipv6, socket.state)).or_default() += 1;
        if self.owners {
            self.count_owners(&owners.of(socket.holder_key()));
        }
        Ok(())
    }

    fn unix(&mut self, socket: &UnixSocket, owners: &SocketHolders) -> io::Result<()> {
        self.unix += 1;
        if self.owners {
            self.count_owners(&owners.of(socket.holder_key()));
        }
        Ok(())
    }

    fn finish(&mut self, _: &SocketHolders) -> io::Result<()> {
        let mut processes: Vec<_> = self.processes.iter().collect();
        processes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let total = self.states.values().sum::<u64>() + self.unix;
        let out = self.out.line()?;
        // Writing to a vector does not fail, here and below.
        if self.json {
            for ((protocol, ipv6, state), count) in &self.states {
                let (protocol, family) = (protocol.name(), if *ipv6 { "ipv6" } else { "ipv4" });
                let _ = writeln!(
                    out,
                    "{{\"type\":\"summary\",\"proto\":\"{protocol}\",\"family\":\"{family}\",\
                     \"state\":\"{state}\",\"count\":{count}}}"
                );
            }
            if self.unix > 0 {
                let _ = writeln!(
                    out,
                    "{{\"type\":\"summary\",\"proto\":\"unix\",\"count\":{}}}",
                    self.unix
                );
            }
            for (process, count) in processes {
                out.extend_from_slice(b"{\"type\":\"summary\",");
                for (key, pid) in [("pid", process.pid), ("host_pid", process.host_pid)] {
                    if pid != 0 {
                        let _ = write!(out, "\"{key}\":{pid},");
                    }
                }
                out.extend_from_slice(b"\"comm\":");
                put_json_text(&process.comm, out);
                let _ = writeln!(out, ",\"count\":{count}}}");
            }
            if self.unowned > 0 {
                let _ = writeln!(
                    out,
                    "{{\"type\":\"summary\",\"owned\":false,\"count\":{}}}",
                    self.unowned
                );
            }
            return self.out.flush();
        }
        let _ = writeln!(out, "Total: {total}\n\n{:<5} {:<11} {:>9}", "Proto", "State", "Sockets");
        for ((protocol, ipv6, state), count) in &self.states {
            let proto = format!("{}{}", protocol.name(), if *ipv6 { "6" } else { "" });
            let state = match state {
                TcpState::Close if *protocol != Protocol::Tcp => "unconnected",
                state => state.name(),
            };
            let _ = writeln!(out, "{proto:<5} {state:<11} {count:>9}");
        }
        if self.unix > 0 {
            let _ = writeln!(out, "{:<17} {:>9}", "unix", self.unix);
        }
        if self.owners {
            let _ = writeln!(out, "\n{:<17} {:>9}", "PID/Program name", "Sockets");
            for (process, count) in processes {
                let name = format!("{}/{}", PidText(process.pid), EscapedName(&process.comm));
                let _ = writeln!(out, "{name:<17} {count:>9}");
            }
            if self.unowned > 0 {
                let _ = writeln!(out, "{:<17} {:>9}", "-", self.unowned);
            }
        }
        self.out.flush()
    }
}
