//! Bytes that the state file writes, compared with the size of what changes.
//!
//! Run with `cargo bench --bench state`. The numbers are exact and do not depend on the machine.
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a benchmark fails by panicking, and prints rounded numbers"
)]

use std::sync::Arc;

use graph_simulator::{Simulator, World};
use marketing_messages_exporter::config::{Config, NamedDocument};
use marketing_messages_exporter::graph::Client;
use marketing_messages_exporter::metrics::SelfMetrics;
use marketing_messages_exporter::model::{RowValue, RowValues, Secret, SecretSource};
use marketing_messages_exporter::plan::{Plan, Shard};
use marketing_messages_exporter::platform::Heartbeat;
use marketing_messages_exporter::scheduler::{Scheduler, SchedulerDeps};
use marketing_messages_exporter::snapshot::{RowSet, Snapshot, SourceState};
use marketing_messages_exporter::state::{IoActivity, StateStore};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Writes of a day: one every 1.8 s.
const WRITES_PER_DAY: u64 = 48_000;

/// An installation and its polls.
struct Load {
    name: &'static str,
    accounts: usize,
    campaigns_per_account: usize,
    /// Share of the campaigns that change with a poll.
    changed_percent: usize,
    /// Polls between two writes.
    polls_per_write: usize,
    writes: u64,
}

const LOADS: [Load; 4] = [
    Load {
        name: "10 ad accounts, 100 campaigns each",
        accounts: 10,
        campaigns_per_account: 100,
        changed_percent: 30,
        polls_per_write: 1,
        writes: 1_000,
    },
    Load {
        name: "1,350 ad accounts, 3 polls/s, all changes",
        accounts: 1_350,
        campaigns_per_account: 12,
        changed_percent: 100,
        polls_per_write: 5,
        writes: 4_000,
    },
    Load {
        name: "1,350 ad accounts, 3 polls/s, 30 % changes",
        accounts: 1_350,
        campaigns_per_account: 12,
        changed_percent: 30,
        polls_per_write: 5,
        writes: 4_000,
    },
    Load {
        name: "one ad account, 1 % changes",
        accounts: 1,
        campaigns_per_account: 10_000,
        changed_percent: 1,
        polls_per_write: 1,
        writes: 1_000,
    },
];

fn main() {
    println!("| load | changed per write | written per write | ratio | writes of a day |");
    println!("|---|---|---|---|---|");
    for load in LOADS {
        measure(&load);
    }
}

/// Prints the bytes that the writes of a load cost.
fn measure(load: &Load) {
    let folder = tempfile::tempdir().unwrap();
    let activity = Arc::new(IoActivity::default());
    let (mut store, _) = StateStore::open(&folder.path().join("state"), &activity).unwrap();
    let mut snapshot = Arc::new(many_accounts(load));
    store.write(&snapshot).unwrap();
    let (before, mut changed) = (activity.bytes_written(), 0);
    let mut source_idx = 0;
    for _ in 0..load.writes {
        let mut next = Snapshot::clone(&snapshot);
        for _ in 0..load.polls_per_write {
            let state = &mut next.sources[source_idx];
            *state = Arc::new(after_poll(state, load));
            source_idx = (source_idx + 1) % load.accounts;
        }
        changed += StateStore::change_set(&snapshot, &next).unwrap().len() as u64;
        snapshot = Arc::new(next);
        store.write(&snapshot).unwrap();
    }
    let written = activity.bytes_written() - before;
    println!(
        "| {} | {:.1} kB | {:.1} kB | {:.1} | {:.1} GB |",
        load.name,
        changed as f64 / load.writes as f64 / 1e3,
        written as f64 / load.writes as f64 / 1e3,
        written as f64 / changed as f64,
        written as f64 / load.writes as f64 * WRITES_PER_DAY as f64 / 1e9,
    );
}

/// Returns a snapshot in which all ad accounts have the same campaigns.
fn many_accounts(load: &Load) -> Snapshot {
    let polled = Runtime::new()
        .unwrap()
        .block_on(poll(load.campaigns_per_account));
    let accounts: Vec<String> = (0..load.accounts)
        .map(|account| format!("{{ id: act_{} }}", 20_000 + account))
        .collect();
    let plan = plan("http://127.0.0.1:9", &accounts.join(", ")).1;
    let sources = plan.sources.iter().map(|source| {
        let mut state = polled.sources[0].as_ref().clone();
        state.source = Arc::clone(source);
        Arc::new(state)
    });
    Snapshot {
        sources: sources.collect(),
    }
}

/// Returns the state of a source after a poll.
fn after_poll(state: &SourceState, load: &Load) -> SourceState {
    let mut next = state.clone();
    for window in &mut next.windows {
        let row_sets = [&mut window.delivery, &mut window.conversions];
        for row_set in row_sets.into_iter().flatten() {
            change_rows(Arc::make_mut(row_set), load.changed_percent);
        }
        window.last_success = window.delivery.as_ref().map(|row_set| row_set.fetched_at);
    }
    next
}

/// Changes the first value of some rows.
fn change_rows(row_set: &mut RowSet, percent: usize) {
    row_set.fetched_at += std::time::Duration::from_secs(900);
    let count = row_set.rows.len();
    let first = usize::try_from(row_set.fetched_at.as_second()).unwrap() % count.max(1);
    for change in 0..count * percent / 100 {
        let row = &mut row_set.rows[(first + change * 83) % count];
        let mut values: Vec<RowValue> = row.values.iter().collect();
        if let Some(RowValue::Present(value)) = values
            .iter_mut()
            .find(|value| matches!(value, RowValue::Present(_)))
        {
            *value += 0.01;
        }
        row.values = RowValues::pack(&values);
    }
}

fn self_metrics() -> Arc<SelfMetrics> {
    Arc::new(SelfMetrics::new("", "", "", Shard::ALL, Arc::default()).unwrap())
}

/// Polls one ad account of the simulator.
async fn poll(campaigns: usize) -> Arc<Snapshot> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = World::with_campaigns(campaigns, 0);
    let api = Simulator::start(listener, world, Arc::new(now))
        .await
        .unwrap();
    let (config, plan) = plan(&api.url(), "{ id: act_10150000000009001 }");
    let empty = Arc::new(Snapshot::empty(&plan, now()));
    let deps = SchedulerDeps {
        client: Client::new(&api.url(), "v27.0", config.graph.timeout, None).unwrap(),
        self_metrics: self_metrics(),
        health: Arc::default(),
        publish: watch::channel(Arc::clone(&empty)).0,
        heartbeat: Arc::new(Heartbeat::default()),
    };
    Scheduler::new(&config, &plan, empty, deps).run_once().await
}

fn plan(url: &str, accounts: &str) -> (Config, Plan) {
    let text = format!(
        "graph: {{ url: \"{url}\" }}
windows: [{{ name: today, date_preset: today }}]
businesses: [{{ name: many, access_token_env: T, ad_accounts: [{accounts}] }}]
"
    );
    let name = "config".to_owned();
    let mut config = Config::parse(NamedDocument { name, text }, Vec::new()).unwrap();
    config.businesses[0].token = SecretSource::Inline(Secret::new(World::demo_token()).unwrap());
    let plan = Plan::for_shard(&config, Shard::ALL);
    (config, plan)
}

fn now() -> jiff::Timestamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "the outermost layer of a program provides the clock"
    )]
    jiff::Timestamp::now()
}
