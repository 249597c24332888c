//! A simulated subset of Meta's Graph API, served over HTTP/1.1 on a local socket.
//!
//! It serves what a client needs to read marketing message statistics: ad accounts, campaigns, ad sets and ads as
//! nodes and lists, `/insights`, `/me/adaccounts` and `/debug_token`, with paging, filters, usage headers, quotas and
//! errors in the format of Meta's documentation. [`Fault`]s make calls fail in defined ways.
//!
//! Responses are a pure function of the [`World`], the call, the calls before it (quotas, limited faults) and the
//! time of the [`Clock`]. All statistics are derived from [`World::seed`], so that a test can compute the [expected
//! totals](Simulator::expected_totals). The crate never reads the wall clock.
//!
//! The crate shares no code with the client that it tests: a misreading of the documentation in shared code would
//! cancel itself out.
//!
//! To serve the demo world on a fixed address:
//!
//! ```sh
//! cargo run -p graph-simulator --example simulator -- 127.0.0.1:8642
//! ```
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use graph_simulator::{DEMO_TOKEN, Simulator, World};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::{TcpListener, TcpStream};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let now: jiff::Timestamp = "2026-11-23T11:30:00Z".parse()?;
//! let simulator = Simulator::start(listener, World::demo(), Arc::new(move || now)).await?;
//!
//! let request = format!(
//!     "GET /v27.0/act_10150000000001201?fields=name,currency HTTP/1.1\r\n\
//!      Host: localhost\r\nConnection: close\r\nAuthorization: Bearer {DEMO_TOKEN}\r\n\r\n"
//! );
//! let mut stream = TcpStream::connect(simulator.address()).await?;
//! stream.write_all(request.as_bytes()).await?;
//! let mut response = String::new();
//! stream.read_to_string(&mut response).await?;
//! assert!(response.starts_with("HTTP/1.1 200 OK"));
//! assert!(response.contains(r#""name":"Nordlicht Leuchten""#));
//!
//! simulator.shutdown().await;
//! # Ok(())
//! # }
//! ```

// Data: `world` (accounts, campaigns, tokens), `object` (lookup by id), `demo` (ready-made worlds), `traffic_model`
// (the numbers over time). API: `call` (the parsed request), `routes`, `nodes`, `insights` with `dates`, `filtering`,
// `fields` and `paging`; `auth`, `usage`, `errors`. Faults: `faults` (which calls), `fault_kinds` (syntax),
// `fault_effects`, `raw_body` (broken bodies), `control` (faults over HTTP). Server: `api` (one call from start to
// end), `server` (sockets).
mod api;
mod auth;
mod call;
mod control;
mod dates;
mod demo;
mod errors;
mod fault_effects;
mod fault_kinds;
mod faults;
mod fields;
mod filtering;
mod insights;
mod nodes;
mod object;
mod paging;
mod raw_body;
mod routes;
mod server;
mod traffic_model;
mod usage;
mod world;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use api::LoggedRequest;
pub use demo::DEMO_TOKEN;
pub use fault_kinds::FAULT_KINDS;
pub use faults::{Fault, FaultSyntaxError};
pub use traffic_model::AdProfile;
pub use world::{Ad, AdAccount, AdSet, App, Campaign, Issue, Status, Tier, Token, World};

/// Source of the current time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A running simulator. Dropping it closes the listener and all connections.
pub struct Simulator {
    address: SocketAddr,
    api: Arc<api::Api>,
    server: JoinHandle<()>,
}

impl Simulator {
    /// Serves the world on the listener, at the time of the clock, in a task of the current tokio runtime.
    ///
    /// # Errors
    ///
    /// Returns an error if the local address of the listener cannot be read.
    pub async fn start(listener: TcpListener, world: World, clock: Clock) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let api = Arc::new(api::Api::new(world, clock));
        let server = tokio::spawn(server::serve(listener, api.clone()));
        Ok(Self {
            address,
            api,
            server,
        })
    }

    /// Returns the address of the listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the base URL, to which `/<version>/…` is appended: `http://127.0.0.1:1234`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes the world between two calls.
    pub fn update_world(&self, change: impl FnOnce(&mut World)) {
        let mut world = self
            .api
            .world
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        change(&mut world);
    }

    /// Replaces all active faults. An empty list ends them.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        api::lock(&self.api.faults).replace(faults);
    }

    /// Returns the log of calls, oldest first. It keeps the latest 20,000.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.api.requests()
    }

    /// Returns the number of calls so far, without a limit.
    pub fn request_count(&self) -> usize {
        self.api.request_count()
    }

    /// Returns the exact totals of an object (`act_…`, or the id of a campaign, an ad set or an ad) from `since` to
    /// `until`, both included, as of the time `at`.
    ///
    /// No filter is applied, and the dates also hold for campaigns that ignore dates in `/insights`. Returns `None`
    /// for an unknown id, and if nothing was delivered in these days.
    pub fn expected_totals(
        &self,
        id: &str,
        since: Date,
        until: Date,
        at: Timestamp,
    ) -> Option<ExpectedTotals> {
        let world = self
            .api
            .world
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let row = insights::expected_totals(world.seed, world.find(id)?, (since, until), at)?;
        Some(ExpectedTotals::from_row(&row))
    }

    /// Stops the simulator and waits until its listener is closed.
    pub async fn shutdown(mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// All insights fields of an object by name, as decimal text in the format of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpectedTotals {
    /// Values of the scalar fields.
    pub values: BTreeMap<String, String>,
    /// Values of the list fields (`actions`, `action_values`, `website_purchase_roas` …) by action type.
    pub lists: BTreeMap<String, BTreeMap<String, String>>,
}

impl ExpectedTotals {
    fn from_row(row: &Value) -> Self {
        let mut totals = Self::default();
        for (field, value) in row.as_object().into_iter().flatten() {
            let Some(stats) = value.as_array() else {
                totals.values.insert(field.clone(), call::value_text(value));
                continue;
            };
            let stat = |stat: &Value| {
                (
                    call::value_text(&stat["action_type"]),
                    call::value_text(&stat["value"]),
                )
            };
            totals
                .lists
                .insert(field.clone(), stats.iter().map(stat).collect());
        }
        totals
    }
}
