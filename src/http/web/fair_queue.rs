//! Queue for work that is done one at a time: groups are served in turn (round robin), and so are the
//! lanes within a group. Many waiting requests of one lane delay a request of another lane of the same
//! group by one piece of work, and many lanes of one group delay another group by one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Queue with groups of type `G` and lanes of type `L`.
pub(super) struct FairQueue<G, L> {
    state: Mutex<QueueState<G, L>>,
}

/// Requests that wait in one lane.
type Waiting<G, L> = VecDeque<oneshot::Sender<QueuePermit<G, L>>>;

/// Lanes of one group; the first one is served next.
type GroupLanes<G, L> = VecDeque<(L, Waiting<G, L>)>;

struct QueueState<G, L> {
    is_busy: bool,
    /// Groups with waiting requests; the first one is served next.
    groups: VecDeque<(G, GroupLanes<G, L>)>,
}

impl<G, L> Default for FairQueue<G, L> {
    fn default() -> Self {
        Self {
            state: Mutex::new(QueueState {
                is_busy: false,
                groups: VecDeque::new(),
            }),
        }
    }
}

impl<G, L> QueueState<G, L> {
    /// Removes the request that is served next; `None` if its lane is empty. The lane and the group move
    /// to the end of the queue, or are removed if they are empty.
    fn pop(&mut self) -> Option<oneshot::Sender<QueuePermit<G, L>>> {
        let (group, mut lanes) = self.groups.pop_front()?;
        let next = lanes.pop_front().and_then(|(lane, mut waiting)| {
            let next = waiting.pop_front();
            if !waiting.is_empty() {
                lanes.push_back((lane, waiting));
            }
            next
        });
        if !lanes.is_empty() {
            self.groups.push_back((group, lanes));
        }
        next
    }
}

/// Permit to work; passed to the next waiting request on drop.
pub(super) struct QueuePermit<G, L>(Option<Arc<FairQueue<G, L>>>);

impl<G, L> FairQueue<G, L> {
    fn lock(&self) -> MutexGuard<'_, QueueState<G, L>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes the permit to the first request that still waits.
    fn release(self: Arc<Self>) {
        loop {
            let mut state = self.lock();
            if state.groups.is_empty() {
                state.is_busy = false;
                return;
            }
            let next = state.pop();
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

impl<G: PartialEq, L: PartialEq> FairQueue<G, L> {
    /// Waits for the permit. Dropping the future gives up the position in the queue.
    pub(super) async fn acquire(self: &Arc<Self>, group: G, lane: L) -> QueuePermit<G, L> {
        let receiver = {
            let mut state = self.lock();
            if !state.is_busy {
                state.is_busy = true;
                return QueuePermit(Some(Arc::clone(self)));
            }
            let (sender, receiver) = oneshot::channel();
            let groups = &mut state.groups;
            match groups.iter_mut().find(|(other, _)| *other == group) {
                None => {
                    let lanes = VecDeque::from([(lane, VecDeque::from([sender]))]);
                    groups.push_back((group, lanes));
                }
                Some((_, lanes)) => match lanes.iter_mut().find(|(other, _)| *other == lane) {
                    Some((_, waiting)) => waiting.push_back(sender),
                    None => lanes.push_back((lane, VecDeque::from([sender]))),
                },
            }
            receiver
        };
        // The sender is dropped only together with the queue.
        receiver.await.unwrap_or(QueuePermit(None))
    }
}

impl<G, L> Drop for QueuePermit<G, L> {
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

    /// Returns the order in which requests are served that arrive in this order while another one is
    /// served. The request at `given_up` disconnects.
    async fn served(requests: &[(u8, u8)], given_up: Option<usize>) -> Vec<(u8, u8)> {
        let queue: Arc<FairQueue<u8, u8>> = Arc::default();
        let first = queue.acquire(0, 0).await;
        let (order, mut received) = mpsc::unbounded_channel();
        let mut tasks = Vec::new();
        for (group, lane) in requests.iter().copied() {
            let (queue, order) = (Arc::clone(&queue), order.clone());
            tasks.push(tokio::spawn(async move {
                let _permit = queue.acquire(group, lane).await;
                order.send((group, lane)).unwrap();
            }));
            yield_now().await;
        }
        if let Some(request_idx) = given_up {
            tasks[request_idx].abort();
            yield_now().await;
        }
        drop(first);
        drop(order);
        let mut served = Vec::new();
        while let Some(request) = received.recv().await {
            served.push(request);
        }
        drop(queue.acquire(3, 3).await);
        assert!(!queue.lock().is_busy, "permit should be free");
        served
    }

    #[tokio::test]
    async fn lanes_are_served_in_turn() {
        // A request that has given up keeps nothing from the others.
        let order = served(&[(1, 1), (1, 1), (1, 1), (1, 1), (1, 2)], Some(0)).await;
        assert_eq!(order, [(1, 2), (1, 1), (1, 1), (1, 1)]);
    }

    #[tokio::test]
    async fn groups_are_served_in_turn() {
        let order = served(&[(1, 1), (1, 2), (1, 3), (1, 3), (2, 1), (2, 1)], None).await;
        assert_eq!(order, [(1, 1), (2, 1), (1, 2), (2, 1), (1, 3), (1, 3)]);
    }
}
