//! The grants in force: read without waiting, replaced whole.

use arc_swap::ArcSwap;
use jiff::Timestamp;
use jit_policy::snapshot::Central;
use jit_policy::snapshot::Held;
use jit_policy::{Index, Snapshot};
use std::sync::{Arc, Mutex, PoisonError};

/// The snapshot that decisions are made on. Local and central grants change on their own: each
/// keeps the index it has while the other is replaced.
#[derive(Debug)]
pub(super) struct Current {
    in_force: ArcSwap<InForce>,
    parts: Mutex<Parts>,
}

#[derive(Debug)]
struct InForce {
    snapshot: Arc<Snapshot>,
    /// The sequence number of the bundle in it.
    seq: Option<u64>,
}

#[derive(Debug)]
struct Parts {
    local: Arc<Index>,
    central: Option<(u64, Central)>,
    /// Ends up to here were told.
    told: Timestamp,
    /// The first end after that; outdated when `None`.
    next_end: Option<Timestamp>,
}

/// A grant that ran out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) id: String,
    pub(super) who: jit_policy::Who,
    pub(super) not_after: Timestamp,
}

impl Current {
    /// Nothing in force. Ends before `now` are history and not told.
    pub(super) fn new(local: Index, now: Timestamp) -> Self {
        let local = Arc::new(local);
        Self {
            in_force: ArcSwap::from_pointee(InForce {
                snapshot: Arc::new(Snapshot::new(Arc::clone(&local), None)),
                seq: None,
            }),
            parts: Mutex::new(Parts {
                local,
                central: None,
                told: now,
                next_end: None,
            }),
        }
    }

    /// What is in force now.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.in_force.load().snapshot)
    }

    /// Which bundle is in force, and when it was made.
    pub(super) fn bundle(&self) -> Option<(u64, Timestamp)> {
        let in_force = self.in_force.load();
        Some((in_force.seq?, in_force.snapshot.central()?.issued_at))
    }

    /// The local grants in force.
    pub(super) fn local(&self) -> Arc<Index> {
        Arc::clone(
            &self
                .parts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .local,
        )
    }

    pub(super) fn set_local(&self, index: Index) {
        self.change(|parts| parts.local = Arc::new(index));
    }

    /// Replaces the central grants, given with their bundle's sequence number.
    pub(super) fn set_central(&self, central: Option<(u64, Central)>) {
        self.change(|parts| parts.central = central);
    }

    fn change(&self, change: impl FnOnce(&mut Parts)) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut parts);
        parts.next_end = None;
        // Under the lock: of two changes at once, the later snapshot must hold both.
        let (seq, central) = parts.central.clone().unzip();
        let snapshot = Arc::new(Snapshot::new(Arc::clone(&parts.local), central));
        self.in_force.store(Arc::new(InForce { snapshot, seq }));
    }

    /// The grants that ran out since this was asked last. Each is told once: time that is set back
    /// and passes again brings none of them back.
    pub(super) fn ended(&self, now: Timestamp) -> Vec<Ended> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let told = parts.told;
        if now <= told {
            return Vec::new();
        }
        let snapshot = self.snapshot();
        let ends = || snapshot.all().map(|held| held.grant.not_after);
        let next = *parts.next_end.get_or_insert_with(|| {
            ends()
                .filter(|end| *end > told)
                .min()
                .unwrap_or(Timestamp::MAX)
        });
        parts.told = now;
        if now < next {
            return Vec::new();
        }
        parts.next_end = None;
        snapshot
            .all()
            .filter(|held| told < held.grant.not_after && held.grant.not_after <= now)
            .map(|held| ended(&held))
            .collect()
    }
}

fn ended(held: &Held<'_>) -> Ended {
    Ended {
        id: held.name(),
        who: held.grant.who.clone(),
        not_after: held.grant.not_after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;
    use jit_policy::grant::parse_toml;
    use jit_policy::{HostFacts, Origin};

    fn index(grants: &[(&str, Timestamp)]) -> Index {
        let text: String = grants
            .iter()
            .map(|(id, end)| {
                format!(
                    "[[grant]]\nid=\"{id}\"\nuser=\"alice\"\nservices=[\"sudo\"]\nnot_after={end}\n"
                )
            })
            .collect();
        let parsed = parse_toml(&text).unwrap();
        assert_eq!(parsed.grants.len(), grants.len());
        Index::build(Origin::Local, parsed.grants, &HostFacts::default())
    }

    #[test]
    fn each_end_is_told_once_whatever_the_clock_does() {
        let start = Timestamp::from_second(1_000_000).unwrap();
        let at = |secs| start + SignedDuration::from_secs(secs);
        let ids = |ended: Vec<Ended>| ended.into_iter().map(|e| e.id).collect::<Vec<_>>();
        let current = Current::new(
            index(&[("old", at(-1)), ("a", at(10)), ("b", at(20))]),
            start,
        );
        assert_eq!(ids(current.ended(at(9))), [""; 0]);
        assert_eq!(
            ids(current.ended(at(10))),
            ["local:a"],
            "the end is exclusive"
        );
        assert_eq!(ids(current.ended(at(5))), [""; 0]);
        assert_eq!(ids(current.ended(at(15))), [""; 0]);
        current.set_local(index(&[
            ("a", at(10)),
            ("b", at(20)),
            ("c", at(30)),
            ("d", at(14)),
        ]));
        assert_eq!(ids(current.ended(at(40))), ["local:b", "local:c"]);
        assert_eq!(ids(current.ended(at(50))), [""; 0]);
    }

    #[test]
    fn each_side_changes_alone() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let current = Current::new(index(&[("a", now)]), now);
        let central = Central {
            index: Arc::new(index(&[("b", now)])),
            issued_at: now,
            max_offline: 60,
        };
        let before = current.local();
        current.set_central(Some((7, central)));
        assert!(Arc::ptr_eq(&before, &current.local()));
        assert_eq!(current.bundle(), Some((7, now)));
        assert_eq!(current.snapshot().all().count(), 2);
        current.set_local(index(&[]));
        assert_eq!(current.bundle(), Some((7, now)));
        assert_eq!(current.snapshot().all().count(), 1);
        current.set_central(None);
        assert_eq!(
            (current.bundle(), current.snapshot().all().count()),
            (None, 0)
        );
    }
}
