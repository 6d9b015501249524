//! Gateways that quote the requests that they get: each secret of each call, in each spelling, in
//! refusals and in the words of tasks. None of it is in anything that the exporter says.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::transport::{Sending, Transport};
use dbtask_exporter::credentials::Provider;
use dbtask_exporter::platform::environment::Environment;
use http::{Request, Response};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::sleep;

use crate::child::Exporter;
use crate::support::{Around, issued};

/// What every secret that is given holds, and nothing else does.
const MARK: &str = "KEEP7Secret";

type Spell = fn(&str) -> String;

/// The ways in which a secret is written.
const SPELLINGS: [(&str, Spell); 14] = [
    ("plain", str::to_owned),
    ("cut", |text| text[..text.len() - 3].to_owned()),
    ("percent", |text| percent(text).to_lowercase()),
    ("all-percent", |text| text.bytes().fold(String::new(), |all, b| all + &format!("%{b:02X}"))),
    ("json", |text| text.replace('/', "\\/").replace('+', "\\u002B").replace('=', "\\u003d")),
    ("json-in-json", |text| text.replace('/', "\\\\/").replace('+', "\\\\u002b")),
    ("html", |text| text.replace('/', "&#x2F;").replace('+', "&plus;").replace('=', "&#61;")),
    ("base64", |text| STANDARD.encode(text)),
    ("basic", |text| STANDARD.encode(format!("user:{text}"))),
    ("url-base64", |text| URL_SAFE_NO_PAD.encode(format!("x{text}\r\n"))),
    ("base64-of-json", |text| {
        STANDARD.encode(format!("{{\"k\": \"{}\"}}", text.replace('/', "\\/")))
    }),
    ("capitals", str::to_uppercase),
    ("lines", |text| lines(text, "\r\n ")),
    ("base64-in-lines", |text| lines(&STANDARD.encode(text), "\\n")),
];

fn percent(text: &str) -> String {
    let each = |c: char| match c {
        c if c.is_ascii_alphanumeric() => c.to_string(),
        c => format!("%{:02X}", c as u32),
    };
    text.chars().map(each).collect()
}

fn lines(text: &str, by: &str) -> String {
    let parts = text.as_bytes().chunks(13).map(|part| std::str::from_utf8(part).unwrap());
    parts.collect::<Vec<_>>().join(by)
}

/// What would show that `spelled` has been said: all of it, or a long part that no escape breaks.
fn traces(spelled: &str) -> BTreeSet<String> {
    let parts = spelled.split(|c: char| !c.is_ascii_alphanumeric() && c != '%');
    let long = parts.filter(|part| part.len() >= 12).map(str::to_owned);
    long.chain([spelled.to_owned()]).collect()
}

/// The secrets of a request: every header that proves something, what is in it, the key that made
/// the signature, and what is in the body.
fn secrets(head: &str, body: &str) -> Vec<String> {
    const HEADERS: [&str; 7] = [
        "authorization",
        "x-auth-token",
        "x-security-token",
        "x-acs-security-token",
        "x-tc-token",
        "x-acs-signature-nonce",
        "proxy-authorization",
    ];
    let mut found = Vec::new();
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        if HEADERS.contains(&name.to_lowercase().as_str()) {
            found.push(value.trim().to_owned());
        }
        for part in value.split([',', ' ']) {
            let value = part.split_once('=').unwrap_or_default();
            match value {
                ("Signature", signature) => found.insert(0, signature.to_owned()),
                ("Credential" | "Access", id) => {
                    let id = id.split('/').next().unwrap();
                    found.insert(0, id.replace("Id", "Key") + "/+w==");
                    found.push(id.to_owned());
                }
                _ => {}
            }
        }
    }
    if let Some((_, password)) = body.split_once("\"password\":\"") {
        found.insert(0, password.split('"').next().unwrap().to_owned());
    }
    found
}

