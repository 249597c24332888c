//! Computes the numbers of an ad as a pure function of seed and time.
//!
//! A hash of seed, ad and date gives the final totals of each day. The current day has the share of them that a daily
//! traffic curve has reached. Conversions of past days are revised for 28 days, first up and then down: Meta's page
//! "Insights API: Best Practices" states that data does not change after 28 days.
//! All arithmetic is on integers, so that the sum over days equals the range exactly.

use std::ops::AddAssign;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Parameters of the delivery, cost and sales of an ad. The numbers of each day vary around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdProfile {
    /// Messages delivered per day, on average; impressions per day if the ad does not send messages.
    pub volume: u64,
    /// Cost of one message or impression, in millionths of the major unit of the currency.
    pub cost_micros: u64,
    /// Messages read per 1,000 delivered; at most 990 are read.
    pub read_permille: u64,
    /// Clicks per 1,000 messages or impressions; at most `read_permille` − 50, so that clicks do not exceed reads.
    pub click_permille: u64,
    /// Purchases per 1,000 `add_payment_info` events, 0 to 1,000.
    pub purchase_permille: u64,
    /// Value of a purchase in minor units of the currency.
    pub basket_minor: u64,
}

/// Sums of the additive numbers over ads and days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AdTotals {
    /// Impressions; for messages, the messages read.
    pub(crate) impressions: u64,
    /// Clicks on links; for messages, equal to `message_clicks`.
    pub(crate) clicks: u64,
    /// Spend in minor units of the currency.
    pub(crate) spend_minor: u64,
    /// Spend on messages in minor units of the currency.
    pub(crate) message_spend_minor: u64,
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    pub(crate) read: u64,
    pub(crate) message_clicks: u64,
    pub(crate) quick_replies: u64,
    /// Counts of website events, in the order of `ACTION_TYPES`.
    pub(crate) actions: [u64; ACTION_TYPES.len()],
    /// Value of the purchases in minor units of the currency.
    pub(crate) value_minor: u64,
}

/// Action types of website events that Meta's page "Measure Performance" documents. Purchase is the first.
pub(crate) const ACTION_TYPES: [&str; 10] = [
    "offsite_conversion.fb_pixel_purchase",
    "offsite_conversion.fb_pixel_initiate_checkout",
    "offsite_conversion.fb_pixel_add_to_cart",
    "offsite_conversion.fb_pixel_custom",
    "offsite_conversion.fb_pixel_complete_registration",
    "offsite_conversion.fb_pixel_search",
    "offsite_conversion.fb_pixel_view_content",
    "offsite_conversion.fb_pixel_add_payment_info",
    "offsite_conversion.fb_pixel_add_to_wishlist",
    "offsite_conversion.fb_pixel_lead",
];

/// A day in the time zone of an ad account, and the share of its totals that is visible at a given time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DayProgress {
    pub(crate) date: Date,
    /// Days since 1970-01-01, an input of the hash.
    number: i64,
    /// 0 (Monday) to 6.
    weekday: usize,
    /// Share of the day's totals that has happened, 0 to 1,000,000,000 billionths.
    progress: u64,
    /// Share of the day's conversions that is attributed, in millionths: 920,000 to 1,020,000, see [`maturity`].
    maturity: u64,
}

/// Returns the days from `since` to `until`, both included, that have started by `now`.
pub(crate) fn days_in_range(
    zone: &TimeZone,
    since: Date,
    until: Date,
    now: Timestamp,
) -> Vec<DayProgress> {
    let until = until.min(now.to_zoned(zone.clone()).date());
    let mut days = Vec::new();
    let mut date = since;
    let mut start = midnight(zone, date);
    while date <= until {
        let Ok(tomorrow) = date.tomorrow() else { break };
        let end = midnight(zone, tomorrow);
        days.push(DayProgress {
            date,
            number: i64::from((date - jiff::civil::date(1970, 1, 1)).get_days()),
            weekday: usize::from(date.weekday().to_monday_zero_offset().unsigned_abs()),
            progress: progress(millis_between(start, now), millis_between(start, end)),
            maturity: maturity(millis_between(end, now)),
        });
        (date, start) = (tomorrow, end);
    }
    days
}

