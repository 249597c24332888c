//! The steps from an answer's bytes to a scrape, one by one, beside what peers do in their place.
//!
//! `cargo bench --bench steps`. Time is the machine's, so read the ratios; allocations are exact:
//! those of `scrape` must be the same however many campaigns there are.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot go on says so by panicking"
)]

use std::collections::BTreeMap;
use std::fmt;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use marketing_messages_exporter::beat::Beat;
use marketing_messages_exporter::config::{Config, Document};
use marketing_messages_exporter::exposition::{self, Own, Page};
use marketing_messages_exporter::graph::{Client, read_answer};
use marketing_messages_exporter::plan::{Plan, Query, Question, Shard};
use marketing_messages_exporter::poll::{Crank, Settings};
use marketing_messages_exporter::secret::{Secret, SecretSource};
use marketing_messages_exporter::simulator::{self, World};
use marketing_messages_exporter::snapshot::{Heard, Polled, Snapshot};
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

/// Rows of the answer that is parsed: a full page.
const PAGE: usize = 500;

fn main() {
    divan::main();
}

/// One ad account with so many campaigns, polled once.
fn polled(campaigns: usize) -> Arc<Snapshot> {
    static KNOWN: Mutex<BTreeMap<usize, Arc<Snapshot>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let snapshot = known.entry(campaigns).or_insert_with(|| {
        RUNTIME.block_on(async {
            let api = api(campaigns).await;
            let (config, plan) = planned(&api.url());
            let unknown = Arc::new(Snapshot::unknown(&plan, now()));
            let settings = Settings {
                client: Client::new(&api.url(), "v26.0", config.graph.timeout, None).unwrap(),
                own: Arc::new(Own::new("", "", "", Shard::WHOLE).unwrap()),
                publish: watch::channel(Arc::clone(&unknown)).0,
                beat: Arc::new(Beat::default()),
            };
            Crank::new(&config, &plan, unknown, settings)
                .run_once()
                .await
        })
    });
    Arc::clone(snapshot)
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

async fn api(campaigns: usize) -> simulator::Simulator {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = World::with_campaigns(campaigns, 0);
    simulator::start(listener, world, Arc::new(now))
        .await
        .unwrap()
}

fn now() -> jiff::Timestamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "a program's outermost part hands the clock in"
    )]
    jiff::Timestamp::now()
}

fn planned(url: &str) -> (Config, Plan) {
    let text = format!(
        "graph: {{ url: \"{url}\" }}
polling: {{ concurrency: 64 }}
windows: [{{ name: today, date_preset: today }}]
businesses: [{{ name: many, access_token_env: T, ad_accounts: [{{ id: act_10150000000009001 }}] }}]
"
    );
    let name = "config".to_owned();
    let mut config = Config::parse(Document { name, text }, Vec::new()).unwrap();
    config.businesses[0].token = SecretSource::Given(Secret::new(World::demo_token()).unwrap());
    let plan = Plan::of(&config, Shard::WHOLE);
    (config, plan)
}

/// A full page of an answer as it comes over the wire, and the query that it answers.
fn answer(question: Question) -> (Query, Vec<u8>) {
    let api = RUNTIME.block_on(api(PAGE));
    let (_, plan) = planned(&api.url());
    let source = &plan.sources[0];
    let listing = polled(1_000).sources[0].listing.clone();
    let queries = source.queries(&source.windows[0], question, listing.as_deref());
    let query = queries.unwrap().remove(0);
    let fields = match question {
        Question::Delivery => {
            let fields: Vec<&str> = query.columns.delivery().map(|(field, _)| field).collect();
            fields.join(",")
        }
        Question::Conversions => {
            "actions,action_values,website_purchase_roas,marketing_messages_spend".to_owned()
        }
    };
    let path = format!(
        "/v26.0/act_10150000000009001/insights?level=campaign&date_preset=today&limit={PAGE}\
         &fields=account_id,account_currency,campaign_id,campaign_name,attribution_setting,{fields}"
    );
    let address = api.url().replace("http://", "");
    let mut stream = TcpStream::connect(address).unwrap();
    let token = World::demo_token();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let head = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    let body = bytes.split_off(head);
    assert_eq!(read_answer(&query, 200, &body).unwrap().len(), PAGE);
    (query, body)
}

#[divan::bench(args = [Question::Delivery, Question::Conversions])]
fn parse(bencher: Bencher<'_, '_>, question: Question) {
    let (query, body) = answer(question);
    bencher
        .counter(ItemsCount::new(PAGE))
        .bench(|| read_answer(&query, 200, &body).unwrap());
}

