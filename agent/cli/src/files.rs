//! Reading and writing files so that neither a slip nor a crash leaves half of anything.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::failure::Failure;

/// Reads a whole file, refusing one that is larger than `most` bytes.
///
/// # Errors
///
/// Names the file, and what is wrong with it.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    let file = File::open(path).map_err(|e| Failure::file(path, e))?;
    let mut bytes = Vec::new();
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::file(path, e))?;
    match bytes.len() as u64 > most {
        true => Err(Failure::file(path, format!("longer than {most} bytes"))),
        false => Ok(bytes),
    }
}

/// Like [`read`], as text.
///
/// # Errors
///
/// As [`read`], and when it is not UTF-8.
pub(crate) fn read_text(path: &Path, most: u64) -> Result<String, Failure> {
    String::from_utf8(read(path, most)?)
        .map_err(|e| Failure::file(path, format!("not UTF-8: {}", e.utf8_error())))
}

/// Reads a secret, only if nobody but its owner, who is the caller or root, can read it too.
///
/// # Errors
///
/// Names the file, what is wrong with it, and how to mend it.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<String>, Failure> {
    const MOST: u64 = 4096;
    let file = File::open(path).map_err(|e| Failure::file(path, e))?;
    // Asked of the open descriptor: what was looked at is what is read.
    let facts = file.metadata().map_err(|e| Failure::file(path, e))?;
    if facts.mode() & 0o077 != 0 {
        let mode = facts.mode() & 0o7777;
        let what = format!(
            "a secret key that others may read (mode {mode:04o}); chmod 600 it, and if it was ever so, make a new one"
        );
        return Err(Failure::file(path, what));
    }
    let me = nix::unistd::geteuid().as_raw();
    if facts.uid() != me && facts.uid() != 0 {
        let what = format!(
            "belongs to uid {}, who could read and replace it",
            facts.uid()
        );
        return Err(Failure::file(path, what));
    }
    let mut text = Zeroizing::new(String::with_capacity(MOST as usize + 1));
    file.take(MOST + 1)
        .read_to_string(&mut text)
        .map_err(|e| Failure::file(path, e))?;
    match text.len() as u64 > MOST {
        true => Err(Failure::file(path, "too long for a key")),
        false => Ok(text),
    }
}

/// Writes a new file that only its owner can read. Never touches one that is there.
///
/// # Errors
///
/// Names the file, and what is wrong.
pub(crate) fn create_secret(path: &Path, text: &str) -> Result<(), Failure> {
    // With O_EXCL a link is not followed either (open(2)).
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => Failure::file(
                path,
                "is there already, and may be the only copy of a key; choose another name",
            ),
            _ => Failure::file(path, e),
        })?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_folder(path));
    written.map_err(|e| {
        // Half a key is none.
        let _ = std::fs::remove_file(path);
        Failure::file(path, e)
    })
}

/// Puts a whole new file in the place of the old one, or leaves the old one as it is.
///
/// # Errors
///
/// Names the file, and what is wrong.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let name = path
        .file_name()
        .ok_or_else(|| Failure::file(path, "is not the name of a file"))?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(beside);
    let written = fresh(&beside, bytes)
        .and_then(|()| std::fs::rename(&beside, path))
        .and_then(|()| sync_folder(path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&beside);
        Failure::file(path, e)
    })
}

fn fresh(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    File::open(folder)?.sync_all()
}
