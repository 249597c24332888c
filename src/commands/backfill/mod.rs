//! `backfill`: daily history as OpenMetrics text, for `promtool tsdb create-blocks-from openmetrics`.
//!
//! `plan` determines the days and queries of each source, `fetch` sends the queries and appends every response to a
//! journal, and `job` decides how to continue after an error. `write` converts the journal to history with the same
//! rules and metric catalog as the metrics page; `output` manages the output file and the journal file. `progress` and
//! `summary` report estimate, progress and gaps. Metric names and labels are those of the window with
//! `date_preset: today`, so that the history continues its series.

mod fetch;
mod job;
mod output;
mod plan;
mod progress;
mod run;
mod summary;
mod write;

use std::future::Future;
use std::io::{self, Write};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::ProgressDrawTarget;
use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use self::output::OutputFile;
use self::plan::oldest_day;
use self::progress::Progress;
use self::run::BackfillRun;
use self::summary::{log_estimate, log_missing, log_withheld};
use self::write::{SourceHistory, WriteError};
use super::CommandError;
use crate::app::{self, ApiSession};
use crate::cli;
use crate::config::Config;
use crate::metrics::HistoryLabels;
use crate::model::{DatePreset, WindowDates};
use crate::plan::{DayRange, Plan, RETENTION_MONTHS, SourceKind};
use crate::platform::file_reader;

/// `date_preset` of the window that the history continues, and the default name of that window.
const TODAY: &str = "today";

/// Maximum time that the writing thread may take to stop after a signal.
const WRITER_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Time range that Prometheus keeps in memory (the head block). Blocks must not overlap with it.
/// Source: Prometheus' document on storage.
const HEAD_BLOCK_AGE: SignedDuration = SignedDuration::from_hours(3);

/// Environment of a backfill: signals, terminal, clock and standard output.
pub struct BackfillEnv<Stop, Out> {
    /// Completes when the backfill must stop.
    pub stop: Stop,
    /// Destination of the progress bar. If it is not a terminal, progress is logged.
    pub draw_target: ProgressDrawTarget,
    /// Clock.
    pub now: fn() -> Timestamp,
    /// Destination of the history without `--output.file`.
    pub out: Out,
}

