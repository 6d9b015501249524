//! Registering task ids: over real sockets, and in virtual time what becomes of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::catalog;
use dbtask_clouds::model::{TaskState, Timestamp};
use dbtask_exporter::config::{Config, RegistrationConfig};
use dbtask_exporter::metrics::{Encoding, Format, Instruments, Metrics};
use dbtask_exporter::platform::clock::Clock;
use dbtask_exporter::server::{MAX_BODY_BYTES, Registering, Token};
use dbtask_exporter::snapshot::{Snapshot, Store};
use dbtask_exporter::storage::{Contents, Journal};
use dbtask_exporter::track::registrations::{Kept, Limits, Refusal, Registrable, Registrations};
use dbtask_simulator::FaultKind;
use http::{Request, Response, StatusCode};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::exposed::{snapshot, source, task};
use crate::server::{Answer, Server};
use crate::support::{Lab, Log, value_in};

const TOKEN: &str = "8f2c1e0d5b7a4936";
const ADB: &str = r#"{"source": "adb", "id": "225685759", "resource": "am-bp1"}"#;

/// A server on which ids can be registered for three sources, and the folder of its token.
struct Desk {
    server: Server,
    instruments: Instruments,
    folder: TempDir,
}

impl Desk {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
        let mysql = snapshot(source("mysql"), vec![task("1")]);
        let instruments = Instruments::new().unwrap();
        let registering = Registering {
            registrations: Arc::new(registrations(2, None, instruments.clone())),
            token: Token::new(file),
        };
        let server = Server::registering(vec![mysql], instruments.clone(), Some(registering)).await;
        Self { server, instruments, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    async fn post_as(&self, token: &str, body: &str) -> Answer {
        let headers = format!(
            "authorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
        self.post_with(&headers, body).await
    }

    /// With these headers and nothing else.
    async fn post_with(&self, headers: &str, body: &str) -> Answer {
        let head = "POST /api/v1/tasks HTTP/1.1\r\nhost: here\r\nconnection: close\r\n";
        self.server.send(&format!("{head}{headers}\r\n{body}")).await
    }

    async fn post(&self, body: &str) -> Answer {
        self.post_as(TOKEN, body).await
    }

    async fn delete(&self, path: &str) -> Answer {
        let headers = format!("authorization: Bearer {TOKEN}\r\n");
        self.server.ask("DELETE", &format!("/api/v1/tasks/{path}"), &headers).await
    }

    fn count(&self) -> usize {
        let registering = self.server.app.registering.load_full().unwrap();
        let registrations = &registering.registrations;
        ["225685759", "225685760", "7"]
            .iter()
            .flat_map(|id| ["adb", "redis"].map(|source| registrations.get(source, id)))
            .flatten()
            .count()
    }
}

/// Room for so many, for the sources `adb`, `polardb` and `redis`; what was there before if there
/// is a folder.
fn registrations(tasks: usize, folder: Option<&Path>, instruments: Instruments) -> Registrations {
    restored(tasks, folder, instruments, Clock::System)
}

fn restored(
    tasks: usize,
    folder: Option<&Path>,
    instruments: Instruments,
    clock: Clock,
) -> Registrations {
    let sources =
        [("adb", "alibaba_adb"), ("polardb", "alibaba_polardb"), ("redis", "tencent_redis")].map(
            |(name, api)| {
                let api = catalog::named(api).unwrap();
                (name.to_owned(), Registrable { api, watchlist: Arc::default() })
            },
        );
    let (journal, mut contents) = match folder {
        Some(folder) => Journal::open(folder, instruments.clone()).unwrap(),
        None => (Journal::default(), Contents::default()),
    };
    let registrations =
        Registrations::restore(clock, instruments, Arc::new(journal), &mut contents);
    let limits = Limits { tasks, ttl: Duration::from_hours(7 * 24) };
    registrations.open(BTreeMap::from(sources), Some(limits));
    registrations
}

/// Room for ten thousand, in the journal in `folder`.
fn stored(folder: &Path) -> Registrations {
    registrations(10_000, Some(folder), Instruments::new().unwrap())
}

#[tokio::test]
async fn registering_twice_is_as_good_as_once() {
    let desk = Desk::open().await;
    let created = desk.post(ADB).await;
    assert_eq!(created.status(), 201);
    assert_eq!(created.header("location"), Some("/api/v1/tasks/adb/225685759"));
    let body = created.json();
    assert_eq!((&body["source"], &body["id"]), (&json!("adb"), &json!("225685759")));
    assert_eq!(body["resource"], "am-bp1");
    assert!(body["warning"].as_str().unwrap().starts_with("kept in memory only"), "{body}");
    assert_eq!(desk.post(ADB).await.status(), 200);
    // What is left out stays as it was.
    let again = desk.post(r#"{"source": "adb", "id": "225685759"}"#).await;
    assert_eq!((again.status(), &again.json()["resource"]), (200, &json!("am-bp1")));
    assert_eq!(desk.count(), 1);

    let shown = desk.server.get("/api/v1/tasks/adb/225685759").await.json();
    assert_eq!(shown["task"], json!(null), "no answer has contained it yet");
    assert_eq!(shown["registration"]["resource"], "am-bp1");

    for _ in 0..2 {
        let gone = desk.delete("adb/225685759").await;
        assert_eq!((gone.status(), gone.text()), (204, ""));
    }
    assert_eq!(desk.count(), 0);
    assert_eq!(desk.server.get("/api/v1/tasks/adb/225685759").await.status(), 404);
}

#[tokio::test]
async fn one_task_is_shown_without_a_token_hidden_ones_too() {
    let desk = Desk::open().await;
    let list = desk.server.get("/api/v1/tasks").await.json();
    let one = desk.server.get("/api/v1/tasks/mysql/1").await.json();
    assert_eq!(one, json!({"task": list["tasks"][0], "registration": null}));
    let mut crowded = snapshot(source("mysql"), vec![task("1")]);
    crowded.hidden = snapshot(source("mysql"), vec![task("am-1/resize/2026")]).tasks;
    desk.server.app.store.publish(crowded);
    let hidden = desk.server.get("/api/v1/tasks/mysql/am-1%2Fresize%2F2026").await.json();
    assert_eq!(hidden["task"]["id"], "am-1/resize/2026");
    for path in ["mysql/2", "nobody/1", "mysql/", "mysql", "mysql/%ff", "mysql/am-1/resize/2026"] {
        let none = desk.server.get(&format!("/api/v1/tasks/{path}")).await;
        assert_eq!(none.status(), 404, "{path}");
        assert!(none.json()["error"].is_string());
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_and_changes_nothing() {
    let desk = Desk::open().await;
    for (body, says) in [
        ("", "must be a JSON object"),
        (r#"["redis", "7", null]"#, "must be a JSON object"),
        (r#"{"source": "redis","#, "EOF while parsing"),
        (r#"{"source": "adb"}"#, "missing field `id`"),
        (r#"{"source": "adb", "id": 7}"#, "expected a string"),
        (r#"{"source": "adb", "id": "7", "id": "8"}"#, "duplicate field `id`"),
        (r#"{"source": "adb", "id": "7", "endpoint": "http://evil"}"#, "unknown field `endpoint`"),
        (r#"{"source": "adb", "id": "7", "access_key_secret": "x"}"#, "unknown field"),
        (r#"{"source": "adb", "id": "7"} {}"#, "trailing characters"),
        (
            r#"{"source": "mysql", "id": "7"}"#,
            "there is no such source; there are adb, polardb, redis",
        ),
        (r#"{"source": "adb", "id": "7"}"#, "needs a `resource`"),
        (r#"{"source": "adb", "id": "x", "resource": "am-1"}"#, "is not a task id of alibaba_adb"),
        (r#"{"source": "polardb", "id": "7"}"#, "alibaba_polardb cannot be asked for one task"),
        (
            r#"{"source": "redis", "id": "7", "resource": "a/b"}"#,
            "`resource`: \"a/b\" is not an id",
        ),
        (r#"{"source": "redis", "id": ""}"#, "`id`: \"\" is not an id"),
        (r#"{"source": "redis", "id": "7\n\u001b[2J"}"#, "`id`: \"7\\n\\u{1b}[2J\" is not an id"),
        (r#"{"source": "redis", "id": "007"}"#, "is not a task id of tencent_redis"),
        (r#"{"source": "redis", "id": "0"}"#, "there is nothing to wait for"),
        (r#"{"source": "redis", "id": "../7"}"#, "is not an id"),
    ] {
        let refused = desk.post(body).await;
        assert_eq!(refused.status(), 400, "{body}: {}", refused.text());
        let error = refused.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(says), "{body}: {error}");
    }
    assert_eq!(desk.delete("nobody/7").await.status(), 404);
    assert_eq!(desk.count(), 0);
}

#[tokio::test]
async fn what_is_registered_accepted_and_rejected_is_counted_from_zero() {
    let desk = Desk::open().await;
    // What is served may be a second old.
    let counted = || {
        let scrape =
            Metrics::new(desk.instruments.clone()).scrape(Format::Text, Encoding::Identity);
        let text = scrape.body.fold(Vec::new(), |text, bytes| [&*text, &*bytes].concat());
        ["accepted", "rejected"].map(|outcome| {
            let name = "dbtask_exporter_registration_requests_total";
            let series = format!("{name}{{outcome=\"{outcome}\"}}");
            value_in(std::str::from_utf8(&text).unwrap(), &series).unwrap()
        })
    };
    assert_eq!(counted(), [0, 0]);
    desk.post(ADB).await;
    desk.post(ADB).await;
    desk.delete("adb/225685759").await;
    assert_eq!(counted(), [3, 0]);
    desk.post("{}").await;
    desk.post_as("wrong", ADB).await;
    desk.server.ask("DELETE", "/api/v1/tasks/adb/225685759", "").await;
    desk.server.get("/api/v1/tasks/adb/225685759").await;
    assert_eq!(counted(), [3, 3]);
}

#[tokio::test]
async fn there_may_be_so_many_and_no_more() {
    let desk = Desk::open().await;
    let body = |id: u32| format!(r#"{{"source": "redis", "id": "{id}"}}"#);
    assert_eq!(
        (desk.post(&body(1)).await.status(), desk.post(&body(2)).await.status()),
        (201, 201)
    );
    let refused = desk.post(&body(3)).await;
    assert_eq!(refused.status(), 409);
    assert!(refused.text().contains("`registration.max_tasks`"), "{}", refused.text());
    assert_eq!(desk.post(&body(2)).await.status(), 200, "what is there may stay");
    assert_eq!(desk.delete("redis/1").await.status(), 204);
    assert_eq!(desk.post(&body(3)).await.status(), 201);
}

#[tokio::test]
async fn without_the_section_it_says_what_to_configure() {
    let server = Server::registering(
        vec![snapshot(source("mysql"), vec![])],
        Instruments::new().unwrap(),
        None,
    )
    .await;
    for (method, path) in [("POST", "/api/v1/tasks"), ("DELETE", "/api/v1/tasks/mysql/1")] {
        let refused = server.ask(method, path, "").await;
        assert_eq!(refused.status(), 403);
        assert!(refused.text().contains("no `registration` with a `token_file`"));
    }
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let desk = Desk::open().await;
    for (method, path, allowed) in [
        ("PUT", "/api/v1/tasks", "get, head, post"),
        ("POST", "/api/v1/tasks/adb/7", "get, head, delete"),
        ("DELETE", "/api/v1/tasks", "get, head, post"),
        ("POST", "/api/v1/sources", "get, head"),
    ] {
        let refused = desk.server.ask(method, path, "content-length: 0\r\n").await;
        assert_eq!((refused.status(), refused.header("allow")), (405, Some(allowed)), "{path}");
        assert!(refused.json()["error"].is_string());
    }
    assert_eq!(desk.server.ask("HEAD", "/api/v1/tasks/mysql/1", "").await.status(), 200);
}

#[tokio::test]
async fn only_the_token_in_the_file_as_it_is_now_opens_the_door() {
    let desk = Desk::open().await;
    for headers in [
        "",
        "authorization: Bearer \r\n",
        &format!("authorization: Basic {TOKEN}\r\n"),
        &format!("authorization: {TOKEN}\r\n"),
        &format!("authorization: Bearer {TOKEN}\r\nauthorization: Bearer {TOKEN}\r\n"),
    ] {
        let refused = desk.post_with(headers, "").await;
        assert_eq!(refused.status(), 401, "{headers}");
        let challenge = refused.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("bearer"), "{challenge}");
        assert!(!refused.text().contains("redis"), "names are told to nobody");
    }
    for wrong in ["x", &TOKEN[..15], &format!("{TOKEN}0"), "8F2C1E0D5B7A4936"] {
        let refused = desk.post_as(wrong, ADB).await;
        assert_eq!(refused.status(), 401, "{wrong}");
        assert!(refused.header("www-authenticate").unwrap().contains("invalid_token"));
    }
    let lower = format!("authorization: bearer {TOKEN}\r\n");
    assert_eq!(desk.post_with(&lower, "").await.status(), 415, "it is let in");

    std::fs::write(desk.file(), "another-token\r\n").unwrap();
    assert_eq!(desk.post(ADB).await.status(), 401, "the old one is no good any more");
    assert_eq!(desk.post_as("another-token", ADB).await.status(), 201);
    for useless in ["", "\n", "two words", "\u{e9}", &"x".repeat(70_000)] {
        std::fs::write(desk.file(), useless).unwrap();
        for token in ["another-token", useless.get(..9).unwrap_or("x")] {
            assert_eq!(desk.post_as(token, ADB).await.status(), 503);
        }
    }
    std::fs::remove_file(desk.file()).unwrap();
    let refused = desk.post_as("another-token", ADB).await;
    assert_eq!(refused.status(), 503);
    assert!(!refused.text().contains(desk.folder.path().to_str().unwrap()));
    std::fs::write(desk.file(), TOKEN).unwrap();
    assert_eq!(desk.post(ADB).await.status(), 200);
}

#[tokio::test]
async fn whoever_guesses_tokens_is_soon_turned_away_unread() {
    let desk = Arc::new(Desk::open().await);
    let mut guesses = JoinSet::new();
    for guess in 0..30 {
        let desk = Arc::clone(&desk);
        guesses.spawn(async move { desk.post_as(&format!("guess-{guess}"), ADB).await.status() });
    }
    let statuses = guesses.join_all().await;
    let wrong = statuses.iter().filter(|&&status| status == 401).count();
    assert_eq!((wrong, statuses.len() - wrong), (10, 20), "{statuses:?}");
    let refused = desk.post(ADB).await;
    assert_eq!(refused.status(), 429, "even the right one, for they may have found it");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=61).contains(&wait), "{wait}");
    assert_eq!(desk.server.get("/api/v1/tasks").await.status(), 200);
    assert_eq!(desk.count(), 0);
}

#[tokio::test]
async fn a_token_that_has_been_accepted_is_accepted_beside_any_number_of_guesses() {
    let desk = Desk::open().await;
    assert_eq!(desk.post(ADB).await.status(), 201);
    for guess in 0..30 {
        let status = desk.post_as(&format!("guess-{guess}"), ADB).await.status();
        assert_eq!(status, if guess < 10 { 401 } else { 429 });
        assert_eq!(desk.post(ADB).await.status(), 200);
    }
    std::fs::write(desk.file(), "another-token").unwrap();
    assert_eq!(desk.post(ADB).await.status(), 401, "it is not the one any more");
}

#[tokio::test]
async fn a_body_that_is_too_large_or_no_json_is_refused() {
    let desk = Desk::open().await;
    let large = " ".repeat(usize::try_from(MAX_BODY_BYTES).unwrap() + 1);
    assert_eq!(desk.post(&large).await.status(), 413);
    let open = format!("authorization: Bearer {TOKEN}\r\n");
    let chunked = format!("{open}content-type: application/json\r\ntransfer-encoding: chunked\r\n");
    let body = format!("{:x}\r\n{large}\r\n", large.len());
    assert_eq!(desk.post_with(&chunked, &body).await.status(), 413, "without its end");
    let body = format!("{:x}\r\n{ADB}\r\n0\r\n\r\n", ADB.len());
    assert_eq!(desk.post_with(&chunked, &body).await.status(), 201);
    let form =
        format!("{open}content-type: application/x-www-form-urlencoded\r\ncontent-length: 0\r\n");
    let refused = desk.post_with(&form, "").await;
    assert_eq!(refused.status(), 415);
    assert!(refused.text().contains("Content-Type: application/json"));
    let utf8 = format!(
        "{open}content-type: Application/JSON; charset=utf-8\r\ncontent-length: {}\r\n",
        ADB.len()
    );
    assert_eq!(desk.post_with(&utf8, ADB).await.status(), 200);
    let deep = "[".repeat(10_000);
    assert_eq!(desk.post(&deep).await.status(), 400);
}

#[tokio::test]
async fn what_is_answered_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    {
        let before = stored(folder.path());
        let made = before.register("redis", "7", Some("crs-1")).await.unwrap();
        assert_eq!((made.is_new, made.kept), (true, Kept::Durably));
        before.register("redis", "8", None).await.unwrap();
        assert_eq!(before.forget("redis", "8").await, Ok(Kept::Durably));
    }
    let after = stored(folder.path());
    let restored = after.get("redis", "7").unwrap();
    assert_eq!(restored.resource.as_deref(), Some("crs-1"));
    assert_eq!(after.get("redis", "8"), None);
    assert!(matches!(after.register("nobody", "7", None).await, Err(Refusal::UnknownSource(_))));
}

#[tokio::test]
async fn a_disk_in_trouble_is_a_warning_and_no_failure() {
    // Where a file is there can be no folder.
    let file = tempfile::NamedTempFile::new().unwrap();
    let registrations = stored(&file.path().join("journal"));
    let made = registrations.register("redis", "7", None).await.unwrap();
    assert_eq!((made.is_new, made.kept), (true, Kept::InMemoryForNow));
    assert!(registrations.get("redis", "7").is_some());
    assert_eq!(registrations.forget("redis", "7").await, Ok(Kept::InMemoryForNow));
    assert_eq!(registrations.get("redis", "7"), None);
}

/// Room for one, by this clock.
fn registrations_at(clock: Clock, folder: Option<&Path>) -> Registrations {
    restored(1, folder, Instruments::new().unwrap(), clock)
}

/// An ADB source, whose tasks no list names, and which nobody has configured.
fn adb(life: &str) -> String {
    format!(
        "
sources:
  - name: one
    api: alibaba_adb
    region: cn-hangzhou
    resources: [{{id: am-bp1}}]
    tasks: [{{id: '7', resource: am-bp1, life: {life}}}]
"
    )
}

fn open(config: &mut Config) {
    config.registration = Some(RegistrationConfig {
        token_file: PathBuf::from("/nowhere"),
        max_tasks: 10_000,
        ttl: Duration::from_hours(7 * 24),
    });
}

/// The same with a time to live of one day, and polls that come more rarely.
fn open_slow(config: &mut Config) {
    open(config);
    config.registration.as_mut().unwrap().ttl = Duration::from_hours(24);
    config.sources[0].poll.interval = Duration::from_mins(10);
    config.sources[0].poll.idle_interval = Duration::from_mins(30);
    config.sources[0].poll.stale_after = Duration::from_mins(45);
}

fn registered(lab: &Lab) -> Option<u64> {
    lab.value("dbtask_exporter_registrations")
}

fn asked(lab: &Lab) -> u64 {
    let series = "dbtask_api_requests_total{operation=\"DescribeTaskInfo\",source=\"one\"}";
    lab.value(series).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_registered_task_is_polled_at_once_followed_to_its_end_and_forgotten_after_its_retention()
{
    let lab = Lab::new(&adb("[{run: {for: 30m}}, {fail: {}}]"), open);
    lab.seconds(70).await;
    assert_eq!(lab.state("one", "7"), "-", "nobody has named it");
    lab.registrations().register("one", "7", Some("am-bp1")).await.unwrap();
    lab.seconds(1).await;
    let task = lab.task("one", "7").unwrap().task;
    assert_eq!((task.state.as_str(), task.origin.as_str()), ("running", "registered"));
    lab.minutes(30).await;
    assert_eq!(lab.state("one", "7"), "failed");
    let before = asked(&lab);
    lab.minutes(24 * 60 - 2).await;
    assert_eq!(asked(&lab), before, "an ended task is never asked for again");
    assert_eq!((lab.state("one", "7"), registered(&lab)), ("failed", Some(1)));
    lab.minutes(5).await;
    assert_eq!((lab.state("one", "7"), registered(&lab)), ("-", Some(0)));
    assert_eq!(lab.registrations().get("one", "7"), None);
    lab.stop().await;
}

/// A cloud without a list.
const UNLISTED: &str = "sources: [{name: one, api: huawei_dds, region: eu-de,
    resources: [{id: 0123in02}],
    tasks: [{id: '7', resource: 0123in02, life: [{run: {for: 30m}}, {fail: {}}]}]}]";

#[tokio::test(start_paused = true)]
async fn where_there_is_no_list_the_first_registered_task_is_polled_at_once_too() {
    let lab = Lab::new(UNLISTED, open);
    lab.seconds(70).await;
    assert!(!lab.snapshot("one").up, "it has nothing to ask");
    lab.registrations().register("one", "7", None).await.unwrap();
    lab.seconds(1).await;
    assert_eq!(lab.state("one", "7"), "running");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn where_there_is_no_list_a_source_whose_registered_tasks_are_over_stays_up() {
    let lab = Lab::new(UNLISTED, open);
    lab.registrations().register("one", "7", None).await.unwrap();
    lab.minutes(28 * 60).await;
    assert_eq!(registered(&lab), Some(0));
    assert!(lab.snapshot("one").up);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_taken_back_is_asked_for_no_more_and_goes_as_unknown() {
    let lab = Lab::new(&adb("[{hang: {}}]"), open);
    lab.registrations().register("one", "7", Some("am-bp1")).await.unwrap();
    lab.minutes(2).await;
    assert_eq!(lab.state("one", "7"), "running");
    let before = asked(&lab);
    lab.registrations().forget("one", "7").await.unwrap();
    lab.minutes(1).await;
    assert_eq!((lab.state("one", "7"), registered(&lab)), ("unknown", Some(0)));
    lab.minutes(61).await;
    assert_eq!((lab.state("one", "7"), asked(&lab)), ("-", before));
    assert!(lab.snapshot("one").up);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_id_that_the_vendor_never_knows_is_forgotten_after_its_time_to_live() {
    let lab = Lab::new(&adb("[{hang: {}}]"), open_slow);
    lab.minutes(1).await;
    lab.registrations().register("one", "404", Some("am-bp1")).await.unwrap();
    lab.minutes(24 * 60 - 5).await;
    assert_eq!(registered(&lab), Some(1));
    assert!(lab.snapshot("one").up, "it is no trouble");
    lab.minutes(10).await;
    assert_eq!(registered(&lab), Some(0));
    let before = asked(&lab);
    lab.minutes(60).await;
    assert_eq!(asked(&lab), before);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn registering_again_starts_the_time_to_live_anew() {
    let lab = Lab::new(&adb("[{hang: {}}]"), open_slow);
    for _ in 0..3 {
        lab.registrations().register("one", "404", Some("am-bp1")).await.unwrap();
        lab.minutes(20 * 60).await;
    }
    assert_eq!(registered(&lab), Some(1));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_cannot_be_asked_has_not_said_no() {
    let lab = Lab::new(&adb("[{hang: {}}]"), open_slow);
    lab.minutes(1).await;
    lab.inject("one", FaultKind::ServerError);
    lab.registrations().register("one", "7", Some("am-bp1")).await.unwrap();
    lab.minutes(25 * 60).await;
    assert_eq!((registered(&lab), lab.state("one", "7")), (Some(1), "-"));
    lab.cloud.heal("one");
    lab.minutes(20).await;
    assert_eq!((registered(&lab), lab.state("one", "7")), (Some(1), "running"));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_registered_task_that_goes_on_never_expires_though_the_limit_hides_it() {
    let lab = Lab::new(&adb("[{hang: {}}]"), |config| {
        open_slow(config);
        config.sources[0].limits.tasks_per_source = 0;
    });
    lab.registrations().register("one", "7", Some("am-bp1")).await.unwrap();
    lab.minutes(3 * 24 * 60).await;
    assert_eq!((registered(&lab), lab.state("one", "7")), (Some(1), "-"));
    let snapshot = lab.snapshot("one");
    assert_eq!(snapshot.task("7").unwrap().task.state.as_str(), "running");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_registered_task_that_vanishes_is_asked_for_until_a_time_to_live_after_it_was_last_seen()
{
    let life = "[{run: {for: 4h}}, {vanish: {for: 6h}}, {run: {for: 10h}}, {vanish: {}}]";
    let lab = Lab::new(&adb(life), open_slow);
    lab.registrations().register("one", "7", Some("am-bp1")).await.unwrap();
    lab.minutes(8 * 60).await;
    assert_eq!((lab.state("one", "7"), registered(&lab)), ("-", Some(1)));
    lab.minutes(4 * 60).await;
    assert_eq!(lab.state("one", "7"), "running", "it is back");
    // It goes for good after 20 hours, and from there its time to live is counted.
    lab.minutes(31 * 60).await;
    assert_eq!((lab.state("one", "7"), registered(&lab)), ("-", Some(1)));
    lab.minutes(2 * 60).await;
    assert_eq!(registered(&lab), Some(0));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn registrations_outlive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::stored(&adb("[{run: {for: 30m}}, {fail: {}}]"), folder.path(), open_slow).await;
    lab.minutes(1).await;
    lab.registrations().register("one", "7", Some("am-bp1")).await.unwrap();
    // Not even polled.
    let lab = lab.crash().await.start();
    assert_eq!(registered(&lab), Some(1));
    lab.seconds(6).await;
    assert_eq!(lab.state("one", "7"), "running");
    let down = lab.crash().await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    let lab = down.start();
    lab.seconds(6).await;
    assert_eq!(lab.state("one", "7"), "failed");
    let lab = lab.crash().await.start();
    lab.minutes(25 * 60).await;
    assert_eq!((lab.state("one", "7"), registered(&lab)), ("-", Some(0)));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn registrations_of_a_source_that_is_gone_wait_for_its_return_but_not_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::stored(&adb("[{hang: {}}]"), folder.path(), open_slow).await;
    lab.registrations().register("one", "7", Some("am-bp1")).await.unwrap();
    let mut down = lab.crash().await;
    let source = down.config.sources[0].clone();
    down.config.sources[0].name = "two".to_owned();
    let lab = down.start();
    lab.minutes(6 * 60).await;
    assert_eq!(registered(&lab), Some(1));
    let mut down = lab.crash().await;
    down.config.sources[0] = source;
    let lab = down.start();
    lab.minutes(1).await;
    assert_eq!(lab.state("one", "7"), "running", "as if it had never been away");
    let mut down = lab.crash().await;
    down.config.sources[0].name = "two".to_owned();
    let lab = down.start();
    lab.minutes(24 * 60).await;
    assert_eq!(registered(&lab), Some(0));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_registers_a_thousand_in_a_row_gets_a_few_polls() {
    let lab = Lab::new(&adb("[{hang: {}}]"), open);
    lab.minutes(1).await;
    let polls = || lab.value("dbtask_source_polls_total{source=\"one\"}").unwrap();
    let before = polls();
    for id in 0..1000 {
        lab.registrations().register("one", &id.to_string(), Some("am-bp1")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(polls() - before <= 3, "{}", polls() - before);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn thousands_of_ids_take_turns_and_keep_neither_the_list_nor_a_new_id_waiting() {
    let mut scenario = "
sources:
  - name: one
    api: tencent_redis
    region: ap-guangzhou
    resources: [{id: crs-1}]
    tasks:
      - {id: '1', resource: crs-1, kind: '10', life: [{run: {for: 90s}}, {fail: {}}]}
"
    .to_owned();
    // Older than the list reaches back: only their ids lead to them.
    for id in 1000..3000 {
        writeln!(
            scenario,
            "      - {{id: '{id}', resource: crs-1, kind: '10', at: -40d, life: [{{hang: {{}}}}]}}"
        )
        .unwrap();
    }
    let lab = Lab::new(&scenario, |config| {
        open(config);
        config.sources[0].limits.tasks_per_source = 10_000;
    });
    lab.seconds(70).await;
    for id in 1000..2999 {
        lab.registrations().register("one", &id.to_string(), None).await.unwrap();
    }
    // News shows when a poll has ended, and a poll lasts for thirty seconds now.
    lab.seconds(75).await;
    assert_eq!(lab.state("one", "1"), "failed", "listed meanwhile");
    let seen = lab.snapshot("one").tasks.len();
    assert!((900..1200).contains(&seen), "{seen} of fifteen a second");
    lab.registrations().register("one", "2999", None).await.unwrap();
    lab.seconds(62).await;
    assert_eq!(lab.state("one", "2999"), "running", "before those that waited already");
    lab.seconds(30).await;
    let snapshot = lab.snapshot("one");
    assert_eq!(snapshot.tasks.len(), 2001, "each has had its turn");
    assert!(snapshot.up && snapshot.last_poll_duration.unwrap() < Duration::from_secs(32));
    lab.minutes(3).await;
    assert_eq!(lab.snapshot("one").states[TaskState::Unknown as usize], 0, "none has vanished");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_registration_goes_with_its_task_though_the_exporter_was_down_at_that_time() {
    let folder = tempfile::tempdir().unwrap();
    let lab =
        Lab::stored(&adb("[{run: {for: 30m}}, {finish: {}}]"), folder.path(), open_slow).await;
    lab.registrations().register("one", "7", Some("am-bp1")).await.unwrap();
    lab.minutes(50).await;
    assert_eq!((lab.state("one", "7"), registered(&lab)), ("succeeded", Some(1)));
    let down = lab.crash().await;
    tokio::time::sleep(Duration::from_hours(2)).await;
    let lab = down.start();
    lab.minutes(2).await;
    assert_eq!((lab.state("one", "7"), registered(&lab)), ("-", Some(0)));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_asks_once_for_what_is_registered() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::stored(&adb("[{hang: {}}]"), folder.path(), open_slow).await;
    lab.registrations().register("one", "7", Some("am-bp1")).await.unwrap();
    lab.minutes(1).await;
    let before = lab.calls("DescribeTaskInfo");
    let lab = lab.crash().await.start();
    lab.minutes(5).await;
    assert_eq!(lab.calls("DescribeTaskInfo") - before, 1);
    lab.stop().await;
}

/// How the source `redis` looks when a poll has ended well, just now, and found nothing.
fn asked_in_vain(clock: Clock) -> Snapshot {
    let mut snapshot = snapshot(source("redis"), vec![]);
    snapshot.last_success = Some(clock.now());
    snapshot
}

#[tokio::test(start_paused = true)]
async fn an_id_is_not_forgotten_before_a_poll_after_its_time_to_live_has_asked_for_it() {
    let clock = Clock::starting_at(Timestamp::from_second(1_790_000_000).unwrap());
    let registrations = Arc::new(registrations_at(clock, None));
    let store = Arc::new(Store::default());
    // Well, and then not again for long, as where the budget of the account is short.
    store.publish(asked_in_vain(clock));
    tokio::spawn(Arc::clone(&registrations).run(Arc::clone(&store), CancellationToken::new()));
    registrations.register("redis", "7", None).await.unwrap();
    sleep(Duration::from_hours(8 * 24)).await;
    assert!(registrations.get("redis", "7").is_some(), "nobody has asked for it");
    store.publish(asked_in_vain(clock));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(registrations.get("redis", "7"), None);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_ahead_keeps_no_registration_for_longer_than_its_time_to_live() {
    let folder = tempfile::tempdir().unwrap();
    let ahead = Clock::starting_at(Timestamp::from_second(2_100_000_000).unwrap());
    registrations_at(ahead, Some(folder.path())).register("redis", "7", None).await.unwrap();
    let clock = Clock::starting_at(Timestamp::from_second(1_790_000_000).unwrap());
    let registrations = Arc::new(registrations_at(clock, Some(folder.path())));
    let store = Arc::new(Store::default());
    tokio::spawn(Arc::clone(&registrations).run(Arc::clone(&store), CancellationToken::new()));
    for _ in 0..8 * 24 {
        store.publish(asked_in_vain(clock));
        sleep(Duration::from_hours(1)).await;
    }
    assert_eq!(registrations.get("redis", "7"), None);
}

#[tokio::test(start_paused = true)]
async fn a_good_poll_by_a_clock_that_was_ahead_ends_no_time_to_live() {
    let clock = Clock::starting_at(Timestamp::from_second(1_790_000_000).unwrap());
    let registrations = Arc::new(registrations_at(clock, None));
    let store = Arc::new(Store::default());
    let mut ahead = asked_in_vain(clock);
    ahead.last_success = Timestamp::from_second(2_100_000_000);
    tokio::spawn(Arc::clone(&registrations).run(Arc::clone(&store), CancellationToken::new()));
    registrations.register("redis", "7", None).await.unwrap();
    store.publish(ahead);
    sleep(Duration::from_mins(5)).await;
    assert!(registrations.get("redis", "7").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_registered_id_that_the_vendor_refuses_in_any_way_troubles_nothing_else() {
    for (status, code) in [
        (StatusCode::FORBIDDEN, "NoPermission"),
        (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        (StatusCode::BAD_REQUEST, "InvalidParameter.Other"),
        (StatusCode::OK, "{"),
    ] {
        let log = Log::listen();
        let refuse = move |_: Duration, request: &Request<Bytes>| {
            let it = format!("{:?} {:?}", request.uri(), request.body());
            it.contains("TaskId=404").then(|| {
                let body = format!(r#"{{"Code": "{code}", "Message": "no", "RequestId": "1"}}"#);
                Response::builder().status(status).body(body.into()).unwrap()
            })
        };
        let lab = Lab::through(&adb("[{hang: {}}]"), open_slow, refuse);
        lab.minutes(1).await;
        lab.registrations().register("one", "404", Some("am-bp1")).await.unwrap();
        lab.registrations().register("one", "7", Some("am-bp1")).await.unwrap();
        lab.minutes(60).await;
        let snapshot = lab.snapshot("one");
        assert!(snapshot.up, "{code}: {:?}", snapshot.last_error);
        assert_eq!(lab.state("one", "7"), "running", "{code}");
        let polls = lab.value("dbtask_source_polls_total{source=\"one\"}").unwrap();
        assert!((7..=10).contains(&polls), "{code}: {polls} polls");
        let lines = log.lines("task_id=404");
        assert_eq!(lines.len(), 1, "{code}: {lines:?}");
        lab.minutes(24 * 60).await;
        assert_eq!(registered(&lab), Some(1), "{code}: its time to live is over");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_registered_task_that_is_known_and_cannot_be_asked_for_fails_no_poll_and_is_named() {
    let refuse = move |elapsed: Duration, request: &Request<Bytes>| {
        let it = format!("{:?} {:?}", request.uri(), request.body());
        (elapsed > Duration::from_mins(30) && it.contains("TaskId=7")).then(|| {
            let body = r#"{"Code": "NoPermission", "Message": "no", "RequestId": "1"}"#;
            Response::builder().status(StatusCode::FORBIDDEN).body(body.into()).unwrap()
        })
    };
    let lab = Lab::through(&adb("[{hang: {}}]"), open_slow, refuse);
    lab.registrations().register("one", "7", Some("am-bp1")).await.unwrap();
    lab.minutes(60).await;
    let snapshot = lab.snapshot("one");
    assert!(snapshot.up, "{:?}", snapshot.last_error);
    assert_eq!(&*snapshot.failing_resources[0].id, "7");
    assert_eq!(registered(&lab), Some(1));
    lab.stop().await;
}
