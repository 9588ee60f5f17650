//! Reading files that grant power: only root's, only whole.
//!
//! Whoever can write such a file, or swap it for another, is root in all but name. So the folders
//! above it must be root's, and everything else is checked on the open descriptor, not on a name
//! that may mean another file a moment later. And a file that somebody is just writing may, up to
//! the point they have got to, grant more than they mean: it is read when it has been still for
//! [`STILL`].

use std::fs::{File, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// How long a file must have been left alone before it is read.
pub const STILL: Duration = Duration::from_millis(300);

/// How long to wait for a file to be left alone.
const PATIENCE: Duration = Duration::from_secs(3);

const GROUP_OR_WORLD_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// A file was not read, or not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {fault}", .path.display())]
pub struct TrustedFileError {
    /// The file or folder that is at fault.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: TrustedFileFault,
}

/// What is wrong with a file or folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustedFileFault {
    /// It does not exist.
    #[error("does not exist")]
    Missing,
    /// A link could be pointed elsewhere.
    #[error("is a symbolic link, and links are not followed; put the file itself there")]
    Link,
    /// A pipe, device, socket or folder where a file is wanted, or a file where a folder is.
    #[error("is {is}, not {wanted}", wanted = if *.folder { "a folder" } else { "a regular file" })]
    Kind {
        /// What it is.
        is: &'static str,
        /// Whether a folder was wanted.
        folder: bool,
    },
    /// Somebody else's.
    #[error("belongs to uid {0}, not to root; run: chown root")]
    Owner(u32),
    /// Others may write it.
    #[error("can be written by others than root (mode {0:04o}); run: chmod go-w")]
    Writable(u32),
    /// Longer than what is read here, in bytes.
    #[error("is {size} bytes long; at most {max} are read")]
    TooLong {
        /// Its length, as far as known.
        size: u64,
        /// The most that is read.
        max: u64,
    },
    /// It kept changing.
    #[error("keeps changing; write it elsewhere and rename it into place")]
    Restless,
    /// The system said no.
    #[error("cannot be read: {0}")]
    Io(String),
}

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    fn of(meta: &Metadata) -> Self {
        Self {
            inode: (meta.dev(), meta.ino()),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Of what lies at this path now, links not followed; `None` if nothing can be seen there.
    #[must_use]
    pub fn at(path: &Path) -> Option<Self> {
        path.symlink_metadata().ok().map(|meta| Self::of(&meta))
    }

    /// Whether neither content nor anything else of the file changed lately. The change time is
    /// looked at too: unlike the modification time, nobody can set it to what they like. A time
    /// ahead of the clock (which was set back since) tells nothing: then only watching does.
    fn is_still(&self, now: SystemTime) -> bool {
        [self.modified, self.changed]
            .into_iter()
            .all(|(secs, nanos)| {
                let Some(time) = system_time(secs, nanos) else {
                    return false;
                };
                now.duration_since(time).is_ok_and(|age| age >= STILL)
            })
    }
}

fn system_time(secs: i64, nanos: i64) -> Option<SystemTime> {
    let nanos = Duration::from_nanos(u64::try_from(nanos).ok()?);
    let whole = Duration::from_secs(secs.unsigned_abs());
    let base = if secs < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(whole)?
    } else {
        SystemTime::UNIX_EPOCH.checked_add(whole)?
    };
    base.checked_add(nanos)
}

/// A folder that only root can change, and so can every folder above it.
#[derive(Debug, Clone)]
pub struct TrustedFolder {
    path: PathBuf,
}

/// What one look at a file found.
#[derive(Debug)]
pub enum Look {
    /// Its bytes, all of them, from a moment when it was still.
    Whole(Vec<u8>),
    /// Somebody may have written it less than [`STILL`] ago: look again, and show this.
    Restless(Sighting),
}

/// A file as it was seen first, to be compared with what the next look finds.
#[derive(Debug, Clone, Copy)]
pub struct Sighting {
    was: Fingerprint,
    at: Instant,
}

