//! What a task costs in memory, and a scrape in allocations; counted, so that it stays true.
//!
//! One test in a binary of its own, because the counting allocator counts for the whole process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dbtask_exporter::metrics::{Exposition, Instruments, Metrics};
use dbtask_exporter::platform::clock::Clock;
use dbtask_exporter::server::{App, Lifecycle, serve};
use dbtask_exporter::snapshot::Store;
use dbtask_exporter::track::counters::Counters;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[path = "../benches/tasks/mod.rs"]
mod tasks;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// What a task may cost: itself, its labels and its share of the gzip.
const MAX_BYTES_PER_TASK: usize = 640;

fn live_bytes() -> usize {
    dhat::HeapStats::get().curr_bytes
}

fn app(tasks: u32) -> Arc<App> {
    let store = Arc::new(Store::default());
    store.publish(tasks::snapshot("mysql-guangzhou", 0..tasks));
    let instruments = Instruments::new().unwrap();
    let metrics = Metrics::new(instruments.clone());
    metrics.replace(Exposition::new(store.snapshots(), None));
    Arc::new(App {
        store,
        metrics: Arc::new(metrics),
        counts: Arc::new(Counters::new(instruments, Arc::default())),
        clock: Clock::System,
        metrics_path: "/metrics".into(),
        registering: Arc::default(),
        lifecycle: Lifecycle::default(),
        web: Arc::default(),
        stopping: CancellationToken::new(),
    })
}

/// Heap allocations of the whole process during one scrape, both ends of it.
fn allocations_of_a_scrape(app: Arc<App>, encoding: &str) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let request =
        format!("GET /metrics HTTP/1.1\r\nhost: x\r\naccept-encoding: {encoding}\r\n\r\n");
    let stop = CancellationToken::new();
    let client = std::thread::spawn({
        let stop = stop.clone();
        move || {
            let counted = scrape(address, request.as_bytes());
            stop.cancel();
            counted
        }
    });
    runtime.block_on(serve(vec![listener], app, stop));
    client.join().unwrap()
}

/// What the kernel says about the process is read with one allocation more or less.
const PROCESS: u64 = 2;

/// Scrapes over one connection and counts around each; the least.
fn scrape(address: SocketAddr, request: &[u8]) -> u64 {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let mut buffer = vec![0; 64 * 1024];
    let mut least = u64::MAX;
    for _ in 0..8 {
        let before = dhat::HeapStats::get().total_blocks;
        stream.write_all(request).unwrap();
        let mut got = stream.read(&mut buffer).unwrap();
        let end = buffer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let head = std::str::from_utf8(&buffer[..end]).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK"));
        let length = head.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap();
        let all = end + length.parse::<usize>().unwrap();
        while got < all {
            got += stream.read(&mut buffer).unwrap();
        }
        // The server gets ready for the next request after we have the answer to this one.
        std::thread::sleep(Duration::from_millis(20));
        least = least.min(dhat::HeapStats::get().total_blocks - before);
    }
    least
}

#[test]
fn a_task_is_small_and_a_scrape_allocates_the_same_for_any_number_of_them() {
    let _profiler = dhat::Profiler::builder().testing().build();

    // Whatever is allocated once is allocated now.
    drop(app(10));
    let nothing = app(0);
    let before = live_bytes();
    let ten_thousand = app(10_000);
    let bytes = (live_bytes() - before) / 10_000;
    println!("{bytes} bytes of live heap a task");
    assert!(bytes <= MAX_BYTES_PER_TASK, "{bytes} bytes a task");
    drop(nothing);

    let hundred = app(100);
    for encoding in ["gzip", "identity"] {
        let few = allocations_of_a_scrape(Arc::clone(&hundred), encoding);
        let many = allocations_of_a_scrape(Arc::clone(&ten_thousand), encoding);
        println!("{few} allocations in a scrape as {encoding}");
        assert!(few.abs_diff(many) <= PROCESS, "100: {few}, 10,000: {many} as {encoding}");
    }
}
