//! Files that cannot be read for a while: pipes in the place of files, by the program itself. What
//! needs the file fails, says why and goes on when the file is good again; nothing else notices.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use dbtask_clouds::transport::{Sending, Transport};
use dbtask_exporter::config::Config;
use dbtask_exporter::exporter::{Exporter as Assembled, Setting};
use dbtask_exporter::platform::clock::Clock;
use dbtask_exporter::platform::environment::Environment;
use dbtask_simulator::{Scenario, SimulatedCloud};
use http::Request;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::child::Exporter;
use crate::proxy::terminate;

/// A cloud, and a folder with a configuration for it. All of it ends with the test.
struct World {
    folder: TempDir,
    /// Its `endpoint`.
    address: std::net::SocketAddr,
    parts: JoinSet<()>,
}

impl World {
    /// Two sources, `one` with its key in the file `key`.
    async fn new() -> Self {
        let scenario = "sources:\n\
            - {name: one, api: tencent_cdb, region: ap-guangzhou, resources: [{id: cdb-1}]}\n\
            - {name: two, api: tencent_redis, region: ap-guangzhou, resources: [{id: crs-1}]}\n";
        let scenario = Scenario::parse(scenario).unwrap();
        let cloud = Arc::new(SimulatedCloud::new(&scenario, || Clock::System.now()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let text = cloud.configuration(&format!("http://{address}"));
        let (_, text) = text.split_once("credentials:").unwrap();
        let text = text.trim_end_matches("...\n");
        let (before, after) = text.split_once("  secret_key: ").unwrap();
        let (key, after) = after.split_once('\n').unwrap();
        let text = format!(
            "poll: {{interval: 1s, idle_interval: 1s, timeout: 5s}}\ncredentials:{before}  \
             secret_key_file: key\n{after}registration: {{token_file: token}}\n"
        );
        let mut parts = JoinSet::new();
        parts.spawn(Arc::clone(&cloud).serve(listener, CancellationToken::new()));
        let world = Self { folder: tempfile::tempdir().unwrap(), address, parts };
        world.write("key", key);
        world.write("token", "a-token-for-registration");
        world.write("config.yml", &text);
        world.write("web.yml", "http_server_config: {headers: {X-Frame-Options: deny}}\n");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// A file that is there at once, whatever was there before.
    fn write(&self, name: &str, text: &str) {
        fs::write(self.path("new"), text).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    /// A pipe into which nobody writes, in the file's place.
    fn block(&self, name: &str) {
        pipe(&self.path("new"));
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    fn start(&self) -> Exporter {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dbtask-exporter"));
        command.args(["--web.enable-lifecycle", "--web.config.file"]).arg(self.path("web.yml"));
        Exporter::start_as(command, &self.path("config.yml"), &self.path("journal"))
    }
}

fn pipe(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn is_up(text: &str, source: &str) -> bool {
    text.contains(&format!("dbtask_source_up{{source=\"{source}\"}} 1"))
}

fn is_good(text: &str) -> bool {
    text.contains("dbtask_exporter_config_last_reload_successful 1")
}

/// The status of a registration.
async fn register(exporter: &Exporter) -> String {
    let body = r#"{"source": "two", "id": "7"}"#;
    let request = format!(
        "POST /api/v1/tasks HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\
         Authorization: Bearer a-token-for-registration\r\nContent-Type: application/json\r\n\r\n\
         {body}",
        body.len()
    );
    let mut stream = TcpStream::connect(exporter.address().unwrap()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn a_key_file_that_is_a_pipe_for_a_while_takes_down_its_source_for_that_while() {
    let world = World::new().await;
    let key = world.text("key");
    world.block("key");
    let exporter = world.start();
    exporter.until("the other one is up", |text| is_up(text, "two") && !is_up(text, "one")).await;
    for _ in 0..100 {
        if exporter.ask("GET", "/-/ready").await.unwrap().starts_with("HTTP/1.1 200") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let ready = exporter.ask("GET", "/-/ready").await.unwrap();
    assert!(ready.starts_with("HTTP/1.1 200"), "each source has been tried: {ready}");
    let why = "key (secret_key_file) cannot be read: it is a named pipe, and no regular file";
    assert!(exporter.logged(why).await > 0, "{}", exporter.log());
    for _ in 0..2 {
        world.write("key", &key);
        exporter.until("it is up", |text| is_up(text, "one") && is_up(text, "two")).await;
        world.block("key");
        exporter.until("it is down", |text| !is_up(text, "one") && is_up(text, "two")).await;
    }
    exporter.kill().await;
}

#[tokio::test]
async fn a_configuration_that_is_a_pipe_is_a_refused_reload() {
    let world = World::new().await;
    let config = world.text("config.yml");
    let exporter = world.start();
    let both = |text: &str| is_up(text, "one") && is_up(text, "two");
    exporter.until("serving", |text| both(text) && is_good(text)).await;
    for ask in ["a request", "a signal"] {
        world.block("config.yml");
        if ask == "a signal" {
            exporter.signal("HUP").await;
        } else {
            let answer = exporter.ask("POST", "/-/reload").await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
            assert!(answer.contains("it is a named pipe, and no regular file"), "{answer}");
        }
        let text = exporter.until("a refusal", |text| !is_good(text)).await;
        assert!(both(&text), "the one before it goes on");
        world.write("config.yml", &config);
        let answer = exporter.ask("POST", "/-/reload").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        exporter.until("a good one", is_good).await;
    }
    for file in ["ca_file: pipe", "tasks_file: pipe", "tasks_file: /dev/zero", "tasks_file: ."] {
        if !world.path("pipe").exists() {
            pipe(&world.path("pipe"));
        }
        world.write("config.yml", &config.replace("  api: ", &format!("  {file}\n  api: ")));
        let answer = exporter.ask("POST", "/-/reload").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 500"), "{file}: {answer}");
        assert!(answer.contains("no regular file"), "{file}: {answer}");
    }
    exporter.kill().await;

    world.block("config.yml");
    let mut exporter = world.start();
    assert!(!exporter.end().await.success(), "nothing is begun with it");
    assert!(exporter.logged("it is a named pipe").await > 0, "{}", exporter.log());
}

#[tokio::test]
async fn a_token_file_that_is_a_pipe_for_a_while_keeps_everybody_out_for_that_while() {
    let world = World::new().await;
    let exporter = world.start();
    exporter.until("serving", |text| is_up(text, "two")).await;
    assert_eq!(register(&exporter).await, "201");
    for _ in 0..2 {
        world.block("token");
        assert_eq!(register(&exporter).await, "503");
        assert!(exporter.logged("it is a named pipe").await > 0, "{}", exporter.log());
        world.write("token", "a-token-for-registration");
        assert_eq!(register(&exporter).await, "200", "it is known already");
    }
    exporter.kill().await;
}

#[tokio::test]
async fn a_web_configuration_that_is_a_pipe_is_refused_and_a_good_one_comes_into_force() {
    let world = World::new().await;
    let exporter = world.start();
    exporter.until("serving", |text| text.contains("deny")).await;
    world.block("web.yml");
    assert!(exporter.logged("it is a named pipe").await > 0, "{}", exporter.log());
    exporter.until("it is in force still", |text| text.contains("deny")).await;
    world.write("web.yml", "http_server_config: {headers: {X-Frame-Options: sameorigin}}\n");
    exporter.until("the new one is in force", |text| text.contains("sameorigin")).await;
    exporter.kill().await;
}

/// Who takes TLS connections for `localhost`, with a certificate by an authority whose own is
/// returned too.
fn authority() -> (TlsAcceptor, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(certificate)],
            PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), pem)
}

#[tokio::test]
async fn authorities_that_change_are_trusted_without_a_reload_and_a_pipe_takes_none_away() {
    let mut world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let (acceptor, trusted) = authority();
    let address = world.address;
    world.parts.spawn(terminate(listener, acceptor, address));
    world.write("ca.pem", &authority().1);
    let config = world.text("config.yml").replace(&format!("http://{address}"), &endpoint);
    world.write("config.yml", &config.replace("  api: ", "  ca_file: ca.pem\n  api: "));
    let exporter = world.start();
    let both = |text: &str| is_up(text, "one") && is_up(text, "two");
    assert!(exporter.logged("`ca_file` can name the authority").await > 0, "{}", exporter.log());
    exporter.until("nobody is trusted", |text| !is_up(text, "one") && !is_up(text, "two")).await;
    world.write("ca.pem", &trusted);
    exporter.until("both are up", both).await;
    world.block("ca.pem");
    let kept = "the authorities before it stay";
    assert!(exporter.logged(kept).await > 0, "{}", exporter.log());
    exporter.until("both are up still", both).await;
    world.write("ca.pem", &authority().1);
    exporter.until("nobody is trusted again", |text| !is_up(text, "one")).await;
    exporter.kill().await;
}

/// Never answers, and keeps to no timeout.
#[derive(Debug)]
struct Silence;

impl Transport for Silence {
    fn send(&self, _: Request<Bytes>) -> Sending<'_> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_outlives_the_timeouts_of_its_calls_fails_as_one_that_timed_out() {
    let keys = "credentials: [{name: a, cloud: tencent, secret_id: AKID, secret_key: key}]\n";
    let given = "credentials: a";
    // What the machine has is asked for first, and does not answer either.
    for (credentials, entry, seconds) in [(keys, given, 60), ("", "format: json", 240)] {
        let api = if credentials.is_empty() { "alibaba_polardb" } else { "tencent_cdb" };
        let text = format!(
            "poll: {{timeout: 20s}}\n{credentials}sources:\n\
             - {{name: one, api: {api}, region: ap-guangzhou, {entry}}}\n"
        );
        let config = Config::parse(&text, "test", &Environment::default()).unwrap();
        let machine: Option<Arc<dyn Transport>> = Some(Arc::new(Silence));
        let setting = Setting { machine, ..Setting::default() };
        let way = |_: &_| Ok(Arc::new(Silence) as Arc<dyn Transport>);
        let exporter = Assembled::assemble(&config, &setting, way).unwrap();
        let begun = Instant::now();
        let snapshots = exporter.poll_once().await;
        let one = snapshots.first().unwrap();
        assert!(one.tried && !one.up, "{api}");
        assert_eq!(one.last_error_reason, Some("timeout"), "{api}: {:?}", one.last_error);
        assert!(begun.elapsed().as_secs() <= seconds, "{api}: {:?}", begun.elapsed());
    }
}
