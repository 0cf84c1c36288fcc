//! `netmon services` on this host's own database.

use std::process::{Command, Output};

use crate::schema::object;

fn services(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_netmon")).arg("services").args(args).output().expect("netmon")
}

fn text(args: &[&str]) -> String {
    let output = services(args);
    assert!(
        output.status.success(),
        "netmon services needs /etc/services (on Debian, netbase): {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn services_are_found_by_port_name_and_prefix() {
    let ssh = text(&["22"]);
    assert!(ssh.lines().any(|line| line.starts_with("ssh ") && line.contains(" 22/tcp")), "{ssh}");
    assert_eq!(text(&["ssh"]).lines().nth(1), ssh.lines().nth(1));
    let domain = text(&["domain"]);
    assert!(domain.contains("53/tcp") && domain.contains("53/udp"), "{domain}");
    let http = text(&["HTTP"]);
    assert!(http.contains("80/tcp") && http.contains("https"), "{http}");
    // An alias finds its service too.
    assert!(text(&["www"]).contains("80/tcp"));
    assert!(text(&[]).lines().count() > 50);
}

#[test]
fn a_port_is_written_in_each_form() {
    let port = text(&["443/tcp"]);
    assert_eq!(port.lines().count(), 2, "{port}");
    assert!(text(&[":443"]).contains("443/tcp"));
    assert!(text(&["sql"]).contains("mysql"));
}

#[test]
fn services_are_json_lines() {
    let line = text(&["22/tcp", "--json"]);
    let service = object(line.trim_end());
    assert_eq!((&service["type"], &service["name"]), (&"service".into(), &"ssh".into()));
    assert_eq!((&service["port"], &service["proto"]), (&22.into(), &"tcp".into()));
    assert!(service["aliases"].is_array(), "{service}");
}

#[test]
fn unknown_services_are_reported() {
    let output = services(&["no-such-service\u{1b}[31m"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("no-such-service\\u{1b}"), "{stderr}");
}
