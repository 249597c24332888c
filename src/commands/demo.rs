//! `demo`: starts the simulated Graph API and an exporter that polls it, so that the exporter can be tried without a
//! Meta account.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use super::serve::{bind, listeners, web_config};
use super::{CommandError, serve};
use crate::app::App;
use crate::cli;
use crate::config::{Config, NamedDocument};
use crate::model::{Secret, SecretSource};
use crate::platform::{ListenFds, clock};
use graph_simulator::{Fault, Simulator, World};

/// Config of the demo; the API's URL and the access tokens are set at run time.
const CONFIG: &str = include_str!("demo.yaml");

/// Serves until `stop` completes. `print` receives the addresses and example commands.
///
/// # Errors
/// Returns an error if an address is in use, a fault is invalid, or a task of the exporter ends unexpectedly.
pub async fn run(
    flags: &cli::CommonFlags,
    demo: &cli::DemoFlags,
    sockets: Option<ListenFds>,
    stop: impl Future<Output = ()>,
    print: impl Fn(&str) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    if demo.print_config {
        return print(CONFIG);
    }
    let faults = demo
        .faults
        .iter()
        .map(|fault| Fault::parse(fault))
        .collect::<Result<Vec<_>, _>>();
    let faults = faults.map_err(|error| CommandError::InvalidInput(format!("--fault: {error}")))?;
    let world = World::demo();
    for name in faults.iter().flat_map(Fault::businesses) {
        let mut tokens = world.tokens.iter().map(|token| token.business.as_str());
        if !tokens.any(|business| business == name) {
            return Err(CommandError::InvalidInput(format!(
                "--fault: unknown business `{name}`; use a name of `demo --print-config`"
            )));
        }
    }
    let web = web_config(flags)?;
    let scheme = web.scheme();
    let address = std::slice::from_ref(&demo.simulator_listen_address);
    let Some(listener) = bind("--simulator.listen-address", address).await?.pop() else {
        return Err(CommandError::InvalidInput(
            "--simulator.listen-address: expected an address, found none".to_owned(),
        ));
    };
    let config = config(&world)?;
    let simulator = Simulator::start(listener, world, Arc::new(clock::now))
        .await
        .map_err(|error| CommandError::Failed(format!("cannot start the simulator: {error}")))?;
    simulator.set_faults(faults);
    if demo.simulator_only {
        let (api, token) = (simulator.url(), World::demo_token());
        print(&format!(
            "simulator={api}\ntoken={token}\nPress Ctrl-C to stop.\n"
        ))?;
        stop.await;
        simulator.shutdown().await;
        return Ok(());
    }
    let listeners = listeners(flags, sockets).await?;
    let config = Config {
        graph: crate::config::GraphConfig {
            url: simulator.url(),
            ..config.graph
        },
        ..config
    };
    let app = App::new(&config, flags.shard()?)?.with_web_config(web);
    if let Some(Ok(address)) = listeners.first().map(tokio::net::TcpListener::local_addr) {
        // An unspecified address means all interfaces; the printed URL uses the loopback interface.
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
             Values change every few seconds. Try:\n  \
             curl -s {scheme}://{host}:{port}{path} | grep spend\n  \
             curl -s -H 'Authorization: Bearer {token}' '{api}/{version}/me/adaccounts?fields=name,currency'\n\
             Press Ctrl-C to stop.\n"
        ))?;
    }
    serve::run_until(app, listeners, flags, stop).await?;
    simulator.shutdown().await;
    Ok(())
}

/// Returns the config of the demo with the tokens of the simulated world.
fn config(world: &World) -> Result<Config, CommandError> {
    let document = NamedDocument {
        name: "demo config".to_owned(),
        text: CONFIG.to_owned(),
    };
    let mut config = Config::parse(document, Vec::new())?;
    for business in &mut config.businesses {
        let token = world
            .tokens
            .iter()
            .find(|token| token.business == business.name);
        if let Some(secret) = token.and_then(|token| Secret::new(&token.text)) {
            business.token = SecretSource::Inline(secret);
        }
    }
    Ok(config)
}
