//! Queue for work that is done one at a time: lanes are served in turn (round robin), so that many
//! waiting requests of one lane delay a request of another lane by one piece of work.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Queue with lanes of type `L`.
pub(super) struct FairQueue<L> {
    state: Mutex<QueueState<L>>,
}

struct QueueState<L> {
    is_busy: bool,
    /// Lanes with waiting requests; the first one is served next.
    lanes: VecDeque<(L, VecDeque<oneshot::Sender<QueuePermit<L>>>)>,
}

impl<L> Default for FairQueue<L> {
    fn default() -> Self {
        Self {
            state: Mutex::new(QueueState {
                is_busy: false,
                lanes: VecDeque::new(),
            }),
        }
    }
}

/// Permit to work; passed to the next waiting request on drop.
pub(super) struct QueuePermit<L>(Option<Arc<FairQueue<L>>>);

impl<L> FairQueue<L> {
    fn lock(&self) -> MutexGuard<'_, QueueState<L>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes the permit to the first request that still waits.
    fn release(self: Arc<Self>) {
        loop {
            let mut state = self.lock();
            let Some((lane, mut waiting)) = state.lanes.pop_front() else {
                state.is_busy = false;
                return;
            };
            let next = waiting.pop_front();
            if !waiting.is_empty() {
                state.lanes.push_back((lane, waiting));
            }
            drop(state);
            let Some(next) = next else { continue };
            match next.send(QueuePermit(Some(Arc::clone(&self)))) {
                Ok(()) => return,
                // The client has disconnected: the permit was not used.
                Err(mut unused) => unused.0 = None,
            }
        }
    }
}

impl<L: PartialEq> FairQueue<L> {
    /// Waits for the permit. Dropping the future gives up the position in the queue.
    pub(super) async fn acquire(self: &Arc<Self>, lane: L) -> QueuePermit<L> {
        let receiver = {
            let mut state = self.lock();
            if !state.is_busy {
                state.is_busy = true;
                return QueuePermit(Some(Arc::clone(self)));
            }
            let (sender, receiver) = oneshot::channel();
            match state.lanes.iter_mut().find(|(other, _)| *other == lane) {
                Some((_, waiting)) => waiting.push_back(sender),
                None => state.lanes.push_back((lane, VecDeque::from([sender]))),
            }
            receiver
        };
        // The sender is dropped only together with the queue.
        receiver.await.unwrap_or(QueuePermit(None))
    }
}

impl<L> Drop for QueuePermit<L> {
    fn drop(&mut self) {
        if let Some(queue) = self.0.take() {
            queue.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc;
    use tokio::task::yield_now;

    use super::FairQueue;

    #[tokio::test]
    async fn lanes_are_served_in_turn() {
        let queue: Arc<FairQueue<u8>> = Arc::default();
        let first = queue.acquire(0).await;
        let (order, mut received) = mpsc::unbounded_channel();
        let mut tasks = Vec::new();
        for lane in [1, 1, 1, 1, 2] {
            let (queue, order) = (Arc::clone(&queue), order.clone());
            tasks.push(tokio::spawn(async move {
                let _permit = queue.acquire(lane).await;
                order.send(lane).unwrap();
            }));
            yield_now().await;
        }
        // A request that has given up keeps nothing from the others.
        tasks[0].abort();
        yield_now().await;
        drop(first);
        drop(order);
        let mut lanes = Vec::new();
        while let Some(lane) = received.recv().await {
            lanes.push(lane);
        }
        assert_eq!(lanes, [2, 1, 1, 1]);
        drop(queue.acquire(3).await);
        assert!(!queue.lock().is_busy, "permit should be free");
    }
}
