//! Grants from text and back: TOML for people, the same fields as JSON in bundles.

use crate::draft::{Draft, Pool, WhenDraft, WindowDraft};
use crate::duration::format_duration;
use crate::factor::Factor;
use crate::grant::{Grant, Who};
use crate::text::{check_id, printable};
use jiff::Timestamp;
use serde::de::{Error as _, IntoDeserializer as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::collections::{BTreeSet, HashSet};
use toml::de::{DeTable, DeValue};

/// What a text held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The grants that are well-formed.
    pub grants: Vec<Grant>,
    /// One for each grant that was dropped.
    pub faults: Vec<GrantFault>,
}

/// A grant that was dropped, alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantFault {
    /// Its id, if it has a well-formed one.
    pub id: Option<String>,
    /// The line of its text that is at fault, from 1.
    pub line: Option<usize>,
    /// What is wrong with it. Printable.
    pub message: String,
}

impl std::fmt::Display for GrantFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        match &self.id {
            Some(id) => write!(f, "grant {id} dropped: {}", self.message),
            None => write!(f, "a grant dropped: {}", self.message),
        }
    }
}

/// Why a whole text gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct GrantError {
    /// From 1.
    pub line: usize,
    /// From 1, in bytes.
    pub column: usize,
    /// What is wrong. Printable.
    pub message: String,
}

/// Reads grants from TOML: any number of `[[grant]]`.
///
/// # Errors
///
/// If the text is not TOML, or has anything but grants at its top.
pub fn parse_toml(text: &str) -> Result<Parsed, GrantError> {
    let lines = Lines::of(text);
    let whole = |at: usize, message: &str| {
        let (line, column) = lines.position(at);
        GrantError {
            line,
            column,
            message: printable(message),
        }
    };
    let root =
        DeTable::parse(text).map_err(|e| whole(e.span().map_or(0, |s| s.start), e.message()))?;
    let mut reader = Reader::new(&lines);
    for (key, value) in root.into_inner() {
        let at = key.span().start;
        match (key.get_ref().as_ref(), value.into_inner()) {
            ("grant", DeValue::Array(items)) => {
                for item in items {
                    let at = item.span().start;
                    let id = item
                        .get_ref()
                        .get("id")
                        .and_then(|id| id.get_ref().as_str());
                    let id = id.map(ToOwned::to_owned);
                    let draft = Draft::deserialize(item.into_deserializer());
                    let draft =
                        draft.map_err(|e| (e.span().map(|s| s.start), e.message().to_owned()));
                    reader.take(at, || id, draft);
                }
            }
            ("grant", _) => return Err(whole(at, "write [[grant]], in double brackets")),
            (other, _) => {
                let message =
                    format!("unknown key {other}: a grants file has [[grant]] and nothing else");
                return Err(whole(at, &message));
            }
        }
    }
    Ok(reader.finish())
}

/// The JSON text: `{"grants":[…]}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonFile<T> {
    grants: T,
}

/// Grants all of which are well-formed, checked as they are read: 100,000 drafts never lie beside
/// each other.
struct Flawless(Vec<Grant>);

impl<'de> Deserialize<'de> for Flawless {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Flawless;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of grants")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Flawless, A::Error> {
                let mut pool = Pool::default();
                let mut grants = Vec::new();
                while let Some(draft) = list.next_element::<Draft>()? {
                    grants.push(draft.build_in(&mut pool).map_err(A::Error::custom)?);
                }
                Ok(Flawless(grants))
            }
        }
        d.deserialize_seq(List)
    }
}

/// Just enough of a grant to name it when the rest is at fault.
#[derive(Deserialize)]
struct OnlyId {
    id: String,
}

/// Reads grants from JSON: `{"grants":[…]}`, each with the fields of the TOML form, times as RFC
/// 3339 strings.
///
/// # Errors
///
/// If the text is not JSON, or is not an object with `grants` alone.
pub fn parse_json(text: &str) -> Result<Parsed, GrantError> {
    if let Ok(JsonFile {
        grants: Flawless(grants),
    }) = serde_json::from_str(text)
        && repeated_ids(grants.iter().map(|grant| &*grant.id)).is_empty()
    {
        return Ok(Parsed {
            grants,
            faults: Vec::new(),
        });
    }
    read_json_one_by_one(text)
}

