//! The wall clock: the only place that reads it.

use jiff::Timestamp;

/// Now.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the place that the ban points to"
)]
pub fn now() -> Timestamp {
    Timestamp::now()
}
