//! Writing the journal: whole lines or nothing.

use crate::files::{self, path_of, tail};
use crate::{Hash, JournalError};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How large a journal may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A file that would grow beyond so many bytes is rotated first.
    pub max_bytes: u64,
    /// How many older files are kept.
    pub keep: u32,
}

impl Default for Limits {
    /// Half a gigabyte in all, about a million records.
    fn default() -> Self {
        Self {
            max_bytes: 16 << 20,
            keep: 31,
        }
    }
}

/// The last line of a file had no end (the machine lost power while it was being written). It was
/// cut off: nobody was ever told that it is on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Torn {
    /// How many bytes were cut off.
    pub bytes: u64,
}

/// Somebody else touched the journal while it was being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disturbance {
    /// The current file was removed or renamed; a new one was begun.
    Removed,
    /// The current file was replaced, or is not as long as it was left.
    Changed,
}

/// The writing end of a journal. One process at a time: the caller holds the lock.
#[derive(Debug)]
pub struct Appender {
    dir: PathBuf,
    limits: Limits,
    /// `None` after a failure: opened again before the next write.
    file: Option<File>,
    /// What the file is known to hold: whole lines, all of them ours.
    good_len: u64,
    head: Hash,
}

impl Appender {
    /// Opens the journal in a folder, which is made if it is not there (mode 0700), finds the end of
    /// its chain and cuts off a torn last line.
    ///
    /// # Errors
    ///
    /// The folder or a file cannot be used.
    pub fn open(dir: &Path, limits: Limits) -> Result<(Self, Option<Torn>), JournalError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(JournalError::io(dir, "make this folder"))?;
        let mut appender = Self {
            dir: dir.to_owned(),
            limits,
            file: None,
            good_len: 0,
            head: Hash::GENESIS,
        };
        let (torn, last) = appender.open_current()?;
        appender.head = match last {
            Some(hash) => hash,
            None => youngest_hash(dir)?.unwrap_or(Hash::GENESIS),
        };
        Ok((appender, torn))
    }

    /// The hash of the last line on record: the `prev` of the next.
    #[must_use]
    pub fn head(&self) -> Hash {
        self.head
    }

    /// Appends whole lines (each with its newline), the last of which has the hash `head`. With
    /// `durable` they are on disk on return.
    ///
    /// # Errors
    ///
    /// Nothing was appended and [`Appender::head`] is what it was: what was written in part is cut
    /// off again, at the latest before the next append.
    pub fn append(
        &mut self,
        lines: &[u8],
        head: Hash,
        durable: bool,
    ) -> Result<Option<Disturbance>, JournalError> {
        let disturbance = self.ensure_open()?;
        if self.good_len > 0 && self.good_len + lines.len() as u64 > self.limits.max_bytes {
            self.rotate()?;
            self.ensure_open()?;
        }
        let path = path_of(&self.dir, 0);
        let Some(file) = self.file.as_mut() else {
            return Err(JournalError::io(path, "open this file")(
                ErrorKind::NotFound.into(),
            ));
        };
        let written = file
            .write_all(lines)
            .map_err(JournalError::io(&path, "append to this file"));
        let result = written.and_then(|()| {
            if durable {
                file.sync_data()
                    .map_err(JournalError::io(&path, "flush this file to disk"))
            } else {
                Ok(())
            }
        });
        if let Err(error) = result {
            self.undo();
            return Err(error);
        }
        self.good_len += lines.len() as u64;
        self.head = head;
        Ok(disturbance)
    }

    /// Flushes to disk what was appended without `durable`.
    ///
    /// # Errors
    ///
    /// The disk did not take it.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        match &self.file {
            Some(file) => file.sync_data().map_err(JournalError::io(
                path_of(&self.dir, 0),
                "flush this file to disk",
            )),
            None => Ok(()),
        }
    }

    /// Cuts off what a failed append left. After a failed flush the kernel may have dropped the
    /// pages and would report success the next time, so the file is closed as well; opening it cuts
    /// off whatever is still there.
    fn undo(&mut self) {
        if let Some(file) = self.file.take() {
            // A failure here is met again, and reported, when the file is opened.
            let _ = file.set_len(self.good_len);
        }
    }

    /// Opens the current file; gives what was torn off and the hash of its last line.
    fn open_current(&mut self) -> Result<(Option<Torn>, Option<Hash>), JournalError> {
        let path = path_of(&self.dir, 0);
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(JournalError::io(&path, "open this file"))?;
        let end = tail(&file).map_err(JournalError::io(&path, "read the end of this file"))?;
        let torn = (end.len > end.good_len).then_some(Torn {
            bytes: end.len - end.good_len,
        });
        if torn.is_some() {
            file.set_len(end.good_len)
                .map_err(JournalError::io(&path, "cut off the torn end of this file"))?;
        }
        // A new file must outlive a power cut as soon as its first record does.
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(JournalError::io(&self.dir, "flush this folder to disk"))?;
        self.file = Some(file);
        self.good_len = end.good_len;
        Ok((torn, end.last_line.map(|line| Hash::of(&line))))
    }

    /// Makes sure that the open file is the journal, and as it was left: a record written into a
    /// file that was removed is a record that nobody will find.
    fn ensure_open(&mut self) -> Result<Option<Disturbance>, JournalError> {
        let after_failure = self.file.is_none();
        let disturbance = match &self.file {
            None => None,
            Some(file) => self.look(file)?,
        };
        if after_failure || disturbance.is_some() {
            let expected = self.good_len;
            self.open_current()?;
            // What a failed append left behind is cut back to the last line that was acknowledged,
            // whole lines too: their waiters were told that they are not on record.
            if after_failure && self.good_len > expected {
                self.cut_back(expected)?;
            }
        }
        Ok(disturbance)
    }

    fn cut_back(&mut self, len: u64) -> Result<(), JournalError> {
        if let Some(file) = &self.file {
            file.set_len(len).map_err(JournalError::io(
                path_of(&self.dir, 0),
                "cut off the failed end of this file",
            ))?;
            self.good_len = len;
        }
        Ok(())
    }

    fn look(&self, file: &File) -> Result<Option<Disturbance>, JournalError> {
        let path = path_of(&self.dir, 0);
        let ours = file
            .metadata()
            .map_err(JournalError::io(&path, "look at this file"))?;
        match std::fs::metadata(&path) {
            Ok(there) if (there.dev(), there.ino()) != (ours.dev(), ours.ino()) => {
                Ok(Some(Disturbance::Changed))
            }
            Ok(there) if there.len() != self.good_len => Ok(Some(Disturbance::Changed)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some(Disturbance::Removed)),
            Err(error) => Err(JournalError::io(path, "look at this file")(error)),
        }
    }

    /// Moves every part one number up, the oldest first, so that a crash between two steps leaves a
    /// gap in the numbers and never two files with one name.
    fn rotate(&mut self) -> Result<(), JournalError> {
        self.sync()?;
        for part in files::older_parts(&self.dir)?.into_iter().rev() {
            let from = path_of(&self.dir, part);
            if part >= self.limits.keep {
                std::fs::remove_file(&from)
                    .map_err(JournalError::io(from, "remove this old file"))?;
            } else {
                let to = path_of(&self.dir, part + 1);
                std::fs::rename(&from, to).map_err(JournalError::io(from, "rotate this file"))?;
            }
        }
        let from = path_of(&self.dir, 0);
        if self.limits.keep == 0 {
            std::fs::remove_file(&from).map_err(JournalError::io(from, "remove this old file"))?;
        } else {
            std::fs::rename(&from, path_of(&self.dir, 1))
                .map_err(JournalError::io(from, "rotate this file"))?;
        }
        self.file = None;
        self.good_len = 0;
        Ok(())
    }
}

/// The hash of the last line of the youngest older part that has one.
fn youngest_hash(dir: &Path) -> Result<Option<Hash>, JournalError> {
    for part in files::older_parts(dir)? {
        let path = path_of(dir, part);
        let file = File::open(&path).map_err(JournalError::io(&path, "open this file"))?;
        let end = tail(&file).map_err(JournalError::io(&path, "read the end of this file"))?;
        if let Some(line) = end.last_line {
            return Ok(Some(Hash::of(&line)));
        }
    }
    Ok(None)
}
