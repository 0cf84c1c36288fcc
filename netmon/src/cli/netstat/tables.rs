//! The tables besides sockets: routes, devices, multicast groups, counters.

use std::{net::IpAddr, process::ExitCode};

use super::{Flags, WRONG_USAGE, flags::Choice, print, unsupported};
use crate::{
    cli::{io::stderr, locale::Locale},
    core::network::MAIN_TABLE,
    kernel::network::{counters, groups, interfaces, ipv6_entries, routes},
    view::{
        language::TableWords,
        net_tools::{
            ChosenProtocols, InterfaceForm, RouteColumns, put_cache_heading, put_groups,
            put_interfaces, put_ipv4_routes, put_ipv6_routes, put_statistics,
        },
    },
};

/// Returns the texts in the language of the user.
pub(super) fn words() -> &'static TableWords {
    &Locale::of_user().language.tables
}

impl Flags {
    pub(super) fn statistics(&self) -> anyhow::Result<ExitCode> {
        let family = self.family_names();
        let chooses = self.has_protocol();
        let shows = |protocol| !chooses || self.has(protocol);
        let chosen = ChosenProtocols {
            raw: shows(Choice::Raw),
            tcp: shows(Choice::Tcp),
            udp: shows(Choice::Udp),
            sctp: shows(Choice::Sctp),
        };
        let all = match &*family {
            "inet" => counters(false)?,
            "inet6" => {
                let mut all = counters(true)?;
                all.extend(counters(false)?.into_iter().filter(|of| of.protocol == "Tcp"));
                all
            }
            _ => {
                // net-tools has this message on standard output.
                let message = "No statistics support for specified address family";
                print(format!("netstat: {message}: {family}\n").as_bytes())?;
                return Ok(ExitCode::FAILURE);
            }
        };
        let mut out = Vec::new();
        put_statistics(&mut out, &all, chosen, words());
        print(&out)?;
        Ok(ExitCode::SUCCESS)
    }

    pub(super) fn routes(&self, out: &mut Vec<u8>) -> anyhow::Result<Option<ExitCode>> {
        let columns = match self.count(Choice::Extend) {
            0 => RouteColumns::Tcp,
            1 => RouteColumns::Metric,
            2 => RouteColumns::Both,
            _ => RouteColumns::Title,
        };
        let (cache, fib) = (self.has(Choice::Cache), self.has(Choice::Fib));
        let tables = [(fib || !cache, false), (cache, true)];
        for family in self.family_names().split(',') {
            match family {
                "inet" => {
                    for (_, is_cache) in tables.into_iter().filter(|(wanted, _)| *wanted) {
                        self.put_ipv4(out, columns, is_cache)?;
                    }
                }
                "inet6" => {
                    let entries = ipv6_entries()?;
                    let next_hops = entries.iter().map(|entry| entry.next_hop);
                    let ends = entries.iter().map(|entry| entry.destination).chain(next_hops);
                    let mut names = self.names(ends.map(IpAddr::from));
                    for (_, is_cache) in tables.into_iter().filter(|(wanted, _)| *wanted) {
                        put_ipv6_routes(out, &entries, is_cache, &mut names, words());
                    }
                }
                "ax25" | "netrom" | "rose" | "ipx" | "ddp" | "x25" => {
                    return Ok(Some(unsupported(family)));
                }
                other => {
                    let message = format!("No routing for address family `{other}'.\n");
                    let _ = stderr::write(message.as_bytes());
                    return Ok(Some(ExitCode::from(WRONG_USAGE)));
                }
            }
        }
        Ok(None)
    }

    fn put_ipv4(
        &self,
        out: &mut Vec<u8>,
        columns: RouteColumns,
        is_cache: bool,
    ) -> anyhow::Result<()> {
        if is_cache {
            put_cache_heading(out, columns, words());
            return Ok(());
        }
        let mut routes = routes(false)?;
        routes.retain(|route| route.table == MAIN_TABLE);
        let gateways = routes.iter().flat_map(|route| route.hops.iter()).filter_map(|h| h.gateway);
        let hosts = routes.iter().filter(|route| route.prefix == 32);
        let ends = hosts.map(|route| route.destination).chain(gateways);
        put_ipv4_routes(out, &routes, columns, &mut self.names(ends), words());
        Ok(())
    }

    pub(super) fn interfaces(&self, out: &mut Vec<u8>) -> anyhow::Result<Option<ExitCode>> {
        let form = InterfaceForm { is_long: self.has(Choice::Extend), all: self.has(Choice::All) };
        put_interfaces(out, &mut interfaces()?, form, words());
        Ok(None)
    }

    /// Writes the multicast groups of the families that the flags choose.
    pub(super) fn groups(&self, out: &mut Vec<u8>) -> anyhow::Result<()> {
        let chooses = self.has_family("inet") || self.has_family("inet6");
        let mut all = Vec::new();
        for (family, ipv6) in [("inet", false), ("inet6", true)] {
            if !chooses || self.has_family(family) {
                all.extend(groups(ipv6)?);
            }
        }
        let mut names = self.names(all.iter().map(|group| group.group));
        put_groups(out, &all, &mut names, words());
        Ok(())
    }
}
