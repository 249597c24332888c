//! How rows, listings and faults stand in the file.
//!
//! An identity is written where a source first mentions it, and is a place number from then on:
//! it carries the long names, and each has a row in every answer.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::Refused;
use super::kept::{Kept, kept};
use super::wire::{In, Out};
use crate::fault::{Fault, Reason};
use crate::listing::{Account, Campaign, Listing, Member};
use crate::row::{
    AccountId, DatePreset, Dates, Figure, Figures, Identity, Kind, Level, Named, ObjectId, Row,
};

kept!(Named { id, name });
kept!(Identity {
    account,
    currency,
    campaign,
    adset,
    ad
});
kept!(Campaign {
    id,
    name,
    status,
    objective,
    is_message,
    daily_budget,
    lifetime_budget
});
kept!(Listing {
    at,
    account,
    campaigns,
    others,
    members,
    rows
});
kept!(Fault {
    reason,
    code,
    subcode,
    message,
    fbtrace_id
});

impl Kept for AccountId {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        to.text(self.digits());
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        Self::parse(&from.text()?).ok_or(NO_ID)
    }
}

impl Kept for ObjectId {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        to.text(self.as_str());
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        Self::parse(&from.text()?).ok_or(NO_ID)
    }
}

const NO_ID: Refused = Refused::Garbled("it holds an id that is not digits");

/// Words of ours: the file spells them out, so that their order in the code is free.
const NO_WORD: Refused = Refused::Garbled("it holds a word that is none of ours");

impl Kept for Level {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        to.text(self.as_str());
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        let word = from.text()?;
        let all = [Self::Account, Self::Campaign, Self::Adset, Self::Ad];
        let found = all.into_iter().find(|level| level.as_str() == word);
        found.ok_or(NO_WORD)
    }
}

impl Kept for Reason {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        to.text(self.as_str());
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        let word = from.text()?;
        let found = Self::ALL.into_iter().find(|reason| reason.as_str() == word);
        found.ok_or(NO_WORD)
    }
}

impl Kept for Kind {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        let tag = match self {
            Self::Count => 0,
            Self::Money => 1,
            Self::Percent => 2,
        };
        to.bytes(&[tag]);
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        match from.byte()? {
            0 => Ok(Self::Count),
            1 => Ok(Self::Money),
            2 => Ok(Self::Percent),
            _ => Err(NO_WORD),
        }
    }
}

impl Kept for Dates {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        match self {
            Self::Unsent => to.bytes(&[0]),
            Self::Preset(preset) => {
                to.bytes(&[1]);
                to.text(preset.as_str());
            }
            Self::Range { since, until } => {
                to.bytes(&[2]);
                since.put(to);
                until.put(to);
            }
        }
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        match from.byte()? {
            0 => Ok(Self::Unsent),
            1 => {
                let preset = DatePreset::parse(&from.text()?);
                preset.map(Self::Preset).ok_or(NO_WORD)
            }
            2 => Ok(Self::Range {
                since: Kept::take(from)?,
                until: Kept::take(from)?,
            }),
            _ => Err(NO_WORD),
        }
    }
}

/// A place number; behind the next new one the identity itself.
fn put_identity<'a>(identity: &'a Identity, to: &mut Out<'a>) {
    let next = to.identities.len() as u64;
    let place = *to.identities.entry(identity).or_insert(next);
    to.number(place);
    if place == next {
        identity.put(to);
    }
}

fn take_identity(from: &mut In<'_>) -> Result<Arc<Identity>, Refused> {
    let place = usize::take(from)?;
    if place == from.identities.len() {
        from.afford(size_of::<Identity>())?;
        let identity = Kept::take(from)?;
        from.identities.push(identity);
    }
    let found = from.identities.get(place).map(Arc::clone);
    found.ok_or(Refused::Garbled("it points to an identity that it lacks"))
}

impl Kept for Row {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        put_identity(&self.identity, to);
        self.start.put(to);
        self.stop.put(to);
        self.has_actions.put(to);
        self.mixed_attribution.put(to);
        self.figures.put(to);
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        Ok(Self {
            identity: take_identity(from)?,
            start: Kept::take(from)?,
            stop: Kept::take(from)?,
            has_actions: Kept::take(from)?,
            mixed_attribution: Kept::take(from)?,
            figures: Kept::take(from)?,
        })
    }
}

const MISSING: u8 = 0;
const REJECTED: u8 = 1;
const GIVEN: u8 = 2;

/// Far more than any config's: a row takes some memory while it is read, whatever is left of it.
const MOST_COLUMNS: usize = 65_536;

/// How many columns, two bits for what each is, and then the numbers that were given.
impl Kept for Figures {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        let columns = self.iter().len();
        to.count(columns);
        for four in 0..columns.div_ceil(4) {
            let tag = |place: usize| match self.get(four * 4 + place) {
                Figure::Missing => MISSING,
                Figure::Rejected => REJECTED,
                Figure::Given(_) => GIVEN,
            };
            to.bytes(&[tag(0) | tag(1) << 2 | tag(2) << 4 | tag(3) << 6]);
        }
        for figure in self.iter() {
            if let Figure::Given(number) = figure {
                to.bytes(&number.to_le_bytes());
            }
        }
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        let columns = usize::take(from)?;
        if columns > MOST_COLUMNS {
            return Err(Refused::Garbled(
                "it holds a row of more columns than anybody asks for",
            ));
        }
        from.afford(columns.saturating_mul(size_of::<f64>()))?;
        let tags = from.block(columns.div_ceil(4))?;
        let figures = (0..columns).map(|column| {
            let tag = tags[column / 4] >> (column % 4 * 2) & 0b11;
            match tag {
                MISSING => Ok(Figure::Missing),
                REJECTED => Ok(Figure::Rejected),
                GIVEN => f64::take(from).map(Figure::Given),
                _ => Err(Refused::Garbled("it holds a figure of no kind")),
            }
        });
        Ok(Self::pack(&figures.collect::<Result<Vec<_>, _>>()?))
    }
}

impl Kept for Member {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        put_identity(&self.identity, to);
        self.active.put(to);
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        let identity = take_identity(from)?;
        from.afford(length(&identity))?;
        Ok(Self {
            identity,
            active: Kept::take(from)?,
        })
    }
}

/// How many bytes of text an identity has.
fn length(identity: &Identity) -> usize {
    let named = [&identity.campaign, &identity.adset, &identity.ad];
    let names = named.into_iter().flatten();
    names
        .map(|named| named.id.as_str().len() + named.name.len())
        .sum()
}

/// A time zone is its IANA name. One that this machine does not know is unknown until the next
/// discovery, as one that the API gives would be.
impl Kept for Account {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        self.id.put(to);
        self.name.put(to);
        self.currency.put(to);
        let zone = self.timezone.as_ref().and_then(TimeZone::iana_name);
        to.text(zone.unwrap_or_default());
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        Ok(Self {
            id: Kept::take(from)?,
            name: Kept::take(from)?,
            currency: Kept::take(from)?,
            timezone: TimeZone::get(&from.text()?).ok(),
        })
    }
}
