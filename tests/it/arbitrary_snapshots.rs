//! Snapshots for tests: arbitrary ones, and a small one with every kind of value.
#![allow(
    clippy::expect_used,
    reason = "test helpers report unexpected input by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use marketing_messages_exporter::config::{
    ConfigLabels, ExtraFieldConfig, QuestionMode, WindowThresholds, ZeroFill,
};
use marketing_messages_exporter::model::{
    AccountId, AdAccount, Campaign, CampaignIssue, DatePreset, Dimensions, Entity, ErrorReason,
    Inventory, Level, ListedStatuses, ListingForm, ListingMode, MajorUnits, NamedId, ObjectId,
    PollError, Row, RowValue, RowValues, ValueKind, WindowDates,
};
use marketing_messages_exporter::plan::{
    ExportLimits, Plan, QueryColumns, QueryKind, QueryMode, Source, SourceKind, Window,
};
use marketing_messages_exporter::snapshot::{
    AccountSpend, Attribution, MissingCampaigns, Refusals, RowSet, Snapshot, SourceState,
    WindowState,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

/// Returns a snapshot with every kind of value, and its plan.
pub(crate) fn sample() -> (Plan, Snapshot) {
    let id = ObjectId::parse("120210000000000001").expect("ids are digits");
    let account = AccountId::parse("act_1234567890").expect("ids are digits");
    let named = NamedId {
        id: id.clone(),
        name: "Frühling 🌱".into(),
    };
    let dimensions = Arc::new(Dimensions {
        account: account.clone(),
        currency: Some("EUR".into()),
        campaign: Some(named),
        adset: None,
        ad: None,
    });
    let mut values = [RowValue::Missing; 8];
    values[0] = RowValue::Present(1234.0);
    values[2] = RowValue::Present(12.34);
    values[7] = RowValue::Invalid;
    let row = Row {
        dimensions: Arc::clone(&dimensions),
        start: Date::constant(2026, 3, 1),
        stop: Date::constant(2026, 5, 31),
        mixed_attribution: false,
        values: RowValues::pack(&values),
    };
    let time = Timestamp::from_second(1_780_000_000).expect("the time should be in range");
    let row_set = Arc::new(RowSet {
        fetched_at: time,
        dates: Some((row.start, row.stop)),
        valid_until: None,
        rows: vec![row],
        withheld: ["120210000000000002".into()].into(),
        other_dates: ["120210000000000002".into()].into(),
        too_heavy: ["120210000000000003".into()].into(),
        missing: missing(
            [("120210000000000004".into(), time)],
            ["120210000000000005".into()],
        ),
    });
    let today = DatePreset::parse("today")
        .map(WindowDates::Preset)
        .expect("`today` is a preset");
    let hour = Duration::from_secs(60 * 60);
    let source = Arc::new(Source {
        business: "acme".into(),
        name: account.to_string().into(),
        kind: SourceKind::AdAccount {
            id: account.clone(),
            campaign_allowlist: vec![],
        },
        campaign_name: None,
        level: Level::Campaign,
        zero_fill: ZeroFill::Active,
        zero_fill_max_age: 3 * hour,
        conversions: true,
        questions: QuestionMode::Auto,
        columns: QueryColumns {
            extra: [].into(),
            action_types: ["offsite_conversion.fb_pixel_purchase".to_owned()].into(),
        },
        windows: vec![Window::new("today", today, None, hour / 4, hour)],
        labels: ConfigLabels::default(),
        thresholds: WindowThresholds::default(),
        export_limits: ExportLimits::default(),
        sibling_accounts: [].into(),
    });
    let inventory = Arc::new(Inventory {
        fetched_at: time,
        account: AdAccount {
            name: "Acme".into(),
            currency: Some("EUR".into()),
            timezone: TimeZone::get("Europe/Berlin").ok(),
            ..AdAccount::unknown(account)
        },
        campaigns: vec![Campaign {
            name: "Frühling 🌱".into(),
            status: "ACTIVE".into(),
            objective: "MESSAGES".into(),
            is_message: true,
            daily_budget: Some(MajorUnits(50.0)),
            ..Campaign::unknown(id)
        }],
        archived: vec![],
        other_campaigns: vec![ObjectId::parse("9").expect("ids are digits")],
        missing: vec![],
        listing: ListingMode::default(),
        account_fetched_at: time,
        entities: vec![Entity {
            dimensions: Arc::clone(&dimensions),
            active: true,
        }],
        max_rows: 2,
    });
    let window = WindowState {
        delivery: Some(Arc::clone(&row_set)),
        conversions: Some(row_set),
        account_spend: Some(Arc::new(AccountSpend {
            spend: MajorUnits(38.87),
            currency: "EUR".into(),
            attribution: Some(Attribution {
                unattributed: MajorUnits(0.5),
                campaigns: 1,
            }),
            dates: None,
            fetched_at: time,
            valid_until: None,
        })),
        duplicate: false,
        attempted: true,
        up: false,
        last_success: Some(time),
        delivery_success: Some(time),
        conversions_success: Some(time),
        page_size: Some(250),
        last_duration: Some(Duration::from_millis(321)),
        next_poll: Some(time + hour),
        // Not stored, but that of the window.
        interval: hour / 4,
        stale_after: hour,
        error: Some(PollError {
            code: Some(4),
            fbtrace_id: Some("A1b2".to_owned()),
            ..PollError::new(
                ErrorReason::Throttled,
                "(#4) Application request limit reached",
            )
        }),
    };
    let state = SourceState {
        source: Arc::clone(&source),
        inventory: Some(inventory),
        discovery_success: Some(time),
        discovery_error: None,
        windows: vec![window],
        paused_until: Some(time + hour),
        duplicate: false,
        describes_account: true,
        query_mode: Some(QueryMode::SEPARATE),
        recent_reads: vec![time],
        refusals: Refusals {
            api_version: "v27.0".into(),
            fields: vec!["website_purchase_roas".to_owned()],
            retry_fields_at: Some(time + hour),
            retry_mode_at: Some(time + 2 * hour),
            campaigns_per_query: Some(20),
            too_heavy: ["120210000000000003".into()].into(),
            retry_whole_at: Some(time + 3 * hour),
        },
        left_out: None,
    };
    let plan = Plan {
        sources: vec![source],
        configured: 1,
    };
    let sources = vec![Arc::new(state)];
    (plan, Snapshot { sources })
}

/// A time after all generated times.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(2_000_000_000).expect("the time should be in range")
}

