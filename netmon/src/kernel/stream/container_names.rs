//! The thread that looks up the names of containers and pods in the files of engines.

use std::{
    iter,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;

use crate::{
    core::cgroup::{Cgroup, Container, Engine, Names, Workload},
    kernel::host::{
        containers::{EngineFiles, may_have_names},
        privilege::narrow,
        shortage::Shortage,
    },
};

/// The times between two looks for the names of a container. Docker has a file before it makes the
/// cgroup, the kubelet makes a link once the container runs.
const LOOKS: [Duration; 4] =
    [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];
/// The least time between two rounds of looks; and the time for each second of a round, so that
/// looks take at most a tenth of a CPU.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSES: u32 = 9;
/// The most cgroups on the way to the thread. More of them stay without names.
const AHEAD: usize = 1 << 12;
/// The most containers that wait for their names, and the most whose names are remembered.
const MOST: usize = 1 << 12;
/// The most cgroups of one container that wait for its names: a container may make any number.
const BELOW: usize = 1 << 10;

/// The way to the thread.
pub(super) struct ContainerNames(SyncSender<Arc<Cgroup>>);

impl ContainerNames {
    /// Starts the thread, which ends with the session. Nothing waits for it, since a file system
    /// may hang. Without a thread, containers have no names.
    pub(super) fn start() -> Option<Self> {
        let (to, asked) = sync_channel(AHEAD);
        let thread = thread::Builder::new().name("netmon:engines".to_owned());
        match thread.spawn(move || answer(&asked)).map_err(Shortage::of_thread) {
            Ok(_) => Some(Self(to)),
            Err(error) => {
                log::warn!("containers are shown by id, not by name: {error}");
                None
            }
        }
    }

    /// Has the thread look for the names of a cgroup, if engines may have some.
    pub(super) fn look_up(&self, cgroup: &Arc<Cgroup>) {
        if may_have_names(&cgroup.workload())
            && let Err(TrySendError::Full(cgroup)) = self.0.try_send(Arc::clone(cgroup))
        {
            log::debug!("no name for cgroup {}: too many wait", cgroup.id);
        }
        // A thread that panicked gives no names any more.
    }
}

fn answer(asked: &Receiver<Arc<Cgroup>>) {
    // The files are root's, or readable by all.
    if let Err(error) = narrow(&[]) {
        log::warn!("containers are shown by id, not by name: cannot give up privileges: {error}");
        return;
    }
    let mut containers = Containers::default();
    loop {
        let first = match containers.next() {
            Some(next) => asked.recv_timeout(next.saturating_duration_since(Instant::now())),
            None => asked.recv().map_err(Into::into),
        };
        let begun = Instant::now();
        match first {
            Ok(cgroup) => {
                let new = iter::once(cgroup).chain(asked.try_iter().take(AHEAD));
                new.for_each(|cgroup| containers.add(cgroup, begun));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        containers.look(begun, &mut EngineFiles::of_host());
        thread::sleep(PAUSE.max(begun.elapsed() * PAUSES));
    }
}

/// Containers, by the path of the outermost cgroup of each.
#[derive(Default)]
struct Containers {
    waiting: FxHashMap<Box<[u8]>, Waiting>,
    known: FxHashMap<Box<[u8]>, Names>,
}

/// A container whose names are looked for.
struct Waiting {
    cgroups: Vec<Arc<Cgroup>>,
    /// The number of looks so far.
    looks: usize,
    next: Instant,
}

impl Containers {
    fn add(&mut self, cgroup: Arc<Cgroup>, now: Instant) {
        let workload = cgroup.workload();
        let Some(Container { path, .. }) = workload.container else { return };
        // A container that starts again may have another name.
        let is_start = workload.path == Some(path);
        if let Some(names) = self.known.get(path).filter(|_| !is_start) {
            cgroup.name(names.clone());
        } else if let Some(waiting) = self.waiting.get_mut(path) {
            if waiting.cgroups.len() < BELOW {
                waiting.cgroups.push(cgroup);
            }
        } else if self.waiting.len() < MOST {
            let path = path.into();
            let waiting = Waiting { cgroups: vec![cgroup], looks: 0, next: now };
            self.waiting.insert(path, waiting);
        } else {
            log::debug!("no name for cgroup {}: too many containers wait", cgroup.id);
        }
    }

    /// Returns the time of the next look, if there is one.
    fn next(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.next).min()
    }

    /// Looks for the names of those whose time has come.
    fn look(&mut self, now: Instant, files: &mut EngineFiles) {
        self.waiting.retain(|path, waiting| {
            let Waiting { cgroups, looks, next } = waiting;
            if *next > now {
                return true;
            }
            *looks += 1;
            let Some(first) = cgroups.first() else { return false };
            // The files never have names for one that a user may have made.
            let Some(names) = files.names(first) else { return false };
            let Workload { container, pod_uid, .. } = first.workload();
            // No file has the names of Podman's pods.
            let has_pod = pod_uid.is_some()
                && container.is_some_and(|container| container.engine != Some(Engine::Podman));
            let is_complete = names.container.is_some() && (names.pod.is_some() || !has_pod);
            cgroups.iter().for_each(|cgroup| cgroup.name(names.clone()));
            let pause = LOOKS.get(*looks).filter(|_| !is_complete);
            *next = now + pause.copied().unwrap_or_default();
            if is_complete {
                if self.known.len() >= MOST {
                    self.known.clear();
                }
                self.known.insert(path.clone(), names);
            }
            pause.is_some()
        });
    }
}
