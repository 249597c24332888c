//! Renders a metrics page after each new snapshot, in a blocking task.
//!
//! Pacing: after each page, rendering pauses for a multiple of the time that it took, which bounds its share of a CPU
//! core. Snapshots that are published during the pause replace each other, so that only the newest is rendered.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::metrics::{MetricsPage, SelfMetrics};
use crate::snapshot::Snapshot;

/// Ratio of the pause after a page to the time that rendering it took: 9 limits rendering to a tenth of a CPU core,
/// as long as the pause is shorter than [`MAX_RENDER_IDLE`].
const RENDER_IDLE_FACTOR: u32 = 9;

/// Maximum pause after a page, and therefore the maximum delay that pacing adds to new values.
const MAX_RENDER_IDLE: Duration = Duration::from_secs(10);

/// Time between two checks for self metrics that changed without a new snapshot.
const SELF_METRICS_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Renders pages until `stop` completes.
pub(super) async fn run(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    pages: watch::Sender<Arc<MetricsPage>>,
    self_metrics: Arc<SelfMetrics>,
    stop: impl Future<Output = ()>,
) {
    let mut stop = pin!(stop);
    let mut check = interval(SELF_METRICS_CHECK_INTERVAL);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rendered_version = self_metrics.version();
    loop {
        let snapshot = tokio::select! {
            () = &mut stop => return,
            changed = snapshots.changed() => match changed {
                Ok(()) => Some(Arc::clone(&snapshots.borrow_and_update())),
                Err(_) => return stop.await,
            },
            _ = check.tick() => None,
        };
        let version = self_metrics.version();
        if snapshot.is_none() && version == rendered_version {
            continue;
        }
        let start = Instant::now();
        let previous = Arc::clone(&pages.borrow());
        let metrics = Arc::clone(&self_metrics);
        let rendered = spawn_blocking(move || {
            let businesses = metrics.encode_businesses();
            match snapshot {
                Some(snapshot) => MetricsPage::render(snapshot, businesses, Some(&previous)),
                None => previous.with_businesses(businesses),
            }
        });
        match rendered.await {
            Ok(Ok(page)) => {
                self_metrics.record_page(page.series, page.plain_bytes);
                self_metrics.record_dropped_series(&page.dropped_series);
                pages.send_replace(Arc::new(page));
                rendered_version = version;
            }
            Ok(Err(error)) => log_failure(&error),
            Err(error) => log_failure(&error),
        }
        let idle = (start.elapsed() * RENDER_IDLE_FACTOR).min(MAX_RENDER_IDLE);
        tokio::select! {
            () = &mut stop => return,
            () = sleep(idle) => {}
        }
    }
}

fn log_failure(error: &dyn std::error::Error) {
    tracing::error!(
        %error,
        "rendering the metrics page failed; keeping the previous page"
    );
}
