//! Reads files with a limit of time: a network file system can block a read forever.
//!
//! Each read has a separate thread, because a blocked system call cannot be cancelled. A file with a
//! pending read is not read again until that has returned, so that a file that hangs costs one
//! thread.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Maximum duration of a read.
pub const FILE_READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Files of which a read has exceeded the limit and not returned.
static HANGING_FILES: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

fn hanging_files() -> MutexGuard<'static, HashSet<PathBuf>> {
    HANGING_FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads at most `max_bytes` of a file. Blocks for at most [`FILE_READ_TIMEOUT`].
///
/// # Errors
/// Returns `TimedOut` if the file system does not respond, or the error of the operating system.
pub fn read_file(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    if hanging_files().contains(path) {
        return Err(timed_out());
    }
    let (sender, receiver) = sync_channel(1);
    let owned_path = path.to_owned();
    thread::Builder::new()
        .name("file".to_owned())
        .spawn(move || {
            let mut bytes = Vec::new();
            let read = File::open(&owned_path)
                .and_then(|file| file.take(max_bytes).read_to_end(&mut bytes))
                .map(|_| bytes);
            // Fails if the caller has given up; then the file can be read again.
            if sender.send(read).is_err() {
                hanging_files().remove(&owned_path);
            }
        })?;
    match receiver.recv_timeout(FILE_READ_TIMEOUT) {
        Ok(read) => read,
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("reading the file panicked")),
        Err(RecvTimeoutError::Timeout) => {
            hanging_files().insert(path.to_owned());
            // The read may have ended between the timeout and the insertion.
            match receiver.try_recv() {
                Ok(read) => {
                    hanging_files().remove(path);
                    read
                }
                Err(_) => Err(timed_out()),
            }
        }
    }
}

/// Reads a file of at most `max_bytes`. Blocks for at most [`FILE_READ_TIMEOUT`].
///
/// # Errors
/// Returns what is wrong with the file, without its path.
pub fn read_whole(path: &Path, max_bytes: u64) -> Result<Vec<u8>, String> {
    // One byte more shows that the file is too large.
    let bytes = read_file(path, max_bytes + 1).map_err(|error| {
        format!(
            "{}{}",
            describe_error(&error),
            describe_access(path, &error)
        )
    })?;
    if bytes.len() as u64 > max_bytes {
        return Err(format!("expected at most {max_bytes} bytes, found more"));
    }
    Ok(bytes)
}

/// Reads a text of at most `max_bytes`. Blocks for at most [`FILE_READ_TIMEOUT`].
///
/// # Errors
/// Returns what is wrong with the file, without its path.
pub fn read_text(path: &Path, max_bytes: u64) -> Result<String, String> {
    String::from_utf8(read_whole(path, max_bytes)?)
        .map_err(|_| "expected UTF-8 text, found other bytes".to_owned())
}

/// Returns a short text for the most common errors, without the `(os error 2)` of the standard library.
pub fn describe_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "file not found".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "expected a file, found a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// Returns owner and mode of a file that must not be read, and the user of this process; an empty text for other errors.
pub fn describe_access(path: &Path, error: &io::Error) -> String {
    use std::os::unix::fs::MetadataExt;

    if error.kind() != io::ErrorKind::PermissionDenied {
        return String::new();
    }
    let user = rustix::process::getuid().as_raw();
    match std::fs::metadata(path) {
        Ok(metadata) => format!(
            " (owner {}, mode {:03o}; the exporter runs as user {user})",
            metadata.uid(),
            metadata.mode() & 0o7777
        ),
        // A folder above the file denies access.
        Err(_) => format!(" (the exporter runs as user {user})"),
    }
}

/// Runs other blocking work on files. Blocks for at most [`FILE_READ_TIMEOUT`].
///
/// # Errors
/// Returns `TimedOut` if the file system does not respond.
pub fn run_limited<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (sender, receiver) = sync_channel(1);
    thread::Builder::new()
        .name("file".to_owned())
        .spawn(move || {
            // Fails if the caller has given up.
            let _ = sender.send(work());
        })?;
    receiver
        .recv_timeout(FILE_READ_TIMEOUT)
        .map_err(|_| timed_out())
}

fn timed_out() -> io::Error {
    let text = format!(
        "no response of the file system within {} s",
        FILE_READ_TIMEOUT.as_secs()
    );
    io::Error::new(io::ErrorKind::TimedOut, text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{ErrorKind, Write};
    use std::process::Command;

    use super::{describe_access, read_file};

    #[test]
    fn denied_file_is_described_with_owner_mode_and_user() {
        use std::os::unix::fs::PermissionsExt;

        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap();
        // The tests can run as root, which may read every file.
        let user = rustix::process::getuid().as_raw();
        let expected = format!(" (owner {user}, mode 640; the exporter runs as user {user})");
        assert_eq!(
            describe_access(path, &ErrorKind::PermissionDenied.into()),
            expected
        );
        assert_eq!(describe_access(path, &ErrorKind::NotFound.into()), "");
    }

    #[test]
    fn file_that_hangs_is_an_error_until_it_responds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        assert!(
            Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        for _ in 0..2 {
            let error = read_file(&path, 10).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        }
        // The pending read ends when a writer opens the pipe.
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .write_all(b"x")
            .unwrap();
        while super::hanging_files().contains(&path) {
            std::thread::yield_now();
        }
        fs::remove_file(&path).unwrap();
        fs::write(&path, "content").unwrap();
        assert_eq!(read_file(&path, 4).unwrap(), b"cont");
    }
}
