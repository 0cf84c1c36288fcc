//! Names of numbers, asked for on a thread of their own: a directory service that hangs keeps
//! nobody from writing.

use std::{
    hash::Hash,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;

use crate::journal::schema::NumberNames;

/// How long the thread that writes waits for a name; a name that comes later is there for the next
/// batch.
const PATIENCE: Duration = Duration::from_millis(100);
/// After a name did not come in time, none is waited for so long.
const PAUSE: Duration = Duration::from_secs(5);
/// How long a number without a name is believed to have none, and how often namespaces are listed.
const NAMELESS: Duration = Duration::from_secs(10);
const LISTED_EVERY: Duration = Duration::from_secs(1);
/// Names of a kind that are remembered at most.
const REMEMBERED: usize = 64 << 10;

/// Says what numbers are called on this host, and when processes started.
pub trait HostNames: Send {
    /// The name of a user.
    fn user(&mut self, uid: u32) -> Option<String>;
    /// The path of a cgroup v2.
    fn cgroup(&mut self, id: u64) -> Option<String>;
    /// Network namespaces of which a name or a cookie is known.
    fn namespaces(&mut self) -> Vec<NamedNamespace>;
    /// When a process started, ns since 1970, UTC.
    fn process_started(&mut self, pid: u32) -> Option<i64>;
}

/// A network namespace, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedNamespace {
    /// Its inode number.
    pub inum: u32,
    /// The kernel's cookie of it (`net_cookie`, include/net/net_namespace.h).
    pub cookie: Option<u64>,
    /// Its name, as `ip netns` has it.
    pub name: Option<String>,
}

type Request = Box<dyn FnOnce(&mut dyn HostNames) + Send>;

/// Asks for names, and remembers them.
pub(super) struct NameCache {
    requests: Sender<Request>,
    /// When waiting is allowed again.
    resume: Instant,
    users: Remembered<u32>,
    cgroups: Remembered<u64>,
    namespaces: FxHashMap<u32, (Option<u64>, Option<Arc<str>>)>,
    listed: Option<Instant>,
}

/// Names by number, and when a number was found to have none.
type Remembered<K> = FxHashMap<K, (Option<Arc<str>>, Instant)>;

impl NameCache {
    /// Starts the thread that asks `names`.
    pub(super) fn start(mut names: Box<dyn HostNames>) -> std::io::Result<Self> {
        let (requests, to_answer): (Sender<Request>, Receiver<Request>) = channel();
        // It ends with the last request; nobody waits for it, as it may hang.
        thread::Builder::new().name("netmon:names".to_owned()).spawn(move || {
            for request in to_answer {
                request(&mut *names);
            }
        })?;
        Ok(Self {
            requests,
            resume: Instant::now(),
            users: Remembered::default(),
            cgroups: Remembered::default(),
            namespaces: FxHashMap::default(),
            listed: None,
        })
    }

    fn ask<T: Send + 'static>(
        &mut self,
        question: impl FnOnce(&mut dyn HostNames) -> T + Send + 'static,
    ) -> Option<T> {
        if Instant::now() < self.resume {
            return None;
        }
        let (answer, answered): (SyncSender<T>, _) = sync_channel(1);
        let request = move |names: &mut dyn HostNames| {
            // Whoever asked may have stopped waiting.
            let _ = answer.send(question(names));
        };
        self.requests.send(Box::new(request)).ok()?;
        let answer = answered.recv_timeout(PATIENCE).ok();
        if answer.is_none() {
            log::warn!("names of users and cgroups do not come in time: rows are recorded without");
            self.resume = Instant::now() + PAUSE;
        }
        answer
    }

    fn list(&mut self) {
        if self.listed.is_some_and(|listed| listed.elapsed() < LISTED_EVERY) {
            return;
        }
        self.listed = Some(Instant::now());
        let Some(listed) = self.ask(|names| names.namespaces()) else { return };
        self.namespaces = listed
            .into_iter()
            .map(|namespace| (namespace.inum, (namespace.cookie, namespace.name.map(Arc::from))))
            .collect();
    }

    /// The cookie of a network namespace.
    pub(super) fn netns_cookie(&mut self, inum: u32) -> Option<u64> {
        self.list();
        self.namespaces.get(&inum)?.0
    }

    /// When a process started, ns since 1970, UTC.
    pub(super) fn process_started(&mut self, pid: u32) -> Option<i64> {
        self.ask(move |names| names.process_started(pid)).flatten()
    }
}

/// The name of a number, if it is remembered.
fn remembered<K: Hash + Eq>(known: &Remembered<K>, key: &K) -> Option<Option<Arc<str>>> {
    let (name, since) = known.get(key)?;
    (name.is_some() || since.elapsed() < NAMELESS).then(|| name.clone())
}

fn remember<K: Hash + Eq>(known: &mut Remembered<K>, key: K, name: Option<Arc<str>>) {
    if known.len() >= REMEMBERED {
        known.clear();
    }
    known.insert(key, (name, Instant::now()));
}

impl NumberNames for NameCache {
    fn user(&mut self, uid: u32) -> Option<Arc<str>> {
        if let Some(name) = remembered(&self.users, &uid) {
            return name;
        }
        let name = self.ask(move |names| names.user(uid))?.map(Arc::from);
        remember(&mut self.users, uid, name.clone());
        name
    }

    fn netns(&mut self, inum: u32) -> Option<Arc<str>> {
        self.list();
        self.namespaces.get(&inum)?.1.clone()
    }

    fn cgroup(&mut self, id: u64) -> Option<Arc<str>> {
        if let Some(name) = remembered(&self.cgroups, &id) {
            return name;
        }
        let name = self.ask(move |names| names.cgroup(id))?.map(Arc::from);
        remember(&mut self.cgroups, id, name.clone());
        name
    }
}
