//! Table × snapshot → text: one block a family, in a stable order, no series twice.
//!
//! The labels of a row are rendered once and copied into each of its lines; lines gather in a
//! buffer of fixed size, so that a page of any length needs no more memory than a small one.

use std::collections::BTreeSet;
use std::io::{self, Write};

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::catalog::{Bound, FAMILIES, Family, Of, PREFIX};
use super::text::{push_escaped, push_label, push_number};
use crate::config::{Bounds, ExtraField, Labels};
use crate::listing::{Campaign, Listing};
use crate::plan::Window;
use crate::row::{Identity, Kind};
use crate::snapshot::{Known, Shown, Snapshot, WindowKnown, shown};

/// Lines leave in portions of about this many bytes.
pub(super) const PORTION: usize = 64 * 1024;

/// Writes the campaign page of a snapshot; returns how many series it has.
///
/// # Errors
/// Only what `out` says when it takes no more.
pub fn write(snapshot: &Snapshot, out: &mut impl Write) -> io::Result<u64> {
    let blocks = snapshot.sources.iter().flat_map(|known| Block::all(known));
    let mut page = Lines {
        blocks: &blocks.collect::<Vec<_>>(),
        snapshot,
        buffer: Vec::with_capacity(PORTION + PORTION / 4),
        out,
        header: Vec::new(),
        series: 0,
    };
    for family in FAMILIES {
        page.family(family)?;
    }
    page.finish()
}

/// The rows of one window of one source, with their labels.
struct Block<'a> {
    known: &'a Known,
    window: &'a Window,
    bounds: Option<&'a Bounds>,
    rows: Vec<Shown<'a>>,
    /// Every row's labels, one after another, each without its closing brace.
    labels: Vec<u8>,
    /// Where each row's labels end.
    ends: Vec<usize>,
}

impl<'a> Block<'a> {
    fn all(known: &'a Known) -> impl Iterator<Item = Self> {
        let windows = known.source.windows.iter().enumerate();
        windows.map(move |(place, window)| {
            let rows = shown(known, place);
            let (mut labels, mut ends) = (
                Vec::with_capacity(rows.len() * 128),
                Vec::with_capacity(rows.len()),
            );
            for row in &rows {
                push_row(
                    &mut labels,
                    &known.source.business,
                    row.identity,
                    &window.name,
                );
                push_user_labels(&mut labels, &known.source.labels);
                ends.push(labels.len());
            }
            let bounds = known.source.thresholds.of_window(&window.name);
            Self {
                known,
                window,
                bounds,
                rows,
                labels,
                ends,
            }
        })
    }

    fn timezone(&self) -> Option<&TimeZone> {
        self.known
            .listing
            .as_ref()
            .and_then(|listing| listing.account.timezone.as_ref())
    }

    fn rows(&self) -> impl Iterator<Item = (&Shown<'a>, &[u8])> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let labels = starts
            .zip(&self.ends)
            .map(|(start, end)| &self.labels[start..*end]);
        self.rows.iter().zip(labels)
    }
}

/// The page on its way out.
struct Lines<'a, W> {
    blocks: &'a [Block<'a>],
    snapshot: &'a Snapshot,
    buffer: Vec<u8>,
    out: &'a mut W,
    /// HELP and TYPE of the family being written, until its first sample: one without any has
    /// no place on the page.
    header: Vec<u8>,
    series: u64,
}

