//! Proxies and private authorities, by the program itself through a proxy of ours.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dbtask_exporter::platform::clock::Clock;
use dbtask_simulator::{Scenario, SimulatedCloud};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// The host of the simulated cloud's certificate, which no name server here knows.
const HOST: &str = "cdb.tencentcloudapi.com";

/// A simulated cloud behind TLS, and a proxy by which alone it can be reached. All of it ends with
/// the test.
struct Network {
    folder: TempDir,
    proxy: SocketAddr,
    /// The first line and the password of every request that the proxy has got.
    seen: Arc<Mutex<Vec<(String, String)>>>,
    /// Keys for the configuration.
    keys: String,
    /// Where the cloud itself is.
    behind: SocketAddr,
    parts: JoinSet<()>,
}

impl Network {
    /// A proxy that wants this user and password, if any.
    async fn new(password: Option<&'static str>) -> Self {
        let scenario = "sources: [{name: one, api: tencent_cdb, region: ap-guangzhou, \
                        resources: [{id: cdb-1}]}]";
        let scenario = Scenario::parse(scenario).unwrap();
        let cloud = Arc::new(SimulatedCloud::new(&scenario, || Clock::System.now()).unwrap());
        let text = cloud.configuration("http://127.0.0.1:1");
        let (_, keys) = text.split_once("credentials:\n").unwrap();
        let keys = keys.split("sources:").next().unwrap().to_owned();
        let listener = listen().await;
        let plain = listener.local_addr().unwrap();
        let mut parts = JoinSet::new();
        parts.spawn(cloud.serve(listener, CancellationToken::new()));
        let folder = tempfile::tempdir().unwrap();
        let tls = listen().await;
        let behind = tls.local_addr().unwrap();
        parts.spawn(terminate(tls, acceptor(folder.path()), plain));
        let listener = listen().await;
        let proxy = listener.local_addr().unwrap();
        let seen = Arc::default();
        parts.spawn(forward(listener, behind, password, Arc::clone(&seen)));
        Self { folder, proxy, seen, keys, behind, parts }
    }

    /// What `check --online` says of a source with these further keys, in this environment, and
    /// everything that it has logged.
    async fn check(&self, keys: &str, environment: &[(&str, &str)]) -> (String, String) {
        let text = format!(
            "poll: {{timeout: 20s}}\ncredentials:\n{}sources:\n- name: one\n  api: tencent_cdb\n  \
             region: ap-guangzhou\n  credentials: tencent-one\n{keys}",
            self.keys
        );
        self.check_file(&text, environment).await
    }

    async fn check_file(&self, text: &str, environment: &[(&str, &str)]) -> (String, String) {
        let file = self.folder.path().join("config.yml");
        std::fs::write(&file, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_dbtask-exporter"))
            .args(["check", "--online", "--log.level=debug"])
            .arg(&file)
            .env_clear()
            .env("HOME", self.folder.path())
            .envs(environment.iter().copied())
            .output()
            .await
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    }

    fn url(&self) -> String {
        format!("http://{}", self.proxy)
    }

    fn seen(&self) -> Vec<(String, String)> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

const TRUSTED: &str = "  ca_file: ca.pem\n";

async fn listen() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

/// A certificate for the host, by an authority whose own is written to `ca.pem`; that of another,
/// to `other.pem`.
fn acceptor(folder: &Path) -> TlsAcceptor {
    let authority = || {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        (Issuer::new(params, key), pem)
    };
    let (ca, pem) = authority();
    std::fs::write(folder.join("ca.pem"), pem).unwrap();
    std::fs::write(folder.join("other.pem"), authority().1).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([HOST.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &ca).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(certificate)],
            PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Takes TLS off, and passes the rest on.
pub(crate) async fn terminate(listener: TcpListener, acceptor: TlsAcceptor, to: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        connections.spawn(async move {
            // Who does not trust the certificate hangs up.
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut onward = TcpStream::connect(to).await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut onward).await;
        });
    }
}

/// A proxy: whatever host it is asked to connect to, it connects to `to`.
async fn forward(
    listener: TcpListener,
    to: SocketAddr,
    password: Option<&'static str>,
    seen: Arc<Mutex<Vec<(String, String)>>>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let seen = Arc::clone(&seen);
        connections.spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { return };
                head.push(byte);
            }
            let head = String::from_utf8(head).unwrap();
            let given = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": Basic ")?;
                name.eq_ignore_ascii_case("proxy-authorization").then_some(value)
            });
            let given = STANDARD.decode(given.unwrap_or_default()).unwrap();
            let given = String::from_utf8(given).unwrap();
            let first = head.lines().next().unwrap().to_owned();
            seen.lock().unwrap().push((first.clone(), given.clone()));
            let refused = "HTTP/1.1 407 Proxy Authentication Required\r\n\
                           Proxy-Authenticate: Basic realm=\"test\"\r\nContent-Length: 0\r\n\r\n";
            if password.is_some_and(|password| password != given) {
                let _ = stream.write_all(refused.as_bytes()).await;
            } else if first.starts_with("CONNECT ") {
                let mut onward = TcpStream::connect(to).await.unwrap();
                let _ = stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await;
                let _ = copy_bidirectional(&mut stream, &mut onward).await;
            }
        });
    }
}

