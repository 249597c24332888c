//! Two worlds ready to use: one to show, one to count and measure with.
//!
//! The shown one has four businesses far apart, names that try every escape, and one campaign of
//! each kind that the exporter treats differently. Its dates are fixed, from March 2026 on.

use jiff::Timestamp;
use jiff::civil::Date;

use super::curve::Pace;
use super::world::{Ad, AdAccount, AdSet, App, Campaign, Status, Tier, Token, World, decimals};

/// The token that sees every ad account, in both worlds.
pub const DEMO_TOKEN: &str = "EAASimulatedTokenOfEveryBusiness";

/// The app of every token, in both worlds.
const APP: &str = "1234567890";

impl World {
    /// The world of the `demo` command.
    pub fn demo() -> Self {
        let businesses: [(&str, &str, &[u64]); 4] = [
            ("aurora", "EAASimulatedTokenOfAurora", &[1_101, 1_102]),
            ("nordlicht", "EAASimulatedTokenOfNordlicht", &[1_201]),
            ("hinode", "EAASimulatedTokenOfHinode", &[1_301]),
            ("kereru", "EAASimulatedTokenOfKereru", &[1_401]),
        ];
        let mut tokens = vec![token("everyone", DEMO_TOKEN, None)];
        for (business, text, accounts) in businesses {
            let sees = accounts.iter().map(|number| account_id(*number)).collect();
            tokens.push(token(business, text, Some(sees)));
        }
        let mut world = Self {
            seed: 20_260_522,
            apps: vec![app()],
            tokens,
            accounts: vec![aurora(), outlet(), nordlicht(), hinode(), kereru()],
        };
        world.accounts.iter_mut().for_each(budget);
        world
    }

    /// One ad account, `act_10150000000009001` in Berlin, with so many campaigns of each kind,
    /// message campaigns first, one ad set and one ad each. For counting calls and for measuring.
    pub fn with_campaigns(message: usize, ordinary: usize) -> Self {
        let mut account = account(9_001, "Many", "EUR", "Europe/Berlin", 47);
        account.campaigns.reserve(message + ordinary);
        let pace = pace(2_000, 14_100, 97, 135, 8_333);
        for number in 0..(message + ordinary) as u64 {
            let name = format!("Campaign {number}");
            let mut campaign = campaign(1_000_000 + number, &name, "2026-04-01", &[pace]);
            campaign.is_message = number < message as u64;
            campaign.adsets[0].ads.truncate(1);
            account.campaigns.push(campaign);
        }
        budget(&mut account);
        Self {
            seed: 1,
            apps: vec![app()],
            tokens: vec![token("everyone", DEMO_TOKEN, None)],
            accounts: vec![account],
        }
    }

    /// So many businesses, `business-0` and on, each with a token and an ad account of its own: the
    /// accounts follow `act_10150000000010000`, the tokens are [`World::token_of`].
    pub fn with_businesses(businesses: usize, campaigns: usize) -> Self {
        let mut world = Self::with_campaigns(campaigns, 0);
        let Some(template) = world.accounts.pop() else {
            return world;
        };
        for number in 0..businesses {
            let mut account = template.clone();
            account.id = account_id(10_000 + number as u64);
            // No two campaigns of the world share an id.
            for (place, campaign) in account.campaigns.iter_mut().enumerate() {
                let shift = 1_000 * (number * campaigns + place) as u64;
                let far = 1_000_000_000 + shift - 1_000 * place as u64;
                campaign.id += far;
                for adset in &mut campaign.adsets {
                    adset.id += far;
                    adset.ads.iter_mut().for_each(|ad| ad.id += far);
                }
            }
            let sees = Some(vec![account.id]);
            let name = format!("business-{number}");
            world
                .tokens
                .push(token(&name, &Self::token_of(number), sees));
            world.accounts.push(account);
        }
        world
    }

    /// The token of a business of [`World::with_businesses`].
    pub fn token_of(business: usize) -> String {
        format!("EAASimulatedTokenOfBusiness{business}")
    }

    /// The token that sees every ad account.
    pub fn demo_token() -> &'static str {
        DEMO_TOKEN
    }
}

