//! Grants from text and back: TOML for people, the same fields as JSON in bundles.

use crate::alike::Alike;
use crate::draft::{Draft, Pool, WhenDraft, WindowDraft};
use crate::duration::format_duration;
use crate::factor::Factor;
use crate::grant::{Grant, Who};
use crate::parts;
use crate::text::{check_id, printable};
use jiff::Timestamp;
use serde::de::IntoDeserializer as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use toml::Spanned;
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
    toml_in_parts(text, parts::SIZE)
}

fn toml_in_parts(text: &str, size: usize) -> Result<Parsed, GrantError> {
    match toml_parts(text, size) {
        Some(read) => Ok(read.finish(&Lines::of(text))),
        None => toml_whole(text),
    }
}

fn toml_whole(text: &str) -> Result<Parsed, GrantError> {
    let lines = Lines::of(text);
    let whole = |(at, message): (usize, String)| {
        let (line, column) = lines.position(at);
        GrantError {
            line,
            column,
            message: printable(&message),
        }
    };
    let root = DeTable::parse(text)
        .map_err(|e| whole((e.span().map_or(0, |s| s.start), e.message().to_owned())))?;
    let mut reader = Reader::at(0);
    take_toml(root, &mut reader).map_err(whole)?;
    Ok(reader.read.finish(&lines))
}

/// Reads a large text in parts, each of which begins with `[[grant]]` (see [`crate::parts`]); gives
/// nothing if it is small, or if anything about it is odd.
fn toml_parts(text: &str, size: usize) -> Option<Read> {
    const HEADER: &str = "[[grant]]";
    if text.len() < size.saturating_mul(2) {
        return None;
    }
    let first = if text.starts_with(HEADER) {
        0
    } else {
        text.find("\n[[grant]]")? + 1
    };
    let (before, grants) = text.split_at_checked(first)?;
    // What stands here could be `grant = […]`, and then no [[grant]] may follow.
    if !DeTable::parse(before).ok()?.get_ref().is_empty() {
        return None;
    }
    let parts = parts::cut(grants, "\n[[grant]]", 1, size);
    let read = parts::each(&parts, |part| {
        let root = DeTable::parse(grants.get(part.clone())?).ok()?;
        let mut reader = Reader::at(first + part.start);
        take_toml(root, &mut reader).ok()?;
        Some(reader.read)
    });
    Some(Read::join(read?))
}

/// Takes the grants of a text, or of a part of one.
///
/// # Errors
///
/// Something else stands in it: where, counted from the beginning of the part, and what to say.
fn take_toml<'a>(
    root: Spanned<DeTable<'a>>,
    reader: &mut Reader<'a>,
) -> Result<(), (usize, String)> {
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
            ("grant", _) => return Err((at, "write [[grant]], in double brackets".to_owned())),
            (other, _) => {
                let message =
                    format!("unknown key {other}: a grants file has [[grant]] and nothing else");
                return Err((at, message));
            }
        }
    }
    Ok(())
}

/// The JSON text: `{"grants":[…]}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonFile<T> {
    grants: T,
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
    json_in_parts(text, parts::SIZE)
}

fn json_in_parts(text: &str, size: usize) -> Result<Parsed, GrantError> {
    match json_parts(text, size) {
        Some(read) => Ok(read.finish(&Lines::of(text))),
        None => json_whole(text),
    }
}

