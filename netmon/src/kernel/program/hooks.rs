//! Loads and attaches the hooks of the kernel program, and reports the result of each.
//!
//! A refused hook is reported, never silently dropped: its information then comes another way or
//! not at all, and the report names which.

use std::any::Any;

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, FEntry, FExit, TracePoint},
};

use super::{
    error::{LoadError, refused},
    hook_catalog::{ACCEPT, CGROUPS, EXACT, Hook, HookKind, PROCESSES, follows_processes},
    object::{Programs, program},
    offsets_btf::Functions,
    tracefs,
};

/// The result of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HookStatus {
    /// The hook is attached.
    Attached,
    /// The kernel does not have the function of the hook.
    Absent,
    /// The kernel refused the hook, with this answer.
    Refused(String),
    /// The caller excluded the hook.
    Unwanted,
    /// The hook was not used or not tried, for this reason: netmon works another way, or not at
    /// all.
    PassedOver(String),
}

impl HookStatus {
    /// Returns the status for the result of loading or attaching.
    fn of(result: Result<(), LoadError>) -> Self {
        match result {
            Ok(()) => Self::Attached,
            Err(LoadError::Refused { reason, .. }) => Self::Refused(reason),
            Err(error) => Self::Refused(error.to_string()),
        }
    }
}

/// A hook and its result.
#[derive(Clone, Debug)]
pub(crate) struct HookReport {
    /// The kernel program's function.
    pub program: &'static str,
    /// The target: `tp_btf/…`, `fentry/…`.
    pub hook: String,
    /// The information that the hook reports.
    pub tells: &'static str,
    /// The substitute for the hook.
    pub without: &'static str,
    /// The result of loading and attaching.
    pub status: HookStatus,
}

/// An attached hook; dropping the link detaches it.
pub(in crate::kernel) type Link = Box<dyn Any + Send>;

impl Hook {
    /// Returns the first target that this kernel has.
    fn target(&self, functions: &Functions) -> Option<&'static str> {
        let fits = |name: &&&'static str| match self.kind {
            HookKind::BtfTracepoint | HookKind::Tracepoint(_) => true,
            HookKind::Entry => functions.arguments(name).is_some(),
            HookKind::Exit(arguments) => functions.arguments(name) == Some(arguments),
        };
        self.targets.iter().find(fits).copied()
    }

    /// Returns the targets on any kernel.
    pub(super) fn targets(&self) -> &'static [&'static str] {
        self.targets
    }

    /// Loads the program for its first target.
    pub(in crate::kernel) fn load(
        &self,
        programs: &mut Programs<'_>,
        btf: Option<&Btf>,
    ) -> Result<(), LoadError> {
        self.load_for(programs, btf, self.targets[0])
    }

    /// Loads the program, which the verifier then examines.
    fn load_for(
        &self,
        programs: &mut Programs<'_>,
        btf: Option<&Btf>,
        target: &str,
    ) -> Result<(), LoadError> {
        let Self { program: name, kind, .. } = self;
        let result = match (kind, btf) {
            (HookKind::Tracepoint(_), _) => programs.get::<TracePoint>(name)?.load(),
            (_, None) => return Err(LoadError::NoBtf),
            (HookKind::BtfTracepoint, Some(btf)) => {
                programs.get::<BtfTracePoint>(name)?.load(target, btf)
            }
            (HookKind::Entry, Some(btf)) => programs.get::<FEntry>(name)?.load(target, btf),
            (HookKind::Exit(_), Some(btf)) => programs.get::<FExit>(name)?.load(target, btf),
        };
        result.map_err(|error| refused(name, &error))
    }

    /// Attaches the loaded program.
    pub(in crate::kernel) fn attach(
        &self,
        ebpf: &mut Ebpf,
        target: &str,
    ) -> Result<Link, LoadError> {
        /// Attaches the program, and takes the link out of the program's ownership.
        macro_rules! attached {
            ($program:ty $(, $argument:expr)*) => {{
                let program: &mut $program = program(ebpf, self.program)?;
                let link = program.attach($($argument),*).and_then(|link| program.take_link(link));
                link.map(|link| Box::new(link) as Link)
            }};
        }
        match self.kind {
            HookKind::BtfTracepoint => attached!(BtfTracePoint),
            HookKind::Tracepoint(category) => attached!(TracePoint, category, target),
            HookKind::Entry => attached!(FEntry),
            HookKind::Exit(_) => attached!(FExit),
        }
        .map_err(|error| refused(self.program, &error))
    }

    fn report(&self, target: Option<&str>, status: HookStatus) -> HookReport {
        let target = target.unwrap_or(self.targets[0]);
        let hook = match self.kind {
            HookKind::BtfTracepoint => format!("tp_btf/{target}"),
            HookKind::Tracepoint(category) => format!("tracepoint/{category}/{target}"),
            HookKind::Entry => format!("fentry/{target}"),
            HookKind::Exit(_) => format!("fexit/{target}"),
        };
        let Self { program, reports, without, .. } = *self;
        HookReport { program, hook, tells: reports, without, status }
    }
}

/// The attached hooks, and the results of all.
#[derive(Default)]
pub(in crate::kernel) struct Hooks {
    pub(in crate::kernel) links: Vec<Link>,
    loaded: Vec<(&'static Hook, &'static str)>,
    attached: Vec<(&'static Hook, &'static str)>,
    pub(in crate::kernel) reports: Vec<HookReport>,
}

impl Hooks {
    /// Attaches the loaded hooks that netmon cannot do without.
    pub(in crate::kernel) fn attach(
        &mut self,
        ebpf: &mut Ebpf,
        hooks: &'static [Hook],
    ) -> Result<(), LoadError> {
        for hook in hooks {
            let target = hook.targets[0];
            self.links.push(hook.attach(ebpf, target)?);
            self.attached.push((hook, target));
            self.reports.push(hook.report(Some(target), HookStatus::Attached));
        }
        Ok(())
    }

