//! The hash-chained audit journal: its format, how it is written, read and proved.
//!
//! A journal is a folder with `journal.jsonl` and its older parts `journal.jsonl.1`,
//! `journal.jsonl.2`, … (a higher number is older). One record is one line: a JSON object in plain
//! ASCII whose values are strings, or `null` where there is nothing to say. It begins with `time`
//! (RFC 3339, UTC) and ends with `id` and `prev`; what stands between is the event as it was made.
//!
//! `prev` is the SHA-256, in lower-case hex, of the line before, without its newline. The very first
//! record's `prev` is 64 zeros ([`Hash::GENESIS`]). The chain goes on from file to file, so a line
//! that was changed, removed, added or moved breaks it at the line that follows. Whoever can write
//! the whole folder can also compute a new chain; that is what the collector's copy is for: every
//! line sent to syslog carries the first 12 digits of its own record's hash as `chain`, and
//! [`verify_against`] compares the two.

mod against;
mod append;
mod files;
mod hash;
mod read;
mod record;
mod verify;

#[cfg(test)]
mod tests;

pub use against::{AgainstReport, Altered, Stray, verify_against};
pub use append::{Appender, Disturbance, Limits, Torn};
pub use files::CURRENT;
pub use hash::Hash;
pub use read::{Entry, Journal, Records};
pub use record::{Pair, Record, escaped_len, push_json_string, push_logfmt, push_pairs_json};
pub use verify::{Fault, Seen, VerifyReport, What, verify};

use std::path::PathBuf;

/// The journal could not be read or written at all.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The folder holds no journal.
    #[error(
        "{0}: no journal here; expected a file named {CURRENT} (is this the agent's audit folder, and are you root?)"
    )]
    Missing(PathBuf),
    /// A file or folder could not be used.
    #[error("{path}: cannot {doing}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// What was being done to it.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The files kept moving while they were being opened.
    #[error("{0}: the journal rotated again and again while it was being opened; try once more")]
    Restless(PathBuf),
}

impl JournalError {
    pub(crate) fn io(
        path: impl Into<PathBuf>,
        doing: &'static str,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            path,
            doing,
            source,
        }
    }
}
