//! The `dbtask-exporter` program: arguments → configuration → ports → run, until SIGTERM.

#[cfg(feature = "demo")]
mod demo;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use dbtask_exporter::cli::{self, Cli, Command, Output, table};
use dbtask_exporter::collect::check;
use dbtask_exporter::config::reload::Reloader;
use dbtask_exporter::config::{Config, ConfigError, LoadedConfig};
use dbtask_exporter::exporter::Exporter;
use dbtask_exporter::platform::environment::Environment;
use dbtask_exporter::platform::listen::{ListenAddress, allow_more_files};
use dbtask_exporter::platform::log;
use dbtask_exporter::server::{self, Lifecycle, Web};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log::init(cli.log_level(), cli.log.format);
    match outcome(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Problems of a configuration begin with their place, as editors expect it.
            match error.downcast_ref::<ConfigError>() {
                Some(problems) => eprintln!("{problems}"),
                None => eprintln!("dbtask-exporter: {error:#}"),
            }
            ExitCode::FAILURE
        }
    }
}

fn outcome(cli: Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(run(cli));
    // A name server or a file that keeps a thread waiting does not hold up the end.
    runtime.shutdown_background();
    outcome
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let environment = Environment::of_process();
    match cli.command {
        None if cli.serve.config_check => {
            let sources = cli::check(cli.serve.config_file.as_deref(), &environment)?;
            web(&cli.serve).await?;
            print(&sources)
        }
        None => serve(&cli.serve, &environment).await,
        Some(Command::Check { file, online: false }) => {
            print(&cli::check(Some(&file), &environment)?)
        }
        Some(Command::Check { file, online: true }) => {
            check_online(&Config::load(&file, &environment)?).await
        }
        Some(Command::Tasks { config_file, output }) => {
            tasks(&Config::read(config_file.as_deref(), &environment)?, output).await
        }
        Some(Command::Healthcheck(check)) => print(&check.run().await?),
        #[cfg(feature = "demo")]
        Some(Command::Simulate { listen, scenario }) => {
            demo::simulate(&listen, scenario.as_deref()).await
        }
        #[cfg(feature = "demo")]
        Some(Command::Demo { listen, scenario }) => {
            demo::demo(&listen, scenario.as_deref(), &environment).await
        }
    }
}

/// Serves a configuration, and those that follow it, until SIGTERM or Ctrl-C.
async fn serve(flags: &cli::Serve, environment: &Environment) -> anyhow::Result<()> {
    allow_more_files();
    let mut hangup = signal(SignalKind::hangup())?;
    let file = flags.config_file.clone();
    let loaded = LoadedConfig::read(file.as_deref(), environment);
    let own_files = loaded.own_files();
    let config = loaded.config?;
    let metrics_path = &*flags.telemetry_path;
    if flags.storage_path.is_none() {
        tracing::warn!(
            "without --storage.path a restart forgets what has been counted: tasks that fail while \
             the exporter is down are not counted, and counters begin at 0"
        );
    }
    let web = web(flags).await?;
    let exporter = Exporter::new(&config, flags.storage_path.as_deref())?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let mut listeners = Vec::with_capacity(flags.listen.len());
    for address in &flags.listen {
        let listener = bind(address).await?;
        let (address, tls) = (listener.local_addr()?, web.is_tls());
        tracing::info!(%address, tls, metrics_path, "serving");
        listeners.push(listener);
    }
    let shutdown = until_told_to_stop()?;
    let (reload, reloader) =
        Reloader::new(file, environment.clone(), own_files, exporter.control(), flags.auto_reload);
    let lifecycle = Lifecycle { reload: Some(reload.clone()), is_open: flags.lifecycle };
    let app = exporter.app(metrics_path, web, lifecycle, shutdown.clone());
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            // The reloader has logged what came of it.
            let _ = reload.ask().await;
        }
    });
    let (served, ()) =
        tokio::join!(exporter.run(listeners, app, shutdown.clone()), reloader.run(shutdown));
    served
}

/// How a configuration is to be served.
async fn web(flags: &cli::Serve) -> Result<Web, ConfigError> {
    match &flags.web_config_file {
        Some(file) => Web::load(file.clone()).await,
        None => Ok(Web::default()),
    }
}

/// Asks each source one question and prints what that shows; whatever is wrong, or could not be
/// told, is a problem.
async fn check_online(config: &Config) -> anyhow::Result<()> {
    let sources = Exporter::new(config, None)?.into_sources();
    let findings = check::ask(sources, check::LIMIT).await;
    print(&table::findings(config, &findings))?;
    let problems = findings.iter().filter(|finding| finding.is_problem());
    let problems: Vec<_> = problems.map(|finding| finding.source.name.as_str()).collect();
    anyhow::ensure!(problems.is_empty(), "not in order: {}", problems.join(", "));
    Ok(())
}

/// Polls every source once and prints its tasks; a source that could not be polled in full is a
/// problem.
async fn tasks(config: &Config, output: Output) -> anyhow::Result<()> {
    let snapshots = Exporter::new(config, None)?.poll_once().await;
    match output {
        Output::Table => {
            print(&table::tasks(&snapshots, std::io::stdout().is_terminal()))?;
        }
        Output::Json => print(&server::tasks_json(&snapshots))?,
    }
    let failed: Vec<&str> = snapshots
        .iter()
        .filter(|it| !it.up || !it.failing_resources.is_empty() || it.failing_discovery.is_some())
        .map(|snapshot| snapshot.source.name.as_str())
        .collect();
    anyhow::ensure!(
        failed.is_empty(),
        "could not be polled, or not in full: {}",
        failed.join(", ")
    );
    Ok(())
}

async fn bind(address: &ListenAddress) -> anyhow::Result<TcpListener> {
    address.bind().await.with_context(|| format!("cannot listen on {address}"))
}

/// Cancelled at the first SIGTERM or SIGINT; a second one ends the process as it would any other.
fn until_told_to_stop() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = CancellationToken::new();
    let told = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        told.cancel();
    });
    Ok(shutdown)
}

/// Prints to standard output; whoever reads it may stop reading at any time.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