// Columns of `pace`: volume, price in millionths, clicks and purchases per thousand, basket.
#[rustfmt::skip] // A table reads better in lines.
fn aurora() -> AdAccount {
    let mut account = account(1_101, "Aurora Outdoor", "USD", "America/Los_Angeles", 1);
    account.campaigns = vec![
        campaign(11, "Spring restock: \"trail & summit\"", "2026-03-09",
            &[pace(190_000, 14_109, 97, 140, 8_333), pace(120_000, 14_800, 88, 120, 7_900)]),
        campaign(12, "Welcome series 👋", "2026-03-16",
            &[pace(80_000, 13_000, 122, 210, 5_450), pace(70_000, 13_000, 110, 190, 5_200)]),
        campaign(13, r"Back in stock \ waders", "2026-05-04", &[pace(140_000, 15_900, 64, 48, 9_900)]),
        ordinary(14, "Prospecting | Advantage+ shopping", "2023-02-01", pace(310_000, 8_200, 14, 160, 7_200)),
        ordinary(15, "Retargeting 30d", "2024-01-15", pace(90_000, 11_700, 21, 260, 7_700)),
        ended(16, "Easter eggs 🥚", "2026-03-12", Status::Archived, "2026-04-12", pace(60_000, 14_000, 80, 90, 4_900)),
    ];
    account
}

#[rustfmt::skip] // A table reads better in lines.
fn outlet() -> AdAccount {
    let mut account = account(1_102, "Aurora Outlet", "USD", "America/New_York", 7);
    account.campaigns = vec![
        campaign(21, "Clearance: last sizes", "2026-03-23",
            &[pace(210_000, 16_800, 58, 30, 3_900), pace(150_000, 16_200, 61, 36, 4_100)]),
        campaign(22, "Members only 🎟️ early access", "2026-06-01", &[pace(95_000, 14_400, 131, 230, 6_800)]),
        campaign(23, "Brand story (no shop)", "2026-07-06", &[pace(110_000, 13_600, 75, 0, 0)]),
        ordinary(24, "Catalogue sales", "2025-03-10", pace(260_000, 7_900, 12, 120, 5_600)),
    ];
    account
}

#[rustfmt::skip] // A table reads better in lines.
fn nordlicht() -> AdAccount {
    let mut account = account(1_201, "Nordlicht Leuchten", "EUR", "Europe/Berlin", 47);
    let mut mixed = campaign(33, "A/B: Klick gegen View", "2026-08-03",
        &[pace(70_000, 21_500, 93, 110, 7_450), pace(70_000, 21_500, 91, 118, 7_450)]);
    mixed.adsets[1].attribution_setting = "1d_click".to_owned();
    account.campaigns = vec![
        campaign(31, "Herbstaktion „Licht an!“", "2026-03-30",
            &[pace(130_000, 21_900, 82, 105, 11_900), pace(105_000, 22_400, 79, 96, 12_500)]),
        campaign(32, "Warenkorb-Erinnerung", "2026-04-20", &[pace(60_000, 19_700, 148, 290, 13_200)]),
        mixed,
        ended(34, "Sommerschluss 2026", "2026-06-15", Status::Paused, "2026-08-31", pace(120_000, 21_000, 84, 99, 8_900)),
        campaign(35, "Bestandskunden (seit 2025)", "2025-11-03", &[pace(65_000, 20_300, 102, 170, 9_400)]),
        ordinary(36, "Traffic – Katalog", "2024-09-02", pace(180_000, 9_100, 16, 60, 8_800)),
    ];
    account
}

#[rustfmt::skip] // A table reads better in lines.
fn hinode() -> AdAccount {
    let mut account = account(1_301, "日の出コスメ", "JPY", "Asia/Tokyo", 77);
    let mut direct = campaign(43, "お友だち限定クーポン", "2026-05-18", &[pace(115_000, 1_900_000, 118, 180, 4_980)]);
    direct.is_direct_send = true;
    account.campaigns = vec![
        campaign(41, "秋の新作コレクション 🍁", "2026-03-19",
            &[pace(160_000, 2_100_000, 86, 130, 6_480), pace(90_000, 2_200_000, 90, 125, 6_900)]),
        campaign(42, "ポイント2倍デー", "2026-04-06", &[pace(75_000, 2_000_000, 109, 60, 3_300)]),
        direct,
        ordinary(44, "リターゲティング", "2025-06-02", pace(140_000, 1_100_000, 18, 150, 5_800)),
    ];
    account
}