impl TrustedFolder {
    /// Checks a folder and those above it, after following links to where it really is.
    ///
    /// # Errors
    ///
    /// If one of them is not root's, or others may write it (a sticky one above, such as `/tmp`,
    /// is fine: there nobody can swap what belongs to root).
    pub fn open(path: &Path) -> Result<Self, TrustedFileError> {
        let real = path.canonicalize().map_err(|e| io_fault(path, &e))?;
        for folder in real.ancestors() {
            let fail = |fault| TrustedFileError {
                path: folder.to_owned(),
                fault,
            };
            let meta = folder
                .symlink_metadata()
                .map_err(|e| io_fault(folder, &e))?;
            if !meta.is_dir() {
                return Err(fail(TrustedFileFault::Kind {
                    is: kind(&meta),
                    folder: true,
                }));
            }
            if meta.uid() != 0 {
                return Err(fail(TrustedFileFault::Owner(meta.uid())));
            }
            let sticky_above = folder != real && meta.mode() & STICKY != 0;
            if meta.mode() & GROUP_OR_WORLD_WRITE != 0 && !sticky_above {
                return Err(fail(TrustedFileFault::Writable(meta.mode() & 0o7777)));
            }
        }
        Ok(Self { path: real })
    }

    /// The names in it that end in `.EXTENSION` and do not begin with a dot, sorted.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub fn names(&self, extension: &str) -> Result<Vec<String>, TrustedFileError> {
        let fail = |e: std::io::Error| io_fault(&self.path, &e);
        let mut names = Vec::new();
        for entry in self.path.read_dir().map_err(fail)? {
            // A name that is not text cannot be shown safely, so it does not count.
            let Ok(name) = entry.map_err(fail)?.file_name().into_string() else {
                continue;
            };
            let matches = Path::new(&name).extension().is_some_and(|e| e == extension);
            if matches && !name.starts_with('.') {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The state of a file by its name, without reading or trusting it; `None` if it is gone.
    #[must_use]
    pub fn fingerprint(&self, name: &str) -> Option<Fingerprint> {
        let meta = self.path.join(name).symlink_metadata().ok()?;
        Some(Fingerprint::of(&meta))
    }

    /// Reads a file of this folder, if it is still. Does not wait; `last` is what the look before
    /// this one gave, if there was one.
    ///
    /// # Errors
    ///
    /// [`TrustedFileFault`] says what keeps it from being believed.
    pub fn look(
        &self,
        name: &str,
        max: u64,
        last: Option<Sighting>,
    ) -> Result<Look, TrustedFileError> {
        let path = self.path.join(name);
        let fail = |fault| TrustedFileError {
            path: path.clone(),
            fault,
        };
        let io = |e: std::io::Error| io_fault(&path, &e);

        // By name first: opening a device can have effects.
        check_regular(&path.symlink_metadata().map_err(io)?).map_err(fail)?;
        let mut file = OpenOptions::new()
            .read(true)
            // NONBLOCK: should it be a pipe by now, do not wait for its writer.
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(&path)
            .map_err(|e| match e.raw_os_error() {
                Some(libc::ELOOP) => fail(TrustedFileFault::Link),
                _ => io(e),
            })?;
        let meta = file.metadata().map_err(io)?;
        check_regular(&meta).map_err(fail)?;
        if meta.uid() != 0 {
            return Err(fail(TrustedFileFault::Owner(meta.uid())));
        }
        if meta.mode() & GROUP_OR_WORLD_WRITE != 0 {
            return Err(fail(TrustedFileFault::Writable(meta.mode() & 0o7777)));
        }
        if meta.size() > max {
            return Err(fail(TrustedFileFault::TooLong {
                size: meta.size(),
                max,
            }));
        }
        let before = Fingerprint::of(&meta);
        let now = Instant::now();
        let sighting = last.filter(|l| l.was == before).unwrap_or(Sighting {
            was: before,
            at: now,
        });
        if !before.is_still(SystemTime::now()) && now.duration_since(sighting.at) < STILL {
            return Ok(Look::Restless(sighting));
        }
        let bytes = read_up_to(&mut file, meta.size(), max).map_err(io)?;
        let after = Fingerprint::of(&file.metadata().map_err(io)?);
        if after == before && u64::try_from(bytes.len()) == Ok(before.size) {
            Ok(Look::Whole(bytes))
        } else {
            Ok(Look::Restless(Sighting {
                was: after,
                at: now,
            }))
        }
    }
}

/// Reads a whole file, of at most `max` bytes, once it is still. Blocks for that, at most about
/// three seconds.
///
/// # Errors
///
/// [`TrustedFileFault`] says what keeps it from being believed.
pub fn read(path: &Path, max: u64) -> Result<Vec<u8>, TrustedFileError> {
    let fail = |fault| TrustedFileError {
        path: path.to_owned(),
        fault,
    };
    let name = path
        .file_name()
        .and_then(|n| n.to_str())
        .ok_or_else(|| fail(TrustedFileFault::Io("its name is not text".to_owned())))?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new("."));
    let started = Instant::now();
    let mut seen = None;
    loop {
        let trusted = TrustedFolder::open(folder)?;
        match trusted.look(name, max, seen)? {
            Look::Whole(bytes) => return Ok(bytes),
            Look::Restless(sighting) => seen = Some(sighting),
        }
        if started.elapsed() >= PATIENCE {
            return Err(fail(TrustedFileFault::Restless));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn read_up_to(file: &mut File, expected: u64, max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn check_regular(meta: &Metadata) -> Result<(), TrustedFileFault> {
    if meta.file_type().is_symlink() {
        Err(TrustedFileFault::Link)
    } else if meta.is_file() {
        Ok(())
    } else {
        Err(TrustedFileFault::Kind {
            is: kind(meta),
            folder: false,
        })
    }
}

fn kind(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_file() {
        "a regular file"
    } else {
        "a device"
    }
}

fn io_fault(path: &Path, e: &std::io::Error) -> TrustedFileError {
    let fault = match e.kind() {
        std::io::ErrorKind::NotFound => TrustedFileFault::Missing,
        _ => TrustedFileFault::Io(e.to_string()),
    };
    TrustedFileError {
        path: path.to_owned(),
        fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
    use nix::unistd::{Gid, Uid, chown, mkfifo};
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::atomic::{AtomicBool, Ordering};

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        (dir, path)
    }

    fn fault(path: &Path) -> TrustedFileFault {
        read(path, 1000).unwrap_err().fault
    }

    #[test]
    fn a_plain_file_of_root_is_read_whole() {
        let (_keep, dir) = folder();
        let path = dir.join("a.toml");
        fs::write(&path, "x = 1\n").unwrap();
        assert_eq!(read(&path, 1000).unwrap(), b"x = 1\n");
    }

    #[test]
    fn a_missing_file_is_said_to_be_missing() {
        let (_keep, dir) = folder();
        assert_eq!(fault(&dir.join("a.toml")), TrustedFileFault::Missing);
        assert_eq!(fault(&dir.join("none/a.toml")), TrustedFileFault::Missing);
    }

    #[test]
    fn a_file_that_others_can_write_is_refused() {
        let (_keep, dir) = folder();
        for mode in [0o666, 0o620, 0o602] {
            let path = dir.join("a.toml");
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(
                matches!(fault(&path), TrustedFileFault::Writable(_)),
                "{mode:o}"
            );
        }
    }

    #[test]
    fn a_file_of_another_owner_is_refused() {
        let (_keep, dir) = folder();
        let path = dir.join("a.toml");
        fs::write(&path, "").unwrap();
        chown(&path, Some(Uid::from_raw(1234)), None::<Gid>).unwrap();
        assert_eq!(fault(&path), TrustedFileFault::Owner(1234));
    }

    #[test]
    fn a_link_is_refused_even_to_a_good_file() {
        let (_keep, dir) = folder();
        fs::write(dir.join("good"), "").unwrap();
        symlink(dir.join("good"), dir.join("a.toml")).unwrap();
        symlink(dir.join("nowhere"), dir.join("b.toml")).unwrap();
        assert_eq!(fault(&dir.join("a.toml")), TrustedFileFault::Link);
        assert_eq!(fault(&dir.join("b.toml")), TrustedFileFault::Link);
    }

    #[test]
    fn a_pipe_or_folder_is_refused_at_once() {
        let (_keep, dir) = folder();
        mkfifo(&dir.join("a.toml"), Mode::from_bits_truncate(0o600)).unwrap();
        fs::create_dir(dir.join("b.toml")).unwrap();
        let started = Instant::now();
        assert_eq!(
            fault(&dir.join("a.toml")),
            TrustedFileFault::Kind {
                is: "a pipe",
                folder: false
            }
        );
        assert_eq!(
            fault(&dir.join("b.toml")),
            TrustedFileFault::Kind {
                is: "a folder",
                folder: false
            }
        );
        assert!(started.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn a_50_mb_file_is_refused_unread() {
        let (_keep, dir) = folder();
        let path = dir.join("a.toml");
        File::create(&path).unwrap().set_len(50_000_000).unwrap();
        assert_eq!(
            fault(&path),
            TrustedFileFault::TooLong {
                size: 50_000_000,
                max: 1000
            }
        );
    }

    #[test]
    fn a_folder_that_others_can_write_or_own_is_refused() {
        let (_keep, dir) = folder();
        let inner = dir.join("d");
        let path = inner.join("a.toml");
        fs::create_dir(&inner).unwrap();
        fs::write(&path, "").unwrap();
        for (mode, good) in [
            (0o777, false),
            (0o1777, false),
            (0o775, false),
            (0o755, true),
        ] {
            fs::set_permissions(&inner, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path, 1000).is_ok(), good, "{mode:o}");
        }
        chown(&dir, Some(Uid::from_raw(1234)), None::<Gid>).unwrap();
        let error = read(&path, 1000).unwrap_err();
        assert_eq!(
            error,
            TrustedFileError {
                path: dir,
                fault: TrustedFileFault::Owner(1234)
            }
        );
    }

    #[test]
    fn a_file_being_written_is_read_after_its_last_byte() {
        let (_keep, dir) = folder();
        let path = dir.join("a.toml");
        fs::write(&path, "run_as = [").unwrap();
        let writer = std::thread::spawn({
            let path = path.clone();
            move || {
                for _ in 0..4 {
                    std::thread::sleep(Duration::from_millis(150));
                    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
                    std::io::Write::write_all(&mut file, b"x").unwrap();
                }
            }
        });
        let bytes = read(&path, 1000).unwrap();
        writer.join().unwrap();
        assert_eq!(bytes, b"run_as = [xxxx");
    }

    #[test]
    fn a_file_that_keeps_changing_is_given_up() {
        let (_keep, dir) = folder();
        let path = dir.join("a.toml");
        fs::write(&path, "").unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|s| {
            s.spawn(|| {
                let mut mode = 0o600;
                while !stop.load(Ordering::Relaxed) {
                    // Not even its content: its change time is enough.
                    mode ^= 0o040;
                    let bits = Mode::from_bits_truncate(mode);
                    fchmodat(
                        nix::fcntl::AT_FDCWD,
                        &path,
                        bits,
                        FchmodatFlags::FollowSymlink,
                    )
                    .unwrap();
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
            let result = read(&path, 1000);
            stop.store(true, Ordering::Relaxed);
            assert_eq!(result.unwrap_err().fault, TrustedFileFault::Restless);
        });
    }

    #[test]
    fn a_file_from_the_future_is_read_when_it_was_watched_to_be_still() {
        let (_keep, dir) = folder();
        let path = dir.join("a.toml");
        fs::write(&path, "x").unwrap();
        let future = SystemTime::now() + Duration::from_secs(86_400);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(future)
            .unwrap();
        let started = Instant::now();
        assert_eq!(read(&path, 1000).unwrap(), b"x");
        assert!(started.elapsed() >= STILL);
    }

    #[test]
    fn names_are_sorted_and_editors_leftovers_are_not_among_them() {
        let (_keep, dir) = folder();
        for name in [
            "b.toml",
            "a.toml",
            ".a.toml.swp",
            ".c.toml",
            "a.toml~",
            "a.json",
            "toml",
        ] {
            fs::write(dir.join(name), "").unwrap();
        }
        assert_eq!(
            TrustedFolder::open(&dir).unwrap().names("toml").unwrap(),
            ["a.toml", "b.toml"]
        );
    }
}
