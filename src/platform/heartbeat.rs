//! Heartbeat of the scheduler, which `/-/healthy` and the systemd watchdog check.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Time of the scheduler's last iteration, shared between tasks without a lock.
#[derive(Debug)]
pub struct Heartbeat {
    created: Instant,
    /// Time of the last heartbeat, in milliseconds since `created`.
    last_millis: AtomicU64,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self {
            created: Instant::now(),
            last_millis: AtomicU64::new(0),
        }
    }
}

impl Heartbeat {
    /// Returns the time since the last heartbeat, or since creation if none was recorded.
    pub fn age(&self) -> Duration {
        let last = Duration::from_millis(self.last_millis.load(Ordering::Relaxed));
        self.created.elapsed().saturating_sub(last)
    }

    /// Records a heartbeat.
    pub fn record(&self) {
        let millis = u64::try_from(self.created.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_millis.store(millis, Ordering::Relaxed);
    }
}