impl<W: Write> Lines<'_, W> {
    fn family(&mut self, family: &Family) -> io::Result<()> {
        match family.of {
            Of::Extras => self.extras(),
            Of::Row(value) => self.rows(family, value, false),
            Of::RowMoney(value) => self.rows(family, value, true),
            Of::Action(value) => self.actions(family, value, false),
            Of::ActionMoney(value) => self.actions(family, value, true),
            Of::Bound(bound) => self.bounds(family, bound),
            Of::Threshold(limit) => self.thresholds(family, limit),
            Of::Withheld => self.withheld(family),
            Of::Info => self.infos(family),
            Of::CampaignMoney(value) => self.budgets(family, value),
            Of::Window(value) => self.windows(family, value),
            Of::Source(value) => self.sources(family, value),
        }
    }

    fn finish(self) -> io::Result<u64> {
        self.out.write_all(&self.buffer)?;
        Ok(self.series)
    }

    fn extras(&mut self) -> io::Result<()> {
        // The config is one for all sources; after a reload, so is the snapshot's.
        let Some(first) = self.snapshot.sources.first() else {
            return Ok(());
        };
        for (place, extra) in first.source.columns.extra.iter().enumerate() {
            let name = format!("{PREFIX}{}", extra.metric);
            self.begin(&name, &extra_help(extra));
            self.row_lines(&name, |row| row.extra(place), extra.kind == Kind::Money)?;
        }
        Ok(())
    }

    fn rows(
        &mut self,
        family: &Family,
        value: impl Fn(&Shown<'_>) -> Option<f64>,
        money: bool,
    ) -> io::Result<()> {
        let name = self.begin_family(family);
        self.row_lines(&name, value, money)
    }

    fn row_lines(
        &mut self,
        name: &str,
        value: impl Fn(&Shown<'_>) -> Option<f64>,
        money: bool,
    ) -> io::Result<()> {
        let blocks = self.blocks;
        for (row, labels) in blocks.iter().flat_map(Block::rows) {
            // Money that is nobody's currency is no money.
            if let Some(value) = value(row).filter(|_| !money || row.currency.is_some()) {
                self.start(name, labels);
                self.currency(row.currency.filter(|_| money));
                self.end(value)?;
            }
        }
        Ok(())
    }

    fn actions(
        &mut self,
        family: &Family,
        value: fn(&Shown<'_>, usize) -> Option<f64>,
        money: bool,
    ) -> io::Result<()> {
        let name = self.begin_family(family);
        let blocks = self.blocks;
        for block in blocks {
            let action_types = &block.known.source.columns.action_types;
            for (row, labels) in block
                .rows()
                .filter(|(row, _)| !money || row.currency.is_some())
            {
                for (place, action_type) in action_types.iter().enumerate() {
                    if let Some(value) = value(row, place) {
                        self.start(&name, labels);
                        self.label("action_type", action_type);
                        self.currency(row.currency.filter(|_| money));
                        self.end(value)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn bounds(&mut self, family: &Family, bound: Bound) -> io::Result<()> {
        let name = self.begin_family(family);
        let blocks = self.blocks;
        for block in blocks {
            let Some(timezone) = block.timezone() else {
                continue;
            };
            // Nearly all rows of a block have the same dates.
            let mut last: Option<(Date, f64)> = None;
            for (row, labels) in block.rows() {
                let Some((start, stop)) = row.dates else {
                    continue;
                };
                let day = if bound == Bound::Start {
                    Some(start)
                } else {
                    stop.tomorrow().ok()
                };
                let Some(day) = day else { continue };
                let midnight = match last {
                    Some((known, midnight)) if known == day => Some(midnight),
                    _ => midnight(day, timezone),
                };
                if let Some(midnight) = midnight {
                    last = Some((day, midnight));
                    self.start(&name, labels);
                    self.end(midnight)?;
                }
            }
        }
        Ok(())
    }

    fn thresholds(&mut self, family: &Family, limit: fn(&Bounds) -> Option<f64>) -> io::Result<()> {
        let name = self.begin_family(family);
        let blocks = self.blocks;
        for block in blocks {
            let Some(limit) = block.bounds.and_then(limit) else {
                continue;
            };
            for (_, labels) in block.rows() {
                self.start(&name, labels);
                self.end(limit)?;
            }
        }
        Ok(())
    }

    fn withheld(&mut self, family: &Family) -> io::Result<()> {
        let name = self.begin_family(family);
        let blocks = self.blocks;
        for block in blocks {
            let source = &block.known.source;
            // Below campaigns, several rows are of one.
            let mut said = BTreeSet::new();
            for row in block.rows.iter().filter(|row| row.conversions_withheld) {
                let identity = row.identity;
                let campaign = identity.campaign.as_ref().map(|named| named.id.as_str());
                if !said.insert(campaign) {
                    continue;
                }
                self.start(&name, b"{");
                push_label(&mut self.buffer, "business", &source.business);
                self.label("account_id", identity.account.digits());
                if let Some(campaign) = campaign {
                    self.label("campaign_id", campaign);
                }
                self.label("window", &block.window.name);
                push_user_labels(&mut self.buffer, &source.labels);
                self.end(1.0)?;
            }
        }
        Ok(())
    }

    fn infos(&mut self, family: &Family) -> io::Result<()> {
        let name = self.begin_family(family);
        for (known, listing, campaign) in campaigns(self.snapshot) {
            self.start_campaign(&name, known, listing, campaign);
            let account = &listing.account;
            self.label("account_name", &account.name);
            self.label("currency", account.currency.as_deref().unwrap_or_default());
            let timezone = account.timezone.as_ref().and_then(TimeZone::iana_name);
            self.label("timezone", timezone.unwrap_or_default());
            self.label("status", &campaign.status);
            self.label("objective", &campaign.objective);
            self.end(1.0)?;
        }
        Ok(())
    }

    fn budgets(&mut self, family: &Family, value: fn(&Campaign) -> Option<f64>) -> io::Result<()> {
        let name = self.begin_family(family);
        for (known, listing, campaign) in campaigns(self.snapshot) {
            let currency = listing.account.currency.as_deref();
            if let Some(value) = value(campaign).filter(|_| currency.is_some()) {
                self.start_campaign(&name, known, listing, campaign);
                self.currency(currency);
                self.end(value)?;
            }
        }
        Ok(())
    }

    fn windows(
        &mut self,
        family: &Family,
        value: fn(&WindowKnown) -> Option<f64>,
    ) -> io::Result<()> {
        let name = self.begin_family(family);
        for known in &self.snapshot.sources {
            for (window, state) in known.source.windows.iter().zip(&known.windows) {
                if let Some(value) = value(state) {
                    self.start_source(&name, known);
                    self.label("window", &window.name);
                    push_user_labels(&mut self.buffer, &known.source.labels);
                    self.end(value)?;
                }
            }
        }
        Ok(())
    }

    fn sources(&mut self, family: &Family, value: fn(&Known) -> Option<f64>) -> io::Result<()> {
        let name = self.begin_family(family);
        for known in &self.snapshot.sources {
            if let Some(value) = value(known) {
                self.start_source(&name, known);
                push_user_labels(&mut self.buffer, &known.source.labels);
                self.end(value)?;
            }
        }
        Ok(())
    }

    fn begin_family(&mut self, family: &Family) -> String {
        let name = format!("{PREFIX}{}", family.name);
        self.begin(&name, family.help);
        name
    }

    fn begin(&mut self, name: &str, help: &str) {
        self.header.clear();
        self.header
            .extend_from_slice(format!("# HELP {name} ").as_bytes());
        push_escaped(&mut self.header, help, false);
        self.header
            .extend_from_slice(format!("\n# TYPE {name} gauge\n").as_bytes());
    }

    fn start(&mut self, name: &str, labels: &[u8]) {
        self.buffer.append(&mut self.header);
        self.buffer.extend_from_slice(name.as_bytes());
        self.buffer.extend_from_slice(labels);
    }

    fn start_campaign(
        &mut self,
        name: &str,
        known: &Known,
        listing: &Listing,
        campaign: &Campaign,
    ) {
        self.start(name, b"{");
        push_label(&mut self.buffer, "business", &known.source.business);
        self.label("account_id", listing.account.id.digits());
        self.label("campaign_id", campaign.id.as_str());
        self.label("campaign_name", &campaign.name);
        push_user_labels(&mut self.buffer, &known.source.labels);
    }

    fn start_source(&mut self, name: &str, known: &Known) {
        self.start(name, b"{");
        push_label(&mut self.buffer, "business", &known.source.business);
        self.label("source", &known.source.name);
    }

    fn label(&mut self, name: &str, value: &str) {
        self.buffer.push(b',');
        push_label(&mut self.buffer, name, value);
    }

    fn currency(&mut self, currency: Option<&str>) {
        if let Some(currency) = currency {
            self.label("currency", currency);
        }
    }

    fn end(&mut self, value: f64) -> io::Result<()> {
        self.buffer.extend_from_slice(b"} ");
        push_number(&mut self.buffer, value);
        self.buffer.push(b'\n');
        self.series += 1;
        if self.buffer.len() >= PORTION {
            self.out.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}

/// Every exported campaign with where it was found. A campaign source that gives way has none.
fn campaigns(snapshot: &Snapshot) -> impl Iterator<Item = (&Known, &Listing, &Campaign)> {
    let sources = snapshot.sources.iter().filter(|known| !known.gives_way);
    sources.flat_map(|known| {
        let listing = known.listing.as_deref();
        let campaigns = listing
            .into_iter()
            .flat_map(|l| l.campaigns.iter().map(move |c| (l, c)));
        campaigns.map(|(listing, campaign)| (known.as_ref(), listing, campaign))
    })
}

/// The HELP of one of the config's own fields.
pub(super) fn extra_help(extra: &ExtraField) -> String {
    format!(
        "{} ({}) as of the last successful poll",
        extra.help, extra.field
    )
}

/// Appends a row's labels: business, ids and names down to its level, window.
pub(super) fn push_row(out: &mut Vec<u8>, business: &str, identity: &Identity, window: &str) {
    let mut label = |separator: u8, name: &str, value: &str| {
        out.push(separator);
        push_label(out, name, value);
    };
    label(b'{', "business", business);
    label(b',', "account_id", identity.account.digits());
    for (id, name, named) in [
        ("campaign_id", "campaign_name", &identity.campaign),
        ("adset_id", "adset_name", &identity.adset),
        ("ad_id", "ad_name", &identity.ad),
    ] {
        if let Some(named) = named {
            label(b',', id, named.id.as_str());
            label(b',', name, &named.name);
        }
    }
    label(b',', "window", window);
}

pub(super) fn push_user_labels(out: &mut Vec<u8>, labels: &Labels) {
    for (name, value) in labels.iter() {
        out.push(b',');
        push_label(out, name, value);
    }
}

/// The first moment of a day: midnight, or what stands for it where clocks skip midnight.
pub(super) fn midnight(day: Date, timezone: &TimeZone) -> Option<f64> {
    let start = day
        .to_zoned(timezone.clone())
        .and_then(|day| day.start_of_day())
        .ok()?;
    Some(start.timestamp().as_duration().as_secs_f64())
}
