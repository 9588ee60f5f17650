//! A grant as written, before it is checked.

use crate::condition::{When, Window, parse_net};
use crate::duration::parse_duration;
use crate::factor::Factor;
use crate::grant::{Grant, Names, Terms, Who};
use crate::text::{check_id, check_name, check_remark, quoted};
use ipnet::IpNet;
use jiff::Timestamp;
use serde::de::{Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;

/// The most entries that one list of a grant may have: a decision looks at each.
const LIST: usize = 256;

/// A string of a draft. Nearly all of them stand in their file as they are meant, and need not be
/// copied to be looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Text<'a>(Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'a, T: Into<Cow<'a, str>>> From<T> for Text<'a> {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl From<Text<'_>> for Box<str> {
    fn from(text: Text<'_>) -> Self {
        text.0.into()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(text.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(text.to_owned().into())
    }

    fn visit_string<E>(self, text: String) -> Result<Text<'de>, E> {
        Ok(text.into())
    }
}

/// A grant's fields as a file or a command line gives them. [`Draft::build`] checks them: the only
/// way to a [`Grant`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft<'a> {
    /// See [`Grant::id`].
    #[serde(borrow)]
    pub id: Text<'a>,
    /// Login name; exactly one of `user` and `group`.
    pub user: Option<Text<'a>>,
    /// Group name.
    pub group: Option<Text<'a>>,
    /// Base names of services.
    pub services: Vec<Text<'a>>,
    /// Targets; `None`: root.
    pub run_as: Option<Vec<Text<'a>>>,
    /// Hosts; `None`: every host.
    pub hosts: Option<Vec<Text<'a>>>,
    /// First instant.
    #[serde(default, deserialize_with = "optional_time")]
    pub not_before: Option<Timestamp>,
    /// First instant at which it holds no more.
    #[serde(deserialize_with = "time")]
    pub not_after: Timestamp,
    /// `None`: the service's floor.
    pub mfa: Option<Factor>,
    /// Why.
    pub reason: Option<Text<'a>>,
    /// Ticket.
    pub ticket: Option<Text<'a>>,
    /// Who approved it.
    pub approved_by: Option<Vec<Text<'a>>>,
    /// A duration such as `30m`.
    pub max_offline: Option<Text<'a>>,
    /// Conditions.
    pub when: Option<WhenDraft<'a>>,
}

/// The conditions as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WhenDraft<'a> {
    /// Networks.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub source: Option<Vec<Text<'a>>>,
    /// Windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Vec<WindowDraft<'a>>>,
}

/// One window as written; see [`Window::parse`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WindowDraft<'a> {
    /// Such as `mon-fri`.
    #[serde(borrow)]
    pub days: Text<'a>,
    /// `HH:MM`, inclusive.
    pub from: Text<'a>,
    /// `HH:MM`, exclusive.
    pub to: Text<'a>,
    /// IANA name.
    pub zone: Text<'a>,
}

impl<'a> Draft<'a> {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// What is wrong with the first field that is, with its name and what to write; printable.
    pub fn build(self) -> Result<Grant, String> {
        self.build_in(&mut Pool::default())
    }

    /// As [`Draft::build`]; lists that are equal to those of an earlier grant are shared with it.
    pub(crate) fn build_in(self, pool: &mut Pool<'a>) -> Result<Grant, String> {
        let particulars = Particulars {
            id: self.id,
            user: self.user,
            group: self.group,
            not_before: self.not_before,
            not_after: self.not_after,
            reason: self.reason,
            ticket: self.ticket,
        };
        let terms = TermsDraft {
            services: self.services,
            run_as: self.run_as,
            hosts: self.hosts,
            mfa: self.mfa,
            approved_by: self.approved_by,
            max_offline: self.max_offline,
            when: self.when,
        };
        particulars.build(|| pool.terms(terms))
    }
}

/// What a grant says besides its [`Terms`], as written.
#[derive(Clone)]
pub(crate) struct Particulars<'a> {
    pub id: Text<'a>,
    pub user: Option<Text<'a>>,
    pub group: Option<Text<'a>>,
    pub not_before: Option<Timestamp>,
    pub not_after: Timestamp,
    pub reason: Option<Text<'a>>,
    pub ticket: Option<Text<'a>>,
}

impl Particulars<'_> {
    /// Checks every field, then makes the grant with these terms.
    pub(crate) fn build(
        self,
        terms: impl FnOnce() -> Result<Arc<Terms>, String>,
    ) -> Result<Grant, String> {
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
        Ok(Grant {
            id: self.id.into(),
            who,
            terms: terms()?,
            not_before: self.not_before,
            not_after: self.not_after,
            reason: self.reason.map(Into::into),
            ticket: self.ticket.map(Into::into),
        })
    }
}

