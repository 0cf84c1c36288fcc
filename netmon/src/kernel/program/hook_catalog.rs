//! The catalog of hooks: the report of each hook, and its substitute.

/// The way in which a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) enum HookKind {
    /// At a tracepoint whose argument types the kernel knows.
    BtfTracepoint,
    /// At a tracepoint of this category, without types.
    Tracepoint(&'static str),
    /// At the beginning of a function.
    Entry,
    /// At the end of a function with that many arguments.
    Exit(usize),
}

/// A program and its possible targets.
#[derive(Debug)]
pub(in crate::kernel) struct Hook {
    /// The name of the program in the object.
    pub(in crate::kernel) program: &'static str,
    pub(super) kind: HookKind,
    /// Tracepoints or functions; of several names of one function, the newest comes first.
    pub(super) targets: &'static [&'static str],
    /// The information that the hook reports.
    pub(in crate::kernel) reports: &'static str,
    /// The substitute for the hook; empty if there is none.
    pub(in crate::kernel) without: &'static str,
}

/// The program that follows every transition.
pub(in crate::kernel) const TRANSITIONS: &str = "inet_sock_set_state";
/// The program that follows every transition through the classic tracepoint.
const CLASSIC_TRANSITIONS: &str = "classic_transition";
/// The programs that run once for every transition.
pub(in crate::kernel) const ON_TRANSITIONS: [&str; 2] = [TRANSITIONS, CLASSIC_TRANSITIONS];
/// The standby for [`TRANSITIONS`].
pub(in crate::kernel) const STANDBY: &str = "standby";
const REPORTS_TRANSITIONS: &str = "every transition but to and from TIME_WAIT";
const REPORTS_RESETS: &str = "who reset a connection";
const BY_ADDRESS: &str =
    "the classic tracepoint stands in, which names sockets by address instead of cookie";

/// The programs on BTF tracepoints, in the order of attaching. The resets come first, because each
/// must precede the transition that it explains. Of the two programs on one tracepoint, the standby
/// runs second.
pub(in crate::kernel) const FULL: [Hook; 4] = [
    Hook {
        program: "tcp_receive_reset",
        kind: HookKind::BtfTracepoint,
        targets: &["tcp_receive_reset"],
        reports: REPORTS_RESETS,
        without: BY_ADDRESS,
    },
    Hook {
        program: "tcp_send_reset",
        kind: HookKind::BtfTracepoint,
        targets: &["tcp_send_reset"],
        reports: REPORTS_RESETS,
        without: BY_ADDRESS,
    },
    Hook {
        program: TRANSITIONS,
        kind: HookKind::BtfTracepoint,
        targets: &[TRANSITIONS],
        reports: REPORTS_TRANSITIONS,
        without: BY_ADDRESS,
    },
    Hook {
        program: STANDBY,
        kind: HookKind::BtfTracepoint,
        targets: &[TRANSITIONS],
        reports: "transitions that happen during another",
        without: BY_ADDRESS,
    },
];

/// The substitutes for [`FULL`] on kernels without types, or without cookies for such programs.
pub(in crate::kernel) const CLASSIC: [Hook; 3] = [
    Hook {
        program: "classic_receive_reset",
        kind: HookKind::Tracepoint("tcp"),
        targets: &["tcp_receive_reset"],
        reports: REPORTS_RESETS,
        without: "",
    },
    Hook {
        program: "classic_send_reset",
        kind: HookKind::Tracepoint("tcp"),
        targets: &["tcp_send_reset"],
        reports: REPORTS_RESETS,
        without: "",
    },
    Hook {
        program: CLASSIC_TRANSITIONS,
        kind: HookKind::Tracepoint("sock"),
        targets: &[TRANSITIONS],
        reports: REPORTS_TRANSITIONS,
        without: "",
    },
];

const BY_SOCK_DIAG: &str = "sock_diag and dumps stand in: inferred, up to some seconds late";
const BY_LISTENER: &str = "the listener's owner stands in, until a dump finds the holder";

