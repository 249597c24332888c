//! The path of a value in a YAML document, such as `businesses[0].campaigns[1].id`.
//!
//! The checks extend it on the way down; an error displays it, and the tree follows it to find the
//! line. Keys that come from the document are redacted like values.

use std::borrow::Cow;
use std::fmt;

use crate::config::diagnostics::is_quotable;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum PathStep {
    /// A key of a mapping.
    Key(Cow<'static, str>),
    /// An item of a list, counted from 0.
    Index(usize),
    /// The second occurrence of a key in a mapping.
    DuplicateKey(String),
}

/// The steps from the root of a document to a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::config) struct YamlPath(Vec<PathStep>);

impl YamlPath {
    /// Returns the path of the document as a whole.
    pub(in crate::config) fn root() -> Self {
        Self::default()
    }

    /// Returns the path of the value of a key.
    pub(in crate::config) fn key(&self, key: impl Into<Cow<'static, str>>) -> Self {
        self.join(PathStep::Key(key.into()))
    }

    /// Returns the path of an item of a list.
    pub(in crate::config) fn index(&self, index: usize) -> Self {
        self.join(PathStep::Index(index))
    }

    /// Returns the path with one more step.
    pub(in crate::config) fn join(&self, step: PathStep) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// Whether this is the path of the document as a whole.
    pub(in crate::config) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Parses a path such as `businesses[0].labels`; `.` and an empty string are the root.
    pub(in crate::config) fn parse(path: &str) -> Self {
        let mut steps = Vec::new();
        for part in path.split('.').filter(|part| !part.is_empty()) {
            let (key, indices) = part.split_once('[').unwrap_or((part, ""));
            if !key.is_empty() {
                steps.push(PathStep::Key(Cow::Owned(key.to_owned())));
            }
            for index in indices.split(['[', ']']) {
                steps.extend(index.parse().map(PathStep::Index));
            }
        }
        Self(steps)
    }

    /// Returns the steps, from the root down.
    pub(in crate::config) fn steps(&self) -> &[PathStep] {
        &self.0
    }
}

impl fmt::Display for YamlPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (step_idx, step) in self.0.iter().enumerate() {
            let separator = if step_idx == 0 { "" } else { "." };
            match step {
                PathStep::Index(index) => write!(f, "[{index}]")?,
                // Keys that are part of the program are never secret.
                PathStep::Key(Cow::Borrowed(key)) => write!(f, "{separator}{key}")?,
                PathStep::Key(Cow::Owned(key)) | PathStep::DuplicateKey(key)
                    if is_quotable(key) =>
                {
                    write!(f, "{separator}{key}")?;
                }
                PathStep::Key(Cow::Owned(key)) | PathStep::DuplicateKey(key) => {
                    write!(f, "{separator}<{} characters>", key.chars().count())?;
                }
            }
        }
        Ok(())
    }
}
