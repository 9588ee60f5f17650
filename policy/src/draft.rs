//! A grant as written, before it is checked.

use crate::condition::{When, Window, parse_net};
use crate::duration::parse_duration;
use crate::factor::Factor;
use crate::grant::{Grant, Names, Who};
use crate::text::{check_id, check_name, check_remark, quoted};
use ipnet::IpNet;
use jiff::Timestamp;
use serde::de::{Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

/// The most entries that one list of a grant may have: a decision looks at each.
const LIST: usize = 256;

/// A grant's fields as a file or a command line gives them. [`Draft::build`] checks them: the only
/// way to a [`Grant`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// See [`Grant::id`].
    pub id: Box<str>,
    /// Login name; exactly one of `user` and `group`.
    pub user: Option<Box<str>>,
    /// Group name.
    pub group: Option<Box<str>>,
    /// Base names of services.
    pub services: Vec<Box<str>>,
    /// Targets; `None`: root.
    pub run_as: Option<Vec<Box<str>>>,
    /// Hosts; `None`: every host.
    pub hosts: Option<Vec<Box<str>>>,
    /// First instant.
    #[serde(default, deserialize_with = "optional_time")]
    pub not_before: Option<Timestamp>,
    /// First instant at which it holds no more.
    #[serde(deserialize_with = "time")]
    pub not_after: Timestamp,
    /// `None`: the service's floor.
    pub mfa: Option<Factor>,
    /// Why.
    pub reason: Option<Box<str>>,
    /// Ticket.
    pub ticket: Option<Box<str>>,
    /// Who approved it.
    pub approved_by: Option<Vec<Box<str>>>,
    /// A duration such as `30m`.
    pub max_offline: Option<Box<str>>,
    /// Conditions.
    pub when: Option<WhenDraft>,
}

/// The conditions as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WhenDraft {
    /// Networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Vec<Box<str>>>,
    /// Windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Vec<WindowDraft>>,
}

/// One window as written; see [`Window::parse`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WindowDraft {
    /// Such as `mon-fri`.
    pub days: Box<str>,
    /// `HH:MM`, inclusive.
    pub from: Box<str>,
    /// `HH:MM`, exclusive.
    pub to: Box<str>,
    /// IANA name.
    pub zone: Box<str>,
}

impl Draft {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// What is wrong with the first field that is, with its name and what to write; printable.
    pub fn build(self) -> Result<Grant, String> {
        self.build_in(&mut Pool::default())
    }

    /// As [`Draft::build`]; lists that are equal to those of an earlier grant are shared with it.
    pub(crate) fn build_in(self, pool: &mut Pool) -> Result<Grant, String> {
        check_id("id", &self.id)?;
        let who = who(self.user, self.group)?;
        if self.not_before.is_some_and(|start| start >= self.not_after) {
            return Err("not_after must be later than not_before".to_owned());
        }
        for (what, remark) in [("reason", &self.reason), ("ticket", &self.ticket)] {
            remark
                .as_deref()
                .map_or(Ok(()), |text| check_remark(what, text))?;
        }
        let services = some("services", self.services)?;
        let run_as = match self.run_as {
            Some(targets) => some("run_as", targets)?,
            None => vec!["root".into()],
        };
        let hosts = match self.hosts {
            Some(hosts) => some("hosts", hosts)?,
            None => Vec::new(),
        };
        let approved_by = few("approved_by", self.approved_by.unwrap_or_default())?;
        let max_offline = match self.max_offline {
            Some(text) => Some(parse_duration(&text).map_err(|why| format!("max_offline: {why}"))?),
            None => None,
        };
        Ok(Grant {
            id: self.id,
            who,
            services: pool.services.share(services, check_service)?,
            run_as: pool.run_as.share(run_as, check_target)?,
            hosts: pool.hosts.share(hosts, crate::host::check_pattern)?,
            not_before: self.not_before,
            not_after: self.not_after,
            mfa: self.mfa,
            reason: self.reason,
            ticket: self.ticket,
            approved_by: pool
                .approved_by
                .share(approved_by, |name| check_name("approved_by", name))?,
            max_offline,
            when: pool.when(self.when.unwrap_or_default())?,
        })
    }
}

fn who(user: Option<Box<str>>, group: Option<Box<str>>) -> Result<Who, String> {
    match (user, group) {
        (Some(user), None) => {
            check_name("user", &user)?;
            Ok(Who::User(user.into()))
        }
        (None, Some(group)) => {
            check_name("group", &group)?;
            Ok(Who::Group(group.into()))
        }
        (Some(_), Some(_)) => Err("user and group: name one of them, not both".to_owned()),
        (None, None) => Err("user or group: name one of them".to_owned()),
    }
}