/// Returns campaigns of which a part failed: those with rows of an earlier answer, and its time, and those about which
/// nothing is known.
fn missing(
    kept: impl IntoIterator<Item = (Box<str>, Timestamp)>,
    unknown: impl IntoIterator<Item = Box<str>>,
) -> MissingCampaigns {
    let kept = kept.into_iter();
    let kept: BTreeMap<Box<str>, i64> = kept.map(|(id, at)| (id, at.as_millisecond())).collect();
    let unknown: BTreeSet<Box<str>> = unknown.into_iter().collect();
    let value = serde_json::json!({ "kept": kept, "unknown": unknown });
    serde_json::from_value(value).expect("the fields should be those of the type")
}

fn missing_campaigns() -> impl Strategy<Value = MissingCampaigns> {
    let kept = btree_map(text::<Box<str>>(), time(), 0..3);
    let unknown = btree_set(text::<Box<str>>(), 0..3);
    (kept, unknown).prop_map(|(kept, unknown)| missing(kept, unknown))
}

fn refusals() -> impl Strategy<Value = Refusals> {
    let times = (of(time()), of(time()), of(time()));
    let ids = btree_set(text::<Box<str>>(), 0..3);
    let lists = (vec(any::<String>(), 0..3), ids);
    (text(), lists, of(any::<usize>()), times).prop_map(
        |(api_version, (fields, too_heavy), campaigns_per_query, times)| Refusals {
            api_version,
            fields,
            retry_fields_at: times.0,
            retry_mode_at: times.1,
            campaigns_per_query,
            too_heavy,
            retry_whole_at: times.2,
        },
    )
}

