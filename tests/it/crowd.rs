//! The program under ten thousand clients that are idle, slow or half there: whoever asks for the
//! metrics or for health is answered as if they were not.

use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dbtask_exporter::clock::Clock;
use dbtask_exporter::listen::allow_more_files;
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

use crate::child::Exporter;

const CLIENTS: usize = 10_000;
/// Of those that make both ends work.
const BUSY_CLIENTS: usize = 600;
const STREAMS: usize = 16;
/// Sources with 500 tasks each.
const SOURCES: usize = 4;
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

impl Besieged {
    async fn start(is_tls: bool) -> Arc<Self> {
        allow_more_files();
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut scenario = "seed: 7\nsources:\n".to_owned();
        for source in 0..SOURCES {
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

        let mut command = Command::new(env!("CARGO_BIN_EXE_dbtask-exporter"));
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
        while besieged.ask("/api/v1/sources").await.unwrap().1.matches(&all).count() < SOURCES {
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
    /// asked for meanwhile, and when all are there.
    async fn endure<C, Fut>(
        self: &Arc<Self>,
        what: &str,
        clients: usize,
        client: impl Fn(usize) -> Fut,
    ) where
        Fut: Future<Output = Option<C>>,
    {
        let ask = || {
            let (besieged, stop) = (Arc::clone(self), CancellationToken::new());
            let stopped = stop.clone();
            (stop, tokio::spawn(async move { besieged.keep_asking(stopped).await }))
        };
        let (begun, (stop, asking)) = (Instant::now(), ask());
        let coming = stream::iter(0..clients).map(client).buffer_unordered(200);
        let here: Vec<C> = coming.filter_map(std::future::ready).collect().await;
        let came = begun.elapsed();
        stop.cancel();
        let meanwhile = asking.await.unwrap();
        println!("{what}: {} clients came in {came:?}; meanwhile {meanwhile}", here.len());
        // The machine is also all the clients, and runs other tests, so nothing is asked of the time
        // in which they come. A second is promised, and given soon after the last has come.
        assert!(meanwhile.memory < MEMORY, "{what}: {meanwhile}");
        let begun = Instant::now();
        loop {
            let (stop, asking) = ask();
            sleep(Duration::from_secs(2)).await;
            stop.cancel();
            let afterwards = asking.await.unwrap();
            println!("{what}: then {afterwards}");
            assert!(afterwards.memory < MEMORY, "{what}: {afterwards}");
            if afterwards.failures.is_empty() && afterwards.median() < Duration::from_secs(1) {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(90), "{what}: {afterwards}");
        }
    }
}

impl Answers {
    fn median(&self) -> Duration {
        self.times.get(self.times.len() / 2).copied().unwrap_or(Duration::MAX)
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (answers, memory) = (self.times.len(), self.memory / 1024);
        let (median, longest) = (self.median(), self.times.last().copied().unwrap_or_default());
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
async fn ten_thousand_idle_and_slow_clients_of_http_delay_no_scrape() {
    let besieged = Besieged::start(false).await;
    let half = "GET /metrics HTTP/1.1\r\nhost: a\r\nx-half:".to_owned();
    let sources = format!("GET /api/v1/sources {GET}").repeat(20);
    let slow = "POST /api/v1/tasks HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                content-length: 1000\r\n\r\n{";
    for (what, clients, addresses, request) in [
        ("idle, of one address", CLIENTS, 1, String::new()),
        ("idle, of many", CLIENTS, CLIENTS, String::new()),
        ("half a head", CLIENTS, 20, half),
        ("kept alive", BUSY_CLIENTS, 20, format!("GET /-/healthy {GET}")),
        ("writing slowly", BUSY_CLIENTS, 20, slow.to_owned()),
        ("reading metrics slowly", BUSY_CLIENTS, 20, format!("GET /metrics {GET}").repeat(20)),
        ("reading metrics, of many", BUSY_CLIENTS, CLIENTS, format!("GET /metrics {GET}")),
        ("reading tasks slowly", BUSY_CLIENTS, 20, format!("GET /api/v1/tasks {GET}")),
        ("reading sources slowly", BUSY_CLIENTS, 20, sources),
        ("reading the page slowly", BUSY_CLIENTS, 20, format!("GET / {GET}").repeat(10)),
    ] {
        let client = async |client| {
            let mut stream = besieged.connect(address(client, addresses)).await.ok()?;
            stream.write_all(request.as_bytes()).await.ok()?;
            Some(stream)
        };
        besieged.endure(what, clients, client).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_never_end_and_streams_that_are_never_read_delay_no_scrape() {
    let besieged = Besieged::start(true).await;
    // The beginning of a record with a long handshake message.
    let record = [&[22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc][..], &[0; 8000]].concat();
    let client = async |client| {
        let mut stream = besieged.connect(address(client, 20)).await.ok()?;
        stream.write_all(&record).await.ok()?;
        Some(stream)
    };
    besieged.endure("handshakes without an end", CLIENTS, client).await;

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
        besieged.endure(what, BUSY_CLIENTS / 3, client).await;
    }
}
