//! What the agent must not forget, kept in one folder that only root can read.
//!
//! Every write survives `kill -9` and power loss: the new content goes to a file of its own, is
//! synced, takes the old file's name, and then the folder is synced (fsync(2): syncing a file does
//! not sync the folder entry that names it). A reader sees the old content or the new, never a mix.

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use zeroize::Zeroizing;

/// Folders that may stand before a name.
const FOLDERS: [&str; 3] = ["factors", "grants.d", "audit"];
/// Names that belong to this file alone.
const RESERVED: [&str; 2] = [LOCK, KEY];
const LOCK: &str = "lock";
/// The file of [`State::key`].
pub(crate) const KEY: &str = "key";
/// How the names of files begin that were not finished. [`State::write`] refuses such names, so
/// none of them is ever anything else.
const UNFINISHED: &str = ".unfinished.";

/// What was wrong with the state folder, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system refused.
    #[error("{}: {doing}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done with it.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Another agent works on this folder.
    #[error("{}: held by another jit-agentd; stop it first, or give this one its own --state folder", path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
    },
    /// The folder is not ours alone.
    #[error("{}: {why}", path.display())]
    NotPrivate {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it, and the mend.
        why: String,
    },
    /// A name that could leave the folder or hit a file that is not the caller's.
    #[error("{name:?} cannot be the name of a state file")]
    Name {
        /// The name.
        name: String,
    },
    /// The key file is damaged.
    #[error(
        "{}: holds {len} bytes, a key has 32; restore it from a backup, or remove it: \
         recovery codes handed out so far then stop working", path.display()
    )]
    Key {
        /// The key file.
        path: PathBuf,
        /// How long it is.
        len: usize,
    },
    /// The system gave no randomness.
    #[error("no randomness for a new key")]
    Random,
    /// The kernel's boot id does not read as one.
    #[error("/proc/sys/kernel/random/boot_id: {0:?} is not a boot id")]
    BootId(String),
}

/// The state folder, held for as long as this lives: a second agent cannot open it meanwhile.
#[derive(Debug)]
pub struct State {
    dir: PathBuf,
    key: Zeroizing<[u8; 32]>,
    key_is_new: bool,
    unfinished: AtomicU64,
    _lock: Flock<File>,
}

impl State {
    /// Opens the folder, made if it is missing, and holds it; removes files that a killed agent did
    /// not finish; reads the key, made if it is missing.
    ///
    /// # Errors
    ///
    /// Another agent holds it; it belongs to somebody else or others may write there; the key is
    /// damaged; anything that the system refuses.
    pub fn open(dir: &Path) -> Result<Self, StateError> {
        make_folder(dir)?;
        ensure_private(dir)?;
        let lock = hold(&dir.join(LOCK))?;
        let mut state = Self {
            dir: dir.to_owned(),
            key: Zeroizing::new([0; 32]),
            key_is_new: false,
            unfinished: AtomicU64::new(0),
            _lock: lock,
        };
        state.sweep()?;
        state.load_key()?;
        Ok(state)
    }

    /// The folder itself.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// 32 random bytes made once for this host, for keyed hashes.
    #[must_use]
    pub fn key(&self) -> &Zeroizing<[u8; 32]> {
        &self.key
    }

    /// Whether the key was made just now. On a host that had factors this means that the old key
    /// is lost, and every recovery code with it.
    #[must_use]
    pub fn key_is_new(&self) -> bool {
        self.key_is_new
    }

