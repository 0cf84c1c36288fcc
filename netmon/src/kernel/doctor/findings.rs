//! The findings about this host: the parts that netmon needs, and the result of attaching.

use std::{env, fs, path::Path};

use aya::util::{nr_cpus, online_cpus};
use netmon_common::{DumpOptions, KernelFilter};

use crate::{
    core::finding::{Finding, FindingState},
    enclosure,
    kernel::{
        host::{
            pid_namespace::PidNamespaces,
            privilege::{CAPABILITIES, Capability, Duty, is_before},
            time_namespace::TimeNamespace,
        },
        program::{
            attach::{ELSEWHERE, NOT_WANTED, Tier, load_iterators},
            btf_types::VMLINUX,
            error::{LoadError, OBJECT_VARIABLE, errno_text},
            hook_catalog::{EXACT, FULL, PROCESSES},
            hooks::{HookReport, HookStatus, Hooks},
            iterators::BpfIter,
            object::Options,
            tracefs,
        },
        ring::rings,
        stream::live::Live,
    },
};

const SUDO: &str = "use sudo; docs/privileges.md describes the way without root";
const WITHOUT_BTF: &str = "the tier is basic at best; no iterators";
const WITH_BTF: &str = "leave out --no-btf";
const ANOTHER_KERNEL: &str = "Linux 5.12 or newer, with BTF, has the full tier";
pub(super) const REPORT: &str = "report it, with the output of `netmon -v doctor`";
const HOST_PIDS: &str = "run netmon in the host's pid namespace, in a container by --pid=host";
const THROUGH_PROC: &str = "`snapshot` reads /proc: owners of other users' sockets take root";

/// The purposes of hooks, in the order of the output.
const HOOKS: [&str; 6] =
    ["transitions", "resets", "minisockets", "accepting", "local ports", "processes"];

/// The findings before anything is attached, and the capabilities held at that time.
pub(crate) struct HostFindings {
    findings: Vec<Finding>,
    held: Vec<(&'static Capability, bool)>,
    /// `Ok` if iterators can be loaded apart from tracing.
    iterators: Result<(), LoadError>,
}

/// The findings about attaching.
pub(crate) struct AttachFindings {
    findings: Vec<Finding>,
    tier: Option<Tier>,
    iterators: bool,
}

impl HostFindings {
    /// Examines the host. Must be called before privileges are given up.
    #[must_use]
    pub(crate) fn examine(options: &Options) -> Self {
        let mut findings = vec![kernel(), types(options), trace_file_system(), landlock()];
        findings.extend(object());
        findings.extend(time_namespace());
        findings.extend(pid_namespace());
        let held = CAPABILITIES.iter().filter(|capability| capability.is_of_use());
        let held = held.map(|capability| (capability, capability.is_held())).collect();
        let walks = [BpfIter::Tcp, BpfIter::Files];
        let iterators =
            load_iterators(DumpOptions::default(), KernelFilter::ANY, &walks, false).map(|_| ());
        Self { findings, held, iterators }
    }

