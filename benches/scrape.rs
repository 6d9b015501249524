//! The exporter next to `client_golang`, serving the same series, in one run on one machine.
//!
//! Both run as processes of their own and are scraped over loopback with gzip, as Prometheus does:
//!
//! ```text
//! cargo bench --bench scrape -- [--sources 20] [--tasks 10000] [--scrapes 400]
//! ```
//!
//! Needs `go`. The exporter is this same program, started again as `--serve`: store, publisher and
//! server as in the product, with nothing else that could count as its memory.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench that cannot go on should stop; it measures real time"
)]

use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dbtask_exporter::metrics::{self, Encoding, Exposition, Format, Instruments, Metrics};
use dbtask_exporter::platform::clock::Clock;
use dbtask_exporter::server::{self, App};
use dbtask_exporter::snapshot::{Snapshot, Store};
use dbtask_exporter::track::counters::Counters;
use prometheus::{Encoder as _, GaugeVec, Opts, Registry, TextEncoder};
use tokio_util::sync::CancellationToken;

mod tasks;

#[derive(Clone, Copy)]
struct Shape {
    sources: u32,
    tasks: u32,
    scrapes: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: u32| {
        let at = arguments.iter().position(|argument| argument == name);
        at.map_or(default, |at| arguments[at + 1].parse().expect("a number"))
    };
    let shape = Shape {
        sources: number("--sources", 20),
        tasks: number("--tasks", 10_000),
        scrapes: number("--scrapes", 400) as usize,
    };
    if arguments.iter().any(|argument| argument == "--serve") {
        let publish = arguments.iter().any(|argument| argument == "--publish");
        serve(shape, publish);
    } else if !arguments.iter().any(|argument| argument == "--test") {
        rendering(shape);
        if shape.scrapes > 0 {
            compare(shape);
        }
    }
}

fn snapshot(shape: Shape, source: u32) -> Snapshot {
    let each = shape.tasks / shape.sources;
    tasks::snapshot(&format!("mysql-guangzhou-{source:02}"), source * each..(source + 1) * each)
}

/// With everything counted for the sources, at 0.
fn declared(shape: Shape) -> Metrics {
    let instruments = Instruments::new().unwrap();
    for source in 0..shape.sources {
        let Snapshot { source, .. } = snapshot(shape, source);
        instruments.declare_source(&source, &["DescribeTasks"]);
        for kind in ["BACKUP", "ONLINE UPGRADE", "RESTORE"] {
            instruments.declare_kind(&source.name, kind, true);
        }
    }
    Metrics::new(instruments)
}

