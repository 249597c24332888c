//! Parses YAML text to a tree in which every value has its line.
//!
//! The tree is untyped: `from_yaml` converts it to raw values and reports all wrong types together.
//! Aliases share the value of their anchor. Depth and the total size of aliased values are limited,
//! so that a small document cannot occupy much memory or time.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};

use crate::config::parse::yaml_path::{PathStep, YamlPath};

/// Maximum nesting of lists and mappings; the config needs eight levels.
const MAX_DEPTH: usize = 64;

/// Maximum total number of values that aliases repeat.
const MAX_REPEATED_VALUES: usize = 100_000;

/// A value with its position.
#[derive(Clone, Debug)]
pub(in crate::config) struct Node {
    /// Line, counted from 1.
    pub(in crate::config) line: usize,
    /// Content.
    pub(in crate::config) value: NodeValue,
    /// Number of values in it, itself included.
    size: usize,
}

/// Content of a [`Node`].
#[derive(Clone, Debug)]
pub(in crate::config) enum NodeValue {
    /// A single value, as written.
    Scalar(Scalar),
    /// A list.
    List(Vec<Arc<Node>>),
    /// A mapping, in document order.
    Mapping(Vec<Entry>),
    /// A value with a YAML tag, which no key of the config has.
    Tagged,
}

/// A key of a mapping, with its value.
#[derive(Clone, Debug)]
pub(in crate::config) struct Entry {
    /// Key, as written.
    pub(in crate::config) key: String,
    /// Line of the key, counted from 1.
    pub(in crate::config) line: usize,
    /// Value of the key.
    pub(in crate::config) value: Arc<Node>,
}

/// A single value.
#[derive(Clone, Debug)]
pub(in crate::config) struct Scalar {
    /// Characters, without quotes.
    pub(in crate::config) text: String,
    /// Type by the rules of YAML 1.2 (core schema); quoted values are strings.
    pub(in crate::config) kind: ScalarKind,
}

/// Type of a single value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::config) enum ScalarKind {
    /// No value, `null` or `~`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// An integer; one beyond the range of `i128` is replaced by the nearest one.
    Integer(i128),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// A string.
    Text,
}

/// Reason why a document is not usable YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct SyntaxError {
    /// Line, counted from 1; `None` for the document as a whole.
    pub(in crate::config) line: Option<usize>,
    /// Message without any part of the document.
    pub(in crate::config) text: String,
}

/// Parses a document; `None` if it has no content.
///
/// # Errors
/// Returns the first syntax error.
pub(in crate::config) fn parse(text: &str) -> Result<Option<Arc<Node>>, SyntaxError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    TreeBuilder::default().parse(text)
}

impl Node {
    /// Returns the line of a path. If the path does not exist, for example because a key is
    /// missing, it is the line of the nearest parent.
    pub(in crate::config) fn line_of(&self, path: &YamlPath) -> usize {
        let mut node = self;
        let mut line = node.line;
        for step in path.steps() {
            let (next_line, next) = match (step, &node.value) {
                (PathStep::Key(key), NodeValue::Mapping(entries)) => {
                    match entries.iter().find(|entry| entry.key == **key) {
                        Some(entry) => (entry.line, &entry.value),
                        None => return line,
                    }
                }
                (PathStep::DuplicateKey(key), NodeValue::Mapping(entries)) => {
                    match entries.iter().filter(|entry| entry.key == *key).nth(1) {
                        Some(entry) => (entry.line, &entry.value),
                        None => return line,
                    }
                }
                (PathStep::Index(index), NodeValue::List(items)) => match items.get(*index) {
                    Some(item) => (item.line, item),
                    None => return line,
                },
                _ => return line,
            };
            line = next_line;
            node = next;
        }
        line
    }
}

/// A list or mapping that has not been read to its end.
struct OpenCollection {
    line: usize,
    anchor: usize,
    is_tagged: bool,
    content: OpenContent,
}

enum OpenContent {
    List(Vec<Arc<Node>>),
    /// Entries, and the key of the value that follows.
    Mapping(Vec<Entry>, Option<(String, usize)>),
}

/// Builds the tree from the parser's events.
#[derive(Default)]
struct TreeBuilder {
    open: Vec<OpenCollection>,
    anchors: HashMap<usize, Arc<Node>>,
    repeated_values: usize,
    root: Option<Arc<Node>>,
}

