//! State file: restores a snapshot after a restart, and stores what changed.
//!
//! The database has one table of change sets in the order in which they were written. The first one contains a whole
//! snapshot. When the others are three times as large as it, all are replaced by the current snapshot in one
//! transaction. A write therefore costs as much as what it changes and about seven pages of the database, while a table
//! with one record per row would rewrite a page for each changed row.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::change_set::ChangeSet;
use super::encoding;
use super::error::StoreError;
use super::saved_state::SavedState;
use super::store_file::{
    self, FileBackend, IoActivity, StoreKind, lock, memory_backend, open_database, prepare,
};
use crate::snapshot::Snapshot;

/// Kind of the file. The layout must be incremented with every change of a stored type. A file of another layout is
/// set aside, and all sources are polled again.
const KIND: StoreKind = StoreKind {
    name: "state",
    shown: "state file",
    layout: 7,
};

/// Parts of change sets, by the number of the change set and that of the part.
const CHANGE_SETS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("change_sets");

/// Ratio of the size of the change sets after the first one to that of the first one, above which all are replaced. The
/// replacement adds a third to the bytes written, and the file is at most four times as large as a snapshot.
const MAX_CHANGE_RATIO: u64 = 3;

/// Size of the change sets after the first one that is always accepted, in bytes: the cost of replacing a small
/// snapshot is that of the pages, not that of its content.
const MIN_CHANGE_BYTES: u64 = 1024 * 1024;

/// Page of the database in bytes. A record that is larger occupies a power of two of them.
const PAGE_BYTES: usize = 4096;

/// Bytes of pages with one record that are not its value, rounded up.
const RECORD_OVERHEAD: usize = 32;

/// Maximum number of pages of a part.
const MAX_PART_PAGES: usize = 256;

/// Maximum size of a state file that [`read`] reads, in bytes.
const MAX_READ_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// Attempts to read a file while another process writes it.
const READ_ATTEMPTS: u32 = 5;

/// State file that is open and locked.
#[derive(Debug)]
pub struct StateStore {
    database: Database,
    /// Keeps the lock if the database is closed after an error.
    _lock: File,
    /// Content of the file; `None` if it is unknown, which makes the next write replace everything.
    written: Option<Arc<Snapshot>>,
    next_key: u64,
    /// Size of the first change set in bytes.
    snapshot_bytes: u64,
    /// Size of the other change sets in bytes.
    changes_bytes: u64,
}

impl StateStore {
    /// Opens and locks a state file, and reads its content. Creates the file if it does not exist.
    ///
    /// # Errors
    /// Returns an error if the file cannot be used. If [`StoreError::is_unusable`], it can be [`set_aside`](super::set_aside).
    pub fn open(
        path: &Path,
        activity: &Arc<IoActivity>,
    ) -> Result<(Self, Option<SavedState>), StoreError> {
        let (file, is_new) = activity.run(|| {
            let file = lock(path, KIND)?;
            let is_new = prepare(&file, KIND)?;
            Ok::<_, StoreError>((file, is_new))
        })?;
        let backend = FileBackend {
            file: file.try_clone()?,
            durable: true,
            activity: Arc::clone(activity),
        };
        if is_new {
            // What follows the header, if anything, was written by an interrupted first start.
            store_file::clear(&file, KIND)?;
        }
        let database = open_database(backend)?;
        let saved = load(&database)?;
        let store = Self {
            database,
            _lock: file,
            written: None,
            next_key: 0,
            snapshot_bytes: 0,
            changes_bytes: 0,
        };
        Ok((store, saved))
    }

