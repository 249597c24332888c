//! The numbers of an ad as a pure function of seed and time.
//!
//! Every day of an ad has totals, made from a hash; an open day has the share of them that the
//! day curve has reached. Conversions of closed days are restated for 28 days, up and then down.
//! All arithmetic is on integers: sums of days equal ranges exactly, and no float noise exists.

use std::ops::AddAssign;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// How much an ad delivers, costs and sells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Messages (of an ordinary ad: impressions) that a usual day delivers.
    pub volume: u64,
    /// Price of one message or impression, in millionths of the currency's major unit.
    pub cost_micros: u64,
    /// Of a thousand messages, how many are read.
    pub read_permille: u64,
    /// Of a thousand messages or impressions, how many are clicked; at most `read_permille` − 50.
    pub click_permille: u64,
    /// Of a thousand customers who gave payment details, how many buy.
    pub purchase_permille: u64,
    /// What a usual purchase is worth, in minor units of the currency.
    pub basket_minor: u64,
}

/// The additive numbers of some ads over some days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) impressions: u64,
    pub(super) clicks: u64,
    /// Minor units of the currency.
    pub(super) spend_minor: u64,
    /// Minor units of the currency, of messages alone.
    pub(super) message_spend_minor: u64,
    pub(super) sent: u64,
    pub(super) delivered: u64,
    pub(super) read: u64,
    pub(super) message_clicks: u64,
    pub(super) quick_replies: u64,
    /// In the order of `ACTIONS`.
    pub(super) actions: [u64; ACTIONS.len()],
    /// Worth of the purchases, in minor units of the currency.
    pub(super) value_minor: u64,
}

/// The website events that are counted. Purchase is the first.
pub(super) const ACTIONS: [&str; 10] = [
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

/// One day of an ad account's zone, as seen at some moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Day {
    pub(super) date: Date,
    /// Days since 1970, the hash's share of the date.
    number: i64,
    weekday: usize,
    /// How much of the day's totals has happened, in billionths.
    progress: u64,
    /// How much of the day's conversions is attributed by now, in millionths.
    maturity: u64,
}

/// The days from `since` to `until`, both included, that have begun by `now`.
pub(super) fn days(zone: &TimeZone, since: Date, until: Date, now: Timestamp) -> Vec<Day> {
    let until = until.min(now.to_zoned(zone.clone()).date());
    let mut days = Vec::new();
    let mut date = since;
    let mut start = midnight(zone, date);
    while date <= until {
        let Ok(tomorrow) = date.tomorrow() else { break };
        let end = midnight(zone, tomorrow);
        days.push(Day {
            date,
            number: i64::from((date - jiff::civil::date(1970, 1, 1)).get_days()),
            weekday: usize::from(date.weekday().to_monday_zero_offset().unsigned_abs()),
            progress: progress(millis(start, now), millis(start, end)),
            maturity: maturity(millis(end, now)),
        });
        (date, start) = (tomorrow, end);
    }
    days
}

/// What the ad has done on that day, up to the moment that the day was made for.
pub(super) fn numbers(
    seed: u64,
    ad: u64,
    pace: &Pace,
    is_message: bool,
    decimals: u32,
    day: &Day,
) -> Numbers {
    /// Monday to Sunday, in thousandths of a usual day.
    const WEEK: [u64; 7] = [980, 960, 970, 1010, 1120, 1040, 920];
    let chance = mix(seed ^ mix(ad) ^ mix(day.number.unsigned_abs().wrapping_mul(0x9E37)));
    // Each rate takes its own bits of the one hash, `spread` thousandths around it.
    let around = |bits: u32, rate: u64, spread: u64| {
        let swing = (chance >> bits) % (2 * spread + 1);
        rate * (1000 - spread + swing) / 1000
    };
    let so_far = |total: u64| scale(total, day.progress, 1_000_000_000);
    let attributed = |total: u64| scale(so_far(total), day.maturity, 1_000_000);

    let volume = around(0, pace.volume, 180) * WEEK[day.weekday] / 1000;
    let clicks = volume * around(8, pace.click_permille, 80) / 1000;
    let views = clicks * around(14, 620, 60) / 1000;
    let carts = views * around(20, 300, 90) / 1000;
    let checkouts = carts * around(26, 560, 90) / 1000;
    let payments = checkouts * around(32, 800, 90) / 1000;
    let purchases = payments * around(38, pace.purchase_permille, 40).min(1000) / 1000;

    let delivered = so_far(volume);
    let spend_minor = delivered * pace.cost_micros / 10_u64.pow(6 - decimals.min(6));
    let purchases = attributed(purchases);
    let shared = Numbers {
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
        value_minor: purchases * around(44, pace.basket_minor, 70),
        ..Numbers::default()
    };
    if !is_message {
        return Numbers {
            impressions: delivered,
            ..shared
        };
    }
    let read = so_far(volume * around(50, pace.read_permille, 25).min(990) / 1000);
    Numbers {
        impressions: read,
        message_spend_minor: spend_minor,
        sent: so_far(volume + volume * (18 + chance % 25) / 1000),
        delivered,
        read,
        message_clicks: shared.clicks,
        quick_replies: so_far(volume * 9 / 1000),
        ..shared
    }
}

impl AddAssign for Numbers {
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
        for (mine, theirs) in self.actions.iter_mut().zip(other.actions) {
            *mine += theirs;
        }
        self.value_minor += other.value_minor;
    }
}

