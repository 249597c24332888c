//! Concurrency limit with a size that can change while permits are in use.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A semaphore with a changeable number of permits.
#[derive(Debug)]
pub(super) struct Slots {
    semaphore: Arc<Semaphore>,
    /// Number of permits. Locked while it is changed.
    size: Mutex<usize>,
    /// Permits in use that are not returned, because the size was reduced.
    excess: AtomicUsize,
}

/// Permit of [`Slots`], returned on drop.
#[derive(Debug)]
pub(super) struct SlotPermit {
    permit: Option<OwnedSemaphorePermit>,
    slots: Arc<Slots>,
}

impl Slots {
    pub(super) fn new(size: usize) -> Arc<Self> {
        Arc::new(Self {
            semaphore: Arc::new(Semaphore::new(size)),
            size: Mutex::new(size),
            excess: AtomicUsize::new(0),
        })
    }

    /// Changes the number of permits, for waiting requests too.
    pub(super) fn resize(&self, size: usize) {
        let mut current = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        if size > *current {
            let mut added = size - *current;
            while added > 0 && self.take_excess() {
                added -= 1;
            }
            self.semaphore.add_permits(added);
        } else {
            let removed = *current - size;
            let unused = self.semaphore.forget_permits(removed);
            self.excess.fetch_add(removed - unused, Ordering::AcqRel);
        }
        *current = size;
    }

    /// Waits for a permit; `None` if the semaphore is closed, which never happens.
    pub(super) async fn acquire(self: &Arc<Self>) -> Option<SlotPermit> {
        let permit = Arc::clone(&self.semaphore).acquire_owned().await.ok()?;
        Some(SlotPermit {
            permit: Some(permit),
            slots: Arc::clone(self),
        })
    }

    /// Whether permits are in use.
    pub(super) fn is_used(&self) -> bool {
        let size = *self.size.lock().unwrap_or_else(PoisonError::into_inner);
        self.semaphore.available_permits() < size
    }

    fn take_excess(&self) -> bool {
        let update = |excess: usize| excess.checked_sub(1);
        self.excess
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, update)
            .is_ok()
    }
}

impl Drop for SlotPermit {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take()
            && self.slots.take_excess()
        {
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Slots;

    #[tokio::test]
    async fn size_changes_while_permits_are_in_use() {
        let slots = Slots::new(4);
        let mut permits = Vec::new();
        for _ in 0..4 {
            permits.push(slots.acquire().await.unwrap());
        }
        slots.resize(1);
        assert!(slots.is_used());
        permits.truncate(1);
        assert_eq!(slots.semaphore.available_permits(), 0);
        slots.resize(3);
        assert_eq!(slots.semaphore.available_permits(), 2);
        slots.resize(2);
        permits.clear();
        assert_eq!(slots.semaphore.available_permits(), 2);
        assert!(!slots.is_used());
    }
}
