//! Times and conditions in words, for people.

use crate::condition::Window;
use crate::decide::{Ask, Moment, Reason, Target};
use crate::snapshot::Held;
use crate::text::quoted;
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use std::fmt::Display;
use std::net::IpAddr;

/// A span as a person would say it, rounded down: `45 s`, `42 min`, `2 h`, `2 h 10 min`, `3 days`.
/// A negative span counts as nothing.
#[must_use]
pub fn span_in_words(span: SignedDuration) -> String {
    let seconds = span.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match () {
        () if seconds < 120 => format!("{seconds} s"),
        () if minutes < 60 => format!("{minutes} min"),
        () if hours < 10 && minutes % 60 != 0 => format!("{hours} h {} min", minutes % 60),
        () if hours < 48 => format!("{hours} h"),
        () => format!("{days} days"),
    }
}

/// The condition that failed, in words. Safe to print whatever the question held.
pub(crate) fn failure(held: &Held<'_>, reason: Reason, ask: &Ask<'_>, at: &Moment) -> String {
    let grant = held.grant;
    match reason {
        Reason::NoGrant => format!(
            "covers {}, not {}",
            list(&grant.terms.services),
            bare(ask.service)
        ),
        Reason::Target => target(ask.target),
        Reason::Source => source(&grant.terms.when.source, ask.source),
        _ => timing(held, reason, at),
    }
}

/// Those of [`failure`]'s words that depend on nothing but the grant and the time.
pub(crate) fn timing(held: &Held<'_>, reason: Reason, at: &Moment) -> String {
    let grant = held.grant;
    match reason {
        Reason::NotStarted => {
            let start = grant.not_before.unwrap_or(at.earliest);
            format!(
                "starts in {}",
                span_in_words(start.duration_since(at.earliest))
            )
        }
        Reason::Expired => {
            let ago = at.latest.duration_since(grant.not_after);
            format!("expired {} ago", span_in_words(ago))
        }
        Reason::Schedule => format!(
            "outside its schedule ({})",
            list(&grant.terms.when.schedule)
        ),
        Reason::Offline => {
            let age = held.age(at.latest).unwrap_or_default();
            format!(
                "the central policy is {} old, the grant holds for {} without news of it",
                span_in_words(age),
                span_in_words(held.patience().unwrap_or_default())
            )
        }
        Reason::Clock => {
            "the clock is not trusted now, so no grant holds: see jit clock show".to_owned()
        }
        Reason::Granted
        | Reason::NotRequired
        | Reason::NoGrant
        | Reason::Source
        | Reason::Target => String::new(),
    }
}

/// How long until then.
pub(crate) fn left(until: Timestamp, at: &Moment) -> String {
    format!("{} left", span_in_words(until.duration_since(at.latest)))
}

/// That there is nothing to be near to. `other`: there are grants, for other services.
pub(crate) fn no_grant(ask: &Ask<'_>, other: bool) -> String {
    let (user, service) = (bare(ask.user), bare(ask.service));
    if other {
        format!("no grant of {user} covers {service}")
    } else {
        format!("no grant names {user}")
    }
}

fn target(target: Target<'_>) -> String {
    match target {
        Target::Account { name, uid0: true } if name != "root" => {
            format!(
                "target {} has uid 0, so run_as must name root or *",
                bare(name)
            )
        }
        Target::Account { name, .. } => format!("target {} not in run_as", bare(name)),
        Target::Everything => {
            "editing files or choosing a group needs root or * in run_as".to_owned()
        }
        Target::Itself | Target::Unknown => "no target in run_as".to_owned(),
    }
}

/// Why the source does not match these networks.
pub(crate) fn source(nets: &[IpNet], source: Option<IpAddr>) -> String {
    match source {
        Some(source) => format!("source {} not in {}", source.to_canonical(), list(nets)),
        None => format!("source unknown, must be in {}", list(nets)),
    }
}

/// A name without quotes where it is as plain as names usually are.
fn bare(name: &str) -> String {
    match crate::text::check_id("name", name) {
        Ok(()) => name.to_owned(),
        Err(_) => quoted(name),
    }
}

/// The first few of a list: a message is a line, not a page.
fn list<T: Display>(items: &[T]) -> String {
    let mut said: Vec<String> = items.iter().take(4).map(ToString::to_string).collect();
    if items.len() > said.len() {
        said.push("…".to_owned());
    }
    said.join(", ")
}

/// A window as `mon-fri 14:00-16:00 Europe/Berlin`.
impl Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {}-{} {}",
            self.days(),
            self.from(),
            self.to(),
            self.zone()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_say_them() {
        for (seconds, words) in [
            (-5, "0 s"),
            (0, "0 s"),
            (59, "59 s"),
            (60, "60 s"),
            (120, "2 min"),
            (3_599, "59 min"),
            (3_600, "1 h"),
            (7_259, "2 h"),
            (7_800, "2 h 10 min"),
            (36_000 + 600, "10 h"),
            (172_799, "47 h"),
            (172_800, "2 days"),
            (i64::MAX, "106751991167300 days"),
        ] {
            assert_eq!(span_in_words(SignedDuration::from_secs(seconds)), words);
        }
    }
}
