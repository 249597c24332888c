//! Reads the config file and the business files that it names.
//!
//! `config` parses and checks their content and does no I/O itself. The patterns in
//! `business_files` are relative to the directory of the config file. Paths of tokens, secrets and
//! certificates are not resolved here; they are relative to the working directory.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::thread;

use super::limited_read;
use crate::config::{Config, ConfigError, ConfigErrors, NamedDocument, UncheckedConfig};

/// Maximum size of a config file in bytes (64 MiB), far above any real config: bounds the memory
/// if the path is wrong, for example that of a log or a disk image.
const MAX_CONFIG_BYTES: u64 = 64 << 20;

/// Maximum number of threads that read business files.
const MAX_READER_THREADS: usize = 16;

const MISSING_CONFIG_REMEDY: &str = "set --config.file, copy config.example.yaml, or run the subcommand `demo`, which needs no config";

/// Reads and checks a config file and its business files.
///
/// # Errors
///
/// Returns all errors of all files; a single error refuses the whole config.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    ConfigFile::new(path).load_strictly()
}

/// Result of reading all files: the config without the files that are refused.
#[derive(Debug)]
pub struct LoadedConfig {
    /// Config of the main file and the valid business files.
    pub config: Config,
    /// Errors of the refused business files; empty if there are none.
    pub refused: ConfigErrors,
    /// Unusual but valid settings, such as a pattern without a match.
    pub warnings: Vec<String>,
}

impl LoadedConfig {
    /// Returns the number of refused files.
    pub fn refused_files(&self) -> usize {
        let documents = self.refused.iter().map(|error| error.document.as_str());
        documents.collect::<BTreeSet<_>>().len()
    }
}

/// Reads and checks a config file that may have businesses without sources, and its business files.
///
/// # Errors
///
/// Returns all errors of all files.
pub fn load_without_sources(path: &Path) -> Result<Config, ConfigErrors> {
    let file = ConfigFile::new(path);
    let unchecked = file.parse_main(file.read_main()?)?.with_optional_sources();
    let files = file.read_business_files(&unchecked);
    let unchecked = unchecked.with_unmatched_patterns(&files.unmatched_patterns);
    let mut errors = files.invalid_patterns;
    errors.append(files.refused);
    match unchecked.check(&files.documents) {
        Ok(config) if errors.is_empty() => Ok(config),
        Ok(_) => Err(errors),
        Err(check_errors) => {
            errors.append(check_errors);
            Err(errors)
        }
    }
}

/// A config file that is read at the start and at every reload.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    path: PathBuf,
    /// The last valid version of each business file.
    last_good: Vec<NamedDocument>,
    /// Hash of what the last load has read; `None` before the first one.
    last_checksum: Option<u64>,
    /// Users of the web config, which those of businesses must agree with; `None`: not compared.
    web_config_users: Option<BTreeSet<String>>,
}

/// Content of the business files.
#[derive(Default)]
struct BusinessFiles {
    documents: Vec<NamedDocument>,
    /// Errors of files that cannot be read.
    refused: ConfigErrors,
    /// Errors of patterns, which belong to the main file.
    invalid_patterns: ConfigErrors,
    /// Folders that cannot be read, so that their files are unknown.
    unreadable_folders: Vec<PathBuf>,
    /// Description of each pattern that matches no file.
    unmatched_patterns: Vec<String>,
}

/// Content of all files.
struct ReadFiles {
    main: Result<NamedDocument, ConfigErrors>,
    /// `None` if the main file is invalid, so that the business files are unknown.
    business_files: Option<BusinessFiles>,
}

/// Returns a hash of the content of all files.
fn checksum(read: &ReadFiles) -> u64 {
    let mut hasher = DefaultHasher::new();
    match &read.main {
        Ok(document) => document.text.hash(&mut hasher),
        Err(errors) => errors.to_string().hash(&mut hasher),
    }
    if let Some(files) = &read.business_files {
        for document in &files.documents {
            document.name.hash(&mut hasher);
            document.text.hash(&mut hasher);
        }
        files.refused.to_string().hash(&mut hasher);
    }
    hasher.finish()
}

