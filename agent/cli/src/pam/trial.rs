//! Trying a stack before it counts: a whole account phase for root, by the real libpam and the
//! real modules, with the service's file in a private folder.
//!
//! Only the account phase: auth would ask for a password, and a session would do things (limits,
//! mounts, logind). It runs in a process of its own, since a module may crash, hang or change
//! whatever it likes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::file::{PamFile, Phase};
use super::stack::Files;
use crate::failure::{Exit, Failure};

/// How long a stack may take. Directory services that do not answer take their time.
const PATIENCE: Duration = Duration::from_secs(20);

/// One account phase, in this process. For `jit` itself.
#[derive(Debug, Args)]
pub(crate) struct TryStack {
    /// Folder with the service's file
    folder: PathBuf,
    /// Service
    service: String,
}

impl TryStack {
    /// Prints PAM's answer as its number.
    ///
    /// # Errors
    ///
    /// When libpam cannot be used.
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        let answer = super::libpam::account_of_root(&self.folder, &self.service)
            .map_err(|why| Failure::no("libpam", why))?;
        crate::screen::print(&format!("{answer}\n")).map(|()| Exit::Yes)
    }
}

/// Tries a service as it shall be.
///
/// Gives what the administrator should know.
///
/// # Errors
///
/// Why it must not be so.
pub(super) fn enabled(
    files: &Files,
    service: &str,
    after: &PamFile,
    args: &[String],
) -> Result<Option<String>, String> {
    let folder = private()?;
    let place = folder.path();
    copy(files, place)?;
    let file = place.join(service);
    let attempt = |bytes: &[u8]| -> Result<i32, String> {
        std::fs::write(&file, bytes).map_err(|e| format!("{}: {e}", file.display()))?;
        account(place, service)
    };
    let before = files.read(&files.folder().join(service))?;

    // With observe it has nothing to say, and a stack in which nobody says yes is a no.
    let alone = format!(
        "account required {} {}\naccount required pam_permit.so\n",
        super::MODULE,
        args.join(" ")
    );
    match attempt(alone.as_bytes())? {
        0 => {}
        code => {
            return Err(format!(
                "our line alone refuses root ({}): {}",
                word(code),
                "the auth log says why (journalctl -t jit, or /var/log/auth.log)"
            ));
        }
    }
    let whole = attempt(&after.bytes())?;
    if whole != 0 {
        let without = attempt(&before.without_ours().bytes())?;
        return match without {
            0 => Err(format!(
                "root would be locked out of {service}: with our lines it refuses root ({}), without them it does not",
                word(whole)
            )),
            code => Ok(Some(format!(
                "{service} refuses root with or without our lines ({}), so that root passes could not be tried",
                word(code)
            ))),
        };
    }
    // And our no is a no: the same stack with a module in our place that always refuses.
    if let Some(denying) = denying(after)
        && attempt(&denying)? == 0
    {
        return Err(format!(
            "a refusal by our account line of {service} counts for nothing: with pam_deny.so in its place \
                 root still passes"
        ));
    }
    Ok(None)
}

/// The file with `pam_deny.so` for our account line, if it has one of its own.
fn denying(file: &PamFile) -> Option<Vec<u8>> {
    use super::file::{Rule, What};
    let entry = file.entries().iter().find(|entry| {
        entry.is_ours() && matches!(entry.what, What::Rule(Phase::Account, Rule::Module(_)))
    })?;
    let stripped = file.without_line(entry.first, entry.last);
    let with = stripped.with_line(entry.first, "account required pam_deny.so");
    Some(with.bytes())
}

/// A folder that only root can look into, gone when dropped.
fn private() -> Result<tempfile::TempDir, String> {
    let run = Path::new("/run");
    let above = if run.is_dir() { run } else { Path::new("/tmp") };
    tempfile::Builder::new()
        .prefix("jit-pam-")
        .tempdir_in(above)
        .map_err(|e| {
            format!(
                "no private folder for the trial can be made in {}: {e}",
                above.display()
            )
        })
}

/// Everything that an include may name. libpam before 1.5.3 reads includes from `/etc/pam.d`
/// whatever folder it is given (measured); these are the same files.
fn copy(files: &Files, to: &Path) -> Result<(), String> {
    for name in files.everything() {
        if let Some(path) = files.find(&name) {
            let file = files.read(&path)?;
            std::fs::write(to.join(&name), file.bytes())
                .map_err(|e| format!("{}: {e}", to.join(&name).display()))?;
        }
    }
    Ok(())
}

/// PAM's answer to an account phase in a process of its own.
fn account(folder: &Path, service: &str) -> Result<i32, String> {
    let failed = |what: &str, e: std::io::Error| format!("the trial {what}: {e}");
    // Files, not pipes: a module may leave a child behind that keeps a pipe open for ever.
    let (answer, words) = (folder.join(".answer"), folder.join(".words"));
    let output = |path: &Path| {
        let file = std::fs::File::create(path);
        file.map(Stdio::from)
            .map_err(|e| failed("has no room for its answer", e))
    };
    let mut child = Command::new("/proc/self/exe")
        .args(["pam", "try-stack"])
        .arg(folder)
        .arg(service)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(output(&answer)?)
        .stderr(output(&words)?)
        .spawn()
        .map_err(|e| failed("cannot be started", e))?;
    let end = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|e| failed("was lost", e))? {
            break status;
        }
        if Instant::now() >= end {
            end_all(child.id());
            let _ = child.wait();
            return Err(format!(
                "the account lines of {service} gave no answer within {} s",
                PATIENCE.as_secs()
            ));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    // A page at most: a module that prints more has other faults.
    let text = |path: &Path| {
        let text = crate::files::read(path, 4096).unwrap_or_default();
        String::from_utf8_lossy(&text).trim().to_owned()
    };
    let said = text(&answer);
    let number = said.lines().last().and_then(|line| line.parse().ok());
    match (status.success(), number) {
        (true, Some(number)) => Ok(number),
        _ => Err(format!(
            "the trial of {service} ended with {status}: {}",
            text(&words)
        )),
    }
}

/// Ends a process and what it started: pam_exec waits for a program in a session of its own.
fn end_all(pid: u32) {
    // Stopped first, so that it starts no more while its children are counted.
    let number = i32::try_from(pid).map(Pid::from_raw);
    let send = |signal| number.map(|pid| kill(pid, signal));
    let _ = send(Signal::SIGSTOP);
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    for child in children.unwrap_or_default().split_whitespace() {
        child.parse().into_iter().for_each(end_all);
    }
    let _ = send(Signal::SIGKILL);
}

/// PAM's answer in words.
fn word(code: i32) -> String {
    match code {
        6 => "permission denied".to_owned(),
        7 => "authentication failure".to_owned(),
        9 => "authentication information unavailable".to_owned(),
        12 => "its password has expired".to_owned(),
        13 => "the account has expired".to_owned(),
        26 => "libpam cannot read the file".to_owned(),
        28 => "a module cannot be loaded".to_owned(),
        code => format!("PAM answer {code}"),
    }
}
