//! The heart: may this person do this, now, on this host?

use crate::factor::Factor;
use crate::grant::Grant;
use crate::snapshot::{Held, Snapshot};
use crate::words;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// What the person wants to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// Entry: they become themselves; `run_as` does not matter.
    Itself,
    /// Elevation whose target is not known yet (sudo's account phase): any target will do to go on,
    /// and the factor is the greatest that any covered target needs.
    Unknown,
    /// This account.
    Account {
        /// Its name.
        name: &'a str,
        /// Whether its uid is 0: then only `root` or `*` covers it.
        uid0: bool,
    },
    /// More than one account's power (edit mode, a chosen group): only `root` or `*` covers it.
    Everything,
}

/// One question.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The principal's login name.
    pub user: &'a str,
    /// The principal's groups on this host, the primary one included; empty if the look-up failed.
    pub groups: &'a [String],
    /// Base name of the service.
    pub service: &'a str,
    /// What they want to become.
    pub target: Target<'a>,
    /// Where they came from, if known.
    pub source: Option<IpAddr>,
    /// Whether the service requires an active grant at all.
    pub grant_required: bool,
    /// The service's floor for the factor.
    pub floor: Factor,
}

/// The time of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The later of wall clock and trusted chain: ends are compared with this.
    pub latest: Timestamp,
    /// The earlier of the two: starts are compared with this.
    pub earliest: Timestamp,
    /// False when the clock is known to be wrong: then no grant holds.
    pub settled: bool,
}

/// Why. Stable: these words stand in audit records and in the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A grant holds.
    Granted,
    /// The service requires no grant.
    NotRequired,
    /// No grant names this person (for this service).
    NoGrant,
    /// The grant has not started.
    NotStarted,
    /// The grant has ended.
    Expired,
    /// Outside the grant's schedule.
    Schedule,
    /// The person's source is not in the grant's networks, or unknown.
    Source,
    /// The grant does not cover this target.
    Target,
    /// The central policy is too old.
    Offline,
    /// The clock is known to be wrong.
    Clock,
}

impl Reason {
    /// The stable word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::NotRequired => "not_required",
            Self::NoGrant => "no_grant",
            Self::NotStarted => "not_started",
            Self::Expired => "expired",
            Self::Schedule => "schedule",
            Self::Source => "source",
            Self::Target => "target",
            Self::Offline => "offline",
            Self::Clock => "clock",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One grant's part in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// `local:ID` or `central:ID`.
    pub id: String,
    /// Whether all of it holds.
    pub matched: bool,
    /// The first condition that does not; [`Reason::NoGrant`] when it covers another service.
    pub failed: Option<Reason>,
    /// In words, printable: what failed, or how long it lasts.
    pub detail: String,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may go on, the factor aside.
    pub allowed: bool,
    /// Why.
    pub reason: Reason,
    /// For a person: empty when allowed, else the first condition of the nearest grant that failed.
    pub detail: String,
    /// What must be proved; meaningful when allowed.
    pub need: Factor,
    /// The grant that carries it (allowed), or the nearest one (denied), as `local:ID`/`central:ID`.
    pub grant: Option<String>,
    /// When allowed by a grant: the earlier of its `not_after` and the end of its schedule's window.
    pub until: Option<Timestamp>,
}

/// Decides. Total and pure.
///
/// The grants that name the person are a union: any one that holds is enough. The factor is the
/// least that a holding grant covering the target asks for, never less than the service's floor; of
/// the grants that need least, the one that lasts longest is named. While the target is unknown, the
/// factor is the greatest over all targets that holding grants cover, and the grant named is
/// whichever lasts longest.
#[must_use]
pub fn decide(grants: &Snapshot, ask: &Ask<'_>, at: &Moment) -> Decision {
    if !ask.grant_required {
        return allowed(Reason::NotRequired, ask.floor, None);
    }
    let mut best: Option<Carrier<'_>> = None;
    let mut nearest: Option<Miss<'_>> = None;
    let mut covered = Covered::default();
    for held in grants.grants_of(ask.user, ask.groups) {
        match judge(&held, ask, at) {
            Ok(until) => {
                let mut need = held
                    .grant
                    .terms
                    .mfa
                    .map_or(ask.floor, |asked| asked.max(ask.floor));
                if ask.target == Target::Unknown {
                    covered.add(&held.grant.terms.run_as, need);
                    // Which grant will carry it, the target decides: until then none needs less.
                    need = Factor::Always;
                }
                let carrier = Carrier { held, need, until };
                if best
                    .as_ref()
                    .is_none_or(|other| carrier.is_better_than(other))
                {
                    best = Some(carrier);
                }
            }
            Err(reason) => {
                let miss = Miss { held, reason };
                if nearest
                    .as_ref()
                    .is_none_or(|other| miss.is_nearer_than(other))
                {
                    nearest = Some(miss);
                }
            }
        }
    }
    match best {
        Some(best) => {
            let need = covered.greatest().unwrap_or(best.need);
            allowed(Reason::Granted, need, Some(&best))
        }
        None => denied(nearest.as_ref(), ask, at),
    }
}

/// Judges each grant that names the person, in the words that a denial would use. Whether the
/// service requires a grant does not matter here.
#[must_use]
pub fn explain(grants: &Snapshot, ask: &Ask<'_>, at: &Moment) -> Vec<Explained> {
    let judged = grants.grants_of(ask.user, ask.groups).map(|held| {
        let id = held.name();
        match judge(&held, ask, at) {
            Ok(until) => Explained {
                id,
                matched: true,
                failed: None,
                detail: words::left(until, at),
            },
            Err(reason) => Explained {
                id,
                matched: false,
                failed: Some(reason),
                detail: words::failure(&held, reason, ask, at),
            },
        }
    });
    judged.collect()
}

