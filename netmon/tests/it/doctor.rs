//! The output of `netmon doctor`, to the byte.

use netmon::testing::{Diagnosis, Finding, FindingState, doctor_json, doctor_text};

use crate::schema::object;

fn hook(what: &'static str, name: &str, program: &str, state: FindingState) -> Finding {
    let (detail, costs, advice) = match state {
        FindingState::Ok => ("attached", "", ""),
        _ => ("the kernel answered EPERM (Operation not permitted)", "it is inferred", "another"),
    };
    Finding::new(what, state, detail).named(name).because(costs, advice).text("program", program)
}

fn degraded() -> Diagnosis {
    let findings = vec![
        Finding::new("kernel", FindingState::Ok, "Linux 6.18.0 x86_64").text("release", "6.18.0"),
        Finding::new("capabilities", FindingState::Ok, "held").named("CAP_BPF"),
        Finding::new("capabilities", FindingState::Ok, "held").named("CAP_PERFMON"),
        hook("transitions", "tp_btf/inet_sock_set_state", "inet_sock_set_state", FindingState::Ok),
        hook("transitions", "tp_btf/inet_sock_set_state", "standby", FindingState::Ok),
        hook("resets", "tracepoint/tcp/tcp_send_reset", "classic_send_reset", FindingState::Ok),
        hook(
            "resets",
            "tracepoint/tcp/tcp_receive_reset",
            "classic_receive_reset",
            FindingState::Ok,
        ),
        hook("minisockets", "fentry/one", "minisocket_made", FindingState::Degraded),
        hook("minisockets", "fentry/two", "minisocket_moved", FindingState::Degraded),
        hook("accepting", "fexit/three", "accepted_2", FindingState::Degraded),
        Finding::new("object", FindingState::Ok, "/tmp/\u{1b}[31m\"x\".o"),
        Finding::new("lost", FindingState::Ok, "0 events").number("count", 0),
    ];
    Diagnosis { findings, tier: Some("full"), iterators: true }
}

fn failed() -> Diagnosis {
    let hooks = (0..11).map(|i| {
        Finding::new("hooks", FindingState::Failed, "not attached: this process lacks CAP_BPF")
            .named(format!("{}/f{i}", if i < 3 { "tp_btf" } else { "fentry" }))
            .because("nothing runs", "use sudo")
    });
    Diagnosis { findings: hooks.collect(), tier: None, iterators: false }
}

fn text(diagnosis: &Diagnosis, colour: bool) -> String {
    let mut out = Vec::new();
    doctor_text(&mut out, diagnosis, colour).expect("written");
    String::from_utf8(out).expect("text")
}

#[test]
fn similar_findings_share_one_line_of_text() {
    insta::assert_snapshot!("doctor_degraded", text(&degraded(), false));
    insta::assert_snapshot!("doctor_failed", text(&failed(), false));
}

#[test]
fn colour_adds_nothing_but_colour() {
    for diagnosis in [degraded(), failed()] {
        let coloured = text(&diagnosis, true);
        assert!(coloured.contains('\u{1b}'), "{coloured}");
        let plain = ["\u{1b}[31m", "\u{1b}[1;33m", "\u{1b}[0m"]
            .iter()
            .fold(coloured, |text, colour| text.replace(colour, ""));
        assert_eq!(plain, text(&diagnosis, false));
    }
}

#[test]
fn json_has_each_finding_and_a_sum() {
    let mut out = Vec::new();
    doctor_json(&mut out, &degraded(), "1.2.3").expect("written");
    doctor_json(&mut out, &failed(), "1.2.3").expect("written");
    let text = String::from_utf8(out).expect("UTF-8");
    assert_eq!(
        text.lines().map(object).count(),
        degraded().findings.len() + failed().findings.len() + 2
    );
    insta::assert_snapshot!("doctor_json", text);
}

#[test]
fn the_exit_code_is_that_of_the_worst_finding() {
    let exit_code = |state, tier| {
        let findings = vec![Finding::new("a", FindingState::Ok, ""), Finding::new("b", state, "")];
        Diagnosis { findings, tier, iterators: true }.exit()
    };
    assert_eq!(exit_code(FindingState::Ok, Some("full")), 0);
    assert_eq!(exit_code(FindingState::Degraded, Some("full")), 1);
    assert_eq!(exit_code(FindingState::Failed, Some("full")), 2);
    // Without a tier, also when every finding is ok.
    assert_eq!(exit_code(FindingState::Ok, None), 2);
}
