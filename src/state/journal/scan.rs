//! What a journal's file holds, up to the first frame that is not whole.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};

use super::Unusable;
use super::head::{ANSWER, Head, LISTING, QUESTION, ROWS};
use crate::state::frames::{FRAME_HEAD, read_frame, taken, taken_start};
use crate::state::kept::Kept;

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    /// What all of it answers; nothing where not even that is whole.
    pub(super) question: Vec<String>,
    /// Where the newest listing of each source is.
    pub(super) listings: BTreeMap<usize, u64>,
    /// The answers that are whole, and where their rows begin.
    pub(super) answers: Vec<(Head, u64)>,
    /// Where the last whole frame ends that belongs to nothing unfinished.
    pub(super) end: u64,
}

/// Reads the frames that begin at `at`.
///
/// # Errors
/// Where they cannot be read; frames that are cut off or changed are the end.
pub(super) fn scan(from: &mut impl Read, mut at: u64) -> Result<Found, Unusable> {
    let mut found = Found {
        end: at,
        ..Found::default()
    };
    // An answer whose rows are still to come, where they begin, and how many keys are left.
    let mut open: Option<(Head, u64, usize)> = None;
    loop {
        let frame = match read_frame(from) {
            Ok(frame) => frame,
            Err(Unusable::Io(error)) if error.kind() != ErrorKind::UnexpectedEof => {
                return Err(error.into());
            }
            // Cut off, or the end.
            Err(_) => break,
        };
        let begin = at;
        at += FRAME_HEAD + frame.len() as u64;
        let read = match (frame.first(), open.take()) {
            (Some(&QUESTION), None) => taken(&frame, |from| {
                from.byte()?;
                found.question = Kept::take(from)?;
                Ok(None)
            }),
            (Some(&LISTING), None) => taken_start(&frame, |from| {
                from.byte()?;
                found.listings.insert(usize::take(from)?, begin);
                Ok(None)
            }),
            (Some(&ANSWER), None) => taken(&frame, |from| {
                from.byte()?;
                let head = Head::take(from)?;
                let keys = head.keys;
                Ok(Some((head, at, keys)))
            }),
            (Some(&ROWS), Some((head, first, left))) => {
                Ok(left.checked_sub(1).map(|left| (head, first, left)))
            }
            _ => break,
        };
        match read {
            Ok(Some((head, first, 0))) => {
                found.answers.push((head, first));
                found.end = at;
            }
            Ok(Some(more)) => open = Some(more),
            Ok(None) => found.end = at,
            Err(_) => break,
        }
    }
    Ok(found)
}