#[rustfmt::skip] // A table reads better in lines.
fn kereru() -> AdAccount {
    let mut account = account(1_401, "Kererū Coffee", "NZD", "Pacific/Auckland", 97);
    account.campaigns = vec![
        campaign(51, "Tuesday roast drop ☕", "2026-04-13",
            &[pace(85_000, 24_000, 107, 190, 5_900), pace(65_000, 23_500, 112, 205, 5_600)]),
        campaign(52, "Win-back: 90 days quiet", "2026-09-07", &[pace(55_000, 25_500, 49, 40, 5_100)]),
        campaign(53, "عرض نهاية الأسبوع", "2026-10-05", &[pace(60_000, 23_900, 95, 150, 6_200)]),
        ended(54, "Filter test 100% off?", "2026-10-12", Status::Paused, "2026-11-08", pace(50_000, 24_000, 90, 100, 5_000)),
    ];
    account
}

/// The digits of an ad account: `act_10150000000001101`.
fn account_id(number: u64) -> u64 {
    10_150_000_000_000_000 + number
}

fn account(number: u64, name: &str, currency: &str, zone: &str, zone_id: u32) -> AdAccount {
    AdAccount {
        id: account_id(number),
        name: name.to_owned(),
        currency: currency.to_owned(),
        time_zone: zone.to_owned(),
        time_zone_id: zone_id,
        status: 1,
        tier: Tier::Standard,
        enforces_quota: false,
        campaigns: Vec::new(),
    }
}

/// A message campaign, 18 digits, with an ad set for each pace and two ads in each.
fn campaign(number: u64, name: &str, created: &str, paces: &[Pace]) -> Campaign {
    const SETS: [&str; 3] = ["Subscribers", "Lapsed buyers", "Lookalikes"];
    const ADS: [&str; 2] = ["Carousel", "One picture"];
    let id = 120_210_000_000_000_000 + number * 1_000;
    let adset = |(at, pace): (usize, &Pace)| {
        let adset = id + 100 * (at as u64 + 1);
        let ad = |(at, name): (usize, &str)| Ad {
            id: adset + 1 + at as u64,
            name: format!("{name} of {number}"),
            status: Status::Active,
            // The first message of a set is the larger one.
            pace: Pace {
                volume: if at == 0 {
                    pace.volume * 3 / 5
                } else {
                    pace.volume * 2 / 5
                },
                ..*pace
            },
        };
        AdSet {
            id: adset,
            name: SETS[at % SETS.len()].to_owned(),
            status: Status::Active,
            attribution_setting: "7d_click_1d_view".to_owned(),
            daily_budget: None,
            lifetime_budget: None,
            ads: ADS.into_iter().enumerate().map(ad).collect(),
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
        adsets: paces.iter().enumerate().map(adset).collect(),
    }
}

fn ordinary(number: u64, name: &str, created: &str, pace: Pace) -> Campaign {
    Campaign {
        is_message: false,
        ..campaign(number, name, created, &[pace])
    }
}

fn ended(
    number: u64,
    name: &str,
    created: &str,
    status: Status,
    last_day: &str,
    pace: Pace,
) -> Campaign {
    Campaign {
        status,
        last_day: last_day.parse::<Date>().ok(),
        ..campaign(number, name, created, &[pace])
    }
}

fn pace(volume: u64, cost_micros: u64, clicks: u64, purchases: u64, basket_minor: u64) -> Pace {
    Pace {
        volume,
        cost_micros,
        read_permille: 700 + clicks,
        click_permille: clicks,
        purchase_permille: purchases,
        basket_minor,
    }
}

/// Gives every ad set a daily budget a little above its usual spend.
fn budget(account: &mut AdAccount) {
    let minor = 10_u64.pow(6 - decimals(&account.currency));
    for adset in account.campaigns.iter_mut().flat_map(|c| &mut c.adsets) {
        let usual: u64 = adset
            .ads
            .iter()
            .map(|ad| ad.pace.volume * ad.pace.cost_micros)
            .sum();
        // Round figures, as people type them.
        adset.daily_budget = Some((usual / minor * 6 / 5).next_multiple_of(500));
    }
}

fn app() -> App {
    App {
        id: APP.to_owned(),
        secret: "simulated-app-secret".to_owned(),
        requires_proof: false,
    }
}

fn token(business: &str, text: &str, sees: Option<Vec<u64>>) -> Token {
    Token {
        text: text.to_owned(),
        business: business.to_owned(),
        app: APP.to_owned(),
        expires_at: 0,
        sees,
    }
}
