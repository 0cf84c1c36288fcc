//! Tests on the live kernel, as root: the real program, loaded and attached, against real sockets.
//!
//! Nothing here skips: a kernel that lacks what a test needs fails it. Each test works in network
//! namespaces of its own, by which it also tells its events from those of the rest of the host.

mod converge;
mod doctor;
mod filter;
mod harness;
mod journal;
mod lifecycle;
mod loss;
mod minisockets;
mod netns;
mod owners;
mod past;
mod peer;
mod privileges;
mod recording;
mod refusals;
mod scene;
mod seeds;
mod snapshot;
mod tier;
mod top;
mod unprivileged;
mod verdicts;