    /// Adds the findings about attaching. Returns all findings before the self-test, the tier, and
    /// whether listings come from iterators.
    #[must_use]
    pub(crate) fn with(
        self,
        attached: AttachFindings,
    ) -> (Vec<Finding>, Option<&'static str>, bool) {
        let Self { mut findings, held, iterators } = self;
        let is_complete = attached.iterators && !is_before(6, 0);
        findings.extend(held.iter().map(|(item, is_held)| capability(item, *is_held, is_complete)));
        findings.extend(attached.findings);
        if attached.tier != Some(Tier::Full) {
            findings.push(match &iterators {
                Ok(()) => Finding::new("iterators", FindingState::Ok, "loaded, for `snapshot`"),
                Err(error) => Finding::new("iterators", FindingState::Degraded, error.short())
                    .because(THROUGH_PROC, advice(error)),
            });
        }
        (findings, attached.tier.map(Tier::name), attached.iterators || iterators.is_ok())
    }
}

impl AttachFindings {
    /// Returns the findings about attached programs.
    #[must_use]
    pub(crate) fn of(live: &Live) -> Self {
        let attachment = live.attachment();
        let tier = Finding::new("tier", FindingState::Ok, attachment.tier.name());
        let better = if attachment.options.without.btf { WITH_BTF } else { ANOTHER_KERNEL };
        let mut findings = vec![match &attachment.fell_back {
            None => tier,
            Some(why) => Finding { state: FindingState::Degraded, ..tier }.because(
                format!(
                    "{why}; the classic tracepoints stand in: they name sockets by address, and \
                     the state before the start is known less exactly"
                ),
                better,
            ),
        }];
        let mut hooks: Vec<_> = live.reports().iter().map(|report| hook(report, better)).collect();
        hooks.sort_by_key(|hook| HOOKS.iter().position(|what| *what == hook.what));
        findings.extend(hooks);
        if attachment.tier == Tier::Full {
            findings.push(match &attachment.iterators {
                Ok(()) => {
                    let dumps = match &attachment.walk {
                        Ok(()) => "one walk reads all network namespaces".to_owned(),
                        Err(why) => format!("each network namespace is read by itself: {why}"),
                    };
                    let detail = format!("tcp, task_file: loaded; {dumps}");
                    Finding::new("iterators", FindingState::Ok, detail)
                }
                Err(why) => {
                    let (costs, advice) = match why.as_str() {
                        NOT_WANTED => ("", "leave out --source proc"),
                        ELSEWHERE => ("; `snapshot` reads owners there as well", HOST_PIDS),
                        _ => ("; `snapshot` reads /proc as well", REPORT),
                    };
                    let costs = format!("the table is compared with /proc and sock_diag{costs}");
                    Finding::new("iterators", FindingState::Degraded, why.clone())
                        .because(costs, advice)
                }
            });
        }
        let missing = live.missing_counters();
        if attachment.tier == Tier::Full && !missing.is_empty() {
            findings.push(counters(&missing));
        }
        findings.push(ring_buffers(attachment.options.buffer));
        Self { findings, tier: Some(attachment.tier), iterators: attachment.iterators.is_ok() }
    }

    /// Returns the findings if `error` prevented attaching.
    #[must_use]
    pub(crate) fn not(error: &LoadError) -> Self {
        let mut hooks = Hooks::default();
        for all in [&FULL[..], &EXACT[..], &PROCESSES[..]] {
            hooks.pass_over(all, "");
        }
        let finding = |report: &HookReport| {
            let detail = format!("not attached: {}", error.short());
            with_hook(report, Finding::new("hooks", FindingState::Failed, detail))
                .because("`watch`, `record` and `verify` do not run", advice(error))
        };
        let findings = hooks.reports.iter().map(finding).collect();
        Self { findings, tier: None, iterators: false }
    }
}

/// Returns the advice for an error.
fn advice(error: &LoadError) -> &'static str {
    match error {
        LoadError::Privilege(_) => SUDO,
        LoadError::FileSystem(missing) => missing.remedy(),
        LoadError::NoBpf => "a kernel built with CONFIG_BPF_SYSCALL=y",
        LoadError::NoBtf => "a kernel built with CONFIG_DEBUG_INFO_BTF=y",
        LoadError::Buffer { .. } => "a smaller --buffer",
        LoadError::Shortage { .. } => "raise that limit",
        LoadError::Object { .. } | LoadError::ObjectRefused => "unset NETMON_EBPF_OBJECT",
        LoadError::Refused { errno: Some(libc::EPERM), .. } => {
            "if this is a container, run it on the host; else another kernel"
        }
        LoadError::Refused { .. } | LoadError::Layout { .. } => ANOTHER_KERNEL,
        LoadError::Format(_) => "a kernel with CONFIG_FTRACE, and tracefs",
    }
}

fn kernel() -> Finding {
    let name = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let (release, machine) = (text(name.release()), text(name.machine()));
    Finding::new("kernel", FindingState::Ok, format!("Linux {release} {machine}"))
        .text("release", release)
        .text("machine", machine)
}