/// Reads each grant alone, so that the others survive one that is at fault.
fn read_json_one_by_one(text: &str) -> Result<Parsed, GrantError> {
    let file: JsonFile<Vec<&RawValue>> = serde_json::from_str(text).map_err(|e| GrantError {
        line: e.line(),
        column: e.column(),
        message: printable(&e.to_string()),
    })?;
    let lines = Lines::of(text);
    let mut reader = Reader::new(&lines);
    for raw in file.grants {
        let raw = raw.get();
        // Both borrow from `text`, so the difference of their addresses is the offset.
        let at = (raw.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        let id = || serde_json::from_str::<OnlyId>(raw).ok().map(|only| only.id);
        let draft = serde_json::from_str::<Draft>(raw).map_err(|e| (None, e.to_string()));
        reader.take(at, id, draft);
    }
    Ok(reader.finish())
}

/// Ids that more than one of these holds. Whoever merges several texts into one source drops every
/// holder of such an id: nobody can say which of them was meant.
#[must_use]
pub fn repeated_ids<'a>(ids: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    let mut seen = HashSet::new();
    ids.into_iter()
        .filter(|id| !seen.insert(*id))
        .map(ToOwned::to_owned)
        .collect()
}

/// Collects grants one after the other.
struct Reader<'a> {
    lines: &'a Lines<'a>,
    pool: Pool,
    grants: Vec<Grant>,
    /// Where each of `grants` begins.
    starts: Vec<usize>,
    faults: Vec<GrantFault>,
}

impl<'a> Reader<'a> {
    fn new(lines: &'a Lines<'a>) -> Self {
        Self {
            lines,
            pool: Pool::default(),
            grants: Vec::new(),
            starts: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Takes a grant that begins at `start`, or what is wrong with it and, if known, where.
    fn take(
        &mut self,
        start: usize,
        id: impl FnOnce() -> Option<String>,
        draft: Result<Draft, (Option<usize>, String)>,
    ) {
        let built = draft.and_then(|draft| {
            draft
                .build_in(&mut self.pool)
                .map_err(|message| (None, message))
        });
        match built {
            Ok(grant) => {
                self.grants.push(grant);
                self.starts.push(start);
            }
            Err((at, message)) => {
                let id = id().filter(|id| check_id("id", id).is_ok());
                self.fault(at.unwrap_or(start), id, &message);
            }
        }
    }

    fn fault(&mut self, at: usize, id: Option<String>, message: &str) {
        let (line, _) = self.lines.position(at);
        self.faults.push(GrantFault {
            id,
            line: Some(line),
            message: printable(message),
        });
    }

    /// Drops every holder of a repeated id, a holder that was dropped before counting too.
    fn finish(mut self) -> Parsed {
        let held = self.grants.iter().map(|grant| &*grant.id);
        let lost = self.faults.iter().filter_map(|fault| fault.id.as_deref());
        let repeated = repeated_ids(held.chain(lost));
        if repeated.is_empty() {
            return Parsed {
                grants: self.grants,
                faults: self.faults,
            };
        }
        let (grants, starts) = (
            std::mem::take(&mut self.grants),
            std::mem::take(&mut self.starts),
        );
        let mut kept = Vec::with_capacity(grants.len());
        for (grant, start) in grants.into_iter().zip(starts) {
            if repeated.contains(&*grant.id) {
                let message = "this id stands on more than one grant, and each of them is dropped";
                self.fault(start, Some(grant.id.into()), message);
            } else {
                kept.push(grant);
            }
        }
        Parsed {
            grants: kept,
            faults: self.faults,
        }
    }
}

/// Where lines begin, so that a thousand faults do not mean a thousand walks through the text.
struct Lines<'a> {
    text: &'a str,
    starts: std::cell::OnceCell<Vec<usize>>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            text,
            starts: std::cell::OnceCell::new(),
        }
    }

    /// Line and column of an offset, both from 1.
    fn position(&self, at: usize) -> (usize, usize) {
        let starts = self.starts.get_or_init(|| {
            let breaks = self.text.bytes().enumerate().filter(|(_, b)| *b == b'\n');
            std::iter::once(0)
                .chain(breaks.map(|(i, _)| i + 1))
                .collect()
        });
        let line = starts.partition_point(|start| *start <= at);
        let begin = line.checked_sub(1).and_then(|l| starts.get(l));
        (
            line.max(1),
            at.saturating_sub(begin.copied().unwrap_or(0)) + 1,
        )
    }
}

