//! Table × snapshot → text: one block a family, in a stable order, no series twice.
//!
//! `batch` makes rows ready to be written many times over: once a family. `rows`, `campaigns` and
//! `polls` write the samples of one family, `lines` takes them on their way out.

mod batch;
mod campaigns;
mod lines;
mod polls;
mod rows;

use std::io::{self, Write};

pub(super) use self::batch::batches;
pub(super) use self::campaigns::campaigns;
pub(super) use self::lines::Lines;
pub(super) use self::polls::polls;
pub(super) use self::rows::rows;
use super::catalog::Of;
use super::heading::headings;
use crate::config::ExtraField;
use crate::snapshot::Snapshot;

/// Writes the campaign page of a snapshot; returns how many series it has.
///
/// # Errors
/// Only what `out` says when it takes no more.
pub fn write(snapshot: &Snapshot, out: &mut impl Write) -> io::Result<u64> {
    let batches: Vec<_> = batches(snapshot.windows()).collect();
    let mut lines = Lines::to(out);
    for heading in headings(extra(snapshot)) {
        lines.begin(heading.text(false));
        match heading.of {
            Of::Row(of) => {
                for batch in &batches {
                    rows(&mut lines, &heading.name, of, batch)?;
                }
            }
            Of::Campaign(of) => campaigns(&mut lines, &heading.name, of, &snapshot.sources)?,
            Of::Poll(of) => polls(&mut lines, &heading.name, of, &snapshot.sources)?,
            Of::Extras => {}
        }
    }
    lines.flush()?;
    Ok(lines.series)
}

/// The config's own fields. The config is one for all sources; after a reload, so is the snapshot's.
pub(super) fn extra(snapshot: &Snapshot) -> &[ExtraField] {
    let first = snapshot.sources.first();
    first.map_or(&[], |known| &known.source.columns.extra)
}
