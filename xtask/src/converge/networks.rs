//! The scene of `converge`, `past` and `soak`: network namespaces, and the processes in them.

use std::{
    collections::HashMap,
    env,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read},
    net::IpAddr,
    os::{fd::AsFd, unix::fs::MetadataExt},
    process::{Child, ChildStdout, Command, Stdio, id},
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{
    shell::output,
    workload::mix::{Counts, Place, add},
};

/// The numbers of clients and of servers in each namespace.
const CLIENTS: u8 = 2;
const SERVERS: u8 = 2;
/// The first host of each role.
const FIRST_CLIENT: u8 = 1;
const FIRST_SERVER: u8 = 101;
const FIRST_HOLDER: u8 = 201;
/// Connections that one process holds, with two sockets each: the usual limit is 20,000
/// descriptors.
const PER_HOLDER: u32 = 9_000;
/// Ports for outgoing connections. With the addresses of the mix, a namespace has 80,000
/// connections at most. A kernel keeps 131,072 TIME_WAITs by default, and skips any more.
const PORTS: &str = "32768 43007";

/// The time for servers to answer the last connections.
const LATE: Duration = Duration::from_millis(300);

/// A network namespace with its loopback up; gone when dropped.
pub(crate) struct Network {
    name: String,
    number: u8,
    pub(crate) inum: u64,
}

impl Network {
    /// Makes the namespace, without addresses of its own.
    pub(crate) fn bare(number: u8) -> anyhow::Result<Self> {
        let name = format!("netmon-xtask-{}-{number}", id());
        output(Command::new("ip").args(["netns", "add", &name]))?;
        // From here on the namespace is deleted, whatever happens.
        let mut network = Self { name, number, inum: 0 };
        network.inum = fs::metadata(format!("/run/netns/{}", network.name))?.ino();
        output(Command::new("ip").args(["-n", &network.name, "link", "set", "lo", "up"]))?;
        Ok(network)
    }

    /// Makes the namespace, with addresses for every process that may come.
    pub(crate) fn new(number: u8) -> anyhow::Result<Self> {
        let network = Self::bare(number)?;
        let name = &network.name;
        let mut script = String::new();
        let holders = FIRST_HOLDER..=u8::MAX;
        for host in clients().chain(servers()).chain(holders) {
            for address in (Place { network: number, host }).addresses() {
                if address.is_ipv6() {
                    writeln!(script, "ip -n {name} -6 addr add {address}/128 dev lo nodad")?;
                }
            }
        }
        // tcp_tw_reuse: a port in TIME_WAIT may be taken after a second, as a minute of churn needs
        // each port many times.
        writeln!(
            script,
            "ip netns exec {name} sh -ec 'cd /proc/sys/net/ipv4; echo 1 >tcp_tw_reuse; \
             echo {PORTS} >ip_local_port_range'"
        )?;
        output(Command::new("sh").args(["-ec", &script]))?;
        Ok(network)
    }

    /// Starts processes that hold `connections` connections; each process has both ends of its own.
    pub(crate) fn hold(&self, connections: u32) -> anyhow::Result<Vec<Process>> {
        // At least one process for each address family.
        let count = connections.div_ceil(PER_HOLDER).max(2);
        let mut processes = Vec::new();
        for index in 0..count {
            let host = u8::try_from(index).ok().and_then(|index| FIRST_HOLDER.checked_add(index));
            let place = Place { network: self.number, host: host.context("too many to hold")? };
            let address = place.addresses()[usize::from(index % 2 == 1)].to_string();
            let share = (connections + index) / count;
            let words = ["hold", "--address", &address, "--connections", &share.to_string()];
            processes.push(Process::start(self, Role::Holder, place, &words)?);
        }
        Ok(processes)
    }

    /// Starts this program in the namespace as a client, with `words` as arguments.
    pub(crate) fn client(&self, words: &[&str]) -> anyhow::Result<Process> {
        let place = Place { network: self.number, host: 0 };
        Process::start(self, Role::Client, place, words)
    }

    /// Limits the TIME_WAITs that the namespace keeps. Connections that end beyond the limit leave
    /// none.
    pub(crate) fn limit_waiting(&self, most: u32) -> anyhow::Result<()> {
        self.shell(&format!("echo {most} >/proc/sys/net/ipv4/tcp_max_tw_buckets"))
    }

    /// Runs a shell script in the namespace.
    pub(crate) fn shell(&self, script: &str) -> anyhow::Result<()> {
        let mut command = Command::new("ip");
        output(command.args(["netns", "exec", &self.name, "sh", "-ec", script])).map(drop)
    }

