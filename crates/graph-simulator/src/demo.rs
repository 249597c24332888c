//! Ready-made worlds: the demo world, and uniform worlds of any size for counting calls and for benchmarks.
//!
//! The demo world has four businesses in different time zones and currencies, names with characters that need
//! escaping, and one campaign of each kind that a client has to treat differently. Its dates are fixed, from March
//! 2026 on.

use jiff::Timestamp;
use jiff::civil::Date;

use crate::traffic_model::AdProfile;
use crate::world::{Ad, AdAccount, AdSet, App, Campaign, Status, Tier, Token, World, decimals};

/// Token that can read every ad account of [`World::demo`], [`World::with_campaigns`] and [`World::with_businesses`].
pub const DEMO_TOKEN: &str = "EAASimulatedTokenOfEveryBusiness";

/// Id of the app of every token.
const APP_ID: &str = "1234567890";

impl World {
    /// Returns the demo world.
    pub fn demo() -> Self {
        let businesses: [(&str, &str, &[u64]); 4] = [
            ("aurora", "EAASimulatedTokenOfAurora", &[1_101, 1_102]),
            ("nordlicht", "EAASimulatedTokenOfNordlicht", &[1_201]),
            ("hinode", "EAASimulatedTokenOfHinode", &[1_301]),
            ("kereru", "EAASimulatedTokenOfKereru", &[1_401]),
        ];
        let mut tokens = vec![token("everyone", DEMO_TOKEN, None)];
        for (business, text, accounts) in businesses {
            let account_ids = accounts.iter().map(|number| account_id(*number)).collect();
            tokens.push(token(business, text, Some(account_ids)));
        }
        let mut world = Self {
            seed: 20_260_522,
            apps: vec![app()],
            tokens,
            accounts: vec![aurora(), outlet(), nordlicht(), hinode(), kereru()],
        };
        world.accounts.iter_mut().for_each(set_budgets);
        world
    }

    /// Returns a world with the ad account `act_10150000000009001` in the time zone of Berlin, which has `message`
    /// message campaigns and then `ordinary` other campaigns, each with one ad set and one ad.
    pub fn with_campaigns(message: usize, ordinary: usize) -> Self {
        let mut account = account(9_001, "Many", "EUR", "Europe/Berlin", 47);
        account.campaigns.reserve(message + ordinary);
        let profile = profile(2_000, 14_100, 97, 135, 8_333);
        for number in 0..(message + ordinary) as u64 {
            let name = format!("Campaign {number}");
            let mut campaign = campaign(1_000_000 + number, &name, "2026-04-01", &[profile]);
            campaign.is_message = number < message as u64;
            campaign.adsets[0].ads.truncate(1);
            account.campaigns.push(campaign);
        }
        set_budgets(&mut account);
        Self {
            seed: 1,
            apps: vec![app()],
            tokens: vec![token("everyone", DEMO_TOKEN, None)],
            accounts: vec![account],
        }
    }

    /// Returns a world with the businesses `business-0`, `business-1` and so on. Each has the token
    /// [`World::business_token`] and one ad account, from `act_10150000000010000` on, with the given number of
    /// message campaigns.
    pub fn with_businesses(businesses: usize, campaigns: usize) -> Self {
        let mut world = Self::with_campaigns(campaigns, 0);
        let Some(template) = world.accounts.pop() else {
            return world;
        };
        for number in 0..businesses {
            let mut account = template.clone();
            account.id = account_id(10_000 + number as u64);
            // Ids are unique in the world. Those of one account span 1,000 per campaign.
            let id_offset = 1_000_000_000 + 1_000 * (number * campaigns) as u64;
            for campaign in &mut account.campaigns {
                campaign.id += id_offset;
                for adset in &mut campaign.adsets {
                    adset.id += id_offset;
                    adset.ads.iter_mut().for_each(|ad| ad.id += id_offset);
                }
            }
            let visible_accounts = Some(vec![account.id]);
            let name = format!("business-{number}");
            world.tokens.push(token(
                &name,
                &Self::business_token(number),
                visible_accounts,
            ));
            world.accounts.push(account);
        }
        world
    }

    /// Returns the token of a business of [`World::with_businesses`].
    pub fn business_token(business: usize) -> String {
        format!("EAASimulatedTokenOfBusiness{business}")
    }

    /// Returns [`DEMO_TOKEN`].
    pub fn demo_token() -> &'static str {
        DEMO_TOKEN
    }
}

