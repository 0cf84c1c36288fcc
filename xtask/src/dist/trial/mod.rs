//! `--try`: the files of a release, used as a user does, in root directories of their own.

mod deb;
mod image;
mod root;
mod rpm;
mod static_program;

use std::{net::TcpListener, path::PathBuf, process::Command};

use anyhow::{Context, ensure};

use super::{Kind, packages, program, release::Release, stage, target::Target};

/// The higher version that the trial upgrades to.
const HIGHER: &str = "999.0.0";

/// Tries the files of the kinds that are made, of `target`: this machine's architecture.
pub(super) fn run(
    release: &Release,
    target: Target,
    makes: impl Fn(Kind) -> bool,
) -> anyhow::Result<()> {
    let work = release.work("trial")?;
    // The listings have to have this listener, with this process.
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("listening")?;
    let mut trial = Trial {
        release,
        target,
        work,
        port: listener.local_addr()?.port(),
        passed: 0,
        failed: Vec::new(),
    };
    static_program::run(&mut trial)?;
    if makes(Kind::Packages) {
        stage::program(release, &program::make(release, target)?)?;
        packages::deb(release, target, HIGHER, &trial.work)?;
        packages::rpm(release, target, HIGHER, &trial.work)?;
        deb::run(&mut trial)?;
        rpm::run(&mut trial)?;
    }
    if makes(Kind::Image) {
        image::run(&mut trial)?;
    }
    eprintln!("dist: {} passed; {} failed", trial.passed, trial.failed.len());
    ensure!(trial.failed.is_empty(), "the trial failed: {}", trial.failed.join("; "));
    Ok(())
}

/// A trial, with its outcomes so far.
struct Trial<'a> {
    release: &'a Release,
    target: Target,
    /// The directory of the trial.
    work: PathBuf,
    /// The port of a listener of this process.
    port: u16,
    passed: usize,
    failed: Vec<String>,
}

impl Trial<'_> {
    /// Notes whether `is_so`, and prints it with the output of the command that shows it.
    fn check(&mut self, what: &str, is_so: bool, output: &str) {
        if is_so {
            self.passed += 1;
            eprintln!("dist: ok: {what}");
        } else {
            self.failed.push(what.to_owned());
            eprintln!("dist: FAILED: {what}\n{output}");
        }
    }

    /// Runs `command` and notes whether it succeeds with an output that has all of `wanted`.
    /// Returns the output.
    fn shows(&mut self, what: &str, command: &mut Command, wanted: &[&str]) -> String {
        let (is_success, text) = match command.output() {
            Ok(output) => {
                let text = [output.stdout, output.stderr].concat();
                (output.status.success(), String::from_utf8_lossy(&text).into_owned())
            }
            Err(error) => (false, format!("{command:?}: {error}")),
        };
        let has_all = wanted.iter().all(|wanted| text.contains(wanted));
        self.check(what, is_success && has_all, &format!("wanted {wanted:?}, got:\n{text}"));
        text
    }

    /// Notes whether a listing shows the listener of this process, with the process.
    fn lists(&mut self, what: &str, command: &mut Command) {
        let port = format!("127.0.0.1:{} ", self.port);
        let owner = format!("{}/xtask", std::process::id());
        self.shows(what, command, &[&port, &owner, "LISTEN"]);
    }
}
