//! The folder of PAM files, changed so that neither a slip, a crash nor a full disk leaves half of
//! anything: new files are written whole beside the old ones, and only then take their names.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

use super::stack::Files;
use crate::failure::Failure;

/// Where the old files are kept: where `/etc` is, so is it, in a rescue shell too. Not in
/// `/etc/pam.d`, where every file is a service.
const BACKUPS: &str = "etc/pam_jit/backup";

/// How long another `jit pam` may be at work.
const PATIENCE: Duration = Duration::from_secs(90);

/// The folder, with nobody else of us writing in it.
pub(super) struct Locked {
    // Never read: the lock goes when it is dropped.
    _lock: Flock<File>,
    root: PathBuf,
}

/// A new file that has not yet taken its name.
struct Staged {
    beside: PathBuf,
    path: PathBuf,
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Gone already if it was renamed.
        let _ = std::fs::remove_file(&self.beside);
    }
}

/// Checks that a service's file is one that we may change.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn editable(files: &Files, service: &str) -> Result<(), String> {
    let path = files.folder().join(service);
    let say = |what: String| format!("{}: {what}", path.display());
    let meta = match path.symlink_metadata() {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(match files.find(service) {
                Some(vendor) => say(format!(
                    "is not there; this service's file is {0}. Copy it to /etc/pam.d first: cp {0} {1}",
                    vendor.display(),
                    path.display()
                )),
                None => say("is not there; there is no such service on this host".to_owned()),
            });
        }
        Err(e) => return Err(say(e.to_string())),
    };
    if meta.file_type().is_symlink() {
        let to = std::fs::read_link(&path).unwrap_or_default();
        return Err(say(format!(
            "is a link to {}, and others may go through it; put a file of its own there (cp --remove-destination), \
             or change what it points to",
            to.display()
        )));
    }
    if !meta.is_file() {
        return Err(say("is not a regular file".to_owned()));
    }
    if meta.uid() != 0 {
        return Err(say(format!(
            "belongs to uid {}, not to root; run: chown root",
            meta.uid()
        )));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(say(format!(
            "can be written by others than root (mode {:04o}); run: chmod go-w",
            meta.mode() & 0o7777
        )));
    }
    Ok(())
}

impl Locked {
    /// Waits until nobody else of us is at work.
    ///
    /// # Errors
    ///
    /// When the folder is not there, or somebody does not come to an end.
    pub(super) fn wait(root: &Path, files: &Files) -> Result<Self, Failure> {
        let folder = files.folder();
        let mut file = File::open(&folder).map_err(|e| Failure::file(&folder, e))?;
        let end = Instant::now() + PATIENCE;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => {
                    return Ok(Self {
                        _lock: lock,
                        root: root.to_owned(),
                    });
                }
                Err((back, nix::errno::Errno::EWOULDBLOCK)) if Instant::now() < end => file = back,
                Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                    let what = "another 'jit pam' is at work on it and does not come to an end";
                    return Err(Failure::file(&folder, what));
                }
                Err((_, e)) => return Err(Failure::file(&folder, e)),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Replaces files, each given with the bytes that it has now. Gives where the old ones are
    /// kept, in the same order. Until every new one is on disk, nothing changes.
    ///
    /// # Errors
    ///
    /// What went wrong, and what stands.
    pub(super) fn replace(
        &self,
        changes: &[(PathBuf, Vec<u8>, Vec<u8>)],
    ) -> Result<Vec<PathBuf>, Failure> {
        let untouched = |path: &Path, e: std::io::Error| {
            Failure::file(
                path,
                format!("{e}; nothing was changed, every file in /etc/pam.d is as it was"),
            )
        };
        let mut staged = Vec::new();
        for (path, _, new) in changes {
            staged.push(stage(path, new).map_err(|e| untouched(path, e))?);
        }
        let mut backups = Vec::new();
        for (path, old, _) in changes {
            backups.push(self.keep(path, old)?);
        }
        for (nr, (one, (path, old, _))) in staged.iter().zip(changes).enumerate() {
            let changed = std::fs::read(path).map_or(true, |now| now != *old);
            let done = match changed {
                true => Err(std::io::Error::other(
                    "somebody else has just changed it; run this again",
                )),
                false => std::fs::rename(&one.beside, &one.path),
            };
            done.map_err(|e| {
                let before: Vec<String> = changes
                    .iter()
                    .take(nr)
                    .map(|(path, ..)| path.display().to_string())
                    .collect();
                match before.is_empty() {
                    true => untouched(path, e),
                    false => Failure::file(
                        path,
                        format!(
                            "{e}; it is as it was, but changed are: {}",
                            before.join(", ")
                        ),
                    ),
                }
            })?;
        }
        let folder = changes.first().and_then(|(path, ..)| path.parent());
        if let Some(folder) = folder {
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(|e| {
                    Failure::file(
                        folder,
                        format!("changed, but perhaps not yet on the disk: {e}"),
                    )
                })?;
        }
        Ok(backups)
    }

