//! File of a store: recognition, lock, and the access of the database to it.
//!
//! The file begins with a page that names its kind and layout; the database of redb follows. Therefore a file of
//! another program, even another database of redb, is recognized before anything is written to it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::backends::InMemoryBackend;
use redb::{Builder, Database, StorageBackend};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::StoreError;

/// Length of the page before the database, in bytes. One page of the database, so that its pages stay aligned.
const HEADER_BYTES: u64 = 4096;

/// Start of the header line of all kinds.
const MAGIC: &str = "marketing-messages-exporter ";

/// Cache of the database in bytes: pages of one transaction are written together if they fit.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Kind and layout of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoreKind {
    /// Word in the header line.
    pub(super) name: &'static str,
    /// Name in error messages.
    pub(super) shown: &'static str,
    /// Number of the layout.
    pub(super) layout: u32,
}

impl StoreKind {
    fn magic(self) -> String {
        format!("{MAGIC}{} ", self.name)
    }

    fn header(self) -> Vec<u8> {
        let mut header = format!("{}{}\n", self.magic(), self.layout).into_bytes();
        header.resize(HEADER_BYTES.try_into().unwrap_or(usize::MAX), 0);
        header
    }

    /// Checks the start of a file. Returns whether it is empty or ends with the header.
    fn check_header(self, start: &[u8], length: u64) -> Result<bool, StoreError> {
        if length == 0 {
            return Ok(true);
        }
        let rest = start.strip_prefix(self.magic().as_bytes());
        let rest = rest.ok_or(StoreError::Foreign(self.shown))?;
        let line = rest.split(|byte| *byte == b'\n').next();
        let layout = line.and_then(|line| std::str::from_utf8(line).ok()?.parse().ok());
        match layout {
            Some(layout) if layout == self.layout => Ok(length <= HEADER_BYTES),
            Some(layout) if rest.contains(&b'\n') => Err(StoreError::Layout {
                expected: self.layout,
                found: layout,
            }),
            _ => Err(StoreError::damaged("the header is incomplete")),
        }
    }
}

/// Operations on a file, counted.
#[derive(Debug, Default)]
pub struct IoActivity {
    /// Started and finished operations: odd while one is running.
    steps: AtomicU64,
    bytes_written: AtomicU64,
}

impl IoActivity {
    /// Returns a number that stays the same while an operation hangs; `None` if no operation is running.
    pub fn running_operation(&self) -> Option<u64> {
        Some(self.steps.load(Ordering::Relaxed)).filter(|steps| steps % 2 == 1)
    }

    /// Returns the number of bytes written.
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written.load(Ordering::Relaxed)
    }

    /// Runs an operation that can hang.
    pub fn run<T>(&self, operation: impl FnOnce() -> T) -> T {
        self.steps.fetch_add(1, Ordering::Relaxed);
        let result = operation();
        self.steps.fetch_add(1, Ordering::Relaxed);
        result
    }
}

/// Opens a file and locks it until all its handles are closed. Creates it with mode 0600 if it does not exist; does not
/// read or change its content.
pub(super) fn lock(path: &Path, kind: StoreKind) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600);
    loop {
        // Checked before opening: opening a named pipe blocks until its other end is opened.
        match fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() => return Err(StoreError::Foreign(kind.shown)),
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let file = options.open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(StoreError::Locked),
            locked => locked.map_err(io::Error::from)?,
        }
        // The previous owner of the lock can have removed the file: then the path is opened again.
        let locked = file.metadata()?;
        match fs::metadata(path) {
            Ok(current) if (current.dev(), current.ino()) == (locked.dev(), locked.ino()) => {
                return Ok(file);
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
}

/// Checks the header of a locked file; writes one if the file is empty. Returns whether the file has no database yet.
pub(super) fn prepare(file: &File, kind: StoreKind) -> Result<bool, StoreError> {
    let mut start = vec![0; HEADER_BYTES.try_into().unwrap_or(usize::MAX)];
    let mut read = 0;
    while read < start.len() {
        match file.read_at(&mut start[read..], read as u64) {
            Ok(0) => break,
            Ok(length) => read += length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let is_new = kind.check_header(&start[..read], file.metadata()?.len())?;
    if is_new {
        file.write_all_at(&kind.header(), 0)?;
        file.sync_all()?;
    }
    // The names of businesses and campaigns in it are confidential. Fails if the file belongs to another user.
    let _ = file.set_permissions(fs::Permissions::from_mode(0o600));
    Ok(is_new)
}

/// Removes the content of a locked file.
pub(super) fn clear(file: &File, kind: StoreKind) -> Result<(), StoreError> {
    file.set_len(0)?;
    prepare(file, kind).map(|_| ())
}

/// Opens the database in a file, repairs it after a crash, and checks the checksums of all its pages.
///
/// # Errors
/// Returns an error if the file cannot be read, or cannot be repaired.
pub(super) fn open_database(backend: impl StorageBackend) -> Result<Database, StoreError> {
    // Only the result is used after a panic.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES);
        let mut database = builder.create_with_backend(backend)?;
        database.check_integrity()?;
        Ok::<_, redb::Error>(database)
    }));
    match opened {
        Ok(opened) => opened.map_err(StoreError::from_database),
        Err(_) => Err(StoreError::damaged("the database cannot be read")),
    }
}

/// Returns a backend with a copy of the database in `bytes`, the content of a file; `None` if it contains none yet.
pub(super) fn memory_backend(
    bytes: &[u8],
    kind: StoreKind,
) -> Result<Option<InMemoryBackend>, StoreError> {
    let length = bytes.len() as u64;
    if kind.check_header(bytes, length)? {
        return Ok(None);
    }
    let backend = InMemoryBackend::new();
    let database = &bytes[HEADER_BYTES.try_into().unwrap_or(usize::MAX)..];
    StorageBackend::set_len(&backend, database.len() as u64)?;
    StorageBackend::write(&backend, 0, database)?;
    Ok(Some(backend))
}

/// Renames an unusable file to `<name>.refused`, replacing an older one. Returns the new path.
///
/// # Errors
/// Returns an error if the file does not exist, is not a regular file, or cannot be renamed.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    // Renames the target of a symbolic link, not the link.
    let path = fs::canonicalize(path)?;
    if !fs::metadata(&path)?.is_file() {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "expected a regular file",
        ));
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".refused");
    fs::rename(&path, &name)?;
    Ok(name.into())
}

/// Returns at most `max_bytes` of a file without locking it.
pub(super) fn read_unlocked(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The part of a file after its header.
#[derive(Debug)]
pub(super) struct FileBackend {
    pub(super) file: File,
    /// Whether written data is synced to the disk.
    pub(super) durable: bool,
    pub(super) activity: Arc<IoActivity>,
}

impl StorageBackend for FileBackend {
    fn len(&self) -> io::Result<u64> {
        let metadata = self.activity.run(|| self.file.metadata())?;
        Ok(metadata.len().saturating_sub(HEADER_BYTES))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.activity
            .run(|| self.file.read_exact_at(out, offset + HEADER_BYTES))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.activity
            .run(|| self.file.set_len(length + HEADER_BYTES))
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.durable {
            self.activity.run(|| self.file.sync_data())
        } else {
            Ok(())
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let bytes = data.len() as u64;
        self.activity
            .bytes_written
            .fetch_add(bytes, Ordering::Relaxed);
        self.activity
            .run(|| self.file.write_all_at(data, offset + HEADER_BYTES))
    }
}
