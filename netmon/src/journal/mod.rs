//! The journal: what the table did, kept as Parquet, and done again.
mod archive;
mod arrays;
mod batch;
mod batches;
mod columns;
mod community;
mod decode;
mod events;
mod export;
mod files;
mod groups;
mod guard;
mod keeper;
mod moments;
mod reader;
mod recorder;
mod replay;
mod rows;
mod shared;
mod stream;
mod sync;
mod writer;

pub use decode::{Finished, Malformed};
pub use export::Format;
pub use files::Dataset;
pub use keeper::Retention;
pub use reader::{Journal, ReadError, Span, events_of};
pub use recorder::{OpenError, Recorder};
pub use replay::Replay;
pub use shared::{Handle, Health};

/// Key of the schema's metadata that says which version of the datasets a file has.
const VERSION_KEY: &str = "netmon.version";
/// The version that this program writes and reads.
const VERSION: &str = "1";

/// Makes a directory of a journal: only its owner and group may look into it.
fn create_directory(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o750).create(path)
}

#[cfg(test)]
mod tests;
