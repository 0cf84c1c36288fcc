//! The facts that are texts.

use std::{borrow::Cow, sync::Arc};

use super::{
    facts::{FilterFacts, OwnerFacts},
    text::Text,
};
use crate::core::connection::Labels;

/// A fact that is a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFact {
    /// The name of a process.
    Comm,
    /// The name of a network device.
    Device,
    /// The name of a user, as a journal recorded it.
    User,
    /// The name of a network namespace, as a journal recorded it.
    Netns,
    /// The path of a cgroup.
    Cgroup,
    /// The path of the executable of a process.
    Exe,
    /// The arguments of a process, as one text.
    Args,
    /// The path of the executable of its parent.
    Parent,
    /// The name of the user whose login led to a process, as a journal recorded it.
    LoginUser,
    /// The unit of the system's systemd that a process is in.
    Unit,
    /// The unit of a user's systemd that a process is in.
    UserUnit,
    /// The name of the container that a process is in, or its short id if it has no name.
    Container,
    /// The whole id of that container.
    ContainerId,
    /// The name of the pod that a process is in, or its uid if it has no name.
    Pod,
}

impl TextFact {
    /// The facts of the processes of a connection.
    pub(super) const OF_OWNERS: [Self; 10] = [
        Self::Comm,
        Self::Exe,
        Self::Args,
        Self::Parent,
        Self::LoginUser,
        Self::Unit,
        Self::UserUnit,
        Self::Container,
        Self::ContainerId,
        Self::Pod,
    ];

    /// Returns whether the fact is known of the processes of a connection.
    pub(super) fn is_of_owners(self) -> bool {
        Self::OF_OWNERS.contains(&self)
    }

    /// Returns whether the fact is known and passes a test.
    pub(super) fn matches(self, facts: &impl FilterFacts, text: &Text) -> bool {
        let label = |of: fn(&Labels) -> &Option<Arc<str>>| {
            let name = facts.labels().and_then(|labels| of(labels).as_deref());
            name.is_some_and(|name| text.matches(name))
        };
        match self {
            Self::Device => facts.device().is_some_and(|name| text.matches(name)),
            Self::User => label(|labels| &labels.user),
            Self::Netns => label(|labels| &labels.netns),
            _ => facts.any_owner(&mut |owner| {
                let known = self.of_owner(&owner);
                known.is_some_and(|known| text.matches_bytes(&known))
            }),
        }
    }

    /// Returns the fact of a process, if the fact is one of processes and is known.
    fn of_owner<'a>(self, owner: &OwnerFacts<'a>) -> Option<Cow<'a, [u8]>> {
        let OwnerFacts { comm, process, cgroup, .. } = *owner;
        let program = process.and_then(|process| process.program.as_deref());
        match self {
            Self::Comm => Some(comm.into()),
            Self::Exe => Some((*program?.path).into()),
            Self::Args => Some((*program?.arguments.as_ref()?.line).into()),
            Self::Cgroup => Some(cgroup?.path()?.into()),
            Self::Parent => Some(process?.parent_path()?.into()),
            Self::LoginUser => Some(process?.login.as_ref()?.user.as_ref()?.as_bytes().into()),
            Self::Unit => Some(cgroup?.workload().unit?.into()),
            Self::UserUnit => Some(cgroup?.workload().user_unit?.into()),
            Self::Container => cgroup?.workload().container_name,
            Self::ContainerId => Some(cgroup?.workload().container?.id),
            Self::Pod => cgroup?.workload().pod_name,
            Self::Device | Self::User | Self::Netns => None,
        }
    }
}