// Columns of `profile`: volume, cost in millionths, click and purchase permille, basket in minor units.
#[rustfmt::skip] // one campaign per line
fn aurora() -> AdAccount {
    let mut account = account(1_101, "Aurora Outdoor", "USD", "America/Los_Angeles", 1);
    account.campaigns = vec![
        campaign(11, "Spring restock: \"trail & summit\"", "2026-03-09",
            &[profile(190_000, 14_109, 97, 140, 8_333), profile(120_000, 14_800, 88, 120, 7_900)]),
        campaign(12, "Welcome series 👋", "2026-03-16",
            &[profile(80_000, 13_000, 122, 210, 5_450), profile(70_000, 13_000, 110, 190, 5_200)]),
        campaign(13, r"Back in stock \ waders", "2026-05-04", &[profile(140_000, 15_900, 64, 48, 9_900)]),
        ordinary(14, "Prospecting | Advantage+ shopping", "2023-02-01", profile(310_000, 8_200, 14, 160, 7_200)),
        ordinary(15, "Retargeting 30d", "2024-01-15", profile(90_000, 11_700, 21, 260, 7_700)),
        ended(16, "Easter eggs 🥚", "2026-03-12", Status::Archived, "2026-04-12", profile(60_000, 14_000, 80, 90, 4_900)),
    ];
    account
}

#[rustfmt::skip] // one campaign per line
fn outlet() -> AdAccount {
    let mut account = account(1_102, "Aurora Outlet", "USD", "America/New_York", 7);
    account.campaigns = vec![
        campaign(21, "Clearance: last sizes", "2026-03-23",
            &[profile(210_000, 16_800, 58, 30, 3_900), profile(150_000, 16_200, 61, 36, 4_100)]),
        campaign(22, "Members only 🎟️ early access", "2026-06-01", &[profile(95_000, 14_400, 131, 230, 6_800)]),
        campaign(23, "Brand story (no shop)", "2026-07-06", &[profile(110_000, 13_600, 75, 0, 0)]),
        ordinary(24, "Catalogue sales", "2025-03-10", profile(260_000, 7_900, 12, 120, 5_600)),
    ];
    account
}

#[rustfmt::skip] // one campaign per line
fn nordlicht() -> AdAccount {
    let mut account = account(1_201, "Nordlicht Leuchten", "EUR", "Europe/Berlin", 47);
    let mut mixed = campaign(33, "A/B: Klick gegen View", "2026-08-03",
        &[profile(70_000, 21_500, 93, 110, 7_450), profile(70_000, 21_500, 91, 118, 7_450)]);
    mixed.adsets[1].attribution_setting = "1d_click".to_owned();
    account.campaigns = vec![
        campaign(31, "Herbstaktion „Licht an!“", "2026-03-30",
            &[profile(130_000, 21_900, 82, 105, 11_900), profile(105_000, 22_400, 79, 96, 12_500)]),
        campaign(32, "Warenkorb-Erinnerung", "2026-04-20", &[profile(60_000, 19_700, 148, 290, 13_200)]),
        mixed,
        ended(34, "Sommerschluss 2026", "2026-06-15", Status::Paused, "2026-08-31", profile(120_000, 21_000, 84, 99, 8_900)),
        campaign(35, "Bestandskunden (seit 2025)", "2025-11-03", &[profile(65_000, 20_300, 102, 170, 9_400)]),
        ordinary(36, "Traffic – Katalog", "2024-09-02", profile(180_000, 9_100, 16, 60, 8_800)),
    ];
    account
}

#[rustfmt::skip] // one campaign per line
fn hinode() -> AdAccount {
    let mut account = account(1_301, "日の出コスメ", "JPY", "Asia/Tokyo", 77);
    let mut direct = campaign(43, "お友だち限定クーポン", "2026-05-18", &[profile(115_000, 1_900_000, 118, 180, 4_980)]);
    direct.is_direct_send = true;
    account.campaigns = vec![
        campaign(41, "秋の新作コレクション 🍁", "2026-03-19",
            &[profile(160_000, 2_100_000, 86, 130, 6_480), profile(90_000, 2_200_000, 90, 125, 6_900)]),
        campaign(42, "ポイント2倍デー", "2026-04-06", &[profile(75_000, 2_000_000, 109, 60, 3_300)]),
        direct,
        ordinary(44, "リターゲティング", "2025-06-02", profile(140_000, 1_100_000, 18, 150, 5_800)),
    ];
    account
}

#[rustfmt::skip] // one campaign per line
fn kereru() -> AdAccount {
    let mut account = account(1_401, "Kererū Coffee", "NZD", "Pacific/Auckland", 97);
    account.campaigns = vec![
        campaign(51, "Tuesday roast drop ☕", "2026-04-13",
            &[profile(85_000, 24_000, 107, 190, 5_900), profile(65_000, 23_500, 112, 205, 5_600)]),
        campaign(52, "Win-back: 90 days quiet", "2026-09-07", &[profile(55_000, 25_500, 49, 40, 5_100)]),
        campaign(53, "عرض نهاية الأسبوع", "2026-10-05", &[profile(60_000, 23_900, 95, 150, 6_200)]),
        ended(54, "Filter test 100% off?", "2026-10-12", Status::Paused, "2026-11-08", profile(50_000, 24_000, 90, 100, 5_000)),
    ];
    account
}

/// Returns the id of the ad account with this number: 1101 is `act_10150000000001101`.
fn account_id(number: u64) -> u64 {
    10_150_000_000_000_000 + number
}

