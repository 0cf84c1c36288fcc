//! Warnings of a listing, each shown once.

use std::{collections::HashSet, io, num::NonZeroU64};

use crate::{
    cli::io::stderr::report,
    core::{id::HolderKey, process::SocketHolders},
    kernel::{
        host::privilege::{Duty, advice, advice_to_enter},
        netns_text,
    },
};

/// The warnings that were printed, which `-c` does not repeat with each listing.
#[derive(Default)]
pub(in crate::cli) struct Warnings(HashSet<&'static str>);

impl Warnings {
    pub(in crate::cli) fn once(&mut self, about: &'static str, text: &str) {
        if self.0.insert(about) {
            report(text);
        }
    }

    /// Names the network namespaces that are left out, of those that netmon knows. `is_asked` means
    /// that the filter names them.
    pub(in crate::cli) fn left_out(&mut self, unreachable: &[u32], is_asked: bool) {
        let verb = match unreachable {
            [] => return,
            [_] => "is",
            _ => "are",
        };
        let (namespaces, advice) = (netns_text(unreachable), advice_to_enter());
        let other = if is_asked { "" } else { ", or ask for --netns self" };
        self.once("namespaces", &format!("{namespaces} {verb} left out{advice}{other}"));
    }

    /// Reports the sockets of processes that hide what they hold.
    pub(in crate::cli) fn unowned(&mut self, unowned: &Unowned, asks_for_owners: bool) {
        let Unowned { advice: Some(advice), shown, not_admitted } = unowned else { return };
        let text = match (shown, not_admitted) {
            (0, 0) => return,
            (0, _) if !asks_for_owners => return,
            (0, 1) => {
                "the filter may leave out 1 socket whose process does not show what it holds".into()
            }
            (0, count) => format!(
                "the filter may leave out {count} sockets, whose processes do not show what they \
                 hold"
            ),
            (1, _) => {
                "1 socket has no owner here, since its process does not show what it holds".into()
            }
            (count, _) => format!(
                "{count} sockets have no owner here, since their processes do not show what they \
                 hold"
            ),
        };
        self.once("owners", &format!("{text}{advice}"));
    }
}

/// Counts the sockets that some process holds, and of which no process is known.
pub(in crate::cli) struct Unowned {
    /// The advice if processes hide what they hold. Otherwise the kernel itself has the sockets.
    advice: Option<String>,
    /// The sockets that are listed.
    shown: usize,
    /// The sockets that the filter does not admit.
    not_admitted: usize,
}

impl Unowned {
    /// Begins to count, where so many processes hide. Must be called with all privileges, since the
    /// advice names those that are missing.
    pub(in crate::cli) fn new(hidden: usize) -> Self {
        let advice = (hidden > 0).then(|| advice(Duty::Look));
        Self { advice, shown: 0, not_admitted: 0 }
    }

    /// Takes note of a socket, which is listed if the filter admits it.
    pub(in crate::cli) fn count(
        &mut self,
        inode: Option<NonZeroU64>,
        owners: &SocketHolders,
        admits: bool,
    ) {
        let key = inode.map(HolderKey::of_inode);
        if self.advice.is_some() && key.is_some() && !owners.any(key, &mut |_| true) {
            *(if admits { &mut self.shown } else { &mut self.not_admitted }) += 1;
        }
    }
}

/// Returns the warning for unix sockets that come from `/proc/net/unix`.
pub(super) fn unix_from_proc(error: &io::Error) -> String {
    format!(
        "the kernel does not list unix sockets through sock_diag ({error}), so that they come from \
         /proc/net/unix, where any process can forge a socket by a name with a line break: load \
         the module unix_diag, or permit AF_NETLINK"
    )
}
