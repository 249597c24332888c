//! Checks `insights`; the module `extra_fields` checks its list of fields.

use super::{extra_fields, settings};
use crate::config::diagnostics::{Diagnostics, quote_or_redact};
use crate::config::parse::from_yaml::{Explicit, RawList};
use crate::config::parse::raw::RawInsights;
use crate::config::parse::scalar::RawText;
use crate::config::parse::unknown_key::suggestion;
use crate::config::parse::yaml_path::YamlPath;
use crate::config::{InsightsConfig, QuestionMode, ZeroFill, defaults};
use crate::model::{ACTION_TYPES, Level};

/// Checks the section `insights`.
pub(in crate::config) fn check(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: &RawInsights,
) -> InsightsConfig {
    InsightsConfig {
        questions: questions(diagnostics, path, raw),
        level: level(diagnostics, path, raw),
        zero_fill: zero_fill(diagnostics, path, raw),
        settle_after: settings::duration(diagnostics, &path.key("settle_after"), &raw.settle_after)
            .unwrap_or(defaults::DEFAULT_SETTLE_AFTER),
        action_types: action_types(diagnostics, &path.key("action_types"), &raw.action_types),
        extra_fields: extra_fields::check(
            diagnostics,
            &path.key("extra_fields"),
            &raw.extra_fields,
        ),
    }
}

/// Checks `level`; default `campaign`, because budgets and decisions are per campaign.
fn level(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, raw: &RawInsights) -> Level {
    let Some(RawText(name)) = raw.level.get() else {
        return Level::Campaign;
    };
    let levels = [Level::Account, Level::Campaign, Level::Adset, Level::Ad];
    let level = levels.into_iter().find(|level| level.as_str() == name);
    level.unwrap_or_else(|| {
        diagnostics.add(
            &path.key("level"),
            format!(
                "expected `account`, `campaign`, `adset` or `ad`, found {}{}",
                quote_or_redact(name),
                suggestion(name, &levels.map(Level::as_str))
            ),
        );
        Level::Campaign
    })
}

/// Checks `questions`; default `auto`, because messages are sent from the same quota.
fn questions(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: &RawInsights,
) -> QuestionMode {
    match raw.questions.get().map(|RawText(name)| name.as_str()) {
        None | Some("auto") => QuestionMode::Auto,
        Some("separate") => QuestionMode::Separate,
        Some(other) => {
            diagnostics.add(
                &path.key("questions"),
                format!(
                    "expected `auto` or `separate`, found {}",
                    quote_or_redact(other)
                ),
            );
            QuestionMode::Auto
        }
    }
}

/// Checks `zero_fill`; default `active`, because with `all` most of the metrics page would be zeros
/// of paused campaigns.
fn zero_fill(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, raw: &RawInsights) -> ZeroFill {
    match raw.zero_fill.get().map(|RawText(name)| name.as_str()) {
        None | Some("active") => ZeroFill::Active,
        Some("all") => ZeroFill::All,
        Some(other) => {
            diagnostics.add(
                &path.key("zero_fill"),
                format!(
                    "expected `active` or `all`, found {}{}",
                    quote_or_redact(other),
                    suggestion(other, &["active", "all"])
                ),
            );
            ZeroFill::Active
        }
    }
}

/// Checks `action_types`; the default is all types that Meta's page on measuring marketing messages
/// documents.
fn action_types(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw_types: &Explicit<RawList<RawText>>,
) -> Vec<String> {
    let Some(raw_types) = raw_types.get() else {
        return ACTION_TYPES.map(str::to_owned).to_vec();
    };
    if raw_types.len() == 0 {
        diagnostics.add(
            path,
            "expected at least one action type, found an empty list; add one, or set `conversions: false` for the business",
        );
    }
    let mut types: Vec<String> = Vec::new();
    for (type_idx, RawText(action_type)) in raw_types.items() {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if action_type.is_empty() || !action_type.chars().all(is_allowed) {
            diagnostics.add(
                &path.index(*type_idx),
                format!(
                    "expected an action type of the API such as `{}`, found {}",
                    ACTION_TYPES[0],
                    quote_or_redact(action_type)
                ),
            );
        } else if let Some(other) = types.iter().position(|other| other == action_type) {
            diagnostics.add(
                &path.index(*type_idx),
                format!(
                    "expected unique action types, found a duplicate of `action_types[{other}]`; remove one of the two"
                ),
            );
        }
        types.push(action_type.clone());
    }
    if !types.is_empty()
        && !types
            .iter()
            .any(|name| ACTION_TYPES.contains(&name.as_str()))
    {
        let meant = types.iter().find_map(|name| {
            let suffix = format!("_{name}");
            ACTION_TYPES
                .into_iter()
                .find(|known| known.ends_with(&suffix))
        });
        let remedy = meant.map_or_else(
            || "check the names".to_owned(),
            |meant| format!("did you mean `{meant}`?"),
        );
        diagnostics.warn(
            path,
            format!("none of these is an action type that Meta documents for marketing messages; {remedy}"),
        );
    }
    types
}
