//! Days that are over → OpenMetrics text with timestamps, for `promtool tsdb create-blocks-from
//! openmetrics`: one block a family, in it series after series, in each the days in order.
//!
//! Names, help and labels are those of the page. What is of a row is history; what is of today is
//! not: polls, listings and the config's limits. Rows are walked once a family and never gathered,
//! so that years need no more memory than days.

use std::io::{self, Write};

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::catalog::{Bound, Of, PerRow};
use super::heading::headings;
use super::labels::{push_row, push_user_labels};
use super::midnight::midnight;
use super::text::{PORTION, push_label, push_number};
use crate::config::ExtraField;
use crate::plan::Source;
use crate::row::{Identity, Level};
use crate::snapshot::Shown;

/// What every series of one history has in common.
#[derive(Clone, Copy, Debug)]
pub struct Common<'a> {
    /// The `window` label.
    pub window: &'a str,
    /// Labels that a scrape would add, such as `job`.
    pub labels: &'a [(String, String)],
    /// The config's own fields.
    pub extra: &'a [ExtraField],
}

/// One row over the days that are over.
#[derive(Clone, Debug)]
pub struct Past<'a> {
    /// Where it comes from.
    pub source: &'a Source,
    /// What it is about, by its newest names.
    pub identity: &'a Identity,
    /// ISO 4217 code; without it no money is told.
    pub currency: Option<&'a str>,
    /// Its days, in order.
    pub days: Vec<(Midnights, Shown<'a>)>,
}

/// The two ends of a day in an ad account's time zone, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Midnights {
    opening: f64,
    closing: f64,
}

impl Midnights {
    /// `None` where that calendar or zone has no such day.
    pub fn of(day: Date, timezone: &TimeZone) -> Option<Self> {
        Some(Self {
            opening: midnight(day, timezone)?,
            closing: midnight(day.tomorrow().ok()?, timezone)?,
        })
    }

    /// When the day's sample is taken: in its last second. At the midnight itself the page would
    /// speak of the next day, and a range of a whole day would hold two days' samples.
    pub fn sample(self) -> f64 {
        self.closing - 1.0
    }
}

