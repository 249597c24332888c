//! Serves live numbers of a simulated Graph API: a page to look at with no Meta account.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use super::serve::{bind, listeners, web_config};
use super::{Failure, serve};
use crate::app::App;
use crate::cli;
use crate::config::{Config, Document};
use crate::poll::clock;
use crate::secret::{Secret, SecretSource};
use crate::simulator::{self, Fault, World};
use crate::systemd::Sockets;

/// What the demo is configured with, but for address and tokens.
const CONFIG: &str = include_str!("demo.yaml");

/// Serves until `stop` comes. `print` tells the person who started it where to look.
///
/// # Errors
/// When an address is taken, or a fault is none.
pub async fn run(
    flags: &cli::Flags,
    demo: &cli::Demo,
    sockets: Option<Sockets>,
    stop: impl Future<Output = ()>,
    print: impl Fn(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let faults = demo
        .faults
        .iter()
        .map(|fault| Fault::parse(fault))
        .collect::<Result<Vec<_>, _>>();
    let faults = faults.map_err(|complaint| Failure::Refused(format!("--fault: {complaint}")))?;
    let web = web_config(flags)?;
    let scheme = web.scheme();
    let address = std::slice::from_ref(&demo.simulator_listen_address);
    let Some(listener) = bind(address).await?.pop() else {
        return Err(Failure::Refused(
            "--simulator.listen-address: no address".to_owned(),
        ));
    };
    let world = World::demo();
    let config = config(&world)?;
    let simulator = simulator::start(listener, world, Arc::new(clock::now))
        .await
        .map_err(|error| Failure::Failed(format!("the simulator cannot start: {error}")))?;
    simulator.set_faults(faults);
    let listeners = listeners(flags, sockets).await?;
    let config = Config {
        graph: crate::config::Graph {
            url: simulator.url(),
            ..config.graph
        },
        ..config
    };
    let app = App::new(&config, flags.shard()?)?.behind(web);
    if let Some(Ok(address)) = listeners.first().map(tokio::net::TcpListener::local_addr) {
        // An unspecified address is every one: the loopback one is the one to try.
        let host = if address.ip().is_unspecified() {
            "localhost".to_owned()
        } else {
            match address.ip() {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("[{ip}]"),
            }
        };
        let (port, path, api) = (address.port(), &flags.telemetry_path, simulator.url());
        let token = World::demo_token();
        let version = &config.graph.version;
        print(&format!(
            "exporter={scheme}://{host}:{port}/\n\
             simulator={api}\n\
             token={token}\n\
             \n\
             Numbers move every few seconds. Try:\n  \
             curl -s {scheme}://{host}:{port}{path} | grep spend\n  \
             curl -s -H 'Authorization: Bearer {token}' '{api}/{version}/me/adaccounts?fields=name,currency'\n\
             Ctrl-C ends it.\n"
        ))?;
    }
    serve::until(app, listeners, flags, stop).await?;
    simulator.shutdown().await;
    Ok(())
}

/// The demo's config, with the world's tokens in the place of files.
fn config(world: &World) -> Result<Config, Failure> {
    let document = Document {
        name: "the demo's config".to_owned(),
        text: CONFIG.to_owned(),
    };
    let mut config = Config::parse(document, Vec::new())?;
    for business in &mut config.businesses {
        let token = world
            .tokens
            .iter()
            .find(|token| token.business == business.name);
        if let Some(secret) = token.and_then(|token| Secret::new(&token.text)) {
            business.token = SecretSource::Given(secret);
        }
    }
    Ok(config)
}
