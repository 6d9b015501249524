//! The program under clients that are idle, slow or half there: whoever asks for the metrics or for
//! health is answered as if they were not.
//!
//! `CROWD_CLIENTS` says how many there are (2000) and `CROWD_SOURCES` how many sources of 500 tasks
//! the program watches (4). `DBTASK_EXPORTER_BIN` names another program than the one that was built
//! for the tests, such as that of a release.

use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dbtask_exporter::platform::clock::Clock;
use dbtask_exporter::platform::listen::allow_more_files;
use dbtask_simulator::{Scenario, SimulatedCloud};
use futures_util::stream::{self, StreamExt as _};
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::child::{Exporter, all_up};

const CLIENTS: usize = 2000;
/// One of so many clients is one that makes both ends work.
const BUSY: usize = 16;
const STREAMS: usize = 16;
/// Sources with 500 tasks each.
const SOURCES: usize = 4;
/// How much longer an answer may take than without the crowd.
const DELAY: Duration = Duration::from_secs(1);
/// Bytes of memory that nothing may exceed; what is mapped of the program, which a debug build has
/// much of, is not counted.
const MEMORY: usize = 64 * 1024 * 1024;

/// An exporter that watches simulated clouds, and how to speak TLS to it.
struct Besieged {
    exporter: Exporter,
    address: SocketAddr,
    tls: Option<TlsConnector>,
    shutdown: CancellationToken,
    _folder: tempfile::TempDir,
}

/// What was answered, and how soon.
#[derive(Debug, Default)]
struct Answers {
    times: Vec<Duration>,
    failures: Vec<String>,
    /// The most that was held meanwhile, in bytes.
    memory: usize,
}

impl Drop for Besieged {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// A number that the environment may set.
fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

impl Besieged {
    /// An exporter that may have so many files open.
    async fn start(is_tls: bool, files: Option<usize>) -> Arc<Self> {
        allow_more_files();
        let sources = number("CROWD_SOURCES", SOURCES);
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut scenario = "seed: 7\nsources:\n".to_owned();
        for source in 0..sources {
            write!(
                scenario,
                "  - name: mysql-{source}
    api: tencent_cdb
    region: ap-guangzhou
    resources: [{{id: cdb-{source}}}]
    tasks:
"
            )
            .unwrap();
            for task in 0..500 {
                let life = "life: [{hang: {}}]";
                let id = 1000 + task;
                writeln!(
                    scenario,
                    "      - {{id: '{id}', resource: cdb-{source}, kind: UPGRADE, {life}}}"
                )
                .unwrap();
            }
        }
        let scenario = Scenario::parse(&scenario).unwrap();
        let cloud = Arc::new(SimulatedCloud::new(&scenario, || Clock::System.now()).unwrap());
        let clouds = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", clouds.local_addr().unwrap());
        std::fs::write(path("config.yml"), cloud.configuration(&endpoint)).unwrap();
        let shutdown = CancellationToken::new();
        tokio::spawn(Arc::clone(&cloud).serve(clouds, shutdown.clone()));

        let program = std::env::var_os("DBTASK_EXPORTER_BIN");
        let program = program.unwrap_or(env!("CARGO_BIN_EXE_dbtask-exporter").into());
        let mut command = if let Some(files) = files {
            let mut command = Command::new("prlimit");
            command.arg(format!("--nofile={files}:{files}")).arg(program);
            command
        } else {
            Command::new(program)
        };
        // As the container image and the service unit set it.
        command.env("MALLOC_ARENA_MAX", "1");
        let mut tls = None;
        if is_tls {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
            let certificate = params.self_signed(&key).unwrap();
            std::fs::write(path("server.crt"), certificate.pem()).unwrap();
            std::fs::write(path("server.key"), key.serialize_pem()).unwrap();
            let web = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n";
            std::fs::write(path("web.yml"), web).unwrap();
            command.arg("--web.config.file").arg(path("web.yml"));
            tls = Some(connector(certificate.der().clone()));
        }
        let exporter = Exporter::start_as(command, &path("config.yml"), &path("storage"));
        while exporter.address().is_none() {
            sleep(Duration::from_millis(50)).await;
        }
        let address = exporter.address().unwrap();
        let besieged = Self { exporter, address, tls, shutdown, _folder: folder };
        // Until all tasks are there.
        let begun = Instant::now();
        let all = format!("\"running\":{}", 500);
        while besieged.ask("/api/v1/sources").await.unwrap().1.matches(&all).count() < sources {
            assert!(begun.elapsed() < Duration::from_mins(2), "{}", besieged.exporter.log());
            sleep(Duration::from_millis(200)).await;
        }
        Arc::new(besieged)
    }