/// Times of reads, which are stored in milliseconds.
fn recent_reads() -> impl Strategy<Value = Vec<Timestamp>> {
    let read = time().prop_map(|time| {
        Timestamp::from_millisecond(time.as_millisecond()).expect("the time should be in range")
    });
    vec(read, 0..3)
}

fn time() -> impl Strategy<Value = Timestamp> {
    let times = (1_700_000_000_i64..2_000_000_000, 0..1_000_000_000);
    times.prop_map(|(second, nano)| {
        Timestamp::new(second, nano).expect("the time should be in range")
    })
}

/// Moves a generated time after [`now`], for pauses that have not ended.
fn after_now(time: Timestamp) -> Timestamp {
    let ten_years = Duration::from_secs(10 * 365 * 24 * 60 * 60);
    time + ten_years
}

fn duration() -> impl Strategy<Value = Duration> {
    (0..100_000_u64, 0..1_000_000_000_u32).prop_map(|(secs, nanos)| Duration::new(secs, nanos))
}

fn text<T: From<String> + fmt::Debug>() -> impl Strategy<Value = T> {
    prop_oneof![Just(String::new()), any::<String>()].prop_map(T::from)
}

fn object_id() -> impl Strategy<Value = ObjectId> {
    "[0-9]{1,18}".prop_map(|id| ObjectId::parse(&id).expect("ids are digits"))
}

fn account_id() -> impl Strategy<Value = AccountId> {
    "[0-9]{1,18}".prop_map(|id| AccountId::parse(&id).expect("ids are digits"))
}

fn named_id() -> impl Strategy<Value = NamedId> {
    (object_id(), text()).prop_map(|(id, name)| NamedId { id, name })
}

fn date() -> impl Strategy<Value = Date> {
    (-9999..=9999_i16, 1..=12_i8, 1..=28_i8).prop_map(|(year, month, day)| {
        Date::new(year, month, day).expect("all months have 28 days")
    })
}

fn dates() -> impl Strategy<Value = WindowDates> {
    let preset = select(DatePreset::ALL.as_slice()).prop_map(|name| {
        let preset = DatePreset::parse(name);
        WindowDates::Preset(preset.expect("all presets should parse"))
    });
    let range = (date(), date()).prop_map(|(since, until)| WindowDates::Range { since, until });
    prop_oneof![Just(WindowDates::AllTime), preset, range]
}

fn dimensions() -> impl Strategy<Value = Dimensions> {
    (
        account_id(),
        of(text()),
        of(named_id()),
        of(named_id()),
        of(named_id()),
    )
        .prop_map(|(account, currency, campaign, adset, ad)| Dimensions {
            account,
            currency,
            campaign,
            adset,
            ad,
        })
}

fn row_value() -> impl Strategy<Value = RowValue> {
    prop_oneof![
        Just(RowValue::Missing),
        Just(RowValue::Invalid),
        Just(RowValue::Present(-0.0)),
        proptest::num::f64::ANY
            .prop_filter("numbers should be finite", |number| number.is_finite())
            .prop_map(RowValue::Present),
    ]
}

fn row_values(width: usize) -> impl Strategy<Value = RowValues> {
    vec(row_value(), width).prop_map(|values| RowValues::pack(&values))
}

fn row(dimensions: Vec<Arc<Dimensions>>, width: usize) -> impl Strategy<Value = Row> {
    let mixed = any::<bool>();
    (select(dimensions), date(), date(), mixed, row_values(width)).prop_map(
        |(dimensions, start, stop, mixed_attribution, values)| Row {
            dimensions,
            start,
            stop,
            mixed_attribution,
            values,
        },
    )
}