/// Writes the history; returns how many samples it has. `walk` shows every row, in the same
/// order each time.
///
/// # Errors
/// What `walk` and `out` say.
pub fn write_history<E: From<io::Error>>(
    common: &Common<'_>,
    mut walk: impl FnMut(&mut dyn FnMut(&Past<'_>) -> io::Result<()>) -> Result<(), E>,
    out: &mut impl Write,
) -> Result<u64, E> {
    let mut lines = Lines {
        common,
        header: Vec::new(),
        series: Vec::new(),
        buffer: Vec::with_capacity(PORTION + PORTION / 4),
        samples: 0,
        out,
    };
    for heading in headings(common.extra) {
        if let Of::Row(of) = heading.of {
            // A limit of today's config says nothing of days that are over.
            if !matches!(of, PerRow::Threshold(_)) {
                lines.header = heading.text(true);
                walk(&mut |past| lines.family(&heading.name, of, past))?;
            }
        }
    }
    Ok(lines.finish()?)
}

/// The history on its way out.
struct Lines<'a, W> {
    common: &'a Common<'a>,
    /// HELP and TYPE of the family being written, until its first sample.
    header: Vec<u8>,
    /// Name and labels of the series being written.
    series: Vec<u8>,
    buffer: Vec<u8>,
    samples: u64,
    out: &'a mut W,
}

impl<W: Write> Lines<'_, W> {
    fn family(&mut self, name: &str, of: PerRow, past: &Past<'_>) -> io::Result<()> {
        match of {
            PerRow::Number(value) => self.rows(name, past, false, value),
            PerRow::Money(value) => self.rows(name, past, true, value),
            PerRow::Extra { place, money } => self.rows(name, past, money, |row| row.extra(place)),
            PerRow::Action(value) => self.actions(name, past, false, value),
            PerRow::ActionMoney(value) => self.actions(name, past, true, value),
            PerRow::Bound(bound) => {
                self.start(name, past, None, false);
                self.days(past, |ends, row| {
                    row.dates.map(|_| match bound {
                        Bound::Start => ends.opening,
                        Bound::End => ends.closing,
                    })
                })
            }
            PerRow::Threshold(_) => Ok(()),
            PerRow::Withheld => self.withheld(name, past),
        }
    }

    fn rows(
        &mut self,
        name: &str,
        past: &Past<'_>,
        money: bool,
        value: impl Fn(&Shown<'_>) -> Option<f64>,
    ) -> io::Result<()> {
        // Money that is nobody's currency is no money.
        if money && past.currency.is_none() {
            return Ok(());
        }
        self.start(name, past, None, money);
        self.days(past, |_, row| value(row))
    }

    fn actions(
        &mut self,
        name: &str,
        past: &Past<'_>,
        money: bool,
        value: fn(&Shown<'_>, usize) -> Option<f64>,
    ) -> io::Result<()> {
        if money && past.currency.is_none() {
            return Ok(());
        }
        for (place, action_type) in past.source.columns.action_types.iter().enumerate() {
            self.start(name, past, Some(action_type), money);
            self.days(past, |_, row| value(row, place))?;
        }
        Ok(())
    }

    /// Below campaigns several rows would be of one, and Meta keeps nothing back there.
    fn withheld(&mut self, name: &str, past: &Past<'_>) -> io::Result<()> {
        if !matches!(past.source.level, Level::Account | Level::Campaign) {
            return Ok(());
        }
        self.series.clear();
        self.series.extend_from_slice(name.as_bytes());
        self.series.push(b'{');
        push_label(&mut self.series, "business", &past.source.business);
        self.label("account_id", past.identity.account.digits());
        if let Some(campaign) = &past.identity.campaign {
            self.label("campaign_id", campaign.id.as_str());
        }
        self.label("window", self.common.window);
        self.added(past);
        self.days(past, |_, row| row.conversions_withheld.then_some(1.0))
    }

    fn start(&mut self, name: &str, past: &Past<'_>, action_type: Option<&str>, money: bool) {
        self.series.clear();
        self.series.extend_from_slice(name.as_bytes());
        let (business, window) = (&past.source.business, self.common.window);
        push_row(&mut self.series, business, past.identity, window);
        self.added(past);
        if let Some(action_type) = action_type {
            self.label("action_type", action_type);
        }
        if let Some(currency) = past.currency.filter(|_| money) {
            self.label("currency", currency);
        }
    }

    /// The user's labels, and those that a scrape would add.
    fn added(&mut self, past: &Past<'_>) {
        push_user_labels(&mut self.series, &past.source.labels);
        for (name, value) in self.common.labels {
            self.label(name, value);
        }
    }

    fn label(&mut self, name: &str, value: &str) {
        self.series.push(b',');
        push_label(&mut self.series, name, value);
    }

    fn days(
        &mut self,
        past: &Past<'_>,
        value: impl Fn(Midnights, &Shown<'_>) -> Option<f64>,
    ) -> io::Result<()> {
        for (ends, row) in &past.days {
            let Some(value) = value(*ends, row) else {
                continue;
            };
            self.buffer.append(&mut self.header);
            self.buffer.extend_from_slice(&self.series);
            self.buffer.extend_from_slice(b"} ");
            push_number(&mut self.buffer, value);
            self.buffer.push(b' ');
            push_number(&mut self.buffer, ends.sample());
            self.buffer.push(b'\n');
            self.samples += 1;
            if self.buffer.len() >= PORTION {
                self.out.write_all(&self.buffer)?;
                self.buffer.clear();
            }
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<u64> {
        self.buffer.extend_from_slice(b"# EOF\n");
        self.out.write_all(&self.buffer)?;
        self.out.flush()?;
        Ok(self.samples)
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::Midnights;

    fn ends(day: &str, zone: &str) -> Midnights {
        let zone = TimeZone::get(zone).unwrap();
        Midnights::of(day.parse().unwrap(), &zone).unwrap()
    }

    #[test]
    fn a_day_ends_a_second_before_the_next_one_begins() {
        for (day, zone, hours) in [
            ("2026-03-29", "Europe/Berlin", 23.0),
            ("2026-10-25", "Europe/Berlin", 25.0),
            ("2026-11-23", "Europe/Berlin", 24.0),
            ("2026-11-01", "America/Los_Angeles", 25.0),
            // Clocks skip this day's midnight.
            ("2026-09-06", "America/Santiago", 23.0),
            ("2026-04-05", "Pacific/Auckland", 25.0),
        ] {
            let ends = ends(day, zone);
            let long = ends.closing - ends.opening;
            assert!((long - hours * 3600.0).abs() < 0.5, "{day} {zone}: {long}");
            assert!((ends.closing - ends.sample() - 1.0).abs() < 1e-9);
        }
        let new_york = ends("2026-11-22", "America/New_York");
        assert!((new_york.sample() - 1_795_409_999.0).abs() < 1e-9);
    }
}
