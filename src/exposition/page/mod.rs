//! What is served, ready to be handed out: the campaign page, compressed where it changed, and the own
//! metrics that grow with the number of businesses; joined at each scrape with the few others into
//! one gzip member.
//!
//! A member is a header, one deflate stream, and the checksum and length of the whole text. The
//! stream is made of segments: the few own metrics as they are now, then those that were kept.
//! Two members would be read in full by Prometheus, and cut after the first by curl, wget and
//! browsers.
//!
//! The text format wants all samples of a family together, while a poll changes a few rows in every
//! family. So the page is cut both ways: into `stretch`es of neighbouring sources, each rendered into a
//! `parcel` that has one segment a family, and put together family by family. A parcel of which
//! nothing changed goes from page to page as it is.

mod headed;
mod parcel;
mod segment;
mod stretch;

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use flate2::write::DeflateDecoder;

use self::headed::Headed;
use self::parcel::Parcel;
use self::segment::{END, Segment, Sum};
use self::stretch::Stretch;
use super::heading::headings;
use super::writer::extra;
use crate::snapshot::Snapshot;

/// The text format, exactly as Prometheus 3 wants it named.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// No name, no time, unknown system: the same text is always the same bytes.
const GZIP_HEADER: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// A snapshot with its page, ready to be handed out any number of times.
#[derive(Clone, Debug)]
pub struct Page {
    /// What the page says.
    pub snapshot: Arc<Snapshot>,
    /// How many series the campaign page has.
    pub series: u64,
    /// How many bytes the campaign page has as plain text.
    pub plain_bytes: u64,
    /// The own metrics of every business, as plain text.
    pub businesses: Bytes,
    own: Segment,
    headed: Arc<Headed>,
    parcels: Arc<[Arc<Parcel>]>,
    /// The campaign page, in order, and its sum.
    campaigns: Arc<[Bytes]>,
    sum: Sum,
}

/// A page as one gzip member.
#[derive(Debug)]
pub struct Member {
    head: [Bytes; 3],
    campaigns: Arc<[Bytes]>,
    tail: Bytes,
}

impl Page {
    /// Renders and compresses a snapshot, in portions: the plain page as a whole never stands in
    /// memory. `businesses` is the text of the own metrics that grow with their number; `before`
    /// is the page that this one replaces: what has not changed since is taken from it.
    ///
    /// CPU-bound, tens of milliseconds a 100,000 series that changed: keep it off the async workers.
    ///
    /// # Errors
    /// None that the page can cause; what writing to memory may say.
    pub fn render(
        snapshot: Arc<Snapshot>,
        businesses: String,
        before: Option<&Self>,
    ) -> io::Result<Self> {
        let before = before.filter(|before| extra(&before.snapshot) == extra(&snapshot));
        let headed = match before {
            Some(before) => Arc::clone(&before.headed),
            None => Arc::new(Headed::of(headings(extra(&snapshot)))?),
        };
        let kept = kept(before, &snapshot);
        let parcels = Stretch::all(&snapshot)
            .into_iter()
            .map(|stretch| match kept.get(&stretch) {
                Some(parcel) => Ok(Arc::clone(parcel)),
                None => Parcel::render(stretch, &snapshot, &headed.headings).map(Arc::new),
            });
        let parcels = parcels.collect::<io::Result<Arc<[_]>>>()?;
        let (campaigns, sum) = together(&headed, &parcels);
        Ok(Self {
            snapshot,
            series: parcels.iter().map(|parcel| parcel.series).sum(),
            plain_bytes: sum.length,
            own: Segment::of(businesses.as_bytes())?,
            businesses: businesses.into(),
            headed,
            parcels,
            campaigns,
            sum,
        })
    }

    /// The same campaign page with other own metrics.
    ///
    /// # Errors
    /// As [`Page::render`].
    pub fn with_businesses(&self, businesses: String) -> io::Result<Self> {
        Ok(Self {
            own: Segment::of(businesses.as_bytes())?,
            businesses: businesses.into(),
            ..self.clone()
        })
    }

    /// Writes the campaign page as text: what is kept compressed says it all, and no row is looked at.
    ///
    /// # Errors
    /// Only what `out` says when it takes no more.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let mut inflater = DeflateDecoder::new(out);
        for piece in self.campaigns.iter() {
            inflater.write_all(piece)?;
        }
        inflater.write_all(END)?;
        inflater.finish().map(drop)
    }

    /// One gzip member of `few` own metrics and this page. Nothing is compressed, and the page itself
    /// is not copied.
    pub fn gzip(&self, few: &[u8]) -> Member {
        let few = Segment::stored(few);
        let mut sum = few.sum;
        sum.append(&self.own.sum);
        sum.append(&self.sum);
        let mut tail = END.to_vec();
        tail.extend_from_slice(&sum.checksum.finalize().to_le_bytes());
        // The format wants the length modulo 2^32: its lower four bytes.
        tail.extend_from_slice(&sum.length.to_le_bytes()[..4]);
        let head = Bytes::from_static(GZIP_HEADER);
        Member {
            head: [head, few.deflated, self.own.deflated.clone()],
            campaigns: Arc::clone(&self.campaigns),
            tail: tail.into(),
        }
    }
}

/// The parcels that say the same of the new snapshot.
fn kept<'a>(before: Option<&'a Page>, snapshot: &Snapshot) -> HashMap<Stretch, &'a Arc<Parcel>> {
    let parcels = before.into_iter().flat_map(|before| {
        let parcels = before.parcels.iter();
        parcels.filter(|parcel| parcel.stretch.is_same(&before.snapshot, snapshot))
    });
    parcels.map(|parcel| (parcel.stretch, parcel)).collect()
}

/// The page, family by family, and its sum.
fn together(headed: &Headed, parcels: &[Arc<Parcel>]) -> (Arc<[Bytes]>, Sum) {
    let (mut pieces, mut sum) = (Vec::new(), Sum::default());
    for (family, heading) in headed.segments.iter().enumerate() {
        let segments = parcels.iter().filter_map(|parcel| parcel.segment(family));
        for (place, segment) in segments.enumerate() {
            // A family without a sample has no heading either.
            for segment in (place == 0).then_some(heading).into_iter().chain([segment]) {
                sum.append(&segment.sum);
                pieces.push(segment.deflated.clone());
            }
        }
    }
    (pieces.into(), sum)
}

impl Member {
    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        let (head, tail) = (self.head.iter(), std::iter::once(&self.tail));
        let pieces = head.chain(self.campaigns.iter()).chain(tail);
        pieces.map(|piece| piece.len() as u64).sum()
    }

    /// Its pieces, in order; none is empty.
    pub fn pieces(self) -> impl Iterator<Item = Bytes> + Send {
        let Self {
            head,
            campaigns,
            tail,
        } = self;
        let campaigns = (0..campaigns.len()).map(move |place| campaigns[place].clone());
        let pieces = head.into_iter().chain(campaigns).chain([tail]);
        pieces.filter(|piece| !piece.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use super::Page;
    use crate::snapshot::Snapshot;

    #[test]
    fn an_empty_page_and_own_metrics_are_one_gzip_member() {
        let page = Page::render(Arc::new(Snapshot::default()), "old 1\n".to_owned(), None).unwrap();
        let page = page.with_businesses("business 1\n".to_owned()).unwrap();
        let member = page.gzip(b"own 1\n");
        let member: Vec<u8> = member.pieces().flatten().collect();
        let mut text = String::new();
        flate2::read::GzDecoder::new(member.as_slice())
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "own 1\nbusiness 1\n");
    }
}
