//! The files of packages and archives, laid out as in a root directory below `target/dist/stage`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};

use super::{packages::changelog, program::Program, release::Release};
use crate::shell::{output, root, run};

/// Files of the checkout, and their places.
const FILES: [(&str, &str); 6] = [
    ("dist/netmon.service", "usr/lib/systemd/system/netmon.service"),
    ("dist/netmon.default", "etc/default/netmon"),
    ("dist/netmon.sysusers", "usr/lib/sysusers.d/netmon.conf"),
    ("dist/daemonset.yaml", "usr/share/doc/netmon/daemonset.yaml"),
    ("README.md", "usr/share/doc/netmon/README.md"),
    ("CHANGELOG.md", "usr/share/doc/netmon/changelog"),
];
/// Shells, and the places of their completions.
const SHELLS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/netmon"),
    // Debian and Fedora have different places for the completions of zsh.
    ("zsh", "zsh/_netmon"),
    ("fish", "usr/share/fish/vendor_completions.d/netmon.fish"),
];

/// Returns the directory of all staged files.
pub(super) fn directory(release: &Release) -> PathBuf {
    release.directory.join("stage")
}

/// Lays out every file but the program. The man pages and completions are those of `native`.
pub(super) fn texts(
    release: &Release,
    native: &Program,
    licences: &[PathBuf],
) -> anyhow::Result<()> {
    let stage = directory(release);
    if stage.exists() {
        fs::remove_dir_all(&stage).with_context(|| format!("removing {}", stage.display()))?;
    }
    for (from, to) in FILES {
        let content = fs::read(root().join(from)).with_context(|| format!("reading {from}"))?;
        write(&stage.join(to), &content)?;
    }
    for document in documents()? {
        let name = document.file_name().context("a file")?;
        write(&stage.join("usr/share/doc/netmon/docs").join(name), &fs::read(&document)?)?;
    }
    for file in licences {
        let name = file.file_name().context("a file")?;
        write(&stage.join("usr/share/doc/netmon").join(name), &fs::read(file)?)?;
    }
    write(&stage.join("changelog"), changelog(release)?.as_bytes())?;
    for (shell, to) in SHELLS {
        let text = output(Command::new(&native.path).args(["completions", shell]))?;
        write(&stage.join(to), (text + "\n").as_bytes())?;
    }
    pages(release, native, &stage)
}

/// Returns the documents, which the README, the man pages and messages name.
fn documents() -> anyhow::Result<Vec<PathBuf>> {
    let mut documents = Vec::new();
    for file in fs::read_dir(root().join("docs")).context("reading docs")? {
        let file = file?.path();
        documents.extend(Some(file).filter(|file| file.is_file()));
    }
    ensure!(!documents.is_empty(), "docs has no file");
    Ok(documents)
}

/// Lays out the man pages: each in the section that its name ends with.
fn pages(release: &Release, native: &Program, stage: &Path) -> anyhow::Result<()> {
    let pages = release.work("man")?;
    output(Command::new(&native.path).arg("man").arg(&pages))?;
    let mut laid = Vec::new();
    for page in fs::read_dir(&pages)? {
        let page = page?.path();
        let name = page.file_name().context("a page")?.to_string_lossy().into_owned();
        let section = name.rsplit('.').next().filter(|section| section.len() == 1);
        let Some(section) = section else { bail!("{name} is no man page of a section") };
        let to = stage.join(format!("usr/share/man/man{section}/{name}"));
        write(&to, &fs::read(&page)?)?;
        laid.push(to);
    }
    ensure!(!laid.is_empty(), "`netmon man` wrote no page into {}", pages.display());
    run(Command::new("gzip").args(["--best", "--no-name"]).args(&laid))
}

/// Lays out `program`, in the place of another architecture's.
pub(super) fn program(release: &Release, program: &Program) -> anyhow::Result<()> {
    let to = directory(release).join("usr/bin/netmon");
    write(&to, &fs::read(&program.path)?)?;
    fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let directory = path.parent().context("a file in a directory")?;
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    fs::write(path, content).with_context(|| format!("writing {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
    Ok(())
}