/// Writes the history to the output file, or to `out` without one; returns whether it is complete. A history without
/// samples is not, unless other shards write them.
///
/// # Errors
/// Returns `InvalidInput` if the command line or the config is invalid, or the output file or journal must not be
/// replaced; `Failed` if nothing could be fetched, writing failed, or `stop` completed.
pub async fn run<Stop, Out>(
    flags: &cli::CommonFlags,
    backfill: &cli::BackfillFlags,
    env: BackfillEnv<Stop, Out>,
) -> Result<bool, CommandError>
where
    Stop: Future<Output = ()>,
    Out: Write + Send + 'static,
{
    let BackfillEnv {
        stop,
        draw_target,
        now,
        out,
    } = env;
    // UTC+14: the latest date anywhere on Earth.
    let today = Offset::constant(14).to_datetime(now()).date();
    let days = requested_days(backfill, today)?;
    let config = file_reader::load(&flags.config_file)?;
    let shard = flags.shard()?;
    let (config, lookup_errors) = app::with_all_accounts(config).await;
    for (business, error) in &lookup_errors {
        tracing::error!(business, error, "lookup of ad accounts failed");
    }
    let plan = Plan::for_shard(&config, shard);
    let window = today_window(&config)?;
    check_labels(&plan, &backfill.labels)?;
    // An empty path counts as not given.
    let path = backfill.output_file.as_deref();
    let path = path.filter(|path| !path.as_os_str().is_empty());
    let output = path.map(OutputFile::new).transpose();
    let output = output.map_err(CommandError::InvalidInput)?;
    let parameters = journal_parameters(&config, &plan, days);
    let journal = output::open_journal(output.as_ref(), parameters, check_retention(days, today));
    let journal = journal.map_err(CommandError::InvalidInput)?;
    let session =
        ApiSession::new(&config, config.polling.quota_share).map_err(app::AppError::from)?;
    let run = Arc::new(BackfillRun {
        config,
        plan,
        days,
        now,
        session,
        journal: Mutex::new(journal),
        progress: Progress::new(draw_target),
        source_plans: Mutex::default(),
        errors: Mutex::default(),
    });

    let mut stop = pin!(stop);
    let requests = async {
        Arc::clone(&run).plan_all().await;
        run.progress.clear();
        log_estimate(&run);
        Arc::clone(&run).fetch_all().await;
    };
    let stopped = tokio::select! {
        () = &mut stop => true,
        () = requests => false,
    };
    run.progress.clear();
    if stopped {
        return Err(interrupted(output.as_ref()));
    }
    let has_gaps = log_missing(&run);
    let has_withheld = log_withheld(&run);
    if has_gaps && lock(&run.journal).is_empty() {
        return Err(CommandError::Failed(
            "no data fetched; the log messages above give the reasons".to_owned(),
        ));
    }
    let labels = backfill.labels.clone();
    let cancelled = Arc::new(AtomicBool::new(false));
    let mut writer = {
        let (run, output, cancelled) = (Arc::clone(&run), output.clone(), Arc::clone(&cancelled));
        tokio::task::spawn_blocking(move || {
            write_output(&run, &window, &labels, output, out, &cancelled)
        })
    };
    let result = tokio::select! {
        () = &mut stop => {
            cancelled.store(true, Ordering::Relaxed);
            // The writer may be blocked, because the reader of standard output does not read.
            let _ = tokio::time::timeout(WRITER_SHUTDOWN_TIMEOUT, &mut writer).await;
            return Err(interrupted(output.as_ref()));
        }
        result = &mut writer => result,
    };
    let samples = match result.map_err(|error| CommandError::Failed(error.to_string()))? {
        Ok(samples) => samples,
        Err(error) => {
            let file = output.map(|output| output.to_string());
            let file = file.as_deref().unwrap_or("standard output");
            return Err(CommandError::Failed(format!("{file}: {error}")));
        }
    };
    let calls = run.session.stats().calls;
    // Other shards write the campaigns of duplicates.
    let is_empty = samples == 0
        && lock(&run.source_plans)
            .values()
            .any(|plan| !plan.is_duplicate);
    if is_empty {
        tracing::error!(days = %run.days, "history has no samples: the API returned no values for these days");
    }
    match &output {
        Some(output) => {
            tracing::info!(file = %output, samples, calls, "history written");
            if !has_gaps && let Err(error) = output.remove_journal() {
                let file = output.journal_path();
                tracing::warn!(file = %file.display(), %error, "removing the journal failed; it is no longer needed");
            }
        }
        None => tracing::info!(samples, calls, "history written"),
    }
    let newest_day_end = lock(&run.source_plans)
        .values()
        .filter_map(|plan| plan.newest_day_end)
        .max();
    if let Some(newest_day_end) =
        newest_day_end.filter(|end| now().duration_since(*end) < HEAD_BLOCK_AGE)
    {
        tracing::warn!(%newest_day_end, "the newest day ended less than three hours ago, a time range that Prometheus keeps in memory: wait before creating blocks, or use an earlier --until");
    }
    Ok(!is_empty && !has_gaps && !has_withheld && lookup_errors.is_empty())
}

/// Returns the days of `--since` and `--until`, of which at least one must have ended.
fn requested_days(backfill: &cli::BackfillFlags, today: Date) -> Result<DayRange, CommandError> {
    let (since, until) = (backfill.since, backfill.until);
    let days = DayRange::new(since, until).ok_or_else(|| {
        CommandError::InvalidInput(format!(
            "--since={since}: expected a day before or equal to --until={until}; exchange them"
        ))
    })?;
    if until > today {
        return Err(CommandError::InvalidInput(format!(
            "--until={until}: expected a day that is not in the future; use {today} or earlier"
        )));
    }
    if today.yesterday().is_ok_and(|yesterday| yesterday < since) {
        return Err(CommandError::InvalidInput(format!(
            "--since={since}: expected a day that has ended; use an earlier day"
        )));
    }
    Ok(days)
}

/// Checks that Meta still returns insights for all of the days. Applies only to new journals: a backfill that was
/// started in time can be resumed after its first days have expired.
fn check_retention(days: DayRange, today: Date) -> Result<(), String> {
    let (since, oldest) = (days.since(), oldest_day(today));
    if since < oldest {
        return Err(format!(
            "--since={since}: Meta keeps insights for {RETENTION_MONTHS} months; use {oldest} or later"
        ));
    }
    Ok(())
}

