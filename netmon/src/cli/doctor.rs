//! `netmon doctor`: the state of this host, hook by hook, with advice.

use std::{
    process::{self, ExitCode},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use anyhow::anyhow;
use clap::Args;
use log::LevelFilter;
use netmon_common::KernelFilter;

use super::{
    args::tracing::{TracingArgs, attach, is_coloured, runtime},
    io::{
        progress::Steps,
        stderr::{announce, report},
        stdout::Stdout,
    },
};
use crate::{
    core::finding::{Diagnosis, Finding, FindingState},
    kernel::{
        LoadError, Options,
        doctor::{
            findings::{AttachFindings, HostFindings},
            self_test, syscall_cost,
        },
        host::privilege,
    },
    view::doctor,
};

/// The exit code when nothing can be traced, or when the diagnosis fails.
const UNUSABLE: u8 = 2;
/// The longest time that a diagnosis may take, on any machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Test what netmon can do on this host, and advise about the rest
///
/// Attaches every hook, opens a few hundred connections over loopback and checks the events. Exits
/// with 0 when everything works in full, 1 when something works through a substitute, and 2 when
/// nothing can be traced.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct DoctorCommand {
    /// Write JSON Lines: an object for each finding, and a summary
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    tracing: TracingArgs,
}

const EXAMPLES: &str = "\
Examples:
  sudo netmon doctor             every hook, with the kernel's answers
  netmon doctor                  the same without root: what is missing
  sudo netmon doctor --json      for a report or a monitor";

impl DoctorCommand {
    pub(super) fn run(self, log: LevelFilter) -> anyhow::Result<ExitCode> {
        announce("testing each hook, with connections over loopback: this takes some seconds");
        let steps = Steps::start("looking at the kernel");
        let options = self.tracing.options(log, KernelFilter::ANY);
        let result = runtime()
            .and_then(|runtime| within(LIMIT, || runtime.block_on(diagnose(options, &steps))));
        drop(steps);
        let diagnosis = match result {
            Ok(diagnosis) => diagnosis,
            Err(error) => {
                report(format_args!("{error:#}"));
                return Ok(ExitCode::from(UNUSABLE));
            }
        };
        if self.json {
            doctor::json(Stdout::lock(), &diagnosis, env!("CARGO_PKG_VERSION"))?;
        } else {
            doctor::text(Stdout::lock(), &diagnosis, is_coloured())?;
        }
        Ok(ExitCode::from(diagnosis.exit()))
    }
}

/// Returns the result of `work`. Ends the program if `work` takes longer than `limit`.
fn within<T>(limit: Duration, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let (done, watchdog) = channel::<()>();
    thread::Builder::new().name("netmon:watchdog".to_owned()).spawn(move || {
        if let Err(error) = privilege::narrow(&[]) {
            log::warn!("a thread has more privileges than it needs: {error}");
        }
        if watchdog.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            report(format_args!("not done after {} s", limit.as_secs()));
            process::exit(UNUSABLE.into());
        }
    })?;
    let result = work();
    drop(done);
    result
}

async fn diagnose(options: Options, steps: &Steps) -> anyhow::Result<Diagnosis> {
    let host = HostFindings::examine(&options);
    // Before `attach` gives up the privileges for loading.
    steps.next("measuring system calls");
    let cost = syscall_cost::accept_syscalls();
    steps.next("attaching the hooks");
    let (attach_findings, test_findings) = match attach(options) {
        Ok(mut live) => {
            let attach_findings = AttachFindings::of(&live);
            steps.next("testing the hooks");
            let test_findings = self_test::run(&mut live).await.unwrap_or_else(|error| {
                vec![Finding::new("self-test", FindingState::Failed, error.to_string())]
            });
            (attach_findings, test_findings)
        }
        Err(error) => match error.downcast_ref::<LoadError>() {
            Some(refused) => (AttachFindings::not(refused), Vec::new()),
            None => return Err(anyhow!(error)),
        },
    };
    let (mut findings, tier, iterators) = host.with(attach_findings);
    findings.extend(test_findings);
    if tier.is_some() {
        findings.push(cost);
    }
    Ok(Diagnosis { findings, tier, iterators })
}
