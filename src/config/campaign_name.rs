//! Regular expression for campaign names.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// Maximum size of the compiled expression in bytes, which bounds memory and time.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// A regular expression in RE2 syntax that matches whole campaign names.
///
/// # Example
///
/// ```
/// use marketing_messages_exporter::config::CampaignNamePattern;
///
/// let pattern = CampaignNamePattern::new("ACME .*|Test").unwrap();
/// assert!(pattern.matches("ACME spring"));
/// assert!(!pattern.matches("The ACME spring"));
/// assert_eq!(CampaignNamePattern::new("("), None);
/// ```
#[derive(Clone)]
pub struct CampaignNamePattern(Regex);

impl CampaignNamePattern {
    /// Compiles an expression; `None` if it is invalid or too large.
    pub fn new(pattern: &str) -> Option<Self> {
        // `a)(b` is valid only with the group around it.
        Regex::new(pattern).ok()?;
        RegexBuilder::new(&format!("^(?:{pattern})$"))
            .size_limit(MAX_COMPILED_BYTES)
            .build()
            .ok()
            .map(Self)
    }

    /// Returns the expression, which matches whole names.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether the expression matches the whole name.
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

impl fmt::Debug for CampaignNamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// Compares the texts of the expressions.
impl PartialEq for CampaignNamePattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}
