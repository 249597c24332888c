//! The JSON schema of the config: generated from the keys that are parsed, and compared with examples.
//!
//! `UPDATE_DOCS=1 cargo test` writes the schema.

use std::{env, fs};

use marketing_messages_exporter::config::json_schema;
use serde_json::Value;

const SCHEMA: &str = "config.schema.json";

#[test]
fn schema_file_is_up_to_date() {
    let expected = format!("{:#}\n", json_schema());
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(SCHEMA, &expected).unwrap();
    }
    let found = fs::read_to_string(SCHEMA).unwrap_or_default();
    assert!(
        found == expected,
        "{SCHEMA} should be generated again with UPDATE_DOCS=1"
    );
}

#[test]
fn schema_accepts_configs_that_are_accepted() {
    let mut configs: Vec<(String, String)> = ["config.example.yaml", "src/commands/demo.yaml"]
        .into_iter()
        .map(|path| (path.to_owned(), fs::read_to_string(path).unwrap()))
        .collect();
    for entry in fs::read_dir("tests/fixtures/config").unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // One of its ids has more digits than JSON parsers read.
        let has_long_id = name == "good-ids.yaml";
        if name.starts_with("good-") && name.ends_with(".yaml") && !has_long_id {
            configs.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(configs.len() > 5, "the configs should be found");
    let schema = json_schema();
    for (name, text) in configs {
        let config: Value = serde_yaml::from_str(text.trim_start_matches('\u{feff}')).unwrap();
        let errors = errors(&schema, &config, &name);
        assert!(errors.is_empty(), "should be accepted: {errors:?}");
    }
}

#[test]
fn schema_refuses_wrong_shapes() {
    let schema = json_schema();
    let mut refused = 0;
    for name in [
        "unknown-key",
        "unknown-key-deep",
        "ad-account-no-id",
        "duration-bare",
        "label-number",
        "wrong-type-boolean",
        "wrong-type-id",
        "wrong-type-labels",
        "wrong-type-list",
        "wrong-type-mapping",
        "wrong-type-number",
        "token-in-config",
        "window-half",
    ] {
        let path = format!("tests/fixtures/config/bad-{name}.yaml");
        let config: Value = serde_yaml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert!(
            !errors(&schema, &config, name).is_empty(),
            "{name} should be refused"
        );
        refused += 1;
    }
    assert_eq!(refused, 13);
}

/// Validates a value against the part of JSON Schema that the schema uses.
fn errors(schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(choices) = schema["anyOf"].as_array() {
        let is_valid = |choice| errors(choice, value, path).is_empty();
        if !choices.iter().any(is_valid) {
            found.push(format!("{path}: none of the choices"));
        }
    }
    if let Some(constant) = schema.get("const")
        && constant != value
    {
        found.push(format!("{path}: not {constant}"));
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let has_type = |name: &&str| match *name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("unknown type {other}"),
    };
    if !types.is_empty() && !types.iter().any(has_type) {
        found.push(format!("{path}: not {types:?}"));
        return found;
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !regex::Regex::new(pattern).unwrap().is_match(text)
    {
        found.push(format!("{path}: {pattern}"));
    }
    for (idx, item) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(errors(&schema["items"], item, &format!("{path}[{idx}]")));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            found.push(format!("{path}: {name} is missing"));
        }
    }
    for (key, item) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        match (
            schema["properties"].get(key),
            &schema["additionalProperties"],
        ) {
            (Some(property), _) => found.extend(errors(property, item, &path)),
            (None, Value::Bool(false)) => found.push(format!("{path}: unknown key")),
            (None, additional) => found.extend(errors(additional, item, &path)),
        }
    }
    found
}