fn json_whole(text: &str) -> Result<Parsed, GrantError> {
    let file: JsonFile<Vec<&RawValue>> = serde_json::from_str(text).map_err(|e| GrantError {
        line: e.line(),
        column: e.column(),
        message: printable(&e.to_string()),
    })?;
    if !is_object(after_blanks(text)) {
        return Err(GrantError {
            line: 1,
            column: 1,
            message: "write an object: {\"grants\":[…]}".to_owned(),
        });
    }
    let mut reader = Reader::at(0);
    for raw in file.grants {
        // Both borrow from `text`, so the difference of their addresses is the offset.
        let at = (raw.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        take_json(at, raw, &mut reader);
    }
    Ok(reader.read.finish(&Lines::of(text)))
}

/// Reads a text as [`to_json`] writes it in parts, each of which begins with a grant (see
/// [`crate::parts`]); gives nothing if anything about it is odd but single grants.
fn json_parts(text: &str, size: usize) -> Option<Read> {
    const OPEN: &str = "{\"grants\":[";
    /// Where one grant most likely ends and another begins.
    const NEXT: &str = "},{\"id\":";
    let grants = text.strip_prefix(OPEN)?.strip_suffix("]}")?;
    let parts = parts::cut(grants, NEXT, 2, size);
    let last = parts.len().checked_sub(1)?;
    let parts: Vec<_> = parts.into_iter().enumerate().collect();
    let read = parts::each(&parts, |(nth, part)| {
        let grants = grants.get(part.clone())?;
        // The comma after a part's last grant, which the cut left with it.
        let grants = if *nth == last {
            grants
        } else {
            grants.strip_suffix(',')?
        };
        json_part(grants, OPEN.len() + part.start)
    });
    Some(Read::join(read?))
}

/// Reads grants with commas between them, of which the first begins at `base`.
fn json_part(text: &str, base: usize) -> Option<Read> {
    let mut reader = Reader::at(base);
    let mut alike = Alike::default();
    let mut rest = after_blanks(text);
    loop {
        let at = text.len() - rest.len();
        rest = match alike.read(rest) {
            Some((grant, rest)) => {
                reader.keep(at, grant);
                rest
            }
            None => json_grant(rest, at, &mut reader)?,
        };
        rest = after_blanks(rest);
        if rest.is_empty() {
            return Some(reader.read);
        }
        rest = after_blanks(rest.strip_prefix(',')?);
    }
}

/// Reads the grant that a text begins with, and gives what follows it; nothing if that is no JSON.
fn json_grant<'a>(text: &'a str, at: usize, reader: &mut Reader<'a>) -> Option<&'a str> {
    let mut grants = serde_json::Deserializer::from_str(text).into_iter::<Draft<'_>>();
    if is_object(text)
        && let Some(Ok(draft)) = grants.next()
    {
        let (grant, rest) = text.split_at_checked(grants.byte_offset())?;
        reader.take(at, || only_id(grant), Ok(draft));
        return Some(rest);
    }
    let mut raws = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    take_json(at, raws.next()?.ok()?, reader);
    text.get(raws.byte_offset()..)
}

/// A text without the blanks that JSON allows before a value.
fn after_blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\r', '\n'])
}

/// Whether a JSON value is an object. A library that is asked for fields by name also takes a list
/// of them without names, which no grant of ours is.
fn is_object(value: &str) -> bool {
    value.starts_with('{')
}

/// Takes one grant alone, so that the others survive it.
fn take_json<'a>(at: usize, raw: &'a RawValue, reader: &mut Reader<'a>) {
    let raw = raw.get();
    let draft = if is_object(raw) {
        serde_json::from_str(raw).map_err(|e| (None, e.to_string()))
    } else {
        Err((None, "a grant is an object".to_owned()))
    };
    reader.take(at, || only_id(raw), draft);
}

fn only_id(raw: &str) -> Option<String> {
    serde_json::from_str::<OnlyId>(raw).ok().map(|only| only.id)
}

/// Ids that more than one of these holds. Whoever merges several texts into one source drops every
/// holder of such an id: nobody can say which of them was meant.
#[must_use]
pub fn repeated_ids<'a>(ids: impl Iterator<Item = &'a str> + Clone) -> BTreeSet<String> {
    let state = RandomState::new();
    let mut sums: Vec<u64> = ids.clone().map(|id| state.hash_one(id)).collect();
    sums.sort_unstable();
    // Nearly always there is none, and then no two ids need to be compared.
    let alike = sums.windows(2).any(|pair| pair.first() == pair.last());
    let mut seen = HashSet::new();
    let repeated = ids.filter(|id| alike && !seen.insert(*id));
    repeated.map(ToOwned::to_owned).collect()
}

