//! What the two sides of a conversation spend on its messages.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking"
)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use jit_protocol::frame::{self, HEADER};
use jit_protocol::message::{Outcome, PamAsk, PamReply, Phase, Reply, Request, Txn, V1, Verdict};

fn ask() -> Request {
    Request::Pam(PamAsk {
        v: V1,
        phase: Phase::Account,
        txn: Txn(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        service: "sudo".into(),
        flags: 0x8000,
        ruid: 1001,
        euid: 0,
        user: "alice".into(),
        ruser: Some("alice".into()),
        tty: Some("/dev/pts/3".into()),
        rhost: None,
        interactive: true,
        observe: false,
        fixed: None,
        cmdline: Some("c3VkbwBzeXN0ZW1jdGwAcmVzdGFydABuZ2lueAA=".into()),
    })
}

fn verdict() -> Reply {
    Reply::Verdict(Verdict {
        result: Outcome::Allow,
        reason: "granted".into(),
        message: None,
        grant: Some("local:inc-4711-alice".into()),
        until: Some("2026-11-21T12:00:00Z".into()),
        id: Some("01KB00000000000000000000000".into()),
        principal: Some(1001),
    })
}

fn messages(c: &mut Criterion) {
    let mut bench = c.benchmark_group("protocol");
    let (ask, verdict) = (ask(), verdict());
    let asked = frame::encode(&ask).unwrap();
    let said = frame::encode(&verdict).unwrap();
    bench.bench_function("ask: encode", |b| {
        b.iter(|| frame::encode(black_box(&ask)).unwrap());
    });
    bench.bench_function("ask: decode", |b| {
        b.iter(|| read::<Request>(black_box(&asked)));
    });
    bench.bench_function("verdict: encode", |b| {
        b.iter(|| frame::encode(black_box(&verdict)).unwrap());
    });
    // The module's own, narrower reading of it.
    bench.bench_function("verdict: decode", |b| {
        b.iter(|| read::<PamReply>(black_box(&said)));
    });
}

fn read<T: serde::de::DeserializeOwned>(frame: &[u8]) -> T {
    let (header, body) = frame.split_first_chunk::<HEADER>().unwrap();
    assert_eq!(frame::body_len(*header).unwrap(), body.len());
    frame::decode(body).unwrap()
}

criterion_group!(benches, messages);
criterion_main!(benches);
