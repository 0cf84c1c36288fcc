//! The source of a listing, and the network namespaces that it lists.

use anyhow::Context;

use super::{SnapshotCommand, selection::states, sort::Sort};
use crate::{
    cli::{
        args::tracing::{CONFINING, DumpSource},
        io::stderr::report,
    },
    core::filter::{Filter, OWN_NETNS},
    kernel::{
        self, Dump, DumpRequest, Namespace, Namespaces, ProgramRequest,
        host::privilege::{Duty, narrow},
    },
};

impl SnapshotCommand {
    /// Opens the requested source, or the better one that works, and finds the namespaces to list.
    pub(super) fn open(&self, filter: &Filter) -> anyhow::Result<(Dump, Namespaces)> {
        // A host without `/proc` has no other source either.
        Namespace::current()?;
        let want = DumpRequest {
            protocols: self.protocols(),
            info: self.info || filter.needs_info(),
            identity: self.extend || self.json || filter.needs_identity(),
            filter: filter.clauses().restrict(states(self.scope()), self.families()),
            everywhere: self.is_everywhere(),
            programs: (self.json || self.wide_owner || filter.needs_programs())
                .then_some(ProgramRequest { arguments: !self.no_args }),
            owners: self.shows_owners() || self.sort == Some(Sort::Pid) || filter.needs_owners(),
        };
        if self.source.is_none() && kernel::has_few_files() {
            let mut dump = Dump::proc_then_iterators(want.clone());
            let found = self.namespaces(&mut dump, filter)?;
            if kernel::has_few_sockets(&found.reachable) {
                return Ok((dump, found));
            }
        }
        let mut dump = match self.source {
            Some(DumpSource::Bpf) => Dump::through_iterators(want)?,
            Some(DumpSource::Proc) => Dump::through_proc(want),
            None => Dump::iterators_or_proc(want, |error| {
                report(format_args!("{error}; reading /proc instead"));
            }),
        };
        let found = self.namespaces(&mut dump, filter)?;
        Ok((dump, found))
    }

    /// Returns whether no option chooses a namespace.
    pub(super) fn is_everywhere(&self) -> bool {
        self.netns.as_deref().is_none_or(|name| name == "all")
    }

    /// Finds the namespaces that the options choose, and in which the filter admits sockets.
    pub(super) fn namespaces(
        &self,
        dump: &mut Dump,
        filter: &Filter,
    ) -> anyhow::Result<Namespaces> {
        let own = Namespace::current()?;
        let admitted = filter.namespaces();
        let mut found = match self.netns.as_deref() {
            Some(OWN_NETNS) => Namespaces::only(own),
            Some(name) if name != "all" => Namespaces::only(Namespace::named(name)?),
            // The others are not looked for.
            _ if admitted.as_ref().is_some_and(|inums| inums.iter().all(|i| *i == own.inum)) => {
                Namespaces::only(own)
            }
            _ => dump.namespaces()?,
        };
        if let Some(admitted) = admitted {
            found.retain(&admitted);
        }
        Ok(found)
    }

    /// Gives up the privileges that neither the rest of this listing takes, after the owners, nor a
    /// later listing.
    pub(super) fn narrow(&self, dump: &Dump, namespaces: &Namespaces) -> anyhow::Result<()> {
        let is_repeated = self.continuous.is_some();
        let enters = namespaces.has_others() || is_repeated && self.is_everywhere();
        let reads = dump.duties(is_repeated);
        let duties: Vec<_> = reads.iter().copied().chain(enters.then_some(Duty::Enter)).collect();
        narrow(&duties).context(CONFINING)
    }
}
