//! The listing of sockets, with the other families and the multicast groups in its order.

use std::{io, net::IpAddr, process::ExitCode, thread};

use anyhow::Context;
use netmon_common::KernelFilter;

use super::{Flags, SECOND, flags::Choice, print, unsupported};
use crate::{
    cli::{args::tracing::CONFINING, io::stderr::report, locale::Locale, snapshot::states},
    core::{
        process::SocketHolders,
        socket::{Protocol, Socket, UnixSocket},
    },
    kernel::{
        Dump, DumpRequest, Namespace, has_few_files, has_few_sockets,
        host::privilege::{Duty, advice, narrow},
        network::has_table,
        sockets::proc::read_both,
    },
    view::{
        listing::netstat::Listening,
        net_tools::{SocketColumns, SocketKind, SocketTable},
    },
};

/// The families besides the internet and Unix, in netstat's order: its flag, its table in
/// `/proc/net`, and its name in messages.
const OTHERS: [(&str, &str, &str); 5] = [
    ("ipx", "ipx/socket", "AF IPX"),
    ("ax25", "ax25", "AF AX25"),
    ("x25", "x25/socket", "AF X25"),
    ("netrom", "nr", "AF NETROM"),
    ("rose", "rose", "AF ROSE"),
];

/// A buffer with this many bytes is printed.
const FULL: usize = 256 * 1024;

/// Lists the sockets that the flags choose, with `-c` again and again.
pub(super) fn list(flags: &Flags) -> anyhow::Result<ExitCode> {
    let listing = SocketListing::new(flags);
    let mut dump = listing.open()?;
    loop {
        let (owners, hidden) =
            if dump.wants_owners() { dump.owners()? } else { Default::default() };
        if hidden > 0 {
            report(format_args!(
                "{hidden} processes do not show what they hold{}",
                advice(Duty::Look)
            ));
        }
        narrow(dump.duties(flags.has(Choice::Continuous))).context(CONFINING)?;
        let code = listing.print(&mut dump, &owners)?;
        if code.is_some() || !flags.has(Choice::Continuous) {
            return Ok(code.unwrap_or(ExitCode::SUCCESS));
        }
        thread::sleep(SECOND);
    }
}

/// The choice of sockets.
struct SocketListing<'a> {
    flags: &'a Flags,
    scope: Listening,
    /// No flag chooses a protocol or a family.
    is_bare: bool,
    /// A flag chooses a family of the internet and no protocol, so that a table may be missing.
    is_lenient: bool,
    families: [bool; 2],
}

impl<'a> SocketListing<'a> {
    fn new(flags: &'a Flags) -> Self {
        let [ipv4, ipv6] = ["inet", "inet6"].map(|family| flags.has_family(family));
        let is_lenient = (ipv4 || ipv6) && !flags.has_protocol();
        let has_other = ["unix", "ipx", "ax25", "netrom", "x25", "rose"]
            .into_iter()
            .any(|family| flags.has_family(family));
        let is_bare = !is_lenient
            && !flags.has_protocol()
            && !has_other
            && !flags.has(Choice::Groups)
            && !flags.has(Choice::Bluetooth);
        let families = if ipv4 || ipv6 { [ipv4, ipv6] } else { [true, true] };
        Self { flags, scope: flags.scope(), is_bare, is_lenient, families }
    }

    fn lists(&self, protocol: Choice) -> bool {
        self.is_bare || self.is_lenient || self.flags.has(protocol)
    }

    fn lists_internet(&self) -> bool {
        self.is_bare || self.is_lenient || self.flags.has_protocol()
    }

    fn open(&self) -> anyhow::Result<Dump> {
        let [ipv4, ipv6] = self.families.map(u16::from);
        let want = DumpRequest {
            // Iterators have the other sockets in another order than `/proc`.
            protocols: self.lists(Choice::Tcp).then_some(Protocol::Tcp).into_iter().collect(),
            info: false,
            identity: false,
            filter: KernelFilter::ANY.restrict(states(self.scope), ipv4 | ipv6 << 1),
            everywhere: false,
            programs: None,
            owners: self.flags.has(Choice::Programs),
        };
        if has_few_files() && has_few_sockets(&[Namespace::current()?]) {
            return Ok(Dump::proc_then_iterators(want));
        }
        Ok(Dump::iterators_or_proc(want, |error| log::debug!("{error}; reading /proc instead")))
    }