/// Somebody in the place of all clouds.
struct Gateway {
    spell: Spell,
    /// Whether it has tasks that quote, or else refuses.
    has_tasks: bool,
    /// What it has written.
    written: Mutex<BTreeSet<String>>,
    lists: Mutex<u32>,
}

impl Gateway {
    fn new(spell: Spell, has_tasks: bool) -> Arc<Self> {
        let (written, lists) = (Mutex::default(), Mutex::default());
        Arc::new(Self { spell, has_tasks, written, lists })
    }

    async fn serve(self: Arc<Self>, listener: TcpListener) {
        while let Ok((mut stream, _)) = listener.accept().await {
            let gateway = Arc::clone(&self);
            tokio::spawn(async move {
                let (head, body) = request(&mut stream).await?;
                let (status, answer) = gateway.answer(&head, &body);
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n\
                     Connection: close\r\nContent-Length: {}\r\n\r\n{answer}",
                    answer.len()
                );
                stream.write_all(answer.as_bytes()).await
            });
        }
    }

    fn answer(&self, head: &str, body: &str) -> (u16, String) {
        let spelled: Vec<String> = secrets(head, body).iter().map(|it| (self.spell)(it)).collect();
        assert!(!spelled.is_empty(), "{head}");
        self.written.lock().unwrap().extend(spelled.iter().cloned());
        let words = spelled.join(" and ");
        let (name, first) = (&spelled[0], &spelled[1 % spelled.len()]);
        let head = head.to_lowercase();
        let (status, answer) = match (self.has_tasks, head.contains("x-tc-action")) {
            (false, true) => {
                let error = json!({"Code": "InvalidParameter", "Message": words});
                (200, json!({"Response": {"Error": error, "RequestId": "0"}}))
            }
            (false, false) if head.contains("x-acs-action") => {
                (400, json!({"RequestId": "0", "Code": "InvalidParameter", "Message": words}))
            }
            (false, false) if head.contains("/v3/auth/tokens") || head.contains("/v3.0/") => {
                (400, json!({"error": {"code": 400, "message": words, "title": "Bad Request"}}))
            }
            (false, false) => (400, json!({"error_code": "APIGW.0201", "error_msg": words})),
            (true, true) => {
                let mut lists = self.lists.lock().unwrap();
                *lists += 1;
                let status = if *lists > 2 { "FAILED" } else { "RUNNING" };
                let task = json!({
                    "Code": 9013, "Message": words, "JobId": 1, "AsyncRequestId": "a-1",
                    "Progress": 5, "StartTime": "2026-11-30 08:00:00", "EndTime": "",
                    "InstanceIds": [first], "TaskType": name, "TaskStatus": status,
                });
                (200, json!({"Response": {"TotalCount": 1, "Items": [task], "RequestId": "0"}}))
            }
            (true, false) if head.contains("x-acs-action") => {
                let steps = json!([{"remain": 0, "name": name, "progress": 50}]).to_string();
                let task = json!({
                    "TaskId": "500000009", "TaskAction": name, "BeginTime": "2026-11-30T07:40:00Z",
                    "FinishTime": "2026-11-30T07:52:31Z", "Progress": 50, "Remain": 0,
                    "StepsInfo": steps, "TaskErrorCode": first, "TaskErrorMessage": words,
                });
                let tasks = if head.contains("status=stop") { vec![task] } else { Vec::new() };
                let count = tasks.len();
                (200, json!({"TotalRecordCount": count, "PageNumber": 1, "Tasks": {"Task": tasks}}))
            }
            (true, false) => {
                let task = json!({
                    "id": "a03b1b8a", "name": name, "status": "Failed",
                    "created": "2026-11-30T04:55:58+0000", "ended": "2026-11-30T05:20:04+0000",
                    "progress": "", "instance": {"id": first, "name": name}, "fail_reason": words,
                });
                (200, json!({"jobs": [task], "total_count": 1}))
            }
        };
        (status, answer.to_string())
    }
}

