//! The static programs, in a root directory with nothing else.

use std::process::Command;

use super::{Trial, root::Root};
use crate::dist::target::Target;

pub(super) fn run(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let root = Root::empty(trial.work.join("empty"))?;
    let name = |target: Target| format!("netmon-{}-{}", trial.release.version, target.name());
    let here = root.put(&trial.release.directory.join(name(trial.target)))?;
    let version = format!("netmon {}", trial.release.version);
    let others: Vec<_> = Target::ALL.into_iter().filter(|target| *target != trial.target).collect();
    let others =
        others.into_iter().map(|target| (target, trial.release.directory.join(name(target))));
    let others: Vec<_> = others.filter(|(_, path)| path.exists()).collect();

    trial.shows(
        "an empty root: version",
        root.command_without_sys(&here).arg("--version"),
        &[&version],
    );
    trial.lists(
        "an empty root with /proc: snapshot",
        root.command_without_sys(&here).args(["snapshot", "-tulpen"]),
    );
    trial.shows(
        "an empty root with /proc and /sys: watch is attached",
        root.command(&here).args(["watch", "--duration", "1s", "--json"]),
        &[],
    );
    for (target, path) in others {
        let emulator = format!("qemu-{}", target.name());
        let emulated = || {
            let mut command = Command::new(&emulator);
            command.arg(&path);
            command
        };
        let what = format!("{}, emulated", target.name());
        trial.shows(&format!("{what}: version"), emulated().arg("--version"), &[&version]);
        let port = format!("127.0.0.1:{} ", trial.port);
        trial.shows(
            &format!("{what}: snapshot"),
            emulated().args(["snapshot", "-tan"]),
            &[&port, "LISTEN"],
        );
    }
    Ok(())
}
