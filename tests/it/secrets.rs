//! Secrets are in nothing that the exporter says: not in its log at the most verbose level, not in
//! what it serves, not in messages about a broken configuration.
//!
//! Every secret that is given to it holds a mark. Those that arise on the way (signatures, sessions)
//! are read off the wire.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dbtask_exporter::config::Config;
use dbtask_exporter::platform::clock::Clock;
use dbtask_exporter::platform::environment::Environment;
use dbtask_simulator::{FaultKind, Scenario, SimulatedCloud};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::child::{Exporter, samples};

/// What every secret that is given holds, and nothing else does.
const MARK: &str = "KEEP7Secret";

/// Words of what is signed, and of how: none of them is for anybody's eyes.
const SIGNED: [&str; 8] = [
    "HMAC-SHA256",
    "SignedHeaders",
    "x-acs-signature-nonce",
    "x-acs-content-sha256",
    "x-sdk-date",
    "x-tc-",
    "content-type:application/json",
    "tc3_request",
];

/// As much of a connection as is looked at.
const MAX_SEEN: usize = 256 * 1024;

/// The accounts: what is added to the name of each, its API, its keys, and when its fault begins.
const KINDS: [(&str, &str, &str, u32); 8] = [
    ("ali", "alibaba_polardb", "security_token: KEEP7SecretToken", 0),
    ("ali-sts", "alibaba_polardb", "role: 'acs:ram::1:role/polls'", 0),
    ("ali-later", "alibaba_adb", "role: 'acs:ram::1:role/polls'", 3),
    ("tc", "tencent_cdb", "security_token: KEEP7SecretToken", 0),
    ("tc-later", "tencent_redis", "role: 'qcs::cam::uin/1:roleName/polls'", 3),
    ("hw", "huawei_dds", "security_token: KEEP7SecretToken", 0),
    ("hw-token", "huawei_dds", "auth_token: KEEP7SecretAuthToken", 0),
    ("hw-user", "huawei_dds", "session: 1h", 3),
];

/// Every fault for every way to sign.
fn scenario() -> String {
    let (mut accounts, mut sources) = (String::new(), String::new());
    for kind in FaultKind::ALL {
        for (suffix, api, keys, from) in KINDS {
            let huawei = suffix.starts_with("hw");
            if kind == FaultKind::MissingList && !huawei {
                continue;
            }
            let name = format!("{}-{suffix}", kind.as_str());
            let region = if api.starts_with("tencent") { "ap-guangzhou" } else { "cn-north-4" };
            writeln!(
                accounts,
                "- {{name: {name}, access_key_id: {MARK}Id{name}, secret_access_key: {MARK}Key{name}, {keys}}}"
            )
            .unwrap();
            writeln!(
                sources,
                "- {{name: {name}, api: {api}, region: {region}, resources: [{{id: r-1}}], \
                 faults: [{{kind: {}, from: {from}s}}]}}",
                kind.as_str()
            )
            .unwrap();
        }
    }
    for (name, api) in
        [("wrong-a", "alibaba_adb"), ("wrong-t", "tencent_cdb"), ("wrong-h", "huawei_dds")]
    {
        writeln!(accounts, "- {{name: {name}, secret_access_key: {MARK}Key{name}}}").unwrap();
        writeln!(
            sources,
            "- {{name: {name}, api: {api}, region: ap-guangzhou, resources: [{{id: r-1}}]}}"
        )
        .unwrap();
    }
    format!("accounts:\n{accounts}sources:\n{sources}")
}

