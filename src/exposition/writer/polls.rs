//! The samples of a family that is of the polls of sources.

use std::io::{self, Write};
use std::sync::Arc;

use super::lines::Lines;
use crate::exposition::catalog::PerPoll;
use crate::exposition::labels::push_source;
use crate::snapshot::Known;

/// Writes what the family `name` says of the polls of some sources.
pub(in crate::exposition) fn polls<W: Write>(
    lines: &mut Lines<W>,
    name: &str,
    of: PerPoll,
    sources: &[Arc<Known>],
) -> io::Result<()> {
    let mut labels = Vec::new();
    let mut line = |known: &Known, window: Option<&str>, value: Option<f64>| {
        let Some(value) = value else { return Ok(()) };
        labels.clear();
        push_source(&mut labels, known, window);
        lines.line(name, &labels, b"} ", value)
    };
    for known in sources {
        match of {
            PerPoll::Source(value) => line(known, None, value(known))?,
            PerPoll::Window(value) => {
                for (window, state) in known.source.windows.iter().zip(&known.windows) {
                    line(known, Some(&window.name), value(state))?;
                }
            }
        }
    }
    Ok(())
}
