//! Reading the journal, also while the agent writes it.

use crate::files::{self, path_of};
use crate::{Hash, JournalError, Record, What};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// No line of ours is longer; a longer one is a fault and is not taken into memory.
const LONGEST_LINE: u64 = 64 << 10;

/// How long to wait for the end of a line that may just be on its way, and how often.
const GRACE: Duration = Duration::from_millis(20);
const PATIENCE: u32 = 10;

/// An open journal, all of its files at one moment: later rotation does not disturb the reader.
#[derive(Debug)]
pub struct Journal {
    /// Oldest first.
    parts: Vec<(PathBuf, File)>,
}

impl Journal {
    /// Opens the journal in a folder for reading.
    ///
    /// # Errors
    ///
    /// There is none, or a file of it cannot be opened.
    pub fn open_read(dir: &Path) -> Result<Self, JournalError> {
        const ATTEMPTS: u32 = 20;
        for _ in 0..ATTEMPTS {
            if let Some(parts) = Self::open_parts(dir)? {
                return Ok(Self { parts });
            }
        }
        Err(JournalError::Restless(dir.to_owned()))
    }

    /// `None` if the journal rotated meanwhile: a part could be missing, or be there twice.
    fn open_parts(dir: &Path) -> Result<Option<Vec<(PathBuf, File)>>, JournalError> {
        let open = |path: PathBuf| match File::open(&path) {
            Ok(file) => Ok(Some((path, file))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(JournalError::io(path, "open this file")(error)),
        };
        let before = current_inode(dir)?;
        let numbers = files::older_parts(dir)?;
        let expected = numbers.len() + usize::from(before.is_some());
        if expected == 0 {
            return Err(JournalError::Missing(dir.to_owned()));
        }
        let mut parts = Vec::with_capacity(expected);
        for part in numbers.into_iter().rev().chain([0]) {
            parts.extend(open(path_of(dir, part))?);
        }
        let settled = parts.len() == expected && current_inode(dir)? == before;
        Ok(settled.then_some(parts))
    }

    /// The names of the files, oldest first.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().map(|(path, _)| path.as_path())
    }

    /// Every line, oldest first.
    #[must_use]
    pub fn records(self) -> Records {
        Records {
            parts: self.parts.into_iter(),
            current: None,
        }
    }
}

fn current_inode(dir: &Path) -> Result<Option<u64>, JournalError> {
    let path = path_of(dir, 0);
    match std::fs::metadata(&path) {
        Ok(there) => Ok(Some(there.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(JournalError::io(path, "look at this file")(error)),
    }
}

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The file that it stands in.
    pub file: PathBuf,
    /// Its number in that file, from 1.
    pub line: u64,
    /// Its hash: what the next line must carry as `prev`. Of a line that is no record, the hash of
    /// what stands there.
    pub hash: Hash,
    /// The record, or what is wrong with the line.
    pub record: Result<Record, What>,
}

/// The lines of a journal, oldest first.
#[derive(Debug)]
pub struct Records {
    parts: std::vec::IntoIter<(PathBuf, File)>,
    current: Option<Part>,
}

#[derive(Debug)]
struct Part {
    path: PathBuf,
    reader: BufReader<File>,
    line: u64,
}

impl Iterator for Records {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            if let Some(entry) = self.current.as_mut().and_then(Part::next) {
                return Some(entry);
            }
            let (path, file) = self.parts.next()?;
            self.current = Some(Part {
                path,
                reader: BufReader::with_capacity(64 << 10, file),
                line: 0,
            });
        }
    }
}

impl Part {
    fn next(&mut self) -> Option<Entry> {
        let mut bytes = Vec::new();
        let what = match self.read_line(&mut bytes) {
            Ok(None) if bytes.is_empty() => return None,
            Ok(what) => what,
            Err(error) => {
                // Nothing more can be had from this file.
                self.reader = empty_reader()?;
                Some(What::Unreadable(error.to_string()))
            }
        };
        self.line += 1;
        if what.is_none() {
            bytes.pop();
        }
        Some(Entry {
            file: self.path.clone(),
            line: self.line,
            hash: Hash::of(&bytes),
            record: match what {
                Some(what) => Err(what),
                None => parse(&bytes),
            },
        })
    }

    /// Reads one line with its newline. `Some` says why it is none; `None` with nothing read is the
    /// end of the file.
    fn read_line(&mut self, bytes: &mut Vec<u8>) -> std::io::Result<Option<What>> {
        for _ in 0..=PATIENCE {
            let room = LONGEST_LINE.saturating_sub(bytes.len() as u64);
            self.reader.by_ref().take(room).read_until(b'\n', bytes)?;
            if bytes.is_empty() || bytes.ends_with(b"\n") {
                return Ok(None);
            }
            if bytes.len() as u64 >= LONGEST_LINE {
                self.reader.skip_until(b'\n')?;
                return Ok(Some(What::TooLong));
            }
            // The agent may be in the middle of writing it.
            std::thread::sleep(GRACE);
        }
        Ok(Some(What::Torn))
    }
}

fn empty_reader() -> Option<BufReader<File>> {
    File::open("/dev/null").ok().map(BufReader::new)
}

fn parse(line: &[u8]) -> Result<Record, What> {
    let text = std::str::from_utf8(line).map_err(|e| What::Malformed(e.to_string()))?;
    Record::from_json(text).map_err(What::Malformed)
}
