//! `netmon doctor`: what works on this host, hook by hook, and what to do about the rest.

use std::{
    io::{self, Write},
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
    io::stdout::Stdout,
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

/// The exit code when nothing can be traced, or nothing be found out.
const UNUSABLE: u8 = 2;
/// However slow the machine is, it ends by then.
const LIMIT: Duration = Duration::from_secs(120);

/// Tell what works on this host, what does not, what that costs and what to do
///
/// Attaches every hook, opens a few hundred connections over loopback and has them told. Exits with 0 when everything
/// works in full, 1 when something stands in for something, and 2 when nothing can be traced.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Write JSON Lines: one object for each finding, and one that sums up
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    tracing: TracingArgs,
}

impl Doctor {
    pub(super) fn run(self, log: LevelFilter) -> anyhow::Result<ExitCode> {
        let options = self.tracing.options(log, KernelFilter::ANY);
        let diagnosed =
            runtime().and_then(|runtime| within(LIMIT, || runtime.block_on(diagnose(options))));
        let diagnosis = match diagnosed {
            Ok(diagnosis) => diagnosis,
            Err(error) => {
                // Nobody may be left to read that.
                let _ = writeln!(io::stderr(), "netmon: {error:#}");
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

/// What `work` answers; the program ends when that takes longer than `limit`.
fn within<T>(limit: Duration, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let (done, watched) = channel::<()>();
    thread::Builder::new().spawn(move || {
        if let Err(error) = privilege::narrow(&[]) {
            log::warn!("a thread has more privileges than it needs: {error}");
        }
        if watched.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            // Nobody may be left to read that.
            let _ = writeln!(io::stderr(), "netmon: not done after {} s", limit.as_secs());
            process::exit(UNUSABLE.into());
        }
    })?;
    let result = work();
    drop(done);
    result
}

async fn diagnose(options: Options) -> anyhow::Result<Diagnosis> {
    let host = HostFindings::examine(&options);
    // Before what loading takes is given up.
    let price = syscall_cost::accept_syscalls();
    let (attached, tested) = match attach(options) {
        Ok(mut live) => {
            let attached = AttachFindings::of(&live);
            let tested = self_test::run(&mut live).await.unwrap_or_else(|error| {
                vec![Finding::new("self-test", FindingState::Failed, error.to_string())]
            });
            (attached, tested)
        }
        Err(error) => match error.downcast_ref::<LoadError>() {
            Some(refused) => (AttachFindings::not(refused), Vec::new()),
            None => return Err(anyhow!(error)),
        },
    };
    let (mut findings, tier, iterators) = host.with(attached);
    findings.extend(tested);
    if tier.is_some() {
        findings.push(price);
    }
    Ok(Diagnosis { findings, tier, iterators })
}
