//! What one decision costs, with many grants on the host: one of them mine, or all of them.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking"
)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use jit_policy::grant::{Draft, WhenDraft, WindowDraft};
use jit_policy::{
    Ask, Decision, Factor, Grant, HostFacts, Index, Moment, Origin, Snapshot, Target, decide,
};
use std::hint::black_box;
use std::sync::Arc;

const SIZES: [usize; 3] = [1, 1_000, 100_000];

fn grant(n: usize, user: &str, when: Option<WhenDraft>) -> Grant {
    let draft = Draft {
        id: format!("inc-{n}").into(),
        user: Some(user.into()),
        services: vec!["sudo".into()],
        run_as: Some(vec!["root".into(), "postgres".into()]),
        not_before: Some("2026-11-21T10:00:00Z".parse().unwrap()),
        not_after: "2026-11-21T12:00:00Z".parse().unwrap(),
        mfa: Some(Factor::Age(900)),
        reason: Some("INC-4711 failover".into()),
        when,
        ..Draft::default()
    };
    draft.build().unwrap()
}

fn snapshot(grants: Vec<Grant>) -> Snapshot {
    let host = HostFacts {
        name: "db-1".into(),
        ..HostFacts::default()
    };
    Snapshot::new(Arc::new(Index::build(Origin::Local, grants, &host)), None)
}

fn put(snapshot: &Snapshot, groups: &[String], target: Target<'_>) -> Decision {
    let ask = Ask {
        user: "alice",
        groups,
        service: "sudo",
        target,
        source: None,
        grant_required: true,
        floor: Factor::Age(3600),
    };
    let now = "2026-11-21T11:00:00Z".parse().unwrap();
    let at = Moment {
        latest: now,
        earliest: now,
        settled: true,
    };
    decide(black_box(snapshot), black_box(&ask), black_box(&at))
}

const ROOT: Target<'_> = Target::Account {
    name: "root",
    uid0: true,
};

fn one_of_many(c: &mut Criterion) {
    let mut bench = c.benchmark_group("decide: one grant of mine among");
    let groups = ["alice", "users", "adm", "dba"].map(String::from);
    for size in SIZES {
        let mut grants: Vec<Grant> = (1..size)
            .map(|n| grant(n, &format!("user{n}"), None))
            .collect();
        grants.push(grant(0, "alice", None));
        let snapshot = snapshot(grants);
        bench.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| put(&snapshot, &groups, ROOT));
        });
    }
}

fn all_mine(c: &mut Criterion) {
    let mut bench = c.benchmark_group("decide: all grants mine");
    for size in SIZES {
        let snapshot = snapshot((0..size).map(|n| grant(n, "alice", None)).collect());
        bench.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| put(&snapshot, &[], ROOT));
        });
    }
}

fn kinds(c: &mut Criterion) {
    let mut bench = c.benchmark_group("decide: one grant of mine");
    let plain = snapshot(vec![grant(0, "alice", None)]);
    bench.bench_function("target unknown", |b| {
        b.iter(|| put(&plain, &[], Target::Unknown))
    });
    let other = Target::Account {
        name: "www",
        uid0: false,
    };
    bench.bench_function("denied", |b| b.iter(|| put(&plain, &[], other)));
    let window = WindowDraft {
        days: "mon-sun".into(),
        from: "09:00".into(),
        to: "17:00".into(),
        zone: "Europe/Berlin".into(),
    };
    let when = WhenDraft {
        schedule: Some(vec![window]),
        ..WhenDraft::default()
    };
    let scheduled = snapshot(vec![grant(0, "alice", Some(when))]);
    bench.bench_function("with a schedule", |b| b.iter(|| put(&scheduled, &[], ROOT)));
}

criterion_group!(benches, one_of_many, all_mine, kinds);
criterion_main!(benches);