/// Store, publisher and server, until standard input ends. With `publish` every source is polled
/// once a second.
fn serve(shape: Shape, publish: bool) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(async {
        let store = Arc::new(Store::default());
        let metrics = Arc::new(declared(shape));
        let stop = CancellationToken::new();
        for source in 0..shape.sources {
            store.publish(snapshot(shape, source));
        }
        metrics.replace(Exposition::new(store.snapshots(), None));
        tokio::spawn(metrics::publish(Arc::clone(&store), Arc::clone(&metrics), stop.clone()));
        let app = App {
            store: Arc::clone(&store),
            metrics: Arc::clone(&metrics),
            counts: Arc::new(Counters::new(metrics.instruments.clone(), Arc::default())),
            clock: Clock::System,
            metrics_path: "/metrics".into(),
            registering: Arc::default(),
            web: Arc::default(),
            lifecycle: server::Lifecycle::default(),
            stopping: stop.clone(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        if publish {
            tokio::spawn(async move {
                for source in (0..shape.sources).cycle() {
                    tokio::time::sleep(Duration::from_secs(1) / shape.sources).await;
                    let snapshot = snapshot(shape, source);
                    let (instruments, source) = (&metrics.instruments, &snapshot.source);
                    let took = Duration::from_millis(120);
                    instruments.request_sent(&source.name, "DescribeTasks");
                    instruments.request_finished(source, "DescribeTasks", took);
                    instruments.poll_finished(&source.name, None);
                    store.publish(snapshot);
                }
            });
        }
        std::thread::spawn({
            let stop = stop.clone();
            move || {
                let _ = std::io::stdin().read(&mut [0]);
                stop.cancel();
            }
        });
        server::serve(vec![listener], Arc::new(app), stop).await;
    });
}

/// Moving the bytes, rendering them, and having the `prometheus` crate write them, by turns; the
/// least of each, which is what is left when nothing else disturbs.
fn rendering(shape: Shape) {
    let snapshots: Vec<_> = (0..shape.sources).map(|i| Arc::new(snapshot(shape, i))).collect();
    let exposition = Exposition::new(snapshots.clone(), None);
    let mut text = Vec::new();
    exposition.for_each_chunk(|chunk| text.extend_from_slice(chunk));
    let registry = gauges(std::str::from_utf8(&text).unwrap());
    let (mut copy, mut encoded) = (text.clone(), Vec::with_capacity(2 * text.len()));
    let metrics = declared(shape);
    let mut least = [Duration::MAX; 5];
    let mut took = |which: usize, work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        least[which] = least[which].min(start.elapsed());
    };
    for turn in 0..200 {
        took(0, &mut || black_box(&mut copy).copy_from_slice(black_box(&text)));
        took(1, &mut || {
            exposition.for_each_chunk(|chunk| {
                black_box(chunk);
            });
        });
        took(3, &mut || {
            for frame in metrics.scrape(Format::OpenMetrics, Encoding::Gzip).body {
                black_box(frame);
            }
        });
        if turn % 20 == 0 {
            took(4, &mut || {
                black_box(Exposition::new(snapshots.clone(), None));
            });
            took(2, &mut || {
                encoded.clear();
                TextEncoder::new().encode(&registry.gather(), &mut encoded).unwrap();
            });
        }
    }
    let [memcpy, render, crate_, scrape, publish] = least.map(|least| least.as_secs_f64() * 1e3);
    println!("{} bytes of text for {} tasks in {} sources", text.len(), shape.tasks, shape.sources);
    println!(
        "memcpy {memcpy:.2} ms, render {render:.2} ms, GaugeVec and TextEncoder {crate_:.1} ms"
    );
    println!("publish {publish:.1} ms, a scrape with gzip but without a network {scrape:.3} ms");
    println!("render / memcpy         {:8.2}   goal 2, floor 3", render / memcpy);
    println!("GaugeVec / render       {:8.0}   goal 120, floor 50", crate_ / render);
}

/// The same series in gauges of the `prometheus` crate.
fn gauges(text: &str) -> Registry {
    let registry = Registry::new();
    let mut last: Option<(&str, GaugeVec)> = None;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap();
        let labels = labels.trim_end_matches("\"}").split("\",");
        let (names, values): (Vec<_>, Vec<_>) =
            labels.map(|label| label.split_once("=\"").unwrap()).unzip();
        if last.as_ref().is_none_or(|(known, _)| *known != name) {
            let gauge = GaugeVec::new(Opts::new(name, "Help."), &names).unwrap();
            registry.register(Box::new(gauge.clone())).unwrap();
            last = Some((name, gauge));
        }
        let (_, gauge) = last.as_ref().unwrap();
        gauge.with_label_values(&values).set(value.parse().unwrap());
    }
    registry
}

