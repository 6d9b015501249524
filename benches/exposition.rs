//! Rendering, compressing and scraping without a network, next to what they are measured against.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench that cannot go on should stop"
)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dbtask_exporter::metrics::{Encoding, Exposition, Format, Instruments, Metrics};
use dbtask_exporter::snapshot::Snapshot;
use prometheus::{Encoder as _, GaugeVec, Opts, Registry, TextEncoder};

mod tasks;

/// Twenty sources at the default limit of 500 tasks.
const SOURCES: u32 = 20;
const TASKS_PER_SOURCE: u32 = 500;

fn snapshots() -> Vec<Arc<Snapshot>> {
    (0..SOURCES)
        .map(|i| {
            let first = i * TASKS_PER_SOURCE;
            let range = first..first + TASKS_PER_SOURCE;
            Arc::new(tasks::snapshot(&format!("mysql-guangzhou-{i:02}"), range))
        })
        .collect()
}

fn text_of(exposition: &Exposition) -> Vec<u8> {
    let mut text = Vec::new();
    exposition.for_each_chunk(|chunk| text.extend_from_slice(chunk));
    text
}

fn rendering(c: &mut Criterion) {
    let exposition = Exposition::new(snapshots(), None);
    let text = text_of(&exposition);
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.starts_with(b"#")).count();
    println!("{} bytes, {} series", text.len(), lines - 1);
    let mut group = c.benchmark_group("10000 tasks");
    group.throughput(Throughput::Bytes(text.len() as u64));

    // The least that a rendering could do: the same bytes, moved once, into fresh pages never.
    let mut copy = text.clone();
    group.bench_function("memcpy", |b| {
        b.iter(|| {
            black_box(&mut copy).copy_from_slice(black_box(&text));
        });
    });
    let mut chunk = vec![0; 64 * 1024];
    group.bench_function("memcpy, chunk by chunk into one buffer", |b| {
        b.iter(|| {
            for part in black_box(&text).chunks(64 * 1024) {
                chunk[..part.len()].copy_from_slice(part);
                black_box(&mut chunk);
            }
        });
    });
    group.bench_function("render", |b| {
        b.iter(|| {
            exposition.for_each_chunk(|chunk| {
                black_box(chunk);
            });
        });
    });
    group.finish();
}

fn publishing(c: &mut Criterion) {
    let snapshots = snapshots();
    let old = Exposition::new(snapshots.clone(), None);
    let mut group = c.benchmark_group("10000 tasks");
    group.sample_size(20);
    group.bench_function("publish, all changed", |b| {
        b.iter(|| Exposition::new(snapshots.clone(), None));
    });
    group.bench_function("publish, none changed", |b| {
        b.iter(|| Exposition::new(snapshots.clone(), Some(&old)));
    });
    group.finish();
}

fn scraping(c: &mut Criterion) {
    let snapshots = snapshots();
    let metrics = Metrics::new(Instruments::new().unwrap());
    for snapshot in &snapshots {
        metrics.instruments.declare_source(&snapshot.source, &["DescribeTasks"]);
        for kind in ["BACKUP", "ONLINE UPGRADE", "RESTORE"] {
            metrics.instruments.declare_kind(&snapshot.source.name, kind, true);
        }
    }
    metrics.replace(Exposition::new(snapshots, None));
    let mut group = c.benchmark_group("10000 tasks");
    group.bench_function("scrape as gzip", |b| {
        b.iter(|| {
            for frame in metrics.scrape(Format::OpenMetrics, Encoding::Gzip).body {
                black_box(frame);
            }
        });
    });
    group.finish();
}

/// The same series in gauges of the `prometheus` crate, written by its encoder.
fn gauges(c: &mut Criterion) {
    let text = text_of(&Exposition::new(snapshots(), None));
    let registry = Registry::new();
    let mut gauges: Vec<(String, GaugeVec)> = Vec::new();
    for line in std::str::from_utf8(&text).unwrap().lines().filter(|l| !l.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap();
        let labels: Vec<_> = labels
            .trim_end_matches("\"}")
            .split("\",")
            .map(|label| label.split_once("=\"").unwrap())
            .collect();
        if gauges.last().is_none_or(|(last, _)| last != name) {
            let names: Vec<_> = labels.iter().map(|&(name, _)| name).collect();
            let gauge = GaugeVec::new(Opts::new(name, "Help."), &names).unwrap();
            registry.register(Box::new(gauge.clone())).unwrap();
            gauges.push((name.to_owned(), gauge));
        }
        let values: Vec<_> = labels.iter().map(|&(_, value)| value).collect();
        gauges.last().unwrap().1.with_label_values(&values).set(value.parse().unwrap());
    }
    let mut out = Vec::with_capacity(2 * text.len());
    let mut group = c.benchmark_group("10000 tasks");
    group.sample_size(10);
    group.bench_function("GaugeVec and TextEncoder", |b| {
        b.iter(|| {
            out.clear();
            TextEncoder::new().encode(&registry.gather(), &mut out).unwrap();
            black_box(&out);
        });
    });
    group.finish();
}

criterion_group!(benches, rendering, publishing, scraping, gauges);
criterion_main!(benches);
