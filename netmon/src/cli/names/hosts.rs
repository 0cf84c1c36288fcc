//! Names of hosts and their addresses: many look-ups at once, and a short wait for them.

use std::{
    collections::HashSet,
    net::{IpAddr, ToSocketAddrs},
    sync::{Arc, Mutex, PoisonError, mpsc::channel},
    thread,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;

use crate::{
    kernel::{Shortage, host::privilege},
    view::listing::name_cache::NameCache,
};

/// The most look-ups at once: resolvers are far away, so a look-up mostly waits.
const AT_ONCE: usize = 32;
/// The longest wait: an address without a name by then is shown as an address.
const PATIENCE: Duration = Duration::from_secs(3);

/// Looks up the names of `addresses`, each once. A resolver that does not answer costs
/// [`PATIENCE`].
pub(in crate::cli) fn resolve(addresses: impl Iterator<Item = IpAddr>) -> NameCache<IpAddr> {
    let targets: HashSet<IpAddr> = addresses.filter(|address| !address.is_unspecified()).collect();
    let end = Instant::now() + PATIENCE;
    let (to, answers) = channel();
    let questions = targets.len();
    let queue = Arc::new(Mutex::new(targets.into_iter()));
    for _ in 0..AT_ONCE.min(questions) {
        let (to, queue) = (to.clone(), Arc::clone(&queue));
        // The thread is left to itself when time is up: getnameinfo cannot be interrupted.
        let thread = thread::Builder::new().name("netmon:resolve".to_owned());
        let started = thread.spawn(move || {
            narrow_to_nothing();
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(address) = next else { return };
                let name = dns_lookup::lookup_addr(&address).ok();
                if to.send((address, name)).is_err() || Instant::now() > end {
                    return;
                }
            }
        });
        if let Err(error) = started {
            log::warn!("fewer names of hosts are looked up: {}", Shortage::of_thread(error));
            break;
        }
    }
    drop(to);
    let mut names: FxHashMap<IpAddr, String> = FxHashMap::default();
    while let Ok((address, name)) =
        answers.recv_timeout(end.saturating_duration_since(Instant::now()))
    {
        // For an address without a name, the address itself comes back.
        if let Some(name) = name.filter(|name| name.parse::<IpAddr>().is_err()) {
            names.insert(address, name);
        }
    }
    NameCache::new(move |address| names.get(&address).cloned())
}

/// Returns the addresses of the host `name`. A resolver that does not answer costs [`PATIENCE`].
///
/// # Errors
/// The reason why there is none, as a part of a sentence.
pub(in crate::cli) fn addresses(name: &str) -> Result<Vec<IpAddr>, String> {
    let (to, answer) = channel();
    let host = name.to_owned();
    // The thread is left to itself when time is up: getaddrinfo cannot be interrupted.
    let thread = thread::Builder::new().name("netmon:resolve".to_owned());
    let started = thread.spawn(move || {
        narrow_to_nothing();
        let found = (host, 0).to_socket_addrs();
        let _ = to.send(found.map(|found| found.map(|end| end.ip()).collect::<Vec<_>>()));
    });
    started.map_err(|error| Shortage::of_thread(error).to_string())?;
    match answer.recv_timeout(PATIENCE) {
        Ok(Ok(mut found)) => {
            found.sort_unstable();
            found.dedup();
            Ok(found)
        }
        Ok(Err(_)) => Err("no such name is known".to_owned()),
        Err(_) => Err(format!("no answer came within {} seconds", PATIENCE.as_secs())),
    }
}

/// Gives up the privileges of a thread that resolves: it reads answers from the network.
fn narrow_to_nothing() {
    if let Err(error) = privilege::narrow(&[]) {
        log::warn!("a thread has more privileges than it needs: {error}");
    }
}
