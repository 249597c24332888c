//! How a snapshot and its sources stand in the file.
//!
//! Of a source there is only what tells whether a new plan asks the same; labels, thresholds and
//! intervals are the config's to say, and stay out. What is read is therefore a stand-in, good
//! for [`Snapshot::adopt`] alone.

use std::time::Duration;

use super::Refused;
use super::kept::{Kept, kept};
use super::wire::{In, Out};
use crate::config::{ExtraField, Labels, Thresholds, ZeroFill};
use crate::plan::{Columns, Source, Subject, Window};
use crate::snapshot::{Answer, Known, Snapshot, WindowKnown};

kept!(Snapshot { sources });
kept!(Answer { at, rows, withheld });

impl Kept for Known {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        to.identities.clear();
        self.source.put(to);
        self.listing.put(to);
        self.windows.put(to);
        self.held_until.put(to);
        self.gives_way.put(to);
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        from.identities.clear();
        Ok(Self {
            source: Kept::take(from)?,
            listing: Kept::take(from)?,
            windows: Kept::take(from)?,
            held_until: Kept::take(from)?,
            gives_way: Kept::take(from)?,
        })
    }
}

kept!(WindowKnown {
    delivery,
    conversions,
    tried,
    up,
    last_success,
    last_duration,
    next_poll,
    stale_after,
    fault
});

impl Kept for Source {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        self.business.put(to);
        self.name.put(to);
        self.subject.put(to);
        self.level.put(to);
        self.conversions.put(to);
        let as_before = to.columns == Some(&self.columns);
        to.bytes(&[u8::from(as_before)]);
        if !as_before {
            self.columns.put(to);
            to.columns = Some(&self.columns);
        }
        self.windows.put(to);
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        Ok(Self {
            business: Kept::take(from)?,
            name: Kept::take(from)?,
            subject: Kept::take(from)?,
            level: Kept::take(from)?,
            zero_fill: ZeroFill::Active,
            conversions: Kept::take(from)?,
            columns: columns(from)?,
            windows: Kept::take(from)?,
            labels: Labels::default(),
            thresholds: Thresholds::default(),
            elsewhere: [].into(),
        })
    }
}

fn columns(from: &mut In<'_>) -> Result<Columns, Refused> {
    if !bool::take(from)? {
        from.columns = Some(Kept::take(from)?);
    }
    let before = from.columns.clone();
    before.ok_or(Refused::Garbled("its first source has no columns"))
}

impl Kept for Subject {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        match self {
            Self::AdAccount { id, only } => {
                to.bytes(&[0]);
                id.put(to);
                only.put(to);
            }
            Self::Campaign(id) => {
                to.bytes(&[1]);
                id.put(to);
            }
        }
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        match from.byte()? {
            0 => Ok(Self::AdAccount {
                id: Kept::take(from)?,
                only: Kept::take(from)?,
            }),
            1 => Ok(Self::Campaign(Kept::take(from)?)),
            _ => Err(Refused::Garbled("it holds a source of no kind")),
        }
    }
}

impl Kept for Window {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        self.name.put(to);
        self.dates.put(to);
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        let name: Box<str> = Kept::take(from)?;
        let dates = Kept::take(from)?;
        Ok(Self::new(&name, dates, Duration::ZERO, Duration::ZERO))
    }
}

kept!(Columns {
    extra,
    action_types
});

/// How its metric is called and explained does not matter to its numbers.
impl Kept for ExtraField {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        self.field.put(to);
        self.kind.put(to);
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        Ok(Self {
            field: Kept::take(from)?,
            metric: String::new(),
            kind: Kept::take(from)?,
            help: String::new(),
        })
    }
}
