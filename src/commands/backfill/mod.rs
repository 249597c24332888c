//! Daily history as OpenMetrics text, for `promtool tsdb create-blocks-from openmetrics`.
//!
//! `work` asks and keeps every answer in a journal; `write` makes the history of it, by the same
//! law and the same catalog as the page; `place` knows the files, `progress` and `told` tell people
//! how far it is and what misses. Series, names and labels are those of the page's window that is today.

mod ask;
mod job;
mod place;
mod progress;
mod survey;
mod told;
mod work;
mod write;

use std::future::Future;
use std::io::{self, Write};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use self::place::Place;
use self::progress::Progress;
use self::survey::oldest;
use self::told::{estimate, missing, withheld};
use self::work::{Work, lock};
use self::write::{Chapter, Unwritten};
use super::Failure;
use crate::app::{self, Errand};
use crate::cli;
use crate::config::Config;
use crate::config_file;
use crate::exposition::Common;
use crate::plan::{Days, MONTHS_KEPT, Plan, Subject};
use crate::row::{DatePreset, Dates};

/// The window whose series the history continues.
const TODAY: &str = "today";

/// How long the writing may take to notice that it was stopped.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Prometheus keeps the last hours in memory, where blocks should not reach.
/// Source: Prometheus' document on storage.
const IN_MEMORY: SignedDuration = SignedDuration::from_hours(3);

/// What a backfill has around it.
pub struct Around<Stop, Show, Out> {
    /// Comes when it is to end.
    pub stop: Stop,
    /// Shows what it is at: one line, written over and over.
    pub show: Show,
    /// Whether somebody sees that.
    pub watched: bool,
    /// The wall clock.
    pub now: fn() -> Timestamp,
    /// Where the history goes without a file.
    pub out: Out,
}

/// Writes the history to the file, or else to `out`; returns whether all of it is there.
///
/// # Errors
/// When the command line or the config is refused, nothing can be written, or `stop` came.
pub async fn run<Stop, Show, Out>(
    flags: &cli::Flags,
    backfill: &cli::Backfill,
    around: Around<Stop, Show, Out>,
) -> Result<bool, Failure>
where
    Stop: Future<Output = ()>,
    Show: Fn(&str) + Send + Sync + 'static,
    Out: Write + Send + 'static,
{
    let Around {
        stop,
        show,
        watched,
        now,
        out,
    } = around;
    // Somewhere it is already this day.
    let today = Offset::constant(14).to_datetime(now()).date();
    let days = days(backfill, today)?;
    let config = config_file::load(&flags.config_file)?;
    let plan = Plan::of(&config, flags.shard()?);
    let window = window(&config)?;
    added_labels(&plan, &backfill.labels)?;
    // As elsewhere, an empty path is none.
    let path = backfill.output_file.as_deref();
    let path = path.filter(|path| !path.as_os_str().is_empty());
    let place = path.map(Place::new).transpose();
    let place = place.map_err(Failure::Refused)?;
    let question = question(&config, &plan, days);
    let journal = place::journal(place.as_ref(), question, known(days, today));
    let journal = journal.map_err(Failure::Refused)?;
    let errand = Errand::new(&config, config.polling.quota_share).map_err(app::Error::from)?;
    let work = Arc::new(Work {
        config,
        plan,
        days,
        now,
        errand,
        journal: Mutex::new(journal),
        progress: Progress::new(show, watched),
        surveyed: Mutex::default(),
        faults: Mutex::default(),
    });

    let mut stop = pin!(stop);
    let asking = async {
        Arc::clone(&work).survey().await;
        work.progress.clear();
        estimate(&work);
        Arc::clone(&work).ask().await;
    };
    let stopped = tokio::select! {
        () = &mut stop => true,
        () = asking => false,
    };
    work.progress.clear();
    if stopped {
        return Err(interrupted(place.as_ref()));
    }
    let missing = missing(&work);
    let withheld = withheld(&work);
    if missing && lock(&work.journal).is_empty() {
        return Err(Failure::Failed("nothing was brought".to_owned()));
    }
    let labels = backfill.labels.clone();
    let flag = Arc::new(AtomicBool::new(false));
    let mut writing = {
        let (work, place, flag) = (Arc::clone(&work), place.clone(), Arc::clone(&flag));
        tokio::task::spawn_blocking(move || written(&work, &window, &labels, place, out, &flag))
    };
    let written = tokio::select! {
        () = &mut stop => {
            flag.store(true, Ordering::Relaxed);
            // Whoever reads it may have stopped reading.
            let _ = tokio::time::timeout(LAST_LINES, &mut writing).await;
            return Err(interrupted(place.as_ref()));
        }
        written = &mut writing => written,
    };
    let samples = match written.map_err(|error| Failure::Failed(error.to_string()))? {
        Ok(samples) => samples,
        Err(error) => {
            let file = place.map(|place| place.to_string());
            let file = file.as_deref().unwrap_or("standard output");
            return Err(Failure::Failed(format!("{file}: {error}")));
        }
    };
    let calls = work.errand.heard().calls;
    match &place {
        Some(place) => {
            tracing::info!(file = %place, samples, calls, "written");
            if !missing && let Err(error) = place.complete() {
                tracing::warn!(file = %place.journal().display(), %error, "the journal is of no more use, and could not be removed");
            }
        }
        None => tracing::info!(samples, calls, "written"),
    }
    let newest = lock(&work.surveyed)
        .values()
        .filter_map(|found| found.newest)
        .max();
    if let Some(newest) = newest.filter(|newest| now().duration_since(*newest) < IN_MEMORY) {
        tracing::warn!(%newest, "the newest day ended less than three hours ago, and Prometheus still holds those in memory: wait, or take an earlier --until, before blocks are made of it");
    }
    Ok(!missing && !withheld)
}

