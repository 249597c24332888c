//! The journal of a backfill: every answer as it came, so that none is asked for twice, and so
//! that years of them need no memory.
//!
//! A header line that names the layout, and frames: the question that all of it answers, listings,
//! and answers, each a head and the rows of one key after another, by key. A frame is its length,
//! its bytes and their CRC-32. Frames are only ever appended; what a crash left half-written at
//! the end is cut off. It holds no secret: neither rows nor listings have one.
//!
//! It is appended to here; `head` tells frames apart, `scan` finds what an old file holds, and
//! `rows` reads it again, key by key.

mod head;
mod rows;
mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use self::head::{ANSWER, Head, LISTING, QUESTION, ROWS};
pub use self::rows::Keyed;
use self::rows::Rows;
use self::scan::scan;
use super::Refused;
use super::frames::{At, framed, read_frame, taken};
use super::kept::Kept;
use crate::listing::Listing;
use crate::plan::{Days, Question};
use crate::row::Row;

/// What every layout's header begins with; its number and the line's end follow.
const MAGIC: &str = "marketing-messages-exporter backfill ";

/// The layout of all behind the header. Whoever changes one raises the other.
const LAYOUT: u64 = 1;

/// Bytes that are read at once of each of many answers.
const PORTION: usize = 8 * 1024;

/// Why a journal cannot be used; each goes on after `<file>: `.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The system does not let us.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Somebody else wrote it.
    #[error("it is no journal of a backfill")]
    Foreign,
    /// Another process holds it.
    #[error("another backfill is writing this")]
    Held,
    /// Another release wrote it.
    #[error("another release wrote it")]
    OtherRelease,
    /// It was whole when it was opened.
    #[error("it was damaged: {0}")]
    Damaged(Refused),
}

/// A journal, open for more.
#[derive(Debug)]
pub struct Journal {
    file: File,
    /// Where the next frame goes.
    end: u64,
    /// Whether each answer is to outlast a power cut.
    durable: bool,
    question: Vec<String>,
    listings: BTreeMap<usize, u64>,
    answers: BTreeMap<(usize, Question), BTreeMap<Days, Answer>>,
}

/// Where an answer's rows are, and what it did not tell.
#[derive(Debug)]
struct Answer {
    at: u64,
    keys: usize,
    withheld: BTreeSet<Box<str>>,
}

impl Journal {
    /// The file for a journal, made where there is none. Only its owner may read it, and nobody
    /// else can hold it until it is closed; what it says is left as it is.
    ///
    /// # Errors
    /// Where it cannot be opened, is somebody else's file, or is held already.
    pub fn hold(path: &Path) -> Result<File, Unusable> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.mode(0o600);
        loop {
            match std::fs::metadata(path) {
                Ok(found) if !found.is_file() => return Err(Unusable::Foreign),
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
            let file = options.open(path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => return Err(Unusable::Held),
                locked => locked.map_err(io::Error::from)?,
            }
            // Whoever held it until now may have removed it: then another one is to be made.
            let held = file.metadata()?;
            match std::fs::metadata(path) {
                Ok(found) if (found.dev(), found.ino()) == (held.dev(), held.ino()) => {
                    return Ok(file);
                }
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
    }

    /// A journal in that file, in place of whatever it holds, of answers to that question.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn begin(mut file: File, durable: bool, question: Vec<String>) -> io::Result<Self> {
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(header().as_bytes())?;
        let mut journal = Self {
            file,
            end: header().len() as u64,
            durable,
            question: Vec::new(),
            listings: BTreeMap::new(),
            answers: BTreeMap::new(),
        };
        let frame = framed(&question, |question, out| {
            out.bytes(&[QUESTION]);
            question.put(out);
        });
        journal.append(&frame?)?;
        journal.question = question;
        Ok(journal)
    }

    /// The journal in that file; `None` where it holds nothing yet. The file is held as long as
    /// either of the two is open.
    ///
    /// # Errors
    /// Where it cannot be read, or is somebody else's file.
    pub fn open(file: &File) -> Result<Option<Self>, Unusable> {
        let mut file = file.try_clone()?;
        file.rewind()?;
        let mut start = Vec::new();
        let header = header();
        (&mut file)
            .take(header.len() as u64)
            .read_to_end(&mut start)?;
        if start != header.as_bytes() {
            return match header.as_bytes().starts_with(&start) {
                true => Ok(None),
                false if start.starts_with(MAGIC.as_bytes()) => Err(Unusable::OtherRelease),
                false => Err(Unusable::Foreign),
            };
        }
        let mut journal = Self {
            file,
            end: header.len() as u64,
            durable: true,
            question: Vec::new(),
            listings: BTreeMap::new(),
            answers: BTreeMap::new(),
        };
        let mut from = BufReader::new(At {
            file: &journal.file,
            at: journal.end,
        });
        let found = scan(&mut from, journal.end)?;
        (journal.question, journal.listings, journal.end) =
            (found.question, found.listings, found.end);
        for (head, first) in found.answers {
            journal.admit(head, first);
        }
        // Whatever stands behind its last whole frame was never finished.
        journal.file.set_len(journal.end)?;
        journal.file.seek(SeekFrom::Start(journal.end))?;
        Ok((!journal.question.is_empty()).then_some(journal))
    }

    /// What all of it answers.
    pub fn question(&self) -> &[String] {
        &self.question
    }

    /// Keeps what discovery found of a source; the newest one counts.
    ///
    /// # Errors
    /// Where it cannot be written; the journal is then as it was.
    pub fn keep_listing(&mut self, source: usize, listing: &Listing) -> io::Result<()> {
        let at = self.end;
        let frame = framed(listing, |listing, out| {
            out.bytes(&[LISTING]);
            out.count(source);
            listing.put(out);
        });
        self.append(&frame?)?;
        self.listings.insert(source, at);
        Ok(())
    }

    /// What discovery found of a source.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn listing(&self, source: usize) -> Result<Option<Listing>, Unusable> {
        let Some(at) = self.listings.get(&source) else {
            return Ok(None);
        };
        let frame = read_frame(&mut self.at(*at))?;
        let read = taken(&frame, |from| {
            let (_, _) = (from.byte()?, usize::take(from)?);
            Listing::take(from)
        });
        read.map(Some).map_err(Unusable::Damaged)
    }

