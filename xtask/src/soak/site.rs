//! The network namespaces of a soak, and the load in each.

use std::{
    fs,
    net::{IpAddr, Ipv6Addr, UdpSocket},
    os::unix::fs::MetadataExt,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, ensure};

use super::{
    kind::{Kind, Service},
    place::{OWN, ipv4, ipv6, name_of},
    tally::Made,
};
use crate::converge::networks::Network;

/// Namespaces that come and go.
const FIRST_PASSING: u8 = 10;
const LAST_PASSING: u8 = 250;
/// The life of a passing namespace, and the pause before the next.
const PASSING: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(500);
/// The longest wait for a new address, and the time between two tries.
const PATIENCE: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_millis(5);
/// The delay after which a load leaves out what it did not make in time.
const LATE: Duration = Duration::from_millis(500);
/// Connections of a slow kind at the same time.
const BATCH: u32 = 4;
/// TCP Fast Open for clients and all listeners, without a cookie of the connection before
/// (`net/ipv4/tcp_fastopen`, ip-sysctl.rst).
const FAST_OPEN: u16 = 0x607;

/// A namespace with addresses of its own.
pub(super) struct Site {
    pub(super) number: u8,
    pub(super) inum: u64,
    /// None for the own namespace.
    network: Option<Network>,
}

impl Site {
    /// Returns the own namespace.
    pub(super) fn own() -> anyhow::Result<Self> {
        let inum = fs::metadata("/proc/self/ns/net").context("the own network namespace")?.ino();
        Ok(Self { number: OWN, inum, network: None })
    }

    /// Makes a namespace.
    pub(super) fn new(number: u8) -> anyhow::Result<Self> {
        let network = Network::bare(number)?;
        network.shell(&format!(
            "echo {FAST_OPEN} >/proc/sys/net/ipv4/tcp_fastopen; \
             ip -6 addr add {}/128 dev lo nodad",
            ipv6(number)
        ))?;
        Ok(Self { number, inum: network.inum, network: Some(network) })
    }

    /// Makes connections until `stop`. `total` is the number of ends so far.
    pub(super) fn load(
        &self,
        kinds: &[Kind],
        load: &Load<'_>,
        stop: impl Fn() -> bool,
    ) -> anyhow::Result<Made> {
        if let Some(network) = &self.network {
            network.enter()?;
        }
        until_there(ipv6(self.number).into())?;
        let mapped = ipv4(self.number).to_ipv6_mapped();
        let families = [IpAddr::V4(ipv4(self.number)), ipv6(self.number).into(), mapped.into()];
        let mut made = Made::default();
        let mut services = Vec::new();
        for (kind, ip) in kinds.iter().flat_map(|kind| families.map(|ip| (*kind, ip))) {
            let service = Service::new(kind, ip)
                .with_context(|| format!("serving {} on {ip}", kind.name()))?;
            made.begin((self.number, self.inum), &service);
            services.push(service);
        }
        let mut due = Instant::now();
        for service in services.iter().cycle() {
            if stop() {
                break;
            }
            let count = if Kind::SLOW.contains(&service.kind) { BATCH } else { 1 };
            service.make(count as usize).with_context(|| {
                let name = name_of(self.number);
                format!("{name}: {} over {}", service.kind.name(), service.family())
            })?;
            load.count(made.add(service.shown(), service.kind, count.into()));
            due += load.interval * count;
            let now = Instant::now();
            due = due.max(now.checked_sub(LATE).unwrap_or(now));
            thread::sleep(due.saturating_duration_since(now));
        }
        for service in services {
            let server = service.shown();
            if let Some(kind) = service.end().context("ending a listener")? {
                load.count(made.add(server, kind, 1));
            }
        }
        Ok(made)
    }
}

/// The speed of a load, and the number of ends that all loads have made.
#[derive(Clone, Copy)]
pub(super) struct Load<'a> {
    pub(super) interval: Duration,
    pub(super) total: &'a AtomicU64,
}

impl Load<'_> {
    fn count(&self, ends: u64) {
        self.total.fetch_add(ends, Ordering::Relaxed);
    }
}

/// Makes namespaces one after the other, with connections in each, until `stop`. `passed` is the
/// number of namespaces so far.
pub(super) fn pass(load: &Load<'_>, stop: &AtomicBool, passed: &AtomicU64) -> anyhow::Result<Made> {
    let mut all = Made::default();
    for number in (FIRST_PASSING..=LAST_PASSING).cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let site = Site::new(number)?;
        let end = Instant::now() + PASSING;
        // The thread that is in the namespace ends before the namespace does.
        let made = thread::scope(|scope| {
            let is_over = move || Instant::now() >= end;
            let site = &site;
            scope.spawn(move || site.load(&Kind::QUICK, load, is_over)).join()
        });
        all.join(made.map_err(|_| anyhow!("the load of a passing namespace panicked"))??);
        drop(site);
        passed.fetch_add(1, Ordering::Relaxed);
        thread::sleep(PAUSE);
    }
    Ok(all)
}

/// Waits until a new address works, for which a thread of the kernel makes routes
/// (`addrconf_dad_work`, net/ipv6/addrconf.c). A connect that comes too early would end as
/// unreachable.
fn until_there(ip: IpAddr) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let socket = UdpSocket::bind((ip, 0))?;
        socket.set_read_timeout(Some(SOON))?;
        let to = socket.local_addr()?;
        match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?.send_to(&[0], to) {
            Ok(_) if socket.recv(&mut [0]).is_ok() => return Ok(()),
            Ok(_) => {}
            Err(_) => thread::sleep(SOON),
        }
        ensure!(Instant::now() < end, "{ip} does not work after {PATIENCE:?}");
    }
}
