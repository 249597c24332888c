//! Serves the demo's simulated Graph API with the real clock, until it is interrupted.
//!
//! `cargo run --example simulator -- 127.0.0.1:8642`; without an address, on any free port. A number
//! behind the address makes it one ad account with so many message campaigns, to measure with.

use std::sync::Arc;

use marketing_messages_exporter::simulator::{self, World};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0")).await?;
    let campaigns = std::env::args()
        .nth(2)
        .and_then(|number| number.parse().ok());
    let world = campaigns.map_or_else(World::demo, |number| World::with_campaigns(number, 0));
    for token in &world.tokens {
        println!("token of {}: {}", token.business, token.text);
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "a program's outermost part hands the clock in"
    )]
    let clock = Arc::new(jiff::Timestamp::now);
    let simulator = simulator::start(listener, world, clock).await?;
    println!("simulator: {}", simulator.url());
    tokio::signal::ctrl_c().await?;
    simulator.shutdown().await;
    Ok(())
}