impl ConfigFile {
    /// Creates a handle; reads nothing.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            last_good: Vec::new(),
            last_checksum: None,
            web_config_users: None,
        }
    }

    /// Sets the users of the web config, with which the next loads compare those of the businesses.
    pub fn set_web_config_users(&mut self, names: BTreeSet<String>) {
        self.web_config_users = Some(names);
    }

    /// Returns the users of the web config that the last load has compared; `None`: none were.
    pub fn web_config_users(&self) -> Option<&BTreeSet<String>> {
        self.web_config_users.as_ref()
    }

    /// Reads all files, and refuses the config if one of them is invalid.
    ///
    /// # Errors
    ///
    /// Returns all errors of all files.
    pub fn load_strictly(&mut self) -> Result<Config, ConfigErrors> {
        let unchecked = self.parse_main(self.read_main()?)?;
        let files = self.read_business_files(&unchecked);
        let unchecked = unchecked.with_unmatched_patterns(&files.unmatched_patterns);
        let mut errors = files.invalid_patterns;
        errors.append(files.refused);
        match unchecked.check(&files.documents) {
            Ok(config) if errors.is_empty() => {
                self.last_good = files.documents;
                Ok(config)
            }
            Ok(_) => Err(errors),
            Err(check_errors) => {
                errors.append(check_errors);
                Err(errors)
            }
        }
    }

    /// Reads all files and returns the config without the business files that are refused.
    ///
    /// The last valid version of a refused business file stays in force, if this file was read before.
    ///
    /// # Errors
    ///
    /// Returns all errors if the main file is invalid or no business is left. The caller should
    /// keep its previous config.
    pub fn load(&mut self) -> Result<LoadedConfig, ConfigErrors> {
        let read = self.read();
        self.last_checksum = Some(checksum(&read));
        let main = read.main?;
        let (unchecked, mut files) = match read.business_files {
            Some(files) => (self.parse_main(main)?, files),
            None => return Err(UncheckedConfig::parse(main).err().unwrap_or_default()),
        };
        let unchecked = unchecked.with_unmatched_patterns(&files.unmatched_patterns);
        // Files that exist but cannot be read are treated as invalid files.
        let is_unknown = |name: &str| {
            let is_refused = files.refused.iter().any(|error| error.document == name);
            let mut folders = files.unreadable_folders.iter();
            is_refused || folders.any(|folder| Path::new(name).starts_with(folder))
        };
        let kept: Vec<NamedDocument> = self
            .last_good
            .iter()
            .filter(|last| is_unknown(&last.name))
            .cloned()
            .collect();
        let current = files.documents.clone();
        files.documents.extend(kept);
        files.documents.sort_by(|a, b| a.name.cmp(&b.name));
        files.documents.dedup_by(|a, b| a.name == b.name);
        let checked = if files.invalid_patterns.is_empty() {
            unchecked.check_partially(&files.documents, &self.last_good)
        } else {
            Err(ConfigErrors::default())
        };
        match checked {
            Ok(partial) => {
                self.last_good = partial.good;
                let mut refused = files.refused;
                refused.append(partial.refused);
                let name = self.name();
                let warnings = files
                    .unmatched_patterns
                    .iter()
                    .map(|pattern| format!("{name}: business_files: {pattern}; check the path"));
                Ok(LoadedConfig {
                    config: partial.config,
                    refused,
                    warnings: warnings.collect(),
                })
            }
            Err(partial_errors) => {
                let mut errors = files.invalid_patterns;
                errors.append(files.refused);
                // All errors of all files, the main one included.
                match unchecked.check(&current) {
                    Err(check_errors) => errors.append(check_errors),
                    Ok(_) => errors.append(partial_errors),
                }
                Err(errors)
            }
        }
    }

    /// Returns whether the content of the files differs from what the last load has read. Files that
    /// cannot be read count with their error.
    pub fn has_changed(&self) -> bool {
        Some(checksum(&self.read())) != self.last_checksum
    }

    /// Parses a main file, in which variables of the environment are expanded.
    fn parse_main(&self, main: NamedDocument) -> Result<UncheckedConfig, ConfigErrors> {
        let unchecked = UncheckedConfig::parse(main)?
            .with_variables(|name| std::env::var(name).ok())
            .with_web_config_users(self.web_config_users.clone());
        Ok(unchecked)
    }

    fn read(&self) -> ReadFiles {
        let main = self.read_main();
        let unchecked = main.as_ref().ok().cloned().map(UncheckedConfig::parse);
        let business_files = match unchecked {
            Some(Ok(unchecked)) => Some(self.read_business_files(&unchecked)),
            _ => None,
        };
        ReadFiles {
            main,
            business_files,
        }
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn read_main(&self) -> Result<NamedDocument, ConfigErrors> {
        read_document(&self.path).map_err(|error| {
            let text = if error.contains("UTF-8") {
                format!("{error}; save the file as UTF-8")
            } else if self.path.exists() {
                format!("{error}; make the file readable for this user")
            } else {
                format!("{error}; {MISSING_CONFIG_REMEDY}")
            };
            ConfigError::for_document(&self.name(), text).into()
        })
    }

    /// Reads every file that a pattern matches once, sorted by path.
    fn read_business_files(&self, unchecked: &UncheckedConfig) -> BusinessFiles {
        let mut files = BusinessFiles::default();
        let mut paths = BTreeSet::new();
        for pattern in unchecked.business_files() {
            match self.expand(pattern) {
                Ok(matches) if matches.is_empty() => {
                    let folder = base_folder(&self.path.with_file_name(pattern));
                    let folder = if folder.as_os_str().is_empty() {
                        ".".to_owned()
                    } else {
                        folder.display().to_string()
                    };
                    let text = format!("no file in the directory {folder} matches `{pattern}`");
                    files.unmatched_patterns.push(text);
                }
                Ok(matches) => paths.extend(matches),
                Err(ExpandError::Pattern(text)) => files.invalid_patterns.append(
                    ConfigError {
                        document: self.name(),
                        line: None,
                        path: "business_files".to_owned(),
                        text,
                    }
                    .into(),
                ),
                Err(ExpandError::Folder(folder, problem)) => {
                    let name = folder.display().to_string();
                    let text = format!("folder cannot be read: {problem}; make it readable");
                    files
                        .refused
                        .append(ConfigError::for_document(&name, text).into());
                    files.unreadable_folders.push(folder);
                }
            }
        }
        let paths: Vec<PathBuf> = paths.into_iter().collect();
        for (path, document) in paths.iter().zip(read_documents(&paths)) {
            match document {
                Ok(document) => files.documents.push(document),
                Err(error) => {
                    let name = path.display().to_string();
                    let text = format!(
                        "{error}; make the file readable, or change business_files so that it does not match"
                    );
                    files
                        .refused
                        .append(ConfigError::for_document(&name, text).into());
                }
            }
        }
        files
    }

    /// Returns the paths that a pattern matches, without dot files, which are often temporary files of
    /// an editor. A path without wildcards is returned as it is, so that a missing file is an error
    /// when it is read.
    fn expand(&self, pattern: &str) -> Result<Vec<PathBuf>, ExpandError> {
        if !pattern.contains(['*', '?', '[']) {
            return Ok(vec![self.path.with_file_name(pattern)]);
        }
        let directory = self
            .path
            .parent()
            .unwrap_or(Path::new(""))
            .to_string_lossy();
        let full_pattern = if Path::new(pattern).is_absolute() || directory.is_empty() {
            pattern.to_owned()
        } else {
            // The directory is literal, even if its name contains wildcard characters.
            format!("{}/{pattern}", glob::Pattern::escape(&directory))
        };
        let base = base_folder(Path::new(&full_pattern));
        let matches = limited_read::run_limited(move || {
            let options = glob::MatchOptions {
                require_literal_leading_dot: true,
                ..glob::MatchOptions::default()
            };
            let matches = glob::glob_with(&full_pattern, options).map_err(|error| {
                ExpandError::Pattern(format!(
                    "expected a glob pattern such as conf.d/*.yaml, found an invalid one: {}",
                    error.msg
                ))
            })?;
            matches
                .collect::<Result<Vec<PathBuf>, _>>()
                .map_err(|error| {
                    ExpandError::Folder(
                        error.path().to_owned(),
                        limited_read::describe_error(error.error()),
                    )
                })
        });
        matches.unwrap_or_else(|error| {
            Err(ExpandError::Folder(
                base,
                limited_read::describe_error(&error),
            ))
        })
    }
}

