//! The names of numbers, looked up on a thread of their own, so that a directory service that hangs
//! does not stop the writing.

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

use crate::{core::time::Wall, journal::schema::NumberNames};

/// The time for which the writing thread waits for a name. A later name is there for the next
/// batch.
const PATIENCE: Duration = Duration::from_millis(100);
/// The time for which no name is waited for after a name did not come in time.
const PAUSE: Duration = Duration::from_secs(5);
/// The time for which a number without a name is not looked up again, and the interval at which
/// namespaces are listed.
const NAMELESS: Duration = Duration::from_secs(10);
const LISTED_EVERY: Duration = Duration::from_secs(1);
/// The maximum number of names of a kind that are remembered.
const REMEMBERED: usize = 64 << 10;

/// Names the users and namespaces of this host, and knows when processes started.
/// Without a method of its own for a kind of name, a host has no name of that kind.
pub trait HostNames: Send {
    /// Returns the name of a user.
    fn user(&mut self, _uid: u32) -> Option<String> {
        None
    }
    /// Returns the network namespaces whose name or cookie is known.
    fn namespaces(&mut self) -> Vec<NamedNamespace> {
        Vec::new()
    }
    /// Returns the start time of a process.
    fn process_started(&mut self, _pid: u32) -> Option<Wall> {
        None
    }
}

/// A network namespace, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedNamespace {
    /// The inode number.
    pub inum: u32,
    /// The kernel's cookie (`net_cookie`, include/net/net_namespace.h).
    pub cookie: Option<u64>,
    /// The name that `ip netns` shows.
    pub name: Option<String>,
}

type Request = Box<dyn FnOnce(&mut dyn HostNames) + Send>;

/// Asks for names, and remembers them.
pub(super) struct RecorderNames {
    requests: Sender<Request>,
    /// The time at which waiting is allowed again.
    resume: Instant,
    users: Remembered<u32>,
    namespaces: FxHashMap<u32, (Option<u64>, Option<Arc<str>>)>,
    listed_at: Option<Instant>,
}

/// The names by number, and the time of each lookup.
type Remembered<K> = FxHashMap<K, (Option<Arc<str>>, Instant)>;

impl RecorderNames {
    /// Starts the thread that asks `names`.
    pub(super) fn start(mut names: Box<dyn HostNames>) -> std::io::Result<Self> {
        let (requests, to_answer): (Sender<Request>, Receiver<Request>) = channel();
        // The thread ends with the last request. No thread joins it, since it may hang.
        thread::Builder::new().name("netmon:names".to_owned()).spawn(move || {
            for request in to_answer {
                request(&mut *names);
            }
        })?;
        Ok(Self {
            requests,
            resume: Instant::now(),
            users: Remembered::default(),
            namespaces: FxHashMap::default(),
            listed_at: None,
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
            // The thread that asked may have stopped waiting.
            let _ = answer.send(question(names));
        };
        self.requests.send(Box::new(request)).ok()?;
        let answer = answered.recv_timeout(PATIENCE).ok();
        if answer.is_none() {
            log::warn!("rows are recorded without names of users: they did not come in time");
            self.resume = Instant::now() + PAUSE;
        }
        answer
    }

    fn list(&mut self) {
        if self.listed_at.is_some_and(|time| time.elapsed() < LISTED_EVERY) {
            return;
        }
        self.listed_at = Some(Instant::now());
        let Some(namespaces) = self.ask(|names| names.namespaces()) else { return };
        self.namespaces = namespaces
            .into_iter()
            .map(|namespace| (namespace.inum, (namespace.cookie, namespace.name.map(Arc::from))))
            .collect();
    }

    /// Returns the cookie of a network namespace.
    pub(super) fn netns_cookie(&mut self, inum: u32) -> Option<u64> {
        self.list();
        self.namespaces.get(&inum)?.0
    }

    /// Returns the start time of a process.
    pub(super) fn process_started(&mut self, pid: u32) -> Option<Wall> {
        self.ask(move |names| names.process_started(pid)).flatten()
    }
}

/// Returns the name of a number, if the lookup is remembered.
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

impl NumberNames for RecorderNames {
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
}
