//! Names that this host gives to numbers: users, services, namespaces, cgroups.

use std::{cell::Cell, collections::HashMap, fs, net::IpAddr, sync::LazyLock};

use nix::unistd::{Uid, User};

use crate::{
    core::{
        filter::{self, Filter, FilterError, RowKind},
        services::Services,
        time::Wall,
    },
    journal::{HostNames, NamedNamespace},
    kernel::{self, Namespace},
};

/// The users of the host itself.
const PASSWD: &str = "/etc/passwd";

/// The C library has no name service switch: a static program asks getent for the names that it
/// lacks itself.
const HAS_NO_SWITCH: bool = cfg!(target_env = "musl");

/// Returns the name of user `uid`, from any source that this host has for users.
pub(super) fn user(uid: u32) -> Option<String> {
    let known = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    known.map(|user| user.name).or_else(|| if HAS_NO_SWITCH { getent::user(uid) } else { None })
}

/// Returns the users of `/etc/passwd`. No other source of users can list them all in bounded time.
fn passwd_users() -> Vec<(String, u64)> {
    // A name of a person may have another charset.
    let text = fs::read(PASSWD).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let users = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?))
    });
    users.collect()
}

/// Returns a function that finds the path of a cgroup v2 by its id. The first call walks the
/// hierarchy.
pub(super) fn cgroups() -> impl FnMut(u64) -> Option<String> {
    let mut known: Option<HashMap<u64, String>> = None;
    move |id| known.get_or_insert_with(|| cgroup_paths().collect()).get(&id).cloned()
}

/// Returns every cgroup v2, by its id.
fn cgroup_paths() -> impl Iterator<Item = (u64, String)> {
    let all = kernel::cgroups().found.into_iter();
    all.map(|(id, path)| (id, String::from_utf8_lossy(&path).into_owned()))
}

/// Returns a function that finds the name of a network namespace by its inode number.
pub(super) fn namespaces() -> impl FnMut(u32) -> Option<String> {
    let mut names = kernel::netns_names();
    move |inum| names(inum).map(|name| name.to_string())
}

/// Returns the inode number of netmon's own network namespace.
pub(super) fn own_netns() -> Option<u32> {
    Namespace::current().ok().map(|own| own.inum)
}

/// Names for a filter of this host.
pub(super) struct LocalNames {
    /// Few filters name a service.
    services: LazyLock<Services>,
}

impl LocalNames {
    pub(super) fn new() -> Self {
        Self { services: LazyLock::new(Services::load) }
    }
}

impl filter::FilterNames for LocalNames {
    fn service(&self, name: &str) -> Option<u16> {
        self.services.port(name)
    }

    fn no_services(&self) -> Option<&'static str> {
        Services::missing()
    }

    fn no_users(&self) -> Option<&'static str> {
        let is_there = fs::exists(PASSWD).unwrap_or(true);
        (!is_there).then_some("this host has no /etc/passwd with the names of users")
    }

    fn user(&self, name: &str) -> Option<u32> {
        let known = User::from_name(name).ok().flatten().map(|user| user.uid.as_raw());
        known.or_else(|| if HAS_NO_SWITCH { getent::uid(name) } else { None })
    }

    fn netns(&self, name: &str) -> Option<u32> {
        Some(Namespace::named(name).ok()?.inum)
    }

    fn own_netns(&self) -> Option<u32> {
        own_netns()
    }

    fn all(&self, kind: filter::TextFact) -> Vec<(String, u64)> {
        match kind {
            filter::TextFact::User | filter::TextFact::LoginUser => passwd_users(),
            filter::TextFact::Netns => {
                let named = kernel::named_namespaces().into_iter();
                named.map(|(inum, name)| (name, inum.into())).collect()
            }
            filter::TextFact::Cgroup => cgroup_paths().map(|(id, path)| (path, id)).collect(),
            _ => Vec::new(),
        }
    }

    fn host(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        hosts::addresses(name)
    }

    fn cgroup(&self, path: &str) -> Option<u64> {
        kernel::cgroup_at(path)
    }
}

/// Names that are known at once. Other names are not looked up.
#[derive(Debug)]
struct NamesAtOnce<'a> {
    services: &'a Services,
    /// A filter has another name.
    is_missing: Cell<bool>,
}

impl NamesAtOnce<'_> {
    fn missing<T: Default>(&self) -> T {
        self.is_missing.set(true);
        T::default()
    }
}

impl filter::FilterNames for NamesAtOnce<'_> {
    fn service(&self, name: &str) -> Option<u16> {
        self.services.port(name)
    }

    fn no_services(&self) -> Option<&'static str> {
        Services::missing()
    }

    fn user(&self, _: &str) -> Option<u32> {
        self.missing()
    }

    fn netns(&self, _: &str) -> Option<u32> {
        self.missing()
    }

    fn own_netns(&self) -> Option<u32> {
        own_netns()
    }

    fn cgroup(&self, _: &str) -> Option<u64> {
        self.missing()
    }

    fn all(&self, _: filter::TextFact) -> Vec<(String, u64)> {
        self.missing()
    }

    fn host(&self, _: &str) -> Result<Vec<IpAddr>, String> {
        Err(self.missing())
    }
}

/// Reads a filter for connections of this host without a look-up of a name; none if the filter has
/// names to look up.
pub(super) fn filter_at_once(
    text: &str,
    services: &Services,
) -> Option<Result<Filter, FilterError>> {
    let names = NamesAtOnce { services, is_missing: Cell::new(false) };
    let filter = Filter::parse(text, &names, RowKind::Connection);
    (!names.is_missing.get()).then_some(filter)
}

/// Names for a filter of a journal: users, namespaces and cgroups have the names that were
/// recorded.
pub(super) struct RecordedNames(pub(super) LocalNames);

impl filter::FilterNames for RecordedNames {
    fn service(&self, name: &str) -> Option<u16> {
        self.0.service(name)
    }

    fn no_services(&self) -> Option<&'static str> {
        self.0.no_services()
    }

    fn host(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        self.0.host(name)
    }

    fn are_recorded(&self) -> bool {
        true
    }
}

/// Answers of this host to a recorder: the current names of numbers, and start times of processes.
pub(super) struct SystemNames;

impl HostNames for SystemNames {
    fn user(&mut self, uid: u32) -> Option<String> {
        user(uid)
    }

    fn namespaces(&mut self) -> Vec<NamedNamespace> {
        let named = kernel::named_namespaces().into_iter();
        let mut all: Vec<_> = named
            .map(|(inum, name)| NamedNamespace { inum, cookie: None, name: Some(name) })
            .collect();
        if let Ok(own) = Namespace::current() {
            let cookie = kernel::own_netns_cookie();
            match all.iter_mut().find(|known| known.inum == own.inum) {
                Some(known) => known.cookie = cookie,
                None => all.push(NamedNamespace { inum: own.inum, cookie, name: None }),
            }
        }
        all
    }

    fn process_started(&mut self, pid: u32) -> Option<Wall> {
        kernel::process_started(pid)
    }
}
mod getent;
pub(super) mod hosts;