/// Until when the grant holds, or its first condition that does not.
fn judge(held: &Held<'_>, ask: &Ask<'_>, at: &Moment) -> Result<Timestamp, Reason> {
    if !held.grant.terms.covers_service(ask.service) {
        return Err(Reason::NoGrant);
    }
    let until = holds_until(held, ask.source, at)?;
    if covers(held.grant, ask.target) {
        Ok(until)
    } else {
        Err(Reason::Target)
    }
}

/// As [`judge`], for any service and target: the earlier of `not_after` and the end of the
/// schedule's window.
///
/// Ends are compared with the later of the two clocks and starts with the earlier one; a schedule
/// must be open by both.
pub(crate) fn holds_until(
    held: &Held<'_>,
    source: Option<IpAddr>,
    at: &Moment,
) -> Result<Timestamp, Reason> {
    let grant = held.grant;
    if !at.settled {
        return Err(Reason::Clock);
    }
    if at.latest >= grant.not_after {
        return Err(Reason::Expired);
    }
    if grant.not_before.is_some_and(|start| at.earliest < start) {
        return Err(Reason::NotStarted);
    }
    if held.is_forgotten(at.latest) {
        return Err(Reason::Offline);
    }
    let closes = grant
        .terms
        .when
        .open_until(at.latest)
        .ok_or(Reason::Schedule)?;
    if at.earliest != at.latest && grant.terms.when.open_until(at.earliest).is_none() {
        return Err(Reason::Schedule);
    }
    if !grant.terms.when.source_holds(source) {
        return Err(Reason::Source);
    }
    Ok(closes.min(grant.not_after))
}

fn covers(grant: &Grant, target: Target<'_>) -> bool {
    match target {
        Target::Itself | Target::Unknown => true,
        Target::Everything | Target::Account { uid0: true, .. } => grant.terms.covers_root(),
        Target::Account { name, uid0: false } => {
            grant.terms.names_target(name) || grant.terms.names_target("*")
        }
    }
}

/// A grant that holds.
struct Carrier<'a> {
    held: Held<'a>,
    need: Factor,
    until: Timestamp,
}

impl Carrier<'_> {
    fn is_better_than(&self, other: &Self) -> bool {
        (other.need, self.until) > (self.need, other.until)
    }
}

/// A grant that does not hold.
struct Miss<'a> {
    held: Held<'a>,
    reason: Reason,
}

impl Miss<'_> {
    /// The nearest grant is the one that failed last; of those, the one that starts soonest or
    /// ends last.
    fn is_nearer_than(&self, other: &Self) -> bool {
        let (mine, theirs) = (self.held.grant, other.held.grant);
        let nearer = match self.reason {
            Reason::NotStarted => mine.not_before < theirs.not_before,
            _ => mine.not_after > theirs.not_after,
        };
        self.rank() > other.rank() || (self.rank() == other.rank() && nearer)
    }

    /// How far the grant came, in the order of [`judge`] and [`holds_until`].
    fn rank(&self) -> u8 {
        match self.reason {
            Reason::NoGrant => 0,
            Reason::Clock => 1,
            Reason::Expired => 2,
            Reason::NotStarted => 3,
            Reason::Offline => 4,
            Reason::Schedule => 5,
            Reason::Source => 6,
            Reason::Target => 7,
            Reason::Granted | Reason::NotRequired => 8,
        }
    }
}

/// The targets that holding grants cover, and the least that each needs.
#[derive(Default)]
struct Covered<'a> {
    named: BTreeMap<&'a str, Factor>,
    /// `*`: any target that no grant names.
    other: Option<Factor>,
}

impl<'a> Covered<'a> {
    fn add(&mut self, run_as: &'a [Box<str>], need: Factor) {
        for name in run_as {
            if &**name == "*" {
                self.other = Some(self.other.map_or(need, |least| least.min(need)));
            } else {
                self.named
                    .entry(name)
                    .and_modify(|least| *least = need.min(*least))
                    .or_insert(need);
            }
        }
    }

    /// The greatest that a covered target needs; a named one may also go by `*`.
    fn greatest(&self) -> Option<Factor> {
        let named = self
            .named
            .values()
            .map(|least| self.other.map_or(*least, |o| o.min(*least)));
        named.chain(self.other).max()
    }
}

fn allowed(reason: Reason, need: Factor, by: Option<&Carrier<'_>>) -> Decision {
    Decision {
        allowed: true,
        reason,
        detail: String::new(),
        need,
        grant: by.map(|carrier| carrier.held.name()),
        until: by.map(|carrier| carrier.until),
    }
}

fn denied(nearest: Option<&Miss<'_>>, ask: &Ask<'_>, at: &Moment) -> Decision {
    let miss = nearest.filter(|miss| miss.reason != Reason::NoGrant);
    Decision {
        allowed: false,
        reason: miss.map_or(Reason::NoGrant, |miss| miss.reason),
        detail: match miss {
            Some(miss) => words::failure(&miss.held, miss.reason, ask, at),
            None => words::no_grant(ask, nearest.is_some()),
        },
        need: Factor::Always,
        grant: miss.map(|miss| miss.held.name()),
        until: None,
    }
}
