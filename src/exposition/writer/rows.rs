//! The samples of a family that is of rows.

use std::io::{self, Write};

use jiff::civil::Date;

use super::batch::Batch;
use super::lines::Lines;
use crate::config::Bounds;
use crate::exposition::catalog::{Bound, PerRow};
use crate::exposition::labels::{push_campaign_of, push_next};
use crate::exposition::midnight::midnight;
use crate::snapshot::Shown;

/// What closes labels that nothing is added to.
const CLOSED: &[u8] = b"} ";

/// Writes what the family `name` says of the rows of a batch.
pub(in crate::exposition) fn rows<W: Write>(
    lines: &mut Lines<W>,
    name: &str,
    of: PerRow,
    batch: &Batch<'_>,
) -> io::Result<()> {
    match of {
        PerRow::Number(value) => numbers(lines, name, batch, value),
        PerRow::Money(value) => money(lines, name, batch, value),
        PerRow::Extra { place, money: true } => money(lines, name, batch, |row| row.extra(place)),
        PerRow::Extra { place, .. } => numbers(lines, name, batch, |row| row.extra(place)),
        PerRow::Action(value) => actions(lines, name, batch, value, false),
        PerRow::ActionMoney(value) => actions(lines, name, batch, value, true),
        PerRow::Bound(bound) => bounds(lines, name, batch, bound),
        PerRow::Threshold(limit) => thresholds(lines, name, batch, limit),
        PerRow::Withheld => withheld(lines, name, batch),
    }
}

fn numbers<W: Write>(
    lines: &mut Lines<W>,
    name: &str,
    batch: &Batch<'_>,
    value: impl Fn(&Shown<'_>) -> Option<f64>,
) -> io::Result<()> {
    for block in batch.blocks() {
        for (row, labels) in batch.rows(block) {
            if let Some(value) = value(&row.shown) {
                lines.line(name, labels, CLOSED, value)?;
            }
        }
    }
    Ok(())
}

/// Money that is nobody's currency is no money.
fn money<W: Write>(
    lines: &mut Lines<W>,
    name: &str,
    batch: &Batch<'_>,
    value: impl Fn(&Shown<'_>) -> Option<f64>,
) -> io::Result<()> {
    for block in batch.blocks() {
        let mut closing = Closing::of(None);
        for (row, labels) in batch.rows(block) {
            let currency = row.shown.currency;
            if let Some(value) = value(&row.shown).filter(|_| currency.is_some()) {
                lines.line(name, labels, closing.with(currency), value)?;
            }
        }
    }
    Ok(())
}

fn actions<W: Write>(
    lines: &mut Lines<W>,
    name: &str,
    batch: &Batch<'_>,
    value: fn(&Shown<'_>, usize) -> Option<f64>,
    money: bool,
) -> io::Result<()> {
    for block in batch.blocks() {
        let action_types = block.known.source.columns.action_types.iter();
        let mut closings: Vec<Closing<'_>> = action_types
            .map(|action_type| Closing::of(Some(action_type)))
            .collect();
        for (row, labels) in batch.rows(block) {
            let currency = row.shown.currency.filter(|_| money);
            if money && currency.is_none() {
                continue;
            }
            for (place, closing) in closings.iter_mut().enumerate() {
                if let Some(value) = value(&row.shown, place) {
                    lines.line(name, labels, closing.with(currency), value)?;
                }
            }
        }
    }
    Ok(())
}

fn bounds<W: Write>(
    lines: &mut Lines<W>,
    name: &str,
    batch: &Batch<'_>,
    bound: Bound,
) -> io::Result<()> {
    for block in batch.blocks() {
        let Some(timezone) = block.timezone() else {
            continue;
        };
        // Nearly all rows of a block have the same dates.
        let mut last: Option<(Date, f64)> = None;
        for (row, labels) in batch.rows(block) {
            let Some((start, stop)) = row.shown.dates else {
                continue;
            };
            let day = match bound {
                Bound::Start => Some(start),
                Bound::End => stop.tomorrow().ok(),
            };
            let Some(day) = day else { continue };
            let midnight = match last {
                Some((known, midnight)) if known == day => Some(midnight),
                _ => midnight(day, timezone),
            };
            if let Some(midnight) = midnight {
                last = Some((day, midnight));
                lines.line(name, labels, CLOSED, midnight)?;
            }
        }
    }
    Ok(())
}

fn thresholds<W: Write>(
    lines: &mut Lines<W>,
    name: &str,
    batch: &Batch<'_>,
    limit: fn(&Bounds) -> Option<f64>,
) -> io::Result<()> {
    for block in batch.blocks() {
        let Some(limit) = block.bounds.and_then(limit) else {
            continue;
        };
        for (_, labels) in batch.rows(block) {
            lines.line(name, labels, CLOSED, limit)?;
        }
    }
    Ok(())
}

fn withheld<W: Write>(lines: &mut Lines<W>, name: &str, batch: &Batch<'_>) -> io::Result<()> {
    let mut labels = Vec::new();
    for block in batch.blocks() {
        for (row, _) in batch.rows(block).filter(|(row, _)| row.tells_withheld) {
            labels.clear();
            let identity = row.shown.identity;
            push_campaign_of(&mut labels, block.known, identity, &block.window.name);
            lines.line(name, &labels, CLOSED, 1.0)?;
        }
    }
    Ok(())
}

/// What follows the labels of a row: action type, currency, closing brace and a blank. Nearly all rows
/// of a block have the same.
struct Closing<'a> {
    action_type: Option<&'a str>,
    currency: Option<&'a str>,
    text: Vec<u8>,
}

impl<'a> Closing<'a> {
    fn of(action_type: Option<&'a str>) -> Self {
        let mut closing = Self {
            action_type,
            currency: None,
            text: Vec::new(),
        };
        closing.render();
        closing
    }

    #[inline]
    fn with(&mut self, currency: Option<&'a str>) -> &[u8] {
        if self.currency != currency {
            self.currency = currency;
            self.render();
        }
        &self.text
    }

    fn render(&mut self) {
        self.text.clear();
        if let Some(action_type) = self.action_type {
            push_next(&mut self.text, "action_type", action_type);
        }
        if let Some(currency) = self.currency {
            push_next(&mut self.text, "currency", currency);
        }
        self.text.extend_from_slice(CLOSED);
    }
}