/// A grant as it is written out; `T` is the format's own time.
#[derive(Serialize)]
struct Fields<'a, T> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    services: &'a [Box<str>],
    run_as: &'a [Box<str>],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    hosts: &'a [Box<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<T>,
    not_after: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    mfa: Option<Factor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    approved_by: &'a [Box<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    max_offline: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<WhenDraft>,
}

impl<'a, T> Fields<'a, T> {
    fn of(grant: &'a Grant, time: impl Fn(Timestamp) -> T) -> Self {
        let (user, group) = match &grant.who {
            Who::User(name) => (Some(&**name), None),
            Who::Group(name) => (None, Some(&**name)),
        };
        Self {
            id: &grant.id,
            user,
            group,
            services: &grant.services,
            run_as: &grant.run_as,
            hosts: &grant.hosts,
            not_before: grant.not_before.map(&time),
            not_after: time(grant.not_after),
            mfa: grant.mfa,
            reason: grant.reason.as_deref(),
            ticket: grant.ticket.as_deref(),
            approved_by: &grant.approved_by,
            max_offline: grant.max_offline.map(format_duration),
            when: when_of(grant),
        }
    }
}

fn when_of(grant: &Grant) -> Option<WhenDraft> {
    let some = |empty: bool| (!empty).then_some(());
    let source = some(grant.when.source.is_empty()).map(|()| {
        grant
            .when
            .source
            .iter()
            .map(|net| net.to_string().into())
            .collect()
    });
    let schedule = some(grant.when.schedule.is_empty()).map(|()| {
        let windows = grant.when.schedule.iter().map(|window| WindowDraft {
            days: window.days().to_string().into(),
            from: window.from().into(),
            to: window.to().into(),
            zone: window.zone().into(),
        });
        windows.collect()
    });
    (source.is_some() || schedule.is_some()).then_some(WhenDraft { source, schedule })
}

/// Writes one grant as a `[[grant]]` that [`parse_toml`] reads back as the same grant.
#[must_use]
pub fn to_toml(grant: &Grant) -> String {
    #[derive(Serialize)]
    struct File<'a> {
        grant: [Fields<'a, TomlTime>; 1],
    }
    let file = File {
        grant: [Fields::of(grant, TomlTime)],
    };
    // Nothing in a checked grant lacks a TOML form; a test writes and reads back every field.
    toml::to_string(&file).unwrap_or_default()
}

/// Writes grants as the JSON text that [`parse_json`] reads back as the same grants.
#[must_use]
pub fn to_json(grants: &[Grant]) -> String {
    #[derive(Serialize)]
    struct File<'a> {
        grants: Vec<Fields<'a, Timestamp>>,
    }
    let file = File {
        grants: grants
            .iter()
            .map(|grant| Fields::of(grant, |t| t))
            .collect(),
    };
    // As above; and writing to memory does not fail.
    serde_json::to_string(&file).unwrap_or_default()
}

/// A time as TOML's own date-time, not as a string.
struct TomlTime(Timestamp);

impl Serialize for TomlTime {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let time: toml::value::Datetime = self
            .0
            .to_string()
            .parse()
            .map_err(serde::ser::Error::custom)?;
        time.serialize(s)
    }
}

impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Fields::of(self, |t| t).serialize(s)
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Draft::deserialize(d)?
            .build()
            .map_err(serde::de::Error::custom)
    }
}
