//! What the simulated clouds do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::api::{Query, Scope, Target, TaskApi, TaskRef};
use dbtask_clouds::catalog;
use dbtask_clouds::cloud::{AccessKeys, Cloud, Credentials};
use dbtask_clouds::model::{Resource, Task, TaskState, Timestamp};
use dbtask_clouds::refusal::{Refusal, RefusalKind};
use dbtask_clouds::signing::Signing;
use dbtask_clouds::tencent::signature as tencent;
use dbtask_clouds::transport::{Transport, TransportError};
use dbtask_exporter::platform::clock::Clock;
use dbtask_simulator::{Fault, FaultKind, Scenario, SimulatedCloud};
use http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

fn cloud(scenario: &Scenario) -> SimulatedCloud {
    let epoch = Timestamp::from_second(1_772_000_000).unwrap();
    let clock = Clock::starting_at(epoch);
    SimulatedCloud::new(scenario, move || clock.now()).unwrap()
}

/// A cloud of one source called `mysql` with one task, whose life is given.
fn mysql(life: &str) -> SimulatedCloud {
    let text = format!(
        "{{seed: 1, sources: [{{name: mysql, api: tencent_cdb, region: ap-guangzhou,
           resources: [{{id: cdb-1}}],
           tasks: [{{id: '7', resource: cdb-1, kind: ROLLBACK, at: 10s, life: {life}}}]}}]}}"
    );
    cloud(&Scenario::parse(&text).unwrap())
}

/// What can be seen of the only task, in few words.
fn look(cloud: &SimulatedCloud) -> String {
    let start = 1_772_000_000;
    let show = |task: &Task| {
        let second = |time: Option<Timestamp>| match time {
            Some(time) => (time.as_second() - start).to_string(),
            None => "-".to_owned(),
        };
        format!(
            "{} {:.0}% left {} from {} to {}",
            task.vendor_status,
            task.progress.map_or(0.0, |progress| progress.get() * 100.0),
            task.remaining.map_or("-".to_owned(), |left| left.as_secs().to_string()),
            second(task.started),
            second(task.ended),
        )
    };
    cloud.tasks("mysql").first().map_or("nothing".to_owned(), show)
}

