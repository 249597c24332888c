//! The output file and its journal file.
//!
//! The output file is replaced atomically. Its journal has the same path with the suffix `.partial`, and exists until the
//! history is complete. A lock on the journal ensures that only one process writes either file. For standard output the
//! journal is an unlinked temporary file, which the system removes when the process ends, even after a crash.

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::state::{Journal, StoreError};

/// First bytes of every history.
const HISTORY_START: &[u8] = b"# HELP marketing_messages_";

/// Output file of a backfill.
#[derive(Clone, Debug)]
pub(super) struct OutputFile(PathBuf);

impl OutputFile {
    /// Creates the handle for a path; the file need not exist.
    ///
    /// # Errors
    /// Returns a message if the path exists but is not a regular file, such as a device, which must not be replaced.
    pub(super) fn new(path: &Path) -> Result<Self, String> {
        // For a symbolic link, the target is replaced, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        match fs::metadata(&path) {
            Ok(metadata) if !metadata.is_file() => Err(format!(
                "--output.file={}: expected a regular file; omit the flag to write to standard output",
                path.display()
            )),
            Ok(metadata) if metadata.len() > 0 && !is_history(&path) => Err(format!(
                "--output.file={}: the file exists and was not written by `backfill`; choose another name, or remove the file",
                path.display()
            )),
            _ => Ok(Self(path)),
        }
    }

    /// Returns the path of the journal.
    pub(super) fn journal_path(&self) -> PathBuf {
        let mut name = self.0.as_os_str().to_owned();
        name.push(".partial");
        name.into()
    }

    /// Creates a temporary file with a unique name in the same directory. It is renamed by [`OutputFile::replace`], or
    /// removed when it is dropped.
    pub(super) fn create_temp(&self) -> io::Result<NamedTempFile> {
        let mut name = self.0.file_name().unwrap_or_default().to_owned();
        name.push(".");
        // The usual permissions of a new file, to which the umask applies; the default of `tempfile` is 0600.
        let permissions = Permissions::from_mode(0o666);
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(&name).permissions(permissions);
        let directory = self.0.parent().filter(|path| *path != Path::new(""));
        builder.tempfile_in(directory.unwrap_or(Path::new(".")))
    }

    /// Replaces the output file by `temp_file`, atomically.
    ///
    /// # Errors
    /// Returns an error if the existing file has more samples, which would be lost.
    pub(super) fn replace(&self, temp_file: NamedTempFile) -> io::Result<()> {
        if self.0.exists() {
            let (existing, new) = (count_samples(&self.0)?, count_samples(temp_file.path())?);
            if existing > new {
                return Err(io::Error::other(format!(
                    "the existing file has {existing} samples, and the new history only {new}; choose another name, or remove the file"
                )));
            }
        }
        temp_file.as_file().sync_all()?;
        temp_file.persist(&self.0)?;
        Ok(())
    }

    /// Removes the journal, if it exists.
    pub(super) fn remove_journal(&self) -> io::Result<()> {
        match fs::remove_file(self.journal_path()) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

/// Whether a file starts like a history: with the HELP text of a metric of the exporter, or, without samples, with the
/// end mark of OpenMetrics.
fn is_history(path: &Path) -> bool {
    let mut start = Vec::new();
    let limit = HISTORY_START.len() as u64;
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut start));
    read.is_ok() && (start == HISTORY_START || start == b"# EOF\n")
}

/// Returns the number of lines that are not comments.
fn count_samples(path: &Path) -> io::Result<usize> {
    let lines = BufReader::new(File::open(path)?).split(b'\n');
    let mut count = 0;
    for line in lines {
        count += usize::from(!line?.starts_with(b"#"));
    }
    Ok(count)
}

impl std::fmt::Display for OutputFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.display().fmt(f)
    }
}

/// Opens the journal of the output file if it exists and has the same parameters, else creates one. A journal is
/// created only if `may_create` is `Ok`.
///
/// # Errors
/// Returns a message with the remedy if the journal cannot be opened or created, is in use, or has other parameters.
pub(super) fn open_journal(
    output: Option<&OutputFile>,
    parameters: Vec<String>,
    may_create: Result<(), String>,
) -> Result<Journal, String> {
    let Some(output) = output else {
        may_create?;
        return create_temp_journal(parameters).map_err(|error| {
            format!(
                "cannot create a temporary file in {}: {error}; set TMPDIR to another directory, or use --output.file",
                std::env::temp_dir().display()
            )
        });
    };
    let path = output.journal_path();
    let shown = path.display();
    let error_text = |error: StoreError| match error {
        StoreError::Io(error) => format!("{shown}: {error}"),
        StoreError::Locked => {
            format!("{shown}: {error}; wait until it ends, or use another --output.file")
        }
        _ => format!("{shown}: {error}; remove the file, or use another --output.file"),
    };
    if !path.exists() {
        // `Journal::lock` creates the file.
        may_create.clone()?;
    }
    let file = Journal::lock(&path).map_err(error_text)?;
    let create = |parameters| {
        may_create.clone()?;
        let file = file.try_clone();
        let journal = file.map_err(StoreError::from);
        let journal = journal.and_then(|file| Journal::create(file, true, parameters));
        journal.map_err(error_text)
    };
    match Journal::open(&file).map_err(error_text)? {
        Some(journal) => match difference(journal.parameters(), &parameters) {
            None => Ok(journal),
            // A journal without responses can be replaced without loss.
            Some(_) if journal.is_empty() => {
                // Closing the database writes to the file.
                drop(journal);
                create(parameters)
            }
            Some(difference) => Err(format!(
                "{shown}: the journal was created with other parameters: {difference}; repeat the original command, remove the file, or use another --output.file"
            )),
        },
        None => create(parameters),
    }
}

/// Creates a journal in an unlinked temporary file.
fn create_temp_journal(parameters: Vec<String>) -> Result<Journal, StoreError> {
    Journal::create(tempfile::tempfile()?, false, parameters)
}

/// Describes the first difference between two lists of journal parameters; `None` if they are equal.
fn difference(old: &[String], new: &[String]) -> Option<String> {
    let removed = old.iter().find(|line| !new.contains(line));
    let added = new.iter().find(|line| !old.contains(line));
    match (removed, added) {
        (None, None) if old == new => None,
        (None, None) => Some("the same lines in a different order".to_owned()),
        (Some(old), Some(new)) => Some(format!("previously \"{old}\", now \"{new}\"")),
        (Some(old), None) => Some(format!("previously \"{old}\", now absent")),
        (None, Some(new)) => Some(format!("now \"{new}\", previously absent")),
    }
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn parameter_difference_names_the_line() {
        let lines = |lines: &[&str]| {
            let lines = lines.iter().map(|line| (*line).to_owned());
            lines.collect::<Vec<_>>()
        };
        let old = lines(&["days a", "level campaign"]);
        assert_eq!(difference(&old, &old), None);
        for (new, expected) in [
            (
                &["days b", "level campaign"][..],
                "previously \"days a\", now \"days b\"",
            ),
            (&["days a"], "previously \"level campaign\", now absent"),
            (
                &["days a", "level campaign", "source b"],
                "now \"source b\", previously absent",
            ),
            (
                &["level campaign", "days a"],
                "the same lines in a different order",
            ),
        ] {
            assert_eq!(difference(&old, &lines(new)).unwrap(), expected, "{new:?}");
        }
    }
}
