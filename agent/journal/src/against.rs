//! Comparing the journal with what the log collector received.

use crate::verify::walk;
use crate::{Hash, JournalError, Record, Seen, VerifyReport, push_logfmt};
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::collections::{HashMap, HashSet};
use std::io::{BufRead, Read};
use std::path::Path;

/// A line at the collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// Its number in the collector's text, from 1.
    pub line: u64,
    /// The id that it carries.
    pub id: String,
}

/// A record that differs between the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Altered {
    /// The journal's record.
    pub journal: Seen,
    /// The line of the collector's text, from 1.
    pub line: u64,
    /// How they differ.
    pub how: String,
}

/// What a comparison found. Nothing was tampered with if the journal has no faults and
/// `not_in_journal` and `altered` are empty; `not_at_collector` may be lost datagrams, which the
/// agent records (`event=agent outcome=recovered reason=syslog`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgainstReport {
    /// The journal on its own.
    pub journal: VerifyReport,
    /// Records that are the same in both.
    pub matched: u64,
    /// Lines at the collector that the journal should have and has not: removed there, or never
    /// written by the agent (anyone can send a line with our tag).
    pub not_in_journal: Vec<Stray>,
    /// Records between the collector's first and last that it did not receive.
    pub not_at_collector: Vec<Seen>,
    /// Records that differ.
    pub altered: Vec<Altered>,
    /// Lines at the collector from before the journal's first record, which were rotated away.
    pub before_journal: u64,
    /// Lines at the collector that other hosts sent.
    pub other_hosts: u64,
    /// Lines that say themselves (`chain=-`) that the journal took no record of them: it was full,
    /// or broken. The record that ends the outage counts them (`lost`). Anyone can write such a line too.
    pub unchained: Vec<Stray>,
    /// Lines with our tag's look that are not records of ours (`event=` and no id, or malformed).
    pub unreadable: Vec<u64>,
    /// Records after the last that the collector has: it may not have received them yet.
    pub after_collector: u64,
}

impl AgainstReport {
    /// Whether nothing speaks for tampering. A comparison in which nothing matched proves nothing, and
    /// is not clean.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.matched > 0
            && self.journal.faults.is_empty()
            && self.not_in_journal.is_empty()
            && self.altered.is_empty()
    }
}

/// A line at the collector, kept small: such texts are long.
struct Received {
    line: u64,
    chain: Option<String>,
    body: Hash,
    host: Option<String>,
    found: bool,
    /// Another line with this id that says something else.
    rival: Option<u64>,
}

/// Verifies the journal in a folder and compares it with the collector's text (logfmt or JSON lines,
/// whatever stands before the event on each line; oldest first). Open the collector's text first, so that
/// it cannot hold what the journal does not hold yet.
///
/// # Errors
///
/// The journal cannot be opened, or the collector's text cannot be read.
pub fn verify_against(dir: &Path, collector: impl BufRead) -> Result<AgainstReport, JournalError> {
    let mut report = AgainstReport::default();
    let mut received = read_collector(collector, &mut report)?;
    let mut hosts = HashSet::new();
    // Records not at the collector since the last that is: in its range only if another follows.
    let mut waiting = Vec::new();
    let mut within = false;
    report.journal = walk(dir, |entry, record| {
        if let Some(host) = record.get("host") {
            hosts.insert(host.to_owned());
        }
        let seen = Seen::of(entry, record);
        let Some(copy) = received.get_mut(&seen.id) else {
            if within {
                waiting.push(seen);
            }
            return;
        };
        within = true;
        report.not_at_collector.append(&mut waiting);
        copy.found = true;
        match difference(copy, record, entry.hash) {
            None => report.matched += 1,
            Some(how) => report.altered.push(Altered {
                journal: seen,
                line: copy.line,
                how,
            }),
        }
    })?;
    report.after_collector = waiting.len() as u64;
    judge_strays(received, &hosts, &mut report);
    Ok(report)
}

fn judge_strays(
    received: HashMap<String, Received>,
    hosts: &HashSet<String>,
    report: &mut AgainstReport,
) {
    let rotated = Rotated::of(&received, report);
    for (id, copy) in received {
        if copy.found {
            continue;
        }
        let stray = Stray {
            line: copy.line,
            id,
        };
        // A journal without any host is an empty one, and excuses nothing.
        if !hosts.is_empty() && copy.host.is_some_and(|host| !hosts.contains(&host)) {
            report.other_hosts += 1;
        } else if rotated
            .as_ref()
            .is_some_and(|rotated| rotated.covers(&stray))
        {
            report.before_journal += 1;
        } else if copy.chain.is_some() {
            report.not_in_journal.push(stray);
        } else {
            report.unchained.push(stray);
        }
    }
    report.unchained.sort_by_key(|stray| stray.line);
    report.not_in_journal.sort_by_key(|stray| stray.line);
}

