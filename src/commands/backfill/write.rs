//! The journal's answers → history: what the page's law makes of each day, source after source.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::config::ZeroFill;
use crate::exposition::{Common, Midnights, Past, write_history};
use crate::listing::Listing;
use crate::plan::{Days, Question, Source};
use crate::row::{Identity, Row};
use crate::snapshot::{Said, Told};
use crate::state::{Journal, Keyed, Unusable};

/// A source that has a history.
pub(super) struct Chapter {
    /// Its place in the plan and in the journal.
    pub(super) place: usize,
    /// What it is.
    pub(super) source: Arc<Source>,
    /// Its days that are over.
    pub(super) days: Days,
}

/// Why a history was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unwritten {
    /// Somebody stopped it.
    #[error("stopped")]
    Stopped,
    /// The journal cannot be read any more.
    #[error("the journal: {0}")]
    Journal(#[from] Unusable),
    /// It cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes the history of those sources; returns how many samples it has.
pub(super) fn write(
    journal: &Journal,
    chapters: &[Chapter],
    common: &Common<'_>,
    out: &mut impl Write,
    stopped: &AtomicBool,
) -> Result<u64, Unwritten> {
    write_history(
        common,
        |visit| {
            for chapter in chapters {
                let Some(listing) = journal.listing(chapter.place)? else {
                    continue;
                };
                let Some(told) = Teller::new(journal, chapter, &listing) else {
                    continue;
                };
                let mut rows = journal.rows(chapter.place)?;
                while let Some(keyed) = rows.next()? {
                    if stopped.load(Ordering::Relaxed) {
                        return Err(Unwritten::Stopped);
                    }
                    if let Some(past) = told.past(&keyed) {
                        visit(&past)?;
                    }
                }
            }
            Ok(())
        },
        out,
    )
}

/// What is known of a source beside its rows.
struct Teller<'a> {
    chapter: &'a Chapter,
    listing: &'a Listing,
    /// Each day with its ends.
    ends: HashMap<Date, Midnights>,
    answered: [Vec<Days>; 2],
    withheld: Vec<(Question, Days, &'a str)>,
}

impl<'a> Teller<'a> {
    fn new(journal: &'a Journal, chapter: &'a Chapter, listing: &'a Listing) -> Option<Self> {
        let zone: &TimeZone = listing.account.timezone.as_ref()?;
        let days = each(chapter.days.since(), chapter.days.until());
        let ends = days.filter_map(|day| Some((day, Midnights::of(day, zone)?)));
        let answered = [Question::Delivery, Question::Conversions];
        Some(Self {
            chapter,
            listing,
            ends: ends.collect(),
            answered: answered.map(|question| journal.answered(chapter.place, question)),
            withheld: journal.withheld(chapter.place).collect(),
        })
    }

    /// The row of one key over all its days; `None` where there is nothing to tell.
    fn past<'k>(&self, keyed: &'k Keyed) -> Option<Past<'k>>
    where
        'a: 'k,
    {
        let (delivered, converted) = (&keyed.delivery, &keyed.conversions);
        let first = [delivered.first(), converted.first()];
        let first = first.into_iter().flatten().map(|row| row.start).min()?;
        let last = [delivered.last(), converted.last()];
        // The names that the page has today: a campaign that was renamed is one series.
        let newest = last.into_iter().flatten().max_by_key(|row| row.start)?;
        let identity: &Identity = &newest.identity;
        if !self.listing.exports(identity) {
            return None;
        }
        // On days without a row the page says 0 of what is active, and nobody knows what was. Where
        // it says 0 of everything there is, what has once had a row was there ever since.
        let until = match self.chapter.source.zero_fill {
            ZeroFill::All => self.chapter.days.until(),
            ZeroFill::Active => newest.start,
        };
        let all = self.chapter.source.zero_fill == ZeroFill::All;
        let withheld = self
            .withheld
            .iter()
            .filter(|(.., key)| *key == identity.key());
        let withheld: Vec<_> = withheld.collect();
        let (mut delivered, mut converted) = (Side::new(delivered), Side::new(converted));
        let mut days = Vec::new();
        for day in each(first, until) {
            let (delivery, conversions) = (delivered.on(day), converted.on(day));
            if delivery.is_none() && conversions.is_none() && !all {
                continue;
            }
            let told = Told {
                delivery: self.said(Question::Delivery, day, &withheld, delivery),
                conversions: self.said(Question::Conversions, day, &withheld, conversions),
                member: Some(identity),
                asked: Some((day, day)),
            };
            let columns = &self.chapter.source.columns;
            let shown = told.join(columns, Some(self.listing));
            if let (Some(shown), Some(ends)) = (shown, self.ends.get(&day)) {
                days.push((*ends, shown));
            }
        }
        let (_, newest) = days.last()?;
        Some(Past {
            source: &self.chapter.source,
            identity,
            currency: newest.currency,
            days,
        })
    }

    fn said<'k>(
        &self,
        question: Question,
        day: Date,
        withheld: &[&(Question, Days, &str)],
        row: Option<&'k Row>,
    ) -> Said<'k> {
        let place = match question {
            Question::Delivery => 0,
            Question::Conversions => 1,
        };
        let answered = || {
            let known = &self.answered[place];
            let at = known.partition_point(|days| days.until() < day);
            known.get(at).is_some_and(|days| days.has(day))
        };
        let withheld = || {
            let mut withheld = withheld.iter();
            withheld.any(|(of, days, _)| *of == question && days.has(day))
        };
        match row {
            Some(row) => Said::Row(row),
            None if withheld() => Said::Withheld,
            None if answered() => Said::NoRow,
            None => Said::Unknown,
        }
    }
}

/// One question's rows of a key, looked at day after day.
struct Side<'k> {
    rows: std::iter::Peekable<std::slice::Iter<'k, Row>>,
}

impl<'k> Side<'k> {
    fn new(rows: &'k [Row]) -> Self {
        Self {
            rows: rows.iter().peekable(),
        }
    }

    fn on(&mut self, day: Date) -> Option<&'k Row> {
        self.rows.next_if(|row| row.start == day)
    }
}

/// Every day from the one to the other.
fn each(since: Date, until: Date) -> impl Iterator<Item = Date> {
    let days = std::iter::successors(Some(since), |day| day.tomorrow().ok());
    days.take_while(move |day| *day <= until)
}
