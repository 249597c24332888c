//! Benchmarks of the single steps from a response to a scrape, compared with other libraries.
//!
//! Run with `cargo bench --bench steps`. Times depend on the machine, so compare the ratios. Allocation counts are exact:
//! those of `scrape` must not depend on the number of campaigns.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark fails by panicking"
)]

use std::collections::BTreeMap;
use std::fmt;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use graph_simulator::{Simulator, World};
use marketing_messages_exporter::config::{Config, NamedDocument};
use marketing_messages_exporter::graph::{Client, read_response};
use marketing_messages_exporter::metrics::{self, MetricsPage, PageFormat, SelfMetrics};
use marketing_messages_exporter::model::{Secret, SecretSource};
use marketing_messages_exporter::plan::{Plan, Query, QueryKind, Shard};
use marketing_messages_exporter::platform::Heartbeat;
use marketing_messages_exporter::scheduler::{Scheduler, SchedulerDeps};
use marketing_messages_exporter::snapshot::{PollResult, QueryResult, Snapshot};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Registry, TextEncoder};
use prometheus_client::collector::Collector as ClientCollector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry as ClientRegistry;
use tokio::runtime::Runtime;
use tokio::sync::watch;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const CAMPAIGNS: [usize; 2] = [1_000, 10_000];

/// Rows of the parsed response: a full result page.
const PAGE_ROWS: usize = 500;

fn main() {
    divan::main();
}

fn self_metrics() -> Arc<SelfMetrics> {
    Arc::new(SelfMetrics::new("", "", "", Shard::ALL, Arc::default()).unwrap())
}

/// Returns the snapshot of one ad account after its first poll; computed once per number of campaigns.
fn polled(campaigns: usize) -> Arc<Snapshot> {
    static SNAPSHOTS: Mutex<BTreeMap<usize, Arc<Snapshot>>> = Mutex::new(BTreeMap::new());
    let mut snapshots = SNAPSHOTS.lock().unwrap_or_else(PoisonError::into_inner);
    let snapshot = snapshots.entry(campaigns).or_insert_with(|| {
        RUNTIME.block_on(async {
            let api = start_api(campaigns).await;
            let (config, plan) = config_and_plan(&api.url());
            let empty = Arc::new(Snapshot::empty(&plan, now()));
            let deps = SchedulerDeps {
                client: Client::new(&api.url(), "v27.0", config.graph.timeout, None).unwrap(),
                self_metrics: self_metrics(),
                health: Arc::default(),
                publish: watch::channel(Arc::clone(&empty)).0,
                heartbeat: Arc::new(Heartbeat::default()),
            };
            Scheduler::new(&config, &plan, empty, deps).run_once().await
        })
    });
    Arc::clone(snapshot)
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

async fn start_api(campaigns: usize) -> Simulator {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = World::with_campaigns(campaigns, 0);
    Simulator::start(listener, world, Arc::new(now))
        .await
        .unwrap()
}

fn now() -> jiff::Timestamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "the outermost layer of a program provides the clock"
    )]
    jiff::Timestamp::now()
}

fn config_and_plan(url: &str) -> (Config, Plan) {
    let text = format!(
        "graph: {{ url: \"{url}\" }}
polling: {{ concurrency: 64 }}
windows: [{{ name: today, date_preset: today }}]
businesses: [{{ name: many, access_token_env: T, ad_accounts: [{{ id: act_10150000000009001 }}] }}]
"
    );
    let name = "config".to_owned();
    let mut config = Config::parse(NamedDocument { name, text }, Vec::new()).unwrap();
    config.businesses[0].token = SecretSource::Inline(Secret::new(World::demo_token()).unwrap());
    let plan = Plan::for_shard(&config, Shard::ALL);
    (config, plan)
}

