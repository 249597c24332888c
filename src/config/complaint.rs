//! What is wrong with a document: complaints, and the gathering of all of them at once.
//!
//! A complaint names its document, the line, the path, what is wrong and what would be right. It
//! never quotes a line of the document, and a value only where [`shown`] lets it: any text in a
//! wrong place may be a token.

use std::fmt;

use super::locate;
use super::place::Place;

/// Locating means reading the document once more: beyond so many, complaints go without a line.
const LOCATED: usize = 50;

/// A text of YAML with the name that its complaints carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// As the user knows it: usually the path as it was given.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

/// One thing that is wrong with one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The name of the document that it is about.
    pub document: String,
    /// The line, counted from 1, where it is known.
    pub line: Option<usize>,
    /// Such as `businesses[0].campaigns[1].id`; empty for the document as a whole.
    pub path: String,
    /// What is wrong; what would be right.
    pub text: String,
}

impl Complaint {
    /// Of a document as a whole: what is wrong; what would be right.
    pub fn about(document: &str, text: impl Into<String>) -> Self {
        Self {
            document: document.to_owned(),
            line: None,
            path: String::new(),
            text: text.into(),
        }
    }
}

/// `FILE:LINE: path: what is wrong; what would be right`, less what is not known.
impl fmt::Display for Complaint {
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

/// Why a config was refused: one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaints(Vec<Complaint>);

impl Complaints {
    /// Whether there is nothing to complain about.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each one, in the order of the documents.
    pub fn iter(&self) -> impl Iterator<Item = &Complaint> {
        self.0.iter()
    }

    /// Puts those of others after these.
    pub fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }
}

impl From<Complaint> for Complaints {
    fn from(complaint: Complaint) -> Self {
        Self(vec![complaint])
    }
}

impl fmt::Display for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, complaint) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n" };
            write!(f, "{gap}{complaint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Complaints {}

/// Gathers what is wrong with one document while the checks go on.
pub(super) struct Notes<'a> {
    document: &'a Document,
    found: Vec<(Place, String)>,
}

impl<'a> Notes<'a> {
    /// Nothing is wrong yet.
    pub(super) fn new(document: &'a Document) -> Self {
        let found = Vec::new();
        Self { document, found }
    }

    /// The name of the document.
    pub(super) fn document(&self) -> &str {
        &self.document.name
    }

    /// Notes one thing: what is wrong; what would be right.
    pub(super) fn add(&mut self, place: &Place, text: impl Into<String>) {
        self.found.push((place.clone(), text.into()));
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The complaints, each with its line.
    pub(super) fn finish(self) -> Complaints {
        let complaint = |(index, (place, text)): (usize, (Place, String))| Complaint {
            document: self.document.name.clone(),
            line: (index < LOCATED)
                .then(|| locate::line(&self.document.text, &place))
                .flatten(),
            path: place.to_string(),
            text,
        };
        Complaints(self.found.into_iter().enumerate().map(complaint).collect())
    }
}

/// A text from the document as a complaint may quote it: short ones that are surely no token.
///
/// Meta's tokens begin `EAA` and are far longer than 24 characters, an app secret has 32.
pub(super) fn shown(text: &str) -> String {
    let length = text.chars().count();
    let harmless = length <= 24 && !text.starts_with("EAA") && !text.contains(char::is_control);
    if harmless {
        format!("`{text}`")
    } else {
        format!("a text of {length} characters")
    }
}
