//! Each new snapshot → a page, off the async workers, with a bounded share of a core: while it
//! rests, newer snapshots replace older ones.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::exposition::{Own, Page};
use crate::snapshot::Snapshot;

/// After a page that took a second, the next one waits this many.
const REST: u32 = 9;

/// The longest that a page waits for its turn.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// How often own metrics are looked at that change without a new snapshot.
const LOOK: Duration = Duration::from_secs(1);

/// Renders until `stop` comes.
pub(super) async fn render(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    pages: watch::Sender<Arc<Page>>,
    own: Arc<Own>,
    stop: impl Future<Output = ()>,
) {
    let mut stop = pin!(stop);
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown = own.changes();
    loop {
        let snapshot = tokio::select! {
            () = &mut stop => return,
            changed = snapshots.changed() => match changed {
                Ok(()) => Some(Arc::clone(&snapshots.borrow_and_update())),
                Err(_) => return stop.await,
            },
            _ = look.tick() => None,
        };
        let changes = own.changes();
        if snapshot.is_none() && changes == shown {
            continue;
        }
        let start = Instant::now();
        let before = Arc::clone(&pages.borrow());
        let businesses = Arc::clone(&own);
        let rendered = spawn_blocking(move || {
            let businesses = businesses.encode_businesses();
            match snapshot {
                Some(snapshot) => Page::render(snapshot, businesses, Some(&before)),
                None => before.with_businesses(businesses),
            }
        });
        match rendered.await {
            Ok(Ok(page)) => {
                own.page(page.series, page.plain_bytes);
                pages.send_replace(Arc::new(page));
                shown = changes;
            }
            Ok(Err(error)) => tracing::error!(%error, "no new page; the last one stands"),
            Err(error) => tracing::error!(%error, "no new page; the last one stands"),
        }
        let rest = (start.elapsed() * REST).min(LONGEST_REST);
        tokio::select! {
            () = &mut stop => return,
            () = sleep(rest) => {}
        }
    }
}
