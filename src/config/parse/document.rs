//! Converts a whole document to a raw value.

use crate::config::diagnostics::{ConfigError, ConfigErrors, Diagnostics, NamedDocument};
use crate::config::parse::from_yaml::FromYaml;
use crate::config::parse::tree;
use crate::config::parse::yaml_path::YamlPath;

/// Converts a document; adds an error for every wrong type and unknown key, and leaves out what it
/// concerns. `empty_error` is the error for a document without content.
///
/// # Errors
/// Returns an error if the text is not YAML, or the whole document has a wrong type.
pub(in crate::config) fn parse<'a, T: FromYaml>(
    document: &'a NamedDocument,
    empty_error: &str,
) -> Result<(T, Diagnostics<'a>), ConfigErrors> {
    let syntax_error = |line, text| {
        ConfigErrors::from(ConfigError {
            document: document.name.clone(),
            line,
            path: String::new(),
            text,
        })
    };
    let root = match tree::parse(&document.text) {
        Ok(Some(root)) => root,
        Ok(None) => return Err(syntax_error(None, empty_error.to_owned())),
        Err(error) => return Err(syntax_error(error.line, error.text)),
    };
    let mut diagnostics = Diagnostics::new(document);
    match T::from_yaml(&mut diagnostics, &YamlPath::root(), &root) {
        Some(raw) => Ok((raw, diagnostics)),
        None => Err(diagnostics.finish()),
    }
}

/// Whether a document has no content: it consists of blank lines, comments and document markers.
pub(in crate::config) fn is_empty(text: &str) -> bool {
    let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    lines.all(|line| line.is_empty() || line.starts_with('#') || line == "---" || line == "...")
}
