//! When each window of each source is due: which is next is found without looking at the others.
//!
//! It says when, and neither why nor what then.

use std::collections::BTreeSet;

use tokio::time::Instant;

/// A window of a source, by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) place: usize,
    pub(super) window: usize,
}

/// When everything is due.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// By source and window.
    dues: Vec<Vec<Instant>>,
    /// The same, the next one first.
    order: BTreeSet<(Instant, Slot)>,
}

impl Agenda {
    /// Takes one source more, with its windows.
    pub(super) fn add(&mut self, dues: Vec<Instant>) {
        let place = self.dues.len();
        let slots = dues.iter().enumerate();
        self.order
            .extend(slots.map(|(window, due)| (*due, Slot { place, window })));
        self.dues.push(dues);
    }

    /// When the windows of that source are due.
    pub(super) fn of(&self, place: usize) -> &[Instant] {
        &self.dues[place]
    }

    /// A window is due at another time than it was.
    pub(super) fn move_to(&mut self, slot: Slot, due: Instant) {
        let before = std::mem::replace(&mut self.dues[slot.place][slot.window], due);
        self.order.remove(&(before, slot));
        self.order.insert((due, slot));
    }

    /// When the next window of all is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(due, _)| *due)
    }

    /// What is due by then.
    pub(super) fn due_by(&self, now: Instant) -> Vec<Slot> {
        let due = self.order.iter().take_while(|(due, _)| *due <= now);
        due.map(|(_, slot)| *slot).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Agenda, Slot};

    #[test]
    fn the_next_is_known_whatever_moves() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let slot = |place, window| Slot { place, window };
        let mut agenda = Agenda::default();
        assert_eq!(agenda.next(), None);
        agenda.add(vec![at(5), at(3)]);
        agenda.add(vec![at(3)]);
        assert_eq!(agenda.next(), Some(at(3)));
        assert_eq!(agenda.due_by(at(2)), []);
        assert_eq!(agenda.due_by(at(3)), [slot(0, 1), slot(1, 0)]);
        agenda.move_to(slot(0, 1), at(9));
        agenda.move_to(slot(1, 0), at(5));
        assert_eq!(agenda.next(), Some(at(5)));
        assert_eq!(agenda.of(0), [at(5), at(9)]);
        assert_eq!(agenda.due_by(at(8)), [slot(0, 0), slot(1, 0)]);
        agenda.move_to(slot(0, 0), at(5));
        assert_eq!(agenda.due_by(at(9)).len(), 3, "nothing is there twice");
    }
}
