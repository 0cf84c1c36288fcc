//! The host and the rows of the tests.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::*;
use crate::core::filter::facts::OwnerFacts;

/// The own network namespace of the host.
pub(in crate::core::filter) const OWN: u32 = 1;

/// A host with few names.
pub(super) struct Host;

impl FilterNames for Host {
    fn service(&self, name: &str) -> Option<u16> {
        match name {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        }
    }

    fn user(&self, name: &str) -> Option<u32> {
        match name {
            "www-data" => Some(33),
            "alice" => Some(1_000),
            _ => None,
        }
    }

    fn netns(&self, name: &str) -> Option<u32> {
        match name {
            "blue" => Some(4_026_532_000),
            // Only in quotes.
            "self" => Some(2),
            _ => None,
        }
    }

    fn own_netns(&self) -> Option<u32> {
        Some(OWN)
    }

    fn cgroup(&self, path: &str) -> Option<u64> {
        matches!(path, "/system.slice" | r"/a (b)\x2d" | "/a=b").then_some(u64::MAX)
    }

    fn all(&self, kind: TextFact) -> Vec<(String, u64)> {
        let names: &[(&str, u64)] = match kind {
            TextFact::User | TextFact::LoginUser => {
                &[("www-data", 33), ("www-other", 34), ("root", 0)]
            }
            TextFact::Netns => &[("blue", 4_026_532_000)],
            TextFact::Cgroup => return (0..300).map(|id| (format!("/slice/{id}"), id)).collect(),
            _ => &[],
        };
        names.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()
    }

    fn host(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        match name {
            "localhost" => Ok(vec![end("127.0.0.1:0").ip(), end("[::1]:0").ip()]),
            _ => Err("no such name is known".to_owned()),
        }
    }
}

/// A host of which a journal recorded the names.
pub(super) struct Recorded;

impl FilterNames for Recorded {
    fn are_recorded(&self) -> bool {
        true
    }
}

#[derive(Clone, Debug)]
pub(super) struct TestRow {
    pub(super) state: TcpState,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) netns: u32,
    pub(super) interface: u32,
    pub(super) device: Option<&'static str>,
    pub(super) uid: Option<u32>,
    pub(super) cgroup: Option<Cgroup>,
    pub(super) owners: Vec<(u32, Vec<u8>)>,
    pub(super) process: Option<KnownProcess>,
    pub(super) cookie: Option<SocketId>,
    pub(super) direction: Option<Direction>,
    pub(super) verdict: Option<Verdict>,
    pub(super) errno: Option<u8>,
    pub(super) totals: Totals,
    pub(super) lifetime: Option<u64>,
    pub(super) labels: Option<Labels>,
}

impl FilterFacts for TestRow {
    fn state(&self) -> TcpState {
        self.state
    }
    fn local(&self) -> Option<SocketAddr> {
        Some(self.local)
    }
    fn remote(&self) -> Option<SocketAddr> {
        Some(self.remote)
    }
    fn netns(&self) -> u32 {
        self.netns
    }
    fn interface(&self) -> u32 {
        self.interface
    }
    fn device(&self) -> Option<&str> {
        self.device
    }
    fn uid(&self) -> Option<u32> {
        self.uid
    }
    fn cgroup(&self) -> Option<u64> {
        self.cgroup.as_ref().map(|cgroup| cgroup.id)
    }
    fn cookie(&self) -> Option<SocketId> {
        self.cookie
    }
    fn direction(&self) -> Option<Direction> {
        self.direction
    }
    fn verdict(&self) -> Option<Verdict> {
        self.verdict
    }
    fn errno(&self) -> Option<u8> {
        self.errno
    }
    fn quantity(&self, quantity: Quantity) -> Option<u64> {
        if quantity == Quantity::Lifetime { self.lifetime } else { quantity.of(&self.totals) }
    }
    fn labels(&self) -> Option<&Labels> {
        self.labels.as_ref()
    }
    fn any_owner(&self, test: &mut dyn FnMut(OwnerFacts<'_>) -> bool) -> bool {
        let (process, cgroup) = (self.process.as_ref(), self.cgroup.as_ref());
        self.owners.iter().any(|(pid, comm)| test(OwnerFacts { pid: *pid, comm, process, cgroup }))
    }
}

pub(super) fn end(text: &str) -> SocketAddr {
    text.parse().expect("an address with a port")
}

fn process() -> KnownProcess {
    let program = |path: &[u8], arguments| {
        Arc::new(Program { path: path.into(), is_deleted: false, arguments })
    };
    let arguments = Arguments::new(b"nginx\0-g\0daemon off;\0", 21);
    KnownProcess {
        parent: 700,
        login: Some(Login { uid: 33, session: 2, user: Some("www-data".into()) }),
        program: Some(program(b"/usr/sbin/nginx", arguments)),
        ancestors: Box::new([Ancestor { pid: 700, program: program(b"/usr/bin/bash", None) }]),
        ..KnownProcess::started_at(Wall::EPOCH)
    }
}

/// The cgroup of a container in a pod, which has a name.
fn pod() -> Cgroup {
    let pod = "/kubepods/pod0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
    let path = format!("{pod}/crio-{}.scope", "3f2a".repeat(16));
    let cgroup = Cgroup::new(u64::MAX, Some(path.into_bytes().into()));
    cgroup.name(Names { container: None, pod: Some(("web-7d9".to_owned(), "shop".to_owned())) });
    cgroup
}

/// An open connection.
pub(super) fn connection() -> TestRow {
    TestRow {
        state: TcpState::Established,
        local: end("10.1.2.3:40000"),
        remote: end("192.0.2.1:443"),
        netns: 4_026_532_000,
        interface: 3,
        device: Some("eth0"),
        uid: Some(33),
        cgroup: Some(pod()),
        owners: vec![(812, b"nginx".to_vec()), (813, b"a \"b\"".to_vec())],
        process: Some(process()),
        cookie: SocketId::new(0x4f),
        direction: Some(Direction::Outbound),
        verdict: None,
        errno: None,
        totals: Totals::default(),
        lifetime: None,
        labels: None,
    }
}

/// A connection that ended with an error.
pub(super) fn ended() -> TestRow {
    TestRow {
        state: TcpState::Close,
        verdict: Some(Verdict::ResetByPeer),
        errno: Some(104),
        totals: Totals {
            bytes_sent: Some(1 << 20),
            bytes_received: Some(1000),
            retransmits: Some(3),
            rtt_us: Some(15_000),
        },
        lifetime: Some(1_500_000),
        ..connection()
    }
}
