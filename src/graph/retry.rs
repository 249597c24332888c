//! Whether to ask again, and when: the decision is pure, and the mechanism knows no requests.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::sleep;

use super::error::{Class, Error};

/// How often one request is sent at most, the first time included.
const TRIES: u32 = 3;

/// The longest pause before the second and the third try. A longer outage is the schedule's matter.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(1)];

/// Makes attempts until one succeeds, or another one would be pointless.
pub(super) async fn run<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut tries = 0;
    loop {
        tries += 1;
        let error = match attempt().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let Some(pause) = pause(error.class, tries, luck()) else {
            return Err(error);
        };
        tracing::debug!(tries, ?pause, fault = %error.fault, "asking again");
        sleep(pause).await;
    }
}

/// A number in 0..1 that differs from caller to caller. Nothing secret hangs on it.
fn luck() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(0_u8) >> 32).unwrap_or(u32::MAX);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

/// How long to wait before trying again after `tries` tries, or `None` to give up.
///
/// `luck` in 0..1 spreads those who fail together over the whole pause (full jitter).
fn pause(class: Class, tries: u32, luck: f64) -> Option<Duration> {
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
    use std::future::ready;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{pause, run};
    use crate::graph::{Class, Error, Scope};

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_tried_three_times_within_a_second_and_a_half() {
        let (start, mut tries) = (Instant::now(), 0);
        let failed = run(|| {
            tries += 1;
            ready(Err::<(), _>(Error::unavailable("gone")))
        });
        assert!(failed.await.is_err());
        assert_eq!(tries, 3);
        assert!(start.elapsed() <= Duration::from_millis(1500));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_good_answer_ends_it_and_a_refusal_too() {
        let mut tries = 0;
        let healed = run(|| {
            tries += 1;
            ready(match tries {
                2 => Ok("good"),
                _ => Err(Error::garbled("cut")),
            })
        });
        assert_eq!(healed.await, Ok("good"));
        let mut tries = 0;
        let refused = run(|| {
            tries += 1;
            ready(Err::<(), _>(Error {
                class: Class::Rejected,
                ..Error::garbled("no")
            }))
        });
        assert!(refused.await.is_err());
        assert_eq!(tries, 1);
    }

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