    /// A file's whole content, or `None` if there is none. `name` is `NAME` or `FOLDER/NAME`.
    ///
    /// # Errors
    ///
    /// A bad name, or the system refuses.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let path = self.path(name)?;
        read_file(&path).map_err(|e| failed(&path, "reading", e))
    }

    /// Replaces a file's content. When this returns `Ok` the new content is on disk; after an error
    /// or a crash it is the old content or the new.
    ///
    /// # Errors
    ///
    /// A bad name, or the system refuses (a full disk, say).
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        self.write_pieces(name, &[bytes])
    }

    /// As [`State::write`], with the content in pieces.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn write_pieces(&self, name: &str, pieces: &[&[u8]]) -> Result<(), StateError> {
        if RESERVED.contains(&name) {
            return Err(StateError::Name {
                name: name.to_owned(),
            });
        }
        self.put(name, pieces)
    }

    /// Removes a file, durably; one that is not there is no error.
    ///
    /// # Errors
    ///
    /// A bad name, or the system refuses.
    pub fn remove(&self, name: &str) -> Result<(), StateError> {
        let path = self.path(name)?;
        if RESERVED.contains(&name) {
            return Err(StateError::Name {
                name: name.to_owned(),
            });
        }
        match fs::remove_file(&path) {
            Ok(()) => sync_folder(self.folder_of(name)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(failed(&path, "removing", e)),
        }
    }

    /// The names in a folder, sorted, without the folder. A folder that was never written is empty.
    ///
    /// # Errors
    ///
    /// Not a known folder, or the system refuses.
    pub fn list(&self, folder: &str) -> Result<Vec<String>, StateError> {
        if !FOLDERS.contains(&folder) {
            return Err(StateError::Name {
                name: folder.to_owned(),
            });
        }
        let path = self.dir.join(folder);
        let mut names = names_in(&path)?;
        names.retain(|name| plain(name));
        names.sort();
        Ok(names)
    }

    fn put(&self, name: &str, pieces: &[&[u8]]) -> Result<(), StateError> {
        let path = self.path(name)?;
        let folder = self.folder_of(name);
        if folder != self.dir {
            make_folder(&folder)?;
        }
        let nr = self.unfinished.fetch_add(1, Ordering::Relaxed);
        let unfinished = folder.join(format!("{UNFINISHED}{nr}"));
        let written = write_new(&unfinished, pieces).and_then(|()| {
            fs::rename(&unfinished, &path).map_err(|e| failed(&path, "renaming", e))
        });
        if let Err(error) = written {
            // Best effort: what stays behind goes at the next start.
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
        #[cfg(test)]
        failpoint::reached(failpoint::Point::Renamed);
        sync_folder(folder)
    }

    fn path(&self, name: &str) -> Result<PathBuf, StateError> {
        let valid = match name.split_once('/') {
            Some((folder, rest)) => FOLDERS.contains(&folder) && plain(rest),
            None => plain(name) && !FOLDERS.contains(&name),
        };
        if valid {
            Ok(self.dir.join(name))
        } else {
            Err(StateError::Name {
                name: name.to_owned(),
            })
        }
    }

    fn folder_of(&self, name: &str) -> PathBuf {
        match name.split_once('/') {
            Some((folder, _)) => self.dir.join(folder),
            None => self.dir.clone(),
        }
    }

    /// Removes what a killed agent did not finish. Only the holder of the lock may.
    fn sweep(&self) -> Result<(), StateError> {
        let folders = FOLDERS.iter().map(|folder| self.dir.join(folder));
        for folder in folders.chain([self.dir.clone()]) {
            for name in names_in(&folder)? {
                if name.starts_with(UNFINISHED) {
                    let path = folder.join(name);
                    fs::remove_file(&path).map_err(|e| failed(&path, "removing", e))?;
                }
            }
        }
        Ok(())
    }

    fn load_key(&mut self) -> Result<(), StateError> {
        match self.read(KEY)?.map(Zeroizing::new) {
            Some(bytes) => {
                if bytes.len() != self.key.len() {
                    return Err(StateError::Key {
                        path: self.dir.join(KEY),
                        len: bytes.len(),
                    });
                }
                self.key.copy_from_slice(&bytes);
            }
            None => {
                aws_lc_rs::rand::fill(self.key.as_mut()).map_err(|_| StateError::Random)?;
                self.put(KEY, &[self.key.as_ref()])?;
                self.key_is_new = true;
            }
        }
        Ok(())
    }
}

/// One boot of this machine, as the kernel names it. Times on `CLOCK_BOOTTIME` mean something only
/// together with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BootId(pub u128);

impl BootId {
    /// The boot that runs now.
    ///
    /// # Errors
    ///
    /// `/proc` is not there, or holds nonsense.
    pub fn current() -> Result<Self, StateError> {
        let path = Path::new("/proc/sys/kernel/random/boot_id");
        let text = fs::read_to_string(path).map_err(|e| failed(path, "reading", e))?;
        let digits = text.trim_end().replace('-', "");
        Self::from_hex(&digits).ok_or(StateError::BootId(text))
    }

    fn from_hex(digits: &str) -> Option<Self> {
        let valid = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let number = valid.then(|| u128::from_str_radix(digits, 16).ok())??;
        Some(Self(number))
    }
}

impl Serialize for BootId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{:032x}", self.0))
    }
}

