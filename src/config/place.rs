//! Where in a document something stands: the path of a complaint.
//!
//! A place is built on the way down by the checks, shown in the complaint and walked again to
//! find its line. Keys that the owner made up are shown with the same care as values.

use std::borrow::Cow;
use std::fmt;

use super::complaint::shown;

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Into a mapping.
    Key(Cow<'static, str>),
    /// Into a list, counted from 0.
    Index(usize),
    /// Into a mapping, to the second time that the key is given.
    Again(String),
}

/// The steps from the top of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place(Vec<Step>);

impl Place {
    /// The document as a whole.
    pub(super) fn top() -> Self {
        Self::default()
    }

    /// What stands under a key.
    pub(super) fn key(&self, key: impl Into<Cow<'static, str>>) -> Self {
        self.then(Step::Key(key.into()))
    }

    /// An item of a list.
    pub(super) fn index(&self, index: usize) -> Self {
        self.then(Step::Index(index))
    }

    /// One more step.
    pub(super) fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// Reads the YAML reader's spelling of a path, such as `businesses[0].labels`; `.` and an
    /// empty text are the top.
    pub(super) fn parse(path: &str) -> Self {
        let mut steps = Vec::new();
        for part in path.split('.').filter(|part| !part.is_empty()) {
            let (key, indices) = part.split_once('[').unwrap_or((part, ""));
            if !key.is_empty() {
                steps.push(Step::Key(Cow::Owned(key.to_owned())));
            }
            for index in indices.split(['[', ']']) {
                steps.extend(index.parse().map(Step::Index));
            }
        }
        Self(steps)
    }

    /// From the top down.
    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(number) => write!(f, "[{number}]")?,
                Step::Key(_) | Step::Again(_) if index > 0 => f.write_str(".")?,
                Step::Key(_) | Step::Again(_) => {}
            }
            match step {
                Step::Key(Cow::Borrowed(key)) => f.write_str(key)?,
                Step::Key(Cow::Owned(key)) | Step::Again(key) => {
                    f.write_str(shown(key).trim_matches('`'))?;
                }
                Step::Index(_) => {}
            }
        }
        Ok(())
    }
}
