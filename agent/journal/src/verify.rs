//! Proving that a journal is unbroken.

use crate::{Entry, Hash, Journal, JournalError, Record};
use std::fmt;
use std::path::{Path, PathBuf};

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Its `prev` is not the hash of the line before: that line was changed, or lines were removed,
    /// added or moved here.
    Broken {
        /// The hash of the line before.
        expected: Hash,
        /// What stands in `prev`.
        found: Option<Hash>,
    },
    /// It is not a record.
    Malformed(String),
    /// It is longer than any record.
    TooLong,
    /// It has no end, and nobody is writing it.
    Torn,
    /// It could not be read.
    Unreadable(String),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken { expected, found } => {
                write!(f, "the chain is broken: prev should be {expected} and is ")?;
                match found {
                    Some(found) => write!(f, "{found}")?,
                    None => f.write_str("missing")?,
                }
                f.write_str(
                    "; the line before was changed, or lines were removed, added or moved here",
                )
            }
            Self::Malformed(why) => write!(f, "not a record: {why}"),
            Self::TooLong => f.write_str("not a record: longer than any record can be"),
            Self::Torn => f.write_str("the line has no end"),
            Self::Unreadable(why) => write!(f, "cannot be read: {why}"),
        }
    }
}

/// One place where the journal is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1.
    pub line: u64,
    /// What is wrong there.
    pub what: What,
}

/// A record that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The file that it stands in.
    pub file: PathBuf,
    /// Its number in that file, from 1.
    pub line: u64,
    /// Its id.
    pub id: String,
    /// When it was made, RFC 3339.
    pub time: String,
    /// Its hash. The last record's is what an auditor may write down: a journal that still contains
    /// it, unbroken, has not been changed up to there.
    pub hash: Hash,
}

impl Seen {
    pub(crate) fn of(entry: &Entry, record: &Record) -> Self {
        Self {
            file: entry.file.clone(),
            line: entry.line,
            id: record.get("id").unwrap_or_default().to_owned(),
            time: record.get("time").unwrap_or_default().to_owned(),
            hash: entry.hash,
        }
    }
}

/// What a journal is like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// How many records could be read.
    pub records: u64,
    /// The files, oldest first.
    pub files: Vec<PathBuf>,
    /// Whether the first record is the very first this host ever wrote. If not, older ones have
    /// been rotated away, or removed: only the collector's copy can tell which.
    pub from_start: bool,
    /// The first record.
    pub first: Option<Seen>,
    /// The last record.
    pub last: Option<Seen>,
    /// What is wrong; empty means unbroken. At most [`VerifyReport::MOST_FAULTS`].
    pub faults: Vec<Fault>,
    /// How many faults there are beyond those.
    pub more_faults: u64,
}

impl VerifyReport {
    /// How many faults are listed one by one.
    pub const MOST_FAULTS: usize = 1000;

    fn fault(&mut self, entry: &Entry, what: What) {
        if self.faults.len() < Self::MOST_FAULTS {
            self.faults.push(Fault {
                file: entry.file.clone(),
                line: entry.line,
                what,
            });
        } else {
            self.more_faults += 1;
        }
    }
}

/// Reads the whole journal in a folder and checks its chain.
///
/// # Errors
///
/// There is no journal, or it cannot be opened. Everything else is in the report.
pub fn verify(dir: &Path) -> Result<VerifyReport, JournalError> {
    walk(dir, |_, _| ())
}

/// Checks the chain and shows every record to `each`.
pub(crate) fn walk(
    dir: &Path,
    mut each: impl FnMut(&Entry, &Record),
) -> Result<VerifyReport, JournalError> {
    let journal = Journal::open_read(dir)?;
    let mut report = VerifyReport {
        files: journal.files().map(Path::to_owned).collect(),
        ..VerifyReport::default()
    };
    let mut before: Option<Hash> = None;
    for entry in journal.records() {
        match &entry.record {
            Err(what) => report.fault(&entry, what.clone()),
            Ok(record) => {
                let found = record.get("prev").and_then(Hash::from_hex);
                match before {
                    Some(expected) if found != Some(expected) => {
                        report.fault(&entry, What::Broken { expected, found });
                    }
                    None if found.is_none() => {
                        report.fault(&entry, What::Malformed("no prev, or not a hash".to_owned()));
                    }
                    None => report.from_start = found == Some(Hash::GENESIS),
                    Some(_) => {}
                }
                report.records += 1;
                let seen = Seen::of(&entry, record);
                report.first.get_or_insert_with(|| seen.clone());
                report.last = Some(seen);
                each(&entry, record);
            }
        }
        before = Some(entry.hash);
    }
    Ok(report)
}
