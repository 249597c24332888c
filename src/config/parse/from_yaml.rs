//! Converts the values of a YAML tree to raw values, and reports every mismatch.
//!
//! A mismatch does not end the conversion: the key counts as invalid, the rest is still converted, so
//! that all errors of a document are reported together. The same declarations describe the config as
//! a JSON schema.

use serde_json::{Value, json};

use crate::config::diagnostics::Diagnostics;
use crate::config::parse::tree::{Entry, Node, NodeValue, Scalar, ScalarKind};
use crate::config::parse::yaml_path::{PathStep, YamlPath};

/// A type that a YAML value can be converted to.
pub(in crate::config) trait FromYaml: Sized {
    /// Description that completes "expected ..." in errors.
    const EXPECTED: &'static str;

    /// Converts a value; adds an error and returns `None` if it has another type.
    fn from_yaml(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, node: &Node) -> Option<Self>;

    /// Returns the JSON schema of the values that are accepted.
    fn schema() -> Value;
}

/// An optional key. A key without a value is an error, not an absent key.
#[derive(Clone, Debug, Default)]
pub(in crate::config) enum Explicit<T> {
    /// The key does not exist.
    #[default]
    Absent,
    /// The key exists, and an error about it was reported.
    Invalid,
    /// The value of the key.
    Value(T),
}

impl<T> Explicit<T> {
    /// Returns the value, if the key is present and valid.
    pub(in crate::config) fn get(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Invalid => None,
        }
    }

    /// Whether the key does not exist; false also after an error that was reported.
    pub(in crate::config) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Marks an absent key as invalid, because an unknown key is probably a misspelling of it.
    pub(in crate::config) fn set_misspelled(&mut self) {
        if self.is_absent() {
            *self = Self::Invalid;
        }
    }
}

impl<T: FromYaml> Explicit<T> {
    /// Converts the value of a key.
    pub(in crate::config) fn read(
        &mut self,
        diagnostics: &mut Diagnostics<'_>,
        path: &YamlPath,
        node: &Node,
    ) {
        *self = T::from_yaml(diagnostics, path, node).map_or(Self::Invalid, Self::Value);
    }
}

impl<T> Explicit<RawList<T>> {
    /// Returns the valid items with their indexes; an absent key has none.
    pub(in crate::config) fn items(&self) -> &[(usize, T)] {
        self.get().map_or(&[], RawList::items)
    }
}

/// A list. Items that could not be converted are left out, after their errors.
#[derive(Clone, Debug)]
pub(in crate::config) struct RawList<T> {
    items: Vec<(usize, T)>,
    len: usize,
}

impl<T> RawList<T> {
    /// Returns the valid items with their indexes.
    pub(in crate::config) fn items(&self) -> &[(usize, T)] {
        &self.items
    }

    /// Returns the number of items, invalid ones included.
    pub(in crate::config) fn len(&self) -> usize {
        self.len
    }
}

/// A mapping with free keys, each at most once, in document order.
#[derive(Clone, Debug)]
pub(in crate::config) struct RawMap<T>(pub(in crate::config) Vec<(String, T)>);

/// A section; without a value it has no keys, as if all of them were commented out.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct RawSection<T>(T);

impl<T> Explicit<RawSection<T>> {
    /// Returns the section, if it is present and valid.
    pub(in crate::config) fn section(&self) -> Option<&T> {
        self.get().map(|RawSection(section)| section)
    }
}

impl<T: FromYaml + Default> FromYaml for RawSection<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_yaml(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, node: &Node) -> Option<Self> {
        if let NodeValue::Scalar(Scalar {
            kind: ScalarKind::Null,
            ..
        }) = node.value
        {
            return Some(Self::default());
        }
        T::from_yaml(diagnostics, path, node).map(Self)
    }

    fn schema() -> Value {
        let mut schema = T::schema();
        schema["type"] = json!(["object", "null"]);
        schema
    }
}

impl<T: FromYaml> FromYaml for RawList<T> {
    const EXPECTED: &'static str = "a list (`- ` before each item, or all items in `[ ]`)";

    fn from_yaml(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, node: &Node) -> Option<Self> {
        let NodeValue::List(items) = &node.value else {
            let remedy = match &node.value {
                NodeValue::Mapping(entries) if path.is_root() && is_main_file(entries) => {
                    "; write the list without `businesses:`".to_owned()
                }
                NodeValue::Mapping(_) => format!("; begin each item with `- `: {}", T::EXPECTED),
                _ => String::new(),
            };
            add_mismatch(diagnostics, path, node, Self::EXPECTED, &remedy);
            return None;
        };
        let mut valid = Vec::with_capacity(items.len());
        for (item_idx, item) in items.iter().enumerate() {
            let item = T::from_yaml(diagnostics, &path.index(item_idx), item);
            valid.extend(item.map(|item| (item_idx, item)));
        }
        Some(Self {
            items: valid,
            len: items.len(),
        })
    }

    fn schema() -> Value {
        json!({ "type": "array", "items": T::schema() })
    }
}

impl<T: FromYaml> FromYaml for RawMap<T> {
    const EXPECTED: &'static str = "a mapping such as `{ team: growth }`";

    fn from_yaml(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, node: &Node) -> Option<Self> {
        let mut map = Vec::new();
        for entry in entries(diagnostics, path, node, Self::EXPECTED)? {
            let path = path.key(entry.key.clone());
            if let Some(value) = T::from_yaml(diagnostics, &path, &entry.value) {
                map.push((entry.key.clone(), value));
            }
        }
        Some(Self(map))
    }

