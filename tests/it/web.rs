//! The web configuration: certificates made here, asked for over real sockets.

use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dbtask_exporter::config::WebConfig;
use dbtask_exporter::metrics::Instruments;
use dbtask_exporter::platform::clock::Clock;
use dbtask_exporter::platform::environment::Environment;
use dbtask_exporter::server::{Registering, Token, Web};
use dbtask_exporter::storage::{Contents, Journal};
use dbtask_exporter::track::registrations::{Limits, Registrations};
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
    date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    CipherSuite, ClientConfig, ProtocolVersion, RootCertStore, SupportedCipherSuite, version,
};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::server::{Answer, Server};
use crate::support::Log;

/// A folder with the fixtures, and what they name.
struct Folder(TempDir);

impl Folder {
    /// `server.crt` is from `ca.crt`, `client.crt` from `clients.crt`, which also names
    /// `named.crt`; `stranger.crt` is signed by itself.
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let (ca, ca_pem) = authority("servers");
        folder.write("ca.crt", &ca_pem);
        folder.issue("server", &CertificateParams::new(["localhost".into()]).unwrap(), Some(&ca));
        let (clients, clients_pem) = authority("clients");
        folder.issue("client", &client_of("prometheus.example.com"), Some(&clients));
        let mut named = client_of("prometheus.example.com");
        named.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let named = folder.issue("named", &named, None);
        folder.write("clients.crt", &(clients_pem + &named));
        folder.issue("stranger", &client_of("prometheus.example.com"), None);
        let mut expired = client_of("prometheus.example.com");
        expired.not_after = date_time_ymd(2020, 1, 1);
        folder.issue("expired", &expired, Some(&clients));
        for (name, san) in [
            ("ip", SanType::IpAddress("2001:db8::1".parse::<IpAddr>().unwrap())),
            ("mail", SanType::Rfc822Name("scraper@example.com".try_into().unwrap())),
            ("uri", SanType::URI("spiffe://example.com/prometheus".try_into().unwrap())),
            ("wild", SanType::DnsName("*.example.com".try_into().unwrap())),
        ] {
            let mut params = client_of("other.example.com");
            params.subject_alt_names.push(san);
            folder.issue(name, &params, Some(&clients));
        }
        for path in fixtures("") {
            let text = fs::read_to_string(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            folder.write(&name, &folder.fill(&text));
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Replaces a file by rename.
    fn replace(&self, name: &str, text: &str) {
        self.write("new", text);
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    /// Puts PEM and hashes in their places.
    fn fill(&self, text: &str) -> String {
        let hash = |password: &str, cost| bcrypt::hash(password, cost).unwrap();
        let mut text = text.replace("@alice@", &hash("wonderland", 4));
        text = text.replace("@bob@", &hash("builder", 6));
        for name in ["ca.crt", "server.crt", "server.key"] {
            let pem = serde_json::to_string(&self.read(name)).unwrap();
            text = text.replace(&format!("@{name}@"), &pem);
        }
        text
    }

    /// Writes a certificate, from `issuer` or from itself, and its key.
    fn issue(
        &self,
        name: &str,
        params: &CertificateParams,
        issuer: Option<&Issuer<'static, KeyPair>>,
    ) -> String {
        let key = KeyPair::generate().unwrap();
        let certificate = match issuer {
            Some(issuer) => params.signed_by(&key, issuer),
            None => params.self_signed(&key),
        };
        let pem = certificate.unwrap().pem();
        self.write(&format!("{name}.crt"), &pem);
        self.write(&format!("{name}.key"), &key.serialize_pem());
        pem
    }

    /// Begins to serve under this file.
    async fn serve(&self, name: &str) -> Served {
        self.registering(name, None).await
    }

    async fn registering(&self, name: &str, registering: Option<Registering>) -> Served {
        let web = Web::load(self.path(name)).await.unwrap();
        let server = Server::under(web, registering).await;
        let shutdown = CancellationToken::new();
        let watch = tokio::spawn(Arc::clone(&server.app.web).keep_up(shutdown));
        Served { server, ca: self.certificate("ca"), watch }
    }

    fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.read(&format!("{name}.crt")).as_bytes()).unwrap()
    }

    /// A client with this certificate.
    fn client(&self, name: &str) -> Client {
        let key = self.read(&format!("{name}.key"));
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        Client { certificate: Some((self.certificate(name), key)), ..Client::default() }
    }
}

fn authority(name: &str) -> (Issuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

fn client_of(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn fixtures(end: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/web");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(end))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// A server under a web configuration.
struct Served {
    server: Server,
    ca: CertificateDer<'static>,
    watch: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// What a client can and shows.
#[derive(Default)]
struct Client {
    certificate: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    versions: Vec<&'static rustls::SupportedProtocolVersion>,
    suites: Vec<SupportedCipherSuite>,
    groups: Vec<&'static dyn rustls::crypto::SupportedKxGroup>,
    alpn: &'static str,
}

impl Served {
    async fn tls(&self, client: Client) -> io::Result<TlsStream<tokio::net::TcpStream>> {
        let mut provider = ring::default_provider();
        if !client.suites.is_empty() {
            provider.cipher_suites = client.suites;
        }
        if !client.groups.is_empty() {
            provider.kx_groups = client.groups;
        }
        let versions = match &*client.versions {
            [] => rustls::DEFAULT_VERSIONS,
            versions => versions,
        };
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match client.certificate {
            Some((certificate, key)) => {
                config.with_client_auth_cert(vec![certificate], key).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        if !client.alpn.is_empty() {
            config.alpn_protocols = vec![client.alpn.into()];
        }
        let stream = self.server.connect().await;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// Asks over TLS. With TLS 1.3 a client learns only by reading that it has been turned away.
    async fn https(&self, client: Client) -> io::Result<Answer> {
        let mut stream = self.tls(client).await?;
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
            .await?;
        let mut bytes = Vec::new();
        let read = timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes));
        read.await.expect("no answer")?;
        Ok(Answer::new(bytes))
    }

    async fn lets_in(&self, client: Client) -> bool {
        self.https(client).await.is_ok_and(|answer| answer.status() == 200)
    }

    async fn get_as(&self, path: &str, user: &str, password: &str) -> u16 {
        let shown = STANDARD.encode(format!("{user}:{password}"));
        let headers = format!("authorization: Basic {shown}\r\n");
        self.server.ask("GET", path, &headers).await.status()
    }
}

/// Waits until something holds that takes a moment.
async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_mins(1), "{what} does not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn good_files_are_good() {
    let folder = Folder::new();
    for path in fixtures(".ok.yml") {
        let name = path.file_name().unwrap().to_str().unwrap();
        if let Err(error) = WebConfig::load(&folder.path(name)).config {
            panic!("{error}");
        }
    }
}

/// Beside each bad file are its messages, without the folder. `UPDATE=1` writes them.
#[test]
fn bad_files_get_their_messages() {
    let folder = Folder::new();
    for path in fixtures(".bad.yml") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let error = WebConfig::load(&folder.path(name)).config.unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        let messages = error.replace(&format!("{}/", folder.path("").display()), "");
        let messages = messages.replace(&folder.path("").display().to_string(), "") + "\n";
        let expected = path.with_extension("txt");
        if Environment::of_process().get("UPDATE").is_some() {
            fs::write(&expected, &messages).unwrap();
        }
        assert_eq!(messages, fs::read_to_string(&expected).unwrap(), "{name}");
    }
}

#[test]
fn a_file_that_is_not_there_is_a_problem() {
    let error = WebConfig::load(Path::new("nowhere/web.yml")).config.unwrap_err().to_string();
    assert!(error.starts_with("nowhere/web.yml: cannot be read: "), "{error}");
}

#[tokio::test]
async fn an_empty_file_is_plain_http_for_everybody() {
    let served = Folder::new().serve("empty.ok.yml").await;
    assert_eq!(served.server.get("/metrics").await.status(), 200);
}

#[tokio::test]
async fn with_a_certificate_it_is_https_and_plain_http_is_told_so() {
    let folder = Folder::new();
    for name in ["tls.ok.yml", "inline.ok.yml"] {
        let served = folder.serve(name).await;
        assert!(served.lets_in(Client::default()).await);
        let plain = served.server.get("/metrics").await;
        assert_eq!(plain.status(), 400);
        assert_eq!(plain.text(), "this port takes https, not http\n");
    }
}

#[tokio::test]
async fn http2_is_spoken_unless_it_is_switched_off() {
    let folder = Folder::new();
    let served = folder.serve("tls.ok.yml").await;
    let stream = served.tls(Client { alpn: "h2", ..Client::default() }).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    for _ in 0..3 {
        let request = Request::get("https://localhost/metrics").body(Empty::<&[u8]>::new());
        let answer = client.send_request(request.unwrap()).await.unwrap();
        assert_eq!((answer.version(), answer.status().as_u16()), (http::Version::HTTP_2, 200));
    }
    drop(client);
    connection.await.unwrap().unwrap();

    let served = folder.serve("no-http2.ok.yml").await;
    let refused = served.tls(Client { alpn: "h2", ..Client::default() }).await;
    assert!(refused.unwrap_err().to_string().contains("NoApplicationProtocol"));
    assert!(served.lets_in(Client { alpn: "http/1.1", ..Client::default() }).await);
}

/// Who is let in without a certificate, with a stranger's, with an expired one, with one from the
/// authority, and with one that is itself named.
#[tokio::test]
async fn every_policy_for_client_certificates_has_its_effect() {
    let folder = Folder::new();
    for (policy, expected) in [
        ("no-client-cert", [true, true, true, true, true]),
        ("request-client-cert", [true, true, true, true, true]),
        ("require-any-client-cert", [false, true, true, true, true]),
        ("require-client-cert", [false, true, true, true, true]),
        ("verify-client-cert-if-given", [true, false, false, true, true]),
        ("require-and-verify-client-cert", [false, false, false, true, true]),
    ] {
        let served = folder.serve(&format!("{policy}.ok.yml")).await;
        for version in [&version::TLS12, &version::TLS13] {
            let mut seen = [false; 5];
            let shown = ["", "stranger", "expired", "client", "named"];
            for (seen, name) in seen.iter_mut().zip(shown) {
                let client = if name.is_empty() { Client::default() } else { folder.client(name) };
                *seen = served.lets_in(Client { versions: vec![version], ..client }).await;
            }
            assert_eq!(seen, expected, "{policy}, {version:?}");
        }
    }
}

#[tokio::test]
async fn only_certificates_with_a_listed_name_are_let_in() {
    let folder = Folder::new();
    let served = folder.serve("sans.ok.yml").await;
    for (name, expected) in
        [("client", true), ("ip", true), ("mail", true), ("uri", true), ("wild", false)]
    {
        assert_eq!(served.lets_in(folder.client(name)).await, expected, "{name}");
    }
    assert!(!served.lets_in(folder.client("stranger")).await, "the name alone is not enough");
}

#[tokio::test]
async fn versions_suites_and_curves_have_their_effect() {
    let folder = Folder::new();
    let old = || Client { versions: vec![&version::TLS12], ..Client::default() };
    let new = || Client { versions: vec![&version::TLS13], ..Client::default() };
    let served = folder.serve("tls13.ok.yml").await;
    assert_eq!((served.lets_in(old()).await, served.lets_in(new()).await), (false, true));
    let served = folder.serve("tls12.ok.yml").await;
    assert_eq!((served.lets_in(old()).await, served.lets_in(new()).await), (true, false));

    let served = folder.serve("curves.ok.yml").await;
    let only = |group| Client { groups: vec![group], ..Client::default() };
    assert!(served.lets_in(only(ring::kx_group::SECP384R1)).await);
    assert!(!served.lets_in(only(ring::kx_group::X25519)).await);

    let (aes, chacha) = (
        ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    );
    let can = |suites: &[_]| Client { suites: suites.to_vec(), ..old() };
    let served = folder.serve("suites.ok.yml").await;
    let other = ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;
    assert!(!served.lets_in(can(&[other])).await);
    assert!(served.lets_in(new()).await, "TLS 1.3 has its own suites");
    let chosen = async |served: &Served| {
        let stream = served.tls(can(&[aes, chacha])).await.unwrap();
        let (_, connection) = stream.get_ref();
        assert_eq!(connection.protocol_version(), Some(ProtocolVersion::TLSv1_2));
        connection.negotiated_cipher_suite().unwrap().suite()
    };
    let first = CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
    assert_eq!(chosen(&served).await, first, "the server's order counts");
    let served = folder.serve("suites-of-the-client.ok.yml").await;
    assert_eq!(chosen(&served).await, aes.suite(), "the client's order counts");
}

#[tokio::test]
async fn only_users_with_their_passwords_are_let_in_but_everybody_may_ask_for_health() {
    let served = Folder::new().serve("users.ok.yml").await;
    let refused = served.server.get("/metrics").await;
    assert_eq!(refused.status(), 401);
    assert!(refused.header("www-authenticate").unwrap().starts_with("basic realm="));
    for (user, password, status) in [
        ("alice", "wonderland", 200),
        ("bob", "builder", 200),
        ("alice", "builder", 401),
        ("alice", "", 401),
        ("", "", 401),
        ("nobody", "wonderland", 401),
        // Both from memory.
        ("alice", "wonderland", 200),
        ("alice", "builder", 401),
    ] {
        assert_eq!(served.get_as("/metrics", user, password).await, status, "{user}:{password}");
    }
    for path in ["/", "/api/v1/tasks", "/style.css", "/nothing"] {
        assert_eq!(served.server.get(path).await.status(), 401, "{path}");
    }
    assert_eq!(served.get_as("/nothing", "alice", "wonderland").await, 404);
    for path in ["/-/healthy", "/-/ready"] {
        assert_eq!(served.server.get(path).await.status(), 200, "{path}");
    }
    let broken = ["Basic", "Basic !!!", "Basic YWxpY2U=", "Bearer wonderland"];
    for shown in broken {
        let headers = format!("authorization: {shown}\r\n");
        assert_eq!(served.server.ask("GET", "/metrics", &headers).await.status(), 401, "{shown}");
    }
    let answer = served.server.get("/api/v1/tasks").await;
    assert_eq!(answer.json()["error"], "this takes a user and a password");
}

#[tokio::test]
async fn a_password_is_compared_once_and_then_remembered() {
    let folder = Folder::new();
    let hash = bcrypt::hash("wonderland", 12).unwrap();
    folder.write("web.yml", &format!("basic_auth_users: {{alice: {hash}}}"));
    let served = folder.serve("web.yml").await;
    let time = async |password| {
        let begun = Instant::now();
        served.get_as("/-/x", "alice", password).await;
        begun.elapsed()
    };
    for password in ["wonderland", "wrong"] {
        let first = time(password).await;
        let mut again = first;
        for _ in 0..5 {
            again = again.min(time(password).await);
        }
        assert!(again * 4 < first, "{password}: {again:?} after {first:?}");
    }
}

#[tokio::test]
async fn the_token_of_registration_stands_in_for_a_password() {
    let folder = Folder::new();
    folder.write("token", "t");
    let journal = Arc::new(Journal::default());
    let instruments = Instruments::new().unwrap();
    let registrations =
        Registrations::restore(Clock::System, instruments, journal, &mut Contents::default());
    let limits = Limits { tasks: 1, ttl: Duration::from_secs(1) };
    registrations.open(std::collections::BTreeMap::new(), Some(limits));
    let registrations = Arc::new(registrations);
    let registering = Registering { registrations, token: Token::new(folder.path("token")) };
    let served = folder.registering("users.ok.yml", Some(registering)).await;
    let path = "/api/v1/tasks/one/1";
    let by = |token| format!("authorization: Bearer {token}\r\n");
    assert_eq!(served.server.ask("DELETE", path, &by("t")).await.status(), 404, "no such source");
    let wrong = served.server.ask("DELETE", path, &by("u")).await;
    assert_eq!(wrong.status(), 401);
    assert!(wrong.header("www-authenticate").unwrap().starts_with("bearer"));
    assert_eq!(served.server.ask("GET", path, &by("t")).await.status(), 401, "to change only");
    let without = folder.serve("users.ok.yml").await;
    let refused = without.server.ask("DELETE", path, &by("t")).await;
    assert!(refused.header("www-authenticate").unwrap().starts_with("basic"));
}

#[tokio::test]
async fn the_example_is_good_and_its_password_is_what_it_says() {
    let folder = Folder::new();
    let text = include_str!("../../examples/web/web.yml");
    folder.write("example.yml", text);
    assert!(Web::load(folder.path("example.yml")).await.unwrap().is_tls());
    let hash = text.split_once("prometheus: ").unwrap().1.lines().next().unwrap();
    assert!(bcrypt::verify("fakepassword", hash).unwrap());
}

#[tokio::test]
async fn headers_are_sent_with_every_answer() {
    let folder = Folder::new();
    let served = folder.serve("headers.ok.yml").await;
    for path in ["/metrics", "/-/healthy", "/nothing"] {
        let answer = served.server.get(path).await;
        for (name, value) in [
            ("x-frame-options", "deny"),
            ("strict-transport-security", "max-age=31536000; includesubdomains"),
            ("x-content-type-options", "nosniff"),
            ("x-xss-protection", "1"),
            ("content-security-policy", "default-src 'self'"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
    }
    let served = folder.serve("blank-header.ok.yml").await;
    let policy = served.server.get("/").await;
    let policy = policy.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
}

#[tokio::test]
async fn a_burst_is_answered_and_the_rest_told_when_to_come_back() {
    let folder = Folder::new();
    let served = folder.serve("rate-limit.ok.yml").await;
    for _ in 0..3 {
        assert_eq!(served.server.get("/metrics").await.status(), 200);
    }
    let refused = served.server.get("/metrics").await;
    assert_eq!(refused.status(), 429);
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((3500..=3601).contains(&seconds), "{seconds}");
    assert_eq!(served.server.get("/-/healthy").await.status(), 200);

    let served = folder.serve("rate-limit-off.ok.yml").await;
    for _ in 0..10 {
        assert_eq!(served.server.get("/metrics").await.status(), 200);
    }
    let served = folder.serve("rate-limit-nothing.ok.yml").await;
    assert_eq!(served.server.get("/metrics").await.status(), 429);
}

/// The certificate that the server shows.
async fn shown(served: &Served) -> Option<CertificateDer<'static>> {
    let stream = served.tls(Client::default()).await.ok()?;
    let (_, connection) = stream.get_ref();
    Some(connection.peer_certificates()?.first()?.clone().into_owned())
}

#[tokio::test]
async fn a_certificate_that_is_renewed_is_shown_at_once_and_old_connections_end() {
    let folder = Folder::new();
    let log = Log::listen();
    let mut served = folder.serve("tls.ok.yml").await;
    let before = shown(&served).await.unwrap();
    let mut old = served.tls(Client::default()).await.unwrap();
    // The certificate alone does not go with the old key.
    let (ca, ca_pem) = authority("servers");
    let names = CertificateParams::new(["localhost".into()]).unwrap();
    let issued = Folder(tempfile::tempdir().unwrap());
    let renewed = issued.issue("server", &names, Some(&ca));
    folder.replace("server.crt", &renewed);
    let refused = "does not go with the certificate";
    until("the refusal", async || log.lines(refused).len() == 1).await;
    assert_eq!(shown(&served).await.unwrap(), before);
    served.ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap();
    folder.replace("server.key", &issued.read("server.key"));
    let after = CertificateDer::from_pem_slice(renewed.as_bytes()).unwrap();
    until("the new certificate", async || shown(&served).await == Some(after.clone())).await;
    let mut rest = Vec::new();
    let ended = timeout(Duration::from_secs(5), old.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the old connection stays");
}

#[tokio::test]
async fn a_new_version_is_noticed_however_it_is_written() {
    let folder = Folder::new();
    let only = |user: &str| {
        let hash = bcrypt::hash("x", 4).unwrap();
        format!("basic_auth_users: {{{user}: {hash}}}")
    };
    folder.write("web.yml", &only("a"));
    let served = folder.serve("web.yml").await;
    let is_in = async |user: &str| served.get_as("/metrics", user, "x").await == 200;
    assert!(is_in("a").await);
    folder.write("web.yml", &only("b"));
    until("what is written in place", async || is_in("b").await).await;
    assert!(!is_in("a").await, "whom the file no longer names");
    folder.replace("web.yml", &only("c"));
    until("what is renamed", async || is_in("c").await).await;
    folder.write("backup", &only("d"));
    let backup = fs::File::options().write(true).open(folder.path("backup")).unwrap();
    backup.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    drop(backup);
    fs::rename(folder.path("backup"), folder.path("web.yml")).unwrap();
    until("what is older", async || is_in("d").await).await;
    for (version, user) in [("..1", "e"), ("..2", "f")] {
        fs::create_dir(folder.path(version)).unwrap();
        folder.write(&format!("{version}/web.yml"), &only(user));
        symlink(version, folder.path("new")).unwrap();
        fs::rename(folder.path("new"), folder.path("..data")).unwrap();
        if user == "e" {
            symlink("..data/web.yml", folder.path("new")).unwrap();
            fs::rename(folder.path("new"), folder.path("web.yml")).unwrap();
        }
        until("what a link leads to", async || is_in(user).await).await;
    }
}

#[tokio::test]
async fn a_version_that_is_refused_leaves_the_one_before_it_in_force() {
    let folder = Folder::new();
    let log = Log::listen();
    let users = folder.read("users.ok.yml");
    folder.write("web.yml", &users);
    let served = folder.serve("web.yml").await;
    let tls = folder.read("tls.ok.yml");
    for (text, reason) in [
        ("basic_auth_users: {alice: wonderland}", "is not a bcrypt hash"),
        ("", "it is empty"),
        (&tls, "the exporter must be restarted"),
    ] {
        folder.write("web.yml", text);
        until(reason, async || log.lines(reason).len() == 1).await;
        assert_eq!(served.server.get("/metrics").await.status(), 401);
        assert_eq!(served.get_as("/metrics", "alice", "wonderland").await, 200);
    }
    folder.write("web.yml", "basic_auth_users: {}");
    until("the door", async || served.server.get("/metrics").await.status() == 200).await;

    folder.write("tls.yml", &tls);
    let served = folder.serve("tls.yml").await;
    folder.write("tls.yml", &users);
    until("the refusal", async || log.lines("the exporter must be restarted").len() == 2).await;
    assert!(served.lets_in(Client::default()).await);
}

#[tokio::test]
async fn a_file_that_was_missing_is_noticed_when_it_comes() {
    let folder = Folder::new();
    let log = Log::listen();
    folder.write("web.yml", &folder.read("tls.ok.yml"));
    let served = folder.serve("web.yml").await;
    let text = folder.read("require-any-client-cert.ok.yml").replace("clients.crt", "late.crt");
    folder.write("web.yml", &text);
    until("the refusal", async || log.lines("late.crt cannot be read").len() == 1).await;
    assert!(served.lets_in(Client::default()).await);
    folder.write("late.crt", &folder.read("clients.crt"));
    until("the policy", async || !served.lets_in(Client::default()).await).await;
    assert!(served.lets_in(folder.client("stranger")).await);
}

#[tokio::test]
async fn the_program_serves_under_its_web_configuration_or_does_not_begin() {
    let folder = Folder::new();
    let config = "sources: [{name: one, api: tencent_cdb, region: ap-guangzhou, \
                  endpoint: 'http://127.0.0.1:1'}]";
    folder.write("config.yml", config);
    let run = |web: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dbtask-exporter"));
        command.arg("--config.file").arg(folder.path("config.yml"));
        command.arg("--web.config.file").arg(folder.path(web));
        command.args(["--web.listen-address", "127.0.0.1:0"]);
        command.kill_on_drop(true);
        command
    };
    for check in [&[][..], &["--config.check"]] {
        let ended = run("curves.bad.yml").args(check).output().await.unwrap();
        assert_eq!(ended.status.code(), Some(1));
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(
            said.contains("tls_server_config.curve_preferences[0]: CurveP521 cannot"),
            "{said}"
        );
    }
    let checked = run("tls.ok.yml").arg("--config.check").output().await.unwrap();
    assert!(checked.status.success());
    let mut served = run("tls.ok.yml").stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(served.stderr.take().unwrap()).lines();
    let line = loop {
        let line = log.next_line().await.unwrap().unwrap();
        if line.contains("serving") {
            break line;
        }
    };
    assert!(line.contains("tls=true"), "{line}");
    served.kill().await.unwrap();
}