fn row_set(dimensions: Vec<Arc<Dimensions>>, width: usize) -> impl Strategy<Value = Arc<RowSet>> {
    let keys = || btree_set(text::<Box<str>>(), 0..3);
    let times = (time(), of(time().prop_map(after_now)), of((date(), date())));
    let keys = (keys(), keys(), missing_campaigns());
    (times, vec(row(dimensions, width), 0..4), keys).prop_map(
        |((fetched_at, valid_until, dates), mut rows, (withheld, too_heavy, missing))| {
            rows.sort_by(|a, b| a.dimensions.key().cmp(b.dimensions.key()));
            rows.dedup_by(|a, b| a.dimensions.key() == b.dimensions.key());
            Arc::new(RowSet {
                fetched_at,
                dates,
                valid_until,
                rows,
                other_dates: withheld.clone(),
                withheld,
                too_heavy,
                missing,
            })
        },
    )
}

fn poll_error() -> impl Strategy<Value = PollError> {
    let codes = (of(any::<i64>()), of(any::<i64>()));
    let texts = (any::<String>(), of(any::<String>()));
    (select(ErrorReason::ALL.as_slice()), codes, texts).prop_map(
        |(reason, (code, subcode), (message, fbtrace_id))| PollError {
            reason,
            code,
            subcode,
            message,
            fbtrace_id,
        },
    )
}

fn inventory(dimensions: Vec<Arc<Dimensions>>) -> impl Strategy<Value = Arc<Inventory>> {
    let zones = vec!["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata"];
    let timezone =
        of(select(zones)).prop_map(|name| name.and_then(|name| TimeZone::get(name).ok()));
    let money = || of((-1e9..1e9).prop_map(MajorUnits));
    let amounts = (money(), money(), money());
    let facts = (of(text()), text(), amounts);
    let account = (account_id(), text(), of(text()), timezone, facts).prop_map(
        |(id, name, currency, timezone, (status, disable_reason, amounts))| AdAccount {
            id,
            name,
            currency,
            timezone,
            status,
            disable_reason,
            balance: amounts.0,
            spend_cap: amounts.1,
            amount_spent: amounts.2,
        },
    );
    let issue = (text(), text(), text()).prop_map(|(level, code, summary)| CampaignIssue {
        level,
        code,
        summary,
    });
    let facts = (
        any::<bool>(),
        money(),
        money(),
        of(time()),
        of(time()),
        vec(issue, 0..3),
        of(object_id()),
    );
    let campaign = (object_id(), text(), text(), text(), facts)
        .prop_map(|(id, name, status, objective, facts)| Campaign {
            id,
            name,
            status,
            objective,
            is_message: facts.0,
            daily_budget: facts.1,
            lifetime_budget: facts.2,
            start: facts.3,
            end: facts.4,
            issues: facts.5,
            parent: facts.6,
        })
        .boxed();
    let entity = (select(dimensions), any::<bool>())
        .prop_map(|(dimensions, active)| Entity { dimensions, active });
    let campaigns = (vec(campaign.clone(), 0..3), vec(campaign, 0..3));
    let ids = (vec(object_id(), 0..3), vec(object_id(), 0..3));
    let lists = (campaigns, ids, vec(entity, 0..3));
    let forms = select(vec![
        ListingForm::Expanded,
        ListingForm::Campaigns,
        ListingForm::Parts,
    ]);
    let statuses = select(vec![
        ListedStatuses::All,
        ListedStatuses::Archived,
        ListedStatuses::Current,
    ]);
    let listing = (forms, statuses).prop_map(|(form, statuses)| ListingMode { form, statuses });
    // Boxed, because nested strategies fill the stack of a test.
    let (account, lists) = (account.boxed(), lists.boxed());
    ((time(), time()), account, lists, listing, any::<usize>()).prop_map(
        |(times, account, (campaigns, ids, mut entities), listing, max_rows)| {
            // The lists of an inventory are sorted and have no duplicates.
            entities.sort_by(|a, b| a.dimensions.key().cmp(b.dimensions.key()));
            entities.dedup_by(|a, b| a.dimensions.key() == b.dimensions.key());
            Arc::new(Inventory {
                fetched_at: times.0,
                account,
                campaigns: sorted(campaigns.0, |campaign| campaign.id.clone()),
                archived: sorted(campaigns.1, |campaign| campaign.id.clone()),
                other_campaigns: sorted(ids.0, Clone::clone),
                missing: ids.1,
                listing,
                account_fetched_at: times.1,
                entities,
                max_rows,
            })
        },
    )
}

