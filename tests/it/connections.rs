//! What rests between uses: whatever is in between may drop it, and no poll fails for that. With real
//! sockets, for what matters is how they end.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::transport::{Transport as _, TransportError};
use dbtask_exporter::config::Config;
use dbtask_exporter::credentials::Provider;
use dbtask_exporter::exporter::Exporter;
use dbtask_exporter::platform::clock::Clock;
use dbtask_exporter::platform::environment::Environment;
use dbtask_exporter::platform::network::{Network, NetworkOptions};
use dbtask_exporter::server::{Lifecycle, Web};
use dbtask_simulator::{Scenario, SimulatedCloud};
use http::Request;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::support::{Around, issued, one_task, text_of};

/// How a connection that has rested is let go.
#[derive(Clone, Copy, Debug)]
enum Way {
    CloseAtRest,
    ResetAtRest,
    CloseAtUse,
    ResetAtUse,
    /// Whatever comes is swallowed.
    Silence,
}

const WAYS: [Way; 5] =
    [Way::CloseAtRest, Way::ResetAtRest, Way::CloseAtUse, Way::ResetAtUse, Way::Silence];

/// How long a connection may rest.
const REST: Duration = Duration::from_millis(300);

/// Something in between that lets connections go. Ends with the test.
struct Relay {
    url: String,
    let_go: Arc<AtomicU32>,
    _running: JoinSet<()>,
}

impl Relay {
    async fn new(to: SocketAddr, way: Way) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let let_go = Arc::new(AtomicU32::new(0));
        let mut running = JoinSet::new();
        running.spawn(relay(listener, to, way, Arc::clone(&let_go)));
        Self { url, let_go, _running: running }
    }

    fn let_go(&self) -> u32 {
        self.let_go.load(Ordering::Relaxed)
    }
}

async fn relay(listener: TcpListener, to: SocketAddr, way: Way, let_go: Arc<AtomicU32>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        connections.spawn(pass_on(client, to, way, Arc::clone(&let_go)));
    }
}

async fn pass_on(mut client: TcpStream, to: SocketAddr, way: Way, let_go: Arc<AtomicU32>) {
    let mut cloud = TcpStream::connect(to).await.unwrap();
    let (mut asked, mut answered) = (vec![0; 65536], vec![0; 65536]);
    // When the connection began to rest: after an answer.
    let mut resting: Option<Instant> = None;
    loop {
        let at_rest = matches!(way, Way::CloseAtRest | Way::ResetAtRest);
        let over = resting.filter(|_| at_rest).map(|since| since + REST);
        let bytes = tokio::select! {
            read = client.read(&mut asked) => match read {
                Ok(bytes) if bytes > 0 => bytes,
                Ok(_) | Err(_) => return,
            },
            read = cloud.read(&mut answered) => match read {
                Ok(bytes) if bytes > 0 => {
                    if client.write_all(&answered[..bytes]).await.is_err() { return }
                    resting = Some(Instant::now());
                    continue;
                }
                Ok(_) | Err(_) => return,
            },
            () = tokio::time::sleep_until(over.unwrap_or_else(Instant::now)), if over.is_some() => 0,
        };
        if bytes == 0 || resting.is_some_and(|since| since.elapsed() >= REST) {
            let_go.fetch_add(1, Ordering::Relaxed);
            match way {
                Way::CloseAtRest | Way::CloseAtUse => {}
                Way::ResetAtRest | Way::ResetAtUse => {
                    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
                }
                Way::Silence => while client.read(&mut asked).await.is_ok_and(|bytes| bytes > 0) {},
            }
            return;
        }
        resting = None;
        cloud.write_all(&asked[..bytes]).await.unwrap();
    }
}

/// A simulated cloud that listens.
async fn cloud(scenario: &str) -> (Arc<SimulatedCloud>, SocketAddr, JoinSet<()>) {
    let scenario = Scenario::parse(scenario).unwrap();
    let cloud = Arc::new(SimulatedCloud::new(&scenario, || Clock::System.now()).unwrap());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut running = JoinSet::new();
    running.spawn(Arc::clone(&cloud).serve(listener, CancellationToken::new()));
    (cloud, address, running)
}

fn network() -> Network {
    let timeout = Duration::from_secs(6);
    let (proxy_url, ca_file, ca_content) = (None, None, None);
    Network::new(&NetworkOptions { timeout, proxy_url, ca_file, ca_content, direct: true }).unwrap()
}

fn get(url: &str) -> Request<Bytes> {
    Request::get(format!("{url}/")).body(Bytes::new()).unwrap()
}

