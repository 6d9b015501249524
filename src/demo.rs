//! The commands `simulate` and `demo`: clouds that are not real.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use dbtask_exporter::config::{Config, MAX_FILE_BYTES};
use dbtask_exporter::exporter::Exporter;
use dbtask_exporter::platform::clock::Clock;
use dbtask_exporter::platform::environment::Environment;
use dbtask_exporter::platform::listen::ListenAddress;
use dbtask_exporter::platform::reading;
use dbtask_exporter::server::{Lifecycle, Web};
use dbtask_simulator::{Scenario, SimulatedCloud};
use tokio::net::TcpListener;

use crate::{bind, print, until_told_to_stop};

/// Serves the simulated clouds alone, and prints the configuration for them.
pub(crate) async fn simulate(
    address: &ListenAddress,
    scenario: Option<&Path>,
) -> anyhow::Result<()> {
    let cloud = simulated_cloud(scenario)?;
    let listener = bind(address).await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    print(&cloud.configuration(&endpoint))?;
    tracing::info!(endpoint, seed = cloud.seed(), "simulating");
    cloud.serve(listener, until_told_to_stop()?).await;
    Ok(())
}

/// Simulated clouds and the exporter together. The exporter does not know that they are simulated.
pub(crate) async fn demo(
    address: &ListenAddress,
    scenario: Option<&Path>,
    environment: &Environment,
) -> anyhow::Result<()> {
    let cloud = simulated_cloud(scenario)?;
    let clouds = TcpListener::bind(("127.0.0.1", 0)).await?;
    let endpoint = format!("http://{}", clouds.local_addr()?);
    let config = Config::parse(&cloud.configuration(&endpoint), "simulated", environment)?;
    // Gone with the demo, for the next one begins another world.
    let journal = tempfile::tempdir()
        .inspect_err(|error| tracing::warn!("the demo keeps no journal: {error}"))
        .ok();
    let exporter = Exporter::new(&config, journal.as_ref().map(tempfile::TempDir::path))?;
    let listener = bind(address).await?;
    let shutdown = until_told_to_stop()?;
    let app = exporter.app("/metrics", Web::default(), Lifecycle::default(), shutdown.clone());
    print(&demo_greeting(listener.local_addr()?.port(), &endpoint, cloud.seed()))?;
    let simulation = tokio::spawn(Arc::clone(&cloud).serve(clouds, shutdown.clone()));
    exporter.run(vec![listener], app, shutdown).await?;
    simulation.await.context("the simulated clouds have died")
}

fn demo_greeting(port: u16, endpoint: &str, seed: u64) -> String {
    format!(
        "Simulated clouds:  {endpoint} (seed {seed})\n\
         Status page:       http://localhost:{port}/\n\
         Metrics:           http://localhost:{port}/metrics\n\
         Tasks as JSON:     http://localhost:{port}/api/v1/tasks\n\
         Every state and the first failures show within a minute. Ctrl-C stops.\n"
    )
}

fn simulated_cloud(scenario: Option<&Path>) -> anyhow::Result<Arc<SimulatedCloud>> {
    let scenario = match scenario {
        None => Scenario::demo()?,
        Some(file) => {
            let read =
                || Scenario::parse(std::str::from_utf8(&reading::read(file, MAX_FILE_BYTES)?)?);
            read().with_context(|| file.display().to_string())?
        }
    };
    Ok(Arc::new(SimulatedCloud::new(&scenario, || Clock::System.now())?))
}