/// Which of the collector's lines are older than the journal, whose oldest files were rotated away.
/// A line must be so by its id and by its place: ids alone could be made old by setting the clock back.
struct Rotated {
    millis: u64,
    line: u64,
}

impl Rotated {
    /// Records that wait for the disk, or are folded, are chained later than their ids say.
    const SLACK_MILLIS: u64 = 5000;
    const SLACK_LINES: u64 = 1000;

    fn of(received: &HashMap<String, Received>, report: &AgainstReport) -> Option<Self> {
        let first = report
            .journal
            .first
            .as_ref()
            .filter(|_| !report.journal.from_start)?;
        let line = received
            .values()
            .filter(|copy| copy.found)
            .map(|copy| copy.line)
            .min();
        Some(Self {
            millis: millis_of(&first.id)?.saturating_add(Self::SLACK_MILLIS),
            line: line.unwrap_or(u64::MAX).saturating_add(Self::SLACK_LINES),
        })
    }

    fn covers(&self, stray: &Stray) -> bool {
        stray.line < self.line && millis_of(&stray.id).is_some_and(|millis| millis < self.millis)
    }
}

/// When an id was made: its first 10 characters are 48 bits of milliseconds in Crockford's base 32.
fn millis_of(id: &str) -> Option<u64> {
    const DIGITS: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    id.get(..10)?.chars().try_fold(0, |millis, digit| {
        Some(millis << 5 | DIGITS.find(digit)? as u64)
    })
}

fn difference(copy: &Received, record: &Record, hash: Hash) -> Option<String> {
    let chain = hash.chain();
    if let Some(rival) = copy.rival {
        Some(format!(
            "the collector has another line with this id, line {rival}, that says something else"
        ))
    } else if copy.body != body(record) {
        Some("the same id with other words".to_owned())
    } else if copy.chain.as_ref() != Some(&chain) {
        Some(format!(
            "the collector has chain {}, the journal's record has {chain}",
            copy.chain.as_deref().unwrap_or("-")
        ))
    } else {
        None
    }
}

/// What both copies must agree on: everything but what only one of them carries.
fn body(record: &Record) -> Hash {
    let mut text = String::new();
    push_logfmt(
        &mut text,
        record
            .pairs()
            .filter(|(key, _)| !matches!(*key, "time" | "prev" | "chain")),
    );
    Hash::of(text.as_bytes())
}

fn read_collector(
    mut collector: impl BufRead,
    report: &mut AgainstReport,
) -> Result<HashMap<String, Received>, JournalError> {
    const LONGEST: u64 = 64 << 10;
    let fail = |e| JournalError::io("the collector's copy", "read this text")(e);
    let mut received: HashMap<String, Received> = HashMap::new();
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        collector
            .by_ref()
            .take(LONGEST)
            .read_until(b'\n', &mut bytes)
            .map_err(fail)?;
        if bytes.is_empty() {
            break;
        }
        if !bytes.ends_with(b"\n") {
            collector.skip_until(b'\n').map_err(fail)?;
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some(event) = find_event(text.trim_end()) else {
            continue;
        };
        let Some((record, id)) = event
            .ok()
            .and_then(|r| r.get("id").map(str::to_owned).map(|id| (r, id)))
        else {
            report.unreadable.push(line);
            continue;
        };
        keep(&mut received, line, id, &record);
    }
    Ok(received)
}

/// A relay may deliver a line twice, which is nothing; two that differ are reported, whichever of
/// them agrees with the journal.
fn keep(received: &mut HashMap<String, Received>, line: u64, id: String, record: &Record) {
    let copy = Received {
        line,
        chain: record.get("chain").map(str::to_owned),
        body: body(record),
        host: record.get("host").map(str::to_owned),
        found: false,
        rival: None,
    };
    match received.entry(id) {
        Vacant(place) => {
            place.insert(copy);
        }
        Occupied(mut first) => {
            let first = first.get_mut();
            if first.body != copy.body || first.chain != copy.chain {
                first.rival.get_or_insert(line);
            }
        }
    }
}

/// The event in a collector's line, whatever the collector wrote before it.
fn find_event(text: &str) -> Option<Result<Record, String>> {
    let plain = text.find("event=");
    let json = text
        .find("{\"event\":")
        .filter(|json| plain.is_none_or(|plain| *json < plain));
    let event = text.get(json.or(plain)?..)?;
    Some(match json {
        Some(_) => Record::from_json(event),
        None => Record::from_logfmt(event),
    })
}
