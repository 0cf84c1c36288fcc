//! The stream of events: records of the rings, completed and corrected by dumps.

mod assembler;
mod capture;
mod container_names;
mod delay_queue;
pub(super) mod dump_schedule;
mod dumps;
mod fate;
mod heartbeat;
pub(super) mod identities;
pub(super) mod live;
mod losses;
pub(super) mod minisockets;
pub(super) mod offline;
mod owners;
mod programs;
mod questions;
