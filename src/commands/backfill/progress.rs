//! Progress of a backfill: a progress bar if standard error is a terminal, else a log message every 30 seconds. Progress
//! and remaining time are estimated from the maximum number of rows.

use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget};
use jiff::Timestamp;
use tokio::time::Instant;

use super::super::status_line::{new_status_line, style};
use super::lock;

/// Minimum interval between progress log messages.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// Status line after the number of rows is known.
const BAR_TEMPLATE: &str = "[{bar:24}] {percent:>3} %, {wide_msg}";

/// Characters of the done and the remaining part of the bar.
const BAR_CHARS: &str = "#.";

/// Progress of all sources.
pub(super) struct Progress {
    /// Status line, which is hidden without a terminal.
    bar: ProgressBar,
    state: Mutex<ProgressState>,
}

struct ProgressState {
    started: Instant,
    /// Maximum number of rows; 0 until the plan is complete.
    total_rows: usize,
    /// Maximum number of rows of the queries that have succeeded; more than their actual rows.
    done_rows: usize,
    calls: u64,
    /// Source that is being queried, or that is paused.
    current: String,
    last_logged: Instant,
}

impl Progress {
    /// Creates an empty progress. If `target` is not a terminal, progress is logged.
    pub(super) fn new(target: ProgressDrawTarget) -> Self {
        let now = Instant::now();
        Self {
            bar: new_status_line(target),
            state: Mutex::new(ProgressState {
                started: now,
                total_rows: 0,
                done_rows: 0,
                calls: 0,
                current: String::new(),
                last_logged: now,
            }),
        }
    }

    /// Starts the measurement, with the maximum number of rows to fetch.
    pub(super) fn start(&self, total_rows: usize) {
        let mut state = lock(&self.state);
        state.started = Instant::now();
        state.total_rows = total_rows;
        if total_rows > 0 {
            self.bar
                .set_style(style(BAR_TEMPLATE).progress_chars(BAR_CHARS));
            self.bar.set_length(total_rows as u64);
        }
    }

    /// Shows the source that is being queried.
    pub(super) fn set_current(&self, business: &str, source: &str) {
        let mut state = lock(&self.state);
        state.current = format!("{business}: {source}");
        self.draw(&state);
    }

    /// Records a successful query with at most `max_rows` rows. `calls` is the total number of calls so far.
    pub(super) fn record_response(&self, max_rows: usize, calls: u64) {
        let mut state = lock(&self.state);
        state.done_rows += max_rows;
        state.calls = calls;
        self.draw(&state);
        if self.bar.is_hidden() && state.last_logged.elapsed() >= LOG_INTERVAL {
            state.last_logged = Instant::now();
            let (percent, remaining) = (state.percent(), human_duration(state.remaining()));
            tracing::info!(percent, calls, remaining, "fetching history");
        }
    }

    /// Logs and shows that a source is paused.
    pub(super) fn log_pause(&self, business: &str, source: &str, until: Timestamp, reason: &str) {
        let mut state = lock(&self.state);
        let until = until.strftime("%H:%M:%S UTC").to_string();
        self.bar.suspend(|| {
            tracing::info!(business, source, until, error = reason, "source paused");
        });
        state.current = format!("{source} paused until {until}");
        self.draw(&state);
    }

    /// Removes the status line until the next change.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn draw(&self, state: &ProgressState) {
        if self.bar.is_finished() {
            self.bar.reset();
        }
        if state.total_rows == 0 {
            return self.bar.set_message(state.current.clone());
        }
        self.bar
            .update(|bar| bar.set_pos(state.done_rows.min(state.total_rows) as u64));
        self.bar.set_message(format!(
            "{} calls, {} left; {}",
            state.calls,
            human_duration(state.remaining()),
            state.current
        ));
    }
}

impl ProgressState {
    fn percent(&self) -> usize {
        (self.done_rows.min(self.total_rows) * 100)
            .checked_div(self.total_rows)
            .unwrap_or(0)
    }

    /// Returns the remaining time at the average speed so far; `None` before the first response.
    fn remaining(&self) -> Option<Duration> {
        let done = u32::try_from(self.done_rows)
            .ok()
            .filter(|rows| *rows > 0)?;
        let left = u32::try_from(self.total_rows.saturating_sub(self.done_rows)).ok()?;
        let seconds_per_row = self.started.elapsed().as_secs_f64() / f64::from(done);
        Some(Duration::from_secs_f64(seconds_per_row * f64::from(left)))
    }
}

/// Formats a duration in its two largest units; `?` if it is unknown.
pub(super) fn human_duration(duration: Option<Duration>) -> String {
    let Some(duration) = duration else {
        return "?".to_owned();
    };
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use indicatif::{ProgressDrawTarget, TermLike};

    use super::{Progress, human_duration};

    /// Terminal of one line, with the text that was written last.
    #[derive(Clone, Debug, Default)]
    struct OneLineTerm(Arc<Mutex<String>>);

    impl OneLineTerm {
        fn text(&self) -> String {
            self.0.lock().unwrap().trim_end().to_owned()
        }
    }

    impl TermLike for OneLineTerm {
        fn width(&self) -> u16 {
            100
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            self.0.lock().unwrap().clear();
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn status_line_shows_progress_and_remaining_time() {
        let term = OneLineTerm::default();
        let target = ProgressDrawTarget::term_like(Box::new(term.clone()));
        let progress = Progress::new(target);
        progress.set_current("acme", "act_1");
        assert_eq!(term.text(), "acme: act_1");
        progress.clear();
        assert_eq!(term.text(), "");
        progress.start(400);
        tokio::time::advance(Duration::from_secs(100)).await;
        progress.record_response(100, 7);
        assert_eq!(
            term.text(),
            "[######..................]  25 %, 7 calls, 5 min 0 s left; acme: act_1"
        );
        progress.record_response(1_000, 8);
        let text = term.text();
        assert!(text.contains("] 100 %, 8 calls, 0 s left"), "{text}");
    }

    #[test]
    fn human_duration_has_at_most_two_units() {
        let format = |seconds| human_duration(Some(Duration::from_secs(seconds)));
        assert_eq!(format(59), "59 s");
        assert_eq!(format(61), "1 min 1 s");
        assert_eq!(format(3661), "1 h 1 min");
        assert_eq!(human_duration(None), "?");
    }
}