/// Returns the totals of an ad on a day, as far as the progress of the day has reached. `decimals` is that of the
/// currency, 0 or 2. `is_message` is whether its campaign sends messages; other ads only have impressions, clicks and
/// conversions.
pub(crate) fn ad_totals(
    seed: u64,
    ad_id: u64,
    profile: &AdProfile,
    is_message: bool,
    decimals: u32,
    day: &DayProgress,
) -> AdTotals {
    /// Volume on Monday to Sunday, in thousandths of the average.
    const WEEKDAY_PERMILLE: [u64; 7] = [980, 960, 970, 1010, 1120, 1040, 920];
    let day_hash = splitmix64(day.number.unsigned_abs().wrapping_mul(0x9E37));
    let hash = splitmix64(seed ^ splitmix64(ad_id) ^ day_hash);
    // Varies a value by up to ± `spread` thousandths. Each caller uses other bits of the hash.
    let vary = |shift: u32, value: u64, spread: u64| {
        let offset = (hash >> shift) % (2 * spread + 1);
        value * (1000 - spread + offset) / 1000
    };
    let so_far = |total: u64| scale(total, day.progress, 1_000_000_000);
    let attributed = |total: u64| scale(so_far(total), day.maturity, 1_000_000);

    let volume = vary(0, profile.volume, 180) * WEEKDAY_PERMILLE[day.weekday] / 1000;
    let clicks = volume * vary(8, profile.click_permille, 80) / 1000;
    let views = clicks * vary(14, 620, 60) / 1000;
    let carts = views * vary(20, 300, 90) / 1000;
    let checkouts = carts * vary(26, 560, 90) / 1000;
    let payments = checkouts * vary(32, 800, 90) / 1000;
    let purchases = payments * vary(38, profile.purchase_permille, 40).min(1000) / 1000;

    let delivered = so_far(volume);
    let spend_minor = delivered * profile.cost_micros / 10_u64.pow(6 - decimals.min(6));
    let purchases = attributed(purchases);
    let shared = AdTotals {
        clicks: so_far(clicks),
        spend_minor,
        actions: [
            purchases,
            attributed(checkouts),
            attributed(carts),
            attributed(clicks * 31 / 1000),
            attributed(clicks * 12 / 1000),
            attributed(clicks * 90 / 1000),
            attributed(views),
            attributed(payments),
            attributed(clicks * 22 / 1000),
            attributed(clicks * 7 / 1000),
        ],
        value_minor: purchases * vary(44, profile.basket_minor, 70),
        ..AdTotals::default()
    };
    if !is_message {
        return AdTotals {
            impressions: delivered,
            ..shared
        };
    }
    let read = so_far(volume * vary(50, profile.read_permille, 25).min(990) / 1000);
    AdTotals {
        impressions: read,
        message_spend_minor: spend_minor,
        sent: so_far(volume + volume * (18 + hash % 25) / 1000),
        delivered,
        read,
        message_clicks: shared.clicks,
        quick_replies: so_far(volume * 9 / 1000),
        ..shared
    }
}

impl AddAssign for AdTotals {
    fn add_assign(&mut self, other: Self) {
        self.impressions += other.impressions;
        self.clicks += other.clicks;
        self.spend_minor += other.spend_minor;
        self.message_spend_minor += other.message_spend_minor;
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.read += other.read;
        self.message_clicks += other.message_clicks;
        self.quick_replies += other.quick_replies;
        for (sum, count) in self.actions.iter_mut().zip(other.actions) {
            *sum += count;
        }
        self.value_minor += other.value_minor;
    }
}

