//! Grants as they are shown.

use jit_policy::snapshot::{Held, Phase, state_of};
use jit_policy::{Moment, Snapshot, Who};
use jit_protocol::message::GrantRow;
use std::net::IpAddr;

/// Every grant, local ones first, each person's and group's together.
pub(super) fn all(snapshot: &Snapshot, at: &Moment) -> Vec<GrantRow> {
    let mut all: Vec<_> = snapshot.all().collect();
    sort(&mut all);
    all.iter().map(|held| row(held, None, at)).collect()
}

fn sort(all: &mut [Held<'_>]) {
    all.sort_by_key(|held| (held.origin, &held.grant.who, &held.grant.id));
}

/// One person's, without those that ended.
pub(super) fn of(
    snapshot: &Snapshot,
    user: &str,
    groups: &[String],
    source: Option<IpAddr>,
    at: &Moment,
) -> Vec<GrantRow> {
    let ended = Phase::Expired.as_str();
    let mut held: Vec<_> = snapshot.grants_of(user, groups).collect();
    sort(&mut held);
    let rows = held.iter().map(|held| row(held, source, at));
    rows.filter(|row| row.state != ended).collect()
}

/// The one of this name (`local:ID`).
pub(super) fn named(snapshot: &Snapshot, name: &str, at: &Moment) -> Option<GrantRow> {
    snapshot
        .all()
        .find(|held| held.name() == name)
        .map(|held| row(&held, None, at))
}

fn row(held: &Held<'_>, source: Option<IpAddr>, at: &Moment) -> GrantRow {
    let grant = held.grant;
    let state = state_of(held, source, at);
    let (user, group) = match &grant.who {
        Who::User(name) => (Some(name.to_string()), None),
        Who::Group(name) => (None, Some(name.to_string())),
    };
    let words = |names: &[Box<str>]| names.iter().map(ToString::to_string).collect();
    GrantRow {
        id: held.name(),
        state: state.phase.as_str().to_owned(),
        detail: state.detail,
        user,
        group,
        services: words(&grant.terms.services),
        run_as: words(&grant.terms.run_as),
        not_before: grant.not_before.map(|t| t.to_string()),
        not_after: grant.not_after.to_string(),
        until: state.until.map(|t| t.to_string()),
        mfa: grant.terms.mfa.map(|factor| factor.to_string()),
        reason: grant.reason.as_deref().map(str::to_owned),
        ticket: grant.ticket.as_deref().map(str::to_owned),
        approved_by: words(&grant.terms.approved_by),
    }
}
