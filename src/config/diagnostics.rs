//! Config errors: their format, and the collector that reports all of them at once.
//!
//! An error contains the document, the line, the path, what was expected and what was found. It
//! never quotes a line of the document, and a value only through [`quote_or_redact`]: a string at
//! the wrong path may be a secret.

use std::fmt;

use super::parse::tree;
use super::parse::yaml_path::YamlPath;

/// Longest string that an error quotes, in characters. Meta's access tokens are far longer, an app
/// secret has 32 characters.
const MAX_QUOTED_CHARS: usize = 24;

/// A YAML document with the name that its errors carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedDocument {
    /// Name that the user knows: usually the path as it was given.
    pub name: String,
    /// YAML text.
    pub text: String,
}

/// An error in one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Name of the document.
    pub document: String,
    /// Line, counted from 1; `None` if it is unknown.
    pub line: Option<usize>,
    /// Path such as `businesses[0].campaigns[1].id`; empty for the document as a whole.
    pub path: String,
    /// Message of the form `expected <x>, found <y>; <what to do>`.
    pub text: String,
}

impl ConfigError {
    /// Creates an error that concerns a document as a whole.
    pub fn for_document(document: &str, text: impl Into<String>) -> Self {
        Self {
            document: document.to_owned(),
            line: None,
            path: String::new(),
            text: text.into(),
        }
    }
}

/// `FILE:LINE: PATH: MESSAGE`, without the parts that are unknown.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.document)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.text)
    }
}

/// The errors of one or more documents, displayed as one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the errors, document by document.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }

    /// Returns these errors and others of the same document, sorted by line.
    pub(super) fn merged_with(&self, others: Self) -> Self {
        let mut errors = self.0.clone();
        errors.extend(others.0);
        errors.sort_by_key(|error| error.line);
        Self(errors)
    }

    /// Adds the errors of `others` at the end.
    pub fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (error_idx, error) in self.0.iter().enumerate() {
            let separator = if error_idx == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Collects the errors of one document during the checks.
pub(super) struct Diagnostics<'a> {
    document: &'a NamedDocument,
    errors: Vec<(YamlPath, String)>,
    warnings: Vec<(YamlPath, String)>,
}

impl<'a> Diagnostics<'a> {
    /// Creates a collector without errors.
    pub(super) fn new(document: &'a NamedDocument) -> Self {
        Self {
            document,
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Returns the name of the document.
    pub(super) fn document(&self) -> &str {
        &self.document.name
    }

    /// Adds an error: `expected <x>, found <y>; <what to do>`.
    pub(super) fn add(&mut self, path: &YamlPath, text: impl Into<String>) {
        self.errors.push((path.clone(), text.into()));
    }

    /// Adds a warning, which does not refuse the document.
    pub(super) fn warn(&mut self, path: &YamlPath, text: impl Into<String>) {
        self.warnings.push((path.clone(), text.into()));
    }

    /// Whether no error has been added.
    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// Returns the errors, sorted by line.
    pub(super) fn finish(self) -> ConfigErrors {
        locate(self.document, self.errors)
    }

    /// Returns the warnings, sorted by line.
    pub(super) fn take_warnings(&mut self) -> ConfigErrors {
        locate(self.document, std::mem::take(&mut self.warnings))
    }
}

/// Finds the lines of the paths. The document is parsed again, because most documents have no
/// errors.
fn locate(document: &NamedDocument, messages: Vec<(YamlPath, String)>) -> ConfigErrors {
    if messages.is_empty() {
        return ConfigErrors::default();
    }
    let root = tree::parse(&document.text).ok().flatten();
    let mut errors: Vec<ConfigError> = messages
        .into_iter()
        .map(|(path, text)| ConfigError {
            document: document.name.clone(),
            line: root.as_ref().map(|root| root.line_of(&path)),
            path: path.to_string(),
            text,
        })
        .collect();
    errors.sort_by_key(|error| error.line);
    ConfigErrors(errors)
}

/// Whether an error may show this string: it is short, printable and not a token.
///
/// Meta's access tokens begin with `EAA`.
pub(super) fn is_quotable(text: &str) -> bool {
    text.chars().count() <= MAX_QUOTED_CHARS
        && !text.starts_with("EAA")
        && !text.contains(char::is_control)
}

/// Returns a value of the document in backticks, or its length if it may be a secret.
pub(super) fn quote_or_redact(text: &str) -> String {
    if text.is_empty() {
        "an empty string".to_owned()
    } else if is_quotable(text) {
        format!("`{text}`")
    } else {
        format!("a value of {} characters", text.chars().count())
    }
}

/// Describes a string that should be one line of printable text and is not.
pub(super) fn describe_unprintable(text: &str) -> &'static str {
    if text.is_empty() {
        "an empty string"
    } else if text.trim().is_empty() {
        "only white space"
    } else {
        "control characters"
    }
}
