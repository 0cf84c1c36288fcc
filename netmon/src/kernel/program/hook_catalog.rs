//! The hooks, one by one: what each tells, and what stands in for it.

/// How a program is hooked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) enum HookKind {
    /// To a tracepoint, with the types of its arguments known to the kernel.
    BtfTracepoint,
    /// To the same without types; of this category.
    Tracepoint(&'static str),
    /// To the beginning of a function.
    Entry,
    /// To the end of a function, with so many arguments.
    Exit(usize),
}

/// A program, and what it can be hooked to.
#[derive(Debug)]
pub(in crate::kernel) struct Hook {
    /// The program of the object.
    pub(in crate::kernel) program: &'static str,
    pub(super) kind: HookKind,
    /// Tracepoint or function; where it has had several names, the newest first.
    pub(super) targets: &'static [&'static str],
    /// What it tells.
    pub(in crate::kernel) tells: &'static str,
    /// What stands in for it; empty where nothing does.
    pub(in crate::kernel) without: &'static str,
}

/// What follows every transition.
pub(in crate::kernel) const TRANSITIONS: &str = "inet_sock_set_state";
/// The same by the classic tracepoint.
const CLASSIC_TRANSITIONS: &str = "classic_transition";
/// Each runs once for every transition.
pub(in crate::kernel) const ON_TRANSITIONS: [&str; 2] = [TRANSITIONS, CLASSIC_TRANSITIONS];
/// The same on standby.
pub(in crate::kernel) const STANDBY: &str = "standby";
const TELLS_TRANSITIONS: &str = "every transition but to and from TIME_WAIT";
const TELLS_RESETS: &str = "who reset a connection";
const BY_ADDRESS: &str =
    "the classic tracepoint stands in, which tells sockets by address instead of cookie";

/// The programs on BTF tracepoints, in the order in which they are attached: no transition is to come without
/// the resets that explain it, and of the two on one tracepoint the one on standby runs second.
pub(in crate::kernel) const FULL: [Hook; 4] = [
    Hook {
        program: "tcp_receive_reset",
        kind: HookKind::BtfTracepoint,
        targets: &["tcp_receive_reset"],
        tells: TELLS_RESETS,
        without: BY_ADDRESS,
    },
    Hook {
        program: "tcp_send_reset",
        kind: HookKind::BtfTracepoint,
        targets: &["tcp_send_reset"],
        tells: TELLS_RESETS,
        without: BY_ADDRESS,
    },
    Hook {
        program: TRANSITIONS,
        kind: HookKind::BtfTracepoint,
        targets: &[TRANSITIONS],
        tells: TELLS_TRANSITIONS,
        without: BY_ADDRESS,
    },
    Hook {
        program: STANDBY,
        kind: HookKind::BtfTracepoint,
        targets: &[TRANSITIONS],
        tells: "transitions that come in the midst of another",
        without: BY_ADDRESS,
    },
];

/// What stands in for them on kernels without types, or without cookies for such programs.
pub(in crate::kernel) const CLASSIC: [Hook; 3] = [
    Hook {
        program: "classic_receive_reset",
        kind: HookKind::Tracepoint("tcp"),
        targets: &["tcp_receive_reset"],
        tells: TELLS_RESETS,
        without: "",
    },
    Hook {
        program: "classic_send_reset",
        kind: HookKind::Tracepoint("tcp"),
        targets: &["tcp_send_reset"],
        tells: TELLS_RESETS,
        without: "",
    },
    Hook {
        program: CLASSIC_TRANSITIONS,
        kind: HookKind::Tracepoint("sock"),
        targets: &[TRANSITIONS],
        tells: TELLS_TRANSITIONS,
        without: "",
    },
];

const ASKED: &str = "sock_diag and dumps tell instead: inferred, up to some seconds late";
const SCANNED: &str = "the listener's owner stands in, until a dump finds who holds it";

/// Programs that may be skipped and nothing is lost: what stands in for them brings the same, a little later.
pub(in crate::kernel) const LOSSLESS_WHEN_SKIPPED: [&str; 4] =
    ["accepted_2", "accepted_4", "accept_returned", "connecting"];

/// Those on functions, which make minisockets and owners exact.
pub(in crate::kernel) const EXACT: [Hook; 7] = [
    Hook {
        program: "minisocket_made",
        kind: HookKind::Entry,
        targets: &["inet_twsk_hashdance_schedule", "inet_twsk_hashdance"],
        tells: "whether TIME_WAIT or an orphan follows",
        without: ASKED,
    },
    Hook {
        program: "minisocket_moved",
        kind: HookKind::Entry,
        targets: &["__inet_twsk_schedule"],
        tells: "when an orphan comes to TIME_WAIT",
        without: ASKED,
    },
    Hook {
        program: "minisocket_ended",
        kind: HookKind::Entry,
        targets: &["inet_twsk_deschedule_put"],
        tells: "when a RST or a new connection ends a TIME_WAIT or an orphan",
        without: ASKED,
    },
    Hook {
        program: "minisocket_expired",
        kind: HookKind::Entry,
        targets: &["tw_timer_handler"],
        tells: "when the time of a TIME_WAIT or an orphan is over",
        without: ASKED,
    },
    Hook {
        program: "accepted_2",
        kind: HookKind::Exit(2),
        targets: &["inet_csk_accept"],
        tells: "which process accepted",
        without: SCANNED,
    },
    Hook {
        program: "accepted_4",
        kind: HookKind::Exit(4),
        targets: &["inet_csk_accept"],
        tells: "which process accepted",
        without: SCANNED,
    },
    Hook {
        program: "connecting",
        kind: HookKind::Entry,
        targets: &["tcp_connect"],
        tells: "the local port of a connect at once",
        without: "the next event brings the port, or netmon asks after 10 ms",
    },
];

/// Those on system calls, only on request: both have the same program.
pub(in crate::kernel) const ACCEPT: [Hook; 2] =
    [accept(&["sys_exit_accept4"]), accept(&["sys_exit_accept"])];

const fn accept(targets: &'static [&'static str]) -> Hook {
    let (program, kind) = ("accept_returned", HookKind::Tracepoint("syscalls"));
    Hook { program, kind, targets, tells: "which process accepted", without: SCANNED }
}