/// Whether the row of the only source says `yes` to everything.
fn is_well(out: &str) -> bool {
    out.lines().nth(1).is_some_and(|row| row.matches("yes").count() == 4)
}

#[tokio::test]
async fn the_environments_proxy_is_used_in_either_case_and_no_proxy_keeps_it_out() {
    let network = Network::new(None).await;
    let url = network.url();
    let connect = (format!("CONNECT {HOST}:443 HTTP/1.1"), String::new());
    for name in ["HTTPS_PROXY", "https_proxy"] {
        let (out, log) = network.check(TRUSTED, &[(name, &url)]).await;
        assert!(is_well(&out), "{name}: {out}\n{log}");
        assert_eq!(network.seen(), std::slice::from_ref(&connect), "{name}");
    }
    for name in ["NO_PROXY", "no_proxy"] {
        let around = [("HTTPS_PROXY", url.as_str()), (name, "example.com,tencentcloudapi.com")];
        let (out, _) = network.check(TRUSTED, &around).await;
        assert!(!is_well(&out), "{name}: {out}");
        assert_eq!(network.seen(), [], "{name}");
    }
}

#[tokio::test]
async fn every_usual_spelling_of_no_proxy_keeps_a_host_from_the_proxy() {
    let network = Network::new(None).await;
    let url = network.url();
    for list in ["*.tencentcloudapi.com", "cdb.tencentcloudapi.com:443", "localhost .com", "*"] {
        let around = [("HTTPS_PROXY", url.as_str()), ("NO_PROXY", list)];
        let (out, _) = network.check(TRUSTED, &around).await;
        assert!(!is_well(&out), "{list}: {out}");
        assert_eq!(network.seen(), [], "{list}");
    }
    let around = [("HTTPS_PROXY", url.as_str()), ("NO_PROXY", "cdb.tencentcloudapi.com:80")];
    let (out, log) = network.check(TRUSTED, &around).await;
    assert!(is_well(&out), "{out}\n{log}");
}

/// A SOCKS5 proxy: whatever host it is asked to connect to, it connects to `to`, and notes the host.
/// RFC 1928.
async fn socks(listener: TcpListener, to: SocketAddr, seen: Arc<Mutex<Vec<String>>>) {
    let mut connections = JoinSet::new();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let seen = Arc::clone(&seen);
        connections.spawn(async move {
            let [_version, methods] =
                [stream.read_u8().await.unwrap(), stream.read_u8().await.unwrap()];
            stream.read_exact(&mut vec![0; methods.into()]).await.unwrap();
            stream.write_all(&[5, 0]).await.unwrap();
            let mut head = [0; 5];
            stream.read_exact(&mut head).await.unwrap();
            assert_eq!(head[..4], [5, 1, 0, 3], "not a request to connect to a name");
            let mut name = vec![0; head[4].into()];
            stream.read_exact(&mut name).await.unwrap();
            let port = stream.read_u16().await.unwrap();
            seen.lock().unwrap().push(format!("{}:{port}", String::from_utf8(name).unwrap()));
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
            let mut onward = TcpStream::connect(to).await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut onward).await;
        });
    }
}

