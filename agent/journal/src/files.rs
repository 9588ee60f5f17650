//! The files of a journal: which there are, in which order, and where the last one ends.

use crate::JournalError;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The file that is being written.
pub const CURRENT: &str = "journal.jsonl";

/// The path of an older part; part 0 is the current file.
pub(crate) fn path_of(dir: &Path, part: u32) -> PathBuf {
    match part {
        0 => dir.join(CURRENT),
        n => dir.join(format!("{CURRENT}.{n}")),
    }
}

/// The older parts that exist, ascending (1 is the youngest).
pub(crate) fn older_parts(dir: &Path) -> Result<Vec<u32>, JournalError> {
    let mut parts = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(JournalError::io(dir, "list this folder"))? {
        let entry = entry.map_err(JournalError::io(dir, "list this folder"))?;
        parts.extend(entry.file_name().to_str().and_then(part_of));
    }
    parts.sort_unstable();
    Ok(parts)
}

/// The number of an older part, from its name in its one spelling.
fn part_of(name: &str) -> Option<u32> {
    let number = name.strip_prefix(CURRENT)?.strip_prefix('.')?;
    let part: u32 = number.parse().ok()?;
    (part > 0 && part.to_string() == number).then_some(part)
}

/// Where the complete lines of a file end, and the last of them.
pub(crate) struct Tail {
    /// Length of the file up to and including its last newline.
    pub(crate) good_len: u64,
    /// Length of the file.
    pub(crate) len: u64,
    /// The last complete line, without its newline; `None` if there is none.
    pub(crate) last_line: Option<Vec<u8>>,
}

/// Reads backwards, so that the start of the agent does not wait for megabytes.
pub(crate) fn tail(file: &File) -> std::io::Result<Tail> {
    let len = file.metadata()?.len();
    let Some(newline) = last_newline(file, len)? else {
        return Ok(Tail {
            good_len: 0,
            len,
            last_line: None,
        });
    };
    let start = last_newline(file, newline)?.map_or(0, |before| before + 1);
    let size = usize::try_from(newline - start).map_err(std::io::Error::other)?;
    let mut line = vec![0; size];
    file.read_exact_at(&mut line, start)?;
    Ok(Tail {
        good_len: newline + 1,
        len,
        last_line: Some(line),
    })
}

/// Where the last newline before `end` stands.
fn last_newline(file: &File, end: u64) -> std::io::Result<Option<u64>> {
    const CHUNK: u64 = 8192;
    let mut end = end;
    while end > 0 {
        let start = end.saturating_sub(CHUNK);
        let mut chunk = vec![0; usize::try_from(end - start).map_err(std::io::Error::other)?];
        file.read_exact_at(&mut chunk, start)?;
        if let Some(at) = chunk.iter().rposition(|b| *b == b'\n') {
            return Ok(Some(start + at as u64));
        }
        end = start;
    }
    Ok(None)
}
