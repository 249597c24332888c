//! The hand that reads the config: the main file, and the business files that it names.
//!
//! What stands in them is judged by `config`, which reads nothing itself. Paths of tokens,
//! secrets and certificates stay as written, relative to the working directory; the patterns
//! under `business_files` are relative to the folder of the main file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::config::{Complaint, Complaints, Config, Document, Draft};

/// Far above any real config: a wrong path (a log, a disk image) must not fill the memory.
const LARGEST: u64 = 64 << 20;

/// Reads and checks a config: one complaint refuses all of it.
pub fn load(path: &Path) -> Result<Config, Complaints> {
    ConfigFile::new(path).load()
}

/// A config file that is read again and again.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    path: PathBuf,
    last_good: Vec<Document>,
}

impl ConfigFile {
    /// Nothing is read yet.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            last_good: Vec::new(),
        }
    }

    /// Reads everything for the first time: one complaint refuses all of it.
    pub fn load(&mut self) -> Result<Config, Complaints> {
        let draft = Draft::read(self.main()?)?;
        let (documents, mut complaints) = self.business_files(&draft);
        match draft.check(&documents) {
            Ok(config) if complaints.is_empty() => {
                self.last_good = documents;
                Ok(config)
            }
            Ok(_) => Err(complaints),
            Err(found) => {
                complaints.append(found);
                Err(complaints)
            }
        }
    }

    /// Reads everything again: the config that holds from now on, and what of the business files
    /// was refused.
    ///
    /// A bad business file goes on as it was when it was last good. An error, after which the
    /// config of before should stay, only where the main file is bad or no business is left.
    pub fn reload(&mut self) -> Result<(Config, Complaints), Complaints> {
        let draft = Draft::read(self.main()?)?;
        let (mut documents, mut refused) = self.business_files(&draft);
        if refused
            .iter()
            .any(|complaint| complaint.document == self.name())
        {
            return Err(refused);
        }
        // A file that is there and cannot be read is as bad as one that makes no sense.
        for last in &self.last_good {
            if refused
                .iter()
                .any(|complaint| complaint.document == last.name)
            {
                documents.push(last.clone());
            }
        }
        documents.sort_by(|a, b| a.name.cmp(&b.name));
        match draft.check_lenient(&documents, &self.last_good) {
            Ok(lenient) => {
                self.last_good = lenient.good;
                refused.append(lenient.refused);
                Ok((lenient.config, refused))
            }
            Err(found) => {
                refused.append(found);
                Err(refused)
            }
        }
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn main(&self) -> Result<Document, Complaints> {
        read(&self.path).map_err(|trouble| {
            let remedy = "name another with --config.file, copy config.example.yaml to begin with one, or run the subcommand `demo`, which needs none";
            Complaint::about(&self.name(), format!("{trouble}; {remedy}")).into()
        })
    }

    /// Every document that the patterns find, sorted by name, each once.
    fn business_files(&self, draft: &Draft) -> (Vec<Document>, Complaints) {
        let mut complaints = Complaints::default();
        let mut paths = BTreeSet::new();
        for pattern in draft.business_files() {
            match self.expand(pattern) {
                Ok(found) => paths.extend(found),
                Err(trouble) => complaints.append(
                    Complaint {
                        document: self.name(),
                        line: None,
                        path: "business_files".to_owned(),
                        text: trouble,
                    }
                    .into(),
                ),
            }
        }
        let mut documents = Vec::new();
        for path in paths {
            match read(&path) {
                Ok(document) => documents.push(document),
                Err(trouble) => {
                    let remedy =
                        "make it readable, or narrow business_files so that it is not found";
                    let name = path.display().to_string();
                    let text = format!("{trouble}; {remedy}");
                    complaints.append(Complaint::about(&name, text).into());
                }
            }
        }
        (documents, complaints)
    }

    fn expand(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        // The folder is no pattern, whatever characters its name has.
        let folder = self
            .path
            .parent()
            .unwrap_or(Path::new(""))
            .to_string_lossy();
        let full = match Path::new(pattern).is_absolute() || folder.is_empty() {
            true => pattern.to_owned(),
            false => format!("{}/{pattern}", glob::Pattern::escape(&folder)),
        };
        if !pattern.contains(['*', '?', '[']) {
            // A file that is named must be there: reading it will tell.
            return Ok(vec![self.path.with_file_name(pattern)]);
        }
        let found = glob::glob(&full).map_err(|error| {
            format!(
                "this is no pattern: {}; write one such as conf.d/*.yaml",
                error.msg
            )
        })?;
        let found: Result<Vec<PathBuf>, _> = found.collect();
        let found = found.map_err(|error| {
            format!(
                "the folder {} cannot be read: {}; make it readable",
                error.path().display(),
                kind(error.error())
            )
        })?;
        Ok(found)
    }
}

fn read(path: &Path) -> Result<Document, String> {
    let size = fs::metadata(path).map_err(|error| kind(&error))?;
    if size.is_dir() {
        return Err("this is a folder".to_owned());
    }
    if size.len() > LARGEST {
        return Err("this is too large for a config".to_owned());
    }
    let bytes = fs::read(path).map_err(|error| kind(&error))?;
    let text = String::from_utf8(bytes).map_err(|_| "this is no text in UTF-8".to_owned())?;
    let name = path.display().to_string();
    Ok(Document { name, text })
}

/// The system's words, but for the two cases that nearly all are.
fn kind(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "this file may not be read by this user".to_owned(),
        _ => error.to_string(),
    }
}