/// One request: its head, and its body.
async fn request(stream: &mut TcpStream) -> std::io::Result<(String, String)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    Ok((head, String::from_utf8(body).unwrap()))
}

/// Accounts and sources, for each way to be asked, at this gateway.
fn entries(name: &str, at: SocketAddr, has_tasks: bool) -> (String, String) {
    let keys = |id: &str, key: &str, token: &str, of: &str| {
        format!(
            "{id}: {MARK}Id{of}{name}, {key}: '{MARK}Key{of}{name}/+w==', \
             {token}: '{MARK}Token{of}{name}/+/w0=='"
        )
    };
    let ali = |of| keys("access_key_id", "access_key_secret", "security_token", of);
    let tencent = |of| keys("secret_id", "secret_key", "token", of);
    let huawei = |of| keys("access_key", "secret_key", "security_token", of);
    let sts = format!("sts_endpoint: 'http://{at}'");
    let accounts = [
        ("ali", "alibaba", ali("a")),
        ("alirole", "alibaba", format!("{}, role_arn: 'acs:ram::1:role/r', {sts}", ali("b"))),
        ("tc", "tencent", tencent("c")),
        (
            "tcrole",
            "tencent",
            format!("{}, role_arn: 'qcs::cam::uin/1:roleName/r', {sts}", tencent("d")),
        ),
        ("hw", "huawei", huawei("e")),
        ("hwtoken", "huawei", format!("auth_token: '{MARK}AuthToken{name}/+/w0=='")),
        (
            "hwagency",
            "huawei",
            format!("{}, agency_name: polls, agency_domain: d, {sts}", huawei("f")),
        ),
        (
            "hwuser",
            "huawei",
            format!(
                "user_name: polls, password: '{MARK}Password{name}/+w', domain_name: d, \
                 project_name: cn-north-4, {sts}"
            ),
        ),
    ];
    let project = "project_id: 0123456789abcdef0123456789abcdef";
    let all = [
        ("discovered", "alibaba_polardb", "ali", ""),
        ("clusters", "alibaba_polardb", "ali", "resources: [pc-1]"),
        ("ids", "alibaba_adb", "ali", "tasks: [{id: 1, resource: am-1}]"),
        ("alirole", "alibaba_polardb", "alirole", ""),
        ("mysql", "tencent_cdb", "tc", ""),
        ("redis", "tencent_redis", "tc", ""),
        ("tcrole", "tencent_cdb", "tcrole", ""),
        ("project", "huawei_dds", "hw", ""),
        ("dds", "huawei_dds", "hw", project),
        ("ddstoken", "huawei_dds", "hwtoken", project),
        ("hwagency", "huawei_dds", "hwagency", project),
        ("hwuser", "huawei_dds", "hwuser", project),
    ];
    let with_tasks = ["clusters", "mysql", "dds", "ddstoken"];
    let (mut credentials, mut sources) = (String::new(), String::new());
    for (account, cloud, keys) in accounts {
        writeln!(credentials, "- {{name: {name}-{account}, cloud: {cloud}, {keys}}}").unwrap();
    }
    for (source, api, account, keys) in all {
        let region = match account.get(..2) {
            Some("tc") => "ap-guangzhou",
            Some("hw") => "cn-north-4",
            _ => "cn-hangzhou",
        };
        let comma = if keys.is_empty() { "" } else { ", " };
        if !has_tasks || with_tasks.contains(&source) {
            writeln!(
                sources,
                "- {{name: {name}-{source}, api: {api}, region: {region}, credentials: \
                 {name}-{account}, endpoint: 'http://{at}'{comma}{keys}}}"
            )
            .unwrap();
        }
    }
    (credentials, sources)
}

