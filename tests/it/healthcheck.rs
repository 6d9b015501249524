//! `healthcheck`, as a container engine runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

/// A web configuration with TLS, its certificate being made out for another machine.
fn with_tls(more: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["exporter.example.com".to_owned()]).unwrap();
    fs::write(folder.path().join("a.crt"), made.cert.pem()).unwrap();
    fs::write(folder.path().join("a.key"), made.signing_key.serialize_pem()).unwrap();
    let file = folder.path().join("web.yml");
    fs::write(
        &file,
        format!("tls_server_config: {{cert_file: a.crt, key_file: a.key{more}}}\n\
                 basic_auth_users: {{a: $2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG}}\n"),
    )
    .unwrap();
    (folder, file)
}

/// The demo's exporter serves no web configuration, so this is a whole one, whose only source is
/// not there. Returns the address that it serves at.
async fn exporter(web: Option<&Path>) -> (Child, String, TempDir) {
    exporter_of(program(), "127.0.0.1:0", web).await
}

async fn exporter_of(
    mut command: Command,
    listen: &str,
    web: Option<&Path>,
) -> (Child, String, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yml");
    let text = "sources: [{name: a, api: tencent_cdb, region: ap-guangzhou, endpoint: 'http://127.0.0.1:1'}]";
    fs::write(&config, text).unwrap();
    command.arg("--config.file").arg(&config).arg("--web.listen-address").arg(listen);
    if let Some(web) = web {
        command.arg("--web.config.file").arg(web);
    }
    let mut process = command.stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
    let address = loop {
        let line = log.next_line().await.unwrap().expect("it has ended");
        if let Some((_, rest)) = line.split_once("address=") {
            break rest.split(' ').next().unwrap().trim_matches('"').to_owned();
        }
    };
    // Whoever does not read is not to keep it from logging.
    tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
    (process, address, folder)
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dbtask-exporter"));
    // A proxy is for the clouds.
    command.env("HTTP_PROXY", "http://127.0.0.1:1").env("HTTPS_PROXY", "http://127.0.0.1:1");
    command
}

async fn healthcheck(arguments: &[&str]) -> Output {
    let output = program().arg("healthcheck").args(arguments).output();
    timeout(Duration::from_mins(1), output).await.unwrap().unwrap()
}

fn error(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(1));
    std::str::from_utf8(&output.stderr).unwrap()
}

#[tokio::test]
async fn a_running_exporter_is_healthy_and_becomes_ready() {
    let (_process, address, _folder) = exporter(None).await;
    let output = healthcheck(&["--web.listen-address", &address]).await;
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty());
    let port = address.rsplit_once(':').unwrap().1;
    // A listener on all interfaces is found too.
    let everywhere = format!("0.0.0.0:{port}");
    assert!(healthcheck(&["--web.listen-address", &everywhere]).await.status.success());
    // Its source has no keys, so that the first try takes no time; jitter takes up to 5 s.
    let until = Instant::now() + Duration::from_mins(1);
    let url = format!("http://{address}");
    while !healthcheck(&["--ready", &url]).await.status.success() {
        assert!(Instant::now() < until, "it does not become ready");
    }
}

#[tokio::test]
async fn tls_is_spoken_where_the_web_configuration_says_so() {
    let (folder, web) = with_tls("");
    let (_process, address, _config) = exporter(Some(&web)).await;
    let web = web.to_str().unwrap();
    let here = ["--web.listen-address", &address, "--web.config.file", web];
    let output = healthcheck(&here).await;
    assert!(output.status.success(), "{output:?}");
    assert!(healthcheck(&[&format!("https://{address}/")]).await.status.success());
    // Without TLS there is no answer that could be understood.
    let output = healthcheck(&["--web.listen-address", &address]).await;
    assert!(error(&output).contains(&format!("http://{address}/-/healthy")));
    // A web configuration that the exporter would not take.
    fs::write(folder.path().join("bad.yml"), "tls_server_config: {cert_file: a.crt}").unwrap();
    let bad = folder.path().join("bad.yml");
    let output = healthcheck(&["--web.config.file", bad.to_str().unwrap()]).await;
    assert!(error(&output).contains("needs `key_file`, or `key`"));
}

