//! The rows of a source, key by key, merged from all its answers; of each a portion is in memory.

use std::io::BufReader;

use super::Unusable;
use crate::plan::Question;
use crate::row::Row;
use crate::state::frames::{At, read_frame, taken};
use crate::state::kept::Kept;

/// The rows of one key, day by day.
#[derive(Debug, Default)]
pub struct Keyed {
    /// What answered the delivery query.
    pub delivery: Vec<Row>,
    /// What answered the conversions query.
    pub conversions: Vec<Row>,
}

/// The rows of one source, merged from all its answers.
#[derive(Debug)]
pub struct Rows<'a> {
    cursors: Vec<Cursor<'a>>,
}

impl<'a> Rows<'a> {
    /// Those of such answers: the question, where the first key's rows begin, and how many keys.
    pub(super) fn merged(
        answers: impl Iterator<Item = (Question, BufReader<At<'a>>, usize)>,
    ) -> Result<Self, Unusable> {
        let cursors = answers.map(|(question, from, left)| {
            let rows = Vec::new();
            let mut cursor = Cursor {
                question,
                from,
                left,
                rows,
            };
            cursor.advance().map(|()| cursor)
        });
        Ok(Self {
            cursors: cursors.collect::<Result<_, _>>()?,
        })
    }

    /// The rows of the next key, each question's by day; `None` after the last one.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn next(&mut self) -> Result<Option<Keyed>, Unusable> {
        let keys = self.cursors.iter().filter_map(Cursor::key);
        let Some(key) = keys.min().map(Box::<str>::from) else {
            return Ok(None);
        };
        let mut keyed = Keyed::default();
        for cursor in &mut self.cursors {
            if cursor.key() != Some(&key) {
                continue;
            }
            match cursor.question {
                Question::Delivery => keyed.delivery.append(&mut cursor.rows),
                Question::Conversions => keyed.conversions.append(&mut cursor.rows),
            }
            cursor.advance()?;
        }
        // Days may have been asked for in any order.
        keyed.delivery.sort_by_key(|row| row.start);
        keyed.conversions.sort_by_key(|row| row.start);
        Ok(Some(keyed))
    }
}

/// One answer that is being read.
#[derive(Debug)]
struct Cursor<'a> {
    question: Question,
    from: BufReader<At<'a>>,
    /// How many keys are still to be read.
    left: usize,
    /// The rows of the next key; none after the last one.
    rows: Vec<Row>,
}

impl Cursor<'_> {
    fn key(&self) -> Option<&str> {
        self.rows.first().map(|row| row.identity.key())
    }

    fn advance(&mut self) -> Result<(), Unusable> {
        self.rows.clear();
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            let frame = read_frame(&mut self.from)?;
            self.rows = taken(&frame, |from| {
                from.byte()?;
                Vec::take(from)
            })
            .map_err(Unusable::Damaged)?;
        }
        Ok(())
    }
}
