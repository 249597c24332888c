//! State file: restores the snapshot of the previous run, and writes what changes.
//!
//! All access to the file is on blocking threads. A write that hangs delays nothing: it counts as failed, and the next
//! one starts when it has ended.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};

use crate::metrics::SelfMetrics;
use crate::plan::Plan;
use crate::platform::clock;
use crate::scheduler::{FailureEvent, FailureLog};
use crate::snapshot::Snapshot;
use crate::state::{self, IoActivity, SavedState, StateStore, StoreError};

/// Time between a change and its write, in which further changes are added to it. With the duration of the write, a
/// change is stored after at most about two seconds.
const WRITE_DELAY: Duration = Duration::from_millis(1800);

/// Time after a failed write before the next attempt.
const RETRY_DELAY: Duration = Duration::from_secs(10);

/// Maximum duration of a single operation of the file system, after which a start continues without the file.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum duration of a write, after which it counts as failed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum duration of the last write, at shutdown.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// State file that was opened at the start.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    access: Access,
    saved: Option<SavedState>,
}

/// Access to the file.
#[derive(Debug)]
enum Access {
    Open(Box<StateStore>),
    /// An operation that has exceeded its limit.
    Pending(JoinHandle<WriteOutcome>),
    /// Opened again with the next write.
    Closed,
}

/// Store after a write, if it is still usable, and whether anything was written.
type WriteOutcome = Result<(Box<StateStore>, bool), StoreError>;

impl StateFile {
    /// Opens and reads the state file. A damaged file, and one of another layout, is renamed and replaced. If the file
    /// cannot be accessed, the exporter starts without saved values, and tries again with each write.
    ///
    /// # Errors
    /// Returns an error if the file is not a state file, or if another process uses it.
    pub async fn open(path: PathBuf) -> Result<Self, StoreError> {
        let activity = Arc::new(IoActivity::default());
        let job = {
            let (path, activity) = (path.clone(), Arc::clone(&activity));
            spawn_blocking(move || open_store(&path, &activity))
        };
        let (opened, pending) = while_responding(job, &activity, OPERATION_TIMEOUT).await;
        let (access, saved) = match opened {
            Some(Ok((store, saved))) => (Access::Open(store), saved),
            Some(Err(error @ (StoreError::Foreign(_) | StoreError::Locked))) => return Err(error),
            Some(Err(error)) => {
                log_unusable(&path, &error);
                (Access::Closed, None)
            }
            None => {
                tracing::error!(
                    path = %path.display(),
                    "the state file does not respond; starting without saved values"
                );
                let pending = pending.map_or(Access::Closed, |job| {
                    Access::Pending(tokio::spawn(async {
                        let (store, _) = job.await.map_err(std::io::Error::other)??;
                        Ok((store, false))
                    }))
                });
                (pending, None)
            }
        };
        Ok(Self {
            path,
            access,
            saved,
        })
    }

    /// Returns the saved values of the sources in the plan, and logs what was restored.
    pub(super) fn restore(&mut self, plan: &Plan, now: Timestamp) -> Snapshot {
        let Some(saved) = self.saved.take() else {
            return Snapshot::empty(plan, now);
        };
        let snapshot = saved.to_snapshot(plan, now);
        let restored = snapshot.sources.iter();
        let restored = restored.filter(|state| state.windows.iter().any(|window| window.attempted));
        let ages = snapshot.windows().flat_map(|(state, window_idx)| {
            let window = &state.windows[window_idx];
            let row_sets = [&window.delivery, &window.conversions];
            row_sets.map(|row_set| Some(now.duration_since(row_set.as_ref()?.fetched_at)))
        });
        let oldest_value_seconds = ages.flatten().max().map(|age| age.as_secs());
        tracing::info!(
            path = %self.path.display(),
            sources = restored.count(),
            configured_sources = plan.sources.len(),
            saved_sources = saved.source_count(),
            oldest_value_seconds,
            "state restored"
        );
        snapshot
    }
}

/// Opens the store in the file. Renames an unusable file.
fn open_store(
    path: &Path,
    activity: &Arc<IoActivity>,
) -> Result<(Box<StateStore>, Option<SavedState>), StoreError> {
    let opened = match StateStore::open(path, activity) {
        Err(error) if error.is_unusable() => {
            let aside = state::set_aside(path)?;
            tracing::warn!(
                path = %path.display(),
                %error,
                renamed_to = %aside.display(),
                "cannot use the state file; starting without saved values"
            );
            StateStore::open(path, activity)
        }
        opened => opened,
    };
    opened.map(|(store, saved)| (Box::new(store), saved))
}

/// Waits for a job for as long as each of its file operations ends within the limit, or twice as long at most. Returns its result, or the job if it hangs.
async fn while_responding<T>(
    mut job: JoinHandle<Result<T, StoreError>>,
    activity: &IoActivity,
    limit: Duration,
) -> (
    Option<Result<T, StoreError>>,
    Option<JoinHandle<Result<T, StoreError>>>,
) {
    let mut running = None;
    loop {
        match timeout(limit, &mut job).await {
            Ok(Ok(result)) => return (Some(result), None),
            Ok(Err(panic)) => {
                return (
                    Some(Err(StoreError::Io(std::io::Error::other(panic)))),
                    None,
                );
            }
            Err(_) => {
                let before = std::mem::replace(&mut running, activity.running_operation());
                if running.is_some() && (before == running || before.is_none()) {
                    return (None, Some(job));
                }
            }
        }
    }
}