/// Collects the grants of a text, or of a part of one, one after the other.
struct Reader<'a> {
    /// Where the part begins in the text.
    base: usize,
    pool: Pool<'a>,
    read: Read,
}

/// What was read so far; places are offsets in the whole text.
#[derive(Default)]
struct Read {
    grants: Vec<Grant>,
    /// Where each of `grants` begins.
    starts: Vec<usize>,
    faults: Vec<Fault>,
}

/// A grant that was dropped.
struct Fault {
    at: usize,
    id: Option<String>,
    message: String,
}

impl<'a> Reader<'a> {
    fn at(base: usize) -> Self {
        Self {
            base,
            pool: Pool::default(),
            read: Read::default(),
        }
    }

    /// Takes a grant that was read already.
    fn keep(&mut self, start: usize, grant: Grant) {
        self.read.grants.push(grant);
        self.read.starts.push(self.base + start);
    }

    /// Takes a grant that begins at `start`, or what is wrong with it and, if known, where; both
    /// counted from the beginning of the part.
    fn take(
        &mut self,
        start: usize,
        id: impl FnOnce() -> Option<String>,
        draft: Result<Draft<'a>, (Option<usize>, String)>,
    ) {
        let built = draft.and_then(|draft| {
            draft
                .build_in(&mut self.pool)
                .map_err(|message| (None, message))
        });
        match built {
            Ok(grant) => self.keep(start, grant),
            Err((at, message)) => self.read.faults.push(Fault {
                at: self.base + at.unwrap_or(start),
                id: id().filter(|id| check_id("id", id).is_ok()),
                message,
            }),
        }
    }
}

impl Read {
    fn join(parts: Vec<Self>) -> Self {
        let mut whole = Self::default();
        let many = parts.iter().map(|part| part.grants.len()).sum();
        whole.grants.reserve_exact(many);
        whole.starts.reserve_exact(many);
        for part in parts {
            whole.grants.extend(part.grants);
            whole.starts.extend(part.starts);
            whole.faults.extend(part.faults);
        }
        whole
    }

    /// Drops every holder of a repeated id, a holder that was dropped before counting too.
    fn finish(mut self, lines: &Lines<'_>) -> Parsed {
        let held = self.grants.iter().map(|grant| &*grant.id);
        let lost = self.faults.iter().filter_map(|fault| fault.id.as_deref());
        let repeated = repeated_ids(held.chain(lost));
        if !repeated.is_empty() {
            let (grants, starts) = (self.grants, self.starts);
            self.grants = Vec::with_capacity(grants.len());
            for (grant, at) in grants.into_iter().zip(starts) {
                if repeated.contains(&*grant.id) {
                    let message =
                        "this id stands on more than one grant, and each of them is dropped";
                    self.faults.push(Fault {
                        at,
                        id: Some(grant.id.to_string()),
                        message: message.to_owned(),
                    });
                } else {
                    self.grants.push(grant);
                }
            }
        }
        let faults = self.faults.into_iter().map(|fault| GrantFault {
            id: fault.id,
            line: Some(lines.position(fault.at).0),
            message: printable(&fault.message),
        });
        Parsed {
            grants: self.grants,
            faults: faults.collect(),
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

/// A grant as it is written out; `T` is the format's own time. Its terms stand together, so that
/// they are read once where many grants share them (see [`crate::alike`]).
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
    mfa: Option<Factor>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    approved_by: &'a [Box<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    max_offline: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<WhenDraft<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<T>,
    not_after: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<&'a str>,
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
            services: &grant.terms.services,
            run_as: &grant.terms.run_as,
            hosts: &grant.terms.hosts,
            mfa: grant.terms.mfa,
            approved_by: &grant.terms.approved_by,
            max_offline: grant.terms.max_offline.map(format_duration),
            when: when_of(grant),
            not_before: grant.not_before.map(&time),
            not_after: time(grant.not_after),
            reason: grant.reason.as_deref(),
            ticket: grant.ticket.as_deref(),
        }
    }
}

