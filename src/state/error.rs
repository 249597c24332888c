//! Error of a state file or journal.

use std::io;

/// Error of a state file or journal; the message follows `<path>: `.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The file is that of another program.
    #[error("not a {0} of this exporter")]
    Foreign(&'static str),
    /// Another process has locked the file.
    #[error("in use by another process")]
    Locked,
    /// The layout is that of another release.
    #[error("written by another release: expected layout {expected}, found {found}")]
    Layout {
        /// Layout of this release.
        expected: u32,
        /// Layout of the file.
        found: u32,
    },
    /// The file was truncated or modified.
    #[error("damaged: {0}")]
    Damaged(String),
}

impl StoreError {
    /// Returns the error of a record that cannot be decoded.
    pub(super) fn damaged(error: impl ToString) -> Self {
        Self::Damaged(error.to_string())
    }

    /// Converts an error of the database.
    pub(super) fn from_database(error: impl Into<redb::Error>) -> Self {
        const DAMAGED: [io::ErrorKind; 3] = [
            io::ErrorKind::InvalidData,
            io::ErrorKind::InvalidInput,
            io::ErrorKind::UnexpectedEof,
        ];
        match error.into() {
            redb::Error::Io(error) if DAMAGED.contains(&error.kind()) => Self::damaged(error),
            redb::Error::Io(error) => Self::Io(error),
            redb::Error::PreviousIo => Self::Io(io::Error::other("an earlier write failed")),
            error => Self::damaged(error),
        }
    }

    /// Returns whether the file is one of this exporter that cannot be used, and should be set aside.
    pub fn is_unusable(&self) -> bool {
        matches!(self, Self::Layout { .. } | Self::Damaged(_))
    }
}
