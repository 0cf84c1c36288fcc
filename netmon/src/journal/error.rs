//! The reasons why a file of a journal cannot be read.

use std::io::{self, ErrorKind};

use arrow_schema::ArrowError;

/// The reason why a file of a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// The file was written by another program.
    #[error("it is no journal of netmon")]
    Foreign,
    /// The file has another version of the schema.
    #[error(
        "it is of version {found} of the journal, and this netmon reads version {read}: read it \
         with the netmon that wrote it"
    )]
    Version {
        /// The file's version.
        found: String,
        /// The version that this program reads.
        read: &'static str,
    },
    /// The file does not conform to its format.
    #[error("it is corrupt")]
    Corrupt,
    /// The bytes of the file are not the bytes that were written.
    #[error("it was changed since it was written: the checksum of {0} does not match")]
    Checksum(String),
    /// The file claims more than any file of netmon has.
    #[error("it claims {0} than netmon ever writes")]
    TooLarge(&'static str),
    /// The path is a directory, a pipe, a device or a link.
    #[error("it is not a regular file")]
    NoFile,
    /// A column is missing or has a wrong type, or a row lacks its value.
    #[error("its column '{0}' is missing or has a wrong type or value")]
    Column(&'static str),
    /// The file has a word without a meaning.
    #[error("its column '{column}' has '{text}', which this netmon does not know")]
    Word {
        /// The column.
        column: &'static str,
        /// The word.
        text: String,
    },
    /// The file is not an Arrow stream, or is a torn stream.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// The file is not a Parquet file, or is a corrupt Parquet file.
    #[error(transparent)]
    Parquet(#[from] parquet::errors::ParquetError),
    /// The system refused to read the file.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The result of reading a part of a journal.
pub(super) type Result<T> = std::result::Result<T, Malformed>;

impl Malformed {
    /// Returns whether the system refused to read the file, whatever the content is. A file that
    /// ends too early was read, so the result is false.
    pub(super) fn is_of_the_system(&self) -> bool {
        self.system().is_some_and(|error| error.kind() != ErrorKind::UnexpectedEof)
    }

    /// Returns whether the file ends too early.
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