impl TreeBuilder {
    fn parse(mut self, text: &str) -> Result<Option<Arc<Node>>, SyntaxError> {
        let mut documents = 0;
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| syntax_error(text, &error))?;
            let line = span.start.line();
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 && self.root.is_some() {
                        return Err(error_at(
                            line,
                            "expected one YAML document, found several; remove the `---` between them",
                        ));
                    }
                }
                Event::SequenceStart(anchor, tag) => {
                    self.open_collection(
                        &span,
                        anchor,
                        tag.as_deref(),
                        OpenContent::List(Vec::new()),
                    )?;
                }
                Event::MappingStart(anchor, tag) => {
                    let content = OpenContent::Mapping(Vec::new(), None);
                    self.open_collection(&span, anchor, tag.as_deref(), content)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close_collection()?,
                Event::Scalar(text, style, anchor, tag) => {
                    let value = scalar(text.into_owned(), style, tag.as_deref());
                    self.add(
                        Node {
                            line,
                            value,
                            size: 1,
                        },
                        anchor,
                    )?;
                }
                Event::Alias(anchor) => self.repeat(anchor, line)?,
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
        }
        let is_null = |root: &Arc<Node>| {
            matches!(
                root.value,
                NodeValue::Scalar(Scalar {
                    kind: ScalarKind::Null,
                    ..
                })
            )
        };
        Ok(self.root.filter(|root| !is_null(root)))
    }

    fn open_collection(
        &mut self,
        span: &Span,
        anchor: usize,
        tag: Option<&Tag>,
        content: OpenContent,
    ) -> Result<(), SyntaxError> {
        let line = span.start.line();
        if self.open.len() >= MAX_DEPTH {
            return Err(error_at(
                line,
                "invalid YAML: too many nested levels; flatten the document",
            ));
        }
        self.open.push(OpenCollection {
            line,
            anchor,
            is_tagged: tag.is_some_and(|tag| !tag.is_yaml_core_schema()),
            content,
        });
        Ok(())
    }

    fn close_collection(&mut self) -> Result<(), SyntaxError> {
        let Some(collection) = self.open.pop() else {
            return Ok(());
        };
        let (value, children) = match collection.content {
            OpenContent::List(items) => {
                let children = total_size(items.iter());
                (NodeValue::List(items), children)
            }
            OpenContent::Mapping(entries, _) => {
                let children = total_size(entries.iter().map(|entry| &entry.value));
                (NodeValue::Mapping(entries), children)
            }
        };
        let value = if collection.is_tagged {
            NodeValue::Tagged
        } else {
            value
        };
        let node = Node {
            line: collection.line,
            value,
            size: children.saturating_add(1),
        };
        self.add(node, collection.anchor)
    }

    /// Adds the value of an anchor once more.
    fn repeat(&mut self, anchor: usize, line: usize) -> Result<(), SyntaxError> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(error_at(
                line,
                "invalid YAML: alias to a value that contains it; write the value out",
            ));
        };
        self.repeated_values = self.repeated_values.saturating_add(node.size);
        if self.repeated_values > MAX_REPEATED_VALUES {
            return Err(error_at(
                line,
                "invalid YAML: aliases repeat too many values; write the values out",
            ));
        }
        self.add_shared(node, line)
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxError> {
        let line = node.line;
        let node = Arc::new(node);
        // The parser numbers anchors from 1.
        if anchor > 0 {
            self.anchors.insert(anchor, Arc::clone(&node));
        }
        self.add_shared(node, line)
    }

    fn add_shared(&mut self, node: Arc<Node>, line: usize) -> Result<(), SyntaxError> {
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(OpenContent::List(items)) => items.push(node),
            Some(OpenContent::Mapping(entries, key)) => match key.take() {
                Some((key, line)) => entries.push(Entry {
                    key,
                    line,
                    value: node,
                }),
                None => match &node.value {
                    NodeValue::Scalar(scalar) => *key = Some((scalar.text.clone(), line)),
                    _ => {
                        return Err(error_at(
                            line,
                            "expected a text as key, found a list or a mapping; write `key: value`",
                        ));
                    }
                },
            },
        }
        Ok(())
    }
}

fn total_size<'a>(nodes: impl Iterator<Item = &'a Arc<Node>>) -> usize {
    nodes.fold(0, |total, node| total.saturating_add(node.size))
}

fn error_at(line: usize, text: &str) -> SyntaxError {
    SyntaxError {
        line: Some(line),
        text: text.to_owned(),
    }
}

/// Words a syntax error of the parser. Tabs are the most frequent reason.
fn syntax_error(text: &str, error: &ScanError) -> SyntaxError {
    let marker = error.marker();
    if let Some((line, column)) = tab_in_indentation(text, marker) {
        return SyntaxError {
            line: Some(line),
            text: format!("invalid YAML: tab at line {line} column {column}; use spaces"),
        };
    }
    let message = error.info();
    let reason = if message.contains("unknown anchor") {
        "alias without an anchor; write the value out".to_owned()
    } else if message.contains("recursion limit") {
        "too many nested levels; flatten the document".to_owned()
    } else if message.contains("quoted scalar, found unexpected end of stream") {
        "no closing quote; check quotes".to_owned()
    } else {
        // The parser's messages contain at most one punctuation character of the document.
        format!("{message}; check indentation (spaces, no tabs), quotes and brackets")
    };
    SyntaxError {
        line: Some(marker.line().max(1)),
        text: format!("invalid YAML: {reason}"),
    }
}

