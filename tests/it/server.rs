//! What is served over HTTP, asked for over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use dbtask_clouds::reason::Reason;
use dbtask_exporter::metrics::{Exposition, Instruments, Metrics};
use dbtask_exporter::platform::clock::Clock;
use dbtask_exporter::server::{App, Lifecycle, MAX_CONNECTIONS, Registering, Web, serve};
use dbtask_exporter::snapshot::{FailingDiscovery, FailingResource, Left, Snapshot, Store};
use dbtask_exporter::track::counters::Counters;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::exposed::{NOW, Parsed, failed, gunzip, snapshot, source, step, task, time};

pub(crate) struct Server {
    pub(crate) app: Arc<App>,
    address: SocketAddr,
    shutdown: CancellationToken,
    served: JoinHandle<()>,
}

/// One answer, its head in lower case.
pub(crate) struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Server {
    /// Serves two sources: `mysql`, with a running and a failed task, and `redis`, not yet tried.
    async fn start() -> Self {
        let mut running = task("1");
        running.steps = [step("Copy", 0.5)].into();
        let mysql = snapshot(source("mysql"), vec![running, failed("2")]);
        let redis = Snapshot::before_first_poll(source("redis"), Duration::from_secs(30));
        Self::with(vec![mysql, redis]).await
    }

    pub(crate) async fn with(snapshots: Vec<Snapshot>) -> Self {
        Self::registering(snapshots, Instruments::new().unwrap(), None).await
    }

    /// Serves no source, under a web configuration.
    pub(crate) async fn under(web: Web, registering: Option<Registering>) -> Self {
        let instruments = Instruments::new().unwrap();
        Self::serving(Vec::new(), instruments, registering, Arc::new(web)).await
    }

    /// Serves these sources, and perhaps lets people register tasks.
    pub(crate) async fn registering(
        snapshots: Vec<Snapshot>,
        instruments: Instruments,
        registering: Option<Registering>,
    ) -> Self {
        Self::serving(snapshots, instruments, registering, Arc::default()).await
    }

    async fn serving(
        snapshots: Vec<Snapshot>,
        instruments: Instruments,
        registering: Option<Registering>,
        web: Arc<Web>,
    ) -> Self {
        let store = Arc::new(Store::default());
        for snapshot in snapshots {
            store.publish(snapshot);
        }
        let metrics = Metrics::new(instruments.clone());
        metrics.replace(Exposition::new(store.snapshots(), None));
        let app = Arc::new(App {
            store,
            metrics: Arc::new(metrics),
            counts: Arc::new(Counters::new(instruments, Arc::default())),
            clock: Clock::starting_at(time(NOW)),
            metrics_path: "/metrics".into(),
            registering: Arc::new(ArcSwapOption::new(registering.map(Arc::new))),
            web,
            lifecycle: Lifecycle::default(),
            stopping: CancellationToken::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(serve(vec![listener], Arc::clone(&app), shutdown.clone()));
        Self { app, address, shutdown, served }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request as it is written and reads until the server closes.
    pub(crate) async fn send(&self, request: &str) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
        Answer::new(bytes)
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n");
        self.send(&format!("{head}{headers}\r\n")).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }
}

impl Answer {
    pub(crate) fn new(mut bytes: Vec<u8>) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("no head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        Self { head, body: bytes.split_off(end + 4) }
    }

    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[tokio::test]
async fn metrics_come_in_the_format_and_encoding_that_are_asked_for() {
    let server = Server::start().await;
    let plain = server.get("/metrics").await;
    assert_eq!(plain.status(), 200);
    assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(plain.header("content-length"), Some(&*plain.body.len().to_string()));
    assert_eq!(plain.header("vary"), Some("accept, accept-encoding"));
    let plain = Parsed::new(plain.text(), false);

    let prometheus = "accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n\
                      accept-encoding: gzip\r\n";
    let packed = server.ask("GET", "/metrics", prometheus).await;
    assert_eq!(
        packed.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert_eq!(packed.header("content-length"), Some(&*packed.body.len().to_string()));
    let packed = Parsed::new(&gunzip(&packed.body), true);
    assert!(plain.series.keys().eq(packed.series.keys()));

    let refused = server.ask("GET", "/metrics", "accept-encoding: gzip;q=0\r\n").await;
    assert_eq!(refused.header("content-encoding"), None);
}

#[tokio::test]
async fn a_head_is_an_answer_without_its_body() {
    let server = Server::start().await;
    for path in ["/metrics", "/", "/-/healthy", "/api/v1/tasks"] {
        let head = server.ask("HEAD", path, "").await;
        assert_eq!(head.status(), 200, "{path}");
        assert_eq!(head.body, b"");
        let length: usize = head.header("content-length").unwrap().parse().unwrap();
        assert!(length > 0, "{path}");
    }
    let (born, now) = (Instant::now(), Instant::now() + Duration::from_mins(4));
    assert!(!server.app.counts.scrapes().served_since(born - Duration::from_secs(10), now));
}

#[tokio::test]
async fn a_scrape_is_remembered() {
    let server = Server::start().await;
    let born = Instant::now() - Duration::from_secs(10);
    server.get("/metrics").await;
    let later = Instant::now() + Duration::from_mins(3);
    assert!(server.app.counts.scrapes().served_since(born, later));
}

#[tokio::test]
async fn it_is_ready_once_every_source_has_been_tried_and_until_it_stops() {
    let server = Server::start().await;
    assert_eq!(server.get("/-/healthy").await.status(), 200);
    let waiting = server.get("/-/ready").await;
    assert_eq!((waiting.status(), waiting.text()), (503, "1 of 2 sources not tried yet\n"));
    let mut tried = Snapshot::before_first_poll(source("redis"), Duration::from_secs(30));
    tried.tried = true;
    server.app.store.publish(tried);
    assert_eq!(server.get("/-/ready").await.status(), 200);
    server.app.stopping.cancel();
    assert_eq!(server.get("/-/ready").await.status(), 503);
    assert_eq!(server.get("/-/healthy").await.status(), 200);
}

#[tokio::test]
async fn tasks_are_there_as_json_with_their_error_text() {
    let server = Server::start().await;
    let tasks = server.get("/api/v1/tasks?state=failed&source=mysql").await.json();
    assert_eq!(
        tasks,
        json!({"tasks": [{
            "source": "mysql",
            "id": "2",
            "kind": "ONLINE UPGRADE",
            "resource": {"id": "cdb-qlfpnobr", "name": "orders"},
            "origin": "listed",
            "state": "failed",
            "vendor_status": "FAILED",
            "progress": 0.37,
            "remaining_seconds": null,
            "estimated_end": null,
            "created": "2026-03-01T07:48:20Z",
            "scheduled": null,
            "started": "2026-03-01T07:50:00Z",
            "ended": "2026-03-01T07:59:00Z",
            "last_seen": "2026-03-01T08:00:00Z",
            "progress_changed": "2026-03-01T07:59:30Z",
            "steps": [],
            "error": {"code": "DiskFull", "message": "no space left on <device>"},
        }]})
    );
    let running = server.get("/api/v1/tasks?state=running").await.json();
    assert_eq!(running["tasks"][0]["remaining_seconds"], 90.0);
    assert_eq!(running["tasks"][0]["estimated_end"], "2026-03-01T08:01:30Z");
    let step = json!({"name": "Copy", "state": null, "progress": 0.5, "remaining_seconds": 1.5});
    assert_eq!(running["tasks"][0]["steps"], json!([step]));
    let none = server.get("/api/v1/tasks?source=nobody").await.json();
    assert_eq!(none, json!({"tasks": []}));
}

#[tokio::test]
async fn sources_are_there_as_json() {
    let mut mysql = snapshot(source("mysql"), vec![task("1")]);
    mysql.last_error = Some("auth: the key is unknown".into());
    mysql.last_error_reason = Some("auth");
    mysql.calls.add(time(NOW));
    mysql.budget = Some(Left { limit: 1000, remaining: 900 });
    mysql.next_poll = Some(time(NOW + 30));
    mysql.failing_resources = vec![FailingResource {
        id: "cdb-2".into(),
        reason: Reason::Auth,
        message: "no permission".into(),
    }];
    mysql.failing_discovery = Some(FailingDiscovery {
        operation: "DescribeDBClusters",
        reason: Reason::Auth,
        message: "not you".into(),
    });
    let server = Server::with(vec![mysql]).await;
    assert_eq!(
        server.get("/api/v1/sources").await.json(),
        json!({"sources": [{
            "name": "mysql",
            "cloud": "tencent",
            "api": "tencent_cdb",
            "region": "ap-guangzhou",
            "account": "tencent-prod",
            "tried": true,
            "up": true,
            "last_success": "2026-03-01T08:00:00Z",
            "last_error": "auth: the key is unknown",
            "last_error_reason": "auth",
            "last_poll_duration_seconds": 0.25,
            "poll_interval_seconds": 30.0,
            "next_poll": "2026-03-01T08:00:30Z",
            "calls_today": 1,
            "daily_budget": 1000,
            "daily_budget_remaining": 900,
            "credentials_expiry": null,
            "missing_resources": [],
            "failing_resources": [{"id": "cdb-2", "reason": "auth", "message": "no permission"}],
            "failing_discovery":
                {"operation": "DescribeDBClusters", "reason": "auth", "message": "not you"},
            "tasks": {"pending": 0, "running": 1, "paused": 0, "succeeded": 0, "failed": 0,
                "canceled": 0, "unknown": 0},
            "tasks_truncated": 0,
        }]})
    );
    let failed = server.get("/api/v1/sources?state=failed").await.json();
    assert_eq!(failed, json!({"sources": []}));
}

#[tokio::test]
async fn a_wrong_filter_is_explained() {
    let server = Server::start().await;
    let refused = server.get("/api/v1/tasks?state=broken").await;
    assert_eq!(refused.status(), 400);
    let sentence = refused.json()["error"].as_str().unwrap().to_owned();
    assert!(sentence.starts_with("no state is called \"broken\""), "{sentence}");
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_is_not_possible_not_allowed() {
    let server = Server::start().await;
    assert_eq!(server.get("/nothing").await.status(), 404);
    assert!(server.get("/api/v2/tasks").await.json()["error"].is_string());
    let posted = server.ask("POST", "/metrics", "content-length: 0\r\n").await;
    assert_eq!((posted.status(), posted.header("allow")), (405, Some("get, head")));
}

#[tokio::test]
async fn large_requests_are_refused() {
    let server = Server::start().await;
    let long = format!("x-long: {}\r\n", "x".repeat(17 * 1024));
    assert_eq!(server.ask("GET", "/metrics", &long).await.status(), 431);
    let long = format!("x-long: {}\r\n", "x".repeat(15 * 1024));
    assert_eq!(server.ask("GET", "/metrics", &long).await.status(), 200);
    let body = server.ask("GET", "/metrics", "content-length: 65537\r\n").await;
    assert_eq!(body.status(), 413);
    assert_eq!(server.send("nonsense\r\n\r\n").await.status(), 400);
}

#[tokio::test]
async fn a_connection_too_many_takes_the_place_of_the_one_that_has_been_idle_longest() {
    let server = Server::start().await;
    let mut open = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        open.push(server.connect().await);
        // So that they are accepted in this order.
        tokio::task::yield_now().await;
    }
    assert_eq!(server.get("/-/healthy").await.status(), 200);
    assert_eq!(open[0].read(&mut [0]).await.unwrap_or_default(), 0, "it is still open");
    let last = open.last_mut().unwrap();
    last.write_all(b"GET /-/healthy HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
    assert!(last.read(&mut [0]).await.unwrap() > 0);
}

#[tokio::test]
async fn an_answer_under_way_survives_the_stop() {
    let tasks = (0..20_000).map(|i| task(&format!("{i:020}"))).collect();
    let server = Server::with(vec![snapshot(source("mysql"), tasks)]).await;
    let idle = server.connect().await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
    let mut head = [0; 1024];
    stream.read_exact(&mut head).await.unwrap();
    server.shutdown.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(TcpStream::connect(server.address).await.is_err(), "still accepting");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() > 20_000_000);
    timeout(Duration::from_secs(1), server.served).await.expect("does not stop").unwrap();
    drop(idle);
}