/// Returns the output of the SplitMix64 generator for this state: a 64-bit hash of a 64-bit number.
pub(crate) fn splitmix64(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Returns `total * share / whole`, rounded down.
fn scale(total: u64, share: u64, whole: u64) -> u64 {
    let scaled = u128::from(total) * u128::from(share) / u128::from(whole);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// Returns the first moment of the day, which is not 0:00 if a change of the clock skips midnight.
fn midnight(zone: &TimeZone, date: Date) -> Timestamp {
    date.to_zoned(zone.clone())
        .map_or(Timestamp::MAX, |zoned| zoned.timestamp())
}

/// Returns the milliseconds from `start` to `end`, 0 if `end` is earlier.
fn millis_between(start: Timestamp, end: Timestamp) -> u64 {
    u64::try_from(end.as_millisecond() - start.as_millisecond()).unwrap_or(0)
}

/// Returns the share of the day's totals, in billionths, that has happened after `elapsed` of `length` milliseconds.
fn progress(elapsed: u64, length: u64) -> u64 {
    /// Thousandths of the day's totals in each 24th of the day. Never 0, so that numbers change at any hour.
    const HOURLY_PERMILLE: [u64; 24] = [
        22, 18, 16, 15, 16, 20, 28, 38, 48, 54, 56, 55, 54, 52, 50, 49, 50, 54, 62, 68, 62, 50, 37,
        26,
    ];
    if elapsed >= length {
        return 1_000_000_000;
    }
    let position = elapsed * 24;
    let hour = usize::try_from(position / length).unwrap_or(23).min(23);
    let before: u64 = HOURLY_PERMILLE[..hour].iter().sum();
    let within = scale(HOURLY_PERMILLE[hour] * 1_000_000, position % length, length);
    before * 1_000_000 + within
}

/// Returns the share of the day's conversions, in millionths, that is attributed `age` milliseconds after its end: 92
/// % at the end of the day, rising to 102 % after 7 days, then falling to 100 % after 28 days as duplicates are
/// removed.
fn maturity(age: u64) -> u64 {
    const DAY_MS: u64 = 86_400_000;
    if age < 7 * DAY_MS {
        920_000 + scale(100_000, age, 7 * DAY_MS)
    } else if age < 28 * DAY_MS {
        1_020_000 - scale(20_000, age - 7 * DAY_MS, 21 * DAY_MS)
    } else {
        1_000_000
    }
}

/// Returns the first day that can be queried: 37 months ago. Source: Meta's page "Ad Account, Insights".
pub(crate) fn oldest_queryable_day(today: Date) -> Date {
    today.saturating_sub(37.months())
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    const SEED: u64 = 7;
    const PROFILE: AdProfile = AdProfile {
        volume: 90_000,
        cost_micros: 14_109,
        read_permille: 794,
        click_permille: 97,
        purchase_permille: 600,
        basket_minor: 8_333,
    };

    fn zone() -> TimeZone {
        TimeZone::get("Europe/Berlin").unwrap()
    }

    fn range_totals(since: Date, until: Date, now: Timestamp) -> AdTotals {
        let mut sum = AdTotals::default();
        for day in days_in_range(&zone(), since, until, now) {
            sum += ad_totals(SEED, 120_210, &PROFILE, true, 2, &day);
        }
        sum
    }

    #[test]
    fn progress_reaches_the_total_at_the_end_of_the_day() {
        const LENGTH: u64 = 25 * 3_600_000;
        assert_eq!(progress(0, LENGTH), 0);
        assert_eq!(progress(LENGTH - 1, LENGTH) / 1_000_000, 999);
        assert_eq!(progress(LENGTH, LENGTH), 1_000_000_000);
    }

    #[test]
    fn totals_grow_during_a_day_and_keep_the_funnel() {
        // The days of 23 and 25 hours in Berlin, and one of 24 hours.
        for day in [date(2026, 3, 29), date(2026, 10, 25), date(2026, 11, 23)] {
            let start = midnight(&zone(), day);
            let mut previous = AdTotals::default();
            for minute in 0..(23 * 60) {
                let now = start + (minute * 60).seconds();
                let n = range_totals(day, day, now);
                assert!(
                    n.delivered >= previous.delivered
                        && n.value_minor + 1_000_000 > previous.value_minor,
                    "numbers should not fall: {previous:?}, then {n:?}"
                );
                assert!(
                    n.sent >= n.delivered && n.delivered >= n.read && n.read >= n.message_clicks,
                    "sent, delivered, read, clicked should not increase: {n:?}"
                );
                let [purchase, checkout, cart, _, _, _, view, payment, ..] = n.actions;
                assert!(
                    n.clicks >= view
                        && view >= cart
                        && cart >= checkout
                        && checkout >= payment
                        && payment >= purchase,
                    "website events should not increase from click to purchase: {n:?}"
                );
                assert!(
                    purchase >= previous.actions[0],
                    "purchases should not fall: {previous:?}, then {n:?}"
                );
                previous = n;
            }
            assert!(
                previous.delivered > 50_000,
                "a day should deliver more than half of the volume: {previous:?}"
            );
        }
    }

    #[test]
    fn totals_change_every_five_seconds_at_night() {
        let today = date(2026, 11, 23);
        let night = midnight(&zone(), today) + 3.hours().minutes(30);
        let profile = AdProfile {
            volume: 40_000,
            ..PROFILE
        };
        let delivered = |now| {
            let days = days_in_range(&zone(), today, today, now);
            (0..6)
                .map(|ad_id| ad_totals(SEED, ad_id, &profile, true, 2, &days[0]).delivered)
                .sum::<u64>()
        };
        for step in 0..100 {
            let now = night + (step * 5).seconds();
            let (before, after) = (delivered(now), delivered(now + 5.seconds()));
            assert!(after > before, "{now}: {after} should exceed {before}");
        }
    }

    #[test]
    fn totals_of_days_add_up_to_those_of_the_range() {
        let (since, until) = (date(2026, 10, 1), date(2026, 11, 23));
        let now = midnight(&zone(), until) + 13.hours();
        let mut sum = AdTotals::default();
        let mut day = since;
        while day <= until {
            sum += range_totals(day, day, now);
            day = day.tomorrow().unwrap();
        }
        assert_eq!(sum, range_totals(since, until, now));
    }

    #[test]
    fn conversions_of_past_days_rise_then_fall_then_are_final() {
        let day = date(2026, 10, 1);
        let end = midnight(&zone(), date(2026, 10, 2));
        let after = |days: i64| range_totals(day, day, end + (days * 24).hours());
        let [at_end, week, month, year] = [after(0), after(7), after(28), after(365)];
        assert!(at_end.actions[0] < week.actions[0], "{at_end:?}, {week:?}");
        assert!(week.actions[0] > month.actions[0], "{week:?}, {month:?}");
        assert_eq!(month, year);
        assert_eq!(at_end.delivered, year.delivered);
        assert_eq!(at_end.spend_minor, year.spend_minor);
    }
}