    /// Keeps the old content of a file under its name and the time.
    fn keep(&self, path: &Path, old: &[u8]) -> Result<PathBuf, Failure> {
        let folder = self.root.join(BACKUPS);
        let failed = |e: std::io::Error| {
            Failure::file(
                &folder,
                format!("no backup can be kept ({e}), so nothing was changed"),
            )
        };
        make_private(&folder).map_err(failed)?;
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let now = jiff::Timestamp::now()
            .strftime("%Y%m%dT%H%M%SZ")
            .to_string();
        let meta = path.metadata().map_err(failed)?;
        for nr in 0..1000 {
            let suffix = if nr == 0 {
                String::new()
            } else {
                format!(".{nr}")
            };
            let to = folder.join(format!("{name}.{now}{suffix}"));
            match fresh(&to, old, &meta, path) {
                Ok(()) => {
                    File::open(&folder)
                        .and_then(|folder| folder.sync_all())
                        .map_err(failed)?;
                    return Ok(to);
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => {
                    let _ = std::fs::remove_file(&to);
                    return Err(failed(e));
                }
            }
        }
        Err(failed(std::io::Error::other(
            "a thousand backups within a second",
        )))
    }
}

fn make_private(folder: &Path) -> std::io::Result<()> {
    if !folder.is_dir() {
        std::fs::create_dir_all(folder)?;
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700))?;
    }
    Ok(())
}

fn stage(path: &Path, bytes: &[u8]) -> std::io::Result<Staged> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let staged = Staged {
        beside: path.with_file_name(format!(".{name}.jit-new")),
        path: path.to_owned(),
    };
    // What a killed one left behind; nobody else writes it while we hold the lock.
    match std::fs::remove_file(&staged.beside) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    fresh(&staged.beside, bytes, &path.metadata()?, path)?;
    Ok(staged)
}

/// A new file, on the disk, with the owner, mode and extended attributes of `like`.
fn fresh(path: &Path, bytes: &[u8], meta: &Metadata, like: &Path) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    std::os::unix::fs::fchown(&file, Some(meta.uid()), Some(meta.gid()))?;
    file.set_permissions(PermissionsExt::from_mode(meta.mode() & 0o7777))?;
    attributes(&File::open(like)?, &file)?;
    file.sync_all()
}

/// Copies extended attributes: labels of SELinux, access lists.
fn attributes(from: &File, to: &File) -> std::io::Result<()> {
    use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};
    use rustix::io::Errno;
    let mut names = vec![0_u8; 64 * 1024];
    let length = match flistxattr(from, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    names.truncate(length);
    // Signatures of the old content would condemn the new one.
    let copied = |name: &&[u8]| !matches!(*name, b"" | b"security.ima" | b"security.evm");
    for name in names.split(|b| *b == 0).filter(copied) {
        let mut value = vec![0_u8; 64 * 1024];
        let length = fgetxattr(from, name, &mut value[..])?;
        value.truncate(length);
        match fsetxattr(to, name, &value, XattrFlags::empty()) {
            Err(Errno::NOTSUP) | Ok(()) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pam::tests::Etc;
    use rustix::fs::{XattrFlags, getxattr, setxattr};

    fn change(etc: &Etc, name: &str, old: &[u8], new: &[u8]) -> Result<Vec<PathBuf>, Failure> {
        let path = etc.files().folder().join(name);
        let lock = Locked::wait(etc.root(), &etc.files()).unwrap();
        lock.replace(&[(path, old.to_vec(), new.to_vec())])
    }

    #[test]
    fn labels_and_modes_go_with_the_file_and_its_backup() {
        let etc = Etc::of(&[("su", "old")]);
        let path = etc.files().folder().join("su");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let labelled = setxattr(&path, "user.label", b"etc_t", XattrFlags::empty()).is_ok();
        let kept = change(&etc, "su", b"old", b"new").unwrap().remove(0);
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read(&kept).unwrap(), b"old");
        for file in [&path, &kept] {
            assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o640);
            let mut label = [0; 16];
            let length = getxattr(file, "user.label", &mut label).unwrap_or(0);
            assert_eq!(&label[..length], if labelled { &b"etc_t"[..] } else { b"" });
        }
        assert_eq!(names(&etc), ["su"]);
    }

    fn names(etc: &Etc) -> Vec<String> {
        let entries = etc.files().folder().read_dir().unwrap();
        let mut names: Vec<String> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_somebody_else_changed_meanwhile_is_not_overwritten() {
        let etc = Etc::of(&[("su", "newer")]);
        let failure = change(&etc, "su", b"old", b"mine").unwrap_err();
        assert!(failure.message.contains("somebody else"), "{failure:?}");
        assert_eq!(etc.bytes("su"), b"newer");
        assert_eq!(names(&etc), ["su"]);
    }

    #[test]
    fn what_a_killed_one_left_behind_is_no_hindrance() {
        let etc = Etc::of(&[("su", "old"), (".su.jit-new", "half")]);
        change(&etc, "su", b"old", b"new").unwrap();
        assert_eq!(
            (etc.bytes("su"), names(&etc)),
            (b"new".to_vec(), vec!["su".to_owned()])
        );
    }

    #[test]
    fn only_roots_own_plain_files_are_changed() {
        let etc = Etc::of(&[("su", "x")]);
        let path = etc.files().folder().join("su");
        assert_eq!(editable(&etc.files(), "su"), Ok(()));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o646)).unwrap();
        assert!(
            editable(&etc.files(), "su")
                .unwrap_err()
                .contains("chmod go-w")
        );
        std::os::unix::fs::symlink(&path, path.with_file_name("link")).unwrap();
        assert!(
            editable(&etc.files(), "link")
                .unwrap_err()
                .contains("is a link to")
        );
        std::fs::create_dir(path.with_file_name("folder")).unwrap();
        assert!(
            editable(&etc.files(), "folder")
                .unwrap_err()
                .contains("regular")
        );
        assert!(
            editable(&etc.files(), "gone")
                .unwrap_err()
                .contains("no such service")
        );
    }
}
