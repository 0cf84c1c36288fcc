//! The thread that looks up the names of containers and pods in the files of engines.

use std::{
    iter,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    core::cgroup::Cgroup,
    kernel::host::{containers::EngineFiles, privilege::narrow, shortage::Shortage},
};

/// The times between two looks for the names of a cgroup. Docker has a file before it makes the
/// cgroup, the kubelet makes a link once the container runs.
const LOOKS: [Duration; 4] =
    [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];
/// The most cgroups that wait for their names. More of them stay without.
const MOST: usize = 1 << 14;

/// The way to the thread.
pub(super) struct ContainerNames(Sender<Arc<Cgroup>>);

impl ContainerNames {
    /// Starts the thread, which ends with the session. Nothing waits for it, since a file system
    /// may hang. Without a thread, containers have no names.
    pub(super) fn start() -> Option<Self> {
        let (to, asked) = channel();
        let thread = thread::Builder::new().name("netmon:engines".to_owned());
        match thread.spawn(move || answer(&asked)).map_err(Shortage::of_thread) {
            Ok(_) => Some(Self(to)),
            Err(error) => {
                log::warn!("containers are shown by id, not by name: {error}");
                None
            }
        }
    }

    /// Has the thread look for the names of a cgroup, if it is that of a container.
    pub(super) fn look_up(&self, cgroup: &Arc<Cgroup>) {
        if cgroup.workload().container.is_some() {
            // A thread that panicked gives no names any more.
            let _ = self.0.send(Arc::clone(cgroup));
        }
    }
}

/// A cgroup whose names are looked for.
struct Waiting {
    cgroup: Arc<Cgroup>,
    /// The number of looks so far.
    looks: usize,
    next: Instant,
}

fn answer(asked: &Receiver<Arc<Cgroup>>) {
    // The files are root's, or readable by all.
    if let Err(error) = narrow(&[]) {
        log::warn!("containers are shown by id, not by name: cannot give up privileges: {error}");
        return;
    }
    let mut waiting: Vec<Waiting> = Vec::new();
    loop {
        let next = waiting.iter().map(|waiting| waiting.next).min();
        let first = match next {
            Some(next) => asked.recv_timeout(next.saturating_duration_since(Instant::now())),
            None => asked.recv().map_err(Into::into),
        };
        match first {
            Ok(cgroup) if waiting.len() < MOST => {
                let free = MOST - waiting.len();
                let new = iter::once(cgroup).chain(asked.try_iter()).take(free);
                let next = Instant::now();
                waiting.extend(new.map(|cgroup| Waiting { cgroup, looks: 0, next }));
            }
            Ok(cgroup) => log::debug!("no name for {:?}: too many wait", cgroup.path),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let (now, mut files) = (Instant::now(), EngineFiles::below("/"));
        waiting.retain_mut(|waiting| {
            if waiting.next > now {
                return true;
            }
            let Waiting { cgroup, looks, next } = waiting;
            *looks += 1;
            cgroup.name(files.names(cgroup));
            let Some(pause) = LOOKS.get(*looks) else { return false };
            *next = now + *pause;
            let wanted = 1 + u8::from(cgroup.workload().pod.is_some());
            cgroup.names() < wanted
        });
    }
}
