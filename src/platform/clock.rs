//! The wall clock. No other module reads it: elsewhere the time is an argument.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::time::ClockId;

/// Milliseconds that tests add to the time of the system; 0 otherwise.
static OFFSET_MILLIS: AtomicI64 = AtomicI64::new(0);

thread_local! {
    /// Time by which a test on this thread is ahead of the others; 0 otherwise.
    static AHEAD: Cell<SignedDuration> = const { Cell::new(SignedDuration::ZERO) };
}

/// Returns the current time.
pub fn now() -> Timestamp {
    now_and_uptime().0
}

/// Returns the current time, and the time since the start of the system, including the time for which it was suspended.
/// The latter is not affected when the clock is set; it passes when a test changes its offset.
#[expect(
    clippy::disallowed_methods,
    reason = "clippy.toml bans this call everywhere else"
)]
pub fn now_and_uptime() -> (Timestamp, SignedDuration) {
    let offset = SignedDuration::from_millis(OFFSET_MILLIS.load(Ordering::Relaxed));
    let offset = offset.saturating_add(AHEAD.get());
    let system = Timestamp::now();
    #[cfg(target_os = "linux")]
    let clock = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = ClockId::Monotonic;
    let uptime = rustix::time::clock_gettime(clock);
    let nanos = i32::try_from(uptime.tv_nsec).unwrap_or(0);
    let uptime = SignedDuration::new(uptime.tv_sec, nanos);
    let now = system.saturating_add(offset).unwrap_or(system);
    (now, uptime.saturating_add(offset))
}

/// Adds an offset to the time of the system, so that tests can choose the date.
#[doc(hidden)]
pub fn set_offset(offset: SignedDuration) {
    let millis = i64::try_from(offset.as_millis()).unwrap_or(0);
    OFFSET_MILLIS.store(millis, Ordering::Relaxed);
}

/// Advances the time of this thread, so that tests on a paused clock, which run on a thread each, pass hours.
#[doc(hidden)]
pub fn advance(duration: Duration) {
    let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    AHEAD.set(AHEAD.get().saturating_add(duration));
}
