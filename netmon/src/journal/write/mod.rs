//! The writing of a journal. The recorder is a view; three threads write, sync, and turn segments
//! into Parquet.

mod archiver;
mod change_batch;
mod discovery;
mod former;
mod ipc_writer;
mod names;
mod parquet;
mod place;
mod recorder;
mod segment_writer;
#[cfg(feature = "bench")]
mod shift;
mod syncer;
mod threads;

pub use archiver::Retention;
pub use names::{HostNames, NamedNamespace};
pub(crate) use place::OpenError;
pub use recorder::{Recorder, RecorderOptions};

#[cfg(test)]
pub(super) use parquet::sorted;