/// A well spread 64-bit number from any other (the finaliser of SplitMix64).
pub(super) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn scale(total: u64, share: u64, whole: u64) -> u64 {
    let scaled = u128::from(total) * u128::from(share) / u128::from(whole);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

fn midnight(zone: &TimeZone, date: Date) -> Timestamp {
    // Where a zone skips midnight, jiff gives the first moment of the day.
    date.to_zoned(zone.clone())
        .map_or(Timestamp::MAX, |zoned| zoned.timestamp())
}

/// From `start` to `end` in milliseconds, 0 when that is backwards.
fn millis(start: Timestamp, end: Timestamp) -> u64 {
    u64::try_from(end.as_millisecond() - start.as_millisecond()).unwrap_or(0)
}

/// The day curve: billionths of a day's totals that have happened after `elapsed` of `length`.
fn progress(elapsed: u64, length: u64) -> u64 {
    /// Thousandths of the day's totals in each 24th of it. Nights are thin and never empty, so
    /// that numbers move at any hour.
    const HOURS: [u64; 24] = [
        22, 18, 16, 15, 16, 20, 28, 38, 48, 54, 56, 55, 54, 52, 50, 49, 50, 54, 62, 68, 62, 50, 37,
        26,
    ];
    if elapsed >= length {
        return 1_000_000_000;
    }
    let position = elapsed * 24;
    let hour = usize::try_from(position / length).unwrap_or(23).min(23);
    let before: u64 = HOURS[..hour].iter().sum();
    let within = scale(HOURS[hour] * 1_000_000, position % length, length);
    before * 1_000_000 + within
}

/// Millionths of a day's conversions that are attributed `age` milliseconds after its end: 92 %
/// at once, 102 % after a week, from then on duplicates are taken out until 100 % at 28 days.
fn maturity(age: u64) -> u64 {
    const DAY: u64 = 86_400_000;
    match age {
        _ if age < 7 * DAY => 920_000 + scale(100_000, age, 7 * DAY),
        _ if age < 28 * DAY => 1_020_000 - scale(20_000, age - 7 * DAY, 21 * DAY),
        _ => 1_000_000,
    }
}

/// The earliest day that anything is known of: 37 months back.
pub(super) fn horizon(today: Date) -> Date {
    today.saturating_sub(37.months())
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    const PACE: Pace = Pace {
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

    fn range(since: Date, until: Date, now: Timestamp) -> Numbers {
        let mut sum = Numbers::default();
        for day in days(&zone(), since, until, now) {
            sum += numbers(7, 120_210, &PACE, true, 2, &day);
        }
        sum
    }

    #[test]
    fn hours_make_a_whole_day() {
        assert_eq!(progress(0, 90_000_000), 0);
        assert_eq!(progress(89_999_999, 90_000_000) / 1_000_000, 999);
        assert_eq!(progress(90_000_000, 90_000_000), 1_000_000_000);
    }

    #[test]
    fn numbers_grow_through_every_day_and_keep_the_funnel() {
        // Both changes of the clock in Berlin, and a usual day.
        for day in [date(2026, 3, 29), date(2026, 10, 25), date(2026, 11, 23)] {
            let start = midnight(&zone(), day);
            let mut last = Numbers::default();
            for step in 0..(23 * 60) {
                let now = start + (step * 60).seconds();
                let n = range(day, day, now);
                assert!(
                    n.delivered >= last.delivered && n.value_minor + 1_000_000 > last.value_minor
                );
                assert!(
                    n.sent >= n.delivered && n.delivered >= n.read && n.read >= n.message_clicks
                );
                let [purchase, checkout, cart, _, _, _, view, payment, ..] = n.actions;
                assert!(n.clicks >= view && view >= cart && cart >= checkout);
                assert!(checkout >= payment && payment >= purchase);
                assert!(purchase >= last.actions[0]);
                last = n;
            }
            assert!(last.delivered > 50_000);
        }
    }

    #[test]
    fn numbers_move_every_five_seconds_even_at_night() {
        let night = midnight(&zone(), date(2026, 11, 23)) + 3.hours().minutes(30);
        let pace = Pace {
            volume: 40_000,
            ..PACE
        };
        let delivered = |now| {
            let today = date(2026, 11, 23);
            let days = days(&zone(), today, today, now);
            (0..6)
                .map(|ad| numbers(7, ad, &pace, true, 2, &days[0]).delivered)
                .sum::<u64>()
        };
        for step in 0..100 {
            let now = night + (step * 5).seconds();
            assert!(delivered(now + 5.seconds()) > delivered(now));
        }
    }

    #[test]
    fn days_add_up_to_their_range() {
        let now = midnight(&zone(), date(2026, 11, 23)) + 13.hours();
        let whole = range(date(2026, 10, 1), date(2026, 11, 23), now);
        let mut sum = Numbers::default();
        let mut day = date(2026, 10, 1);
        while day <= date(2026, 11, 23) {
            sum += range(day, day, now);
            day = day.tomorrow().unwrap();
        }
        assert_eq!(sum, whole);
    }

    #[test]
    fn closed_days_are_restated_up_then_down_then_never() {
        let day = date(2026, 10, 1);
        let end = midnight(&zone(), date(2026, 10, 2));
        let after = |days: i64| range(day, day, end + (days * 24).hours());
        let [at_once, week, month, year] = [after(0), after(7), after(28), after(365)];
        assert!(at_once.actions[0] < week.actions[0]);
        assert!(week.actions[0] > month.actions[0]);
        assert_eq!(month, year);
        assert_eq!(at_once.delivered, year.delivered);
        assert_eq!(at_once.spend_minor, year.spend_minor);
    }
}
