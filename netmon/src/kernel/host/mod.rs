//! This process and its host: its privileges, its namespaces, the clocks.

pub(super) mod cgroups;
pub(crate) mod clock;
pub(super) mod containers;
pub(super) mod devices;
pub(super) mod file_systems;
pub(super) mod namespaces;
pub(super) mod netns;
pub(super) mod netns_names;
pub(super) mod pid_namespace;
pub(crate) mod privilege;
pub(super) mod shortage;
pub(super) mod time_namespace;
