//! The families of a page: the catalog's, with those of the config's extra fields in their place.

use super::catalog::{FAMILIES, Of, PREFIX, PerRow};
use super::text::push_escaped;
use crate::config::ExtraField;
use crate::row::Kind;

/// One family of a page.
#[derive(Clone, Debug)]
pub(super) struct Heading {
    /// The whole name.
    pub(super) name: String,
    help: String,
    /// What it has samples of; never [`Of::Extras`].
    pub(super) of: Of,
}

/// Every family, in the order of the page.
pub(super) fn headings(extra: &[ExtraField]) -> Vec<Heading> {
    let mut headings = Vec::with_capacity(FAMILIES.len() + extra.len());
    for family in FAMILIES {
        match family.of {
            Of::Extras => headings.extend(extra.iter().enumerate().map(|(place, field)| {
                let money = field.kind == Kind::Money;
                let of = Of::Row(PerRow::Extra { place, money });
                Heading::new(&field.metric, help(field), of)
            })),
            of => headings.push(Heading::new(family.name, family.help.to_owned(), of)),
        }
    }
    headings
}

impl Heading {
    fn new(name: &str, help: String, of: Of) -> Self {
        let name = format!("{PREFIX}{name}");
        Self { name, help, of }
    }

    /// The lines HELP and TYPE, which have no place on a page without a sample. OpenMetrics escapes
    /// `quotes` here too, unlike the page's format.
    pub(super) fn text(&self, quotes: bool) -> Vec<u8> {
        let Self { name, help, .. } = self;
        let mut text = format!("# HELP {name} ").into_bytes();
        push_escaped(&mut text, help, quotes);
        text.extend_from_slice(format!("\n# TYPE {name} gauge\n").as_bytes());
        text
    }
}

/// The HELP of one of the config's own fields.
fn help(extra: &ExtraField) -> String {
    format!(
        "{} ({}) as of the last successful poll",
        extra.help, extra.field
    )
}
