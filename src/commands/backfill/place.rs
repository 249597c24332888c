//! Where the history goes, and where its journal stands meanwhile.
//!
//! The file is replaced as a whole or not at all. Its journal stands beside it under the same name
//! and `.partial`, until nothing is missing any more; whoever holds it is the only one that writes
//! either. For standard output the journal is a file without a name, which is gone with the
//! process, however that ends.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::state::{Journal, Unusable};

/// The file that the history is written to.
#[derive(Clone, Debug)]
pub(super) struct Place(PathBuf);

impl Place {
    /// The file of that path, which need not be there yet.
    ///
    /// # Errors
    /// Where something stands there that must not be replaced.
    pub(super) fn new(path: &Path) -> Result<Self, String> {
        // A link stays a link: what it points to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        match fs::metadata(&path) {
            Ok(found) if !found.is_file() => Err(format!(
                "--output.file={}: it must be an ordinary file; without this flag the history goes to standard output",
                path.display()
            )),
            _ => Ok(Self(path)),
        }
    }

    /// The journal's path.
    pub(super) fn journal(&self) -> PathBuf {
        let mut name = self.0.as_os_str().to_owned();
        name.push(".partial");
        name.into()
    }

    /// A file to write, which [`Place::replace`] puts in place; without that it is gone again. It
    /// stands in the same folder, under a name that nothing else has.
    pub(super) fn begin(&self) -> io::Result<NamedTempFile> {
        let mut name = self.0.file_name().unwrap_or_default().to_owned();
        name.push(".");
        // As of any new file: what the user's umask leaves of it.
        let permissions = Permissions::from_mode(0o666);
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(&name).permissions(permissions);
        let folder = self.0.parent().filter(|folder| *folder != Path::new(""));
        builder.tempfile_in(folder.unwrap_or(Path::new(".")))
    }

    /// Puts what was written in place of what stood there.
    pub(super) fn replace(&self, written: NamedTempFile) -> io::Result<()> {
        written.as_file().sync_all()?;
        written.persist(&self.0)?;
        Ok(())
    }

    /// Removes the journal: there is nothing left to ask.
    pub(super) fn complete(&self) -> io::Result<()> {
        match fs::remove_file(self.journal()) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.display().fmt(f)
    }
}

/// The journal of that question: the one beside the file, where one was left, or a new one, unless
/// something keeps it from beginning.
///
/// # Errors
/// A sentence on what stands in the way, and the remedy.
pub(super) fn journal(
    place: Option<&Place>,
    question: Vec<String>,
    may_begin: Result<(), String>,
) -> Result<Journal, String> {
    let Some(place) = place else {
        may_begin?;
        return spool(question).map_err(|error| {
            format!(
                "no temporary file in {}: {error}; name another folder by TMPDIR, or write to --output.file",
                std::env::temp_dir().display()
            )
        });
    };
    let path = place.journal();
    let shown = path.display();
    let unusable = |why: Unusable| match why {
        Unusable::Io(error) => format!("{shown}: {error}"),
        Unusable::Held => {
            format!("{shown}: {why}; wait until it ends, or write to another --output.file")
        }
        _ => format!("{shown}: {why}; remove it, or write to another --output.file"),
    };
    if !path.exists() {
        // Before a file is made.
        may_begin.clone()?;
    }
    let file = Journal::hold(&path).map_err(unusable)?;
    let anew = |question| {
        may_begin.clone()?;
        let file = file.try_clone();
        let begun = file.and_then(|file| Journal::begin(file, true, question));
        begun.map_err(|error| unusable(error.into()))
    };
    match Journal::open(&file).map_err(unusable)? {
        Some(journal) => match difference(journal.question(), &question) {
            None => Ok(journal),
            // There is nothing in it to lose.
            Some(_) if journal.is_empty() => anew(question),
            Some(differs) => Err(format!(
                "{shown}: it belongs to another question: {differs}. Ask the same again, remove that file, or write to another --output.file"
            )),
        },
        None => anew(question),
    }
}

/// A journal that nobody else can see.
fn spool(question: Vec<String>) -> io::Result<Journal> {
    Journal::begin(tempfile::tempfile()?, false, question)
}

/// The first line of either question that is not in the other.
fn difference(old: &[String], new: &[String]) -> Option<String> {
    let lacks = |all: &[String], line: &String| !all.contains(line);
    let gone = old.iter().find(|line| lacks(new, line));
    let came = new.iter().find(|line| lacks(old, line));
    match (gone, came) {
        (None, None) if old == new => None,
        (None, None) => Some("the same in another order".to_owned()),
        (Some(old), Some(new)) => Some(format!("then \"{old}\", now \"{new}\"")),
        (Some(old), None) => Some(format!("then \"{old}\", now nothing of the kind")),
        (None, Some(new)) => Some(format!("now \"{new}\", then nothing of the kind")),
    }
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn what_differs_is_named() {
        let lines = |all: &[&str]| {
            all.iter()
                .map(|line| (*line).to_owned())
                .collect::<Vec<_>>()
        };
        let old = lines(&["days a", "level campaign"]);
        assert_eq!(difference(&old, &old), None);
        let told = |new: &[&str]| difference(&old, &lines(new)).unwrap();
        assert_eq!(
            told(&["days b", "level campaign"]),
            "then \"days a\", now \"days b\""
        );
        assert_eq!(
            told(&["days a"]),
            "then \"level campaign\", now nothing of the kind"
        );
        assert_eq!(
            told(&["days a", "level campaign", "source b"]),
            "now \"source b\", then nothing of the kind"
        );
        assert_eq!(
            told(&["level campaign", "days a"]),
            "the same in another order"
        );
    }
}
