//! Why a file of a journal cannot be read.

use std::io::{self, ErrorKind};

use arrow_schema::ArrowError;

/// Why a file of a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Another program wrote it.
    #[error("it is no journal of netmon")]
    Foreign,
    /// Another version wrote it.
    #[error(
        "it is of version {found} of the journal, and this netmon reads version {read}: read it with \
         the netmon that wrote it"
    )]
    Version {
        /// The file's version.
        found: String,
        /// The version that this program reads.
        read: &'static str,
    },
    /// It is not as its format demands.
    #[error("it is corrupt")]
    Corrupt,
    /// Its bytes are not those that were written.
    #[error("it was changed since it was written: the checksum of {0} does not match")]
    Checksum(String),
    /// It claims more than any file of netmon's has.
    #[error("it claims {0}, more than netmon ever writes")]
    TooLarge(&'static str),
    /// It is a directory, a pipe, a device or a link.
    #[error("it is no regular file")]
    NoFile,
    /// It lacks a column.
    #[error("its column '{0}' is missing, or not of its type")]
    Column(&'static str),
    /// It has a word that means nothing.
    #[error("its column '{column}' has '{text}', which this netmon does not know")]
    Word {
        /// The column.
        column: &'static str,
        /// The word.
        text: String,
    },
    /// It is no Arrow stream, or a torn one.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// It is no Parquet file, or a corrupt one.
    #[error(transparent)]
    Parquet(#[from] parquet::errors::ParquetError),
    /// The system did not give it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The result of reading a part of a journal.
pub(super) type Result<T> = std::result::Result<T, Malformed>;

impl Malformed {
    /// Returns whether the system refused to give the file, whatever is in it; a file that ends too
    /// early was given.
    pub(super) fn is_of_the_system(&self) -> bool {
        self.system().is_some_and(|error| error.kind() != ErrorKind::UnexpectedEof)
    }

    /// Returns whether the file ends before there is anything in it.
    pub(super) fn is_cut_short(&self) -> bool {
        self.system().is_some_and(|error| error.kind() == ErrorKind::UnexpectedEof)
    }

    fn system(&self) -> Option<&io::Error> {
        match self {
            Self::Io(error) | Self::Arrow(ArrowError::IoError(_, error)) => Some(error),
            _ => None,
        }
    }
}
