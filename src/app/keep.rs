//! The state file: what is known outlives the process.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::plan::Plan;
use crate::snapshot::Snapshot;
use crate::state;

/// How long changes gather before they are written. They may be lost for two seconds at most.
const GATHER: Duration = Duration::from_secs(1);

/// What the file kept, as far as it still belongs to that plan.
pub(super) fn restore(path: &Path, plan: &Plan, now: Timestamp) -> Snapshot {
    match state::read(path) {
        Ok(Some(restored)) => restored.into_snapshot(plan, now),
        Ok(None) => Snapshot::unknown(plan, now),
        Err(refused) => {
            let aside = match state::set_aside(path) {
                Ok(aside) => format!("set aside as {}", aside.display()),
                Err(error) => format!("not even set aside: {error}"),
            };
            tracing::warn!(path = %path.display(), error = %refused, aside, "the state file cannot be used");
            Snapshot::unknown(plan, now)
        }
    }
}

/// Keeps the file up to date until `stop` comes, and once more then.
pub(super) async fn keep(
    path: PathBuf,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    stop: impl Future<Output = ()>,
) {
    let mut stop = pin!(stop);
    let mut stopped = false;
    while !stopped {
        tokio::select! {
            () = &mut stop => stopped = true,
            changed = snapshots.changed() => match changed {
                Ok(()) => tokio::select! {
                    () = &mut stop => stopped = true,
                    () = sleep(GATHER) => {}
                },
                // The crank has ended: so will everything else.
                Err(_) => {
                    stop.as_mut().await;
                    stopped = true;
                }
            },
        }
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        let file = path.clone();
        match spawn_blocking(move || state::write(&file, &snapshot)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(path = %path.display(), %error, "the state file was not written")
            }
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "the state file was not written")
            }
        }
    }
}