/// As naive clients do it: the same page as a tree of values.
#[divan::bench(args = [Question::Delivery, Question::Conversions])]
fn parse_into_values(bencher: Bencher<'_, '_>, question: Question) {
    let (_, body) = answer(question);
    bencher
        .counter(ItemsCount::new(PAGE))
        .bench(|| serde_json::from_slice::<serde_json::Value>(&body).unwrap());
}

#[divan::bench(args = CAMPAIGNS)]
fn advance(bencher: Bencher<'_, '_>, campaigns: usize) {
    let known = Arc::clone(&polled(campaigns).sources[0]);
    let heard = |rows| Heard {
        rows: Some(rows),
        ..Heard::default()
    };
    let window = &known.windows[0];
    let delivery = window.delivery.as_ref().unwrap().rows.clone();
    let conversions = window.conversions.as_ref().unwrap().rows.clone();
    bencher
        .counter(ItemsCount::new(campaigns))
        .with_inputs(|| Polled {
            duration: Duration::from_secs(1),
            delivery: heard(delivery.clone()),
            conversions: Some(heard(conversions.clone())),
            ..Polled::begun(0, now())
        })
        .bench_values(|polled| known.advance(polled));
}

/// The text of the page, in portions that are overwritten: what compresses them reads each while it is
/// in the CPU's cache.
#[divan::bench(args = CAMPAIGNS)]
fn write_page(bencher: Bencher<'_, '_>, campaigns: usize) {
    let snapshot = polled(campaigns);
    bencher.bench_local(|| exposition::write(&snapshot, &mut Nowhere).unwrap());
}

/// Takes portions, and keeps none.
struct Nowhere;

impl Write for Nowhere {
    fn write(&mut self, portion: &[u8]) -> std::io::Result<usize> {
        black_box(portion);
        Ok(portion.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What the page's text costs to copy: nothing can be faster.
#[divan::bench(args = CAMPAIGNS)]
fn copy_page(bencher: Bencher<'_, '_>, campaigns: usize) {
    let text = text(campaigns);
    let mut copy = Vec::with_capacity(text.len());
    bencher.bench_local(|| {
        copy.clear();
        copy.extend_from_slice(black_box(text.as_bytes()));
    });
}

/// The page with gzip, when everything changed.
#[divan::bench(args = CAMPAIGNS)]
fn render_page(bencher: Bencher<'_, '_>, campaigns: usize) {
    let snapshot = polled(campaigns);
    bencher.bench(|| Page::render(Arc::clone(&snapshot), String::new(), None).unwrap());
}

/// What one scrape makes before bytes are copied out.
#[divan::bench(args = CAMPAIGNS)]
fn scrape(bencher: Bencher<'_, '_>, campaigns: usize) {
    let own = Own::new("", "", "", Shard::WHOLE).unwrap();
    let page = Page::render(polled(campaigns), own.encode_businesses(), None).unwrap();
    bencher.bench(|| page.gzip(own.encode_few().as_bytes()));
}

/// The `prometheus` crate with a collector that makes families at every scrape.
#[divan::bench(args = CAMPAIGNS, max_time = 10)]
fn prometheus_crate(bencher: Bencher<'_, '_>, campaigns: usize) {
    let registry = Registry::new();
    registry
        .register(Box::new(Peer::of(&text(campaigns))))
        .unwrap();
    bencher.bench(|| {
        let mut page = String::new();
        TextEncoder::new()
            .encode_utf8(&registry.gather(), &mut page)
            .unwrap();
        page
    });
}

/// The `prometheus-client` crate with a collector of its own.
#[divan::bench(args = CAMPAIGNS, max_time = 10)]
fn prometheus_client_crate(bencher: Bencher<'_, '_>, campaigns: usize) {
    let mut registry = ClientRegistry::default();
    registry.register_collector(Box::new(Peer::of(&text(campaigns))));
    bencher.bench(|| {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        page
    });
}

fn text(campaigns: usize) -> String {
    let mut page = Vec::new();
    exposition::write(&polled(campaigns), &mut page).unwrap();
    String::from_utf8(page).unwrap()
}

type Labels = Vec<(String, String)>;

/// The samples of a page, family by family, for other libraries to encode.
struct Peer(Vec<(String, Vec<(Labels, f64)>)>);

impl Peer {
    fn of(page: &str) -> Self {
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
            family.set_help("Something".to_owned());
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
            let kind = ConstGauge::new(0.0_f64).metric_type();
            let mut family = encoder.encode_descriptor(name, "Something", None, kind)?;
            for (labels, value) in samples {
                ConstGauge::new(*value).encode(family.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}
