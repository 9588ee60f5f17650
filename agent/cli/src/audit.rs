//! `jit audit`: reads the journal, and proves that nobody edited it. Works on the files alone, so
//! also on a copy on another machine and with the agent dead.

use std::collections::VecDeque;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use jit_journal::{AgainstReport, Entry, Journal, JournalError, Record, Seen, Stray, VerifyReport};
use jit_policy::printable;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::Desk;
use crate::agent::root_only;
use crate::failure::{Exit, Failure};
use crate::notes;
use crate::text::{Paint, Table, Tone, count};
use crate::when;

/// Where the agent keeps its journal.
const DIR: &str = "/var/lib/pam_jit/audit";

const ABOUT_VERIFY: &str = "Prove that the journal is unbroken: every record carries the hash of \
the one before.

Alone this shows accidents and clumsy edits: who may write the whole journal may also compute a new \
chain. With --against it is compared with what the log collector received (a text file of syslog \
lines); then any edit shows, unless both were edited.";

/// What to do with the journal.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Show the latest records
    Show(Show),
    /// Prove that the journal is unbroken
    #[command(long_about = ABOUT_VERIFY)]
    Verify(Verify),
}

/// Which records.
#[derive(Debug, Args)]
#[command(after_long_help = notes::AUDIT_SHOW)]
pub(crate) struct Show {
    /// Only this person's
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only of this kind: decision, mfa, session, grant, policy, config, clock, agent
    #[arg(long, value_name = "EVENT")]
    event: Option<String>,
    /// Only from this time on; -2h is two hours ago
    #[arg(long, value_name = "TIME", value_parser = when::time, allow_hyphen_values = true)]
    since: Option<Timestamp>,
    /// At most so many, the latest; 0 for all
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 50)]
    most: usize,
    /// Folder of the journal, as of a copy of it
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What to prove it with.
#[derive(Debug, Args)]
#[command(after_long_help = notes::AUDIT_VERIFY)]
pub(crate) struct Verify {
    /// Log collector's copy: a text file with this host's syslog lines
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Folder of the journal, as of a copy of it
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Serialize)]
struct Shown {
    events: VecDeque<Event>,
    unreadable: Vec<Place>,
}