/// The days that are asked for, as far as there can be any.
fn days(backfill: &cli::Backfill, today: Date) -> Result<Days, Failure> {
    let (since, until) = (backfill.since, backfill.until);
    let days = Days::new(since, until).ok_or_else(|| {
        Failure::Refused(format!(
            "--since={since} comes after --until={until}; exchange them"
        ))
    })?;
    if today.yesterday().is_ok_and(|yesterday| yesterday < since) {
        return Err(Failure::Refused(format!(
            "--since={since}: no day of that is over anywhere; a day is told once it is"
        )));
    }
    Ok(days)
}

/// Whether Meta knows them all. What was begun in time goes on when it no longer does.
fn known(days: Days, today: Date) -> Result<(), String> {
    let (since, first) = (days.since(), oldest(today));
    match since < first {
        true => Err(format!(
            "--since={since}: Meta knows the last {MONTHS_KEPT} months; the first day that can be asked for is {first}"
        )),
        false => Ok(()),
    }
}

/// The name of the window that is today on the page.
fn window(config: &Config) -> Result<String, Failure> {
    let today = DatePreset::parse(TODAY).map(Dates::Preset);
    let mut windows = config.windows.iter();
    if let Some(window) = windows.find(|window| Some(window.dates) == today) {
        return Ok(window.name.clone());
    }
    match config.windows.iter().any(|window| window.name == TODAY) {
        true => Err(Failure::Refused(format!(
            "windows: {TODAY} is the name of another window than Meta's; add one with date_preset: {TODAY}, whose series the history is to continue"
        ))),
        false => Ok(TODAY.to_owned()),
    }
}

/// What a scrape adds must not be there already.
fn added_labels(plan: &Plan, labels: &[(String, String)]) -> Result<(), Failure> {
    for (place, (name, _)) in labels.iter().enumerate() {
        let twice = labels[..place].iter().any(|(other, _)| other == name);
        let users = plan.sources.iter().any(|s| s.labels.get(name).is_some());
        if twice || users {
            return Err(Failure::Refused(format!(
                "--label={name}=…: the rows have that label already"
            )));
        }
    }
    Ok(())
}

/// Everything that the answers depend on, line by line.
fn question(config: &Config, plan: &Plan, days: Days) -> Vec<String> {
    let graph = &config.graph;
    let mut lines = vec![
        format!("days {days}"),
        format!("API {} {}", graph.url, graph.version),
    ];
    if let Some(source) = plan.sources.first() {
        // The kind too: a number is scaled by it when it is read.
        let delivery = source.columns.delivery();
        let fields: Vec<String> = delivery
            .map(|(field, kind)| format!("{field}={}", kind.as_str()))
            .collect();
        lines.push(format!("level {}", source.level.as_str()));
        lines.push(format!("fields {}", fields.join(" ")));
        lines.push(format!(
            "action types {}",
            source.columns.action_types.join(" ")
        ));
    }
    let sources = plan.sources.iter();
    lines.extend(sources.map(|source| {
        let conversions = match source.conversions {
            true => "",
            false => ", without conversions",
        };
        let only = match &source.subject {
            Subject::AdAccount { only, .. } if !only.is_empty() => {
                let only: Vec<&str> = only.iter().map(|id| id.as_str()).collect();
                format!(", campaigns {}", only.join(" "))
            }
            _ => String::new(),
        };
        format!(
            "source {}: {}{only}{conversions}",
            source.business, source.name
        )
    }));
    lines
}

/// Writes to the file, as a whole or not at all, or to `out`.
fn written(
    work: &Work,
    window: &str,
    labels: &[(String, String)],
    place: Option<Place>,
    mut out: impl Write,
    stopped: &AtomicBool,
) -> Result<u64, Unwritten> {
    let extra = work
        .plan
        .sources
        .first()
        .map(|source| Arc::clone(&source.columns.extra));
    let common = Common {
        window,
        labels,
        extra: extra.as_deref().unwrap_or_default(),
    };
    let journal = lock(&work.journal);
    let chapters: Vec<Chapter> = lock(&work.surveyed)
        .iter()
        .filter(|(_, found)| !found.gives_way)
        .filter_map(|(place, found)| {
            Some(Chapter {
                place: *place,
                source: Arc::clone(&work.plan.sources[*place]),
                days: found.days?,
            })
        })
        .collect();
    let Some(place) = place else {
        let mut out = io::BufWriter::new(&mut out);
        return match write::write(&journal, &chapters, &common, &mut out, stopped) {
            // A reader that has had enough (`| head`) is no failure.
            Err(Unwritten::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
            written => written,
        };
    };
    let mut file = place.begin()?;
    let samples = write::write(&journal, &chapters, &common, file.as_file_mut(), stopped)?;
    place.replace(file)?;
    Ok(samples)
}

fn interrupted(place: Option<&Place>) -> Failure {
    Failure::Failed(match place {
        Some(place) => format!(
            "stopped; what was brought is kept in {}, and the same command goes on from there",
            place.journal().display()
        ),
        None => "stopped; with --output.file what was brought would be kept".to_owned(),
    })
}
