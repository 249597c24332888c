//! Whether to ask again, and when. The decision is pure; who waits is [`super::session`].

use std::time::Duration;

use super::error::Class;

/// How often one request is sent at most, the first time included.
const TRIES: u32 = 3;

/// The longest pause before the second and the third try. A longer outage is the schedule's matter.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(1)];

/// How long to wait before trying again after `tries` tries, or `None` to give up.
///
/// `luck` in 0..1 spreads those who fail together over the whole pause (full jitter).
pub(super) fn pause(class: Class, tries: u32, luck: f64) -> Option<Duration> {
    match class {
        Class::Unavailable | Class::Garbled if tries < TRIES => {
            let longest = PAUSES.get(usize::try_from(tries).ok()?.checked_sub(1)?)?;
            Some(longest.mul_f64(luck.clamp(0.0, 1.0)))
        }
        Class::Unavailable
        | Class::Garbled
        | Class::Throttled(_)
        | Class::Denied
        | Class::Forbidden
        | Class::Rejected
        | Class::TooLarge
        | Class::Held => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::pause;
    use crate::graph::{Class, Scope};

    #[test]
    fn only_what_may_pass_is_tried_again_and_only_twice() {
        for class in [Class::Unavailable, Class::Garbled] {
            assert_eq!(pause(class, 1, 1.0), Some(Duration::from_millis(500)));
            assert_eq!(pause(class, 1, 0.0), Some(Duration::ZERO));
            assert_eq!(pause(class, 2, 1.0), Some(Duration::from_secs(1)));
            assert_eq!(pause(class, 3, 0.5), None);
        }
        for class in [
            Class::Throttled(Scope::App),
            Class::Denied,
            Class::Forbidden,
            Class::Rejected,
            Class::TooLarge,
        ] {
            assert_eq!(pause(class, 1, 0.5), None);
        }
    }
}