/// A record, in the order in which its keys stand.
struct Event(Record);

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        for (key, value) in self.0.pairs() {
            map.serialize_entry(key, &value)?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Place {
    file: String,
    line: u64,
    what: String,
}

#[derive(Serialize)]
struct Proof {
    ok: bool,
    records: u64,
    files: Vec<String>,
    from_start: bool,
    first: Option<SeenAt>,
    last: Option<SeenAt>,
    faults: Vec<Place>,
    more_faults: u64,
    against: Option<Against>,
}

#[derive(Serialize)]
struct SeenAt {
    file: String,
    line: u64,
    id: String,
    time: String,
    hash: String,
}

#[derive(Serialize)]
struct Against {
    matched: u64,
    not_in_journal: Vec<StrayAt>,
    not_at_collector: Vec<SeenAt>,
    altered: Vec<AlteredAt>,
    unchained: Vec<StrayAt>,
    unreadable: Vec<u64>,
    before_journal: u64,
    other_hosts: u64,
    after_collector: u64,
}

#[derive(Serialize)]
struct StrayAt {
    line: u64,
    id: String,
}

#[derive(Serialize)]
struct AlteredAt {
    journal: SeenAt,
    line: u64,
    how: String,
}

impl Audit {
    /// Does it.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read.
    pub(crate) fn run(self, desk: &Desk) -> Result<Exit, Failure> {
        match self {
            Self::Show(show) => show.run(desk),
            Self::Verify(verify) => verify.run(desk),
        }
    }
}

/// The folder named, or root's own.
fn folder(named: Option<PathBuf>, verb: &str) -> Result<PathBuf, Failure> {
    match named {
        Some(dir) => Ok(dir),
        None => root_only(verb).map(|()| PathBuf::from(DIR)),
    }
}

impl Show {
    fn run(mut self, desk: &Desk) -> Result<Exit, Failure> {
        let dir = folder(self.dir.take(), "audit show")?;
        let mut shown = Shown {
            events: VecDeque::new(),
            unreadable: Vec::new(),
        };
        for entry in Journal::open_read(&dir).map_err(journal)?.records() {
            self.take(entry, &mut shown);
        }
        desk.screen
            .show(&shown, |paint| events(&shown.events, paint))?;
        if !shown.unreadable.is_empty() {
            let lines = count(shown.unreadable.len() as u64, "line");
            desk.screen.aside(&format!(
                "{lines} of the journal cannot be read: jit audit verify says which"
            ));
        }
        Ok(Exit::Yes)
    }

    fn take(&self, entry: Entry, shown: &mut Shown) {
        match entry.record {
            Err(what) => shown
                .unreadable
                .push(place(&entry.file, entry.line, &what.to_string())),
            Ok(record) if self.wants(&record) => {
                if self.most > 0 && shown.events.len() == self.most {
                    shown.events.pop_front();
                }
                shown.events.push_back(Event(record));
            }
            Ok(_) => {}
        }
    }

    fn wants(&self, record: &Record) -> bool {
        let is =
            |key, wanted: &Option<String>| wanted.is_none() || record.get(key) == wanted.as_deref();
        let late_enough = self.since.is_none_or(|since| {
            let time = record.get("time").and_then(|t| t.parse::<Timestamp>().ok());
            // A record without a time is rather shown than lost.
            time.is_none_or(|time| time >= since)
        });
        is("user", &self.user) && is("event", &self.event) && late_enough
    }
}

/// What every event's line begins with, or what only says which line it is.
const LEADING: [&str; 7] = ["time", "event", "outcome", "user", "id", "prev", "chain"];

/// Records as a table: when, what, how it ended, who, then whatever else the record says.
fn events(records: &VecDeque<Event>, paint: Paint) -> String {
    if records.is_empty() {
        return "no such records\n".to_owned();
    }
    let mut table = Table::default();
    for Event(record) in records {
        let get = |key| record.get(key).unwrap_or("-");
        let tone = match get("outcome") {
            "allow" | "passed" | "applied" | "loaded" | "added" => Tone::Good,
            "deny" | "failed" | "locked" | "rejected" | "expired" => Tone::Bad,
            _ => Tone::Normal,
        };
        let time = get("time");
        let time = time
            .parse::<Timestamp>()
            .map_or_else(|_| time.to_owned(), |t| t.strftime("%F %T").to_string());
        let rest: Vec<String> = record
            .pairs()
            .filter(|(key, _)| !LEADING.contains(key))
            .filter_map(|(key, value)| Some(format!("{key}={}", word(value?))))
            .collect();
        table.row([
            (Tone::Faint, &time),
            (Tone::Normal, get("event")),
            (tone, get("outcome")),
            (Tone::Strong, get("user")),
            (Tone::Normal, &rest.join(" ")),
        ]);
    }
    format!(
        "{}{}",
        paint.say(Tone::Faint, "times are UTC\n"),
        table.show(0, paint)
    )
}

/// A value, quoted where it would run into its neighbours.
fn word(value: &str) -> String {
    match value.contains([' ', '"', '=']) {
        true => format!("\"{}\"", value.replace('"', "'")),
        false => value.to_owned(),
    }
}

impl Verify {
    fn run(self, desk: &Desk) -> Result<Exit, Failure> {
        let dir = folder(self.dir, "audit verify")?;
        let (report, against) = match &self.against {
            None => (jit_journal::verify(&dir).map_err(journal)?, None),
            Some(path) => {
                // Opened before the journal, so that it cannot know more than the journal does.
                let file = File::open(path).map_err(|e| Failure::file(path, e))?;
                let report =
                    jit_journal::verify_against(&dir, BufReader::new(file)).map_err(journal)?;
                let (journal, against) = split(report);
                (journal, Some(against))
            }
        };
        let proof = proof(report, against);
        desk.screen.show(&proof, |paint| proof.text(paint))?;
        Ok(match proof.ok {
            true => Exit::Yes,
            false => Exit::No,
        })
    }
}

fn split(report: AgainstReport) -> (VerifyReport, Against) {
    let strays = |found: Vec<Stray>| {
        let at = |Stray { line, id }| StrayAt { line, id };
        found.into_iter().map(at).collect()
    };
    let against = Against {
        matched: report.matched,
        not_in_journal: strays(report.not_in_journal),
        unchained: strays(report.unchained),
        not_at_collector: report.not_at_collector.iter().map(seen).collect(),
        altered: (report.altered.into_iter())
            .map(|one| AlteredAt {
                journal: seen(&one.journal),
                line: one.line,
                how: one.how,
            })
            .collect(),
        unreadable: report.unreadable,
        before_journal: report.before_journal,
        other_hosts: report.other_hosts,
        after_collector: report.after_collector,
    };
    (report.journal, against)
}

fn proof(report: VerifyReport, against: Option<Against>) -> Proof {
    // A copy that shares nothing with the journal proves nothing, so it must not look like proof.
    let same = against.as_ref().is_none_or(|against| {
        against.matched > 0 && against.not_in_journal.is_empty() && against.altered.is_empty()
    });
    Proof {
        ok: report.faults.is_empty() && same,
        records: report.records,
        files: report
            .files
            .iter()
            .map(|f| f.display().to_string())
            .collect(),
        from_start: report.from_start,
        first: report.first.as_ref().map(seen),
        last: report.last.as_ref().map(seen),
        faults: (report.faults.iter())
            .map(|fault| place(&fault.file, fault.line, &fault.what.to_string()))
            .collect(),
        more_faults: report.more_faults,
        against,
    }
}

fn seen(seen: &Seen) -> SeenAt {
    SeenAt {
        file: seen.file.display().to_string(),
        line: seen.line,
        id: seen.id.clone(),
        time: seen.time.clone(),
        hash: seen.hash.to_string(),
    }
}

fn place(file: &Path, line: u64, what: &str) -> Place {
    Place {
        file: file.display().to_string(),
        line,
        what: what.to_owned(),
    }
}

fn journal(error: JournalError) -> Failure {
    Failure::no("journal", error.to_string())
}

impl Proof {
    fn text(&self, paint: Paint) -> String {
        let mut lines = Vec::new();
        let unbroken = self.faults.is_empty();
        let (tone, word) = match unbroken {
            true => (Tone::Good, "unbroken"),
            false => (Tone::Bad, "BROKEN"),
        };
        let files = count(self.files.len() as u64, "file");
        let records = count(self.records, "record");
        lines.push(format!("{}  {records} in {files}", paint.say(tone, word)));
        for fault in &self.faults {
            lines.push(printable(&format!(
                "  {}:{}: {}",
                fault.file, fault.line, fault.what
            )));
        }
        if self.more_faults > 0 {
            lines.push(format!("  and {} more", count(self.more_faults, "fault")));
        }
        if let (Some(first), Some(last)) = (&self.first, &self.last) {
            let start = match self.from_start {
                true => "the first ever written here",
                false => "older ones were rotated away, or removed",
            };
            lines.push(printable(&format!("  first  {} ({start})", first.time)));
            lines.push(printable(&format!(
                "  last   {} hash {}",
                last.time, last.hash
            )));
        }
        if let Some(against) = &self.against {
            against.text(paint, &mut lines);
        }
        lines.join("\n") + "\n"
    }
}

impl Against {
    fn text(&self, paint: Paint, lines: &mut Vec<String>) {
        let tampered = self.altered.len() + self.not_in_journal.len();
        let (tone, word) = match (tampered, self.matched) {
            (0, 0) => (Tone::Bad, "NOTHING IN COMMON"),
            (0, _) => (Tone::Good, "same"),
            _ => (Tone::Bad, "DIFFERENT"),
        };
        let matched = count(self.matched, "record");
        lines.push(format!(
            "{}  {matched} agree with the collector's copy",
            paint.say(tone, word)
        ));
        for one in &self.altered {
            lines.push(printable(&format!(
                "  altered: {}:{} ({}), collector's line {}: {}",
                one.journal.file, one.journal.line, one.journal.id, one.line, one.how
            )));
        }
        for one in &self.not_in_journal {
            lines.push(printable(&format!(
                "  missing in the journal: {}, collector's line {} (removed, or not written by the agent)",
                one.id, one.line
            )));
        }
        for one in &self.not_at_collector {
            lines.push(printable(&format!(
                "  not at the collector: {}:{} ({}, {}); it may have been lost on the way",
                one.file, one.line, one.id, one.time
            )));
        }
        for one in &self.unchained {
            lines.push(printable(&format!(
                "  unchained: {}, collector's line {}; it says itself that the journal could not take it (anyone can \
                 write such a line)",
                one.id, one.line
            )));
        }
        let mut note = |n: u64, one: &str, what: &str| {
            if n > 0 {
                lines.push(format!("  {} {what}", count(n, one)));
            }
        };
        note(
            self.after_collector,
            "record",
            "newer than the collector's last",
        );
        note(
            self.before_journal,
            "collector's line",
            "older than the journal's first",
        );
        note(self.other_hosts, "collector's line", "of other hosts");
        note(
            self.unreadable.len() as u64,
            "collector's line",
            "that look like ours and are not",
        );
    }
}
