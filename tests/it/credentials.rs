//! Where keys come from: the vendors' files, the metadata service of a machine, the token of a pod,
//! and roles; how long they are used, and what is said when there are none.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::cloud::{Cloud, Credentials};
use dbtask_clouds::model::Timestamp;
use dbtask_clouds::transport::{Sending, Transport, TransportError};
use dbtask_exporter::config::Config;
use dbtask_exporter::credentials::{Outside, Provider};
use dbtask_exporter::platform::environment::Environment;
use dbtask_simulator::{Fault, FaultKind};
use http::{Request, Response};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::{Around, Lab, issued, one_task};

const NOW: i64 = 1_790_000_000;

/// Names and values.
type Variables<'a> = &'a [(&'a str, &'a str)];

type Answering = Box<dyn Fn(&Request<Bytes>) -> Option<Response<Bytes>> + Send + Sync>;

/// Something that answers requests, and notes them.
struct Service {
    answer: Mutex<Answering>,
    log: Mutex<Vec<String>>,
    delay: Duration,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl Service {
    fn new(
        answer: impl Fn(&Request<Bytes>) -> Option<Response<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        let (answer, log) = (Mutex::new(Box::new(answer) as Answering), Mutex::default());
        Self { answer, log, delay: Duration::from_secs(1) }
    }

    /// Nobody is there.
    fn none() -> Self {
        Self::new(|_| None)
    }

    /// From now on it answers otherwise.
    fn change(
        &self,
        answer: impl Fn(&Request<Bytes>) -> Option<Response<Bytes>> + Send + Sync + 'static,
    ) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    /// What was asked since the last look.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

impl Transport for Service {
    fn send(&self, request: Request<Bytes>) -> Sending<'_> {
        let mut line = format!("{} {}", request.method(), request.uri());
        for (name, value) in request.headers() {
            let shown = name.as_str().contains("metadata") || name == "authorization";
            if shown && !value.as_bytes().starts_with(b"ACS3") {
                write!(line, " {name}={}", value.to_str().unwrap()).unwrap();
            }
        }
        self.log.lock().unwrap().push(line);
        let answer = (self.answer.lock().unwrap())(&request);
        Box::pin(async move {
            sleep(self.delay).await;
            answer.ok_or(TransportError::Timeout)
        })
    }
}

#[allow(clippy::unnecessary_wraps, reason = "what a service may answer: perhaps nothing")]
fn reply(status: u16, body: impl Into<Value>) -> Option<Response<Bytes>> {
    let body = body.into();
    let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status.try_into().unwrap();
    Some(response)
}

/// A world in virtual time.
struct World {
    cloud: Service,
    machine: Service,
    start: Instant,
    around: Around,
}

impl World {
    fn new(machine: Service) -> Self {
        Self { cloud: Service::none(), machine, start: Instant::now(), around: Around::default() }
    }

    fn outside(&self) -> Outside<'_> {
        self.around.outside(&self.cloud, &self.machine)
    }

    /// Id, secret and token, with blanks between them, or what is wrong.
    async fn keys(&self, provider: &Provider) -> Result<String, String> {
        let credentials = issued(provider, &self.outside()).await.map_err(|error| {
            let shown = format!("{error:?}");
            assert!(!shown.contains("KEEP"), "{shown}");
            error.to_string()
        })?;
        let Credentials::Keys(keys) = &*credentials else { panic!("{credentials:?}") };
        let token = keys.security_token.as_ref().map_or("-", |token| token.expose_secret());
        Ok(format!("{} {} {token}", keys.access_key_id, keys.secret_access_key.expose_secret()))
    }

    async fn minutes(&self, minutes: u64) {
        sleep(Duration::from_mins(minutes)).await;
    }
}

fn chain(cloud: Cloud, variables: Variables<'_>) -> Provider {
    Provider::default_chain(cloud, variables.iter().copied().collect::<Environment>())
}

fn ends(provider: &Provider) -> Option<i64> {
    provider.ends().map(|end| end.as_second() - NOW)
}

/// `yyyy-MM-ddTHH:mm:ssZ`, so many seconds after the start.
fn at(seconds: i64) -> String {
    Timestamp::from_second(NOW + seconds).unwrap().to_string()
}

fn alibaba(id: &str, end: i64) -> Value {
    json!({
        "Code": "Success", "AccessKeyId": id, "AccessKeySecret": "KEEP", "SecurityToken": "T",
        "Expiration": at(end), "LastUpdated": at(0),
    })
}

const ALIBABA_ROLE: &str = "/latest/meta-data/ram/security-credentials/";

/// Alibaba's service with a role, whose keys end so many seconds after the start.
fn alibaba_service(id: &'static str, end: i64) -> Service {
    Service::new(move |request| match request.uri().path() {
        "/latest/api/token" => reply(200, "TOKEN\n"),
        ALIBABA_ROLE => reply(200, "polls\n"),
        _ => reply(200, alibaba(id, end)),
    })
}

