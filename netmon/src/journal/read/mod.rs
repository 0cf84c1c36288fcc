//! The reading of a journal. Every command reads the same blocks, merged in the same order, so that
//! two commands cannot disagree.

mod blocks;
mod check;
mod checked_chunks;
mod community;
mod export;
mod export_text;
mod gaps;
mod history;
mod ipc_reader;
mod journal;
mod merge;
mod page_sizes;
mod panic_guard;
mod parquet_file;
mod replay;
mod seek;
mod select;
mod source;
mod timeline;

pub(crate) use community::community_id;
pub(crate) use export::ExportFormat;
pub(crate) use gaps::JournalGap;
pub(crate) use history::HistoryItem;
pub use journal::Journal;
pub(crate) use journal::{HostJournal, ReadCounter, ReadError};
pub use replay::entries_of;
pub(crate) use seek::Playback;
pub(crate) use source::ReplayItem;

#[cfg(test)]
pub(super) use replay::merge_of;

#[cfg(feature = "bench")]
pub(super) use blocks::file;
pub(super) use ipc_reader::{IpcReader, is_ended};
pub(super) use journal::last_table;
pub(super) use parquet_file::{chunk_ranges, footer_of, footer_sum, footer_sum_of};