/// Polls an API each second through a relay, until at least three connections have been let go.
async fn poll(api: &str, way: Way) {
    let (cloud, address, _running) = cloud(&one_task(api, "[{hang: {}}]")).await;
    let relay = Relay::new(address, way).await;
    let text = cloud.configuration(&relay.url);
    let mut config = Config::parse(&text, "simulated", &Environment::default()).unwrap();
    for source in &mut config.sources {
        (source.poll.interval, source.poll.idle_interval) =
            (Duration::from_secs(1), Duration::from_secs(1));
        source.poll.timeout = Duration::from_secs(6);
    }
    let exporter = Exporter::new(&config, None).unwrap();
    let shutdown = CancellationToken::new();
    let app = exporter.app("/metrics", Web::default(), Lifecycle::default(), shutdown.clone());
    let running = tokio::spawn(exporter.run(Vec::new(), Arc::clone(&app), shutdown.clone()));
    let enough = async {
        while relay.let_go() < 3 || app.store.snapshots().iter().any(|it| it.last_success.is_none())
        {
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), enough).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let text = text_of(&app.metrics);
    let sum = |metric: &str, labels: &str| -> u64 {
        let of_it = |line: &&str| line.starts_with(&format!("{metric}{{")) && line.contains(labels);
        text.lines().filter(of_it).filter_map(|it| it.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    };
    let error = &app.store.snapshots()[0].last_error;
    assert_eq!(sum("dbtask_source_poll_failures_total", ""), 0, "{api} {way:?}: {error:?}");
    // One that is closed while it rests is seen to be closed, and not used again.
    if !matches!(way, Way::CloseAtRest | Way::ResetAtRest) {
        let failed = sum("dbtask_api_request_failures_total", "reason=\"network\"");
        assert!(failed >= 2, "{api} {way:?}: each try is counted, {failed}");
    }
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn no_poll_fails_where_connections_at_rest_are_let_go() {
    let mut polls = JoinSet::new();
    for way in WAYS {
        for api in ["tencent_cdb", "alibaba_polardb", "huawei_dds"] {
            polls.spawn(poll(api, way));
        }
    }
    polls.join_all().await;
}

#[tokio::test]
async fn a_connection_that_has_died_silently_costs_a_third_of_the_time_and_a_new_one_is_made() {
    let (_cloud, address, _running) = cloud(&one_task("tencent_cdb", "[{hang: {}}]")).await;
    let relay = Relay::new(address, Way::Silence).await;
    let network = network();
    assert!(network.send(get(&relay.url)).await.is_ok());
    sleep(REST * 2).await;
    let begun = Instant::now();
    let error = network.send(get(&relay.url)).await.unwrap_err();
    assert!(matches!(error, TransportError::Stale(_)), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(network.send_anew(get(&relay.url)).await.is_ok());
}

#[tokio::test]
async fn a_connection_is_kept_for_less_time_than_any_vendor_keeps_it() {
    let (_cloud, address, _running) = cloud(&one_task("tencent_cdb", "[{hang: {}}]")).await;
    let connections = Arc::new(AtomicU32::new(0));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let counting = Arc::clone(&connections);
    let mut running = JoinSet::new();
    running.spawn(async move {
        let mut under_way = JoinSet::new();
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            counting.fetch_add(1, Ordering::Relaxed);
            let mut cloud = TcpStream::connect(address).await.unwrap();
            under_way.spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut cloud).await;
            });
        }
    });
    let network = network();
    for rest in [0, 0, 6] {
        sleep(Duration::from_secs(rest)).await;
        assert!(network.send(get(&url)).await.is_ok());
    }
    assert_eq!(connections.load(Ordering::Relaxed), 2, "kept for the next call, not for long");
    assert!(network.send_anew(get(&url)).await.is_ok());
    assert_eq!(connections.load(Ordering::Relaxed), 3, "a new one is new");
}

/// The keys of an account in whose name a role is assumed, by a service that is reached through a
/// relay whose connection has rested.
async fn assume(api: &str, role: &str, way: Way) {
    let (cloud, address, _running) = cloud(&one_task(api, "[{hang: {}}]")).await;
    let relay = Relay::new(address, way).await;
    let text = cloud.configuration(&relay.url);
    let role = format!("  {role}\n  sts_endpoint: {}\nsources:", relay.url);
    let text = text.replacen("sources:", &role, 1);
    let config = Config::parse(&text, "simulated", &Environment::default()).unwrap();
    let network = network();
    network.send(get(&relay.url)).await.unwrap();
    sleep(REST * 2).await;
    let around = Around::by(Clock::System);
    let outside = around.outside(&network, &network);
    let issued = issued(&config.sources[0].credentials, &outside).await;
    assert!(issued.is_ok(), "{api} {way:?}: {issued:?}");
    assert_eq!(relay.let_go(), 1, "{api} {way:?}");
}

#[tokio::test]
async fn roles_are_assumed_where_connections_at_rest_are_let_go() {
    let mut asked = JoinSet::new();
    for way in WAYS {
        asked.spawn(assume("tencent_cdb", "role_arn: qcs::cam::uin/1:roleName/reader", way));
        asked.spawn(assume("alibaba_polardb", "role_arn: acs:ram::1:role/reader", way));
        asked.spawn(assume("huawei_dds", "agency_name: a\n  agency_domain: d", way));
    }
    asked.join_all().await;
}

#[tokio::test]
async fn an_address_in_the_environment_is_asked_where_connections_at_rest_are_let_go() {
    let mut asked = JoinSet::new();
    for way in WAYS {
        asked.spawn(async move {
            let (_cloud, address, _running) =
                cloud(&one_task("alibaba_polardb", "[{hang: {}}]")).await;
            let relay = Relay::new(address, way).await;
            let keys = format!("{}/latest/meta-data/ram/security-credentials/x", relay.url);
            let variables = [("ALIBABA_CLOUD_CREDENTIALS_URI", keys.as_str())];
            let provider = Provider::default_chain(
                dbtask_clouds::cloud::Cloud::Alibaba,
                variables.into_iter().collect::<Environment>(),
            );
            let network = network();
            network.send(get(&relay.url)).await.unwrap();
            sleep(REST * 2).await;
            let around = Around::by(Clock::System);
            let issued = issued(&provider, &around.outside(&network, &network)).await;
            assert!(issued.is_ok(), "{way:?}: {issued:?}");
        });
    }
    asked.join_all().await;
}
