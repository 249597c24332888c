//! Snapshots for tests: arbitrary ones, and a small one that holds one of everything.
#![allow(
    clippy::expect_used,
    reason = "a test's helpers say what they expect by panicking too"
)]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use marketing_messages_exporter::config::{ExtraField, Labels, Thresholds, ZeroFill};
use marketing_messages_exporter::fault::{Fault, Reason};
use marketing_messages_exporter::listing::{Account, Campaign, Listing, Member};
use marketing_messages_exporter::plan::{Columns, Plan, Question, Source, Subject, Window};
use marketing_messages_exporter::row::{
    AccountId, DatePreset, Dates, Figure, Figures, Identity, Kind, Level, Named, ObjectId, Row,
};
use marketing_messages_exporter::snapshot::{Answer, Known, Snapshot, WindowKnown};
use proptest::collection::{btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

/// One of everything.
pub(crate) fn sample() -> (Plan, Snapshot) {
    let id = ObjectId::parse("120210000000000001").expect("it is digits");
    let account = AccountId::parse("act_1234567890").expect("it is digits");
    let named = Named {
        id: id.clone(),
        name: "Frühling 🌱".into(),
    };
    let identity = Arc::new(Identity {
        account: account.clone(),
        currency: Some("EUR".into()),
        campaign: Some(named),
        adset: None,
        ad: None,
    });
    let mut figures = [Figure::Missing; 8];
    figures[0] = Figure::Given(1234.0);
    figures[2] = Figure::Given(12.34);
    figures[7] = Figure::Rejected;
    let row = Row {
        identity: Arc::clone(&identity),
        start: Date::constant(2026, 3, 1),
        stop: Date::constant(2026, 5, 31),
        has_actions: true,
        mixed_attribution: false,
        figures: Figures::pack(&figures),
    };
    let time = Timestamp::from_second(1_780_000_000).expect("it is in range");
    let answer = Arc::new(Answer {
        at: time,
        rows: vec![row],
        withheld: ["120210000000000002".into()].into(),
    });
    let today = DatePreset::parse("today")
        .map(Dates::Preset)
        .expect("it is one");
    let hour = Duration::from_secs(60 * 60);
    let source = Arc::new(Source {
        business: "acme".into(),
        name: account.to_string().into(),
        subject: Subject::AdAccount {
            id: account.clone(),
            only: vec![],
        },
        level: Level::Campaign,
        zero_fill: ZeroFill::Active,
        conversions: true,
        columns: Columns {
            extra: [].into(),
            action_types: ["offsite_conversion.fb_pixel_purchase".to_owned()].into(),
        },
        windows: vec![Window::new("today", today, hour / 4, hour)],
        labels: Labels::default(),
        thresholds: Thresholds::default(),
        elsewhere: [].into(),
    });
    let listing = Arc::new(Listing {
        at: time,
        account: Account {
            id: account,
            name: "Acme".into(),
            currency: Some("EUR".into()),
            timezone: TimeZone::get("Europe/Berlin").ok(),
        },
        campaigns: vec![Campaign {
            id,
            name: "Frühling 🌱".into(),
            status: "ACTIVE".into(),
            objective: "MESSAGES".into(),
            is_message: true,
            daily_budget: Some(50.0),
            lifetime_budget: None,
        }],
        others: vec![ObjectId::parse("9").expect("it is digits")],
        members: vec![Member {
            identity: Arc::clone(&identity),
            active: true,
        }],
        rows: 2,
    });
    let window = WindowKnown {
        delivery: Some(Arc::clone(&answer)),
        conversions: Some(answer),
        tried: true,
        up: false,
        last_success: Some(time),
        last_duration: Some(Duration::from_millis(321)),
        next_poll: Some(time + hour),
        stale_after: hour,
        fault: Some(Fault {
            code: Some(4),
            fbtrace_id: Some("A1b2".to_owned()),
            ..Fault::new(Reason::Throttled, "(#4) Application request limit reached")
        }),
    };
    let known = Known {
        source: Arc::clone(&source),
        listing: Some(listing),
        windows: vec![window],
        held_until: Some(time + hour),
        gives_way: false,
    };
    let plan = Plan {
        sources: vec![source],
        configured: 1,
    };
    let sources = vec![Arc::new(known)];
    (plan, Snapshot { sources })
}

/// After every time that the generators make.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(2_000_000_000).expect("it is in range")
}

fn at() -> impl Strategy<Value = Timestamp> {
    let times = (1_700_000_000_i64..2_000_000_000, 0..1_000_000_000);
    times.prop_map(|(second, nano)| Timestamp::new(second, nano).expect("it is in range"))
}

