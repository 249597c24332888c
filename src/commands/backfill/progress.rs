//! What a backfill is at: a line that is written over and over for somebody who watches, a log line
//! now and then for nobody in particular.

use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::work::lock;

/// How often a log line says how far it is.
const NOW_AND_THEN: Duration = Duration::from_secs(30);

/// How many letters the bar has.
const BAR: usize = 24;

/// How far the asking is.
pub(super) struct Progress {
    show: Box<dyn Fn(&str) + Send + Sync>,
    watched: bool,
    state: Mutex<State>,
}

struct State {
    begun: Instant,
    /// Rows that may come, of which so many came or turned out not to be.
    all: usize,
    done: usize,
    calls: u64,
    at: String,
    logged: Instant,
}

impl Progress {
    /// `show` writes the line; `watched` says whether somebody sees it.
    pub(super) fn new(show: impl Fn(&str) + Send + Sync + 'static, watched: bool) -> Self {
        let now = Instant::now();
        Self {
            show: Box::new(show),
            watched,
            state: Mutex::new(State {
                begun: now,
                all: 0,
                done: 0,
                calls: 0,
                at: String::new(),
                logged: now,
            }),
        }
    }

    /// So many rows may come from here on.
    pub(super) fn begin(&self, all: usize) {
        let mut state = lock(&self.state);
        state.begun = Instant::now();
        state.all = all;
    }

    /// A source is being asked.
    pub(super) fn at(&self, business: &str, source: &str) {
        let mut state = lock(&self.state);
        state.at = format!("{business}: {source}");
        self.draw(&state);
    }

    /// An answer came that could have had so many rows; so many calls in all.
    pub(super) fn answered(&self, rows: usize, calls: u64) {
        let mut state = lock(&self.state);
        state.done += rows;
        state.calls = calls;
        self.draw(&state);
        if !self.watched && state.logged.elapsed() >= NOW_AND_THEN {
            state.logged = Instant::now();
            let (percent, left) = (state.percent(), spoken(state.left()));
            tracing::info!(percent, calls, left, "asking");
        }
    }

    /// A source has to wait.
    pub(super) fn held(&self, business: &str, source: &str, until: Timestamp, why: &str) {
        let mut state = lock(&self.state);
        let until = until.strftime("%H:%M:%S UTC").to_string();
        self.clear();
        tracing::info!(business, source, until, fault = why, "held off");
        state.at = format!("{source} held off until {until}");
        self.draw(&state);
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        (self.show)("");
    }

    fn draw(&self, state: &State) {
        if !self.watched {
            return;
        }
        if state.all == 0 {
            return (self.show)(&state.at);
        }
        let percent = state.percent();
        let full = "#".repeat(percent * BAR / 100);
        (self.show)(&format!(
            "[{full:.<BAR$}] {percent:3} %, {} calls, {} left; {}",
            state.calls,
            spoken(state.left()),
            state.at
        ));
    }
}

impl State {
    fn percent(&self) -> usize {
        (self.done.min(self.all) * 100)
            .checked_div(self.all)
            .unwrap_or(0)
    }

    /// How much longer it takes, if all goes on as it did; `None` before anything is known.
    fn left(&self) -> Option<Duration> {
        let done = u32::try_from(self.done).ok().filter(|done| *done > 0)?;
        let left = u32::try_from(self.all.saturating_sub(self.done)).ok()?;
        let a_row = self.begun.elapsed().as_secs_f64() / f64::from(done);
        Some(Duration::from_secs_f64(a_row * f64::from(left)))
    }
}

/// A duration in the two units that people would name.
pub(super) fn spoken(duration: Option<Duration>) -> String {
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
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::{Progress, spoken};

    #[tokio::test(start_paused = true)]
    async fn the_bar_tells_how_much_is_done_and_left() {
        let shown = Arc::new(Mutex::new(String::new()));
        let line = Arc::clone(&shown);
        let show = move |text: &str| *line.lock().unwrap() = text.to_owned();
        let progress = Progress::new(show, true);
        progress.at("acme", "act_1");
        assert_eq!(*shown.lock().unwrap(), "acme: act_1");
        progress.begin(400);
        tokio::time::advance(Duration::from_secs(100)).await;
        progress.answered(100, 7);
        assert_eq!(
            *shown.lock().unwrap(),
            "[######..................]  25 %, 7 calls, 5 min 0 s left; acme: act_1"
        );
        progress.answered(1_000, 8);
        assert!(shown.lock().unwrap().contains("] 100 %, 8 calls, 0 s left"));
    }

    #[test]
    fn durations_are_spoken_in_two_units() {
        let told = |seconds| spoken(Some(Duration::from_secs(seconds)));
        assert_eq!(told(59), "59 s");
        assert_eq!(told(61), "1 min 1 s");
        assert_eq!(told(3661), "1 h 1 min");
        assert_eq!(spoken(None), "?");
    }
}
