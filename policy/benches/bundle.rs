//! What it costs to verify a bundle or read a local file, and to index its grants for the host.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking"
)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use jiff::{SignedDuration, Timestamp};
use jit_policy::bundle::{Bundle, Facts, Floor, Rejected, Trust, seal};
use jit_policy::grant::{Draft, parse_toml, to_json, to_toml};
use jit_policy::sign::SigningKey;
use jit_policy::{Factor, Grant, HostFacts, Index, Origin};
use std::hint::black_box;

/// The agent's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn grant(n: usize) -> Grant {
    let draft = Draft {
        id: format!("inc-{n}").into(),
        user: Some(format!("user{n}").into()),
        services: vec!["sudo".into()],
        run_as: Some(vec!["root".into(), "postgres".into()]),
        hosts: Some(vec!["db-*".into(), "env=prod".into()]),
        not_before: Some("2026-11-21T10:00:00Z".parse().unwrap()),
        not_after: "2026-11-21T12:00:00Z".parse().unwrap(),
        mfa: Some(Factor::Age(900)),
        reason: Some(format!("INC-{n} failover").into()),
        ticket: Some(format!("INC-{n}").into()),
        approved_by: Some(vec!["carol".into()]),
        ..Draft::default()
    };
    draft.build().unwrap()
}

fn load(c: &mut Criterion) {
    let now: Timestamp = "2026-11-21T11:00:00Z".parse().unwrap();
    let key = SigningKey::generate().unwrap();
    let facts = Facts {
        realm: "prod".into(),
        host: "*".into(),
        seq: 1,
        issued_at: now,
        expires_at: now + SignedDuration::from_hours(24),
    };
    let host = HostFacts {
        name: "db-1".into(),
        ..HostFacts::default()
    };
    let floor = Floor::default();
    let trust = Trust {
        keys: &[key.public()],
        realm: "prod",
        host: "db-1",
        floor: &floor,
        now,
    };
    let load = |bundle: Result<Bundle<'_>, Rejected>| {
        let opened = bundle.unwrap().verify(&trust).unwrap().open().unwrap();
        Index::build(Origin::Central, opened.parsed.grants, &host)
    };
    for size in [1, 1_000, 100_000] {
        let grants: Vec<Grant> = (0..size).map(grant).collect();
        let sent = seal(&key, &facts, &to_json(&grants)).unwrap();
        let (line, text) = {
            let verified = Bundle::read(sent.as_bytes())
                .unwrap()
                .verify(&trust)
                .unwrap();
            let (line, text) = verified.to_keep();
            (line, text.to_owned())
        };
        let kept = line + &text;
        let mut bench = c.benchmark_group("bundle: load");
        bench.sample_size(10);
        bench.throughput(Throughput::Bytes(sent.len() as u64));
        bench.bench_function(BenchmarkId::new("as kept", size), |b| {
            b.iter(|| load(Bundle::restore(black_box(kept.as_bytes()))));
        });
        bench.bench_function(BenchmarkId::new("as sent", size), |b| {
            b.iter(|| load(Bundle::read(black_box(sent.as_bytes()))));
        });
    }
}

fn read_toml(c: &mut Criterion) {
    let mut bench = c.benchmark_group("local file: read and load");
    bench.sample_size(10);
    let host = HostFacts {
        name: "db-1".into(),
        ..HostFacts::default()
    };
    for size in [1, 1_000, 100_000] {
        let text: String = (0..size).map(|n| to_toml(&grant(n))).collect();
        bench.throughput(Throughput::Bytes(text.len() as u64));
        bench.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                let parsed = parse_toml(black_box(&text)).unwrap();
                Index::build(Origin::Local, parsed.grants, &host)
            });
        });
    }
}

criterion_group!(benches, load, read_toml);
criterion_main!(benches);
