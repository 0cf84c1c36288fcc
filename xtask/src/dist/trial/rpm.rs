//! The rpm: installed into an empty root, and upgraded and erased in one with a shell.

use std::process::Command;

use super::{HIGHER, Trial, root::Root};
use crate::{dist::packages::rpm_name, shell::as_root};

pub(super) fn run(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let version = trial.release.version.clone();
    let package = trial.release.directory.join(rpm_name(&version, trial.target));
    let higher = trial.work.join(rpm_name(HIGHER, trial.target));

    let empty = Root::empty(trial.work.join("rpm"))?;
    // No script runs without a shell.
    let install = ["--install", "--nodeps", "--noscripts"];
    trial.shows("rpm: an empty root", rpm(&empty).args(install).arg(&package), &[]);
    trial.shows("rpm: version", empty.command("/usr/bin/netmon").arg("--version"), &[&version]);
    trial.lists(
        "rpm: netmon snapshot -tulpen",
        empty.command("/usr/bin/netmon").args(["snapshot", "-tulpen"]),
    );
    trial.shows(
        "rpm: files are as packaged",
        rpm(&empty).args(["--verify", "--nodeps", "netmon"]),
        &[],
    );

    let root = Root::debian(trial.work.join("rpm-with-shell"))?;
    let journal = "var/log/netmon/a-journal";
    let make = format!("mkdir -p /var/log/netmon; touch /{journal}");
    trial.shows("rpm: a journal", root.command("sh").args(["-ec", &make]), &[]);
    let before = root.files()?;
    trial.shows("rpm: installed", rpm(&root).args(["--install", "--nodeps"]).arg(&package), &[]);
    trial.shows("rpm: upgraded", rpm(&root).args(["--upgrade", "--nodeps"]).arg(&higher), &[]);
    trial.shows("rpm: the version is higher", rpm(&root).args(["--query", "netmon"]), &[HIGHER]);
    trial.shows(
        "rpm: erased, journals are named",
        rpm(&root).args(["--erase", "netmon"]),
        &["/var/log/netmon"],
    );
    let is_kept = !root.has("usr/bin/netmon") && root.has(journal);
    trial.check("rpm: an erasure keeps the journal, and takes the program", is_kept, "");
    // Directories that several packages share belong to others, which this root directory lacks.
    let mut left = root.files()?;
    left.retain(|file| !before.contains(file) && file.contains("netmon"));
    trial.check(
        "rpm: an erasure leaves nothing but journals",
        left.is_empty(),
        &format!("{left:?}"),
    );
    Ok(())
}

fn rpm(root: &Root) -> Command {
    let mut rpm = as_root("rpm");
    rpm.arg("--root").arg(&root.path).args(["--dbpath", "/var/lib/rpm"]);
    rpm
}
