//! Grants indexed for one host.

use crate::decide::{Moment, Reason};
use crate::grant::{Grant, Who};
use crate::words;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

/// Where a grant came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// A file on this host.
    #[default]
    Local,
    /// A bundle of the central policy.
    Central,
}

impl Origin {
    /// The word that goes before a grant's id.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Central => "central",
        }
    }
}

/// What grants may aim at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// What grants call this host.
    pub name: String,
    /// What they may aim at besides.
    pub labels: BTreeMap<String, String>,
}

/// The grants of one origin that aim at one host, found by person and by group at a cost that does
/// not grow with other people's grants.
#[derive(Debug, Clone, Default)]
pub struct Index {
    origin: Origin,
    /// Sorted by whom they name, so that each person's are one run.
    grants: Vec<Grant>,
    users: HashMap<Arc<str>, Range<usize>>,
    groups: HashMap<Arc<str>, Range<usize>>,
}

impl Index {
    /// Keeps those of the grants that aim at this host.
    #[must_use]
    pub fn build(origin: Origin, mut grants: Vec<Grant>, host: &HostFacts) -> Self {
        // Neighbours share their terms, and these aim where they aim.
        let mut last = None;
        grants.retain(|grant| match &last {
            Some((terms, aimed)) if Arc::ptr_eq(terms, &grant.terms) => *aimed,
            _ => {
                let aimed = aims_at(grant, host);
                last = Some((Arc::clone(&grant.terms), aimed));
                aimed
            }
        });
        // Moving a few bytes of each first, and each grant once, is cheaper than comparing in place.
        grants.sort_by_cached_key(|grant| beginning(&grant.who));
        for alike in grants.chunk_by_mut(|a, b| beginning(&a.who) == beginning(&b.who)) {
            alike.sort_by(|a, b| (&a.who, &a.id).cmp(&(&b.who, &b.id)));
        }
        grants.shrink_to_fit();
        let (mut users, mut groups) = (Vec::new(), Vec::new());
        let mut start = 0;
        for run in grants.chunk_by(|a, b| a.who == b.who) {
            let range = start..start + run.len();
            start = range.end;
            match run.first().map(|grant| &grant.who) {
                Some(Who::User(name)) => users.push((Arc::clone(name), range)),
                Some(Who::Group(name)) => groups.push((Arc::clone(name), range)),
                None => {}
            }
        }
        Self {
            origin,
            grants,
            users: users.into_iter().collect(),
            groups: groups.into_iter().collect(),
        }
    }

    /// How many grants aim at this host.
    #[must_use]
    pub fn len(&self) -> usize {
        self.grants.len()
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.grants.is_empty()
    }

    /// All of them, in the order of whom they name.
    #[must_use]
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    fn of_user(&self, name: &str) -> &[Grant] {
        self.run(self.users.get(name))
    }

    fn of_group(&self, name: &str) -> &[Grant] {
        self.run(self.groups.get(name))
    }

    fn run(&self, range: Option<&Range<usize>>) -> &[Grant] {
        range
            .and_then(|range| self.grants.get(range.clone()))
            .unwrap_or_default()
    }
}

/// What is compared first when grants are sorted: the kind, and as much of the name as is cheap.
fn beginning(who: &Who) -> (bool, [u8; 15]) {
    let (group, name) = match who {
        Who::User(name) => (false, name),
        Who::Group(name) => (true, name),
    };
    let mut bytes = [0; 15];
    bytes
        .iter_mut()
        .zip(name.bytes())
        .for_each(|(to, from)| *to = from);
    (group, bytes)
}

/// Whether the grant aims at the host: `hosts` names it, or is left out.
#[must_use]
pub fn aims_at(grant: &Grant, host: &HostFacts) -> bool {
    grant.terms.hosts.is_empty()
        || grant
            .terms
            .hosts
            .iter()
            .any(|p| crate::host::matches(p, host))
}

/// The central policy's grants, and how old they may become.
#[derive(Debug, Clone)]
pub struct Central {
    /// Its grants.
    pub index: Arc<Index>,
    /// When the bundle was made.
    pub issued_at: Timestamp,
    /// In seconds: its grants hold while the bundle is no older than this.
    pub max_offline: u32,
}

/// All grants of one host at one time. Immutable: a change of grants is another snapshot.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    local: Arc<Index>,
    central: Option<Central>,
}

impl Snapshot {
    /// Local grants beside central ones, if there is a central policy.
    #[must_use]
    pub fn new(local: Arc<Index>, central: Option<Central>) -> Self {
        Self { local, central }
    }

    /// The local grants.
    #[must_use]
    pub fn local(&self) -> &Arc<Index> {
        &self.local
    }

    /// The central policy.
    #[must_use]
    pub fn central(&self) -> Option<&Central> {
        self.central.as_ref()
    }