fn types(options: &Options) -> Finding {
    if options.without.btf {
        return Finding::new("BTF", FindingState::Degraded, "not wanted")
            .because(WITHOUT_BTF, WITH_BTF);
    }
    match fs::metadata(VMLINUX) {
        Ok(file) => {
            let detail = format!("{VMLINUX}, {}", size(file.len()));
            Finding::new("BTF", FindingState::Ok, detail).number("bytes", file.len())
        }
        Err(error) => {
            let detail = format!("{VMLINUX}: {}", errno_text(&error));
            Finding::new("BTF", FindingState::Degraded, detail)
                .because(WITHOUT_BTF, advice(&LoadError::no_types()))
        }
    }
}

/// Reports tracefs, whose absence is no failure here: loading the classic tracepoints reports it.
fn trace_file_system() -> Finding {
    let detail = tracefs::mounted().map_or_else(
        || {
            "not mounted: netmon mounts it for itself where it needs it, for the basic tier"
                .to_owned()
        },
        |place: &Path| place.display().to_string(),
    );
    Finding::new("tracefs", FindingState::Ok, detail)
}

/// Reports Landlock. Its absence is no failure here: netmon does the same without.
fn landlock() -> Finding {
    match enclosure::probe() {
        Ok(version) => {
            let detail = format!("version {version}: threads open what they need, and no more");
            Finding::new("Landlock", FindingState::Ok, detail).number("version", version.into())
        }
        Err(why) => {
            let detail = format!("not used: {why}; threads may open what their user may");
            Finding::new("Landlock", FindingState::Ok, detail)
        }
    }
}

fn object() -> Option<Finding> {
    let path = env::var_os(OBJECT_VARIABLE)?;
    let detail = format!("{OBJECT_VARIABLE}={}, instead of the one built in", path.display());
    Some(Finding::new("object", FindingState::Ok, detail))
}

/// Reports a time namespace of netmon's own.
fn time_namespace() -> Option<Finding> {
    match TimeNamespace::current() {
        Ok(namespace) => {
            let TimeNamespace { inum, ahead } = namespace?;
            let seconds = ahead.monotonic as f64 / 1e9;
            let detail = format!(
                "netmon is in time namespace {inum}, whose monotonic clock is offset by {seconds} \
                 s; times are corrected"
            );
            let finding = Finding::new("time namespace", FindingState::Ok, detail);
            Some(finding.text("offset_s", seconds.to_string()))
        }
        Err(error) => {
            Some(Finding::new("time namespace", FindingState::Failed, error.to_string()).because(
                "times are wrong, and events may not be shown",
                "run netmon in the host's time namespace",
            ))
        }
    }
}

/// Reports a pid namespace of netmon's own, or of `/proc`.
fn pid_namespace() -> Option<Finding> {
    let namespaces = PidNamespaces::current();
    let Some(shown) = namespaces.shown() else {
        let own = namespaces.own()?;
        let detail = format!("netmon is in pid namespace {own}, and /proc is the host's");
        let costs = "processes have their numbers on the host, as `ps` here shows, but `kill` here \
                     takes other numbers";
        let finding = Finding::new("pid namespace", FindingState::Degraded, detail);
        return Some(finding.number("inum", own).because(costs, HOST_PIDS));
    };
    let inum = shown.inum;
    let detail = format!("process numbers are those of pid namespace {inum}, as `ps` here shows");
    let costs = "processes outside of that namespace have a name and no number, and sockets that \
                 they opened before netmon began have no owner";
    let finding = Finding::new("pid namespace", FindingState::Degraded, detail);
    Some(finding.number("inum", inum.into()).because(costs, HOST_PIDS))
}

/// Reports a capability. `is_complete`: nothing is read in `/proc` that only root may read.
fn capability(capability: &Capability, is_held: bool, is_complete: bool) -> Finding {
    let new = |state, detail| Finding::new("capabilities", state, detail).named(capability.name);
    let costs = |duty| capability.is_for(&[duty]);
    let (state, detail) = if is_held {
        (FindingState::Ok, "held")
    } else if costs(Duty::Load) {
        (FindingState::Failed, "missing")
    } else if costs(Duty::Enter) || costs(Duty::Look) && !is_complete {
        (FindingState::Degraded, "missing")
    } else {
        // The cost of any other capability appears where an action fails.
        (FindingState::Ok, "not held, nor needed here")
    };
    let finding = new(state, detail).text("purpose", capability.purpose);
    if state == FindingState::Ok { finding } else { finding.because(capability.without, SUDO) }
}

