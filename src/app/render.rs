//! Each new snapshot → a page, off the async workers, with a bounded share of a core: while it
//! rests, newer snapshots replace older ones.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::exposition::{Own, Page};
use crate::snapshot::Snapshot;

/// After a page that took a second, the next one waits this many.
const REST: u32 = 9;

/// The longest that a page waits for its turn.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// Renders until `stop` comes.
pub(super) async fn render(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    pages: watch::Sender<Arc<Page>>,
    own: Arc<Own>,
    stop: impl Future<Output = ()>,
) {
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            changed = snapshots.changed() => if changed.is_err() { return stop.await },
        }
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        let start = Instant::now();
        match spawn_blocking(move || Page::render(snapshot)).await {
            Ok(Ok(page)) => {
                own.page(page.series, page.plain_bytes);
                pages.send_replace(Arc::new(page));
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