/// Error of a pattern in `business_files`.
enum ExpandError {
    /// The pattern is invalid.
    Pattern(String),
    /// A folder cannot be read, for this reason.
    Folder(PathBuf, String),
}

/// Returns the part of a pattern before its first component with a wildcard.
fn base_folder(pattern: &Path) -> PathBuf {
    let literal = pattern
        .components()
        .take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']));
    literal.collect()
}

/// Reads documents with several threads, so that files that hang delay the others only once.
fn read_documents(paths: &[PathBuf]) -> Vec<Result<NamedDocument, String>> {
    let chunk_length = paths.len().div_ceil(MAX_READER_THREADS).max(1);
    thread::scope(|scope| {
        let readers: Vec<_> = paths
            .chunks(chunk_length)
            .map(|chunk| {
                let read = || {
                    let documents = chunk.iter().map(|path| read_document(path));
                    documents.collect::<Vec<_>>()
                };
                (chunk.len(), scope.spawn(read))
            })
            .collect();
        let mut documents = Vec::with_capacity(paths.len());
        for (length, reader) in readers {
            match reader.join() {
                Ok(chunk) => documents.extend(chunk),
                Err(_) => {
                    documents.extend((0..length).map(|_| Err("reading panicked".to_owned())));
                }
            }
        }
        documents
    })
}

fn read_document(path: &Path) -> Result<NamedDocument, String> {
    // One byte more shows that the file is too large.
    let text = limited_read::read_text(path, MAX_CONFIG_BYTES)?;
    let name = path.display().to_string();
    Ok(NamedDocument { name, text })
}
