//! A network namespace in the output.

use std::{fmt, sync::Arc};

use crate::core::{escape::Escaped, filter::OWN_NETNS};

/// Finds the name of a network namespace by its inode number.
pub(crate) type NetnsNames = Box<dyn FnMut(u32) -> Option<Arc<str>>>;

/// A network namespace as people read it: by its name, or else by its inode number. The own one is
/// `self`.
#[derive(Clone, Copy, Debug)]
pub(in crate::view) struct Netns<'a> {
    pub(in crate::view) inum: u32,
    /// The inode number of the own namespace, if it is known.
    pub(in crate::view) own: Option<u32>,
    pub(in crate::view) name: Option<&'a str>,
}

impl Netns<'_> {
    pub(in crate::view) fn is_own(&self) -> bool {
        self.own == Some(self.inum)
    }
}

impl fmt::Display for Netns<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            _ if self.is_own() => f.write_str(OWN_NETNS),
            Some(name) => write!(f, "{}", Escaped(name.as_bytes())),
            None => write!(f, "{}", self.inum),
        }
    }
}
