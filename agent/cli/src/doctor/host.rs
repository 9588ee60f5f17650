//! What the doctor sees of a host, and what it found.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::kinds::{Kind, Severity};
use crate::files;
use crate::pam::stack::Files;

/// No configuration file is longer that we read.
const LONGEST: u64 = 4 * 1024 * 1024;

/// How long a program that is asked may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Something that is open, or soon will be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The kind's id.
    pub(crate) id: &'static str,
    /// How bad.
    pub(crate) severity: Severity,
    /// What was found, and where.
    pub(crate) what: String,
    /// Why it matters.
    pub(crate) why: &'static str,
    /// What to do about it.
    pub(crate) mend: String,
}

impl Finding {
    /// One of a kind.
    pub(crate) fn of(kind: &Kind, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            id: kind.id,
            severity: kind.severity,
            what: what.into(),
            why: kind.why,
            mend: mend.into(),
        }
    }
}

/// A program and its arguments to what it printed.
type Run = dyn Fn(&Path, &[&str]) -> Option<String>;

/// A host, seen through its files.
pub(crate) struct Host {
    /// Where its file system begins.
    pub(crate) root: PathBuf,
    run: Box<Run>,
    unseen: RefCell<BTreeSet<String>>,
}

impl Host {
    /// This one.
    pub(crate) fn this() -> Self {
        Self::at(Path::new("/"), Box::new(run))
    }

    /// One whose file system begins at `root` and whose programs answer so.
    pub(super) fn at(root: &Path, run: Box<Run>) -> Self {
        Self {
            root: root.to_owned(),
            run,
            unseen: RefCell::default(),
        }
    }

    /// A path of it.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Whether something is there.
    pub(super) fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Its PAM files.
    pub(super) fn pam(&self) -> Files {
        Files::of(&self.root)
    }

    /// A file's text; nothing if it is not there. One that cannot be read is noted.
    pub(super) fn text(&self, path: &Path) -> Option<String> {
        match path.metadata() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
            _ => {}
        }
        match files::read(path, LONGEST) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(failure) => {
                self.not_seen(failure.message);
                None
            }
        }
    }

    /// Asks a program of the host, if it is root's.
    pub(super) fn ask(&self, program: &str, args: &[&str]) -> Option<String> {
        let path = self.path(program);
        crate::pam::module::trusted(&path).ok()?;
        (self.run)(&path, args)
    }

    /// Notes what could not be looked at.
    pub(super) fn not_seen(&self, what: impl Into<String>) {
        self.unseen.borrow_mut().insert(what.into());
    }

    /// What could not be looked at.
    pub(super) fn unseen(&self) -> Vec<String> {
        self.unseen.borrow().iter().cloned().collect()
    }
}

/// Both outputs of a program that gets no input and a second to live.
fn run(program: &Path, args: &[&str]) -> Option<String> {
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    // Read beside it: a pipe holds less than sshd has to say.
    let reader = |pipe: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(pipe) = pipe {
                let _ = pipe.take(LONGEST).read_to_end(&mut text);
            }
            text
        })
    };
    let out = reader(
        child
            .stdout
            .take()
            .map(|p| Box::new(p) as Box<dyn Read + Send>),
    );
    let err = reader(
        child
            .stderr
            .take()
            .map(|p| Box::new(p) as Box<dyn Read + Send>),
    );
    let end = Instant::now() + PATIENCE;
    while child.try_wait().ok()?.is_none() {
        if Instant::now() >= end {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut text = out.join().ok()?;
    text.extend(err.join().ok()?);
    Some(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A host made of a folder.
    pub(in crate::doctor) struct Made {
        pub(in crate::doctor) folder: tempfile::TempDir,
        pub(in crate::doctor) host: Host,
    }

    impl Made {
        pub(in crate::doctor) fn of(files: &[(&str, &str)]) -> Self {
            Self::answering(files, |_, _| None)
        }

        /// The same, with programs that answer; they must be files of it.
        pub(in crate::doctor) fn answering(
            files: &[(&str, &str)],
            run: impl Fn(&Path, &[&str]) -> Option<String> + 'static,
        ) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for name in ["etc/pam.d", "usr/bin", "usr/sbin", "usr/lib/security"] {
                std::fs::create_dir_all(folder.path().join(name)).unwrap();
            }
            let host = Host::at(folder.path(), Box::new(run));
            let made = Self { folder, host };
            made.write("usr/lib/security/pam_permit.so", "");
            made.write("usr/lib/security/pam_jit.so", "");
            files.iter().for_each(|(name, text)| made.write(name, text));
            made
        }

        pub(in crate::doctor) fn write(&self, name: &str, text: &str) {
            let path = self.folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    /// The ids of findings.
    pub(in crate::doctor) fn ids(findings: &[Finding]) -> Vec<&'static str> {
        let mut ids: Vec<&str> = findings.iter().map(|finding| finding.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}