/// Sorts a list by id, as text, and removes duplicates.
fn sorted<T>(mut list: Vec<T>, id: impl Fn(&T) -> ObjectId) -> Vec<T> {
    list.sort_by(|a, b| id(a).as_str().cmp(id(b).as_str()));
    list.dedup_by(|a, b| id(a) == id(b));
    list
}

/// A window with a `stale_after` of 20 years, so that its values do not expire.
fn window(
    dimensions: Vec<Arc<Dimensions>>,
    columns: &QueryColumns,
) -> impl Strategy<Value = (Window, WindowState)> + use<> {
    let stale_after = Duration::from_secs(20 * 365 * 24 * 60 * 60);
    let window = (text::<Box<str>>(), dates()).prop_map(move |(name, dates)| {
        Window::new(&name, dates, None, stale_after / 10, stale_after)
    });
    let delivery = of(row_set(
        dimensions.clone(),
        columns.width(QueryKind::Delivery),
    ));
    let conversions = of(row_set(dimensions, columns.width(QueryKind::Conversions)));
    let times = (of(time()), of(duration()), of(time()));
    let successes = (of(time()), of(time()), of(1_usize..500));
    let flags = (any::<bool>(), any::<bool>());
    (
        window,
        (delivery, conversions, of(account_spend())),
        flags,
        times,
        successes,
        of(poll_error()),
    )
        .prop_map(
            move |(window, row_sets, (attempted, up), times, successes, error)| {
                let (delivery, conversions, account_spend) = row_sets;
                let (delivery_success, conversions_success, page_size) = successes;
                let (last_success, last_duration, next_poll) = times;
                let state = WindowState {
                    delivery,
                    conversions,
                    account_spend,
                    duplicate: false,
                    attempted,
                    up,
                    last_success,
                    delivery_success,
                    conversions_success,
                    page_size,
                    last_duration,
                    next_poll,
                    interval: stale_after / 10,
                    stale_after,
                    error,
                };
                (window, state)
            },
        )
}

fn account_spend() -> impl Strategy<Value = Arc<AccountSpend>> {
    let attribution = of((-1e9..1e9, any::<u64>()));
    let times = (time(), of((date(), date())), of(time().prop_map(after_now)));
    (-1e9..1e9, attribution, text(), times).prop_map(|(spend, attribution, currency, times)| {
        let (fetched_at, dates, valid_until) = times;
        let attribution = attribution.map(|(unattributed, campaigns)| Attribution {
            unattributed: MajorUnits(unattributed),
            campaigns,
        });
        Arc::new(AccountSpend {
            spend: MajorUnits(spend),
            currency,
            attribution,
            dates,
            fetched_at,
            valid_until,
        })
    })
}

fn columns() -> impl Strategy<Value = QueryColumns> {
    let kind = select(vec![ValueKind::Count, ValueKind::Money, ValueKind::Percent]);
    let extra = (any::<String>(), kind).prop_map(|(field, kind)| ExtraFieldConfig {
        metric: field.clone(),
        help: field.clone(),
        field,
        kind,
    });
    (vec(extra, 0..3), vec(any::<String>(), 0..4)).prop_map(|(extra, action_types)| QueryColumns {
        extra: extra.into(),
        action_types: action_types.into(),
    })
}