    /// The grants that name this person or one of these groups, whether or not they hold now.
    /// Local ones first; each once.
    pub fn grants_of<'a>(
        &'a self,
        user: &'a str,
        groups: &'a [String],
    ) -> impl Iterator<Item = Held<'a>> {
        self.indexes().flat_map(move |(index, lease)| {
            let of_groups = groups.iter().enumerate().flat_map(move |(i, group)| {
                let found = index.of_group(group);
                // A group may be listed twice (as primary and as supplementary).
                let again = !found.is_empty() && groups.iter().take(i).any(|g| g == group);
                if again { &[] } else { found }
            });
            index
                .of_user(user)
                .iter()
                .chain(of_groups)
                .map(move |grant| Held {
                    origin: index.origin,
                    grant,
                    lease,
                })
        })
    }

    /// Every grant that aims at this host.
    pub fn all(&self) -> impl Iterator<Item = Held<'_>> {
        self.indexes().flat_map(|(index, lease)| {
            let held = move |grant| Held {
                origin: index.origin,
                grant,
                lease,
            };
            index.grants.iter().map(held)
        })
    }

    fn indexes(&self) -> impl Iterator<Item = (&Index, Option<Lease>)> {
        let central = self.central.as_ref().map(|central| {
            let lease = Lease {
                issued_at: central.issued_at,
                max_offline: central.max_offline,
            };
            (&*central.index, Some(lease))
        });
        std::iter::once((&*self.local, None)).chain(central)
    }
}

/// How long a central grant may be believed without news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lease {
    issued_at: Timestamp,
    max_offline: u32,
}

/// A grant in a snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Held<'a> {
    /// Where it came from.
    pub origin: Origin,
    /// The grant.
    pub grant: &'a Grant,
    lease: Option<Lease>,
}

impl Held<'_> {
    /// `local:ID` or `central:ID`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}:{}", self.origin.as_str(), self.grant.id)
    }

    /// For a central grant: how old the policy is.
    pub(crate) fn age(&self, now: Timestamp) -> Option<SignedDuration> {
        self.lease.map(|lease| now.duration_since(lease.issued_at))
    }

    /// For a central grant: how old the policy may be for this grant to hold.
    pub(crate) fn patience(&self) -> Option<SignedDuration> {
        self.lease.map(|lease| {
            let tighter = self.grant.terms.max_offline.unwrap_or(u32::MAX);
            SignedDuration::from_secs(lease.max_offline.min(tighter).into())
        })
    }

    /// Whether the policy that holds this grant is too old for it.
    pub(crate) fn is_forgotten(&self, now: Timestamp) -> bool {
        self.age(now) > self.patience()
    }
}

/// What a grant is doing now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It holds.
    Active,
    /// It has not started.
    Later,
    /// One of its conditions does not hold now.
    Waiting,
    /// It has ended.
    Expired,
}

impl Phase {
    /// `active`, `later`, `waiting`, `expired`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Later => "later",
            Self::Waiting => "waiting",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A grant's state, to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What it is doing.
    pub phase: Phase,
    /// In words: `42 min left`, `starts in 2 h`, or the condition that does not hold. Printable.
    pub detail: String,
    /// While active: the earlier of `not_after` and the end of the schedule's window.
    pub until: Option<Timestamp>,
}

/// What a grant is doing, for a person who came from `source` (`None`: nobody knows). Service and
/// target do not matter.
#[must_use]
pub fn state_of(held: &Held<'_>, source: Option<IpAddr>, at: &Moment) -> State {
    match crate::decide::holds_until(held, source, at) {
        Ok(until) => State {
            phase: Phase::Active,
            detail: words::left(until, at),
            until: Some(until),
        },
        Err(reason) => {
            let phase = match reason {
                Reason::NotStarted => Phase::Later,
                Reason::Expired => Phase::Expired,
                _ => Phase::Waiting,
            };
            let detail = match reason {
                Reason::Source => words::source(&held.grant.terms.when.source, source),
                _ => words::timing(held, reason, at),
            };
            State {
                phase,
                detail,
                until: None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::parse_toml;

    /// Names that begin alike for longer than [`beginning`] looks, and short ones.
    #[test]
    fn grants_stand_in_the_order_of_whom_they_name() {
        let names = [
            ("user", "a-very-long-name-2"),
            ("group", "a-very-long-name-1"),
            ("user", "b"),
            ("user", "a-very-long-nam"),
            ("user", "a-very-long-name-1"),
            ("group", "b"),
            ("user", "a-very-long-name-2"),
            ("user", "ä"),
            ("user", "a"),
        ];
        let text: String = names
            .iter()
            .enumerate()
            .map(|(nth, (kind, name))| {
                let id = names.len() - nth;
                format!(
                    "[[grant]]\nid = \"{id}\"\n{kind} = \"{name}\"\nservices = [\"sudo\"]\nnot_after = 2026-11-21T12:00:00Z\n"
                )
            })
            .collect();
        let grants = parse_toml(&text).unwrap().grants;
        let mut expected = grants.clone();
        expected.sort_by(|a, b| (&a.who, &a.id).cmp(&(&b.who, &b.id)));
        let index = Index::build(Origin::Local, grants, &HostFacts::default());
        assert_eq!(index.grants(), expected);
        for (kind, name) in names {
            let found = match kind {
                "user" => index.of_user(name),
                _ => index.of_group(name),
            };
            let who = match kind {
                "user" => Who::User(name.into()),
                _ => Who::Group(name.into()),
            };
            let all: Vec<_> = expected.iter().filter(|g| g.who == who).collect();
            assert!(found.iter().eq(all), "{kind} {name}");
        }
    }
}