/// Returns line and column, both counted from 1, of a tab in the white space at the start of the line
/// of the error or of a line next to it, after list markers and keys.
fn tab_in_indentation(text: &str, marker: &Marker) -> Option<(usize, usize)> {
    let last = marker.line().max(1);
    let mut lines = text
        .lines()
        .enumerate()
        .take(last + 1)
        .skip(last.saturating_sub(2));
    lines.find_map(|(line_idx, line)| {
        let indentation = line.len() - line.trim_start_matches([' ', '\t', '-']).len();
        let column_idx = line[..indentation].find('\t').or_else(|| {
            // A tab after `key:`.
            line.find(":\t").map(|colon_idx| colon_idx + 1)
        })?;
        Some((line_idx + 1, column_idx + 1))
    })
}

/// Determines the type of a single value.
fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>) -> NodeValue {
    let kind = match tag {
        None if style == ScalarStyle::Plain => plain_kind(&text),
        None => ScalarKind::Text,
        // `!` is the non-specific tag: a string.
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => ScalarKind::Text,
        Some(tag) if tag.is_yaml_core_schema() => plain_kind(&text),
        Some(_) => return NodeValue::Tagged,
    };
    NodeValue::Scalar(Scalar { text, kind })
}

/// Returns the type of a value without quotes, as in the core schema of YAML 1.2.
fn plain_kind(text: &str) -> ScalarKind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return ScalarKind::Null,
        "true" | "True" | "TRUE" => return ScalarKind::Boolean(true),
        "false" | "False" | "FALSE" => return ScalarKind::Boolean(false),
        ".nan" | ".NaN" | ".NAN" => return ScalarKind::Float(f64::NAN),
        _ => {}
    }
    let (is_negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if matches!(digits, ".inf" | ".Inf" | ".INF") {
        let infinity = f64::INFINITY;
        return ScalarKind::Float(if is_negative { -infinity } else { infinity });
    }
    if let Some(number) = integer(digits) {
        return ScalarKind::Integer(if is_negative { -number } else { number });
    }
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.contains(|c: char| c.is_ascii_digit())
        && digits
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    match text.parse() {
        Ok(number) if is_number => ScalarKind::Float(number),
        _ => ScalarKind::Text,
    }
}

/// Parses decimal, hexadecimal and octal integers without a sign.
fn integer(digits: &str) -> Option<i128> {
    let (digits, radix) = if let Some(digits) = digits.strip_prefix("0x") {
        (digits, 16)
    } else if let Some(digits) = digits.strip_prefix("0o") {
        (digits, 8)
    } else {
        (digits, 10)
    };
    let is_integer = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    is_integer.then(|| i128::from_str_radix(digits, radix).unwrap_or(i128::MAX))
}

#[cfg(test)]
mod tests {
    use super::{NodeValue, ScalarKind, parse};

    fn kind(text: &str) -> ScalarKind {
        // In a list, because a document that is only `~` has no content.
        let list = parse(&format!("- {text}")).unwrap().unwrap();
        match &list.value {
            NodeValue::List(items) => match &items[0].value {
                NodeValue::Scalar(scalar) => scalar.kind,
                other => panic!("should be a scalar: {other:?}"),
            },
            other => panic!("should be a list: {other:?}"),
        }
    }

    #[test]
    fn plain_value_has_type_of_core_schema() {
        for (text, expected) in [
            ("~", ScalarKind::Null),
            ("True", ScalarKind::Boolean(true)),
            ("yes", ScalarKind::Text),
            ("-12", ScalarKind::Integer(-12)),
            ("0x1f", ScalarKind::Integer(31)),
            ("1.5e3", ScalarKind::Float(1500.0)),
            (".5", ScalarKind::Float(0.5)),
            ("1.2.3", ScalarKind::Text),
            ("15m", ScalarKind::Text),
            ("2026-03-01", ScalarKind::Text),
            ("e5", ScalarKind::Text),
            ("'1'", ScalarKind::Text),
            ("!!str 1", ScalarKind::Text),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }

    #[test]
    fn hostile_document_is_rejected_quickly() {
        let bomb: String = (1..30)
            .map(|n| format!("k{n}: &a{n} [{}]\n", format!("*a{},", n - 1).repeat(9)))
            .collect();
        for text in [
            format!("k0: &a0 [1]\n{bomb}"),
            "[".repeat(100_000),
            "a: &a [*a]".to_owned(),
            "- ".repeat(10_000),
        ] {
            assert!(parse(&text).is_err(), "should be rejected: {:.40}", text);
        }
    }
}