    /// Stores what changed since the last write. The first write replaces the whole content. Returns whether anything
    /// was written.
    ///
    /// # Errors
    /// Returns an error if writing fails; the content is then unchanged, and the store must be opened again.
    pub fn write(&mut self, snapshot: &Arc<Snapshot>) -> Result<bool, StoreError> {
        let max_changes = MAX_CHANGE_RATIO * self.snapshot_bytes;
        let is_full = self.changes_bytes > max_changes.max(MIN_CHANGE_BYTES);
        let written = self.written.take().filter(|_| !is_full);
        let change_set = match &written {
            Some(written) => ChangeSet::between(written, snapshot),
            None => ChangeSet::between(&Snapshot::default(), snapshot),
        };
        if written.is_some() && change_set.is_empty() {
            self.written = Some(Arc::clone(snapshot));
            return Ok(false);
        }
        let bytes = encoding::encode(&change_set)?;
        self.commit(&bytes, written.is_none())
            .map_err(StoreError::from_database)?;
        let length = bytes.len() as u64;
        if written.is_none() {
            (self.snapshot_bytes, self.changes_bytes) = (length, 0);
        } else {
            self.changes_bytes += length;
        }
        self.written = Some(Arc::clone(snapshot));
        Ok(true)
    }

    /// Returns the difference between two snapshots as it is stored, without its checksum.
    ///
    /// # Errors
    /// Returns an error if it cannot be encoded.
    pub fn change_set(old: &Snapshot, new: &Snapshot) -> Result<Vec<u8>, StoreError> {
        encoding::encode_body(&ChangeSet::between(old, new))
    }

    /// Adds a change set in one transaction, or replaces all by it.
    fn commit(&mut self, bytes: &[u8], replace: bool) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        if replace {
            transaction.delete_table(CHANGE_SETS)?;
            self.next_key = 0;
        }
        let mut table = transaction.open_table(CHANGE_SETS)?;
        for (part_idx, part) in (0..).zip(parts(bytes)) {
            table.insert((self.next_key, part_idx), part)?;
        }
        drop(table);
        transaction.commit()?;
        self.next_key += 1;
        Ok(())
    }
}

/// Divides a change set into parts that fill their pages, except the last one.
fn parts(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let pages = (bytes.len() + RECORD_OVERHEAD) / PAGE_BYTES;
        let pages = 1 << pages.clamp(1, MAX_PART_PAGES).ilog2();
        let (part, rest) = bytes.split_at(bytes.len().min(pages * PAGE_BYTES - RECORD_OVERHEAD));
        bytes = rest;
        Some(part)
    })
}

/// Reads a state file that another process may be using, without changing it; `None` if it does not exist or contains
/// no state yet.
///
/// # Errors
/// Returns an error if the file cannot be read or is not a state file of this layout.
pub fn read(path: &Path) -> Result<Option<SavedState>, StoreError> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Ok(metadata) if !metadata.is_file() => return Err(StoreError::Foreign(KIND.shown)),
        _ => {}
    }
    let mut attempts_left = READ_ATTEMPTS;
    loop {
        attempts_left -= 1;
        let bytes = store_file::read_unlocked(path, MAX_READ_BYTES)?;
        match decode(&bytes) {
            // A transaction of the exporter may have changed the pages while they were read.
            Err(StoreError::Damaged(_)) if attempts_left > 0 => {}
            decoded => return decoded,
        }
    }
}

/// Decodes the content of a state file; `None` if it contains no state yet.
///
/// # Errors
/// Returns an error if it is not a state file of this layout.
pub fn decode(bytes: &[u8]) -> Result<Option<SavedState>, StoreError> {
    match memory_backend(bytes, KIND)? {
        Some(backend) => load(&open_database(backend)?),
        None => Ok(None),
    }
}

/// Reads all change sets; `None` if there is none.
fn load(database: &Database) -> Result<Option<SavedState>, StoreError> {
    let transaction = database.begin_read().map_err(StoreError::from_database)?;
    let table = match transaction.open_table(CHANGE_SETS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(StoreError::from_database(error)),
    };
    let mut saved = SavedState::default();
    let (mut current, mut bytes) = (None, Vec::new());
    for entry in table.iter().map_err(StoreError::from_database)? {
        let (key, part) = entry.map_err(StoreError::from_database)?;
        let (change_set_idx, _) = key.value();
        if current.is_some_and(|current| current != change_set_idx) {
            saved.apply(encoding::decode(&bytes)?)?;
            bytes.clear();
        }
        current = Some(change_set_idx);
        bytes.extend_from_slice(part.value());
    }
    if current.is_none() {
        return Ok(None);
    }
    saved.apply(encoding::decode(&bytes)?)?;
    Ok(Some(saved))
}