/// After [`now`], for holds that are not over.
fn later(at: Timestamp) -> Timestamp {
    let ten_years = Duration::from_secs(10 * 365 * 24 * 60 * 60);
    at + ten_years
}

fn duration() -> impl Strategy<Value = Duration> {
    (0..100_000_u64, 0..1_000_000_000_u32).prop_map(|(secs, nanos)| Duration::new(secs, nanos))
}

fn text<T: From<String> + fmt::Debug>() -> impl Strategy<Value = T> {
    prop_oneof![Just(String::new()), any::<String>()].prop_map(T::from)
}

fn object() -> impl Strategy<Value = ObjectId> {
    "[0-9]{1,18}".prop_map(|id| ObjectId::parse(&id).expect("it is digits"))
}

fn account_id() -> impl Strategy<Value = AccountId> {
    "[0-9]{1,18}".prop_map(|id| AccountId::parse(&id).expect("it is digits"))
}

fn named() -> impl Strategy<Value = Named> {
    (object(), text()).prop_map(|(id, name)| Named { id, name })
}

fn date() -> impl Strategy<Value = Date> {
    (-9999..=9999_i16, 1..=12_i8, 1..=28_i8)
        .prop_map(|(year, month, day)| Date::new(year, month, day).expect("every month has it"))
}

fn dates() -> impl Strategy<Value = Dates> {
    let preset = select(DatePreset::ALL.as_slice()).prop_map(|name| {
        let preset = DatePreset::parse(name);
        Dates::Preset(preset.expect("it is one of all"))
    });
    let range = (date(), date()).prop_map(|(since, until)| Dates::Range { since, until });
    prop_oneof![Just(Dates::Unsent), preset, range]
}

fn identity() -> impl Strategy<Value = Identity> {
    (
        account_id(),
        of(text()),
        of(named()),
        of(named()),
        of(named()),
    )
        .prop_map(|(account, currency, campaign, adset, ad)| Identity {
            account,
            currency,
            campaign,
            adset,
            ad,
        })
}

fn figure() -> impl Strategy<Value = Figure> {
    prop_oneof![
        Just(Figure::Missing),
        Just(Figure::Rejected),
        Just(Figure::Given(-0.0)),
        proptest::num::f64::ANY
            .prop_filter("an infinite number is rejected", |number| number
                .is_finite())
            .prop_map(Figure::Given),
    ]
}

fn figures(width: usize) -> impl Strategy<Value = Figures> {
    vec(figure(), width).prop_map(|figures| Figures::pack(&figures))
}

fn row(identities: Vec<Arc<Identity>>, width: usize) -> impl Strategy<Value = Row> {
    let flags = (any::<bool>(), any::<bool>());
    (select(identities), date(), date(), flags, figures(width)).prop_map(
        |(identity, start, stop, (has_actions, mixed_attribution), figures)| Row {
            identity,
            start,
            stop,
            has_actions,
            mixed_attribution,
            figures,
        },
    )
}

fn answer(identities: Vec<Arc<Identity>>, width: usize) -> impl Strategy<Value = Arc<Answer>> {
    let withheld = btree_set(text::<Box<str>>(), 0..3);
    (at(), vec(row(identities, width), 0..4), withheld).prop_map(|(at, mut rows, withheld)| {
        rows.sort_by(|a, b| a.identity.key().cmp(b.identity.key()));
        Arc::new(Answer { at, rows, withheld })
    })
}

fn fault() -> impl Strategy<Value = Fault> {
    let codes = (of(any::<i64>()), of(any::<i64>()));
    let words = (any::<String>(), of(any::<String>()));
    (select(Reason::ALL.as_slice()), codes, words).prop_map(
        |(reason, (code, subcode), (message, fbtrace_id))| Fault {
            reason,
            code,
            subcode,
            message,
            fbtrace_id,
        },
    )
}

fn listing(identities: Vec<Arc<Identity>>) -> impl Strategy<Value = Arc<Listing>> {
    let zones = vec!["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata"];
    let zone = of(select(zones)).prop_map(|name| name.and_then(|name| TimeZone::get(name).ok()));
    let account =
        (account_id(), text(), of(text()), zone).prop_map(|(id, name, currency, timezone)| {
            Account {
                id,
                name,
                currency,
                timezone,
            }
        });
    let more = (any::<bool>(), of(-1e9..1e9), of(-1e9..1e9));
    let campaign = (object(), text(), text(), text(), more).prop_map(
        |(id, name, status, objective, (is_message, daily_budget, lifetime_budget))| Campaign {
            id,
            name,
            status,
            objective,
            is_message,
            daily_budget,
            lifetime_budget,
        },
    );
    let member = (select(identities), any::<bool>()).prop_map(|(identity, active)| Member {
        identity: Arc::clone(&identity),
        active,
    });
    let (campaigns, members) = (vec(campaign, 0..3), vec(member, 0..3));
    (
        at(),
        account,
        campaigns,
        vec(object(), 0..3),
        members,
        any::<usize>(),
    )
        .prop_map(|(at, account, campaigns, others, members, rows)| {
            Arc::new(Listing {
                at,
                account,
                campaigns,
                others,
                members,
                rows,
            })
        })
}

