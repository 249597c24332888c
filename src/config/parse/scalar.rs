//! The single values of raw configs.
//!
//! A quoted number is not a number, an unquoted number is not a string, and an id keeps all of its
//! digits. Durations and label values keep a number as written, so that the checks can name the
//! remedy.

use std::fmt;

use serde_json::{Value, json};

use crate::config::diagnostics::Diagnostics;
use crate::config::parse::from_yaml::{FromYaml, add_mismatch, scalar};
use crate::config::parse::tree::{Node, NodeValue, Scalar, ScalarKind};
use crate::config::parse::yaml_path::YamlPath;

/// A string, quoted or not; an unquoted number or boolean is an error.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct RawText(pub(in crate::config) String);

/// A duration as written, or a number or boolean, which the checks reject with a remedy.
#[derive(Clone, Debug)]
pub(in crate::config) struct RawDuration(pub(in crate::config) TextOrScalar);

/// A label value as written, or a number or boolean, which the checks reject with a remedy.
#[derive(Clone, Debug)]
pub(in crate::config) struct RawLabelValue(pub(in crate::config) TextOrScalar);

/// A string, number or boolean.
#[derive(Clone, Debug)]
pub(in crate::config) enum TextOrScalar {
    /// A string.
    Text(String),
    /// A number, as written.
    Number(String),
    /// A boolean.
    Boolean,
}

/// A number, with or without a fraction.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::config) struct RawNumber(pub(in crate::config) f64);

/// An integer; one beyond the range of `i128` is replaced by the maximum.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct RawInteger(pub(in crate::config) i128);

/// An id or a version: the characters as written, quoted or not, so that no digit is lost to
/// rounding.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct RawId(pub(in crate::config) String);

/// The hash of a password as written; other types than strings are plain passwords.
#[derive(Clone)]
pub(in crate::config) struct RawPasswordHash(pub(in crate::config) String);

/// Redacted, because the value may be a password.
impl fmt::Debug for RawPasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl FromYaml for RawPasswordHash {
    const EXPECTED: &'static str = "a bcrypt hash";

    fn from_yaml(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, node: &Node) -> Option<Self> {
        if let NodeValue::Scalar(Scalar { kind, text }) = &node.value
            && *kind != ScalarKind::Null
        {
            return Some(Self(text.clone()));
        }
        let remedy =
            "; create one with `htpasswd -nBC 10 NAME`, and write `NAME: HASH` with a space";
        add_mismatch(diagnostics, path, node, Self::EXPECTED, remedy);
        None
    }

    fn schema() -> Value {
        let pattern = r"^\$2[abxy]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}$";
        json!({ "type": "string", "pattern": pattern })
    }
}

impl FromYaml for RawText {
    const EXPECTED: &'static str = "a string";

    fn from_yaml(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, node: &Node) -> Option<Self> {
        let value = scalar(diagnostics, path, node, Self::EXPECTED)?;
        if value.kind == ScalarKind::Text {
            return Some(Self(value.text.clone()));
        }
        add_mismatch(
            diagnostics,
            path,
            node,
            Self::EXPECTED,
            "; put it in quotes",
        );
        None
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

impl FromYaml for TextOrScalar {
    const EXPECTED: &'static str = "a single value such as `15m` or `growth`";

    fn from_yaml(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, node: &Node) -> Option<Self> {
        let Scalar { text, kind } = scalar(diagnostics, path, node, Self::EXPECTED)?;
        Some(match kind {
            ScalarKind::Integer(_) | ScalarKind::Float(_) => Self::Number(text.clone()),
            ScalarKind::Boolean(_) => Self::Boolean,
            ScalarKind::Text | ScalarKind::Null => Self::Text(text.clone()),
        })
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

impl FromYaml for RawDuration {
    const EXPECTED: &'static str = "a duration such as `15m`";

    fn from_yaml(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, node: &Node) -> Option<Self> {
        scalar(diagnostics, path, node, Self::EXPECTED)?;
        TextOrScalar::from_yaml(diagnostics, path, node).map(Self)
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d|w|y))+$" })
    }
}

impl FromYaml for RawLabelValue {
    const EXPECTED: &'static str = "a label value such as `growth`";

    fn from_yaml(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, node: &Node) -> Option<Self> {
        scalar(diagnostics, path, node, Self::EXPECTED)?;
        TextOrScalar::from_yaml(diagnostics, path, node).map(Self)
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

impl FromYaml for RawNumber {
    const EXPECTED: &'static str = "a number";

    fn from_yaml(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, node: &Node) -> Option<Self> {
        let value = scalar(diagnostics, path, node, Self::EXPECTED)?;
        match value.kind {
            ScalarKind::Float(number) => return Some(Self(number)),
            // The text has the precision of a float, unlike the integer.
            ScalarKind::Integer(_) => {
                if let Ok(number) = value.text.parse() {
                    return Some(Self(number));
                }
            }
            _ => {}
        }
        let is_amount = value.kind == ScalarKind::Text
            && value.text.starts_with(|c: char| c.is_ascii_digit())
            && value
                .text
                .ends_with(|c: char| c.is_alphabetic() || c == '%');
        let remedy = if is_amount {
            "; write a number without unit and quotes: money is in the currency of the ad account, and ratios are from 0 to 1"
        } else {
            "; write a number without quotes"
        };
        add_mismatch(diagnostics, path, node, Self::EXPECTED, remedy);
        None
    }

    fn schema() -> Value {
        json!({ "type": "number" })
    }
}

impl FromYaml for RawInteger {
    const EXPECTED: &'static str = "an integer";

    fn from_yaml(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, node: &Node) -> Option<Self> {
        let value = scalar(diagnostics, path, node, Self::EXPECTED)?;
        if let ScalarKind::Integer(number) = value.kind {
            return Some(Self(number));
        }
        let remedy = match value.kind {
            ScalarKind::Text => "; write a number without quotes",
            _ => "",
        };
        add_mismatch(diagnostics, path, node, Self::EXPECTED, remedy);
        None
    }

    fn schema() -> Value {
        json!({ "type": "integer" })
    }
}

impl FromYaml for RawId {
    const EXPECTED: &'static str = "an id such as `120210000000000001`";

    fn from_yaml(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, node: &Node) -> Option<Self> {
        let value = scalar(diagnostics, path, node, Self::EXPECTED)?;
        Some(Self(value.text.clone()))
    }

    fn schema() -> Value {
        json!({ "type": ["string", "integer"] })
    }
}

impl FromYaml for bool {
    const EXPECTED: &'static str = "`true` or `false`";

    fn from_yaml(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, node: &Node) -> Option<Self> {
        if let NodeValue::Scalar(Scalar {
            kind: ScalarKind::Boolean(value),
            ..
        }) = node.value
        {
            return Some(value);
        }
        add_mismatch(diagnostics, path, node, Self::EXPECTED, "");
        None
    }

    fn schema() -> Value {
        json!({ "type": "boolean" })
    }
}