async fn watch(cloud: &SimulatedCloud, seconds: &[u64]) -> Vec<String> {
    let mut now = 0;
    let mut seen = Vec::new();
    for &second in seconds {
        sleep(Duration::from_secs(second - now)).await;
        now = second;
        seen.push(look(cloud));
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn a_task_lives_the_life_it_is_told() {
    let cloud = mysql(
        "[{wait: {for: 5s}}, {run: {for: 20s, to: 0.5, curve: even}}, {pause: {for: 10s}},
          {run: {for: 10s, curve: even, word: RUNNING}}, {finish: {}}]",
    );
    assert_eq!(
        watch(&cloud, &[0, 10, 15, 25, 35, 44, 45, 50, 55, 100_000]).await,
        [
            "nothing",
            "UNDEFINED 0% left - from - to -",
            "RUNNING 0% left 40 from 15 to -",
            "RUNNING 25% left 30 from 15 to -",
            "PAUSED 50% left 20 from 15 to -",
            "PAUSED 50% left 11 from 15 to -",
            "RUNNING 50% left 10 from 15 to -",
            "RUNNING 75% left 5 from 15 to -",
            "SUCCEED 100% left - from 15 to 55",
            "SUCCEED 100% left - from 15 to 55",
        ]
    );
    assert!(cloud.failures().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failed_task_may_run_again_and_fail_again() {
    let cloud = mysql(
        "[{run: {for: 10s, to: 0.4}}, {fail: {for: 20s, code: '9', message: no, end_known_after: 5s}},
          {run: {for: 10s, to: 0.2}}, {fail: {}}]",
    );
    assert_eq!(
        watch(&cloud, &[20, 25, 45, 50, 3000]).await,
        [
            "FAILED 40% left - from 10 to -",
            "FAILED 40% left - from 10 to 20",
            "RUNNING 7% left 5 from 40 to -",
            "FAILED 20% left - from 40 to 50",
            "FAILED 20% left - from 40 to 50",
        ]
    );
    let failures = cloud.failures();
    let seconds: Vec<i64> = failures.iter().map(|it| it.at.as_second() - 1_772_000_000).collect();
    assert_eq!(seconds, [20, 50]);
    assert_eq!(*failures[0].error.message, *"no");
}

#[tokio::test(start_paused = true)]
async fn a_task_may_hang_vanish_or_say_what_nobody_understands() {
    let cloud = mysql(
        "[{run: {for: 10s, to: 0.5}}, {say: {for: 5s, word: FROZEN}}, {vanish: {for: 5s}}, {hang: {}}]",
    );
    assert_eq!(
        watch(&cloud, &[20, 25, 30, 1_000_000]).await,
        [
            "FROZEN 50% left - from 10 to -",
            "nothing",
            "RUNNING 50% left - from 10 to -",
            "RUNNING 50% left - from 10 to -",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_ended_task_is_forgotten_after_thirty_days() {
    let cloud = mysql("[{run: {for: 10s}}, {fail: {}}]");
    let month = 30 * 24 * 3600;
    let seen = watch(&cloud, &[20 + month, 21 + month]).await;
    assert_eq!(seen, ["FAILED 100% left - from 10 to 20", "nothing"]);
    assert_eq!(cloud.failures().len(), 1, "but not by the list of failures");
}

#[tokio::test(start_paused = true)]
async fn a_rule_brings_tasks_for_ever_and_the_same_ones_for_the_same_seed() {
    let text = "
        seed: 5
        sources:
          - name: mysql
            api: tencent_cdb
            region: ap-guangzhou
            resources: [{id: cdb-, count: 3}]
            spawn:
              - every: 10s
                from: -30s
                keep: 1h
                kinds: [ROLLBACK, REBOOT]
                vary: 0.5
                outcomes:
                  - {weight: 3, life: [{run: {for: 60s}}, {finish: {}}]}
                  - {weight: 1, life: [{run: {for: 30s}}, {fail: {message: no}}]}";
    let scenario = Scenario::parse(text).unwrap();
    let (one, two) = (cloud(&scenario), cloud(&scenario));
    let resources: Vec<_> = one.resources("mysql").iter().map(|it| it.id.clone()).collect();
    assert_eq!(resources, ["cdb-0001", "cdb-0002", "cdb-0003"].map(Box::from));
    assert_eq!(one.tasks("mysql").len(), 4);
    let mut failed = BTreeSet::new();
    for _ in 0..1000 {
        sleep(Duration::from_secs(20)).await;
        let tasks = one.tasks("mysql");
        assert_eq!(tasks, two.tasks("mysql"));
        failed.extend(tasks.into_iter().filter(|it| it.state == TaskState::Failed).map(|it| it.id));
    }
    let listed: BTreeSet<_> = one.failures().into_iter().map(|it| it.task_id).collect();
    assert_eq!(failed, listed);
    assert!((400..600).contains(&failed.len()), "a quarter of 2000 tasks: {}", failed.len());
    assert!((360..=370).contains(&one.tasks("mysql").len()), "an hour of tasks");
}

#[tokio::test(start_paused = true)]
async fn a_resource_exists_from_its_creation_to_its_deletion() {
    let text = "
        sources:
          - name: polardb
            api: alibaba_polardb
            region: cn-hangzhou
            resources: [{id: pc-1}, {id: pc-2, from: 10s, until: 30s}]";
    let cloud = cloud(&Scenario::parse(text).unwrap());
    let mut counts = Vec::new();
    for _ in 0..4 {
        counts.push(cloud.resources("polardb").len());
        sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(counts, [1, 2, 2, 1]);
    let reversed = text.replace("until: 30s", "until: 10s");
    let error = format!("{:#}", Scenario::parse(&reversed).unwrap_err());
    assert!(error.contains("`until` is not later than `from`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_demo_shows_every_state_and_new_failures_within_a_minute() {
    let scenario = Scenario::demo().unwrap();
    for _ in 0..20 {
        let cloud = cloud(&scenario);
        let sources: Vec<&str> = scenario.sources.iter().map(|it| it.name.as_str()).collect();
        let mut states = BTreeSet::new();
        for _ in 0..60 {
            sleep(Duration::from_secs(1)).await;
            let tasks = sources.iter().flat_map(|source| cloud.tasks(source));
            states.extend(tasks.map(|task| task.state));
        }
        assert_eq!(states, BTreeSet::from(TaskState::ALL));
        let started = Timestamp::from_second(1_772_000_010).unwrap();
        let failures = cloud.failures();
        for source in &sources {
            assert!(failures.iter().any(|it| it.source == *source && it.at > started), "{source}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_demo_goes_on_for_hours() {
    let scenario = Scenario::demo().unwrap();
    let cloud = cloud(&scenario);
    for _ in 0..12 {
        let before = cloud.failures().len();
        let mut busy = BTreeSet::new();
        for _ in 0..30 {
            sleep(Duration::from_mins(1)).await;
            for source in &scenario.sources {
                let tasks = cloud.tasks(&source.name);
                assert!(tasks.len() < 120, "{} has {}", source.name, tasks.len());
                if tasks.iter().any(|it| !it.state.is_final()) {
                    busy.insert(source.name.as_str());
                }
            }
        }
        assert!(cloud.failures().len() >= before + 20);
        assert_eq!(busy.len(), scenario.sources.len());
    }
}

#[test]
fn a_bad_scenario_is_told_where_it_is_wrong() {
    let source = |more: &str| {
        format!(
            "sources:\n  - name: a\n    api: huawei_dds\n    region: cn-north-4\n    \
             resources: [{{id: i1}}]\n{more}"
        )
    };
    let task = |life: &str| {
        source(&format!("    tasks:\n      - {{id: t1, resource: i1, life: [{life}]}}\n"))
    };
    for (text, expected) in [
        ("sources: []".to_owned(), "at least one source"),
        (source("    regoin: x\n"), "regoin"),
        (source("    faults: [{kind: thottle}]\n"), "thottle"),
        (source("    faults: [{kind: slow, from: soon}]\n"), "\"soon\" is not a duration"),
        (source("    faults: [{kind: hang, every: 10s}]\n"), "fault 1"),
        (source("    tasks: [{id: t1, resource: i2, life: [{hang: {}}]}]\n"), "no resource \"i2\""),
        (task(""), "no phase"),
        (task("{run: {}}"), "needs `for`"),
        (task("{run: {for: 5s}}, {finish: {for: 5s}}"), "the last phase lasts for ever"),
        (task("{run: {for: 5s, to: 30}}, {finish: {}}"), "from 0 to 1, not 30"),
        (task("{pause: {}}"), "huawei_dds has no word for paused"),
        (task("{fail: {word: Completed}}"), "\"Completed\" does not mean failed to huawei_dds"),
        (
            source("").replace("huawei_dds", "huawei_none"),
            "no api \"huawei_none\"; docs/apis.md lists all",
        ),
    ] {
        let error = Scenario::parse(&text).expect_err(&text);
        let error = format!("{error:#}");
        assert!(error.contains(expected), "{text}\n=> {error}");
    }
}

/// What a source knows: its API, where it is and the keys.
struct Client {
    api: &'static TaskApi,
    target: Target,
    credentials: Credentials,
    now: Timestamp,
    calls: AtomicU64,
}

impl Client {
    /// The client for a source that [`Scenario`] describes, with the account's keys.
    fn new(scenario: &Scenario, cloud: &SimulatedCloud, source: &str) -> Self {
        let script = scenario.sources.iter().find(|it| it.name == source).unwrap();
        let configuration: serde_json::Value =
            serde_saphyr::from_str(&cloud.configuration("http://127.0.0.1:8080")).unwrap();
        let sources = configuration["sources"].as_array().unwrap();
        let entry = sources.iter().find(|it| it["name"] == *source).unwrap();
        Self {
            api: catalog::named(&script.api).unwrap(),
            target: Target {
                endpoint: "http://127.0.0.1:8080".to_owned(),
                region: script.region.clone(),
                project_id: entry["project_id"].as_str().unwrap_or_default().to_owned(),
                utc_offset: jiff::tz::offset(8),
                format: script.format,
            },
            credentials: cloud.credentials(source).unwrap(),
            now: Timestamp::from_second(1_772_000_000).unwrap(),
            calls: AtomicU64::default(),
        }
    }

    fn signed(&self, query: &Query) -> Request<Bytes> {
        let mut request = self.api.facts.cloud.request(&self.target, query);
        let (name, number) = (self.api.facts.name, self.calls.fetch_add(1, Ordering::Relaxed));
        let signing = Signing {
            service: self.api.facts.service,
            credentials: &self.credentials,
            now: self.now,
            nonce: &format!("{name}-{number}"),
        };
        self.api.facts.cloud.sign(&mut request, &signing).unwrap();
        request
    }

    /// The first query of a poll.
    fn first(&self) -> Query {
        let scope = Scope { now: self.now, since: self.now, resources: &[], tags: &[] };
        self.api.discover(&scope).unwrap_or_else(|| self.api.list(&scope).remove(0))
    }

    /// The answer to the first query of a poll.
    async fn ask(&self, cloud: &SimulatedCloud) -> Result<Response<Bytes>, TransportError> {
        cloud.send(self.signed(&self.first())).await
    }

    /// Why the first query of a poll is refused.
    async fn refusal(&self, cloud: &SimulatedCloud) -> Option<Refusal> {
        self.api.facts.cloud.refusal(&self.ask(cloud).await.unwrap())
    }

    /// Everything there is to be listed; later sightings win.
    async fn list(&self, cloud: &SimulatedCloud) -> BTreeMap<Arc<str>, Task> {
        let since = self.now.saturating_sub(Duration::from_hours(24));
        let mut scope = Scope { now: self.now, since, resources: &[], tags: &[] };
        let mut resources = Vec::new();
        if let Some(query) = self.api.discover(&scope) {
            resources = self.follow(cloud, vec![query]).await.0;
        }
        scope.resources = &resources;
        let tasks = self.follow(cloud, self.api.list(&scope)).await.1;
        tasks.into_iter().map(|task| (task.id.clone(), task)).collect()
    }

    async fn follow(
        &self,
        cloud: &SimulatedCloud,
        mut queries: Vec<Query>,
    ) -> (Vec<Arc<dbtask_clouds::model::Resource>>, Vec<Task>) {
        let (mut resources, mut tasks) = (Vec::new(), Vec::new());
        queries.reverse();
        while let Some(query) = queries.pop() {
            let response = cloud.send(self.signed(&query)).await.unwrap();
            assert_eq!(self.api.facts.cloud.refusal(&response), None, "{query:?}");
            let page = self.api.decode(&self.target, &query, &response).unwrap();
            resources.extend(page.resources);
            tasks.extend(page.tasks);
            queries.extend(page.next);
        }
        (resources, tasks)
    }
}

/// One source of each cloud, all of one account.
const THREE: &str = "
    seed: 3
    sources:
      - {name: polardb, api: alibaba_polardb, region: cn-hangzhou, account: we,
         resources: [{id: pc-1}], tasks: [{id: '1', resource: pc-1, life: [{hang: {}}]}]}
      - {name: dds, api: huawei_dds, region: cn-north-4, account: we,
         resources: [{id: i1}], tasks: [{id: t1, resource: i1, life: [{hang: {}}]}]}
      - {name: cdb, api: tencent_cdb, region: ap-guangzhou, account: we,
         resources: [{id: cdb-1}], tasks: [{id: '1', resource: cdb-1, life: [{hang: {}}]}]}";

fn three() -> (Scenario, SimulatedCloud, [&'static str; 3]) {
    let scenario = Scenario::parse(THREE).unwrap();
    let cloud = cloud(&scenario);
    (scenario, cloud, ["polardb", "dds", "cdb"])
}

/// How often each outcome was counted, whatever the source and the operation.
fn outcomes(cloud: &SimulatedCloud) -> BTreeMap<&'static str, u64> {
    let mut outcomes = BTreeMap::new();
    for (handled, count) in cloud.requests() {
        *outcomes.entry(handled.outcome).or_default() += count;
    }
    outcomes
}

#[tokio::test(start_paused = true)]
async fn every_source_of_the_demo_can_be_listed_with_its_keys() {
    let scenario = Scenario::demo().unwrap();
    let cloud = cloud(&scenario);
    sleep(Duration::from_secs(45)).await;
    for script in &scenario.sources {
        let mut client = Client::new(&scenario, &cloud, &script.name);
        client.now = client.now + Duration::from_secs(45);
        let mut listed = client.list(&cloud).await;
        let configured = script.tasks.iter().filter(|task| task.configured);
        for task in configured {
            let resource = dbtask_clouds::model::Resource::new(task.resource.as_str());
            let task = TaskRef {
                id: task.id.as_str().into(),
                resource: Some(Arc::new(resource)),
                started: None,
            };
            let query = client.api.by_id(&task, client.now).unwrap();
            listed.extend(
                client
                    .follow(&cloud, vec![query])
                    .await
                    .1
                    .into_iter()
                    .map(|task| (task.id.clone(), task)),
            );
        }
        let real = cloud.tasks(&script.name);
        assert_eq!(listed.len(), real.len(), "{}", script.name);
        for task in real.iter().filter(|task| listed.contains_key(&task.id)) {
            let seen = &listed[&task.id];
            assert_eq!((seen.state, &seen.kind), (task.state, &task.kind), "{task:?}");
            if task.state == TaskState::Running {
                assert_eq!(seen.progress, task.progress, "{task:?}");
            }
        }
    }
    assert_eq!(outcomes(&cloud).into_keys().collect::<Vec<_>>(), ["answered"]);
}

#[tokio::test(start_paused = true)]
async fn only_the_right_key_opens() {
    let (scenario, cloud, names) = three();
    for name in names {
        let mut client = Client::new(&scenario, &cloud, name);
        assert_eq!(client.refusal(&cloud).await, None);
        let Credentials::Keys(keys) = client.credentials.clone() else { panic!("keys") };

        let mut wrong = keys.clone();
        wrong.secret_access_key = "another secret".into();
        client.credentials = Credentials::Keys(wrong);
        let refusal = client.refusal(&cloud).await.unwrap();
        assert_eq!(refusal.kind, RefusalKind::Unauthenticated, "{refusal}");

        let mut unknown = keys;
        unknown.access_key_id = "unknown".into();
        client.credentials = Credentials::Keys(unknown);
        let refusal = client.refusal(&cloud).await.unwrap();
        assert_eq!(refusal.kind, RefusalKind::Unauthenticated, "{refusal}");

        let unsigned = client.api.facts.cloud.request(&client.target, &client.first());
        let response = cloud.send(unsigned).await.unwrap();
        assert!(client.api.facts.cloud.refusal(&response).is_some());
    }
    assert_eq!(cloud.request_count(), 12);
    assert_eq!(outcomes(&cloud)["answered"], 3);
}

/// They take the first label of the address for the service, and the one for Node signs no port.
#[tokio::test(start_paused = true)]
async fn tencents_clients_for_node_and_java_are_let_in_at_an_address() {
    let (scenario, cloud, names) = three();
    let clients = names.map(|name| Client::new(&scenario, &cloud, name));
    let mut client = clients.into_iter().find(|it| it.api.facts.cloud == Cloud::Tencent).unwrap();
    let kind = |response: &Response<Bytes>| Cloud::Tencent.refusal(response).map(|it| it.code);
    for (service, signed, sent, code) in [
        ("cdb", "127.0.0.1:18080", "127.0.0.1:18080", None),
        ("127", "127.0.0.1:18080", "127.0.0.1:18080", None),
        ("127", "127.0.0.1", "127.0.0.1:18080", None),
        ("localhost", "localhost", "localhost:18080", None),
        ("redis", "127.0.0.1", "127.0.0.1:18080", Some("AuthFailure.SignatureFailure")),
        ("127", "127.0.0.2", "127.0.0.1:18080", Some("AuthFailure.SignatureFailure")),
    ] {
        client.target.endpoint = format!("http://{signed}");
        let mut request = client.api.facts.cloud.request(&client.target, &client.first());
        let (credentials, now) = (&client.credentials, client.now);
        let signing = Signing { service, credentials, now, nonce: "any" };
        Cloud::Tencent.sign(&mut request, &signing).unwrap();
        request.headers_mut().insert("host", sent.parse().unwrap());
        *request.uri_mut() = format!("http://{sent}/").parse().unwrap();
        let response = cloud.send(request).await.unwrap();
        assert_eq!(kind(&response).as_deref(), code, "{service} {signed}");
    }
}

/// Older ways to sign, and a `GET`, are refused as this vendor refuses.
#[tokio::test(start_paused = true)]
async fn what_is_not_simulated_of_tencents_ways_to_sign_is_refused_in_its_words() {
    let (scenario, cloud, names) = three();
    let clients = names.map(|name| Client::new(&scenario, &cloud, name));
    let client = clients.into_iter().find(|it| it.api.facts.cloud == Cloud::Tencent).unwrap();
    let code = |response: &Response<Bytes>| {
        let refusal = Cloud::Tencent.refusal(response).unwrap();
        assert_eq!(response.status(), 200);
        assert!(std::str::from_utf8(response.body()).unwrap().contains("RequestId"));
        refusal.code
    };
    let old = "Action=DescribeTasks&Version=2017-03-20&Region=ap-guangzhou&SecretId=x&Nonce=1\
               &Timestamp=1772000000&SignatureMethod=HmacSHA1&Signature=eA%3D%3D";
    let by_get = Request::get(format!("http://localhost/?{old}")).body(Bytes::new()).unwrap();
    let response = cloud.send(by_get).await.unwrap();
    assert_eq!(code(&response), "AuthFailure.InvalidAuthorization");

    let mut request = client.api.facts.cloud.request(&client.target, &client.first());
    *request.method_mut() = http::Method::GET;
    *request.body_mut() = Bytes::new();
    let (service, credentials) = (client.api.facts.service, &client.credentials);
    let signing = Signing { service, credentials, now: client.now, nonce: "any" };
    Cloud::Tencent.sign(&mut request, &signing).unwrap();
    let response = cloud.send(request).await.unwrap();
    assert_eq!(code(&response), "InvalidAction");
}

#[tokio::test(start_paused = true)]
async fn a_vendor_refuses_what_it_does_not_know_in_its_own_words() {
    let (scenario, cloud, names) = three();
    for name in names {
        let client = Client::new(&scenario, &cloud, name);
        let mut request = client.api.facts.cloud.request(&client.target, &client.first());
        let (service, now) = (client.api.facts.service, client.now);
        match client.api.facts.cloud {
            Cloud::Alibaba => {
                request.headers_mut().insert("x-acs-action", "DescribeNothing".parse().unwrap());
            }
            Cloud::Tencent => {
                request.headers_mut().insert("x-tc-action", "DescribeNothing".parse().unwrap());
            }
            Cloud::Huawei => {
                let uri = request.uri().to_string().replace("/jobs", "/nothing");
                *request.uri_mut() = uri.parse().unwrap();
            }
        }
        let credentials = &client.credentials;
        let signing = Signing { service, credentials, now, nonce: "unknown-action" };
        client.api.facts.cloud.sign(&mut request, &signing).unwrap();
        let response = cloud.send(request).await.unwrap();
        let refusal = client.api.facts.cloud.refusal(&response).unwrap();
        assert_eq!(refusal.kind, RefusalKind::NoSuchOperation, "{name}: {refusal}");
    }
    // Neither signed nor named, but by whom it is meant to be read is plain.
    for (cloud_of, header, code) in [
        (Cloud::Alibaba, "x-acs-version", "IncompleteSignature"),
        (Cloud::Tencent, "x-tc-version", "AuthFailure.InvalidAuthorization"),
        (Cloud::Huawei, "x-sdk-date", "APIGW.0301"),
    ] {
        let request =
            Request::post("http://localhost/").header(header, "x").body(Bytes::new()).unwrap();
        let refusal = cloud_of.refusal(&cloud.send(request).await.unwrap()).unwrap();
        assert_eq!(refusal.code, code, "{refusal}");
    }
}

#[tokio::test(start_paused = true)]
async fn temporary_keys_need_their_token() {
    let text = format!(
        "accounts: [{{name: we, security_token: good}}]\n{}",
        THREE.replace("\n    ", "\n")
    );
    let scenario = Scenario::parse(&text).unwrap();
    let cloud = cloud(&scenario);
    for name in ["polardb", "dds", "cdb"] {
        let mut client = Client::new(&scenario, &cloud, name);
        assert_eq!(client.refusal(&cloud).await, None, "{name}");
        for token in [None, Some("bad".into())] {
            let Credentials::Keys(mut keys) = client.credentials.clone() else { panic!("keys") };
            keys.security_token = token;
            client.credentials = Credentials::Keys(keys);
            assert!(client.refusal(&cloud).await.is_some(), "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn huawei_takes_a_token_in_place_of_keys() {
    let text =
        format!("accounts: [{{name: we, auth_token: MII}}]\n{}", THREE.replace("\n    ", "\n"));
    let scenario = Scenario::parse(&text).unwrap();
    let cloud = cloud(&scenario);
    let mut client = Client::new(&scenario, &cloud, "dds");
    assert!(matches!(client.credentials, Credentials::Token(_)));
    assert_eq!(client.refusal(&cloud).await, None);
    client.credentials = Credentials::Token("other".into());
    assert!(client.refusal(&cloud).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn one_call_too_many_in_a_second_is_throttled() {
    let (scenario, cloud, names) = three();
    for name in names {
        let mut client = Client::new(&scenario, &cloud, name);
        let mut good = 0;
        let refusal = loop {
            match client.refusal(&cloud).await {
                None => good += 1,
                Some(refusal) => break refusal,
            }
        };
        assert_eq!(refusal.kind, RefusalKind::Throttled, "{refusal}");
        assert_eq!(
            good,
            if name == "cdb" {
                50
            } else if name == "dds" {
                200
            } else {
                100
            }
        );
        sleep(Duration::from_secs(1)).await;
        client.now = client.now + Duration::from_secs(1);
        assert_eq!(client.refusal(&cloud).await, None);
    }
    assert_eq!(outcomes(&cloud)["rate_limited"], 3);
}

#[tokio::test(start_paused = true)]
async fn huawei_locks_a_key_after_five_failures_in_a_row() {
    let (scenario, cloud, _) = three();
    let good = Client::new(&scenario, &cloud, "dds");
    let mut bad = Client::new(&scenario, &cloud, "dds");
    let Credentials::Keys(mut keys) = bad.credentials.clone() else { panic!("keys") };
    keys.secret_access_key = "another secret".into();
    bad.credentials = Credentials::Keys(keys);
    for failures in [4, 5] {
        for _ in 0..failures {
            assert!(bad.refusal(&cloud).await.is_some());
        }
        assert_eq!(good.refusal(&cloud).await.is_some(), failures == 5);
    }
    sleep(Duration::from_secs(299)).await;
    assert_eq!(good.refusal(&cloud).await.unwrap().kind, RefusalKind::Unauthenticated);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(good.refusal(&cloud).await, None);
    assert_eq!(outcomes(&cloud)["locked"], 2);
}

#[tokio::test(start_paused = true)]
async fn alibaba_takes_a_nonce_once() {
    let (scenario, cloud, _) = three();
    let client = Client::new(&scenario, &cloud, "polardb");
    let request = client.signed(&client.first());
    let once = cloud.send(request.clone()).await.unwrap();
    let twice = cloud.send(request).await.unwrap();
    assert_eq!(client.api.facts.cloud.refusal(&once), None);
    assert_eq!(client.api.facts.cloud.refusal(&twice).unwrap().code, "SignatureNonceUsed");
}

#[tokio::test(start_paused = true)]
async fn every_fault_shows_as_it_should_in_every_cloud() {
    let (scenario, cloud, names) = three();
    let refusals = [
        (FaultKind::Throttle, RefusalKind::Throttled),
        (FaultKind::ServerError, RefusalKind::Server),
        (FaultKind::Html, RefusalKind::Server),
        (FaultKind::ExpiredToken, RefusalKind::CredentialsExpired),
        (FaultKind::Unauthorized, RefusalKind::Unauthenticated),
        (FaultKind::Forbidden, RefusalKind::Forbidden),
        (FaultKind::Odd, RefusalKind::Client),
        (FaultKind::NotFound, RefusalKind::NotFound),
    ];
    for name in names {
        let client = Client::new(&scenario, &cloud, name);
        for (fault, kind) in refusals {
            cloud.inject(name, Fault::new(fault));
            let refusal = client.refusal(&cloud).await;
            let refusal = refusal.unwrap_or_else(|| panic!("{name} {fault}"));
            assert_eq!(refusal.kind, kind, "{name} {fault}: {refusal}");
            cloud.heal(name);
        }
        let broken = |fault| {
            cloud.inject(name, Fault::new(fault));
            let answer = client.ask(&cloud);
            async {
                let answer = answer.await;
                cloud.heal(name);
                answer
            }
        };
        let error = |answer: Result<Response<Bytes>, TransportError>| answer.unwrap_err();
        assert!(matches!(error(broken(FaultKind::Cut).await), TransportError::Body(_)));
        assert!(matches!(error(broken(FaultKind::Endless).await), TransportError::Body(_)));
        assert!(matches!(error(broken(FaultKind::Reset).await), TransportError::Network(_)));
        assert_eq!(error(broken(FaultKind::Hang).await), TransportError::Timeout);

        let malformed = broken(FaultKind::Malformed).await.unwrap();
        assert!(client.api.decode(&client.target, &client.first(), &malformed).is_err());
        assert_eq!(broken(FaultKind::Redirect).await.unwrap().status(), 302);
        assert!(matches!(error(broken(FaultKind::Huge).await), TransportError::Body(_)));
        let before = tokio::time::Instant::now();
        assert_eq!(broken(FaultKind::Slow).await.unwrap().status(), 200);
        assert_eq!(before.elapsed(), Duration::from_secs(5));
    }
}

#[tokio::test(start_paused = true)]
async fn a_skewed_clock_refuses_until_it_is_followed() {
    let (scenario, cloud, names) = three();
    for name in names {
        cloud.inject(name, Fault::new(FaultKind::SkewedClock));
        let mut client = Client::new(&scenario, &cloud, name);
        let response = client.ask(&cloud).await.unwrap();
        let refusal = client.api.facts.cloud.refusal(&response).expect(name);
        assert_eq!(refusal.kind, RefusalKind::Clock, "{name}: {refusal}");
        assert_eq!(response.headers()["date"], "Wed, 25 Feb 2026 06:33:20 GMT");
        client.now = client.now + Duration::from_mins(20);
        assert_eq!(client.refusal(&cloud).await, None, "{name}");

        let task = client.list(&cloud).await.pop_first().unwrap().1;
        let born = task.created.or(task.started).unwrap();
        assert_eq!(born.as_second(), 1_772_000_000 + 20 * 60, "by the clock of {name}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_its_list_huawei_still_answers_by_id() {
    let (scenario, cloud, _) = three();
    cloud.inject("dds", Fault::new(FaultKind::MissingList));
    let client = Client::new(&scenario, &cloud, "dds");
    let refusal = client.refusal(&cloud).await.unwrap();
    assert_eq!(refusal.kind, RefusalKind::NoSuchOperation, "{refusal}");
    let task = TaskRef { id: "t1".into(), resource: None, started: None };
    let query = client.api.by_id(&task, client.now).unwrap();
    assert_eq!(client.follow(&cloud, vec![query]).await.1.len(), 1);
    let operations: BTreeSet<String> =
        cloud.requests().into_keys().map(|it| it.operation).collect();
    assert_eq!(operations, ["ListTasks", "ShowJobDetail"].map(String::from).into());
}

/// A cloud whose only instance has 150 tasks, of which each failed half a minute after it began; and
/// its client.
fn crowd() -> (SimulatedCloud, Client) {
    let tasks: Vec<String> = (1000..1150)
        .map(|id| {
            format!(
                "{{id: '{id}', resource: cdb-1, life: [{{run: {{for: 30s}}}}, {{fail: {{}}}}]}}"
            )
        })
        .collect();
    let text = format!(
        "{{seed: 1, sources: [{{name: mysql, api: tencent_cdb, region: ap-guangzhou,
           resources: [{{id: cdb-1}}, {{id: cdb-2}}], tasks: [{}]}}]}}",
        tasks.join(", ")
    );
    let scenario = Scenario::parse(&text).unwrap();
    let cloud = cloud(&scenario);
    let client = Client::new(&scenario, &cloud, "mysql");
    (cloud, client)
}

/// The rows of the first page of what runs, and the total.
async fn page(cloud: &SimulatedCloud, client: &Client) -> (usize, u64) {
    let answer = client.ask(cloud).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    let rows = body["Response"]["Items"].as_array().unwrap().len();
    (rows, body["Response"]["TotalCount"].as_u64().unwrap())
}

#[tokio::test(start_paused = true)]
async fn lists_may_lack_rows_and_totals_may_be_wrong() {
    let (cloud, client) = crowd();
    assert_eq!(page(&cloud, &client).await, (100, 150));
    cloud.inject("mysql", Fault::new(FaultKind::WrongTotal));
    assert_eq!(page(&cloud, &client).await, (100, 75));
    cloud.heal("mysql");
    cloud.inject("mysql", Fault::new(FaultKind::ShortPages));
    let (rows, total) = page(&cloud, &client).await;
    assert!((70..100).contains(&rows), "{rows}");
    assert_eq!(total, 150);
    cloud.heal("mysql");
    let fault = Fault::new(FaultKind::MissingRows);
    cloud.inject("mysql", fault.clone());
    let there = client.list(&cloud).await;
    let expected = (1000..1150).filter(|id| !fault.hides(&id.to_string())).count();
    assert_eq!(there.len(), expected);
    assert!((50..100).contains(&expected), "{expected}");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_lags_shows_what_has_ended_as_running() {
    let (cloud, mut client) = crowd();
    sleep(Duration::from_secs(33)).await;
    client.now = client.now + Duration::from_secs(33);
    let none_runs = (0, 0);
    assert_eq!(page(&cloud, &client).await, none_runs);
    cloud.inject("mysql", Fault::new(FaultKind::Lagging));
    assert_eq!(page(&cloud, &client).await, (100, 150), "as it was five seconds ago");
    cloud.heal("mysql");
    assert_eq!(page(&cloud, &client).await, none_runs);
}

#[tokio::test(start_paused = true)]
async fn a_fault_may_be_about_one_resource_alone() {
    let (cloud, client) = crowd();
    let fault = Fault { only: Some("cdb-1".to_owned()), ..Fault::new(FaultKind::Forbidden) };
    cloud.inject("mysql", fault);
    assert_eq!(client.refusal(&cloud).await, None);
    let resources = ["cdb-1", "cdb-2"].map(|id| Arc::new(Resource::new(id)));
    let scope = Scope { now: client.now, since: client.now, resources: &resources, tags: &[] };
    let mut refused = Vec::new();
    for query in client.api.list(&scope) {
        let answer = cloud.send(client.signed(&query)).await.unwrap();
        refused.push(client.api.facts.cloud.refusal(&answer).is_some());
    }
    assert_eq!(refused, [true, false, true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_cloud_may_take_few_calls_a_minute() {
    let text = THREE.replace("account: we,", "account: we, calls_a_minute: 2,");
    let scenario = Scenario::parse(&text).unwrap();
    let cloud = cloud(&scenario);
    for name in ["polardb", "dds", "cdb"] {
        let client = Client::new(&scenario, &cloud, name);
        let mut kinds = Vec::new();
        for _ in 0..3 {
            kinds.push(client.refusal(&cloud).await.map(|refusal| refusal.kind));
        }
        assert_eq!(kinds, [None, None, Some(RefusalKind::Throttled)], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_may_be_lost_before_its_end() {
    let text = "
        seed: 1
        accounts: [{name: we, role: 'qcs::cam::uin/1:roleName/r', session: 1h}]
        sources: [{name: cdb, api: tencent_cdb, region: ap-guangzhou, account: we,
                   resources: [{id: cdb-1}], faults: [{kind: lost_session, from: 1m}]}]";
    let cloud = Arc::new(cloud(&Scenario::parse(text).unwrap()));
    let session = async || {
        let credentials = cloud.credentials("cdb").unwrap();
        let scenario = Scenario::parse(text).unwrap();
        let mut client = Client::new(&scenario, &cloud, "cdb");
        let body = serde_json::json!({"RoleArn": "r", "RoleSessionName": "s"});
        let mut request =
            tencent::call("http://simulated", "AssumeRole", "2018-08-13", "ap-guangzhou", &body);
        let signing =
            Signing { service: "sts", credentials: &credentials, now: client.now, nonce: "1" };
        client.api.facts.cloud.sign(&mut request, &signing).unwrap();
        let answer = cloud.send(request).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        let of = |name: &str| body["Response"]["Credentials"][name].as_str().unwrap().to_owned();
        client.credentials = Credentials::Keys(AccessKeys {
            access_key_id: of("TmpSecretId"),
            secret_access_key: of("TmpSecretKey").into(),
            security_token: Some(of("Token").into()),
        });
        client
    };
    let old = session().await;
    assert_eq!(old.refusal(&cloud).await, None);
    sleep(Duration::from_mins(2)).await;
    assert_eq!(old.refusal(&cloud).await.unwrap().code, "AuthFailure.SecretIdNotFound");
    assert_eq!(session().await.refusal(&cloud).await, None);
}

#[tokio::test(start_paused = true)]
async fn scripted_faults_come_and_go() {
    let text = THREE
        .replace("[{id: cdb-1}],", "[{id: cdb-1}], faults: [{kind: html, from: 30s, for: 1m}],");
    let scenario = Scenario::parse(&text).unwrap();
    let cloud = cloud(&scenario);
    let client = Client::new(&scenario, &cloud, "cdb");
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(client.ask(&cloud).await.unwrap().status().as_u16());
        sleep(Duration::from_secs(25)).await;
    }
    assert_eq!(seen, [200, 200, 503, 503, 200]);
}

#[tokio::test(start_paused = true)]
async fn sources_of_one_account_do_not_mix() {
    let text = "
        seed: 3
        sources:
          - {name: a, api: huawei_dds, region: cn-north-4, account: we,
             resources: [{id: i1}], tasks: [{id: ta, resource: i1, life: [{hang: {}}]}]}
          - {name: b, api: huawei_dds, region: cn-south-1, account: we,
             resources: [{id: i1}], tasks: [{id: tb, resource: i1, life: [{hang: {}}]}]}
          - {name: c, api: tencent_cdb, region: ap-guangzhou, account: we,
             resources: [{id: i1}], tasks: [{id: '1', resource: i1, life: [{hang: {}}]}]}
          - {name: d, api: tencent_cdb, region: ap-beijing, account: we,
             resources: [{id: i1}], tasks: [{id: '2', resource: i1, life: [{hang: {}}]}]}
          - {name: e, api: tencent_redis, region: ap-beijing, account: we,
             resources: [{id: i1}], tasks: [{id: '3', resource: i1, life: [{hang: {}}]}]}";
    let scenario = Scenario::parse(text).unwrap();
    let cloud = cloud(&scenario);
    for (source, id) in [("a", "ta"), ("b", "tb"), ("c", "1"), ("d", "2"), ("e", "3")] {
        let listed = Client::new(&scenario, &cloud, source).list(&cloud).await;
        assert_eq!(listed.keys().map(|id| &**id).collect::<Vec<_>>(), [id], "{source}");
    }
}

#[tokio::test]
async fn the_same_answers_come_over_http() {
    let scenario = Scenario::parse(THREE).unwrap();
    let cloud = Arc::new(SimulatedCloud::new(&scenario, || Clock::System.now()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(Arc::clone(&cloud).serve(listener, shutdown.clone()));
    for name in ["polardb", "dds", "cdb"] {
        let mut client = Client::new(&scenario, &cloud, name);
        client.target.endpoint = format!("http://{address}");
        client.now = Clock::System.now();
        let signed = || client.signed(&client.first());
        // The answers may change with each second.
        let before = cloud.send(signed()).await.unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&wire(&signed())).await.unwrap();
        let text = read(&mut stream, 1 << 20).await;
        let after = cloud.send(signed()).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        assert!(head.contains("date: "), "{head}");
        let direct = [before.body(), after.body()];
        assert!(direct.iter().any(|&direct| direct == body.as_bytes()), "{name}: {body}");

        let lengths = |text: &str| {
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let length = head.lines().find_map(|it| it.strip_prefix("content-length: "));
            (length.map(|it| it.parse::<usize>().unwrap()), body.len())
        };
        let broken = async |kind: FaultKind, enough: usize| {
            cloud.inject(name, Fault::new(kind));
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&wire(&signed())).await.unwrap();
            let text = timeout(Duration::from_millis(500), read(&mut stream, enough)).await;
            cloud.heal(name);
            text
        };
        let whole = before.body().len();
        assert_eq!(
            lengths(&broken(FaultKind::Cut, 1 << 20).await.unwrap()),
            (Some(whole), whole / 2)
        );
        assert!(lengths(&broken(FaultKind::Endless, 1 << 20).await.unwrap()).1 > 1 << 19);
        assert_eq!(broken(FaultKind::Reset, 1 << 20).await.unwrap(), "");
        assert!(broken(FaultKind::Hang, 1 << 20).await.is_err(), "no answer in time");
    }
    shutdown.cancel();
    timeout(Duration::from_secs(5), serving).await.unwrap().unwrap();
}

/// A request as bytes on a connection that is closed behind the answer.
fn wire(request: &Request<Bytes>) -> Vec<u8> {
    let uri = request.uri();
    let mut lines =
        vec![format!("{} {} HTTP/1.1", request.method(), uri.path_and_query().unwrap())];
    if !request.headers().contains_key("host") {
        lines.push(format!("host: {}", uri.authority().unwrap()));
    }
    let headers = request.headers().iter();
    lines.extend(headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())));
    lines.push(format!("content-length: {}", request.body().len()));
    lines.push("connection: close\r\n\r\n".to_owned());
    [lines.join("\r\n").as_bytes(), request.body()].concat()
}

/// What arrives until the end, or until it is enough.
async fn read(stream: &mut TcpStream, enough: usize) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < enough {
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(start_paused = true)]
async fn the_configuration_is_complete() {
    let text = "
        accounts:
          - {name: temporary, access_key_id: STS.x, secret_access_key: y, security_token: z}
          - {name: we, access_key_id: k, secret_access_key: s}
          - {name: tokens, auth_token: MII}
        sources:
          - {name: adb, api: alibaba_adb, region: cn-hangzhou, account: temporary, format: xml,
             resources: [{id: am-1}],
             tasks: [{id: '225685759', resource: am-1, configured: true, life: [{hang: {}}]}]}
          - {name: dds, api: huawei_dds, region: cn-north-4, account: we, project_id: 0f,
             resources: [{id: i1}]}
          - {name: otc, api: huawei_dds, region: eu-de, account: tokens, project_id: '7',
             resources: [{id: i1}]}
          - {name: cdb, api: tencent_cdb, region: ap-guangzhou, account: we, resources: [{id: c}]}
          - {name: redis, api: tencent_redis, region: ap-guangzhou, account: we,
             resources: [{id: c}]}";
    let cloud = cloud(&Scenario::parse(text).unwrap());
    let expected = r#"# Configuration of dbtask-exporter for simulated clouds. All keys in it are made up.
# Everything but `endpoint` reads as it would for the real clouds.
poll:
  interval: 2s
  idle_interval: 5s
credentials:
- name: alibaba-temporary
  cloud: alibaba
  access_key_id: STS.x
  access_key_secret: "y"
  security_token: z
- name: huawei-we
  cloud: huawei
  access_key: k
  secret_key: s
- name: huawei-tokens
  cloud: huawei
  auth_token: MII
- name: tencent-we
  cloud: tencent
  secret_id: k
  secret_key: s
sources:
- name: adb
  api: alibaba_adb
  region: cn-hangzhou
  credentials: alibaba-temporary
  endpoint: http://127.0.0.1:8080
  format: xml
  tasks:
  - resource: am-1
    id: "225685759"
- name: dds
  api: huawei_dds
  region: cn-north-4
  credentials: huawei-we
  endpoint: http://127.0.0.1:8080
  project_id: 0f
- name: otc
  api: huawei_dds
  region: eu-de
  credentials: huawei-tokens
  endpoint: http://127.0.0.1:8080
  project_id: "7"
- name: cdb
  api: tencent_cdb
  region: ap-guangzhou
  credentials: tencent-we
  endpoint: http://127.0.0.1:8080
- name: redis
  api: tencent_redis
  region: ap-guangzhou
  credentials: tencent-we
  endpoint: http://127.0.0.1:8080
...
"#;
    assert_eq!(cloud.configuration("http://127.0.0.1:8080"), expected);
}

#[tokio::test(start_paused = true)]
async fn the_examples_are_good_scenarios() {
    let mut found = 0;
    for entry in std::fs::read_dir("examples/scenarios").unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let scenario = Scenario::parse(&text).unwrap_or_else(|it| panic!("{path:?}: {it:#}"));
        cloud(&scenario);
        found += 1;
    }
    assert_eq!(found, 2);
}

#[test]
fn the_document_names_every_fault() {
    let document = std::fs::read_to_string("docs/simulator.md").unwrap();
    let example = std::fs::read_to_string("examples/scenarios/faults.yml").unwrap();
    for kind in FaultKind::ALL {
        assert!(document.contains(&format!("\n| `{kind}` |")), "{kind}");
        assert!(example.contains(&format!("kind: {kind}")), "{kind}");
    }
}