#[tokio::test]
async fn a_certificate_is_shown_where_clients_must() {
    let (folder, web) = with_tls(", client_auth_type: RequireAnyClientCert");
    let (_process, address, _config) = exporter(Some(&web)).await;
    let (url, path) = (format!("https://{address}"), |name| folder.path().join(name));
    let output = healthcheck(&[&url]).await;
    assert!(error(&output).contains("CertificateRequired"), "{output:?}");
    let (cert, key) = (path("a.crt"), path("a.key"));
    let shown =
        ["--tls.cert-file", cert.to_str().unwrap(), "--tls.key-file", key.to_str().unwrap()];
    let output = healthcheck(&[&url, shown[0], shown[1], shown[2], shown[3]]).await;
    assert!(output.status.success(), "{output:?}");
    let output = healthcheck(&[&url, shown[0], shown[3], shown[2], shown[3]]).await;
    assert!(error(&output).contains("are no certificate with its key"), "{output:?}");
}

/// As in an image, whose health check has no arguments. A program of its own at an address of its
/// own stands for the container: only processes that run the same program are looked at.
#[tokio::test]
async fn the_health_check_of_an_image_follows_the_flags_of_its_server() {
    let place = tempfile::tempdir().unwrap();
    let own = place.path().join("exporter");
    fs::copy(env!("CARGO_BIN_EXE_dbtask-exporter"), &own).unwrap();
    let [_, a, b, c] = std::process::id().to_be_bytes();
    let listen = format!("127.{a}.{b}.{c}:10119");
    let healthcheck = async || {
        let output = Command::new(&own).arg("healthcheck").output();
        timeout(Duration::from_mins(1), output).await.unwrap().unwrap()
    };
    let (mut process, ..) = exporter_of(Command::new(&own), &listen, None).await;
    let output = healthcheck().await;
    assert!(output.status.success(), "{output:?}");
    process.kill().await.unwrap();
    let (folder, _web) = with_tls("");
    let mut command = Command::new(&own);
    command.current_dir(folder.path());
    let (mut process, ..) = exporter_of(command, &listen, Some(Path::new("web.yml"))).await;
    let output = healthcheck().await;
    assert!(output.status.success(), "{output:?}");
    process.kill().await.unwrap();
    // It has no certificate to show, and is not called ill for that.
    let (_folder, web) = with_tls(", client_auth_type: RequireAnyClientCert");
    let (mut process, ..) = exporter_of(Command::new(&own), &listen, Some(&web)).await;
    let output = healthcheck().await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"it answers, and lets nobody in without a certificate\n");
    process.kill().await.unwrap();
}

#[tokio::test]
async fn what_does_not_answer_is_a_problem_soon() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let begun = Instant::now();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let output = healthcheck(&[&url]).await;
    assert!(error(&output).contains(&format!("{url}/-/healthy does not answer")), "{output:?}");
    assert!(begun.elapsed() < Duration::from_secs(30));
    drop(silent);
    let output = healthcheck(&[&url]).await;
    assert!(error(&output).contains("refused"), "{output:?}");
}

#[tokio::test]
async fn an_answer_that_is_not_good_is_told_on_one_line() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/behind/", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let read = stream.read(&mut head).await.unwrap();
        let body = format!("not yet:\n\u{1b}[2J one, two{}", "x".repeat(100_000));
        let answer = format!("HTTP/1.1 503 Busy\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        // It is not all read.
        let _ = stream.write_all(answer.as_bytes()).await;
        String::from_utf8(head[..read].to_vec()).unwrap()
    });
    let output = healthcheck(&["--ready", &url]).await;
    let told = error(&output);
    assert!(told.contains("503 Service Unavailable: not yet:\\n\\u{1b}[2J one, two"), "{told}");
    assert!(told.lines().count() == 1 && told.len() < 500, "{told}");
    assert!(asked.await.unwrap().starts_with("GET /behind/-/ready HTTP/1.1"));
}