#[tokio::test]
async fn whatever_is_quoted_of_a_request_in_whatever_spelling_is_shown_nowhere() {
    let (mut gateways, mut credentials, mut sources) = (Vec::new(), String::new(), String::new());
    for (spelling, spell) in SPELLINGS {
        for has_tasks in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let at = listener.local_addr().unwrap();
            let gateway = Gateway::new(spell, has_tasks);
            tokio::spawn(Arc::clone(&gateway).serve(listener));
            let name = format!("{spelling}{}", u8::from(has_tasks));
            let (accounts, entries) = entries(&name, at, has_tasks);
            credentials += &accounts;
            sources += &entries;
            gateways.push(gateway);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yml");
    let poll = "poll: {interval: 2s, idle_interval: 2s, timeout: 20s}\n";
    fs::write(&file, format!("{poll}credentials:\n{credentials}sources:\n{sources}")).unwrap();

    let mut command = Command::new(env!("CARGO_BIN_EXE_dbtask-exporter"));
    command.args(["--log.level=trace"]);
    let exporter = Exporter::start_as(command, &file, &folder.path().join("journal"));
    let count = sources.lines().count();
    // Tasks have to be seen failing, and a session is asked for but once in ten seconds.
    let text = exporter
        .until("each has been polled", |text| {
            let polls = text.lines().filter(|line| line.starts_with("dbtask_source_polls_total{"));
            polls.filter(|line| !line.ends_with(" 0")).count() == count
                && gateways.iter().all(|it| !it.has_tasks || *it.lists.lock().unwrap() > 3)
        })
        .await;
    sleep(Duration::from_secs(1)).await;
    let mut output = text;
    let mut pages = String::new();
    for path in ["/", "/api/v1/tasks", "/api/v1/sources"] {
        pages += &exporter.ask("GET", path).await.unwrap();
    }
    let log = exporter.log();
    exporter.kill().await;
    let mut check = Command::new(env!("CARGO_BIN_EXE_dbtask-exporter"));
    check.args(["check", "--online", "--log.level=trace"]).arg(&file);
    let checked = check.output().await.unwrap();
    let checked = [checked.stdout, checked.stderr].concat();
    let checked = String::from_utf8(checked).unwrap();

    for (part, words) in [("log", &log), ("pages", &pages), ("check", &checked)] {
        for (spelling, _) in SPELLINGS {
            let about = |line: &&str| line.contains(&format!("{spelling}0-"));
            let shown = words.lines().filter(about).any(|line| line.contains("***"));
            assert!(part == "pages" || shown, "nothing of {spelling} is in the {part}:\n{words}");
        }
        assert!(words.matches("***").count() > count, "{part}: {words}");
        output += words;
    }
    let mut leaks = BTreeSet::new();
    for gateway in gateways {
        let written = std::mem::take(&mut *gateway.written.lock().unwrap());
        assert!(written.len() > 8, "{written:?}");
        for trace in written.iter().flat_map(|spelled| traces(spelled)) {
            if let Some(line) = output.lines().find(|line| line.contains(&trace)) {
                leaks.insert(format!("{trace}: {}", line.chars().take(2000).collect::<String>()));
            }
        }
    }
    let leaks: Vec<_> = leaks.into_iter().collect();
    assert!(leaks.is_empty(), "{} leaks\n{}", leaks.len(), leaks.join("\n"));
    assert!(!output.contains(MARK), "{output}");
}

/// Refuses everything by quoting what it was asked with, in one spelling.
#[derive(Debug)]
struct Quoter(Spell);

impl Quoter {
    /// The token of a pod, and what else the request holds.
    fn quoted(&self, request: &Request<Bytes>) -> String {
        let mut all = vec![request.uri().to_string(), format!("{MARK}PodToken/+/w0.e30.aGVsbG8w")];
        let headers = request.headers().values().map(|value| value.to_str().unwrap().to_owned());
        all.extend(headers.filter(|value| value.contains(MARK)));
        all.iter().map(|it| (self.0)(it)).collect::<Vec<_>>().join(" and ")
    }
}

impl Transport for Quoter {
    fn send(&self, request: Request<Bytes>) -> Sending<'_> {
        let path = request.uri().path();
        let body = match path {
            "/latest/api/token" | "/meta-data/latest/api/token" => format!("{MARK}MetadataToken1"),
            path if path.ends_with("/security-credentials/") => "role".to_owned(),
            // Of what it is about, a metadata service says no more than this.
            path if path.contains("/security-credentials/") || path.contains("credentials-of") => {
                json!({"Code": self.quoted(&request)}).to_string()
            }
            _ => {
                let words = self.quoted(&request);
                let error = json!({"Code": "InvalidParameter", "Message": words});
                let code = json!({"code": 400, "message": words});
                json!({"Code": "InvalidParameter", "Message": words, "Response": {"Error": error},
                       "error": code})
                .to_string()
            }
        };
        let is_token = path.ends_with("/token") || path.ends_with("/security-credentials/");
        let status =
            if is_token || body.starts_with("{\"Code\":\"InvalidParameter\"") { 400 } else { 200 };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = if is_token { 200 } else { status }.try_into().unwrap();
        Box::pin(async { Ok(response) })
    }
}