fn when_of(grant: &Grant) -> Option<WhenDraft<'_>> {
    let some = |empty: bool| (!empty).then_some(());
    let source = some(grant.terms.when.source.is_empty()).map(|()| {
        grant
            .terms
            .when
            .source
            .iter()
            .map(|net| net.to_string().into())
            .collect()
    });
    let schedule = some(grant.terms.when.schedule.is_empty()).map(|()| {
        let windows = grant.terms.when.schedule.iter().map(|window| WindowDraft {
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

/// That a text read in parts gives what it gives when it is read whole, however odd it is.
#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn toml_grant(id: &str) -> String {
        format!(
            "[[grant]]\nid = \"{id}\"\nuser = \"alice\"\nservices = [\"sudo\"]\nnot_after = 2026-11-21T12:00:00Z\n"
        )
    }

    fn json_grant(id: &str) -> String {
        format!(
            r#"{{"id":"{id}","user":"alice","services":["sudo"],"not_after":"2026-11-21T12:00:00Z"}}"#
        )
    }

    /// What may stand in a grants file, rightly or wrongly.
    fn toml_pieces() -> Vec<String> {
        let odd = [
            "",
            "\n# [[grant]]\r\n",
            "grant = []\n",
            "grant = [{ id = \"x\" }]\n",
            "[grant]\n",
            "[[grants]]\nid = \"y\"\n",
            "  [[grant]]\nid = \"indented\"\n",
            "[[ grant ]] # spaced\nid = \"spaced\"\n",
            "[[grant]]\n",
            "[[grant]]x\n",
            "[[grant]]\nid = \"no-end\"",
            "reason = \"\"\"\n[[grant]]\nid = 'inside'\n\"\"\"\n",
            "reason = '''\n",
            "'''\n",
            "reason = \"\"\"",
            "run_as = [\n[[grant]]\n]\n",
            "run_as = [\n\"root\",\n",
            "]\n",
            "mfa = \"x\"\n",
            "moon = 1\n",
            "user = \"bob\"\n",
            "[grant.when]\nsource = [\"10.8.0.0/16\"]\n",
            "[[grant.when.schedule]]\ndays = \"mon\"\n",
            "\u{feff}",
            "\r",
            "ü",
        ];
        let good = ["a", "b", "c", "a"].map(toml_grant);
        odd.map(String::from).into_iter().chain(good).collect()
    }

    /// What may stand between the brackets of a JSON text, rightly or wrongly.
    fn json_pieces() -> Vec<String> {
        let odd = [
            "",
            ",",
            ",,",
            "]",
            r#"],"x":["#,
            r#"],"grants":["#,
            "]}",
            "\n",
            "\u{a0}",
            "7",
            "null",
            r#"[1,{"id":2},{"id":3}]"#,
            r#"["a","bob",null,["sudo"],null,null,null,"2026-11-21T12:00:00Z",null,null,null,null,null,null]"#,
            "{",
            "}",
            "\"",
            r#"{"id":"no-end"}"#,
            r#"{"id":"twice","id":"twice"}"#,
            r#"{"id":"x","reason":"},{\"id\":"}"#,
            r#"{"id":"x","reason":"},{","id":1}"#,
            r#"{"id":"deep","when":{"schedule":[{"x":1},{"id":"a"}]}}"#,
        ];
        let good = ["a", "b", "c", "a"].map(json_grant);
        let odd = odd.map(String::from).into_iter();
        odd.chain(alike_but_odd()).chain(good).collect()
    }

    /// What [`Alike`] could take for a grant as we write it, or for terms that it knows.
    fn alike_but_odd() -> impl Iterator<Item = String> {
        const END: &str = r#""not_after":"2026-11-21T12:00:00Z""#;
        let terms = [
            r#""services":["sudo"]"#,
            r#""services":["sudo"],"mfa":"15m""#,
            r#""services":["sudo"],"reason":null"#,
            r#""services":["sudo"],"reason":"inside""#,
            r#" "user":"alice","services":["sudo"]"#,
            r#""services":["sudo"],"user":null"#,
            r#""services":["sudo"],"not_before":null"#,
            r#""services":["sudo"],"hosts":["a,\"not_after\":\"b"]"#,
            r#""services":["sudo"],"hosts":["a,"#,
            r#""services":["sudo"],"when":{"source":["10.0.0.0/8"]"#,
            r#""services":["sudo"],"when":{"source":["10.0.0.0/8"]}"#,
            r#""services":["sudo"],"services":["su"]"#,
            r#""services":["sudo"],"#,
            r#""services":["sudo"]}"#,
            r#""services":[]"#,
            r#""mfa":"15m""#,
            "",
        ];
        let with_terms = terms.map(|terms| format!(r#"{{"id":"t","user":"bob",{terms},{END}}}"#));
        let particulars = [
            (r#""id":"p","group":"dba""#, END),
            (r#""id":"p","user":"bob","group":"dba""#, END),
            (r#""id":"p""#, END),
            (r#""id":"p","user":"EXAMPLE\\bob""#, END),
            (r#""id":"p","user":"b\u006fb""#, END),
            ("\"id\":\"p\",\"user\":\"b\u{1}b\"", END),
            (r#""id":"p/p","user":"bob""#, END),
            (r#""id":"p","user":"böb""#, END),
            (r#""user":"bob","id":"p""#, END),
            (r#""id":"p","user":"bob""#, r#""not_after":"2026-11-21""#),
            (r#""id":"p","user":"bob""#, r#""not_after":17"#),
            (
                r#""id":"p","user":"bob""#,
                r#""not_before":"2026-11-21T12:00:00Z","not_after":"2026-11-21T12:00:00Z""#,
            ),
            (
                r#""id":"p","user":"bob""#,
                r#""not_before":"2026-11-21T11:00:00Z","not_after":"2026-11-21T12:00:00Z","reason":"r","ticket":"t""#,
            ),
        ];
        let with_particulars = particulars
            .map(|(before, after)| format!(r#"{{{before},"services":["sudo"],{after}}}"#));
        let after = [
            r#","reason":"r""#,
            r#","reason":"a \"b\"""#,
            r#","reason":null"#,
            r#","ticket":"t","reason":"r""#,
            r#","ticket":"t","ticket":"t""#,
            r#","mfa":"15m""#,
            r#","user":"eve""#,
            " ",
            ",",
            "\"",
        ];
        let with_more = after
            .map(|after| format!(r#"{{"id":"m","user":"bob","services":["sudo"],{END}{after}}}"#));
        let all = with_terms.into_iter().chain(with_particulars);
        // Each under an id of its own: what is dropped for its id is not compared.
        all.chain(with_more).enumerate().map(|(nth, grant)| {
            let id = format!("\"id\":\"{nth}-");
            grant.replacen("\"id\":\"", &id, 1)
        })
    }

    fn same_toml(text: &str, size: usize) {
        assert_eq!(toml_in_parts(text, size), toml_whole(text), "{text:?}");
    }

    fn same_json(text: &str, size: usize) {
        assert_eq!(json_in_parts(text, size), json_whole(text), "{text:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

        #[test]
        fn toml_reads_the_same(
            pieces in prop::collection::vec(prop::sample::select(toml_pieces()), 0..9),
            size in 0_usize..300,
        ) {
            same_toml(&pieces.concat(), size);
        }

        #[test]
        fn json_reads_the_same(
            pieces in prop::collection::vec(prop::sample::select(json_pieces()), 0..9),
            commas in any::<bool>(),
            size in 0_usize..300,
        ) {
            let body = pieces.join(if commas { "," } else { "" });
            same_json(&format!("{{\"grants\":[{body}]}}"), size);
        }
    }

    #[test]
    fn every_pair_of_pieces_reads_the_same() {
        let (x, y) = (toml_grant("x"), toml_grant("y"));
        for first in toml_pieces() {
            for second in toml_pieces() {
                same_toml(&format!("{first}{x}{second}{y}"), 0);
                same_toml(&format!("{x}{first}{y}{second}"), 0);
            }
        }
        let (x, y) = (json_grant("x"), json_grant("y"));
        for first in json_pieces() {
            for second in json_pieces() {
                same_json(&format!("{{\"grants\":[{first},{x},{second},{y}]}}"), 0);
                same_json(&format!("{{\"grants\":[{x},{first},{y},{second}]}}"), 0);
            }
        }
    }

    /// Else the tests above would compare the whole with itself.
    #[test]
    fn what_is_usual_is_read_in_parts() {
        let toml = format!("# ours\n{}", ["a", "b", "c"].map(toml_grant).concat());
        assert_eq!(toml_parts(&toml, 0).unwrap().grants.len(), 3);
        let grants = ["a", "b", "c"].map(json_grant).join(",");
        let json = format!("{{\"grants\":[{grants}]}}");
        assert_eq!(json_parts(&json, 0).unwrap().grants.len(), 3);
        let odd = json.replace(r#""b","user""#, r#""b","moon""#);
        let odd = json_parts(&odd, 0).unwrap();
        assert_eq!((odd.grants.len(), odd.faults.len()), (2, 1));
    }

    const MANY: usize = 20_000;

    fn many(grant: fn(&str) -> String) -> Vec<String> {
        (0..MANY).map(|n| grant(&format!("inc-{n}"))).collect()
    }

    fn told(parsed: &Parsed) -> Vec<(usize, Option<&str>)> {
        let told = parsed.faults.iter();
        told.map(|f| (f.line.unwrap(), f.id.as_deref())).collect()
    }

    /// Among very many: an odd grant in the middle, an id that stands in the first part and in the
    /// last, and the lines of all three.
    #[test]
    fn the_odd_ones_among_many_are_found_and_named() {
        let odd = format!("inc-{}", MANY / 2);
        let mut toml = many(toml_grant);
        toml[MANY / 2] = toml[MANY / 2].replace("services", "servces");
        toml[MANY - 1] = toml_grant("inc-1");
        let toml = toml.concat();
        assert!(toml_parts(&toml, parts::SIZE).is_some());
        let parsed = parse_toml(&toml).unwrap();
        let faults = [
            (MANY / 2 * 5 + 4, Some(&*odd)),
            (6, Some("inc-1")),
            ((MANY - 1) * 5 + 1, Some("inc-1")),
        ];
        assert_eq!(told(&parsed), faults);
        assert_eq!(parsed.grants.len(), MANY - 3);
        assert!(parsed.grants.iter().all(|grant| &*grant.id != "inc-1"));
        assert_eq!(&*parsed.grants[1].id, "inc-2");

        let mut json = many(json_grant);
        json[MANY / 2] = json[MANY / 2].replace("services", "servces");
        json[MANY - 1] = json_grant("inc-1");
        json[0].insert(0, '\n');
        for (nth, json) in json.iter_mut().enumerate() {
            // A new line within some, where no part begins.
            if nth % 100 == 99 {
                json.push('\n');
            }
        }
        let json = format!("{{\"grants\":[{}]}}", json.join(","));
        let parsed = parse_json(&json).unwrap();
        let faults = [
            (MANY / 2 / 100 + 2, Some(&*odd)),
            (2, Some("inc-1")),
            (MANY / 100 + 1, Some("inc-1")),
        ];
        assert_eq!(told(&parsed), faults);
        assert_eq!(parsed.grants.len(), MANY - 3);
    }

    /// What is wrong with the whole of a file in its last part is said as always.
    #[test]
    fn a_slip_at_the_end_of_many_costs_all_and_its_line_is_named() {
        let good = many(toml_grant).concat();
        for (slip, line) in [("[x]\n", 1), ("id = \"\n", 1), ("\nreason = \"\"\"\n", 2)] {
            let error = parse_toml(&format!("{good}{slip}")).unwrap_err();
            assert!(error.line >= MANY * 5 + line, "{error}");
        }
        let good = many(json_grant).join(",");
        assert!(parse_json(&format!("{{\"grants\":[{good},]}}")).is_err());
        assert!(parse_json(&format!("{{\"grants\":[{good}}}]}}")).is_err());
    }
}