/// A window that is believed for ever, so that nothing of it is withdrawn.
fn window(
    identities: Vec<Arc<Identity>>,
    columns: &Columns,
) -> impl Strategy<Value = (Window, WindowKnown)> + use<> {
    let years = Duration::from_secs(20 * 365 * 24 * 60 * 60);
    let window = (text::<Box<str>>(), dates())
        .prop_map(move |(name, dates)| Window::new(&name, dates, years / 10, years));
    let delivery = of(answer(
        identities.clone(),
        columns.width(Question::Delivery),
    ));
    let conversions = of(answer(identities, columns.width(Question::Conversions)));
    let times = (of(at()), of(duration()), of(at()));
    let flags = (any::<bool>(), any::<bool>());
    (window, delivery, conversions, flags, times, of(fault())).prop_map(
        move |(window, delivery, conversions, (tried, up), times, fault)| {
            let known = WindowKnown {
                delivery,
                conversions,
                tried,
                up,
                last_success: times.0,
                last_duration: times.1,
                next_poll: times.2,
                stale_after: years,
                fault,
            };
            (window, known)
        },
    )
}

fn columns() -> impl Strategy<Value = Columns> {
    let kind = select(vec![Kind::Count, Kind::Money, Kind::Percent]);
    let extra = (any::<String>(), kind).prop_map(|(field, kind)| ExtraField {
        metric: field.clone(),
        help: field.clone(),
        field,
        kind,
    });
    (vec(extra, 0..3), vec(any::<String>(), 0..4)).prop_map(|(extra, action_types)| Columns {
        extra: extra.into(),
        action_types: action_types.into(),
    })
}

fn subject() -> impl Strategy<Value = Subject> {
    let account =
        (account_id(), vec(object(), 0..3)).prop_map(|(id, only)| Subject::AdAccount { id, only });
    // Longer than any listed one, so that no source must give way.
    let campaign = "[0-9]{19}".prop_map(|id| ObjectId::parse(&id).expect("it is digits"));
    prop_oneof![account, campaign.prop_map(Subject::Campaign)]
}

fn known(columns: Columns) -> impl Strategy<Value = Known> {
    let identities = vec(identity().prop_map(Arc::new), 1..4);
    let within = (identities, Just(columns)).prop_flat_map(|(identities, columns)| {
        let windows = vec(window(identities.clone(), &columns), 0..3);
        (of(listing(identities)), windows, Just(columns))
    });
    let levels = vec![Level::Account, Level::Campaign, Level::Adset, Level::Ad];
    let asked = (subject(), select(levels), any::<bool>());
    (text(), asked, within, of(at().prop_map(later))).prop_map(
        |(business, (subject, level, conversions), (listing, windows, columns), held_until)| {
            let (mut windows, known): (Vec<Window>, _) = windows.into_iter().unzip();
            for (place, window) in windows.iter_mut().enumerate() {
                window.name = format!("{place}{}", window.name).into();
            }
            Known {
                source: Arc::new(Source {
                    business,
                    name: "".into(),
                    subject,
                    level,
                    zero_fill: ZeroFill::All,
                    conversions,
                    columns,
                    windows,
                    labels: Labels::default(),
                    thresholds: Thresholds::default(),
                    elsewhere: [].into(),
                }),
                listing,
                windows: known,
                held_until,
                gives_way: false,
            }
        },
    )
}

/// A snapshot, and the plan that it is of. Nothing in it is over or stale at [`now`].
pub(crate) fn snapshot() -> impl Strategy<Value = (Plan, Snapshot)> {
    // Mostly the same columns, as in life; but not always.
    let known = (columns(), columns()).prop_flat_map(|(usual, other)| {
        vec(
            prop_oneof![known(usual.clone()), known(usual), known(other)],
            0..5,
        )
    });
    known.prop_map(|mut sources| {
        for (place, known) in sources.iter_mut().enumerate() {
            let mut source = known.source.as_ref().clone();
            source.name = format!("{place}").into();
            known.source = Arc::new(source);
        }
        let plan = Plan {
            sources: sources
                .iter()
                .map(|known| Arc::clone(&known.source))
                .collect(),
            configured: sources.len(),
        };
        let sources = sources.into_iter().map(Arc::new).collect();
        (plan, Snapshot { sources })
    })
}