/// Returns the name of the configured window with `date_preset: today`, or `today` if there is none.
fn today_window(config: &Config) -> Result<String, CommandError> {
    let today = DatePreset::parse(TODAY).map(WindowDates::Preset);
    let mut windows = config.windows.iter();
    if let Some(window) = windows.find(|window| Some(window.dates) == today) {
        return Ok(window.name.clone());
    }
    if config.windows.iter().any(|window| window.name == TODAY) {
        return Err(CommandError::InvalidInput(format!(
            "windows: the window `{TODAY}` has other dates; add a window with date_preset: {TODAY}, because the history continues its series"
        )));
    }
    Ok(TODAY.to_owned())
}

/// Checks that the labels of `--label` are unique and not among the labels of the config.
fn check_labels(plan: &Plan, labels: &[(String, String)]) -> Result<(), CommandError> {
    for (label_idx, (name, _)) in labels.iter().enumerate() {
        let is_repeated = labels[..label_idx].iter().any(|(other, _)| other == name);
        let mut sources = plan.sources.iter();
        if is_repeated || sources.any(|source| source.labels.get(name).is_some()) {
            return Err(CommandError::InvalidInput(format!(
                "--label={name}=…: label `{name}` is already set; choose another name, or omit the flag"
            )));
        }
    }
    Ok(())
}

/// Returns everything that responses depend on, as lines that are stored in the journal and compared on resumption.
fn journal_parameters(config: &Config, plan: &Plan, days: DayRange) -> Vec<String> {
    let graph = &config.graph;
    let mut lines = vec![
        format!("days {days}"),
        format!("API {} {}", graph.url, graph.version),
    ];
    if let Some(source) = plan.sources.first() {
        // The kind is included because it determines how a value is scaled when it is decoded.
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
        let conversions = if source.conversions {
            ""
        } else {
            ", without conversions"
        };
        let campaigns = match &source.kind {
            SourceKind::AdAccount {
                campaign_allowlist, ..
            } if !campaign_allowlist.is_empty() => {
                let ids: Vec<&str> = campaign_allowlist.iter().map(|id| id.as_str()).collect();
                format!(", campaigns {}", ids.join(" "))
            }
            _ => String::new(),
        };
        format!(
            "source {}: {}{campaigns}{conversions}",
            source.business, source.name
        )
    }));
    lines
}

/// Writes the history to the output file, atomically, or to `out`; returns the number of samples.
fn write_output(
    run: &BackfillRun,
    window: &str,
    labels: &[(String, String)],
    output: Option<OutputFile>,
    mut out: impl Write,
    cancelled: &AtomicBool,
) -> Result<u64, WriteError> {
    let extra = run
        .plan
        .sources
        .first()
        .map(|source| Arc::clone(&source.columns.extra));
    let labels = HistoryLabels {
        window,
        labels,
        extra: extra.as_deref().unwrap_or_default(),
    };
    let journal = lock(&run.journal);
    let histories: Vec<SourceHistory> = lock(&run.source_plans)
        .iter()
        .filter(|(_, plan)| !plan.is_duplicate)
        .filter_map(|(source_idx, plan)| {
            Some(SourceHistory {
                source_idx: *source_idx,
                source: Arc::clone(&run.plan.sources[*source_idx]),
                days: plan.days?,
            })
        })
        .collect();
    let Some(output) = output else {
        let mut out = io::BufWriter::new(&mut out);
        return match write::write(&journal, &histories, &labels, &mut out, cancelled) {
            Err(WriteError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                Err(WriteError::ClosedPipe)
            }
            result => result,
        };
    };
    let mut file = output.create_temp()?;
    let samples = write::write(&journal, &histories, &labels, file.as_file_mut(), cancelled)?;
    output.replace(file)?;
    Ok(samples)
}

fn interrupted(output: Option<&OutputFile>) -> CommandError {
    CommandError::Failed(match output {
        Some(output) => format!(
            "interrupted; responses are kept in {}: repeat the same command to resume",
            output.journal_path().display()
        ),
        None => "interrupted; responses are kept only with --output.file".to_owned(),
    })
}

/// Locks a mutex. Poisoning is ignored, because no code panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