impl<'de> Deserialize<'de> for BootId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("a boot id is 32 hex digits"))
    }
}

fn failed(path: &Path, doing: &'static str, source: io::Error) -> StateError {
    StateError::Io {
        path: path.to_owned(),
        doing,
        source,
    }
}

/// Letters, digits and `._-`, not starting with a dot: never a path, never an unfinished file.
fn plain(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Makes a folder for its owner alone, durably, unless something of that name is there.
fn make_folder(path: &Path) -> Result<(), StateError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => sync_folder(PathBuf::from(".")),
            Some(parent) => sync_folder(parent.to_owned()),
            None => Ok(()),
        },
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(failed(path, "making the folder", e)),
    }
}

/// Refuses a folder that somebody else owns or could have written to; closes one that others could
/// only read.
fn ensure_private(path: &Path) -> Result<(), StateError> {
    let refused = |why: String| StateError::NotPrivate {
        path: path.to_owned(),
        why,
    };
    let folder = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(path)
        .map_err(|e| failed(path, "opening as a folder, not as a link", e))?;
    let meta = folder
        .metadata()
        .map_err(|e| failed(path, "looking at", e))?;
    let me = nix::unistd::geteuid().as_raw();
    if meta.uid() != me {
        let owner = meta.uid();
        return Err(refused(format!(
            "belongs to uid {owner} and not to {me}; whoever owned it may have changed what is in \
             it: move it away, or check it and chown it"
        )));
    }
    let mode = meta.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(refused(format!(
            "mode {mode:04o} lets others write there; check what is in it, then chmod 0700"
        )));
    }
    if mode & 0o077 != 0 {
        folder
            .set_permissions(Permissions::from_mode(0o700))
            .map_err(|e| failed(path, "closing it to others (chmod 0700)", e))?;
    }
    Ok(())
}

fn hold(path: &Path) -> Result<Flock<File>, StateError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(|e| failed(path, "opening", e))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => StateError::Busy {
            path: path.to_owned(),
        },
        other => failed(path, "locking", other.into()),
    })
}

fn read_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn write_new(path: &Path, pieces: &[&[u8]]) -> Result<(), StateError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| failed(path, "creating", e))?;
    #[cfg(test)]
    failpoint::reached(failpoint::Point::Created);
    for piece in pieces {
        file.write_all(piece)
            .map_err(|e| failed(path, "writing", e))?;
    }
    #[cfg(test)]
    failpoint::reached(failpoint::Point::Written);
    file.sync_all().map_err(|e| failed(path, "syncing", e))?;
    #[cfg(test)]
    failpoint::reached(failpoint::Point::Synced);
    Ok(())
}

fn sync_folder(path: PathBuf) -> Result<(), StateError> {
    File::open(&path)
        .and_then(|folder| folder.sync_all())
        .map_err(|e| failed(&path, "syncing", e))
}

fn names_in(folder: &Path) -> Result<Vec<String>, StateError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(folder, "listing", e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| failed(folder, "listing", e))?;
        // Our names are ASCII; another is not ours to touch.
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

/// Dies by SIGKILL at a chosen point of a write, to see what a restarted agent then finds.
#[cfg(test)]
pub(crate) mod failpoint {
    use std::cell::Cell;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Point {
        Created,
        Written,
        Synced,
        Renamed,
    }

    thread_local! {
        static DIE_AT: Cell<Option<Point>> = const { Cell::new(None) };
    }

    pub(crate) fn die_at(point: Point) {
        DIE_AT.set(Some(point));
    }

    pub(super) fn reached(point: Point) {
        if DIE_AT.get() == Some(point) {
            let me = nix::unistd::Pid::this();
            nix::sys::signal::kill(me, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
