//! The report of `netmon doctor` on this host. The environment of the tests sets the
//! expected tier.

use std::process::{Command, Output};

use serde_json::Value;

use crate::kernel::{
    harness::{copy_program, kernel},
    recording::Directory,
    tier::{Tier, arguments, tier},
};
use crate::schema::object;

/// The kernel programs of the hooks of the full tier, attached or not.
const FULL: [&str; 4] = ["inet_sock_set_state", "standby", "tcp_send_reset", "tcp_receive_reset"];
const EXACT: [&str; 5] =
    ["minisocket_made", "minisocket_moved", "minisocket_ended", "minisocket_expired", "connecting"];
const PROCESSES: [&str; 5] =
    ["process_exec", "process_fork", "process_exit", "cgroup_made", "cgroup_removed"];
const CLASSIC: [&str; 3] = ["classic_transition", "classic_send_reset", "classic_receive_reset"];

/// The line about a hook that a kernel of the full tier refuses.
const NO_FENTRY: &str = if cfg!(target_arch = "aarch64") {
    "the kernel answered ENOTSUPP (Operation is not supported); sock_diag and dumps"
} else {
    "the kernel answered EPERM (Operation not permitted); sock_diag and dumps"
};

fn doctor(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmon"));
    command.arg("doctor").args(arguments()).args(args).output().expect("netmon")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// Parses every line, which must be an object of either type. Returns the findings, and the last
/// line, which sums up.
fn json(output: &Output) -> (Vec<Value>, Value) {
    let mut findings: Vec<Value> = text(output).lines().map(object).collect();
    let sum = findings.pop().unwrap_or_else(|| panic!("{output:?}"));
    assert_eq!(sum["type"], "doctor", "{sum}");
    assert!(findings.iter().all(|finding| finding["type"] == "finding"), "{findings:#?}");
    assert_eq!(sum["exit"].as_i64(), output.status.code().map(i64::from), "{sum}");
    (findings, sum)
}

/// The report of a run in which no other test overruns the hooks: an overrun counts as a loss.
fn undisturbed() -> (Output, Vec<Value>, Value) {
    for _ in 0..5 {
        let output = doctor(&["--json"]);
        let (findings, sum) = json(&output);
        if finding(&findings, "lost")["count"] == 0 {
            return (output, findings, sum);
        }
    }
    panic!("events are lost each time");
}

fn finding<'a>(findings: &'a [Value], what: &str) -> &'a Value {
    let found = findings.iter().find(|finding| finding["what"] == what);
    found.unwrap_or_else(|| panic!("nothing of {what}: {findings:#?}"))
}

/// The status of the hooks of these programs.
fn status(findings: &[Value], programs: &[&str]) -> Vec<String> {
    let program_status = |program: &&str| {
        let found = findings.iter().find(|finding| finding["program"] == **program);
        let found = found.unwrap_or_else(|| panic!("nothing of {program}: {findings:#?}"));
        found["status"].as_str().unwrap_or_default().to_owned()
    };
    programs.iter().map(program_status).collect()
}

#[test]
fn it_tells_what_this_kernel_allows() {
    let (output, findings, sum) = undisturbed();
    // An emulated machine may be too slow for frequent comparisons.
    let is_slow = finding(&findings, "comparisons")["state"] != "ok";
    let code = if tier() == Tier::Exact && !is_slow { 0 } else { 1 };
    assert_eq!(output.status.code(), Some(code), "{findings:#?}");
    assert_eq!(sum["state"], if code == 0 { "ok" } else { "degraded" });
    assert_eq!((&sum["watch"], &sum["record"]), (&true.into(), &true.into()));
    let (name, full, exact) = match tier() {
        Tier::Basic => ("basic", "passed_over", "passed_over"),
        // The kernel refuses the hooks, or the arguments of the tests do not want them.
        Tier::Full if arguments().iter().any(|argument| argument == "--no-fentry") => {
            ("full", "attached", "unwanted")
        }
        Tier::Full => ("full", "attached", "refused"),
        Tier::Exact => ("full", "attached", "attached"),
    };
    assert_eq!(sum["tier"], name);
    assert_eq!(status(&findings, &FULL), [full; FULL.len()]);
    assert_eq!(status(&findings, &EXACT), [exact; EXACT.len()]);
    assert_eq!(status(&findings, &PROCESSES), [full; PROCESSES.len()], "{findings:#?}");
    // One of the two programs for accepting is attached, or neither.
    let accepting = finding(&findings, "accepting");
    assert_eq!(accepting["status"], exact, "{accepting}");
    if tier() == Tier::Basic {
        assert_eq!(status(&findings, &CLASSIC), ["attached"; CLASSIC.len()]);
    }
    for finding in findings.iter().filter(|finding| finding["state"] != "ok") {
        assert!(finding["consequence"].is_string() && finding["advice"].is_string(), "{finding}");
    }
}

#[test]
fn the_self_test_comes_out_and_the_cost_is_measured() {
    let (findings, _) = json(&doctor(&["--json"]));
    let test = finding(&findings, "self-test");
    assert_eq!((&test["state"], &test["seen"]), (&"ok".into(), &12.into()), "{test}");
    let cost = finding(&findings, "cost");
    assert!(cost["mean_ns"].as_u64() > Some(0), "{cost}");
    // Other tests add transitions.
    assert!(cost["transitions"].as_u64() >= Some(10), "{cost}");
    let is_of_exec = |finding: &&Value| {
        let programs = finding["programs"].as_str();
        finding["what"] == "cost" && programs.is_some_and(|names| names.contains("process_exec "))
    };
    let processes = findings.iter().filter(is_of_exec).count();
    assert_eq!(processes, usize::from(tier() != Tier::Basic), "{findings:#?}");
    let rings = finding(&findings, "ring buffers");
    assert!(rings["rings"].as_u64() >= Some(1), "{rings}");
    assert!(rings["bytes_each"].as_u64() >= Some(1 << 20), "{rings}");
    assert!(finding(&findings, "lost")["count"].is_u64());
}

