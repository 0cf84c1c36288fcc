//! The deb: installed, used, upgraded, removed and purged.

use std::collections::BTreeSet;

use super::{HIGHER, Trial, root::Root};
use crate::dist::packages::deb_name;

/// The directory of journals.
const JOURNAL: &str = "var/log/netmon";
/// The file of defaults.
const DEFAULT: &str = "etc/default/netmon";
/// The link by which `systemctl enable` enables the unit.
const ENABLED: &str = "/etc/systemd/system/multi-user.target.wants/netmon.service";

/// Prints the completions of `netmon sn` and of a word of a filter.
const COMPLETION: &str = r#"
. /usr/share/bash-completion/bash_completion
_completion_loader netmon
function=$(complete -p netmon); function=${function##*-F }; function=${function%% *}
complete_words() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE} COMPREPLY=()
    "$function" netmon "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    printf '%s\n' "${COMPREPLY[@]}"
}
complete_words netmon sn
complete_words netmon watch verd
"#;

pub(super) fn run(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let root = Root::debian(trial.work.join("debian"))?;
    let version = trial.release.version.clone();
    let package = root.put(&trial.release.directory.join(deb_name(&version, trial.target)))?;
    let higher = root.put(&trial.work.join(deb_name(HIGHER, trial.target)))?;
    let before = root.files()?;

    trial.shows(
        "deb: dpkg -i",
        root.command("dpkg").args(["-i", &package]),
        &["Setting up netmon"],
    );
    trial.shows("deb: version", root.command("netmon").arg("--version"), &[&version]);
    trial.lists(
        "deb: netmon snapshot -tulpen",
        root.command("netmon").args(["snapshot", "-tulpen"]),
    );
    trial.shows(
        "deb: man netmon",
        root.command("man").args(["-P", "cat", "netmon"]),
        &["NAME", "SYNOPSIS", "snapshot"],
    );
    trial.shows(
        "deb: completion in bash",
        root.command("bash").args(["-c", COMPLETION]),
        &["snapshot", "verdict"],
    );
    let record = ["record", "--duration", "2s"];
    trial.shows("deb: netmon record", root.command("netmon").args(record), &["events recorded"]);
    let journal = || -> anyhow::Result<BTreeSet<String>> {
        let mut files = root.files()?;
        files.retain(|file| file.starts_with(&format!("/{JOURNAL}")));
        Ok(files)
    };
    let recorded = journal()?;
    trial.check("deb: there is a journal", recorded.len() > 1, &format!("{recorded:?}"));

    // As `systemctl enable` and an editor do.
    let script = format!(
        "mkdir -p $(dirname {ENABLED}); ln -s /usr/lib/systemd/system/netmon.service {ENABLED}
         echo '# mine' >> /{DEFAULT}"
    );
    trial.shows("deb: enabled and configured", root.command("sh").args(["-ec", &script]), &[]);
    let status = ["-W", "-f", "${db:Status-Abbrev}${Version}", "netmon"];
    trial.shows(
        "deb: upgraded",
        root.command("dpkg").args(["-i", &higher]),
        &["Setting up netmon"],
    );
    trial.shows(
        "deb: the version is higher",
        root.command("dpkg-query").args(status),
        &["ii ", HIGHER],
    );
    trial.check("deb: an upgrade keeps the journal", journal()? == recorded, "");
    trial.shows(
        "deb: an upgrade keeps the configuration",
        root.command("cat").arg(format!("/{DEFAULT}")),
        &["# mine"],
    );

    trial.shows("deb: removed", root.command("dpkg").args(["-r", "netmon"]), &["/var/log/netmon"]);
    let is_gone = !root.has("usr/bin/netmon") && root.has(DEFAULT);
    trial.check("deb: a removal leaves the configuration", is_gone, "");
    trial.check("deb: a removal keeps the journal", journal()? == recorded, "");
    trial.shows(
        "deb: purged, journals are named",
        root.command("dpkg").args(["-P", "netmon"]),
        &["/var/log/netmon"],
    );
    let mut after = root.files()?;
    after.retain(|file| !recorded.contains(file));
    // The directory may have been missing before the unit was enabled.
    let left: Vec<_> =
        after.difference(&before).filter(|file| !ENABLED.starts_with(*file)).collect();
    trial.check("deb: a purge leaves nothing but journals", left.is_empty(), &format!("{left:?}"));
    let is_enabled = after.contains(ENABLED);
    trial.check("deb: a purge takes the link of the unit", !is_enabled, ENABLED);
    trial.check("deb: a purge keeps the journal", journal()? == recorded, "");
    Ok(())
}
