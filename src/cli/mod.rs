//! The command line: flags, subcommands, and those of them that need no poll.

pub mod healthcheck;
pub mod table;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cli::healthcheck::Healthcheck;
use crate::config::Config;
use crate::exporter::Exporter;
use crate::platform::environment::Environment;
use crate::platform::listen::ListenAddress;
use crate::platform::log;

/// Tells Prometheus how the long-running tasks of managed cloud databases get on.
///
/// Without a subcommand it serves metrics until it is told to stop. Exit status: 0 good, 1 problem
/// found, 2 usage.
#[derive(Clone, Debug, Parser)]
#[command(name = "dbtask-exporter", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; nothing means to serve.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to serve.
    #[command(flatten)]
    pub serve: Serve,
    /// How to log.
    #[command(flatten)]
    pub log: Log,
}

/// Flags of serving.
#[derive(Args, Clone, Debug)]
pub struct Serve {
    /// Configuration, YAML; left out: one source from the DBTASK_ variables.
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// Check the configuration, print what is wrong with it, and exit.
    #[arg(long = "config.check")]
    pub config_check: bool,
    /// Reload the configuration whenever its file has changed. SIGHUP always does.
    #[arg(long = "config.enable-auto-reload")]
    pub auto_reload: bool,
    /// The folder of the journal, in which counters and tasks survive a restart; left out: nothing
    /// does.
    #[arg(long = "storage.path", value_name = "FOLDER")]
    pub storage_path: Option<PathBuf>,
    /// Where to listen: `:port` for all interfaces, or `host:port`. May be given more than once.
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        default_value = ":10118",
        action = clap::ArgAction::Append
    )]
    pub listen: Vec<ListenAddress>,
    /// TLS, client certificates, passwords, headers and a rate limit, in the format of the
    /// Prometheus exporter-toolkit; left out: plain HTTP for everybody.
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub web_config_file: Option<PathBuf>,
    /// Let everybody reload the configuration by POST /-/reload. Without it that takes a password
    /// of the web configuration.
    #[arg(long = "web.enable-lifecycle")]
    pub lifecycle: bool,
    /// Where the metrics are.
    #[arg(
        long = "web.telemetry-path",
        value_name = "PATH",
        default_value = "/metrics",
        value_parser = telemetry_path
    )]
    pub telemetry_path: String,
}

/// Flags of every command.
#[derive(Args, Clone, Copy, Debug)]
pub struct Log {
    /// What is logged, to standard error. Default: info when serving or simulating, else warn.
    #[arg(long = "log.level", global = true, value_enum)]
    pub level: Option<log::Level>,
    /// How it is logged.
    #[arg(long = "log.format", global = true, value_enum, default_value_t = log::Format::Logfmt)]
    pub format: log::Format,
}

/// What else there is to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Check a configuration and print its sources.
    Check {
        /// Configuration, YAML.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Ask each source one question too, and print what is wrong, what permission is missing,
        /// and the least policy that grants it.
        #[arg(long)]
        online: bool,
    },
    /// Poll every source once and print its tasks.
    Tasks {
        /// Configuration, YAML; left out: one source from the DBTASK_ variables.
        #[arg(long = "config.file", value_name = "FILE")]
        config_file: Option<PathBuf>,
        /// How to print them.
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Ask a running exporter how it is; exit status 0 if it is well.
    Healthcheck(Healthcheck),
    #[cfg(feature = "demo")]
    /// Simulate the clouds; prints a configuration for them.
    Simulate {
        /// Where to listen; port 0 takes a free one.
        #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = "127.0.0.1:0")]
        listen: ListenAddress,
        /// What the clouds go through, YAML; left out: the scenario of the demo.
        #[arg(long, value_name = "FILE")]
        scenario: Option<PathBuf>,
    },
    #[cfg(feature = "demo")]
    /// Simulate the clouds and serve their metrics: everything, without an account.
    Demo {
        /// Where to serve metrics.
        #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = ":10118")]
        listen: ListenAddress,
        /// What the clouds go through, YAML; left out: a scenario with everything in it.
        #[arg(long, value_name = "FILE")]
        scenario: Option<PathBuf>,
    },
}