    fn schema() -> Value {
        json!({ "type": "object", "additionalProperties": T::schema() })
    }
}

/// Returns the entries of a mapping without duplicate keys, which are reported; `None` after an
/// error that the value is not a mapping.
pub(in crate::config) fn entries<'a>(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    node: &'a Node,
    expected: &str,
) -> Option<Vec<&'a Entry>> {
    let NodeValue::Mapping(entries) = &node.value else {
        add_mismatch(diagnostics, path, node, expected, "");
        return None;
    };
    let mut seen = std::collections::HashMap::new();
    let mut unique = Vec::with_capacity(entries.len());
    for entry in entries {
        let count = seen.entry(entry.key.as_str()).or_insert(0_usize);
        *count += 1;
        match *count {
            1 => unique.push(entry),
            2 => diagnostics.add(
                &path.join(PathStep::DuplicateKey(entry.key.clone())),
                "expected the key once, found it twice; remove one of the two",
            ),
            _ => {}
        }
    }
    Some(unique)
}

/// Whether a mapping in a business file has the form of a main file.
fn is_main_file(entries: &[Entry]) -> bool {
    entries.iter().any(|entry| entry.key == "businesses")
}

/// Returns a single value; `None` after an error that it is a list, a mapping or no value.
pub(in crate::config) fn scalar<'a>(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    node: &'a Node,
    expected: &str,
) -> Option<&'a Scalar> {
    match &node.value {
        NodeValue::Scalar(scalar) if scalar.kind != ScalarKind::Null => Some(scalar),
        _ => {
            add_mismatch(diagnostics, path, node, expected, "");
            None
        }
    }
}

/// Adds the error for a value of a wrong type. It names the type and never quotes the value.
pub(in crate::config) fn add_mismatch(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    node: &Node,
    expected: &str,
    remedy: &str,
) {
    let found = describe_type(node);
    let remedy = match (&node.value, remedy) {
        (_, remedy) if !remedy.is_empty() => remedy,
        (
            NodeValue::Scalar(Scalar {
                kind: ScalarKind::Null,
                ..
            }),
            _,
        ) => "; add a value or remove the key",
        (NodeValue::Tagged, _) => "; remove the tag",
        _ => "",
    };
    let level = if path.is_root() {
        // A likely reason is that a business file is used as the main file, or the other way round.
        " at the top level"
    } else {
        ""
    };
    diagnostics.add(
        path,
        format!("expected {expected}{level}, found {found}{remedy}"),
    );
}

fn describe_type(node: &Node) -> &'static str {
    match &node.value {
        NodeValue::List(_) => "a list",
        NodeValue::Mapping(_) => "a mapping",
        NodeValue::Tagged => "a YAML tag",
        NodeValue::Scalar(scalar) => match scalar.kind {
            ScalarKind::Null => "no value",
            ScalarKind::Boolean(_) => "a boolean",
            ScalarKind::Integer(_) => "an integer",
            ScalarKind::Float(_) => "a number",
            ScalarKind::Text => "a string",
        },
    }
}

/// Declares a mapping with fixed keys: each field is a key, its document comment the description in
/// the JSON schema.
///
/// After `required` follow the keys that the schema requires; the checks report missing ones.
macro_rules! raw_mapping {
    (
        $(#[doc = $doc:literal])*
        $visibility:vis struct $name:ident($expected:literal $(, required: $($required:literal),+)?) {
            $($(#[doc = $field_doc:literal])* $field:ident: $type:ty,)*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, Default)]
        $visibility struct $name {
            $($(#[doc = $field_doc])* $visibility $field: $crate::config::parse::from_yaml::Explicit<$type>,)*
        }

        impl $crate::config::parse::from_yaml::FromYaml for $name {
            const EXPECTED: &'static str = $expected;

            fn from_yaml(
                diagnostics: &mut $crate::config::diagnostics::Diagnostics<'_>,
                path: &$crate::config::parse::yaml_path::YamlPath,
                node: &$crate::config::parse::tree::Node,
            ) -> Option<Self> {
                let known_keys = [$(stringify!($field)),*];
                let mut raw = Self::default();
                for entry in $crate::config::parse::from_yaml::entries(diagnostics, path, node, Self::EXPECTED)? {
                    match entry.key.as_str() {
                        $(stringify!($field) => {
                            raw.$field.read(diagnostics, &path.key(stringify!($field)), &entry.value);
                        })*
                        key => {
                            let (text, suggestion) =
                                $crate::config::parse::unknown_key::describe(key, &known_keys);
                            diagnostics.add(&path.key(key.to_owned()), text);
                            // A merge key may contain any of the keys.
                            if key == "<<" {
                                $(raw.$field.set_misspelled();)*
                            }
                            match suggestion {
                                $(Some(stringify!($field)) => raw.$field.set_misspelled(),)*
                                _ => {}
                            }
                        }
                    }
                }
                Some(raw)
            }

            fn schema() -> serde_json::Value {
                let mut properties = serde_json::Map::new();
                $({
                    let mut property =
                        <$type as $crate::config::parse::from_yaml::FromYaml>::schema();
                    property["description"] = concat!($($field_doc),*).trim().into();
                    properties.insert(stringify!($field).to_owned(), property);
                })*
                let required: &[&str] = &[$($($required),+)?];
                let mut schema = serde_json::json!({
                    "type": "object",
                    "additionalProperties": false,
                    "properties": properties,
                });
                if !required.is_empty() {
                    schema["required"] = serde_json::json!(required);
                }
                schema
            }
        }
    };
}

pub(in crate::config) use raw_mapping;
