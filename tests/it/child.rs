//! The exporter as a process of its own, which can be killed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dbtask_simulator::SimulatedCloud;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// Values by series.
pub(crate) type Samples = BTreeMap<String, f64>;

/// A process, killed when dropped, and what it has logged.
pub(crate) struct Exporter {
    process: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Exporter {
    /// Starts it on a port of its own, with a journal in `storage`.
    pub(crate) fn start(config: &Path, storage: &Path) -> Self {
        Self::start_as(Command::new(env!("CARGO_BIN_EXE_dbtask-exporter")), config, storage)
    }

    /// The same by a command that ends in the program.
    pub(crate) fn start_as(mut command: Command, config: &Path, storage: &Path) -> Self {
        command.arg("--config.file").arg(config).arg("--storage.path").arg(storage);
        command.args(["--web.listen-address", "127.0.0.1:0"]);
        let mut process = command.stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let copy = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                copy.lock().unwrap().push(line);
            }
        });
        Self { process, log }
    }

    /// Sends it a signal: `HUP`.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.process.id().expect("it runs").to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().await.unwrap();
        assert!(sent.success());
    }

    /// How many files, sockets and the like it has open.
    pub(crate) fn open_files(&self) -> usize {
        let id = self.process.id().expect("it runs");
        std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count()
    }

    /// Bytes of memory that it holds, but for what is mapped from files.
    pub(crate) fn memory(&self) -> usize {
        self.status("RssAnon:")
    }

    /// The most bytes of memory that it has held, with what is mapped from files.
    pub(crate) fn peak_memory(&self) -> usize {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> usize {
        let id = self.process.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// Where it serves; `None` as long as it does not.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        let log = self.log.lock().unwrap();
        let line = log.iter().find(|line| line.contains("message=serving"))?;
        let address = line.split("address=").nth(1)?.split(' ').next()?;
        address.trim_matches('"').parse().ok()
    }

    /// How many lines of the log hold this, which one will soon: what a process logs arrives here
    /// a little later than what it serves.
    pub(crate) async fn logged(&self, text: &str) -> usize {
        let count = || self.log.lock().unwrap().iter().filter(|line| line.contains(text)).count();
        for _ in 0..100 {
            if count() > 0 {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        count()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// A scrape; `None` while it does not serve.
    pub(crate) async fn scrape(&self) -> Option<String> {
        self.ask("GET", "/metrics").await
    }

    /// The answer to a request, with its head; `None` while it does not serve.
    pub(crate) async fn ask(&self, method: &str, path: &str) -> Option<String> {
        let address = self.address()?;
        let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let exchange = async {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        timeout(Duration::from_secs(20), exchange).await.ok()?.ok()
    }

    /// Scrapes until a scrape is as wanted.
    pub(crate) async fn until(&self, what: &str, mut wanted: impl FnMut(&str) -> bool) -> String {
        let mut last = None;
        // A new series is served at 0 for a minute, and the machine may have much else to do.
        for _ in 0..1000 {
            last = self.scrape().await;
            if let Some(text) = &last
                && wanted(text)
            {
                return last.unwrap();
            }
            sleep(Duration::from_millis(200)).await;
        }
        panic!("{what}: it never came to that\n{}\n{}", last.unwrap_or_default(), self.log());
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        timeout(Duration::from_mins(1), self.process.wait()).await.expect("it goes on").unwrap()
    }

    /// SIGKILL.
    pub(crate) async fn kill(mut self) {
        assert!(!self.has_ended(), "it has ended by itself:\n{}", self.log());
        self.process.kill().await.unwrap();
    }
}

/// The samples of the families whose names begin so.
pub(crate) fn samples(text: &str, names: &[&str]) -> Samples {
    let lines = text.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// What the counters have to say in the end.
pub(crate) fn failures(clouds: &SimulatedCloud) -> Samples {
    let mut failures = Samples::new();
    for failure in clouds.failures() {
        let series = format!(
            "dbtask_task_failures_total{{source=\"{}\",task_kind=\"{}\"}}",
            failure.source, failure.kind
        );
        *failures.entry(series).or_default() += 1.0;
    }
    failures
}

/// What the counters of failures say, but for those at 0.
pub(crate) fn counted(text: &str) -> Samples {
    let mut failures = samples(text, &["dbtask_task_failures_total"]);
    failures.retain(|_, count| *count > 0.0);
    failures
}

/// Whether so many sources are up, and none is not.
pub(crate) fn all_up(text: &str, sources: usize) -> bool {
    let up = text.lines().filter(|line| line.starts_with("dbtask_source_up{"));
    let values: Vec<&str> = up.filter_map(|line| line.rsplit(' ').next()).collect();
    values == vec!["1"; sources]
}