/// Logs why the file cannot be accessed, with the owner and the permissions of its folder.
fn log_unusable(path: &Path, error: &StoreError) {
    use std::os::unix::fs::MetadataExt;

    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
    let metadata = std::fs::metadata(folder).ok();
    tracing::error!(
        path = %path.display(),
        %error,
        folder = %folder.display(),
        folder_exists = metadata.is_some(),
        folder_owner = metadata.as_ref().map(MetadataExt::uid),
        folder_mode = metadata.map(|metadata| format!("{:o}", metadata.mode() & 0o7777)),
        user = rustix::process::getuid().as_raw(),
        "cannot access the state file; values are not saved until it can be written"
    );
}

/// Writes new snapshots until `stop` completes, and then the last one.
pub(super) async fn run(
    file: StateFile,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    self_metrics: Arc<SelfMetrics>,
    stop: impl Future<Output = ()>,
) {
    self_metrics.server.enable_state_file();
    let mut writer = StateWriter {
        path: file.path,
        access: file.access,
        self_metrics,
        failures: FailureLog::default(),
    };
    let mut stop = pin!(stop);
    // The first write replaces the whole content: the restored snapshot has no values that are too old.
    snapshots.mark_changed();
    loop {
        let is_failing = writer.is_failing();
        let stopped = tokio::select! {
            () = &mut stop => true,
            () = sleep(RETRY_DELAY), if is_failing => false,
            () = wait_for_changes(&mut snapshots), if !is_failing => false,
        };
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        if stopped {
            writer.write(snapshot, LAST_WRITE_TIMEOUT).await;
            return writer.close().await;
        }
        writer.write(snapshot, WRITE_TIMEOUT).await;
    }
}

/// Waits for a change, and for those that follow it soon.
async fn wait_for_changes(snapshots: &mut watch::Receiver<Arc<Snapshot>>) {
    if snapshots.changed().await.is_err() {
        // The scheduler has ended, so that there are no further changes.
        return std::future::pending().await;
    }
    sleep(WRITE_DELAY).await;
}

/// Access to the file, and the result of the last write.
struct StateWriter {
    path: PathBuf,
    access: Access,
    self_metrics: Arc<SelfMetrics>,
    failures: FailureLog<()>,
}

impl StateWriter {
    /// Writes a snapshot within a limit of time.
    async fn write(&mut self, snapshot: Arc<Snapshot>, limit: Duration) {
        let until = Instant::now() + limit;
        loop {
            let (mut job, is_current) = match std::mem::replace(&mut self.access, Access::Closed) {
                Access::Pending(job) => (job, false),
                access => (self.start(access, Arc::clone(&snapshot)), true),
            };
            let limit = until.saturating_duration_since(Instant::now());
            let result = match timeout(limit, &mut job).await {
                Ok(Ok(Ok((store, has_written)))) => {
                    self.access = Access::Open(store);
                    Ok(has_written)
                }
                Ok(Ok(Err(error))) => Err(error.to_string()),
                Ok(Err(panic)) => Err(panic.to_string()),
                Err(_) => {
                    self.access = Access::Pending(job);
                    Err("no response of the file system".to_owned())
                }
            };
            if is_current || result.is_err() {
                return self.record(result);
            }
        }
    }

    fn is_failing(&self) -> bool {
        !self.failures.is_empty()
    }

    /// Starts a write.
    fn start(&self, access: Access, snapshot: Arc<Snapshot>) -> JoinHandle<WriteOutcome> {
        let path = self.path.clone();
        spawn_blocking(move || {
            let mut store = match access {
                Access::Open(store) => store,
                Access::Closed | Access::Pending(_) => open_store(&path, &Arc::default())?.0,
            };
            let has_written = store.write(&snapshot)?;
            Ok((store, has_written))
        })
    }

    /// Exports and logs the result of a write: the first failure, other reasons, and the recovery.
    fn record(&mut self, result: Result<bool, String>) {
        let path = self.path.display();
        let now = Instant::now();
        let error = match result {
            Ok(has_written) => {
                if has_written {
                    self.self_metrics.server.record_state_write(clock::now());
                }
                if let Some(failed_for) = self.failures.record_success(&(), now) {
                    let failed_for_seconds = failed_for.as_secs();
                    tracing::info!(%path, failed_for_seconds, "writing the state file succeeds again");
                }
                return;
            }
            Err(error) => error,
        };
        self.self_metrics.server.record_state_write_failure();
        match self.failures.record_failure((), &error, now) {
            FailureEvent::Repeated => {
                tracing::debug!(%path, error, "writing the state file failed again");
            }
            FailureEvent::First | FailureEvent::Changed => {
                tracing::error!(%path, error, "writing the state file failed; trying again");
            }
        }
        if let Some(summary) = self.failures.summary(now) {
            tracing::error!(%path, error, attempts = summary.repeated, "writing the state file still fails");
        }
    }

