//! Families of a page: those of the catalog, with those of the config's `extra_fields` inserted.

use super::catalog::{FAMILIES, PREFIX, RowSample, SampleSource};
use super::numbers::push_escaped;
use crate::config::ExtraFieldConfig;
use crate::model::ValueKind;

/// Name, HELP text and source of the samples of one family.
#[derive(Clone, Debug)]
pub(super) struct FamilyHeader {
    /// Complete name.
    pub(super) name: String,
    help: String,
    /// Never [`SampleSource::Extras`].
    pub(super) source: SampleSource,
}

/// Returns all families, in the order of the page.
pub(super) fn family_headers(extra_fields: &[ExtraFieldConfig]) -> Vec<FamilyHeader> {
    let mut headers = Vec::with_capacity(FAMILIES.len() + extra_fields.len());
    for family in FAMILIES {
        match family.source {
            SampleSource::Extras => {
                headers.extend(extra_fields.iter().enumerate().map(|(extra_idx, field)| {
                    let is_money = field.kind == ValueKind::Money;
                    let source = SampleSource::Row(RowSample::Extra {
                        extra_idx,
                        is_money,
                    });
                    FamilyHeader::new(&field.metric, extra_field_help(field), source)
                }))
            }
            source => {
                headers.push(FamilyHeader::new(
                    family.name,
                    family.help.to_owned(),
                    source,
                ));
            }
        }
    }
    headers
}

impl FamilyHeader {
    fn new(name: &str, help: String, source: SampleSource) -> Self {
        let name = format!("{PREFIX}{name}");
        Self { name, help, source }
    }

    /// Returns the HELP and TYPE lines. `escape_quotes` escapes quotes in the HELP text, as OpenMetrics
    /// requires and the Prometheus text format does not.
    pub(super) fn text(&self, escape_quotes: bool) -> Vec<u8> {
        let Self { name, help, .. } = self;
        let mut text = format!("# HELP {name} ").into_bytes();
        push_escaped(&mut text, help, escape_quotes);
        text.extend_from_slice(format!("\n# TYPE {name} gauge\n").as_bytes());
        text
    }
}

fn extra_field_help(extra: &ExtraFieldConfig) -> String {
    format!(
        "{} ({}) as of the last successful poll",
        extra.help, extra.field
    )
}
