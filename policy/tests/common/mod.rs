//! What the tests of this crate share.
#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its part"
)]

use jiff::Timestamp;
use jit_policy::grant::{Grant, parse_toml};
use jit_policy::snapshot::Central;
use jit_policy::{Ask, Factor, HostFacts, Index, Moment, Origin, Snapshot, Target};
use std::sync::Arc;

pub fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A moment at which both clocks agree.
pub fn at(text: &str) -> Moment {
    Moment {
        latest: time(text),
        earliest: time(text),
        settled: true,
    }
}

pub fn host() -> HostFacts {
    HostFacts {
        name: "db-1".into(),
        labels: [("env".into(), "prod".into())].into(),
    }
}

/// The grants of a text that must have no fault.
pub fn grants(toml: &str) -> Vec<Grant> {
    let parsed = parse_toml(toml).unwrap();
    assert_eq!(parsed.faults, [], "{toml}");
    parsed.grants
}

pub fn index(origin: Origin, toml: &str) -> Arc<Index> {
    Arc::new(Index::build(origin, grants(toml), &host()))
}

pub fn local(toml: &str) -> Snapshot {
    Snapshot::new(index(Origin::Local, toml), None)
}

pub fn central(toml: &str, issued_at: &str, max_offline: u32) -> Snapshot {
    let index = index(Origin::Central, toml);
    let central = Central {
        index,
        issued_at: time(issued_at),
        max_offline,
    };
    Snapshot::new(Arc::default(), Some(central))
}

pub fn account(name: &str) -> Target<'_> {
    Target::Account {
        name,
        uid0: name == "root",
    }
}

/// alice asks for root by sudo; the floor asks for nothing.
pub fn ask() -> Ask<'static> {
    Ask {
        user: "alice",
        groups: &[],
        service: "sudo",
        target: Target::Account {
            name: "root",
            uid0: true,
        },
        source: None,
        grant_required: true,
        floor: Factor::None,
    }
}