#[tokio::test]
async fn whatever_is_quoted_by_those_who_hand_out_sessions_is_shown_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, format!("{MARK}PodToken/+/w0.e30.aGVsbG8w")).unwrap();
    let token = token.to_str().unwrap();
    let uri = format!("http://127.0.0.1:1/credentials-of/{MARK}Uri?a={MARK}Query");
    let ways: [(Cloud, &[(&str, &str)]); 8] = [
        (Cloud::Alibaba, &[]),
        (Cloud::Huawei, &[]),
        (Cloud::Tencent, &[]),
        (Cloud::Alibaba, &[("ALIBABA_CLOUD_CREDENTIALS_URI", &uri)]),
        (
            Cloud::Huawei,
            &[
                ("HC_CONTAINER_CREDENTIALS_FULL_URI", &uri),
                ("HC_CONTAINER_AUTHORIZATION_TOKEN_FILE", token),
            ],
        ),
        (
            Cloud::Alibaba,
            &[
                ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/r"),
                ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/p"),
                ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", token),
            ],
        ),
        (
            Cloud::Huawei,
            &[("HUAWEICLOUD_SDK_IDP_ID", "idp"), ("HUAWEICLOUD_SDK_ID_TOKEN_FILE", token)],
        ),
        (
            Cloud::Tencent,
            &[
                ("TKE_REGION", "ap-guangzhou"),
                ("TKE_PROVIDER_ID", "cls-x"),
                ("TKE_WEB_IDENTITY_TOKEN_FILE", token),
                ("TKE_ROLE_ARN", "qcs::cam::uin/1:roleName/r"),
            ],
        ),
    ];
    let mut redacted = 0;
    for (spelling, spell) in SPELLINGS {
        for (cloud, variables) in ways {
            let environment: Environment = variables.iter().copied().collect();
            let provider = Provider::default_chain(cloud, environment);
            let quoter = Quoter(spell);
            let around = Around::default();
            let error = issued(&provider, &around.outside(&quoter, &quoter)).await.unwrap_err();
            let said = format!("{error} {error:?}");
            redacted += usize::from(said.contains("***"));
            let secrets = [format!("{MARK}PodToken/+/w0.e30.aGVsbG8w"), uri.clone()];
            for trace in secrets.iter().flat_map(|secret| traces(&spell(secret))) {
                assert!(!said.contains(&trace), "{spelling} of {cloud} {variables:?}: {said}");
            }
            assert!(!said.contains(MARK), "{spelling} of {cloud} {variables:?}: {said}");
        }
    }
    assert!(redacted >= SPELLINGS.len() * 3, "{redacted}");
}