#[tokio::test(start_paused = true)]
async fn the_role_of_an_alibaba_machine_is_asked_for_with_a_token() {
    let world = World::new(alibaba_service("ID", 3600));
    let provider = chain(Cloud::Alibaba, &[]);
    assert_eq!(ends(&provider), None);
    assert_eq!(world.keys(&provider).await.unwrap(), "ID KEEP T");
    assert_eq!(ends(&provider), Some(3600));
    let host = "http://100.100.100.200/latest";
    assert_eq!(
        world.machine.asked(),
        [
            format!("PUT {host}/api/token x-aliyun-ecs-metadata-token-ttl-seconds=21600"),
            format!(
                "GET {host}/meta-data/ram/security-credentials/ x-aliyun-ecs-metadata-token=TOKEN"
            ),
            format!(
                "GET {host}/meta-data/ram/security-credentials/polls \
                 x-aliyun-ecs-metadata-token=TOKEN"
            ),
        ]
    );
    // It is not asked again as long as they last, and never anybody else.
    assert_eq!(world.keys(&provider).await.unwrap(), "ID KEEP T");
    assert_eq!(world.machine.asked(), [""; 0]);
    assert_eq!(world.cloud.asked(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_alibaba_machine_without_tokens_is_asked_without_one_unless_that_is_forbidden() {
    let old = || {
        World::new(Service::new(|request| match request.uri().path() {
            _ if request.method() == "PUT" => reply(405, ""),
            ALIBABA_ROLE => reply(200, "polls"),
            _ => reply(200, alibaba("ID", 3600)),
        }))
    };
    let world = old();
    assert_eq!(world.keys(&chain(Cloud::Alibaba, &[])).await.unwrap(), "ID KEEP T");
    let forbidden = chain(Cloud::Alibaba, &[("ALIBABA_CLOUD_IMDSV1_DISABLED", "True")]);
    let error = old().keys(&forbidden).await.unwrap_err();
    assert!(error.ends_with("the instance metadata: HTTP status 405"), "{error}");
    // A token that is not taken is as good as none.
    let world = World::new(Service::new(|request| match request.uri().path() {
        "/latest/api/token" => reply(200, "TOKEN"),
        _ if request.headers().contains_key("x-aliyun-ecs-metadata-token") => reply(403, ""),
        ALIBABA_ROLE => reply(200, "polls"),
        _ => reply(200, alibaba("ID", 3600)),
    }));
    assert_eq!(world.keys(&chain(Cloud::Alibaba, &[])).await.unwrap(), "ID KEEP T");
    // A role that is given is not asked for.
    let world = World::new(alibaba_service("ID", 3600));
    let named = chain(Cloud::Alibaba, &[("ALIBABA_CLOUD_ECS_METADATA", "mine")]);
    world.keys(&named).await.unwrap();
    let asked = world.machine.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked[1].contains("/security-credentials/mine "), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn the_role_of_a_tencent_machine_is_used() {
    const PATH: &str = "/latest/meta-data/cam/security-credentials/";
    let world = World::new(Service::new(|request| match request.uri().path() {
        PATH => reply(200, "polls\n"),
        _ => reply(
            200,
            json!({
                "TmpSecretId": "ID", "TmpSecretKey": "KEEP", "Token": "T", "Code": "Success",
                "ExpiredTime": NOW + 7200, "Expiration": at(7200),
            }),
        ),
    }));
    let provider = chain(Cloud::Tencent, &[]);
    assert_eq!(world.keys(&provider).await.unwrap(), "ID KEEP T");
    assert_eq!(ends(&provider), Some(7200));
    let uri = format!("http://metadata.tencentyun.com{PATH}");
    assert_eq!(world.machine.asked(), [format!("GET {uri}"), format!("GET {uri}polls")]);
}

#[tokio::test(start_paused = true)]
async fn the_agency_of_a_huawei_machine_is_asked_for_with_a_token_where_there_are_tokens() {
    for status in [200, 404, 405, 503] {
        let world = World::new(Service::new(move |request| {
            let keys = json!({
                "access": "ID", "secret": "KEEP", "securitytoken": "T",
                "expires_at": at(86_400).replace('Z', ".372000Z"),
            });
            match request.uri().path() {
                "/meta-data/latest/api/token" => reply(status, "TOKEN"),
                _ => reply(200, json!({"credential": keys})),
            }
        }));
        let provider = chain(Cloud::Huawei, &[]);
        assert_eq!(world.keys(&provider).await.unwrap(), "ID KEEP T");
        assert_eq!(ends(&provider), Some(86_400));
        let host = "http://169.254.169.254";
        let token = if status == 200 { " x-metadata-token=TOKEN" } else { "" };
        assert_eq!(
            world.machine.asked(),
            [
                format!("PUT {host}/meta-data/latest/api/token x-metadata-token-ttl-seconds=21600"),
                format!("GET {host}/openstack/latest/securitykey{token}"),
            ]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_without_a_role_is_told_from_one_without_an_answer() {
    let none = World::new(Service::new(|request| match request.uri().path() {
        "/openstack/latest/securitykey" => {
            reply(401, "Please configure Cloud Service Agency first")
        }
        _ => reply(404, "<html>not found</html>"),
    }));
    for cloud in Cloud::ALL {
        let error = none.keys(&chain(cloud, &[])).await.unwrap_err();
        let told = "the instance metadata: no role is bound to this machine";
        assert!(error.ends_with(told), "{error}");
    }
    let nowhere = World::new(Service::none());
    assert_eq!(
        nowhere.keys(&chain(Cloud::Tencent, &[("HOME", "/nonexistent")])).await.unwrap_err(),
        "no credentials for tencent: the environment variables TENCENTCLOUD_SECRET_ID and \
         TENCENTCLOUD_SECRET_KEY are not set; the environment variables TKE_REGION, \
         TKE_PROVIDER_ID, TKE_WEB_IDENTITY_TOKEN_FILE and TKE_ROLE_ARN are not set; \
         /nonexistent/.tencentcloud/credentials does not exist; /etc/tencentcloud/credentials does \
         not exist; the instance metadata: no answer in time"
    );
    let off = chain(Cloud::Alibaba, &[("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")]);
    let error = nowhere.keys(&off).await.unwrap_err();
    assert!(error.ends_with("ALIBABA_CLOUD_ECS_METADATA_DISABLED is true"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_session_is_renewed_before_it_ends() {
    // 15 minutes before, or a quarter of its life.
    for (life, due) in [(3600, 2700), (7200, 6300), (1200, 900), (400, 300)] {
        let world = World::new(alibaba_service("OLD", life));
        let provider = chain(Cloud::Alibaba, &[]);
        world.keys(&provider).await.unwrap();
        world.machine.change(move |request| match request.uri().path() {
            ALIBABA_ROLE | "/latest/api/token" => reply(200, "word"),
            _ => reply(200, alibaba("NEW", life * 2)),
        });
        let almost = Instant::now() + Duration::from_secs(due)
            - world.start.elapsed()
            - Duration::from_secs(2);
        tokio::time::sleep_until(almost).await;
        assert_eq!(world.keys(&provider).await.unwrap(), "OLD KEEP T");
        sleep(Duration::from_secs(3)).await;
        assert_eq!(world.keys(&provider).await.unwrap(), "NEW KEEP T");
        assert_eq!(ends(&provider), Some(life * 2));
    }
}

#[tokio::test(start_paused = true)]
async fn the_old_session_is_used_until_it_really_ends() {
    let world = World::new(alibaba_service("OLD", 3600));
    let provider = chain(Cloud::Alibaba, &[]);
    world.keys(&provider).await.unwrap();
    world.machine.asked();
    world.machine.change(|_| reply(500, "KEEP"));
    while world.start.elapsed() < Duration::from_secs(3590) {
        assert_eq!(world.keys(&provider).await.unwrap(), "OLD KEEP T");
        sleep(Duration::from_secs(5)).await;
    }
    let tries = world.machine.asked().iter().filter(|line| line.starts_with("PUT")).count();
    assert!((20..40).contains(&tries), "{tries} tries in a quarter of an hour");
    sleep(Duration::from_secs(15)).await;
    let error = world.keys(&provider).await.unwrap_err();
    assert!(error.ends_with("the instance metadata: HTTP status 500"), "{error}");
    // It is back.
    world.machine.change(|request| match request.uri().path() {
        ALIBABA_ROLE | "/latest/api/token" => reply(200, "word"),
        _ => reply(200, alibaba("NEW", 9000)),
    });
    sleep(Duration::from_secs(30)).await;
    assert_eq!(world.keys(&provider).await.unwrap(), "NEW KEEP T");
}

#[tokio::test(start_paused = true)]
async fn one_request_for_a_session_is_under_way_at_a_time() {
    let world = World::new(alibaba_service("OLD", 3600));
    let provider = chain(Cloud::Alibaba, &[]);
    // None has any: all wait for the first.
    let (a, b, c) =
        tokio::join!(world.keys(&provider), world.keys(&provider), world.keys(&provider));
    assert_eq!([a, b, c].map(Result::unwrap), ["OLD KEEP T"; 3]);
    assert_eq!(world.machine.asked().len(), 3);
    // There are old ones: nobody waits but who asks.
    world.minutes(50).await;
    let begun = Instant::now();
    let waits = async {
        let keys = world.keys(&provider).await.unwrap();
        (keys, begun.elapsed().as_secs())
    };
    let others = async {
        let keys = world.keys(&provider).await.unwrap();
        (keys, begun.elapsed().as_secs())
    };
    let (first, second) = tokio::join!(waits, others);
    assert_eq!((first.1, second), (3, ("OLD KEEP T".to_owned(), 0)));
    assert_eq!(world.machine.asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_is_not_asked_at_every_call() {
    let world = World::new(Service::none());
    let provider = chain(Cloud::Huawei, &[]);
    for _ in 0..720 {
        world.keys(&provider).await.unwrap_err();
        sleep(Duration::from_secs(5)).await;
    }
    let tries = world.machine.asked().len() / 2;
    assert!((60..130).contains(&tries), "{tries} tries in an hour");
}

#[tokio::test(start_paused = true)]
async fn keys_that_the_vendor_calls_ended_are_not_used_again() {
    let world = World::new(alibaba_service("OLD", 36_000));
    let provider = chain(Cloud::Alibaba, &[]);
    let used = issued(&provider, &world.outside()).await.unwrap();
    assert!(!provider.end(&used), "those that have only just come: another try is in vain");
    world.minutes(2).await;
    world.machine.change(|request| match request.uri().path() {
        ALIBABA_ROLE | "/latest/api/token" => reply(200, "word"),
        _ => reply(200, alibaba("NEW", 36_000)),
    });
    assert!(provider.end(&used));
    assert_eq!(world.keys(&provider).await.unwrap(), "NEW KEEP T");
    assert!(provider.end(&used), "others are there already");
    assert_eq!(world.machine.asked().len(), 6);
    let fixed = chain(
        Cloud::Tencent,
        &[("TENCENTCLOUD_SECRET_ID", "ID"), ("TENCENTCLOUD_SECRET_KEY", "KEY")],
    );
    let used = issued(&fixed, &world.outside()).await.unwrap();
    assert!(!fixed.end(&used));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_clock_of_ours_does_not_keep_a_session_from_being_tried() {
    let world = World::new(alibaba_service("ID", -7200));
    let provider = chain(Cloud::Alibaba, &[]);
    assert_eq!(world.keys(&provider).await.unwrap(), "ID KEEP T");
    assert_eq!(world.keys(&provider).await.unwrap(), "ID KEEP T");
    assert_eq!(world.machine.asked().len(), 3, "and it is not asked for at every call");
}

/// A home with these files.
fn home(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        write(folder.path(), path, text);
    }
    folder
}

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[tokio::test(start_paused = true)]
async fn keys_are_found_in_the_files_of_the_vendors_tools_and_followed() {
    let cases = [
        (
            Cloud::Alibaba,
            ".aliyun/config.json",
            r#"{"current": "b", "profiles": [{"name": "a", "mode": "AK", "access_key_id": "x"},
                {"name": "b", "mode": "AK", "access_key_id": "ID", "access_key_secret": "KEEP",
                 "sts_token": "of another mode"}]}"#,
            "ID KEEP -",
        ),
        (
            Cloud::Alibaba,
            ".aliyun/config.json",
            r#"{"current": "b", "profiles": [{"name": "b", "mode": "StsToken",
                "access_key_id": "ID", "access_key_secret": "KEEP", "sts_token": "T"}]}"#,
            "ID KEEP T",
        ),
        (
            Cloud::Alibaba,
            ".alibabacloud/credentials.ini",
            "[other]\naccess_key_id = x\n[default]\ntype = access_key # the usual\n\
             access_key_id = ID # mine\naccess_key_secret = KEEP\n",
            "ID KEEP -",
        ),
        (
            Cloud::Alibaba,
            ".alibabacloud/credentials",
            "[default]\naccess_key_id=ID\naccess_key_secret=KEEP\n",
            "ID KEEP -",
        ),
        (Cloud::Huawei, ".huaweicloud/credentials", "[basic]\nak = ID\nsk = KEEP\n", "ID KEEP -"),
        (
            Cloud::Huawei,
            ".huaweicloud/credentials",
            "[global]\nak = x\n[basiccredentials]\nak = ID\nsk = KEEP\nsecurity_token = T\n\
             [basic]\nak = y\nsk = y\n",
            "ID KEEP T",
        ),
        (
            Cloud::Tencent,
            ".tencentcloud/credentials",
            "[default]\nsecret_id = ID\nsecret_key = KEEP\nrole_arn = unused\n",
            "ID KEEP -",
        ),
    ];
    for (cloud, path, text, expected) in cases {
        let home = home(&[(path, text)]);
        let world = World::new(Service::none());
        let provider = chain(cloud, &[("HOME", home.path().to_str().unwrap())]);
        assert_eq!(world.keys(&provider).await.as_deref(), Ok(expected), "{path}: {text}");
        assert_eq!(ends(&provider), None);
        assert_eq!(world.machine.asked(), [""; 0]);
        write(home.path(), path, &text.replace("KEEP", "CHANGED"));
        let changed = expected.replace("KEEP", "CHANGED");
        assert_eq!(world.keys(&provider).await, Ok(changed), "{path}");
        fs::remove_file(home.path().join(path)).unwrap();
        let error = world.keys(&provider).await.unwrap_err();
        assert!(error.contains(&format!("{path} does not exist")), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn variables_name_other_files_and_profiles() {
    let home = home(&[
        (
            "a.json",
            r#"{"current": "x", "profiles": [{"name": "p", "mode": "AK",
            "access_key_id": "ID", "access_key_secret": "KEEP"}]}"#,
        ),
        (
            "a.ini",
            "[default]\naccess_key_id = x\n[p]\naccess_key_id = ID\naccess_key_secret = INI\n",
        ),
        ("h", "[basic]\nak = ID\nsk = KEEP\n"),
        ("t", "[default]\nsecret_id = ID\nsecret_key = KEEP\n"),
    ]);
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (json, ini, huawei, tencent) = (path("a.json"), path("a.ini"), path("h"), path("t"));
    let cases: &[(Cloud, Variables<'_>, &str)] = &[
        (
            Cloud::Alibaba,
            &[("ALIBABA_CLOUD_CONFIG_FILE", &json), ("ALIBABA_CLOUD_PROFILE", "p")],
            "ID KEEP -",
        ),
        (
            Cloud::Alibaba,
            &[
                ("ALIBABA_CLOUD_CONFIG_FILE", &json),
                ("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "TRUE"),
                ("ALIBABA_CLOUD_CREDENTIALS_FILE", &ini),
                ("ALIBABA_CLOUD_PROFILE", "p"),
            ],
            "ID INI -",
        ),
        (Cloud::Huawei, &[("HUAWEICLOUD_SDK_CREDENTIALS_FILE", &huawei)], "ID KEEP -"),
        (Cloud::Tencent, &[("TENCENTCLOUD_CREDENTIALS_FILE", &tencent)], "ID KEEP -"),
    ];
    let world = World::new(Service::none());
    for (cloud, variables, expected) in cases {
        assert_eq!(world.keys(&chain(*cloud, variables)).await.as_deref(), Ok(*expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_there_and_wrong_is_told_and_not_passed_over() {
    let profile =
        |fields: &str| format!(r#"{{"current": "p", "profiles": [{{"name": "p", {fields}}}]}}"#);
    let cases = [
        (Cloud::Alibaba, ".aliyun/config.json", "{\n\"KEEP".to_owned(), "is not JSON (line 2)"),
        (
            Cloud::Alibaba,
            ".aliyun/config.json",
            profile(r#""mode": "BearerToken""#),
            "the mode \"BearerToken\" of profile \"p\" is not supported",
        ),
        (
            Cloud::Alibaba,
            ".aliyun/config.json",
            profile(r#""mode": "ChainableRamRoleArn", "ram_role_arn": "r", "source_profile": "p""#),
            "its profiles stand on one another in a circle",
        ),
        (
            Cloud::Alibaba,
            ".aliyun/config.json",
            profile(r#""mode": "AK", "access_key_id": "ID""#),
            "has access_key_id and no access_key_secret",
        ),
        (
            Cloud::Alibaba,
            ".alibabacloud/credentials",
            "[default]\ntype = rsa_key_pair\n".to_owned(),
            "the type \"rsa_key_pair\" is not supported",
        ),
        (
            Cloud::Tencent,
            ".tencentcloud/credentials",
            "[default]\nsecret_id = ID\nsecret_key = SEC RET\n".to_owned(),
            "secret_key holds a blank or a line break",
        ),
    ];
    for (cloud, path, text, problem) in cases {
        let home = home(&[(path, &text)]);
        let world = World::new(alibaba_service("OTHER", 3600));
        let error = world.keys(&chain(cloud, &[("HOME", home.path().to_str().unwrap())])).await;
        let expected = format!("{}: {problem}", home.path().join(path).display());
        assert_eq!(error, Err(expected));
    }
    // A profile that nobody has filled in is none.
    let home = home(&[(
        ".aliyun/config.json",
        &profile(r#""mode": "AK", "access_key_id": "", "access_key_secret": """#),
    )]);
    let world = World::new(alibaba_service("ID", 3600));
    let provider = chain(Cloud::Alibaba, &[("HOME", home.path().to_str().unwrap())]);
    assert_eq!(world.keys(&provider).await.unwrap(), "ID KEEP T");
}

/// The body of a request as text.
fn body(request: &Request<Bytes>) -> String {
    String::from_utf8(request.body().to_vec()).unwrap()
}

/// The STS of the three vendors, which takes the pod's token `JWT` only.
fn sts(life: i64) -> Service {
    Service::new(move |request| {
        let (text, end) = (body(request), at(life));
        let query = request.uri().query().unwrap_or_default();
        assert!(!request.uri().to_string().contains("JWT"), "a token in an address");
        match request.uri().host().unwrap() {
            "sts.aliyuncs.com" if query.contains("Action=AssumeRoleWithOIDC&Format=JSON") => {
                if !text.contains("&OIDCToken=JWT&") {
                    let code = "AuthenticationFail.OIDCToken.Expired";
                    return reply(401, json!({"Code": code, "Message": "JWT", "RequestId": "1"}));
                }
                assert!(text.contains("RoleArn=acs%3Aram%3A%3A1%3Arole%2Fpolls"), "{text}");
                reply(200, json!({"RequestId": "1", "Credentials": alibaba("ID", life)}))
            }
            "sts.tencentcloudapi.com" => {
                let sent: Value = serde_json::from_str(&text).unwrap();
                let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
                assert_eq!(header("authorization"), "SKIP");
                assert_eq!(header("x-tc-action"), "AssumeRoleWithWebIdentity");
                assert_eq!(header("x-tc-region"), "ap-guangzhou");
                assert_eq!(
                    (&sent["ProviderId"], &sent["WebIdentityToken"]),
                    (&json!("P"), &json!("JWT"))
                );
                let keys = json!({"Token": "T", "TmpSecretId": "ID", "TmpSecretKey": "KEEP"});
                let answer =
                    json!({"Credentials": keys, "ExpiredTime": NOW + life, "Expiration": end});
                reply(200, json!({"Response": answer}))
            }
            "sts.cn-north-4.myhuaweicloud.com" => {
                let sent: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(request.uri().path(), "/v5/agencies/assume-with-oidc");
                assert_eq!(
                    (&sent["id_token"], &sent["policy_ids"]),
                    (&json!("JWT"), &json!(["a", "b"]))
                );
                let keys = json!({
                    "access_key_id": "ID", "secret_access_key": "KEEP", "security_token": "T",
                    "expiration": end,
                });
                reply(200, json!({"credentials": keys}))
            }
            "iam.myhuaweicloud.com" => huawei_iam(request, &end),
            _ => None,
        }
    })
}

/// IAM, as identity providers and agencies use it.
fn huawei_iam(request: &Request<Bytes>, end: &str) -> Option<Response<Bytes>> {
    let sent: Value = serde_json::from_str(&body(request)).unwrap();
    if request.uri().path() == "/v3.0/OS-AUTH/id-token/tokens" {
        assert_eq!(request.headers()["x-idp-id"], "P");
        assert_eq!(sent["auth"]["id_token"]["id"], "JWT");
        let mut answer = reply(201, json!({"token": {}}));
        let headers = answer.as_mut().unwrap().headers_mut();
        headers.insert("x-subject-token", "SUBJECT".parse().unwrap());
        return answer;
    }
    assert_eq!(request.uri().path(), "/v3.0/OS-CREDENTIAL/securitytokens");
    let identity = &sent["auth"]["identity"];
    match identity["methods"][0].as_str().unwrap() {
        "token" => assert_eq!(identity["token"]["id"], "SUBJECT"),
        "assume_role" => {
            let signed = request.headers()["authorization"].to_str().unwrap();
            assert!(signed.starts_with("SDK-HMAC-SHA256 Access=LONG,"), "{signed}");
            assert_eq!(identity["assume_role"]["agency_name"], "polls");
            assert_eq!(identity["assume_role"]["domain_name"], "theirs");
        }
        other => panic!("{other}"),
    }
    let keys = json!({"access": "ID", "secret": "KEEP", "securitytoken": "T", "expires_at": end});
    reply(201, json!({"credential": keys}))
}

#[tokio::test(start_paused = true)]
async fn a_pod_uses_its_own_role_and_not_that_of_its_machine() {
    let home = home(&[("token", "JWT\n")]);
    let token = home.path().join("token").to_str().unwrap().to_owned();
    let cases: &[(Cloud, Variables<'_>)] = &[
        (
            Cloud::Alibaba,
            &[
                ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/polls"),
                ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/ack"),
                ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", &token),
            ],
        ),
        (
            Cloud::Tencent,
            &[
                ("TKE_REGION", "ap-guangzhou"),
                ("TKE_PROVIDER_ID", "P"),
                ("TKE_ROLE_ARN", "qcs::cam::uin/1:roleName/polls"),
                ("TKE_WEB_IDENTITY_TOKEN_FILE", &token),
            ],
        ),
        (
            Cloud::Huawei,
            &[
                ("HUAWEICLOUD_OIDC_PROVIDER_URN", "iam::1:oidc-provider:cce"),
                ("HUAWEICLOUD_OIDC_AGENCY_URN", "iam::1:agency:polls"),
                ("HUAWEICLOUD_OIDC_TOKEN_FILE", &token),
                ("HUAWEICLOUD_OIDC_POLICY_IDS", "a, b"),
            ],
        ),
        (
            Cloud::Huawei,
            &[
                ("HUAWEICLOUD_SDK_IDP_ID", "P"),
                ("HUAWEICLOUD_SDK_ID_TOKEN_FILE", &token),
                // They lose.
                ("HUAWEICLOUD_SDK_AK", "x"),
                ("HUAWEICLOUD_SDK_SK", "x"),
            ],
        ),
    ];
    for (cloud, variables) in cases {
        let machine = alibaba_service("MACHINE", 3600);
        let world = World { cloud: sts(3600), ..World::new(machine) };
        let provider = chain(*cloud, variables);
        assert_eq!(world.keys(&provider).await.as_deref(), Ok("ID KEEP T"), "{cloud}");
        assert_eq!(ends(&provider), Some(3600));
        assert_eq!(world.machine.asked(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_token_of_a_pod_is_read_again_each_time_and_never_shown() {
    let home = home(&[("token", "OLD-JWT")]);
    let token = home.path().join("token");
    let world = World { cloud: sts(3600), ..World::new(Service::none()) };
    let provider = chain(
        Cloud::Alibaba,
        &[
            ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/polls"),
            ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/ack"),
            ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", token.to_str().unwrap()),
        ],
    );
    let error = world.keys(&provider).await.unwrap_err();
    assert!(error.starts_with("no keys from the token of the pod: AuthenticationFail.OIDCT"));
    assert!(!error.contains("JWT"), "{error}");
    fs::write(&token, "JWT").unwrap();
    world.minutes(6).await;
    assert_eq!(world.keys(&provider).await.unwrap(), "ID KEEP T");
    fs::remove_file(&token).unwrap();
    world.minutes(61).await;
    let error = world.keys(&provider).await.unwrap_err();
    assert!(error.starts_with(&format!("no keys from the token of the pod: {}", token.display())));
}

#[tokio::test(start_paused = true)]
async fn an_address_in_the_environment_counts_before_the_machine() {
    let home = home(&[("token", "PASS")]);
    let token = home.path().join("token").to_str().unwrap().to_owned();
    let world = World::new(Service::new(|request| match request.uri().host().unwrap() {
        "localhost" => {
            assert_eq!(request.uri().to_string(), "http://localhost:7/keys?of=me");
            reply(200, alibaba("ID", 3600))
        }
        "pod" => {
            assert_eq!(
                (request.headers()["authorization"].as_bytes(), &*body(request)),
                (&b"PASS"[..], "{}")
            );
            let keys = json!({
                "accessKeyId": "ID", "secretAccessKey": "KEEP", "securityToken": "T",
                "expiration": at(3600),
            });
            reply(200, json!({"credentials": keys}))
        }
        _ => None,
    }));
    let cases: &[(Cloud, Variables<'_>)] = &[
        (Cloud::Alibaba, &[("ALIBABA_CLOUD_CREDENTIALS_URI", "http://localhost:7/keys?of=me")]),
        (
            Cloud::Huawei,
            &[
                ("HC_CONTAINER_CREDENTIALS_FULL_URI", "http://pod/v1"),
                ("HC_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token),
            ],
        ),
    ];
    for (cloud, variables) in cases {
        assert_eq!(world.keys(&chain(*cloud, variables)).await.as_deref(), Ok("ID KEEP T"));
    }
}

/// The provider of the only entry of `credentials`, which is this.
fn entry(cloud: Cloud, fields: &str, variables: Variables<'_>) -> Arc<Provider> {
    let (api, region) = match cloud {
        Cloud::Alibaba => ("alibaba_adb", "cn-hangzhou"),
        Cloud::Huawei => ("huawei_dds", "cn-north-4"),
        Cloud::Tencent => ("tencent_cdb", "ap-guangzhou"),
    };
    let text = format!(
        "credentials: [{{name: k, cloud: {cloud}, {fields}}}]\n\
         sources: [{{name: a, api: {api}, region: {region}, credentials: k}}]\n"
    );
    let environment = variables.iter().copied().collect::<Environment>();
    let config = Config::parse(&text, "test.yml", &environment).unwrap();
    Arc::clone(&config.sources[0].credentials)
}

/// STS of Alibaba and Tencent, and Huawei's IAM, where a role is assumed by `LONG`.
fn roles(life: i64) -> Service {
    Service::new(move |request| {
        let text = body(request);
        let signed = request.headers()["authorization"].to_str().unwrap().to_owned();
        assert!(signed.contains("LONG"), "{signed}");
        let parameters = dbtask_clouds::signing::query::parameters(request);
        match request.uri().host().unwrap() {
            "sts.aliyuncs.com" => {
                assert_eq!(request.headers()["x-acs-action"], "AssumeRole");
                assert_eq!(parameters["RoleArn"], "acs:ram::1:role/polls");
                assert_eq!(parameters["RoleSessionName"], "dbtask-exporter");
                assert_eq!(parameters["DurationSeconds"], "1800");
                assert_eq!(parameters["ExternalId"], "agreed");
                reply(200, json!({"Credentials": alibaba("ID", life)}))
            }
            "sts.tencentcloudapi.com" => {
                let sent: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(request.headers()["x-tc-action"], "AssumeRole");
                assert!(signed.contains("/sts/tc3_request"), "{signed}");
                assert_eq!(sent["RoleArn"], "qcs::cam::uin/1:roleName/polls");
                assert_eq!(sent["ExternalId"], "agreed");
                let keys = json!({"Token": "T", "TmpSecretId": "ID", "TmpSecretKey": "KEEP"});
                reply(200, json!({"Response": {"Credentials": keys, "ExpiredTime": NOW + life}}))
            }
            "iam.myhuaweicloud.com" => huawei_iam(request, &at(life)),
            _ => None,
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_role_is_assumed_with_whatever_keys_there_are() {
    let cases = [
        (
            Cloud::Alibaba,
            "role_arn: 'acs:ram::1:role/polls', external_id: agreed, session_duration: 30m",
            "access_key_id: LONG, access_key_secret: KEEP",
            ["ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
        ),
        (
            Cloud::Tencent,
            "role_arn: 'qcs::cam::uin/1:roleName/polls', external_id: agreed",
            "secret_id: LONG, secret_key: KEEP",
            ["TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY"],
        ),
        (
            Cloud::Huawei,
            "agency_name: polls, agency_domain: theirs",
            "access_key: LONG, secret_key: KEEP",
            ["HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK"],
        ),
    ];
    for (cloud, role, keys, [id, secret]) in cases {
        let world = World { cloud: roles(1800), ..World::new(Service::none()) };
        let given = entry(cloud, &format!("{role}, {keys}"), &[]);
        let found = entry(cloud, role, &[(id, "LONG"), (secret, "KEEP")]);
        for provider in [given, found] {
            assert_eq!(world.keys(&provider).await.as_deref(), Ok("ID KEEP T"), "{cloud}");
            assert_eq!(ends(&provider), Some(1800));
            assert_eq!(world.keys(&provider).await.as_deref(), Ok("ID KEEP T"));
            assert_eq!(world.cloud.asked().len(), 1, "it is kept");
        }
    }
    // The keys of a machine may assume a role too.
    let machine = alibaba_service("LONG", 3600);
    let world = World { cloud: roles(1800), ..World::new(machine) };
    let provider = entry(Cloud::Alibaba, cases[0].1, &[]);
    assert_eq!(world.keys(&provider).await.as_deref(), Ok("ID KEEP T"));
}

#[tokio::test(start_paused = true)]
async fn a_profile_may_name_a_role_and_another_profile_whose_keys_assume_it() {
    let profiles = r#"{"current": "b", "profiles": [
        {"name": "a", "mode": "AK", "access_key_id": "LONG", "access_key_secret": "KEEP"},
        {"name": "b", "mode": "ChainableRamRoleArn", "source_profile": "a", "expired_seconds": 1800,
         "ram_role_arn": "acs:ram::1:role/polls", "external_id": "agreed",
         "ram_session_name": "dbtask-exporter"},
        {"name": "c", "mode": "RamRoleArn", "access_key_id": "LONG", "access_key_secret": "KEEP",
         "ram_role_arn": "acs:ram::1:role/polls", "external_id": "agreed", "expired_seconds": 1800},
        {"name": "d", "mode": "EcsRamRole", "ram_role_name": "mine"}]}"#;
    let home = home(&[(".aliyun/config.json", profiles)]);
    let world = World { cloud: roles(1800), ..World::new(alibaba_service("MACHINE", 3600)) };
    for (profile, expected) in [("b", "ID KEEP T"), ("c", "ID KEEP T"), ("d", "MACHINE KEEP T")] {
        let variables =
            [("HOME", home.path().to_str().unwrap()), ("ALIBABA_CLOUD_PROFILE", profile)];
        let provider = chain(Cloud::Alibaba, &variables);
        assert_eq!(world.keys(&provider).await.as_deref(), Ok(expected), "{profile}");
    }
    assert!(world.machine.asked().iter().any(|line| line.contains("/mine ")));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_may_not_assume_the_role_is_not_tried_until_it_is_locked() {
    let refused = Service::new(|_| {
        reply(404, json!({"Code": "InvalidAccessKeyId.NotFound", "Message": "", "RequestId": "1"}))
    });
    let world = World { cloud: refused, ..World::new(Service::none()) };
    let fields = "role_arn: 'acs:ram::1:role/polls', access_key_id: LONG, access_key_secret: KEEP";
    let provider = entry(Cloud::Alibaba, fields, &[]);
    for _ in 0..90 {
        let error = world.keys(&provider).await.unwrap_err();
        let words = ["InvalidAccessKeyId.NotFound", "the key has been refused several times"];
        assert!(words.iter().any(|words| error.contains(words)), "{error}");
        sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(world.cloud.asked().len(), 4, "three at once, and one in a quarter of an hour");
}

#[tokio::test(start_paused = true)]
async fn a_huawei_user_gets_a_token_that_is_renewed() {
    let cloud = Service::new(|request| {
        assert_eq!(
            request.uri().to_string(),
            "https://iam.cn-north-4.myhuaweicloud.com/v3/auth/tokens?nocatalog=true"
        );
        let sent: Value = serde_json::from_str(&body(request)).unwrap();
        let user = json!({"name": "polls", "password": "KEEP", "domain": {"name": "ours"}});
        assert_eq!(sent["auth"]["identity"]["password"]["user"], user);
        assert_eq!(sent["auth"]["scope"]["project"]["name"], "cn-north-4");
        let end = at(86_400).replace('Z', ".701000Z");
        let mut answer = reply(201, json!({"token": {"expires_at": end}}));
        let headers = answer.as_mut().unwrap().headers_mut();
        headers.insert("x-subject-token", "SUBJECT".parse().unwrap());
        answer
    });
    let world = World { cloud, ..World::new(Service::none()) };
    let fields = "user_name: polls, password: KEEP, domain_name: ours, project_name: cn-north-4";
    let provider = entry(Cloud::Huawei, fields, &[]);
    for _ in 0..2 {
        let credentials = issued(&provider, &world.outside()).await.unwrap();
        let Credentials::Token(token) = &*credentials else { panic!("keys") };
        assert_eq!(token.expose_secret(), "SUBJECT");
    }
    assert_eq!((world.cloud.asked().len(), ends(&provider)), (1, Some(86_400)));
    assert!(!format!("{provider:?}").contains("KEEP"));
}

/// A simulated source whose sessions live half an hour, polled with what the default chain finds.
fn on_a_machine(api: &str) -> Lab {
    let account = "
accounts: [{name: one, session: 30m}]
";
    let scenario = format!("{account}{}", one_task(api, "[{hang: {}}]"));
    Lab::new(&scenario, |config| {
        let cloud = config.sources[0].api.facts.cloud;
        config.sources[0].credentials = Arc::new(chain(cloud, &[]));
    })
}

#[tokio::test(start_paused = true)]
async fn a_source_lives_on_the_keys_of_its_machine() {
    for api in ["alibaba_polardb", "huawei_dds", "tencent_cdb"] {
        let lab = on_a_machine(api);
        lab.minutes(1).await;
        let expiry = "dbtask_source_credentials_expiry_timestamp_seconds{source=\"one\"}";
        let first = lab.value(expiry).unwrap();
        assert!((1_790_001_800..1_790_001_810).contains(&first), "{api}: {first}");
        for _ in 0..36 {
            lab.minutes(10).await;
            assert_eq!(lab.value("dbtask_source_up{source=\"one\"}"), Some(1), "{api}");
        }
        assert!(lab.value(expiry).unwrap() > first + 5 * 3600, "{api}");
        let fetched = lab.calls("Metadata");
        assert!((16..=18).contains(&fetched), "{api}: {fetched} sessions in six hours");
        assert_eq!(lab.sum("dbtask_api_request_failures_total"), 0, "{api}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_outlives_a_metadata_service_that_is_away_for_less_than_a_session() {
    let lab = on_a_machine("tencent_cdb");
    lab.minutes(20).await;
    lab.cloud.inject("one", fault(FaultKind::ServerError, "MetadataRole"));
    lab.minutes(9).await;
    assert_eq!(lab.value("dbtask_source_up{source=\"one\"}"), Some(1));
    lab.minutes(5).await;
    assert_eq!(lab.value("dbtask_source_up{source=\"one\"}"), Some(0));
    let error = lab.snapshot("one").last_error.clone().unwrap();
    assert!(error.contains("the instance metadata: HTTP status 503"), "{error}");
    lab.cloud.heal("one");
    lab.minutes(15).await;
    assert_eq!(lab.value("dbtask_source_up{source=\"one\"}"), Some(1));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn keys_that_end_before_their_time_are_replaced_within_the_poll() {
    let scenario = one_task("tencent_cdb", "[{hang: {}}]");
    let told = AtomicBool::new(false);
    let refusal = json!({"Response": {
        "Error": {"Code": "AuthFailure.TokenFailure", "Message": "Token verification failed."},
        "RequestId": "1",
    }});
    let lab = Lab::through(
        &scenario,
        |config| {
            config.sources[0].credentials = Arc::new(chain(Cloud::Tencent, &[]));
        },
        move |elapsed, request| {
            let is_list =
                request.headers().get("x-tc-action").is_some_and(|it| it == "DescribeTasks");
            let now = is_list && elapsed > Duration::from_mins(5);
            (now && !told.swap(true, Ordering::Relaxed))
                .then(|| reply(200, refusal.clone()).unwrap())
        },
    );
    for minute in 0..10 {
        lab.minutes(1).await;
        let up = lab.value("dbtask_source_up{source=\"one\"}");
        assert_eq!(up, Some(1), "in minute {minute}");
    }
    assert_eq!(lab.calls("Metadata"), 2);
    assert_eq!(lab.sum("dbtask_api_request_failures_total"), 1);
    lab.stop().await;
}

fn fault(kind: FaultKind, operation: &str) -> Fault {
    Fault { operation: Some(operation.to_owned()), ..Fault::new(kind) }
}

/// A token service whose clock is so far ahead, and that refuses any other time, as its vendor does.
fn sts_ahead(seconds: i64) -> Service {
    let (start, good) = (Instant::now(), sts(3600 + seconds));
    Service::new(move |request| {
        let theirs = Timestamp::from_second(NOW + seconds).unwrap() + start.elapsed();
        let parameters = dbtask_clouds::signing::query::parameters(request);
        let headers = request.headers();
        let sent = match (parameters.get("Timestamp"), headers.get("x-tc-timestamp")) {
            (Some(text), _) => text.parse::<jiff::Timestamp>().unwrap().as_second(),
            (_, Some(value)) => value.to_str().unwrap().parse().unwrap(),
            (None, None) => theirs.as_second(),
        };
        let is_near = sent.abs_diff(theirs.as_second()) <= 300;
        let mut answer = match request.uri().host().unwrap() {
            _ if is_near => (good.answer.lock().unwrap())(request),
            "sts.aliyuncs.com" => reply(400, json!({"Code": "InvalidTimeStamp.Expired"})),
            _ => {
                let error = json!({"Code": "AuthFailure.SignatureExpire", "Message": ""});
                reply(200, json!({"Response": {"Error": error, "RequestId": "1"}}))
            }
        };
        let date = theirs.to_jiff().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        answer.as_mut().unwrap().headers_mut().insert("date", date.parse().unwrap());
        answer
    })
}

#[tokio::test(start_paused = true)]
async fn the_token_of_a_pod_is_exchanged_however_wrong_our_clock_is() {
    let home = home(&[("token", "JWT\n")]);
    let token = home.path().join("token").to_str().unwrap().to_owned();
    let alibaba = [
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/polls"),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/ack"),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", token.as_str()),
    ];
    let tencent = [
        ("TKE_REGION", "ap-guangzhou"),
        ("TKE_PROVIDER_ID", "P"),
        ("TKE_ROLE_ARN", "qcs::cam::uin/1:roleName/polls"),
        ("TKE_WEB_IDENTITY_TOKEN_FILE", token.as_str()),
    ];
    for seconds in [-90_000, -1200, 1200, 90_000] {
        for (cloud, variables) in
            [(Cloud::Alibaba, alibaba.as_slice()), (Cloud::Tencent, tencent.as_slice())]
        {
            let world = World { cloud: sts_ahead(seconds), ..World::new(Service::none()) };
            let provider = chain(cloud, variables);
            let keys = world.keys(&provider).await;
            assert_eq!(keys.as_deref(), Ok("ID KEEP T"), "{cloud} {seconds}");
            assert_eq!(world.cloud.asked().len(), 2, "{cloud} {seconds}");
            // It is renewed a quarter of an hour before its end, by the vendor's clock.
            world.minutes(44).await;
            world.keys(&provider).await.unwrap();
            assert_eq!(world.cloud.asked().len(), 0, "{cloud} {seconds}");
            world.minutes(2).await;
            world.keys(&provider).await.unwrap();
            assert_eq!(world.cloud.asked().len(), 1, "{cloud} {seconds}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_keys_that_are_refused_missing_or_unusable_are_auth() {
    let home = home(&[("token", "JWT\n")]);
    let token = home.path().join("token").to_str().unwrap().to_owned();
    let pod: [(&str, &str); 3] = [
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/polls"),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/ack"),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", &token),
    ];
    let uri = [("ALIBABA_CLOUD_CREDENTIALS_URI", "http://localhost:7/keys")];
    let coded = |status, code: &str| reply(status, json!({"Code": code, "RequestId": "1"}));
    let cases = [
        (coded(400, "Throttling.User"), "throttled"),
        (coded(503, "ServiceUnavailable"), "server"),
        (reply(502, "<html>"), "server"),
        (reply(429, ""), "throttled"),
        (reply(200, "<html>"), "decode"),
        (coded(403, "NoPermission"), "auth"),
        (coded(404, "EntityNotExist.Role"), "auth"),
        (coded(400, "AuthenticationFail.OIDCToken.Invalid"), "auth"),
        (None, "timeout"),
    ];
    for (answer, reason) in cases {
        for (variables, is_machine) in [(pod.as_slice(), false), (uri.as_slice(), true)] {
            let answer = answer.clone();
            let status = answer.as_ref().map(|it| it.status().as_u16());
            let (good, none) = (Service::new(move |_| answer.clone()), Service::none());
            let (cloud, machine) = if is_machine { (none, good) } else { (good, none) };
            let world = World { cloud, ..World::new(machine) };
            let lead = chain(Cloud::Alibaba, variables);
            let error = issued(&lead, &world.outside()).await.unwrap_err();
            // An address in the environment has no words.
            let expected = match status {
                Some(400 | 404) if is_machine => "client",
                _ => reason,
            };
            assert_eq!(error.reason().as_str(), expected, "{error}");
        }
    }
    let world = World::new(Service::none());
    for (variables, reason) in [
        ([("HOME", "/nonexistent"), ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")], "auth"),
        ([("HOME", "/nonexistent"), ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "")], "timeout"),
    ] {
        let provider = chain(Cloud::Alibaba, &variables);
        let error = issued(&provider, &world.outside()).await.unwrap_err();
        assert_eq!(error.reason().as_str(), reason, "{error}");
    }
}