/// The programs whose skipped runs lose no event of a connection. The substitute brings the same, a
/// little later; a received RST is a mark of the CLOSE that follows, whose error shows the RST too.
pub(in crate::kernel) const LOSSLESS_WHEN_SKIPPED: [&str; 6] = [
    "accepted_2",
    "accepted_4",
    "accept_returned",
    "connecting",
    "tcp_receive_reset",
    "classic_receive_reset",
];

/// The hooks on functions, which make minisockets and owners exact.
pub(in crate::kernel) const EXACT: [Hook; 7] = [
    Hook {
        program: "minisocket_made",
        kind: HookKind::Entry,
        targets: &["inet_twsk_hashdance_schedule", "inet_twsk_hashdance"],
        reports: "whether TIME_WAIT or an orphan follows",
        without: BY_SOCK_DIAG,
    },
    Hook {
        program: "minisocket_moved",
        kind: HookKind::Entry,
        targets: &["__inet_twsk_schedule"],
        reports: "when an orphan comes to TIME_WAIT",
        without: BY_SOCK_DIAG,
    },
    Hook {
        program: "minisocket_ended",
        kind: HookKind::Entry,
        targets: &["inet_twsk_deschedule_put"],
        reports: "when a RST or a new connection ends a TIME_WAIT or an orphan",
        without: BY_SOCK_DIAG,
    },
    Hook {
        program: "minisocket_expired",
        kind: HookKind::Entry,
        targets: &["tw_timer_handler"],
        reports: "when the time of a TIME_WAIT or an orphan is over",
        without: BY_SOCK_DIAG,
    },
    Hook {
        program: "accepted_2",
        kind: HookKind::Exit(2),
        targets: &["inet_csk_accept"],
        reports: "which process accepted",
        without: BY_LISTENER,
    },
    Hook {
        program: "accepted_4",
        kind: HookKind::Exit(4),
        targets: &["inet_csk_accept"],
        reports: "which process accepted",
        without: BY_LISTENER,
    },
    Hook {
        program: "connecting",
        kind: HookKind::Entry,
        targets: &["tcp_connect"],
        reports: "the local port of a connect at once",
        without: "the next event brings the port, or netmon asks after 10 ms",
    },
];

/// The programs that follow processes. One without the others would name processes wrongly.
pub(in crate::kernel) const PROCESSES: [Hook; 3] = [
    process("process_exec", &["sched_process_exec"], "the programs that processes run"),
    process("process_fork", &["sched_process_fork"], "the parents of processes"),
    process("process_exit", &["sched_process_exit"], "the ends of processes"),
];

/// Returns whether a program fills the ring of processes: its skipped runs are losses there.
pub(in crate::kernel) fn fills_processes(program: &str) -> bool {
    PROCESSES.iter().chain(&CGROUPS).any(|hook| hook.program == program)
}

/// Returns whether a program follows processes.
pub(in crate::kernel) fn follows_processes(program: &str) -> bool {
    PROCESSES.iter().any(|hook| hook.program == program)
}

const fn process(
    program: &'static str,
    targets: &'static [&'static str],
    reports: &'static str,
) -> Hook {
    let without = "owners have a name and no executable, arguments or parent";
    Hook { program, kind: HookKind::BtfTracepoint, targets, reports, without }
}

/// The programs that follow cgroups.
pub(in crate::kernel) const CGROUPS: [Hook; 2] = [
    Hook {
        program: "cgroup_made",
        kind: HookKind::BtfTracepoint,
        targets: &["cgroup_mkdir"],
        reports: "the paths of new cgroups",
        without: "dumps look for new cgroups: the path comes up to a minute later",
    },
    Hook {
        program: "cgroup_removed",
        kind: HookKind::BtfTracepoint,
        targets: &["cgroup_rmdir"],
        reports: "the ends of cgroups",
        without: "dumps find out which cgroups are gone",
    },
];

/// The hooks on system calls, attached on request only. Both use the same program.
pub(in crate::kernel) const ACCEPT: [Hook; 2] =
    [accept(&["sys_exit_accept4"]), accept(&["sys_exit_accept"])];

const fn accept(targets: &'static [&'static str]) -> Hook {
    let (program, kind) = ("accept_returned", HookKind::Tracepoint("syscalls"));
    Hook { program, kind, targets, reports: "which process accepted", without: BY_LISTENER }
}