fn check_service(name: &str) -> Result<(), String> {
    check_id("service", name)?;
    let base = crate::base_service(name);
    if base == name {
        Ok(())
    } else {
        Err(format!("service {name}: write {base}, which covers it"))
    }
}

fn check_target(name: &str) -> Result<(), String> {
    if name == "*" {
        return Ok(());
    }
    check_name("run_as", name)
}

/// A list that is there must say something: an empty one reads as nobody and could be taken for
/// everybody.
fn some<T>(what: &str, items: Vec<T>) -> Result<Vec<T>, String> {
    if items.is_empty() {
        return Err(format!(
            "{what} is empty: name at least one, or leave it out if it has a default"
        ));
    }
    few(what, items)
}

fn few<T>(what: &str, items: Vec<T>) -> Result<Vec<T>, String> {
    if items.len() > LIST {
        return Err(format!(
            "{what} has {} entries; at most {LIST} are taken",
            items.len()
        ));
    }
    Ok(items)
}

/// Lists seen so far: grants of one file repeat each other's, and sharing them keeps 100,000 grants
/// small. A list is checked when it is first seen.
#[derive(Default)]
pub(crate) struct Pool {
    services: Lists,
    run_as: Lists,
    hosts: Lists,
    approved_by: Lists,
    sources: HashMap<Vec<Box<str>>, Arc<[IpNet]>>,
    schedules: HashMap<Vec<WindowDraft>, Arc<[Window]>>,
}

impl Pool {
    fn when(&mut self, draft: WhenDraft) -> Result<When, String> {
        let mut when = When::default();
        if let Some(nets) = draft.source {
            when.source = share(&mut self.sources, some("source", nets)?, |n| parse_net(n))?;
        }
        if let Some(windows) = draft.schedule {
            when.schedule = share(&mut self.schedules, some("schedule", windows)?, |w| {
                Window::parse(&w.days, &w.from, &w.to, &w.zone)
            })?;
        }
        Ok(when)
    }
}

#[derive(Default)]
struct Lists {
    seen: HashSet<Names>,
    /// The one asked for last: neighbours in a file are mostly alike, and hashing costs more.
    last: Names,
}

impl Lists {
    fn share(
        &mut self,
        list: Vec<Box<str>>,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Result<Names, String> {
        if *self.last != *list {
            self.last = match self.seen.get(&*list) {
                Some(known) => Arc::clone(known),
                None => {
                    list.iter().try_for_each(|item| check(item))?;
                    let names = Names::from(list);
                    self.seen.insert(Arc::clone(&names));
                    names
                }
            };
        }
        Ok(Arc::clone(&self.last))
    }
}

fn share<K: Hash + Eq, V>(
    seen: &mut HashMap<Vec<K>, Arc<[V]>>,
    list: Vec<K>,
    read: impl Fn(&K) -> Result<V, String>,
) -> Result<Arc<[V]>, String> {
    if let Some(known) = seen.get(&list) {
        return Ok(Arc::clone(known));
    }
    let values: Arc<[V]> = list.iter().map(read).collect::<Result<_, _>>()?;
    seen.insert(list, Arc::clone(&values));
    Ok(values)
}

/// Reads an RFC 3339 time: `2026-11-21T10:00:00Z`, or with an offset; a space may stand for the T.
///
/// # Errors
///
/// For anything else (a time without an offset means another instant on every host), and before
/// 1970.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, String> {
    // jiff also takes zone annotations in brackets and years of six digits; RFC 3339 does not.
    let plain = text.len() <= 40
        && text.bytes().take(4).all(|b| b.is_ascii_digit())
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || b"-:.+TtZz ".contains(&b));
    let parsed = if plain { text.parse().ok() } else { None };
    match parsed {
        Some(time) if time >= Timestamp::UNIX_EPOCH => Ok(time),
        Some(_) => Err(format!("{} lies before 1970", quoted(text))),
        None => Err(format!(
            "{} is no time with an offset: write one such as 2026-11-21T10:00:00Z or 2026-11-21T11:00:00+01:00",
            quoted(text)
        )),
    }
}

fn time<'de, D: Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
    d.deserialize_any(TimeVisitor)
}

fn optional_time<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Timestamp>, D::Error> {
    time(d).map(Some)
}

/// Takes JSON's string and TOML's own date-time.
struct TimeVisitor;

impl<'de> Visitor<'de> for TimeVisitor {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time with an offset such as 2026-11-21T10:00:00Z")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
        parse_time(text).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Timestamp, A::Error> {
        let time = toml::value::Datetime::deserialize(MapAccessDeserializer::new(map))?;
        self.visit_str(&time.to_string())
    }
}