/// A grant's [`Terms`] as written.
#[derive(PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TermsDraft<'a> {
    #[serde(borrow)]
    services: Vec<Text<'a>>,
    run_as: Option<Vec<Text<'a>>>,
    hosts: Option<Vec<Text<'a>>>,
    mfa: Option<Factor>,
    approved_by: Option<Vec<Text<'a>>>,
    max_offline: Option<Text<'a>>,
    when: Option<WhenDraft<'a>>,
}

fn who(user: Option<Text<'_>>, group: Option<Text<'_>>) -> Result<Who, String> {
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
fn some<'a, T>(what: &str, items: &'a [T]) -> Result<&'a [T], String> {
    if items.is_empty() {
        return Err(format!(
            "{what} is empty: name at least one, or leave it out if it has a default"
        ));
    }
    few(what, items)
}

fn few<'a, T>(what: &str, items: &'a [T]) -> Result<&'a [T], String> {
    if items.len() > LIST {
        return Err(format!(
            "{what} has {} entries; at most {LIST} are taken",
            items.len()
        ));
    }
    Ok(items)
}

/// What earlier grants said: grants of one file repeat each other, and sharing what they repeat
/// keeps 100,000 of them small.
#[derive(Default)]
pub(crate) struct Pool<'a> {
    /// Those of the grant before this one: neighbours in a file are mostly alike.
    last: Option<(TermsDraft<'a>, Arc<Terms>)>,
    lists: Lists,
}

impl<'a> Pool<'a> {
    fn terms(&mut self, draft: TermsDraft<'a>) -> Result<Arc<Terms>, String> {
        if let Some((_, terms)) = self.last.as_ref().filter(|(last, _)| *last == draft) {
            return Ok(Arc::clone(terms));
        }
        let terms = Arc::new(draft.build_in(&mut self.lists)?);
        self.last = Some((draft, Arc::clone(&terms)));
        Ok(terms)
    }
}

/// The lists that were read so far, each of them once.
#[derive(Default)]
pub(crate) struct Lists {
    names: HashSet<Names>,
    sources: HashSet<Arc<[IpNet]>>,
    schedules: HashSet<Arc<[Window]>>,
}

impl TermsDraft<'_> {
    /// Checks every field; lists that are equal to earlier ones are shared with them.
    pub(crate) fn build_in(&self, lists: &mut Lists) -> Result<Terms, String> {
        let services = some("services", &self.services)?;
        let root = ["root".into()];
        let run_as = match &self.run_as {
            Some(targets) => some("run_as", targets)?,
            None => &root,
        };
        let hosts = match &self.hosts {
            Some(hosts) => some("hosts", hosts)?,
            None => &[],
        };
        let approved_by = few(
            "approved_by",
            self.approved_by.as_deref().unwrap_or_default(),
        )?;
        let approver = |name: &str| check_name("approved_by", name);
        let max_offline = match &self.max_offline {
            Some(text) => Some(parse_duration(text).map_err(|why| format!("max_offline: {why}"))?),
            None => None,
        };
        let names = &mut lists.names;
        Ok(Terms {
            services: share(names, services, named(check_service))?,
            run_as: share(names, run_as, named(check_target))?,
            hosts: share(names, hosts, named(crate::host::check_pattern))?,
            mfa: self.mfa,
            approved_by: share(names, approved_by, named(approver))?,
            max_offline,
            when: match &self.when {
                Some(when) => when.build_in(lists)?,
                None => When::default(),
            },
        })
    }
}

impl WhenDraft<'_> {
    fn build_in(&self, lists: &mut Lists) -> Result<When, String> {
        let mut when = When::default();
        if let Some(nets) = &self.source {
            let nets = some("source", nets)?;
            when.source = share(&mut lists.sources, nets, |net| parse_net(net))?;
        }
        if let Some(windows) = &self.schedule {
            let windows = some("schedule", windows)?;
            when.schedule = share(&mut lists.schedules, windows, |w| {
                Window::parse(&w.days, &w.from, &w.to, &w.zone)
            })?;
        }
        Ok(when)
    }
}

/// A name that passes the check.
fn named(
    check: impl Fn(&str) -> Result<(), String>,
) -> impl Fn(&Text<'_>) -> Result<Box<str>, String> {
    move |name| check(name).map(|()| (**name).into())
}

fn share<K, V: Hash + Eq>(
    seen: &mut HashSet<Arc<[V]>>,
    list: &[K],
    read: impl Fn(&K) -> Result<V, String>,
) -> Result<Arc<[V]>, String> {
    let values: Vec<V> = list.iter().map(read).collect::<Result<_, _>>()?;
    if let Some(known) = seen.get(&*values) {
        return Ok(Arc::clone(known));
    }
    let values: Arc<[V]> = values.into();
    seen.insert(Arc::clone(&values));
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
