//! Writes a snapshot in the Prometheus text format: the families of the catalog, in a stable order
//! and without duplicate series.
//!
//! `batch` joins rows and renders their labels once for all families. `rows`, `campaigns` and `polls`
//! write the samples of one family, and `samples` buffers the output.

mod batch;
mod campaigns;
mod polls;
mod rows;
mod samples;

use std::io::{self, Write};

pub(super) use self::batch::batches;
pub(super) use self::campaigns::{accounts, campaigns};
pub(super) use self::polls::polls;
pub(super) use self::rows::rows;
pub(super) use self::samples::SampleWriter;
use super::catalog::SampleSource;
use super::header::family_headers;
use crate::config::ExtraFieldConfig;
use crate::snapshot::Snapshot;

/// Writes the campaign page of a snapshot (the metrics page without self metrics) as uncompressed text, and returns its
/// number of series. `MetricsPage` writes the same text in compressed chunks.
///
/// # Errors
/// Returns the errors of `out`.
pub fn write_campaign_page(snapshot: &Snapshot, out: &mut impl Write) -> io::Result<u64> {
    let batches: Vec<_> = batches(snapshot.windows()).collect();
    let mut writer = SampleWriter::new(out);
    for header in family_headers(extra_fields(snapshot)) {
        writer.begin_family(header.text(false));
        match header.source {
            SampleSource::Row(sample) => {
                for batch in &batches {
                    rows(&mut writer, &header.name, sample, batch)?;
                }
            }
            SampleSource::Campaign(sample) => {
                campaigns(&mut writer, &header.name, sample, &snapshot.sources)?
            }
            SampleSource::Account(sample) => {
                accounts(&mut writer, &header.name, sample, &snapshot.sources)?
            }
            SampleSource::Poll(sample) => {
                polls(&mut writer, &header.name, sample, &snapshot.sources)?
            }
            // Not a family: `family_headers` replaces it by one family per extra field.
            SampleSource::Extras => {}
        }
    }
    writer.flush()?;
    Ok(writer.series)
}

/// Returns the config's `extra_fields`, which are the same for all sources.
pub(super) fn extra_fields(snapshot: &Snapshot) -> &[ExtraFieldConfig] {
    let first = snapshot.sources.first();
    first.map_or(&[], |state| &state.source.columns.extra)
}