    /// Prints a listing. Returns the exit code of a listing that ends early.
    fn print(&self, dump: &mut Dump, owners: &SocketHolders) -> anyhow::Result<Option<ExitCode>> {
        let sockets = self.sockets(dump)?;
        let ends = |(_, socket): &(SocketKind, Socket)| -> [IpAddr; 2] {
            [socket.tuple.local.ip(), socket.tuple.remote.ip()]
        };
        let mut names = self.flags.names(sockets.iter().flat_map(ends));
        let columns = SocketColumns {
            owners: self.flags.has(Choice::Programs),
            extended: self.flags.has(Choice::Extend),
            timers: self.flags.has(Choice::Timers),
        };
        let language = Locale::of_user().language;
        let mut table = SocketTable::new(self.scope, columns, language, &mut names, owners);
        let mut out = Vec::new();
        if self.lists_internet() {
            table.put_heading(&mut out);
            let mut rest = sockets.as_slice();
            for kind in [SocketKind::Tcp, SocketKind::Udp, SocketKind::UdpLite, SocketKind::Raw] {
                let count = rest.iter().take_while(|(of, _)| *of == kind).count();
                let (rows, after) = rest.split_at(count);
                for (kind, socket) in rows {
                    if out.len() > FULL {
                        print(&std::mem::take(&mut out))?;
                    }
                    table.put(&mut out, *kind, socket);
                }
                rest = after;
                if let Some(code) = self.missing(kind) {
                    print(&out)?;
                    return Ok(Some(code));
                }
            }
        }
        if self.flags.has(Choice::Groups) {
            self.flags.groups(&mut out)?;
        }
        if self.is_bare || self.flags.has_family("unix") {
            table.put_unix_heading(&mut out);
            self.unix(|socket| {
                table.put_unix(&mut out, &socket);
                Ok(())
            })?;
        }
        print(&out)?;
        Ok(self.others())
    }

    /// Reports the table after those of a kind if the kernel lacks it, as netstat does. Returns the
    /// exit code if that ends the listing.
    fn missing(&self, after: SocketKind) -> Option<ExitCode> {
        let (protocol, table, name) = match after {
            SocketKind::Tcp if self.scope == Listening::Connected => {
                (Choice::Sctp, "sctp/assocs", "sctp")
            }
            SocketKind::Tcp => (Choice::Sctp, "sctp/eps", "sctp"),
            SocketKind::UdpLite => (Choice::UdpLite, "udplite", "udplite"),
            SocketKind::Udp | SocketKind::Raw => return None,
        };
        let [reads_ipv4, _] = self.families;
        let is_wanted = self.lists(protocol) && reads_ipv4 && !self.is_lenient;
        if !is_wanted || has_table(table) {
            return None;
        }
        self.unsupported(&format!("AF INET ({name})"))
    }

    /// Reports the families that netmon does not list. Returns the exit code if that ends the
    /// listing.
    fn others(&self) -> Option<ExitCode> {
        for (family, table, name) in OTHERS {
            let is_chosen = self.flags.has_family(family);
            if (is_chosen || self.is_bare && !has_table(table))
                && let Some(code) = self.unsupported(name)
            {
                return Some(code);
            }
        }
        self.flags.has(Choice::Bluetooth).then(|| {
            report("netstat does not list Bluetooth here: type bluetoothctl devices Connected");
            ExitCode::FAILURE
        })
    }

    fn unsupported(&self, name: &str) -> Option<ExitCode> {
        if !self.is_bare {
            return Some(unsupported(name));
        }
        if self.flags.has(Choice::Verbose) {
            unsupported(name);
        }
        None
    }

    /// Returns the sockets of the internet in netstat's order: by table, and within a table as the
    /// kernel has them.
    fn sockets(&self, dump: &mut Dump) -> anyhow::Result<Vec<(SocketKind, Socket)>> {
        let own = Namespace::current()?;
        let mut sockets = Vec::new();
        let mut keep = |kind, socket: Socket| {
            if self.shows(&socket) {
                sockets.push((kind, socket));
            }
            Ok(())
        };
        let mut malformed = dump.sockets(&own, |socket| keep(SocketKind::Tcp, socket))?;
        for (kind, choice, table, protocol) in [
            (SocketKind::Udp, Choice::Udp, "udp", Protocol::Udp),
            (SocketKind::UdpLite, Choice::UdpLite, "udplite", Protocol::Udp),
            (SocketKind::Raw, Choice::Raw, "raw", Protocol::Raw),
        ] {
            if self.lists(choice) {
                malformed += read_both(table, protocol, own.inum, |socket| keep(kind, socket))?;
            }
        }
        if malformed > 0 {
            report(format_args!("{malformed} sockets were not understood and are not shown here"));
        }
        sockets.sort_by_key(|(kind, socket)| (*kind, socket.ipv6));
        Ok(sockets)
    }

    /// Returns whether a socket is in the listing: netstat goes by the other end.
    fn shows(&self, socket: &Socket) -> bool {
        let remote = socket.tuple.remote;
        let waits = match socket.protocol {
            Protocol::Tcp => remote.port() == 0,
            Protocol::Udp | Protocol::Raw => remote.ip().is_unspecified(),
        };
        self.families[usize::from(socket.ipv6)]
            && match self.scope {
                Listening::All => true,
                Listening::Listening => waits,
                Listening::Connected => !waits,
            }
    }

    /// Hands the unix sockets of the listing to `each`.
    fn unix(&self, mut each: impl FnMut(UnixSocket) -> io::Result<()>) -> anyhow::Result<()> {
        let own = Namespace::current()?;
        Dump::unix(&own, |socket| {
            let is_shown = match self.scope {
                Listening::All => true,
                Listening::Listening => socket.listening,
                Listening::Connected => !socket.listening,
            };
            if is_shown { each(socket) } else { Ok(()) }
        })?;
        Ok(())
    }
}