/// Adds the hook and its program, for other programs.
fn with_hook(report: &HookReport, finding: Finding) -> Finding {
    finding.named(report.hook.clone()).text("program", report.program).text("tells", report.tells)
}

/// Reports a hook. `better`: the advice if only another tier has the hook.
fn hook(report: &HookReport, better: &'static str) -> Finding {
    let what = match report.program {
        name if name.starts_with("minisocket") => "minisockets",
        name if name.starts_with("accepted") => "accepting",
        name if name.ends_with("_reset") => "resets",
        "connecting" => "local ports",
        name if name.starts_with("process_") => "processes",
        _ => "transitions",
    };
    let (status, state, detail, advice) = match &report.status {
        HookStatus::Attached => ("attached", FindingState::Ok, "attached".to_owned(), ""),
        HookStatus::Absent => (
            "absent",
            FindingState::Degraded,
            "this kernel has no such function".to_owned(),
            "nothing, or another kernel; netmon does without",
        ),
        // The answer may contain a complaint of the verifier.
        HookStatus::Refused(answer) => (
            "refused",
            FindingState::Degraded,
            format!("the kernel answered {answer}"),
            if answer.contains(": ") {
                REPORT
            } else {
                "a kernel that permits it makes this exact"
            },
        ),
        HookStatus::Unwanted => {
            ("unwanted", FindingState::Degraded, "not wanted".to_owned(), "leave out --no-fentry")
        }
        HookStatus::PassedOver(why) => {
            ("passed_over", FindingState::Degraded, format!("not used: {why}"), better)
        }
    };
    let finding = with_hook(report, Finding::new(what, state, detail)).text("status", status);
    if state == FindingState::Ok { finding } else { finding.because(report.without, advice) }
}

fn counters(missing: &[&str]) -> Finding {
    let detail = format!("the kernel's types lack {} of struct tcp_sock", missing.join(", "));
    Finding::new("counters", FindingState::Degraded, detail)
        .because("these figures of a connection that ends are absent", ANOTHER_KERNEL)
}

fn ring_buffers(buffer: u32) -> Finding {
    let count = rings::count(buffer).unwrap_or(1);
    let each = rings::each(buffer, count);
    let online = online_cpus().map_or(0, |cpus| cpus.len());
    let possible = nr_cpus().unwrap_or(0);
    let detail =
        format!("{count} of {}; {online} CPUs online, {possible} possible", size(u64::from(each)));
    Finding::new("ring buffers", FindingState::Ok, detail)
        .number("rings", u64::from(count))
        .number("bytes_each", u64::from(each))
        .number("cpus_online", online as u64)
        .number("cpus_possible", possible as u64)
}

fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    match bytes {
        0..MIB => format!("{} KiB", bytes >> 10),
        _ if bytes.is_multiple_of(MIB) => format!("{} MiB", bytes >> 20),
        _ => format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_missing_capability_means() {
        let state = |name: &str, is_held, is_complete| {
            let entry = CAPABILITIES.iter().find(|entry| entry.name == name).expect(name);
            capability(entry, is_held, is_complete).state
        };
        assert_eq!(state("CAP_BPF", false, true), FindingState::Failed);
        assert_eq!(state("CAP_BPF", true, true), FindingState::Ok);
        assert_eq!(state("CAP_PERFMON", false, true), FindingState::Failed);
        assert_eq!(state("CAP_SYS_ADMIN", false, true), FindingState::Degraded);
        assert_eq!(state("CAP_SYS_PTRACE", false, true), FindingState::Degraded);
        // Needed only if owners come from `/proc`.
        assert_eq!(state("CAP_DAC_READ_SEARCH", false, false), FindingState::Degraded);
        assert_eq!(state("CAP_DAC_READ_SEARCH", false, true), FindingState::Ok);
    }

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(size(4096), "4 KiB");
        assert_eq!(size(8 << 20), "8 MiB");
        assert_eq!(size(5_516_713), "5.2 MiB");
    }
}
