//! Grants files on the way into a bundle: read, checked as the agent would, and looked at with a
//! person's eyes.

use std::collections::HashMap;
use std::path::PathBuf;

use jiff::Timestamp;
use jit_policy::grant::{Parsed, parse_toml};
use jit_policy::{Grant, Who, span_in_words};
use serde::Serialize;

use crate::failure::Failure;
use crate::files;

/// More text than fits into a bundle.
const MOST: u64 = jit_policy::bundle::MAX_SIZE as u64;

/// Longer than this is hardly just in time.
const LONG: jiff::SignedDuration = jiff::SignedDuration::from_hours(7 * 24);

/// Something about a grant or a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Remark {
    /// The file.
    pub(super) file: String,
    /// The line, from 1, where it is known.
    pub(super) line: Option<usize>,
    /// The grant's id, where it is known.
    pub(super) id: Option<String>,
    /// What there is to say.
    pub(super) message: String,
}

impl std::fmt::Display for Remark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(id) = &self.id {
            write!(f, ": grant {id}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// What some files hold together.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// The well-formed grants, in the files' order.
    pub(super) grants: Vec<Grant>,
    /// What keeps them from being signed.
    pub(super) errors: Vec<Remark>,
    /// What is odd, though not wrong.
    pub(super) warnings: Vec<Remark>,
}

/// Reads and checks files of grants, all of them, so that every fault is said at once.
///
/// # Errors
///
/// When a file cannot be read.
pub(super) fn check(paths: &[PathBuf], now: Timestamp) -> Result<Checked, Failure> {
    let mut checked = Checked::default();
    let mut homes: HashMap<Box<str>, String> = HashMap::new();
    for path in paths {
        let text = files::read_text(path, MOST)?;
        let file = path.display().to_string();
        match parse_toml(&text) {
            Ok(parsed) => checked.take(&file, &text, parsed, &mut homes, now),
            Err(error) => checked.errors.push(Remark {
                line: Some(error.line),
                id: None,
                message: error.message,
                file,
            }),
        }
    }
    Ok(checked)
}

impl Checked {
    fn take(
        &mut self,
        file: &str,
        text: &str,
        parsed: Parsed,
        homes: &mut HashMap<Box<str>, String>,
        now: Timestamp,
    ) {
        for fault in parsed.faults {
            self.errors.push(Remark {
                file: file.to_owned(),
                line: fault.line,
                id: fault.id,
                message: fault.message,
            });
        }
        let lines = lines_of_ids(text);
        for grant in parsed.grants {
            let remark = |message: String| Remark {
                file: file.to_owned(),
                line: lines.get(&*grant.id).copied(),
                id: Some(grant.id.to_string()),
                message,
            };
            // Two of one id in one file are the parser's to name.
            if let Some(home) = homes.insert(grant.id.clone(), file.to_owned()) {
                let message = format!("the id is taken by a grant in {home}");
                self.errors.push(remark(message));
            }
            self.warnings
                .extend(oddities(&grant, now).into_iter().map(remark));
            self.grants.push(grant);
        }
    }
}

/// What a person may have meant otherwise.
fn oddities(grant: &Grant, now: Timestamp) -> Vec<String> {
    let mut odd = Vec::new();
    let start = grant.not_before.unwrap_or(now).max(now);
    let length = grant.not_after.duration_since(start);
    if grant.not_after <= now {
        let ago = span_in_words(now.duration_since(grant.not_after));
        odd.push(format!("expired {ago} ago; it gives nothing"));
    } else if length > LONG {
        let length = span_in_words(length);
        odd.push(format!("holds for {length}; a grant is meant for hours"));
    }
    if grant.reason.is_none() && grant.ticket.is_none() {
        odd.push("has neither reason nor ticket; nobody will know why it was given".to_owned());
    }
    if let Who::Group(group) = &grant.who {
        odd.push(format!(
            "names group {group}; in a bundle, each host says who is in it"
        ));
    }
    odd
}

/// The lines, from 1, on which grants say their ids, as TOML is usually written. Of two that say the
/// same, the first.
fn lines_of_ids(text: &str) -> HashMap<&str, usize> {
    fn said(line: &str) -> Option<&str> {
        let value = line.trim_start().strip_prefix("id")?.trim_start();
        let value = value.strip_prefix('=')?.trim_start();
        let quote = value.chars().next().filter(|c| "\"'".contains(*c))?;
        Some(value.strip_prefix(quote)?.split_once(quote)?.0)
    }
    let mut lines = HashMap::new();
    for (at, line) in text.lines().enumerate() {
        if let Some(id) = said(line) {
            lines.entry(id).or_insert(at + 1);
        }
    }
    lines
}