/// The configuration for it: users with passwords, keys that are wrong, proxies with passwords.
fn configuration(cloud: &SimulatedCloud, address: SocketAddr) -> String {
    let endpoint = format!("http://{address}");
    let mut text = cloud.configuration(&endpoint).replace("...\n", "");
    for kind in FaultKind::ALL {
        let name = format!("{}-hw-user", kind.as_str());
        let keys = format!("access_key: {MARK}Id{name}\n  secret_key: {MARK}Key{name}\n");
        let user = format!(
            "user_name: polls\n  password: {MARK}Key{name}\n  domain_name: {MARK}Id{name}\n  \
             project_name: cn-north-4\n  sts_endpoint: {endpoint}\n"
        );
        assert!(text.contains(&keys), "{text}");
        text = text.replace(&keys, &user);
    }
    for name in ["wrong-a", "wrong-t", "wrong-h"] {
        let (good, bad) = (format!("{MARK}Key{name}\n"), format!("{MARK}Bad{name}\n"));
        assert!(text.contains(&good), "{text}");
        text = text.replace(&good, &bad);
    }
    let source = |name: &str, proxy: &str| {
        format!(
            "- name: {name}\n  api: tencent_cdb\n  region: ap-guangzhou\n  credentials: \
             tencent-throttle-tc\n  endpoint: {endpoint}\n  proxy_url: http://me:{MARK}Proxy@{proxy}\n"
        )
    };
    text += &source("proxied", &address.to_string());
    text += &source("dead-proxy", "127.0.0.1:1");
    text += "registration: {token_file: token}\n";
    text.replace("poll:\n", "poll:\n  timeout: 3s\n")
}

/// Everything that has gone over the wire, both ways.
type Seen = Arc<Mutex<Vec<Vec<u8>>>>;

/// Passes connections on, and keeps what they say.
async fn tap(listener: TcpListener, to: SocketAddr, seen: Seen) {
    while let Ok((near, _)) = listener.accept().await {
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            let far = TcpStream::connect(to).await.unwrap();
            let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
            tokio::join!(copy(from_near, to_far, &seen), copy(from_far, to_near, &seen));
        });
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    seen: &Mutex<Vec<Vec<u8>>>,
) {
    let (mut kept, mut chunk) = (Vec::new(), vec![0; 64 * 1024]);
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        if kept.len() < MAX_SEEN {
            kept.extend_from_slice(&chunk[..length]);
        }
        if to.write_all(&chunk[..length]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
    seen.lock().unwrap().push(kept);
}

/// The secrets in it: signatures, nonces, tokens, and the keys of sessions.
fn secrets(seen: &Seen) -> BTreeSet<String> {
    const BEGINNINGS: [&str; 12] = [
        "Signature=",
        "x-acs-signature-nonce: ",
        "x-auth-token: ",
        "x-acs-security-token: ",
        "x-security-token: ",
        "x-tc-token: ",
        "\"AccessKeySecret\":\"",
        "\"SecurityToken\":\"",
        "\"TmpSecretKey\":\"",
        "\"Token\":\"",
        "\"secret\":\"",
        "\"securitytoken\":\"",
    ];
    let mut secrets = BTreeSet::new();
    for bytes in seen.lock().unwrap().iter() {
        let text = String::from_utf8_lossy(bytes);
        for beginning in BEGINNINGS {
            for rest in text.split(beginning).skip(1) {
                let end = rest.find(['"', '\r', '\n', ',', ' ']).unwrap_or(rest.len());
                if end >= 16 {
                    secrets.insert(rest[..end].to_owned());
                }
            }
        }
    }
    secrets
}

/// An answer as it comes, by somebody with this password or token.
async fn ask(address: SocketAddr, request: &str, authorization: &str, body: &str) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!(
            "{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: {authorization}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    timeout(Duration::from_secs(30), exchange).await.unwrap().unwrap()
}

fn basic(password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("alice:{password}")))
}

/// Files that surround the configuration; returns the hash of the password.
fn furnish(folder: &Path, config: &str) -> String {
    let hash = bcrypt::hash(format!("{MARK}Password"), 4).unwrap();
    fs::write(folder.join("config.yml"), config).unwrap();
    fs::write(folder.join("web.yml"), format!("basic_auth_users: {{alice: '{hash}'}}\n")).unwrap();
    fs::write(folder.join("token"), format!("{MARK}RegistrationToken{MARK}")).unwrap();
    hash
}

