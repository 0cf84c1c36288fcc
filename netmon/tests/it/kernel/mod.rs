//! Tests on the live kernel, as root: the real program, loaded and attached, against real sockets.
//!
//! No test skips: a kernel without a feature that a test needs fails the test. Each test works in
//! network namespaces of its own, which also separate its events from the events of the rest of the
//! host.

mod announcements;
mod bare_host;
mod cgroups;
mod converge;
mod devices;
mod doctor;
mod enclosure;
mod every_state;
mod filter;
mod harness;
mod holders;
mod journal;
mod languages;
mod lifecycle;
mod line_views;
mod loss;
mod minisockets;
mod namespaces;
mod netns;
mod netstat;
mod network;
mod one_object;
mod own_namespace;
mod owners;
mod past;
mod peer;
mod pid_namespace;
mod ports;
mod privileges;
mod process_changes;
mod programs;
mod recording;
mod refusals;
mod seeds;
mod service;
mod services;
mod shortage;
mod snapshot;
mod threads;
mod tier;
mod time_namespace;
pub(crate) mod top;
mod unix;
mod unprivileged;
mod verdicts;
