//! The meaning of the names in a filter.

use std::net::IpAddr;

use super::TextFact;

/// The name of the own network namespace, in filters and in the output: netmon's, or in a journal
/// that of the recorder.
pub(crate) const OWN_NETNS: &str = "self";

/// The meaning of the names in a filter. Without a method of its own for a kind of name, a host has
/// no name of that kind.
pub trait FilterNames {
    /// Returns the port of the TCP service `name`.
    fn service(&self, _name: &str) -> Option<u16> {
        None
    }
    /// Returns the reason why no service has a name, if none has.
    fn no_services(&self) -> Option<&'static str> {
        None
    }
    /// Returns the reason why no user has a name, if none has.
    fn no_users(&self) -> Option<&'static str> {
        None
    }
    /// Returns the id of the user `name`.
    fn user(&self, _name: &str) -> Option<u32> {
        None
    }
    /// Returns the inode number of the network namespace `name`.
    fn netns(&self, _name: &str) -> Option<u32> {
        None
    }
    /// Returns the inode number of the network namespace `self`: that of netmon. The rows of a
    /// journal know the namespace of their recorder.
    fn own_netns(&self) -> Option<u32> {
        None
    }

    /// Returns the id of the cgroup at `path`.
    fn cgroup(&self, _path: &str) -> Option<u64> {
        None
    }
    /// Returns every name of a kind, with its number.
    fn all(&self, _kind: TextFact) -> Vec<(String, u64)> {
        Vec::new()
    }
    /// Returns the addresses of the host `name`.
    ///
    /// # Errors
    /// The reason why there is no address, as a part of a sentence.
    fn host(&self, _name: &str) -> Result<Vec<IpAddr>, String> {
        Err("names of hosts are not looked up".to_owned())
    }
    /// Returns whether users, namespaces and cgroups have the names that a journal recorded with
    /// them, instead of this host's current names.
    fn are_recorded(&self) -> bool {
        false
    }
}