#[tokio::test]
async fn no_secret_is_in_anything_that_is_logged_or_served_whatever_goes_wrong() {
    let cloud = SimulatedCloud::new(&Scenario::parse(&scenario()).unwrap(), || Clock::System.now())
        .unwrap();
    let cloud = Arc::new(cloud);
    let shutdown = CancellationToken::new();
    let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (listener, tapped) = (listen().await, listen().await);
    let address = tapped.local_addr().unwrap();
    let seen = Seen::default();
    tokio::spawn(tap(tapped, listener.local_addr().unwrap(), Arc::clone(&seen)));
    tokio::spawn(Arc::clone(&cloud).serve(listener, shutdown.clone()));
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let config = configuration(&cloud, address);
    let hash = furnish(folder.path(), &config);

    let mut command = Command::new(env!("CARGO_BIN_EXE_dbtask-exporter"));
    command.args(["--log.level=trace", "--web.enable-lifecycle", "--web.config.file"]);
    command.arg(at("web.yml")).stdout(File::create(at("stdout")).unwrap());
    let exporter = Exporter::start_as(command, &at("config.yml"), &at("journal"));
    assert!(exporter.logged("message=serving").await > 0, "{}", exporter.log());
    let (address, password) = (exporter.address().unwrap(), basic(&format!("{MARK}Password")));
    let sources = config.matches("\n  api: ").count();
    let mut output = until_polled(&exporter, &config, &password).await;
    output += &misuse(address, &password).await;
    let broken = format!("{config}{}", broken().join("\n"));
    for text in [config.replace("secret_key:", "secret_kay:"), broken] {
        fs::write(at("config.yml"), text).unwrap();
        let answer = ask(address, "POST /-/reload", &password, "").await;
        assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
        output += &answer;
    }
    output += &ask(address, "GET /", &password, "").await;
    output += &exporter.log();
    output += &fs::read_to_string(at("stdout")).unwrap();
    exporter.kill().await;
    shutdown.cancel();
    sleep(Duration::from_millis(200)).await;

    let secrets = secrets(&seen);
    assert!(secrets.len() > 2 * sources, "{} for {sources} sources", secrets.len());
    assert!(output.contains("level=trace") && output.contains("level=debug"));
    let shown = |secret: &str| {
        let line = output.lines().find(|line| line.contains(secret));
        line.map(|line| format!("{secret}: {line}"))
    };
    let given = [MARK, &hash, &STANDARD.encode(format!("alice:{MARK}Password"))];
    let all = given.into_iter().chain(SIGNED).chain(secrets.iter().map(String::as_str));
    let leaks: Vec<String> = all.filter_map(shown).collect();
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}

/// Metrics, once every source has been polled: twice where the fault comes later.
async fn until_polled(exporter: &Exporter, config: &str, password: &str) -> String {
    let entries = config.split("\n- name: ").filter(|entry| entry.contains("\n  api: "));
    let names: Vec<&str> = entries.filter_map(|entry| entry.lines().next()).collect();
    for _ in 0..300 {
        let text = ask(exporter.address().unwrap(), "GET /metrics", password, "").await;
        let families = ["dbtask_source_polls_total", "dbtask_source_poll_failures_total"];
        let counts = samples(&text, &families);
        let few = |name: &&str| {
            let of = format!("source=\"{name}\"");
            let polls = counts.iter().filter(|(series, _)| series.contains(&of));
            let is_later = name.ends_with("-later") || name.ends_with("-user");
            polls.map(|(_, count)| count).sum::<f64>() < if is_later { 2.0 } else { 1.0 }
        };
        if !names.iter().any(few) {
            return text;
        }
        sleep(Duration::from_millis(200)).await;
    }
    panic!("they were not polled: {}", exporter.log());
}

/// What is answered to those who may ask, and to those who may not.
async fn misuse(address: SocketAddr, password: &str) -> String {
    let token = format!("Bearer {MARK}RegistrationToken{MARK}");
    let wrong_token = format!("Bearer {MARK}Wrong");
    let wrong = basic(&format!("{MARK}Wrong"));
    let mut output = String::new();
    for (request, authorization, body) in [
        ("GET /", password, ""),
        ("GET /api/v1/sources", password, ""),
        ("GET /api/v1/tasks", password, ""),
        ("GET /metrics", &wrong, ""),
        ("POST /api/v1/tasks", &token, "{}"),
        ("POST /api/v1/tasks", &wrong_token, "{}"),
        ("POST /api/v1/tasks", &token, "{"),
    ] {
        output += &ask(address, request, authorization, body).await;
    }
    output
}

