//! A small Graph API on a socket, for tests and for the `demo` command.
//!
//! It states Meta's dialect anew, from the documentation, and imports nothing of the client: an
//! error there cannot cancel itself here. Its world is a pure function of a seed and of the time
//! that a clock hands in; it never reads the wall clock itself.
//!
//! The world: `world` (who is in it), `object` (one of them), `demo` (the ones to show and to measure with), `curve`
//! (the numbers over time). The dialect: `call`, `routes`, `nodes`, `insights` with `dates`,
//! `filtering`, `fields` and `paging`; `auth`, `usage`, `errors`. Its failures: `faults` (which
//! strike whom), `kinds`, `misconduct` (what they do), `flow` (bodies that break), `control` (setting them
//! over HTTP). The house: `api` (one call from start to end), `server` (sockets).

mod api;
mod auth;
mod call;
mod control;
mod curve;
mod dates;
mod demo;
mod errors;
mod faults;
mod fields;
mod filtering;
mod flow;
mod insights;
mod kinds;
mod misconduct;
mod nodes;
mod object;
mod paging;
mod routes;
mod server;
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

pub use api::Request;
pub use curve::Pace;
pub use demo::DEMO_TOKEN;
pub use faults::Fault;
pub use kinds::KINDS;
pub use world::{Ad, AdAccount, AdSet, App, Campaign, Status, Tier, Token, World};

/// Where the simulator has the time from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A running simulator. It ends when it is dropped.
pub struct Simulator {
    address: SocketAddr,
    api: Arc<api::Api>,
    serving: JoinHandle<()>,
}

/// Serves that world on that listener, at the time that the clock tells.
pub async fn start(
    listener: TcpListener,
    world: World,
    clock: Clock,
) -> std::io::Result<Simulator> {
    let address = listener.local_addr()?;
    let api = Arc::new(api::Api::new(world, clock));
    let serving = tokio::spawn(server::serve(listener, api.clone()));
    Ok(Simulator {
        address,
        api,
        serving,
    })
}

impl Simulator {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What stands before `/<version>/…`: `http://127.0.0.1:1234`.
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

    /// Lets these go wrong from now on, and nothing else; none ends all faults.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        api::lock(&self.api.faults).replace(faults);
    }

    /// The latest calls, oldest first; the log is bounded.
    pub fn requests(&self) -> Vec<Request> {
        self.api.requests()
    }

    /// The exact numbers of an object (`act_…`, or the id of a campaign, an ad set or an ad) from
    /// `since` to `until`, both included, as they stand at that moment; `None` where there was no
    /// delivery. No filter is applied, and no rule about old campaigns' dates.
    pub fn truth(&self, id: &str, since: Date, until: Date, at: Timestamp) -> Option<Truth> {
        let world = self
            .api
            .world
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let row = insights::truth(world.seed, world.find(id)?, (since, until), at)?;
        Some(Truth::read(&row))
    }

    /// Ends it and waits until its socket is closed.
    pub async fn shutdown(mut self) {
        self.serving.abort();
        let _ = (&mut self.serving).await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What the API says of an object, by field, in the API's own decimal text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// The scalar fields.
    pub figures: BTreeMap<String, String>,
    /// The list fields (`actions`, `action_values`, `website_purchase_roas` …): the value of each
    /// action type.
    pub lists: BTreeMap<String, BTreeMap<String, String>>,
}

impl Truth {
    fn read(row: &Value) -> Self {
        let mut truth = Self::default();
        for (field, value) in row.as_object().into_iter().flatten() {
            let Some(stats) = value.as_array() else {
                truth.figures.insert(field.clone(), call::plain(value));
                continue;
            };
            let stat = |stat: &Value| {
                (
                    call::plain(&stat["action_type"]),
                    call::plain(&stat["value"]),
                )
            };
            truth
                .lists
                .insert(field.clone(), stats.iter().map(stat).collect());
        }
        truth
    }
}