/// Returns a query and a full result page for it, as received from the API.
fn query_and_response(kind: QueryKind) -> (Query, Vec<u8>) {
    let api = RUNTIME.block_on(start_api(PAGE_ROWS));
    let (_, plan) = config_and_plan(&api.url());
    let source = &plan.sources[0];
    let inventory = polled(1_000).sources[0].inventory.clone();
    let queries = source.queries(&source.windows[0], kind, inventory.as_deref());
    let query = queries.unwrap().remove(0);
    let fields = match kind {
        QueryKind::Delivery | QueryKind::Spend => {
            let fields: Vec<&str> = query.columns.delivery().map(|(field, _)| field).collect();
            fields.join(",")
        }
        QueryKind::Conversions | QueryKind::Joined => {
            "actions,action_values,website_purchase_roas,marketing_messages_spend".to_owned()
        }
    };
    let path = format!(
        "/v27.0/act_10150000000009001/insights?level=campaign&date_preset=today&limit={PAGE_ROWS}\
         &fields=account_id,account_currency,campaign_id,campaign_name,attribution_setting,{fields}"
    );
    let mut stream = TcpStream::connect(api.address()).unwrap();
    let token = World::demo_token();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let body_start = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap()
        + 4;
    let body = bytes.split_off(body_start);
    assert_eq!(read_response(&query, 200, &body).unwrap().len(), PAGE_ROWS);
    (query, body)
}

#[divan::bench(args = [QueryKind::Delivery, QueryKind::Conversions])]
fn parse(bencher: Bencher<'_, '_>, kind: QueryKind) {
    let (query, body) = query_and_response(kind);
    bencher
        .counter(ItemsCount::new(PAGE_ROWS))
        .bench(|| read_response(&query, 200, &body).unwrap());
}

/// For comparison: the same result page, parsed into `serde_json::Value`.
#[divan::bench(args = [QueryKind::Delivery, QueryKind::Conversions])]
fn parse_into_values(bencher: Bencher<'_, '_>, kind: QueryKind) {
    let (_, body) = query_and_response(kind);
    bencher
        .counter(ItemsCount::new(PAGE_ROWS))
        .bench(|| serde_json::from_slice::<serde_json::Value>(&body).unwrap());
}

#[divan::bench(args = CAMPAIGNS)]
fn apply_poll_result(bencher: Bencher<'_, '_>, campaigns: usize) {
    let state = Arc::clone(&polled(campaigns).sources[0]);
    let query_result = |rows| QueryResult {
        rows: Some(rows),
        ..QueryResult::default()
    };
    let window = &state.windows[0];
    let delivery = window.delivery.as_ref().unwrap().rows.clone();
    let conversions = window.conversions.as_ref().unwrap().rows.clone();
    bencher
        .counter(ItemsCount::new(campaigns))
        .with_inputs(|| PollResult {
            duration: Duration::from_secs(1),
            delivery: query_result(delivery.clone()),
            conversions: Some(query_result(conversions.clone())),
            ..PollResult::empty(0, now())
        })
        .bench_values(|result| state.apply(result));
}

/// Renders the text of the metrics page into a small buffer that is reused, so that compression can read it from the
/// CPU cache.
#[divan::bench(args = CAMPAIGNS)]
fn write_page(bencher: Bencher<'_, '_>, campaigns: usize) {
    let snapshot = polled(campaigns);
    bencher.bench_local(|| metrics::write_campaign_page(&snapshot, &mut Discard).unwrap());
}

/// A writer that discards its input.
struct Discard;