fn source_kind() -> impl Strategy<Value = SourceKind> {
    let account = (account_id(), vec(object_id(), 0..3)).prop_map(|(id, campaign_allowlist)| {
        SourceKind::AdAccount {
            id,
            campaign_allowlist,
        }
    });
    // Longer than the ids of inventories, so that no source is a duplicate.
    let campaign = "[0-9]{19}".prop_map(|id| ObjectId::parse(&id).expect("ids are digits"));
    prop_oneof![account, campaign.prop_map(SourceKind::Campaign)]
}

fn source_state(columns: QueryColumns) -> impl Strategy<Value = SourceState> {
    let dimensions = vec(dimensions().prop_map(Arc::new), 1..4);
    let content = (dimensions, Just(columns)).prop_flat_map(|(dimensions, columns)| {
        let windows = vec(window(dimensions.clone(), &columns), 0..3);
        (of(inventory(dimensions)), windows, Just(columns))
    });
    let levels = vec![Level::Account, Level::Campaign, Level::Adset, Level::Ad];
    let queries = (source_kind(), select(levels), any::<bool>());
    let paused_until = of(time().prop_map(after_now));
    let query_mode = of(select(QueryMode::ALL.to_vec()));
    let discovery = (of(time()), of(poll_error()));
    let learned = (query_mode, refusals(), recent_reads());
    (text(), queries, content, (paused_until, learned), discovery).prop_map(
        |(
            business,
            (kind, level, conversions),
            (inventory, windows, columns),
            (paused_until, (query_mode, refusals, recent_reads)),
            (discovery_success, discovery_error),
        )| {
            let (mut windows, mut states): (Vec<Window>, Vec<WindowState>) =
                windows.into_iter().unzip();
            // Window names are unique.
            for (window_idx, window) in windows.iter_mut().enumerate() {
                window.name = format!("{window_idx}{}", window.name).into();
            }
            let source = Source {
                campaign_name: None,
                business,
                name: "".into(),
                kind,
                level,
                zero_fill: ZeroFill::All,
                zero_fill_max_age: Duration::from_secs(3 * 3600),
                conversions,
                questions: QuestionMode::Auto,
                columns,
                windows,
                labels: ConfigLabels::default(),
                thresholds: WindowThresholds::default(),
                export_limits: ExportLimits::default(),
                sibling_accounts: [].into(),
            };
            if !source.exports_account_spend() {
                for state in &mut states {
                    state.account_spend = None;
                }
            }
            SourceState {
                source: Arc::new(source),
                inventory,
                discovery_success,
                discovery_error,
                windows: states,
                paused_until,
                duplicate: false,
                describes_account: false,
                query_mode,
                recent_reads,
                refusals,
                left_out: None,
            }
        },
    )
}

/// A snapshot and its plan. At [`now`], its pauses have not ended and its values are not stale.
pub(crate) fn snapshot() -> impl Strategy<Value = (Plan, Snapshot)> {
    // All sources usually have the same columns.
    let states = (columns(), columns()).prop_flat_map(|(usual, other)| {
        vec(
            prop_oneof![
                source_state(usual.clone()),
                source_state(usual),
                source_state(other)
            ],
            0..5,
        )
    });
    states.prop_map(|mut states| {
        // Source names are unique.
        for (source_idx, state) in states.iter_mut().enumerate() {
            let mut source = state.source.as_ref().clone();
            source.name = format!("{source_idx}").into();
            state.source = Arc::new(source);
        }
        let plan = Plan {
            sources: states
                .iter()
                .map(|state| Arc::clone(&state.source))
                .collect(),
            configured: states.len(),
        };
        let sources = states.into_iter().map(Arc::new).collect();
        let mut snapshot = Snapshot { sources };
        // Marks the sources that describe an ad account.
        for source_idx in 0..snapshot.sources.len() {
            let state = snapshot.sources[source_idx].as_ref().clone();
            snapshot = snapshot.with_source(source_idx, state);
        }
        (plan, snapshot)
    })
}
