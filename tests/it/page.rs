//! The status page, as the server sends it. What a person makes of it is in `tests/browser`.

use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::model::{Resource, Step, TaskError, TaskState};
use dbtask_clouds::reason::Reason;
use dbtask_exporter::snapshot::{FailingDiscovery, FailingResource, Left, Snapshot, SourceInfo};
use tokio::time::Instant;

use crate::exposed::{NOW, failed, snapshot, source, step, task, time};
use crate::server::Server;

fn down(name: &str) -> Snapshot {
    let mut down = snapshot(source(name), Vec::new());
    down.up = false;
    down.last_success = Some(time(NOW - 720));
    down.last_error = Some("DescribeTasks: AuthFailure: no such key".into());
    down.last_error_reason = Some("auth");
    down
}

#[tokio::test]
async fn it_shows_sources_with_their_age_next_poll_calls_and_trouble_in_words() {
    let mut down = down("mysql");
    down.next_poll = Some(time(NOW + 90));
    down.poll_interval = Duration::from_mins(2);
    down.budget = Some(Left { limit: 30_000, remaining: 4123 });
    for _ in 0..1200 {
        down.calls.add(time(NOW));
    }
    let waiting = Snapshot::before_first_poll(source("redis"), Duration::from_secs(30));
    let server = Server::with(vec![down, waiting]).await;
    let page = server.get("/").await;
    let text = page.text();
    for part in [
        "<title>0 failed, 1 source down · dbtask-exporter</title>",
        "No failed task, 1 source down",
        "12 min ago",
        "2026-03-01 07:48:00 UTC",
        "<time datetime=\"2026-03-01T07:48:00Z\">",
        "in 90 s",
        "every 2 min",
        "1\u{202f}200",
        "4\u{202f}123 of 30\u{202f}000 left for tencent-prod",
        "The cloud does not accept the credentials, or they lack a permission.",
        "DescribeTasks: AuthFailure: no such key",
        "waiting",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(page.header("refresh"), Some("5"), "soon, while a source waits for its first poll");
}

#[tokio::test]
async fn it_shows_tasks_with_progress_time_left_end_steps_and_failure_text() {
    let mut running = task("1");
    running.steps = [step("Prepare", 1.0), step("Copy", 0.5)].into();
    let server = Server::with(vec![snapshot(source("mysql"), vec![running, failed("2")])]).await;
    let page = server.get("/").await;
    let text = page.text();
    for part in [
        "<title>1 failed · dbtask-exporter</title>",
        "1 failed task, every source answers",
        "title=\"In the vendor's words: RUNNING\"",
        "<dd><bdi>RUNNING</bdi></dd>",
        "<progress value=\"0.37\" aria-label=\"Progress of 1\"></progress> 37 %",
        "step 2 of 2: Copy",
        "90 s",
        "expected <time datetime=\"2026-03-01T08:01:30Z\">in ",
        "ended <time datetime=\"2026-03-01T07:59:00Z\">",
        "<b><bdi>DiskFull</bdi></b> <bdi>no space left on &#60;device&#62;</bdi>",
        "href=\"./?source=mysql&#38;q=2\"",
        "href=\"api/v1/tasks/mysql/2\"",
        "href=\"./metrics\"",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(page.header("refresh"), Some("30"));
    let failed = text.find("DiskFull").unwrap();
    assert!(failed < text.find("step 2 of 2").unwrap(), "failed tasks come first");
}

#[tokio::test]
async fn planned_work_is_shown_with_the_time_until_it_starts() {
    let mut planned = task("1");
    (planned.state, planned.vendor_status) = (TaskState::Pending, "3".into());
    (planned.progress, planned.remaining, planned.started) = (None, None, None);
    planned.scheduled = Some(time(NOW + 3 * 86_400 + 3600));
    let mut due = planned.clone();
    (due.id, due.scheduled) = ("2".into(), Some(time(NOW - 600)));
    let server = Server::with(vec![snapshot(source("rds"), vec![planned, due])]).await;
    let page = server.get("/").await;
    let text = page.text();
    for part in [
        "starts <time datetime=\"2026-03-04T09:00:00Z\">in 3 d",
        "<dt>Planned</dt>",
        "due <time datetime=\"2026-03-01T07:50:00Z\">10 min ago",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[tokio::test]
async fn a_filter_is_kept_by_the_links_and_the_form() {
    let server = Server::with(vec![snapshot(source("mysql"), vec![task("1"), failed("2")])]).await;
    let page = server.get("/?source=mysql&state=failed&q=disk+FULL&refresh=off").await;
    assert_eq!((page.status(), page.header("refresh")), (200, None));
    let text = page.text();
    for part in [
        "<option selected>mysql</option>",
        "<option selected>failed</option>",
        "value=\"disk FULL\"",
        "<input type=\"hidden\" name=\"refresh\" value=\"off\">",
        "href=\"./?source=mysql&#38;state=running&#38;q=disk%20FULL&#38;refresh=off\"",
        "href=\"./?source=mysql&#38;state=failed&#38;q=disk%20FULL\">Look again",
        "href=\"api/v1/tasks?source=mysql&#38;state=failed&#38;q=disk%20FULL&#38;\"",
        "<a class=\"clear\" href=\"./?refresh=off\">Show all tasks</a>",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let json = server.get("/api/v1/tasks?q=disk+full").await.json();
    assert_eq!(
        (json["tasks"].as_array().unwrap().len(), &json["tasks"][0]["id"]),
        (1, &"2".into())
    );
}

#[tokio::test]
async fn a_filter_or_page_that_cannot_be_is_explained_with_a_way_back() {
    let server = Server::with(vec![snapshot(source("mysql"), vec![failed("2")])]).await;
    let long = format!("/?q={}", "x".repeat(9000));
    for (path, sentence) in [
        ("/?state=broken", "no state is called &#34;broken&#34;; the states are pending,"),
        ("/?source=nobody%3Cb%3E", "no source is called “nobody&#60;b&#62;”"),
        (&*long, "a text to look for has at most 200 characters"),
    ] {
        let page = server.get(path).await;
        assert_eq!(page.status(), 400, "{path}");
        let text = page.text();
        assert!(text.contains(sentence), "{text}");
        assert!(text.contains("<a class=\"clear\" href=\"./\">"), "{text}");
        assert!(!text.contains("DiskFull"), "everything looks like an answer");
        assert!(text.len() < 20_000, "the text is repeated");
    }
    for (path, sentence) in [
        ("/?page=99999", "There is no page 99\u{202f}999 any more; this is the last one."),
        ("/?page=abc", "No page is called “abc”; this is the first."),
        ("/?page=0", "No page is called “0”; this is the first."),
    ] {
        let page = server.get(path).await;
        assert_eq!(page.status(), 200, "{path}");
        assert!(page.text().contains(sentence) && page.text().contains("DiskFull"), "{path}");
    }
    assert_eq!(server.get("/?source=&state=&q=&page=&unknown=1").await.status(), 200);
}

#[tokio::test]
async fn a_page_without_tasks_says_why() {
    let says = async |snapshots, path: &str| {
        let server = Server::with(snapshots).await;
        server.get(path).await.text().to_owned()
    };
    let waiting = Snapshot::before_first_poll(source("one"), Duration::from_secs(30));
    let idle = snapshot(source("two"), Vec::new());
    let busy = snapshot(source("two"), vec![task("1")]);
    for (snapshots, path, sentence) in [
        (vec![], "/", "No source is configured."),
        (vec![waiting], "/", "Not every source has been polled yet."),
        (vec![idle.clone()], "/", "Nothing goes on, and nothing has ended lately."),
        (vec![idle, down("three")], "/", "not every source answers"),
        (vec![busy], "/?q=nothing", "No task matches this filter.\n<a href=\"./\">Show all"),
    ] {
        let text = says(snapshots, path).await;
        assert!(text.contains(sentence), "{sentence}: {text}");
    }
}

#[tokio::test]
async fn hostile_text_is_shown_as_text_wherever_it_comes_from() {
    let mut hostile = failed("\"><img src=x onerror=alert(1)>");
    hostile.kind = "<script>alert(1)</script>".into();
    hostile.vendor_status = "' onmouseover='alert(1)".into();
    let (id, name) = ("</td><b>", Some("\u{202e}gnp.exe".into()));
    hostile.resource = Arc::new(Resource { id: id.into(), name });
    hostile.steps = [step("<svg onload=alert(1)>", 0.5)].into();
    let message = "</p><script src=//evil></script>\u{1b}[2J\u{2066}".into();
    hostile.error = Some(Box::new(TaskError { code: "<i>".into(), message }));
    let info = SourceInfo { region: "<u>".into(), ..SourceInfo::clone(&source("mysql")) };
    let mut mysql = snapshot(Arc::new(info), vec![hostile]);
    mysql.last_error = Some("server: <script>alert(1)</script>".into());
    mysql.missing_resources = vec!["<s>".into()];
    mysql.failing_resources = vec![FailingResource {
        id: "<b>".into(),
        reason: Reason::Auth,
        message: "<script>no</script>".into(),
    }];
    mysql.failing_discovery = Some(FailingDiscovery {
        operation: "DescribeDBClusters",
        reason: Reason::Auth,
        message: "<script>nor that</script>".into(),
    });
    let server = Server::with(vec![mysql]).await;
    let page = server.get("/?q=%22%3E%3Cimg").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let text = page.text();
    for tag in
        ["<script", "<img", "<svg", "<i>", "<u>", "<s>", "</td><b>", "' onmouseover", "style="]
    {
        assert!(!text.contains(tag), "{tag}: {text}");
    }
    assert!(!text.contains(['\u{202e}', '\u{2066}', '\u{1b}']), "{text}");
    assert!(text.contains(r"\u{202e}gnp.exe"), "{text}");
    assert!(text.contains("Cannot be asked"), "{text}");
    assert!(text.contains("New clusters cannot be looked for"), "{text}");
    assert_eq!(
        page.header("content-security-policy"),
        Some(
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; \
             form-action 'self'; frame-ancestors 'none'"
        )
    );
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    for (path, content_type) in [
        ("/style.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/icon-failed.svg", "image/svg+xml"),
    ] {
        assert_eq!(server.get(path).await.header("content-type"), Some(content_type));
    }
}

/// Run with `--nocapture` for the figures in docs/performance.md.
#[tokio::test]
async fn a_page_of_ten_thousand_tasks_comes_at_once_and_is_bounded() {
    let long = |letter: &str| letter.repeat(20_000);
    let hostile = (0..60).map(|i| {
        let mut task = failed(&format!("{i:020}"));
        task.kind = long("&").into();
        task.steps = (0..20).map(|_| Step { name: long("\"").into(), ..step("", 0.1) }).collect();
        let message = long("\u{202e}").into();
        task.error = Some(Box::new(TaskError { code: long("<").into(), message }));
        task
    });
    let hostile = snapshot(source("hostile"), hostile.collect());
    let more = (0..100).map(|number| down(&format!("source-{number:03}")));
    let sources = std::iter::once(hostile).chain(more);
    let server = Server::with(sources.collect()).await;
    let worst = server.get("/?sources=all").await.text().len();
    assert!(worst < 3_000_000, "{worst} bytes at worst");
    let plain = (0..10_000).map(|i| {
        let mut task =
            if i % 10 == 0 { failed(&format!("{i:020}")) } else { task(&format!("{i:020}")) };
        task.steps = [step("Prepare", 1.0), step("Copy", 0.5)].into();
        task
    });
    let server = Server::with(vec![snapshot(source("mysql"), plain.collect())]).await;
    for path in ["/", "/?page=200", "/?q=0000000000000099&state=running"] {
        let begun = Instant::now();
        let page = server.get(path).await;
        let (took, bytes) = (begun.elapsed(), page.text().len());
        println!("{path}: {bytes} bytes in {took:?}; {worst} bytes at worst");
        assert!(bytes < 200_000, "{bytes} bytes");
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
    let last = server.get("/?page=200").await;
    assert!(last.text().contains("9\u{202f}951 to 10\u{202f}000 of 10\u{202f}000 tasks"));
    assert!(last.text().contains("Page 200 of 200"));
}

#[tokio::test]
async fn many_sources_are_shortened_and_those_that_are_down_come_first() {
    let mut sources: Vec<Snapshot> =
        (0..30).map(|number| snapshot(source(&format!("s{number:02}")), Vec::new())).collect();
    sources.push(down("zz-down"));
    let server = Server::with(sources).await;
    let few = server.get("/").await.text().to_owned();
    let rows = |text: &str| text.matches("<th scope=\"row\">").count();
    assert_eq!(rows(&few), 20);
    assert!(few.contains("11 more sources are not shown."), "{few}");
    let sources = few.split("id=\"sources-title\"").nth(1).unwrap();
    assert!(sources.find("zz-down").unwrap() < sources.find("s00").unwrap());
    assert!(few.contains("<strong>Not up to date:</strong> the tasks of\nzz-down."), "{few}");
    assert_eq!(rows(server.get("/?sources=all").await.text()), 31);
}

#[tokio::test]
async fn what_the_limit_keeps_out_of_the_metrics_is_on_the_page() {
    let mut one = snapshot(source("mysql"), vec![task("1")]);
    one.hidden = snapshot(source("mysql"), vec![failed("2")]).tasks;
    one.states[TaskState::ALL.iter().position(|it| *it == TaskState::Failed).unwrap()] = 1;
    let server = Server::with(vec![one]).await;
    let text = server.get("/").await.text().to_owned();
    assert!(text.contains("<title>1 failed ·"), "{text}");
    assert!(text.contains("listed, beyond the limit of tasks with metrics of their own"));
}