/// Configurations in which a secret stands where it should not.
fn broken() -> Vec<String> {
    let secret = format!("{MARK}abcdefghijklmnopqrstu");
    let entry = |keys: &str| format!("credentials:\n- {{name: a, cloud: tencent, {keys}}}\n");
    let source = |keys: &str| format!("sources:\n- {{name: s, {keys}}}\n");
    let known = "api: tencent_cdb, region: ap-guangzhou";
    let mut all = Vec::new();
    for keys in [
        "secret_kay: S",
        "secret_key: [S]",
        "secret_key: {S: x}",
        "secret_key: {x: S}",
        "S: x",
        "secret_key: !S x",
        "secret_key: !S",
        "secret_key: *S",
        "secret_key: &S",
        "secret_key: S S",
        "secret_key:S",
        "secret_key_env: S",
        "secret_key_file: S",
        "auth_token: S",
        "password: S",
        "secret_key: \"S\\q\"",
        "secret_key: 'S",
        "S: 1, S: 2",
        "secret_id: S, secret_id_env: S",
        "session_duration: S",
        "daily_budget: S",
        "sts_endpoint: 'https://u:S@h/x'",
        "cloud: S",
        "role_arn: [S]",
        "session_name: S/+S",
        "external_id: {S: S}",
    ] {
        all.push(entry(keys));
    }
    for keys in [
        "secret_key: S",
        "credentials: S",
        "credentials: {secret_key: S}",
        "endpoint: S",
        "endpoint: 'https://u:S@h/x'",
        "proxy_url: S",
        "proxy_url: 'http://u:S@h:99999'",
        "proxy_url: 'http://u:S@h/x?S'",
        "tags: S",
        "tags: {S: S}",
        "resources: S",
        "resources: [S, S]",
        "resources: ['S S']",
        "tasks: S",
        "tasks: [S]",
        "tasks: [{id: S S}]",
        "tasks_file: S",
        "ca_file: S",
        "utc_offset: S",
        "format: S",
        "project_id: S",
        "poll: S",
        "poll: {interval: S}",
        "limits: {S: S}",
        "enabled: S",
        "role_arn: S",
        "token: S",
    ] {
        all.push(source(&format!("{known}, {keys}")));
    }
    all.push(source(&format!("api: {secret}, region: ap-guangzhou")));
    all.push(source(&format!("api: tencent_cdb, region: {secret}")));
    for text in [
        "S",
        "- S",
        "S: S",
        "secret_key: S",
        "credentials: S",
        "credentials: [S]",
        "sources: S",
        "sources: [S]",
        "registration: S",
        "registration: {token: S}",
        "registration: {token_file: S}",
        "registration: {token_file: [S]}",
        "credentials:\n- name: a\n  secret_key:S\n  cloud: tencent\n",
        "sources:\n- name: S/S\n",
        "<<: S",
        "{S",
        "a: S: S",
        "poll: {interval: S}",
        "%S",
        "@S",
        "`S",
    ] {
        all.push(text.to_owned());
    }
    // By itself, so that names with an S in them stay what they are.
    all.into_iter().map(|text| mark(&text, &secret)).collect()
}

/// `S` as a word of its own becomes the secret.
fn mark(text: &str, secret: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let is_word = |index: Option<usize>| {
        index.and_then(|index| chars.get(index)).is_some_and(|c| c.is_alphanumeric() || *c == '_')
    };
    let replaced = chars.iter().enumerate().map(|(index, c)| {
        let alone = !is_word(index.checked_sub(1)) && !is_word(Some(index + 1));
        if *c == 'S' && alone { secret.to_owned() } else { c.to_string() }
    });
    replaced.collect()
}

#[test]
fn no_message_about_a_broken_configuration_holds_a_secret() {
    let mut leaks = String::new();
    for text in broken() {
        assert!(text.contains(MARK), "{text}");
        let Err(error) = Config::parse(&text, "config.yml", &Environment::default()) else {
            panic!("nothing is wrong with it: {text}");
        };
        let said = format!("{error}\n{error:?}");
        for line in said.lines().filter(|line| line.contains(MARK)) {
            writeln!(leaks, "{text}\n  {line}").unwrap();
        }
    }
    assert!(leaks.is_empty(), "{leaks}");
}
