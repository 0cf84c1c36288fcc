//! Tools that follow transitions too, where they are installed.

use std::{
    env,
    fs::File,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};

use crate::shell::find;

/// The time in which a peer compiles or loads its program.
const SETTLE: Duration = Duration::from_secs(4);

#[derive(Clone, Copy, Debug)]
pub(super) enum Peer {
    Tcpstates,
    Tcplife,
    Bpftrace,
}

/// The program for bpftrace, with the fields of tcpstates that the tracepoint has.
const SCRIPT: &str = "tracepoint:sock:inet_sock_set_state /args->protocol == 6/ { \
    printf(\"%llu %p %d %s %d %s %d %d %d\\n\", nsecs, args->skaddr, pid, ntop(args->saddr), \
    args->sport, ntop(args->daddr), args->dport, args->oldstate, args->newstate); }";

impl Peer {
    pub(super) const ALL: [Self; 3] = [Self::Tcpstates, Self::Tcplife, Self::Bpftrace];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tcpstates => "tcpstates > file",
            Self::Tcplife => "tcplife > file",
            Self::Bpftrace => "bpftrace > file",
        }
    }

    const fn program(self) -> &'static str {
        match self {
            Self::Tcpstates => "tcpstates",
            Self::Tcplife => "tcplife",
            Self::Bpftrace => "bpftrace",
        }
    }

    pub(super) fn is_there(self) -> bool {
        find(self.program()).is_some()
    }

    /// Starts the peer, which writes to an unlinked file.
    pub(super) fn start(self) -> anyhow::Result<Running> {
        let path = env::temp_dir().join(format!("netmon-bench-peer-{}", std::process::id()));
        let to = File::create(&path)?;
        std::fs::remove_file(&path)?;
        let mut command = Command::new("unshare");
        // Peers expect tracefs to be mounted.
        let mount = "mount -t tracefs none /sys/kernel/tracing; \
            mount -t debugfs none /sys/kernel/debug; exec \"$@\"";
        command.args(["-m", "sh", "-c", mount, "sh", self.program()]);
        if matches!(self, Self::Bpftrace) {
            command.args(["-e", SCRIPT]);
        }
        let child = command.stdout(to).stderr(Stdio::null()).spawn().context("starting unshare")?;
        let mut peer = Running(child);
        thread::sleep(SETTLE);
        ensure!(peer.0.try_wait()?.is_none(), "{} has ended by itself", self.program());
        Ok(peer)
    }
}

/// A running peer; ended when dropped.
pub(super) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