/// Returns an active ad account without campaigns. `zone` is an IANA name, `zone_id` Meta's number of it.
fn account(number: u64, name: &str, currency: &str, zone: &str, zone_id: u32) -> AdAccount {
    AdAccount {
        id: account_id(number),
        name: name.to_owned(),
        currency: currency.to_owned(),
        time_zone: zone.to_owned(),
        time_zone_id: zone_id,
        status: 1,
        disable_reason: 0,
        balance: 0,
        spend_cap: 0,
        tier: Tier::Standard,
        enforces_quota: false,
        campaigns: Vec::new(),
    }
}

/// Returns an active message campaign with an 18-digit id that ends in `number` and three digits, one ad set per
/// profile and two ads per ad set. `created` is a date, `2026-03-09`.
fn campaign(number: u64, name: &str, created: &str, profiles: &[AdProfile]) -> Campaign {
    const ADSET_NAMES: [&str; 3] = ["Subscribers", "Lapsed buyers", "Lookalikes"];
    const AD_NAMES: [&str; 2] = ["Carousel", "One picture"];
    let id = 120_210_000_000_000_000 + number * 1_000;
    let adset = |(adset_idx, profile): (usize, &AdProfile)| {
        let adset_id = id + 100 * (adset_idx as u64 + 1);
        let ad = |(ad_idx, name): (usize, &str)| Ad {
            id: adset_id + 1 + ad_idx as u64,
            name: format!("{name} of {number}"),
            status: Status::Active,
            // 60 % of the volume is the first ad's, 40 % the second's.
            profile: AdProfile {
                volume: if ad_idx == 0 {
                    profile.volume * 3 / 5
                } else {
                    profile.volume * 2 / 5
                },
                ..*profile
            },
        };
        AdSet {
            id: adset_id,
            name: ADSET_NAMES[adset_idx % ADSET_NAMES.len()].to_owned(),
            status: Status::Active,
            attribution_setting: "7d_click_1d_view".to_owned(),
            daily_budget: None,
            lifetime_budget: None,
            ads: AD_NAMES.into_iter().enumerate().map(ad).collect(),
        }
    };
    Campaign {
        id,
        name: name.to_owned(),
        is_message: true,
        is_direct_send: false,
        status: Status::Active,
        objective: "OUTCOME_SALES".to_owned(),
        created: format!("{created}T09:49:54Z")
            .parse()
            .unwrap_or(Timestamp::UNIX_EPOCH),
        last_day: None,
        daily_budget: None,
        lifetime_budget: None,
        issues: Vec::new(),
        adsets: profiles.iter().enumerate().map(adset).collect(),
    }
}

/// Returns a campaign that does not send messages.
fn ordinary(number: u64, name: &str, created: &str, profile: AdProfile) -> Campaign {
    Campaign {
        is_message: false,
        ..campaign(number, name, created, &[profile])
    }
}

/// Returns a message campaign with this status and the date `last_day` as its last day of delivery.
fn ended(
    number: u64,
    name: &str,
    created: &str,
    status: Status,
    last_day: &str,
    profile: AdProfile,
) -> Campaign {
    Campaign {
        status,
        last_day: last_day.parse::<Date>().ok(),
        ..campaign(number, name, created, &[profile])
    }
}

/// Returns a profile; see [`AdProfile`] for the units. 700 messages per 1,000 delivered are read, plus one per click,
/// which keeps reads above clicks.
fn profile(
    volume: u64,
    cost_micros: u64,
    click_permille: u64,
    purchase_permille: u64,
    basket_minor: u64,
) -> AdProfile {
    AdProfile {
        volume,
        cost_micros,
        read_permille: 700 + click_permille,
        click_permille,
        purchase_permille,
        basket_minor,
    }
}

/// Sets the daily budget of every ad set to about 120 % of its average daily spend.
fn set_budgets(account: &mut AdAccount) {
    let micros_per_minor_unit = 10_u64.pow(6 - decimals(&account.currency));
    for adset in account.campaigns.iter_mut().flat_map(|c| &mut c.adsets) {
        let average_micros: u64 = adset
            .ads
            .iter()
            .map(|ad| ad.profile.volume * ad.profile.cost_micros)
            .sum();
        // Rounded up to a multiple of 500, like budgets that are entered by hand.
        let budget = average_micros / micros_per_minor_unit * 6 / 5;
        adset.daily_budget = Some(budget.next_multiple_of(500));
    }
}

/// Returns the app of every token.
fn app() -> App {
    App {
        id: APP_ID.to_owned(),
        secret: "simulated-app-secret".to_owned(),
        requires_proof: false,
    }
}

/// Returns a token that never expires.
fn token(business: &str, text: &str, visible_accounts: Option<Vec<u64>>) -> Token {
    Token {
        text: text.to_owned(),
        business: business.to_owned(),
        app: APP_ID.to_owned(),
        expires_at: 0,
        data_access_expires_at: 0,
        visible_accounts,
    }
}