    /// A new connection from this address of the machine.
    async fn connect(&self, from: Ipv4Addr) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        // What a client takes in without reading counts for both ends.
        socket.set_recv_buffer_size(4096)?;
        socket.bind((from, 0).into())?;
        socket.connect(self.address).await
    }

    /// What a new client on this machine is answered, and how soon.
    async fn ask(&self, path: &str) -> Result<(Duration, String), String> {
        let begun = Instant::now();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\nconnection: close\r\n\r\n"
        );
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await?;
            let mut answer = Vec::new();
            if let Some(tls) = &self.tls {
                let name = ServerName::try_from("localhost").unwrap();
                let mut stream = tls.connect(name, stream).await?;
                stream.write_all(request.as_bytes()).await?;
                stream.read_to_end(&mut answer).await?;
            } else {
                stream.write_all(request.as_bytes()).await?;
                stream.read_to_end(&mut answer).await?;
            }
            std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        match timeout(Duration::from_secs(10), exchange).await {
            Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200 ") => Ok((begun.elapsed(), answer)),
            Ok(Ok(answer)) => Err(format!("{path}: {answer}")),
            Ok(Err(error)) => Err(format!("{path}: {error} after {:?}", begun.elapsed())),
            Err(_) => Err(format!("{path}: no answer within 10 s")),
        }
    }

    /// Asks for metrics and for health until told to stop.
    async fn keep_asking(&self, stop: CancellationToken) -> Answers {
        let mut answers = Answers::default();
        while !stop.is_cancelled() {
            for path in ["/-/healthy", "/metrics"] {
                match self.ask(path).await {
                    Ok((took, _)) => answers.times.push(took),
                    Err(failure) => answers.failures.push(failure),
                }
                answers.memory = answers.memory.max(self.exporter.memory());
            }
            sleep(Duration::from_millis(50)).await;
        }
        answers.times.sort_unstable();
        answers
    }

    /// Lets clients come, some hundred at a time, and keeps what they become. Metrics and health are
    /// asked for from before the first comes until after the last has, by turns of this exporter and
    /// of one without a crowd: what the machine is busy with besides delays both.
    async fn endure<C, Fut>(
        self: &Arc<Self>,
        quiet: &Arc<Self>,
        what: &str,
        clients: usize,
        client: impl Fn(usize) -> Fut,
    ) where
        Fut: Future<Output = Option<C>>,
    {
        let stop = CancellationToken::new();
        let [asking, comparing] = [self, quiet].map(|it| {
            let (it, stop) = (Arc::clone(it), stop.clone());
            tokio::spawn(async move { it.keep_asking(stop).await })
        });
        let begun = Instant::now();
        let coming = stream::iter(0..clients).map(client).buffer_unordered(200);
        let here: Vec<C> = coming.filter_map(std::future::ready).collect().await;
        let came = begun.elapsed();
        sleep(Duration::from_secs(2)).await;
        stop.cancel();
        let (answers, without) = (asking.await.unwrap(), comparing.await.unwrap());
        let here = here.len();
        let peak = self.exporter.peak_memory() / 1024;
        println!("{what}: {clients} clients, {here} answered, came in {came:?}; peak {peak} KiB");
        println!("    with them    {answers}\n    without them {without}");
        assert!(answers.memory < MEMORY, "{what}: {answers}");
        assert!(answers.failures.is_empty(), "{what}: {answers}");
        assert!(answers.longest() < DELAY + 2 * without.longest(), "{what}: {answers}, {without}");
    }
}

impl Answers {
    fn longest(&self) -> Duration {
        self.times.last().copied().unwrap_or(Duration::MAX)
    }

    fn median(&self) -> Duration {
        self.times.get(self.times.len() / 2).copied().unwrap_or(Duration::MAX)
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (answers, memory) = (self.times.len(), self.memory / 1024);
        let (median, longest) = (self.median(), self.longest());
        write!(f, "{answers} answers, median {median:?}, longest {longest:?}, {memory} KiB, ")?;
        write!(f, "failures {:?}", self.failures)
    }
}

