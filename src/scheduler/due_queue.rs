//! Priority queue of due times: finds the next due window without visiting the others.
//!
//! It stores times only; `due_times` calculates them.

use std::collections::BTreeSet;

use tokio::time::Instant;

/// Position of a window: the index of its source in the plan and its index in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WindowRef {
    pub(super) source_idx: usize,
    pub(super) window_idx: usize,
}

/// Due times of all windows, indexed by window and ordered by time.
#[derive(Debug, Default)]
pub(super) struct DueQueue {
    /// Due times by source and window index.
    due_times: Vec<Vec<Instant>>,
    /// The same due times in ascending order.
    order: BTreeSet<(Instant, WindowRef)>,
}

impl DueQueue {
    /// Appends a source with the due times of its windows.
    pub(super) fn add(&mut self, due_times: Vec<Instant>) {
        let source_idx = self.due_times.len();
        let entries = due_times.iter().enumerate().map(|(window_idx, due)| {
            let window_ref = WindowRef {
                source_idx,
                window_idx,
            };
            (*due, window_ref)
        });
        self.order.extend(entries);
        self.due_times.push(due_times);
    }

    /// Returns the due times of a source's windows.
    pub(super) fn due_times(&self, source_idx: usize) -> &[Instant] {
        &self.due_times[source_idx]
    }

    /// Changes the due time of a window.
    pub(super) fn reschedule(&mut self, window_ref: WindowRef, due: Instant) {
        let entry = &mut self.due_times[window_ref.source_idx][window_ref.window_idx];
        let previous = std::mem::replace(entry, due);
        self.order.remove(&(previous, window_ref));
        self.order.insert((due, window_ref));
    }

    /// Returns the earliest due time of all windows.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(due, _)| *due)
    }

    /// Returns the windows that are due at `now` or earlier, in order of their due times.
    pub(super) fn due_before(&self, now: Instant) -> Vec<WindowRef> {
        let due = self.order.iter().take_while(|(due, _)| *due <= now);
        due.map(|(_, window_ref)| *window_ref).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{DueQueue, WindowRef};

    #[test]
    fn reschedule_keeps_windows_ordered_by_due_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let window_ref = |source_idx, window_idx| WindowRef {
            source_idx,
            window_idx,
        };
        let mut queue = DueQueue::default();
        assert_eq!(queue.next(), None);
        queue.add(vec![at(5), at(3)]);
        queue.add(vec![at(3)]);
        assert_eq!(queue.next(), Some(at(3)));
        assert_eq!(queue.due_before(at(2)), []);
        assert_eq!(
            queue.due_before(at(3)),
            [window_ref(0, 1), window_ref(1, 0)]
        );
        queue.reschedule(window_ref(0, 1), at(9));
        queue.reschedule(window_ref(1, 0), at(5));
        assert_eq!(queue.next(), Some(at(5)));
        assert_eq!(queue.due_times(0), [at(5), at(9)]);
        assert_eq!(
            queue.due_before(at(8)),
            [window_ref(0, 0), window_ref(1, 0)]
        );
        queue.reschedule(window_ref(0, 0), at(5));
        let all = queue.due_before(at(9));
        assert_eq!(all.len(), 3, "each window should be queued once: {all:?}");
    }
}
