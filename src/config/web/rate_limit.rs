//! How often may be asked.

use std::time::Duration;

use super::raw::{RawRateLimit, given};
use crate::config::complaint::Notes;
use crate::config::duration;
use crate::config::place::Place;
use crate::config::scalar::Whole;

/// A bucket of tokens: one request takes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// How often one is added.
    pub interval: Duration,
    /// How many there are at most.
    pub burst: u32,
}

/// `None`: as often as they like.
pub(super) fn rate_limit(
    notes: &mut Notes<'_>,
    at: &Place,
    raw: &RawRateLimit,
) -> Option<RateLimit> {
    let interval = match given(&raw.interval)? {
        "0" | "0s" => return None,
        text => match duration::parse(text) {
            Ok(interval) => interval,
            Err(trouble) => {
                notes.add(
                    &at.key("interval"),
                    format!("{trouble}; write one such as 1s"),
                );
                return None;
            }
        },
    };
    let burst = raw.burst.map_or(0, |Whole(burst)| burst);
    match u32::try_from(burst) {
        Ok(burst @ 1..) => Some(RateLimit { interval, burst }),
        _ => {
            notes.add(
                &at.key("burst"),
                "with this no request is ever answered; write 1 or more",
            );
            None
        }
    }
}