    /// Keeps the answer to one question about those days of a source.
    ///
    /// # Errors
    /// Where it cannot be written; the journal is then as it was.
    pub fn keep(
        &mut self,
        source: usize,
        question: Question,
        days: Days,
        mut rows: Vec<Row>,
        withheld: BTreeSet<Box<str>>,
    ) -> io::Result<()> {
        rows.sort_by(|a, b| (a.identity.key(), a.start).cmp(&(b.identity.key(), b.start)));
        let keyed: Vec<&[Row]> = rows
            .chunk_by(|a, b| a.identity.key() == b.identity.key())
            .collect();
        let head = Head {
            source,
            conversions: question == Question::Conversions,
            days,
            keys: keyed.len(),
            withheld,
        };
        let mut frames = framed(&head, |head, out| {
            out.bytes(&[ANSWER]);
            head.put(out);
        })?;
        let first = self.end + frames.len() as u64;
        for rows in keyed {
            let frame = framed(rows, |rows, out| {
                out.bytes(&[ROWS]);
                out.count(rows.len());
                for row in rows {
                    row.put(out);
                }
            });
            frames.extend(frame?);
        }
        self.append(&frames)?;
        self.admit(head, first);
        Ok(())
    }

    /// The days of a source that one question is answered for, in order of their first days.
    pub fn answered(&self, source: usize, question: Question) -> Vec<Days> {
        let answers = self.answers.get(&(source, question));
        answers
            .into_iter()
            .flat_map(|a| a.keys().copied())
            .collect()
    }

    /// What was not believed of a source: the question, the days, and the key.
    pub fn withheld(&self, source: usize) -> impl Iterator<Item = (Question, Days, &str)> {
        self.of(source).flat_map(|(question, days, answer)| {
            let keys = answer.withheld.iter();
            keys.map(move |key| (question, days, key.as_ref()))
        })
    }

    fn of(&self, source: usize) -> impl Iterator<Item = (Question, Days, &Answer)> {
        let both = [Question::Delivery, Question::Conversions];
        let both = both.map(|question| (question, self.answers.get(&(source, question))));
        both.into_iter().flat_map(|(question, answers)| {
            let answers = answers.into_iter().flatten();
            answers.map(move |(days, answer)| (question, *days, answer))
        })
    }

    /// Whether it holds any answer.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// The rows of a source, key by key.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn rows(&self, source: usize) -> Result<Rows<'_>, Unusable> {
        let answers = self.of(source);
        Rows::merged(
            answers.map(|(question, _, answer)| (question, self.at(answer.at), answer.keys)),
        )
    }

    fn at(&self, at: u64) -> BufReader<At<'_>> {
        let file = &self.file;
        BufReader::with_capacity(PORTION, At { file, at })
    }

    /// Appends frames, all or none of them.
    fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        let written = self
            .file
            .write_all(frames)
            .and_then(|()| match self.durable {
                true => self.file.sync_data(),
                false => Ok(()),
            });
        if let Err(error) = written {
            // A full disk may have taken a part of them; that part is cut off at the next start
            // too, should this not succeed.
            let _ = self.file.set_len(self.end);
            let _ = self.file.seek(SeekFrom::Start(self.end));
            return Err(error);
        }
        self.end += frames.len() as u64;
        Ok(())
    }

    fn admit(&mut self, head: Head, at: u64) {
        let question = head.question();
        let answer = Answer {
            at,
            keys: head.keys,
            withheld: head.withheld,
        };
        let answers = self.answers.entry((head.source, question)).or_default();
        answers.insert(head.days, answer);
    }
}

fn header() -> String {
    format!("{MAGIC}{LAYOUT}\n")
}