    /// Loads the hooks on functions as far as the kernel permits; [`Self::attach_loaded`] attaches
    /// them.
    pub(super) fn load_exact(
        &mut self,
        programs: &mut Programs<'_>,
        btf: &Btf,
        functions: &Functions,
        is_wanted: bool,
    ) {
        for hook in &EXACT {
            let target = hook.target(functions);
            // This kernel has the function of the hook's other variant.
            let has_twin = EXACT.iter().any(|other| {
                other.program != hook.program
                    && other.targets == hook.targets
                    && other.target(functions).is_some()
            });
            if target.is_none() && has_twin {
                continue;
            }
            let status = match target {
                _ if !is_wanted => HookStatus::Unwanted,
                None => HookStatus::Absent,
                Some(target) => match hook.load_for(programs, Some(btf), target) {
                    Ok(()) => {
                        self.loaded.push((hook, target));
                        continue;
                    }
                    error => HookStatus::of(error),
                },
            };
            self.reports.push(hook.report(target, status));
        }
    }

    /// Loads the programs that follow processes, all or none. [`Self::attach_loaded`] attaches
    /// them.
    pub(super) fn load_processes(&mut self, programs: &mut Programs<'_>, btf: &Btf) {
        let hooks: &'static [Hook] = &PROCESSES;
        match hooks.iter().try_for_each(|hook| hook.load(programs, Some(btf))) {
            Ok(()) => self.loaded.extend(hooks.iter().map(|hook| (hook, hook.targets[0]))),
            error => {
                let status = HookStatus::of(error);
                self.reports.extend(hooks.iter().map(|hook| hook.report(None, status.clone())));
            }
        }
    }

    /// Loads the programs that follow cgroups as far as the kernel permits.
    /// [`Self::attach_loaded`] attaches them.
    pub(super) fn load_cgroups(&mut self, programs: &mut Programs<'_>, btf: &Btf) {
        for hook in &CGROUPS {
            match hook.load(programs, Some(btf)) {
                Ok(()) => self.loaded.push((hook, hook.targets[0])),
                error => self.reports.push(hook.report(None, HookStatus::of(error))),
            }
        }
    }

    /// Returns whether the hooks report every process.
    pub(in crate::kernel) fn follow_processes(&self) -> bool {
        PROCESSES.iter().all(|hook| self.has(hook.program))
    }

    /// Loads the program on the accept system calls. [`Self::attach_loaded`] attaches it where
    /// tracefs is mounted.
    pub(super) fn load_accept(&mut self, programs: &mut Programs<'_>) {
        let status = HookStatus::of(ACCEPT[0].load(programs, None));
        for hook in &ACCEPT {
            if status == HookStatus::Attached {
                self.loaded.push((hook, hook.targets[0]));
            } else {
                self.reports.push(hook.report(None, status.clone()));
            }
        }
    }

    /// Attaches the loaded hooks.
    pub(super) fn attach_loaded(&mut self, ebpf: &mut Ebpf) {
        for (hook, target) in std::mem::take(&mut self.loaded) {
            let result = hook.attach(ebpf, target).map(|link| {
                self.links.push(link);
                self.attached.push((hook, target));
            });
            self.reports.push(hook.report(Some(target), HookStatus::of(result)));
        }
        if !self.follow_processes() {
            // One hook without the others would name programs wrongly.
            let links = std::mem::take(&mut self.links).into_iter();
            let attached = std::mem::take(&mut self.attached);
            (self.attached, self.links) = attached
                .into_iter()
                .zip(links)
                .filter(|((hook, _), _)| !follows_processes(hook.program))
                .unzip();
            for report in &mut self.reports {
                if follows_processes(report.program) && report.status == HookStatus::Attached {
                    let why = "another hook of processes was refused";
                    report.status = HookStatus::PassedOver(why.to_owned());
                }
            }
        }
    }

    /// Attaches again the hooks that were attached before.
    pub(in crate::kernel) fn attach_again(&mut self, ebpf: &mut Ebpf) -> Result<(), LoadError> {
        self.links.clear();
        let is_classic = |(hook, _): &(&Hook, _)| matches!(hook.kind, HookKind::Tracepoint(_));
        let mut attach = || {
            for (hook, target) in &self.attached {
                self.links.push(hook.attach(ebpf, target)?);
            }
            Ok(())
        };
        if self.attached.iter().any(is_classic) { tracefs::within(|_| attach())? } else { attach() }
    }

    /// Reports why the given hooks are not used.
    pub(in crate::kernel) fn pass_over(&mut self, hooks: &[Hook], why: &str) {
        let reports =
            hooks.iter().map(|hook| hook.report(None, HookStatus::PassedOver(why.to_owned())));
        self.reports.extend(reports);
    }

    /// Returns whether the hook of this program is attached.
    pub(in crate::kernel) fn has(&self, program: &str) -> bool {
        self.reports
            .iter()
            .any(|report| report.program == program && report.status == HookStatus::Attached)
    }

    /// Returns whether the hooks report every change of a TIME_WAIT bucket.
    pub(in crate::kernel) fn follow_minisockets(&self) -> bool {
        EXACT
            .iter()
            .filter(|hook| hook.program.starts_with("minisocket_"))
            .all(|hook| self.has(hook.program))
    }

    /// Returns the names of the attached programs.
    pub(in crate::kernel) fn programs(&self) -> impl Iterator<Item = &'static str> {
        let attached = self.reports.iter().filter(|report| report.status == HookStatus::Attached);
        attached.map(|report| report.program)
    }
}