    /// Closes the file, so that it needs no repair at the next start.
    async fn close(self) {
        if let Access::Open(store) = self.access {
            let closed = spawn_blocking(move || drop(store));
            let _ = timeout(LAST_WRITE_TIMEOUT, closed).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::sync::watch;
    use tokio::task::spawn_blocking;
    use tokio::time::{Instant, sleep, timeout};

    use super::{Access, StateFile, StateWriter, WRITE_DELAY, wait_for_changes, while_responding};
    use crate::metrics::SelfMetrics;
    use crate::plan::Shard;
    use crate::scheduler::FailureLog;
    use crate::snapshot::Snapshot;
    use crate::state::{IoActivity, StoreError};

    /// Short, because the tests wait for its end.
    const LIMIT: Duration = Duration::from_millis(20);

    const NO_LIMIT: Duration = Duration::from_secs(60);

    fn writer(folder: &tempfile::TempDir, access: Access) -> StateWriter {
        let self_metrics = SelfMetrics::new("1", "r", "1", Shard::ALL, Arc::default()).unwrap();
        self_metrics.server.enable_state_file();
        StateWriter {
            path: folder.path().join("state"),
            access,
            self_metrics: Arc::new(self_metrics),
            failures: FailureLog::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn changes_soon_after_another_are_written_together() {
        let (sender, mut snapshots) = watch::channel(Arc::<Snapshot>::default());
        let waits = timeout(NO_LIMIT, wait_for_changes(&mut snapshots)).await;
        assert!(waits.is_err(), "nothing should be written without a change");
        let start = Instant::now();
        sender.send_replace(Arc::default());
        let later_change = async {
            sleep(WRITE_DELAY / 2).await;
            sender.send_replace(Arc::default());
        };
        tokio::join!(wait_for_changes(&mut snapshots), later_change);
        assert_eq!(start.elapsed(), WRITE_DELAY);
        snapshots.borrow_and_update();
        let waits = timeout(NO_LIMIT, wait_for_changes(&mut snapshots)).await;
        assert!(waits.is_err(), "the later change should be written too");
    }

    #[tokio::test]
    async fn hanging_operation_is_given_up() {
        let activity = Arc::new(IoActivity::default());
        let (release, hang) = mpsc::channel::<()>();
        let in_job = Arc::clone(&activity);
        let job = spawn_blocking(move || {
            in_job.run(|| hang.recv().is_ok());
            Ok::<_, StoreError>(1)
        });
        let (result, job) = while_responding(job, &activity, LIMIT).await;
        assert!(result.is_none());
        drop(release);
        assert_eq!(job.unwrap().await.unwrap().unwrap(), 1);
    }

    #[tokio::test]
    async fn slow_job_with_progress_is_not_given_up() {
        let activity = Arc::new(IoActivity::default());
        let (release, wait) = mpsc::channel::<()>();
        // No operation is running while it waits.
        let job = spawn_blocking(move || Ok::<_, StoreError>(wait.recv().is_err()));
        let releases = async {
            sleep(LIMIT * 5).await;
            drop(release);
        };
        let waits = while_responding(job, &activity, LIMIT);
        let ((result, _), ()) = tokio::join!(waits, releases);
        assert!(result.unwrap().unwrap());
    }

    #[tokio::test]
    async fn write_that_hangs_fails_until_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let (release, hang) = mpsc::channel::<()>();
        let path = folder.path().join("state");
        let pending = spawn_blocking(move || {
            let _ = hang.recv();
            super::open_store(&path, &Arc::default()).map(|(store, _)| (store, false))
        });
        let mut writer = writer(&folder, Access::Pending(pending));
        let snapshot = Arc::new(Snapshot::default());
        for failures in 1..=2 {
            writer.write(Arc::clone(&snapshot), LIMIT).await;
            assert!(writer.is_failing());
            let page = writer.self_metrics.encode();
            let expected =
                format!("marketing_messages_exporter_state_write_failures_total {failures}\n");
            assert!(page.contains(&expected), "{page}");
            assert!(!page.contains("state_last_write"), "{page}");
        }
        drop(release);
        writer.write(snapshot, NO_LIMIT).await;
        assert!(!writer.is_failing());
        assert!(writer.self_metrics.encode().contains("state_last_write"));
    }

    #[tokio::test]
    async fn missing_folder_fails_until_it_exists() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("state");
        let file = StateFile::open(path.clone()).await.unwrap();
        assert!(matches!(file.access, Access::Closed));
        let mut writer = writer(&folder, file.access);
        writer.path.clone_from(&path);
        let snapshot = Arc::new(Snapshot::default());
        writer.write(Arc::clone(&snapshot), NO_LIMIT).await;
        assert!(writer.is_failing());
        std::fs::create_dir(folder.path().join("missing")).unwrap();
        writer.write(snapshot, NO_LIMIT).await;
        assert!(!writer.is_failing() && path.exists());
    }
}