    /// Moves the calling thread into the namespace.
    pub(crate) fn enter(&self) -> anyhow::Result<()> {
        let path = format!("/run/netns/{}", self.name);
        let namespace = fs::File::open(&path).with_context(|| path.clone())?;
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(namespace.as_fd(), kind).context(path)
    }

    fn mix(&self, role: Role, host: u8, seconds: u64) -> anyhow::Result<Process> {
        let place = Place { network: self.number, host };
        let mut words = vec!["mix".to_owned()];
        let mut option =
            |name: &str, value: u64| words.extend([name.to_owned(), value.to_string()]);
        option("--network", place.network.into());
        option("--host", place.host.into());
        option("--seconds", seconds);
        if role == Role::Client {
            servers().for_each(|server| option("--server", server.into()));
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Process::start(self, role, place, &words)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn clients() -> impl Iterator<Item = u8> {
    FIRST_CLIENT..FIRST_CLIENT + CLIENTS
}

fn servers() -> impl Iterator<Item = u8> {
    FIRST_SERVER..FIRST_SERVER + SERVERS
}

/// The role of a process, which determines the direction of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Connects.
    Client,
    /// Listens.
    Server,
    /// Has both ends of connections that are older than netmon.
    Holder,
}

/// A process of the scene, until it is dropped.
pub(crate) struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
    inum: u64,
    place: Place,
    role: Role,
}

impl Process {
    fn start(network: &Network, role: Role, place: Place, words: &[&str]) -> anyhow::Result<Self> {
        // `ip` executes the program: the child's pid is the program's.
        let mut child = Command::new("ip")
            .args(["netns", "exec", &network.name])
            .arg(env::current_exe()?)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting a process in a namespace (is iproute2 installed?)")?;
        let stdout = BufReader::new(child.stdout.take().context("its output")?);
        Ok(Self { child, stdout, inum: network.inum, place, role })
    }

    /// Waits until the process has its connections, or its listeners.
    pub(crate) fn ready(&mut self) -> anyhow::Result<()> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        ensure!(line.trim() == "ready", "a {:?} failed to start", self.role);
        Ok(())
    }

    /// Asks the process to end, by the end of its input.
    pub(crate) fn stop(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for the end of the process, and returns its output.
    pub(crate) fn ended(&mut self) -> anyhow::Result<String> {
        let mut text = String::new();
        self.stdout.read_to_string(&mut text)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "a {:?} failed: {status}", self.role);
        Ok(text)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both do nothing after the end of the process.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process that has a local address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Party {
    pub(crate) pid: u32,
    pub(crate) role: Role,
}

/// Parties by namespace and address.
pub(crate) type Parties = HashMap<(u64, IpAddr), Party>;

/// Records the addresses of `processes`.
pub(crate) fn register(parties: &mut Parties, processes: &[Process]) {
    for process in processes {
        let party = Party { pid: process.child.id(), role: process.role };
        let addresses = process.place.addresses();
        parties.extend(addresses.map(|address| ((process.inum, address), party)));
    }
}

/// Runs the mix in all namespaces. Returns the number of connections of each kind, and records the
/// processes in `parties`.
pub(crate) fn mix(
    networks: &[Network],
    seconds: u64,
    parties: &mut Parties,
) -> anyhow::Result<Counts> {
    let all = |role, hosts: fn() -> Vec<u8>| -> anyhow::Result<Vec<Process>> {
        let hosts =
            networks.iter().flat_map(|network| hosts().into_iter().map(move |h| (network, h)));
        hosts.map(|(network, host)| network.mix(role, host, seconds)).collect()
    };
    let mut serving = all(Role::Server, || servers().collect())?;
    serving.iter_mut().try_for_each(Process::ready)?;
    let mut connecting = all(Role::Client, || clients().collect())?;
    register(parties, &serving);
    register(parties, &connecting);
    let mut counts = Counts::new();
    let mut count = |process: &mut Process| -> anyhow::Result<()> {
        add(&mut counts, serde_json::from_str(&process.ended()?)?);
        Ok(())
    };
    // Clients end by themselves; servers end when the last connections are answered.
    connecting.iter_mut().try_for_each(&mut count)?;
    thread::sleep(LATE);
    serving.iter_mut().for_each(Process::stop);
    serving.iter_mut().try_for_each(&mut count)?;
    Ok(counts)
}