impl Cli {
    /// What is logged: as told, else what suits the command. What a person reads on a terminal is
    /// not to be lost among lines for machines.
    pub fn log_level(&self) -> log::Level {
        let usual = match self.command {
            None => log::Level::Info,
            #[cfg(feature = "demo")]
            Some(Command::Simulate { .. }) => log::Level::Info,
            #[cfg(feature = "demo")]
            Some(Command::Demo { .. }) => log::Level::Warn,
            Some(Command::Check { .. } | Command::Tasks { .. } | Command::Healthcheck(_)) => {
                log::Level::Warn
            }
        };
        self.log.level.unwrap_or(usual)
    }
}

/// How tasks are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people, with progress bars on a terminal.
    Table,
    /// As `/api/v1/tasks` answers.
    Json,
}

/// `check`: the sources of a configuration, or what is wrong with it, which is whatever would keep
/// it from being served. Asks no cloud.
pub fn check(file: Option<&Path>, environment: &Environment) -> anyhow::Result<String> {
    let config = Config::read(file, environment)?;
    Exporter::new(&config, None)?;
    Ok(table::sources(&config))
}

/// A path that nothing else of ours answers at.
fn telemetry_path(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.');
    if !text.starts_with('/') || !text.bytes().all(plain) {
        return Err("must begin with / and hold letters, digits, /, -, _ and . only".to_owned());
    }
    if text == "/" || text.starts_with("/-/") || text.starts_with("/api/") {
        return Err("is taken: /, /-/ and /api/ are other pages of the exporter".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serving_is_the_default() {
        let cli = parse("dbtask-exporter").unwrap();
        assert!(cli.command.is_none() && !cli.serve.config_check);
        assert_eq!(cli.serve.listen, [":10118".parse().unwrap()]);
        assert_eq!(cli.serve.telemetry_path, "/metrics");
        assert_eq!((cli.log_level(), cli.log.format), (log::Level::Info, log::Format::Logfmt));
        let cli = parse("x --web.listen-address=:1 --web.listen-address [::1]:2").unwrap();
        assert_eq!(cli.serve.listen, [":1".parse().unwrap(), "[::1]:2".parse().unwrap()]);
    }

    #[test]
    fn every_command_logs() {
        let cli = parse("x check a.yml --log.level debug --log.format=json").unwrap();
        assert_eq!((cli.log_level(), cli.log.format), (log::Level::Debug, log::Format::Json));
        assert!(matches!(cli.command, Some(Command::Check { .. })));
        let cli = parse("x tasks --output json --config.file a.yml").unwrap();
        assert!(matches!(cli.command, Some(Command::Tasks { output: Output::Json, .. })));
        assert_eq!(cli.log_level(), log::Level::Warn);
        #[cfg(feature = "demo")]
        let cli = parse("x simulate --web.listen-address localhost:0").unwrap();
        #[cfg(feature = "demo")]
        assert!(matches!(cli.command, Some(Command::Simulate { .. })));
    }

    #[test]
    fn wrong_usage_exits_with_2() {
        for line in [
            "x --log.level=loud",
            "x --web.listen-address=10118",
            "x --web.telemetry-path=metrics",
            "x --web.telemetry-path=/-/ready",
            "x --web.telemetry-path=/",
            "x check",
            "x tasks --output=xml",
            "x --config.file=a.yml tasks",
            "x healthcheck ftp://localhost",
            "x healthcheck http://user@localhost",
            "x healthcheck http://localhost --web.config.file=web.yml",
            "x healthcheck --tls.cert-file=a.crt",
            "x frobnicate",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
        assert_eq!(parse("x --version").unwrap_err().exit_code(), 0);
    }
}