impl Write for Discard {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        black_box(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Copies the text of the page; a lower bound for rendering.
#[divan::bench(args = CAMPAIGNS)]
fn copy_page(bencher: Bencher<'_, '_>, campaigns: usize) {
    let text = text(campaigns);
    let mut copy = Vec::with_capacity(text.len());
    bencher.bench_local(|| {
        copy.clear();
        copy.extend_from_slice(black_box(text.as_bytes()));
    });
}

/// Renders and compresses the page after everything changed.
#[divan::bench(args = CAMPAIGNS)]
fn render_page(bencher: Bencher<'_, '_>, campaigns: usize) {
    let snapshot = polled(campaigns);
    bencher.bench(|| MetricsPage::render(Arc::clone(&snapshot), String::new(), None).unwrap());
}

/// Assembles the response of a scrape, without sending it.
#[divan::bench(args = CAMPAIGNS)]
fn scrape(bencher: Bencher<'_, '_>, campaigns: usize) {
    let own = self_metrics();
    let page = MetricsPage::render(polled(campaigns), own.encode_businesses(), None).unwrap();
    bencher.bench(|| page.gzip(PageFormat::Text, own.encode_global().as_bytes()));
}

/// For comparison: the `prometheus` crate with a collector that creates the families at each scrape.
#[divan::bench(args = CAMPAIGNS, max_time = 10)]
fn prometheus_crate(bencher: Bencher<'_, '_>, campaigns: usize) {
    let registry = Registry::new();
    registry
        .register(Box::new(Peer::from_page(&text(campaigns))))
        .unwrap();
    bencher.bench(|| {
        let mut page = String::new();
        TextEncoder::new()
            .encode_utf8(&registry.gather(), &mut page)
            .unwrap();
        page
    });
}

/// For comparison: the `prometheus-client` crate with a custom collector.
#[divan::bench(args = CAMPAIGNS, max_time = 10)]
fn prometheus_client_crate(bencher: Bencher<'_, '_>, campaigns: usize) {
    let mut registry = ClientRegistry::default();
    registry.register_collector(Box::new(Peer::from_page(&text(campaigns))));
    bencher.bench(|| {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        page
    });
}

fn text(campaigns: usize) -> String {
    let mut page = Vec::new();
    metrics::write_campaign_page(&polled(campaigns), &mut page).unwrap();
    String::from_utf8(page).unwrap()
}

type Labels = Vec<(String, String)>;

/// The samples of a page by family, as a collector for other libraries.
struct Peer(Vec<(String, Vec<(Labels, f64)>)>);

impl Peer {
    fn from_page(page: &str) -> Self {
        let mut families: Vec<(String, Vec<(Labels, f64)>)> = Vec::new();
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let (name, rest) = line.split_once('{').unwrap();
            let (labels, value) = rest.rsplit_once("} ").unwrap();
            let labels = labels.split("\",").map(|label| {
                let (name, value) = label.split_once("=\"").unwrap();
                (name.to_owned(), value.trim_end_matches('"').to_owned())
            });
            if families.last().is_none_or(|(last, _)| last != name) {
                families.push((name.to_owned(), Vec::new()));
            }
            let samples = &mut families.last_mut().unwrap().1;
            samples.push((labels.collect(), value.parse().unwrap()));
        }
        Self(families)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Peer")
    }
}

impl Collector for Peer {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let family = |(name, samples): &(String, Vec<(Labels, f64)>)| {
            let metrics = samples.iter().map(|(labels, value)| {
                let pairs = labels.iter().map(|(name, value)| {
                    let mut pair = LabelPair::default();
                    pair.set_name(name.clone());
                    pair.set_value(value.clone());
                    pair
                });
                let mut gauge = Gauge::default();
                gauge.set_value(*value);
                let mut metric = Metric::default();
                metric.set_label(pairs.collect());
                metric.set_gauge(gauge);
                metric
            });
            let mut family = MetricFamily::default();
            family.set_name(name.clone());
            family.set_help("Help".to_owned());
            family.set_field_type(MetricType::GAUGE);
            family.set_metric(metrics.collect());
            family
        };
        self.0.iter().map(family).collect()
    }
}

impl ClientCollector for Peer {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, samples) in &self.0 {
            let metric_type = ConstGauge::new(0.0_f64).metric_type();
            let mut family = encoder.encode_descriptor(name, "Help", None, metric_type)?;
            for (labels, value) in samples {
                ConstGauge::new(*value).encode(family.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}