#[test]
fn landlock_is_used_where_the_kernel_has_it() {
    let (findings, _) = json(&doctor(&["--json"]));
    let landlock = finding(&findings, "Landlock");
    assert_eq!(landlock["state"], "ok", "{landlock}");
    if kernel() < (5, 19) {
        assert!(landlock["detail"].as_str().expect("words").starts_with("not used: "));
    } else {
        assert!(landlock["version"].as_u64() >= Some(2), "{landlock}");
    }
}

#[test]
fn one_line_names_a_hook_the_answer_and_the_consequence() {
    let stdout = text(&doctor(&[]));
    let line = |what: &str| {
        let is_it = |line: &&str| line.split_whitespace().nth(1) == Some(what);
        stdout.lines().rfind(is_it).unwrap_or_else(|| panic!("{what}: {stdout}"))
    };
    let expected: &[&str] = match tier() {
        Tier::Exact => &["ok ", "fentry/", "attached"],
        Tier::Full if arguments().iter().any(|argument| argument == "--no-fentry") => {
            &["degraded ", "fentry/", "not wanted; ", "sock_diag", "-> leave out --no-fentry"]
        }
        Tier::Full => &["degraded ", "fentry/", NO_FENTRY, "inferred"],
        Tier::Basic => &["degraded ", "fentry/", "the tier is basic; sock_diag"],
    };
    for part in expected {
        assert!(line("minisockets").contains(part), "{part}: {stdout}");
    }
    let last = stdout.lines().last().expect("a line");
    assert!(last.contains("`watch`") && last.contains("`snapshot`"), "{last}");
    assert!(!stdout.contains('\u{1b}'), "no colour but on a terminal: {stdout}");
}

#[test]
fn fallbacks_can_be_looked_at() {
    let output = doctor(&["--source", "proc", "--json"]);
    let (findings, _) = json(&output);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(finding(&findings, "iterators")["state"], "degraded");
    if !arguments().iter().any(|argument| argument == "--no-btf") {
        let output = doctor(&["--no-btf", "--json"]);
        let (findings, sum) = json(&output);
        assert_eq!(output.status.code(), Some(1), "{findings:#?}");
        assert_eq!(sum["tier"], "basic");
        assert_eq!(status(&findings, &CLASSIC), ["attached"; CLASSIC.len()]);
        assert_eq!(finding(&findings, "self-test")["state"], "ok");
    }
}

#[test]
fn without_loopback_netmon_does_not_hang() {
    let mut command = Command::new("unshare");
    command.args(["-n", env!("CARGO_BIN_EXE_netmon"), "doctor", "--json"]).args(arguments());
    let (findings, _) = json(&command.output().expect("unshare"));
    let test = finding(&findings, "self-test");
    assert_eq!(test["state"], "degraded", "{test}");
    assert!(test["detail"].as_str().is_some_and(|text| text.contains("ENETUNREACH")), "{test}");
    assert_eq!(test["advice"], "ip link set lo up");
}

/// Runs `netmon doctor` as the user that owns nothing, with these capabilities.
fn lesser(capabilities: &str, args: &[&str]) -> Output {
    let directory = Directory::new();
    let program = directory.0.join("netmon");
    copy_program(&program);
    Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(format!("--inh-caps=-all{capabilities}"))
        .arg(format!("--ambient-caps=-all{capabilities}"))
        .arg(format!("--bounding-set=-all{capabilities}"))
        .arg(&program)
        .arg("doctor")
        .args(args)
        // netmon must refuse this variable for every user but root.
        .env_remove("NETMON_EBPF_OBJECT")
        .output()
        .expect("setpriv (util-linux)")
}

#[test]
fn without_privilege_the_exit_code_is_2_and_the_remedy_is_named() {
    let output = lesser("", &["--json"]);
    let (findings, sum) = json(&output);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!((&sum["watch"], &sum["snapshot"]), (&false.into(), &"proc".into()));
    assert!(sum["tier"].is_null(), "{sum}");
    for name in ["CAP_BPF", "CAP_PERFMON"] {
        let found = findings.iter().find(|finding| finding["name"] == name).expect(name);
        assert_eq!(found["state"], "failed", "{found}");
        assert!(found["advice"].as_str().is_some_and(|text| text.contains("sudo")), "{found}");
    }
    let stdout = text(&lesser("", &[]));
    assert!(
        stdout.contains("not attached: this process lacks CAP_BPF and CAP_PERFMON"),
        "{stdout}"
    );
    let last = stdout.lines().last().expect("a line");
    assert!(
        last.contains("cannot trace") && last.contains("`snapshot` works from /proc"),
        "{last}"
    );
}

#[test]
fn two_capabilities_are_enough_for_less() {
    // Before Linux 6.0 the use of loaded programs takes more, and the classic tracepoints take
    // tracefs.
    let more =
        if tier() == Tier::Basic { ",+dac_read_search,+sys_admin,+sys_resource" } else { "" };
    let output = lesser(&format!(",+bpf,+perfmon{more}"), &["--json"]);
    let (findings, sum) = json(&output);
    assert_eq!(output.status.code(), Some(1), "{findings:#?}");
    assert_eq!(sum["watch"], true);
    let missing = findings.iter().find(|finding| finding["name"] == "CAP_SYS_PTRACE");
    assert_eq!(missing.expect("a capability")["state"], "degraded");
    assert_eq!(finding(&findings, "self-test")["state"], "ok", "{findings:#?}");
}
