//! Names of hosts and their addresses: many look-ups at once, and a short wait for them.

use std::{
    collections::HashSet,
    net::{IpAddr, ToSocketAddrs},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::channel,
    },
    thread,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;

use super::{HAS_NO_SWITCH, getent};
use crate::{
    kernel::{Shortage, host::privilege},
    view::listing::name_cache::NameCache,
};

/// The most look-ups at once: resolvers are far away, so a look-up mostly waits.
const AT_ONCE: usize = 32;
/// The most processes of getent in a listing.
const MOST_PROCESSES: usize = 64;
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
    let processes = Arc::new(AtomicUsize::new(0));
    for _ in 0..AT_ONCE.min(questions) {
        let (to, queue, processes) = (to.clone(), Arc::clone(&queue), Arc::clone(&processes));
        // The thread is left to itself when time is up: getnameinfo cannot be interrupted.
        let thread = thread::Builder::new().name("netmon:resolve".to_owned());
        let started = thread.spawn(move || {
            narrow_to_nothing();
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(address) = next else { return };
                let may_ask = || processes.fetch_add(1, Ordering::Relaxed) < MOST_PROCESSES;
                let name = name(address, may_ask);
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
        if let Some(name) = name {
            names.insert(address, name);
        }
    }
    NameCache::new(move |address| names.get(&address).cloned())
}

/// Returns the name of a host, with a process of getent only if the process is allowed.
fn name(address: IpAddr, may_ask: impl FnOnce() -> bool) -> Option<String> {
    // For an address without a name, the address itself comes back.
    let is_name = |name: &String| name.parse::<IpAddr>().is_err();
    let known = dns_lookup::lookup_addr(&address).ok().filter(is_name);
    known.or_else(|| if HAS_NO_SWITCH && may_ask() { getent::host(address) } else { None })
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
        let _ = to.send(all_addresses(&host));
    });
    started.map_err(|error| Shortage::of_thread(error).to_string())?;
    match answer.recv_timeout(PATIENCE) {
        Ok(Ok(mut found)) if !found.is_empty() => {
            found.sort_unstable();
            found.dedup();
            Ok(found)
        }
        Ok(Ok(_)) => Err("no such name is known".to_owned()),
        Ok(Err(getent::NoAnswer)) => {
            Err("not every source of names answers: try again in a minute".to_owned())
        }
        Err(_) => Err(format!("no answer came within {} seconds", PATIENCE.as_secs())),
    }
}

fn all_addresses(host: &str) -> Result<Vec<IpAddr>, getent::NoAnswer> {
    let known = (host, 0).to_socket_addrs();
    let found: Vec<_> = known.map(|known| known.map(|end| end.ip()).collect()).unwrap_or_default();
    if HAS_NO_SWITCH && found.is_empty() { getent::addresses(host) } else { Ok(found) }
}

/// Gives up the privileges of a thread that resolves: it reads answers from the network.
fn narrow_to_nothing() {
    if let Err(error) = privilege::narrow(&[]) {
        log::warn!("a thread has more privileges than it needs: {error}");
    }
}
