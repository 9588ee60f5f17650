//! Grants indexed for one host.

use crate::decide::{Moment, Reason};
use crate::grant::{Grant, Who};
use crate::words;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
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

/// Where grants stand that name a person, or those that name a group: for each the hash of the name
/// and the grant's place, sorted.
type Places = Vec<(u64, usize)>;

/// The grants of one origin that aim at one host, found by person and by group at a cost that does
/// not grow with other people's grants.
#[derive(Debug, Clone, Default)]
pub struct Index {
    origin: Origin,
    grants: Vec<Grant>,
    users: Places,
    groups: Places,
    state: RandomState,
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
        grants.shrink_to_fit();
        let state = RandomState::new();
        let (mut users, mut groups) = (Places::new(), Places::new());
        for (place, grant) in grants.iter().enumerate() {
            match &grant.who {
                Who::User(name) => users.push((state.hash_one(name), place)),
                Who::Group(name) => groups.push((state.hash_one(name), place)),
            }
        }
        users.sort_unstable();
        groups.sort_unstable();
        Self {
            origin,
            grants,
            users,
            groups,
            state,
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

    /// All of them, in the order in which they were given.
    #[must_use]
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// Those that name one person or group, in the same order.
    fn of(&self, who: Who<&str>) -> impl Iterator<Item = &Grant> {
        let (places, name) = match who {
            Who::User(name) => (&self.users, name),
            Who::Group(name) => (&self.groups, name),
        };
        self.run(places, name)
            .iter()
            .filter_map(|(_, place)| self.grants.get(*place))
            // Two names may have one hash.
            .filter(move |grant| grant.who.as_deref() == who)
    }

    /// The places under the name's hash.
    fn run<'a>(&self, places: &'a [(u64, usize)], name: &str) -> &'a [(u64, usize)] {
        // Most hosts have grants of one origin, and few name groups.
        if places.is_empty() {
            return &[];
        }
        let hash = self.state.hash_one(name);
        let first = places.partition_point(|(other, _)| *other < hash);
        let places = places.get(first..).unwrap_or_default();
        let alike = places.iter().take_while(|(other, _)| *other == hash);
        places.get(..alike.count()).unwrap_or_default()
    }
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
                // A group may be listed twice (as primary and as supplementary).
                let again = move || groups.iter().take(i).any(|g| g == group);
                index.of(Who::Group(group)).filter(move |_| !again())
            });
            index
                .of(Who::User(user))
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

    #[test]
    fn each_is_found_by_whom_it_names_and_stands_where_it_stood() {
        let names = [
            ("user", "b"),
            ("group", "a"),
            ("user", "a"),
            ("group", "b"),
            ("user", "b"),
            ("user", "\u{e4}"),
            ("user", "a"),
            ("user", "b"),
        ];
        let text: String = names
            .iter()
            .enumerate()
            .map(|(nth, (kind, name))| {
                format!(
                    "[[grant]]\nid = \"{}\"\n{kind} = \"{name}\"\nservices = [\"sudo\"]\nnot_after = 2026-11-21T12:00:00Z\n",
                    names.len() - nth
                )
            })
            .collect();
        let grants = parse_toml(&text).unwrap().grants;
        let index = Index::build(Origin::Local, grants.clone(), &HostFacts::default());
        assert_eq!(index.grants(), grants);
        for (kind, name) in names
            .into_iter()
            .chain([("user", "c"), ("group", "\u{e4}")])
        {
            let who = match kind {
                "user" => Who::User(name),
                _ => Who::Group(name),
            };
            let all = grants.iter().filter(|g| g.who.as_deref() == who);
            assert!(index.of(who).eq(all), "{who:?}");
        }
    }

    /// Two names with one hash are still two names.
    #[test]
    fn a_hash_alone_finds_nothing() {
        let text = "[[grant]]\nid = \"a\"\nuser = \"alice\"\nservices = [\"sudo\"]\nnot_after = 2026-11-21T12:00:00Z\n";
        let grants = parse_toml(text).unwrap().grants;
        let mut index = Index::build(Origin::Local, grants, &HostFacts::default());
        index.users = vec![(index.state.hash_one("bob"), 0)];
        assert_eq!(index.of(Who::User("bob")).count(), 0);
    }
}
