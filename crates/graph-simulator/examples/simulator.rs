//! Serves a simulated Graph API with the real clock until it is interrupted.
//!
//! Usage: `cargo run -p graph-simulator --example simulator -- [ADDRESS [CAMPAIGNS]]`, for example with
//! `127.0.0.1:8642`. The default is a free port of the loopback address, and the demo world. With `CAMPAIGNS`, the
//! world is one ad account with this number of message campaigns, for measurements.

use std::sync::Arc;

use graph_simulator::{Simulator, World};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0")).await?;
    let campaigns = std::env::args().nth(2).and_then(|count| count.parse().ok());
    let world = campaigns.map_or_else(World::demo, |count| World::with_campaigns(count, 0));
    for token in &world.tokens {
        println!("token of {}: {}", token.business, token.text);
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "the outermost layer of a program provides the clock"
    )]
    let clock = Arc::new(jiff::Timestamp::now);
    let simulator = Simulator::start(listener, world, clock).await?;
    println!("simulator: {}", simulator.url());
    tokio::signal::ctrl_c().await?;
    simulator.shutdown().await;
    Ok(())
}