fn compare(shape: Shape) {
    let idle = Served::ours(shape, false);
    let text = idle.text();
    let peer = Served::peer(&text);
    let (ours, theirs) = (series(&text), series(&peer.text()));
    assert_eq!(ours, theirs, "different numbers of series");
    println!("\n{ours} series each, scraped with gzip, {} times", shape.scrapes);

    let busy = Served::ours(shape, true);
    // By turns, so that whatever disturbs the machine disturbs both of them; but not by the peer,
    // whose garbage collector goes on after its answer.
    let (mut idle_times, mut busy_times) = (Vec::new(), Vec::new());
    for _ in 0..shape.scrapes {
        idle_times.push(idle.scrape());
        busy_times.push(busy.scrape());
        // Prometheus does not come without pause either; polls get their turn.
        std::thread::sleep(Duration::from_millis(10));
    }
    let peer_times = (0..shape.scrapes / 10).map(|_| peer.scrape()).collect();
    let [idle_p50, idle_p99] = percentiles(idle_times);
    let [busy_p50, busy_p99] = percentiles(busy_times);
    let [peer_p50, peer_p99] = percentiles(peer_times);
    println!("                                 p50 ms    p99 ms   peak RSS MB");
    for (name, p50, p99, served) in [
        ("exporter, nothing polled", idle_p50, idle_p99, &idle),
        ("exporter, polled each second", busy_p50, busy_p99, &busy),
        ("client_golang", peer_p50, peer_p99, &peer),
    ] {
        println!("{name:30} {p50:8.3}  {p99:8.3}  {:12.1}", served.peak_rss());
    }
    println!("client_golang / exporter, p50  {:8.0}   goal 1500, floor 500", peer_p50 / idle_p50);
    println!("polled / not polled, p99       {:8.2}   goal 1.2, floor 2", busy_p99 / idle_p99);
    let rss = peer.peak_rss() / busy.peak_rss();
    println!("client_golang / exporter, RSS  {rss:8.1}   goal 12");
}

/// A process that serves metrics.
struct Served {
    process: Child,
    address: SocketAddr,
    connection: TcpStream,
}

impl Served {
    fn ours(shape: Shape, publish: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--serve", "--sources", &shape.sources.to_string()]);
        command.args(["--tasks", &shape.tasks.to_string()]);
        command.args(publish.then_some("--publish"));
        Self::start(command, "", true)
    }

    /// The Go program, with the series of `text`.
    fn peer(text: &str) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("client_golang");
        let built = Command::new("go")
            .args(["build", "-o", program.to_str().unwrap(), "."])
            .current_dir(source)
            .status();
        assert!(built.expect("go is needed").success(), "the peer does not build");
        Self::start(Command::new(program), text, false)
    }

    fn start(mut command: Command, input: &str, keep_input: bool) -> Self {
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
        if !keep_input {
            process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        }
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().parse().expect("an address");
        Self { process, address, connection: TcpStream::connect(address).unwrap() }
    }

    /// All of it, without gzip.
    fn text(&self) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\nhost: x\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Milliseconds from the request to the last byte of the answer, on a connection that stays.
    fn scrape(&self) -> f64 {
        let mut connection = &self.connection;
        let mut buffer = vec![0; 256 * 1024];
        let start = Instant::now();
        connection
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip\r\n\r\n")
            .unwrap();
        let mut got = connection.read(&mut buffer).unwrap();
        let end = buffer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(buffer[..end].to_vec()).unwrap().to_lowercase();
        assert!(head.contains("content-encoding: gzip"), "{head}");
        if let Some((_, length)) = head.split_once("content-length: ") {
            let length: usize = length.split('\r').next().unwrap().parse().unwrap();
            while got < end + length {
                got += connection.read(&mut buffer).unwrap();
            }
        } else {
            // Chunked: an empty chunk ends it.
            while !buffer[..got.min(buffer.len())].ends_with(b"\r\n0\r\n\r\n") {
                got = connection.read(&mut buffer).unwrap();
            }
        }
        start.elapsed().as_secs_f64() * 1e3
    }

    /// The most memory it ever had, in MB.
    fn peak_rss(&self) -> f64 {
        let status = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1e3
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn series(text: &str) -> usize {
    text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("process_")).count()
}

fn percentiles(mut times: Vec<f64>) -> [f64; 2] {
    times.sort_by(f64::total_cmp);
    [50, 99].map(|percent| times[(times.len() * percent / 100).min(times.len() - 1)])
}