#[tokio::test]
async fn a_socks_proxy_is_used_from_the_environment_and_from_the_configuration() {
    let mut network = Network::new(None).await;
    let listener = listen().await;
    let url = format!("socks5h://{}", listener.local_addr().unwrap());
    let seen = Arc::default();
    network.parts.spawn(socks(listener, network.behind, Arc::clone(&seen)));
    for (keys, environment) in [
        (TRUSTED.to_owned(), vec![("ALL_PROXY", url.as_str())]),
        (format!("{TRUSTED}  proxy_url: {url}\n"), vec![]),
    ] {
        let (out, log) = network.check(&keys, &environment).await;
        assert!(is_well(&out), "{keys}: {out}\n{log}");
        assert_eq!(std::mem::take(&mut *seen.lock().unwrap()), [format!("{HOST}:443")], "{keys}");
    }
    let (out, log) = network.check(&format!("{TRUSTED}  proxy_url: socks4://x:1\n"), &[]).await;
    assert!(format!("{out}{log}").contains("socks5:// or socks5h://"), "{out}\n{log}");
}

#[tokio::test]
async fn a_sources_own_proxy_comes_before_the_environments_and_its_password_is_never_shown() {
    let network = Network::new(Some("exporter:Hunter2Hunter2")).await;
    let elsewhere = [("HTTPS_PROXY", "http://127.0.0.1:1")];
    let own = |user: &str| format!("{TRUSTED}  proxy_url: http://{user}@{}\n", network.proxy);
    let (out, log) = network.check(&own("exporter:Hunter2Hunter2"), &elsewhere).await;
    assert!(is_well(&out), "{out}\n{log}");
    let connect = format!("CONNECT {HOST}:443 HTTP/1.1");
    assert_eq!(network.seen(), [(connect, "exporter:Hunter2Hunter2".to_owned())]);
    assert!(!format!("{out}{log}").contains("Hunter2"), "{out}\n{log}");

    let (out, log) = network.check(&own("exporter:Wrong4Wrong4"), &elsewhere).await;
    assert!(!is_well(&out) && out.contains("proxy auth"), "{out}\n{log}");
    assert!(!format!("{out}{log}").contains("Wrong4"), "{out}\n{log}");
}

#[tokio::test]
async fn a_private_authority_is_trusted_once_it_is_named_and_another_is_told_clearly() {
    let network = Network::new(None).await;
    let url = network.url();
    let proxy = [("HTTPS_PROXY", url.as_str())];
    for keys in ["", "  ca_file: other.pem\n"] {
        let (out, _) = network.check(keys, &proxy).await;
        assert!(!is_well(&out), "{out}");
        assert!(out.contains("certificate") && out.contains("`ca_file` can name"), "{out}");
    }
    let (out, log) = network.check(TRUSTED, &proxy).await;
    assert!(is_well(&out), "{out}\n{log}");
    let (_, log) = network.check("  ca_file: config.yml\n", &proxy).await;
    assert!(log.contains("ca_file") && log.contains("no certificate in it"), "{log}");
}

#[tokio::test]
async fn metadata_services_are_never_asked_through_a_proxy() {
    let network = Network::new(None).await;
    let url = network.url();
    let text = "sources:\n\
                - {name: t, api: tencent_cdb, region: ap-guangzhou}\n\
                - {name: a, api: alibaba_adb, region: cn-hangzhou}\n\
                - {name: h, api: huawei_dds, region: cn-north-4}\n";
    let everywhere = [
        ("HTTP_PROXY", url.as_str()),
        ("http_proxy", &url),
        ("HTTPS_PROXY", &url),
        ("ALL_PROXY", &url),
    ];
    let (out, log) = network.check_file(text, &everywhere).await;
    assert_eq!(out.matches("no credentials for").count(), 3, "{out}\n{log}");
    assert_eq!(network.seen(), []);
}