/// A client of HTTPS that trusts this certificate.
fn connector(certificate: CertificateDer<'static>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Where the client with this number comes from: one of so many addresses.
fn address(client: usize, addresses: usize) -> Ipv4Addr {
    let [.., high, low] = (client % addresses + 1).to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}

const GET: &str = "HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_http_that_are_idle_or_slow_delay_no_scrape_while_they_come() {
    let (besieged, quiet) =
        tokio::join!(Besieged::start(false, None), Besieged::start(false, None));
    let clients = number("CROWD_CLIENTS", CLIENTS);
    let busy = clients / BUSY;
    let half = "GET /metrics HTTP/1.1\r\nhost: a\r\nx-half:".to_owned();
    let sources = format!("GET /api/v1/sources {GET}").repeat(20);
    let slow = "POST /api/v1/tasks HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                content-length: 1000\r\n\r\n{";
    for (what, clients, addresses, request) in [
        ("idle, of one address", clients, 1, String::new()),
        ("idle, of many", clients, clients, String::new()),
        ("half a head", clients, 20, half),
        ("kept alive", busy, 20, format!("GET /-/healthy {GET}")),
        ("writing slowly", busy, 20, slow.to_owned()),
        ("reading metrics slowly", busy, 20, format!("GET /metrics {GET}").repeat(20)),
        ("reading metrics, of many", busy, clients, format!("GET /metrics {GET}")),
        ("reading tasks slowly", busy, 20, format!("GET /api/v1/tasks {GET}")),
        ("reading sources slowly", busy, 20, sources),
        ("reading the page slowly", busy, 20, format!("GET / {GET}").repeat(10)),
    ] {
        let client = async |client| {
            let mut stream = besieged.connect(address(client, addresses)).await.ok()?;
            stream.write_all(request.as_bytes()).await.ok()?;
            Some(stream)
        };
        besieged.endure(&quiet, what, clients, client).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_never_end_and_streams_that_are_never_read_delay_no_scrape_while_they_come()
{
    let (besieged, quiet) = tokio::join!(Besieged::start(true, None), Besieged::start(true, None));
    let clients = number("CROWD_CLIENTS", CLIENTS);
    // The beginning of a record with a long handshake message.
    let record = [&[22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc][..], &[0; 8000]].concat();
    let client = async |client| {
        let mut stream = besieged.connect(address(client, 20)).await.ok()?;
        stream.write_all(&record).await.ok()?;
        Some(stream)
    };
    besieged.endure(&quiet, "handshakes without an end", clients, client).await;

    let mut config = (**besieged.tls.as_ref().unwrap().config()).clone();
    config.alpn_protocols = vec!["h2".into()];
    let tls = TlsConnector::from(Arc::new(config));
    for (what, path, window) in [
        ("reading nothing over HTTP/2", "/metrics", 0),
        ("reading little over HTTP/2", "/api/v1/tasks", 65_535),
    ] {
        let client = async |client| {
            let stream = besieged.connect(address(client, 20)).await.ok()?;
            let name = ServerName::try_from("localhost").unwrap();
            let stream = tls.connect(name, stream).await.ok()?;
            let (mut client, connection) =
                hyper::client::conn::http2::Builder::new(TokioExecutor::new())
                    .initial_stream_window_size(window)
                    .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
                    .await
                    .ok()?;
            let connection = tokio::spawn(connection);
            let mut answers = Vec::new();
            for _ in 0..STREAMS {
                let request = Request::get(format!("https://localhost{path}"));
                answers.push(client.send_request(request.body(Empty::new()).unwrap()).await.ok()?);
            }
            Some((client, answers, connection))
        };
        besieged.endure(&quiet, what, clients / BUSY / 3, client).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_few_files_to_open_it_serves_while_clients_come_and_when_they_have_left() {
    // So few that connections and clouds want more of them than there are.
    let files = Some(48);
    let (besieged, quiet) =
        tokio::join!(Besieged::start(false, files), Besieged::start(false, files));
    let streams = Mutex::new(Vec::new());
    let client = async |client| {
        let stream = besieged.connect(address(client, 20)).await.ok()?;
        streams.lock().unwrap().push(stream);
        Some(())
    };
    besieged.endure(&quiet, "more than files", 400, client).await;
    drop(streams);
    let begun = Instant::now();
    while besieged.exporter.open_files() >= 24 {
        assert!(begun.elapsed() < Duration::from_mins(1), "connections of clients that have left");
        sleep(Duration::from_millis(50)).await;
    }
    let sources = number("CROWD_SOURCES", SOURCES);
    let text = besieged.exporter.until("polls go on", |text| all_up(text, sources)).await;
    assert!(text.contains("dbtask_exporter_journal_last_write_successful 1\n"));
}
