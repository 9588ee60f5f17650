//! A private world in which the real sudo, su, login, sshd and rsyslogd run with `pam_jit`, the
//! agent and `jit`, and nothing reaches the machine. `world.sh` beside this file makes it; here
//! is what tests do in it: run things as somebody, talk to a program on a terminal, hold a
//! factor, read the log.
//!
//! Every test makes its own [`World`], so tests run side by side. A harness's failure is a test's
//! failure, so everything here panics instead of returning errors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "only tests use this crate; a panic is how they fail"
)]

mod factor;
mod programs;
mod pty;
mod wall;

pub use factor::{Factor, unix_now};
pub use pty::{Ended, Pty};
pub use wall::BY_WALL;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// No command of a test takes this long; one that does hangs, and is killed and reported.
const HUNG_SECS: u32 = 60;

/// A world. It ends, with everything in it, when this is dropped or the test's process dies.
pub struct World {
    warden: Child,
    pid: String,
    factors: Mutex<HashMap<String, Factor>>,
}

/// How a command without a terminal ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit status; 128 + n for signal n, as shells say it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Output {
    /// Whether it exited with 0.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.code == 0
    }

    /// Standard output and error, one after the other.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", self.out, self.err)
    }

    /// Standard output as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("not JSON ({e}): {self:?}"))
    }
}

impl World {
    /// A world with the agent running on its default configuration.
    #[must_use]
    pub fn new() -> Self {
        Self::of(programs::folder())
    }

    /// A world of the programs in `bin` (`pam_jit.so`, `jit-agentd`, `jit`).
    #[must_use]
    pub fn of(bin: PathBuf) -> Self {
        let mut warden = Command::new("bash")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/world/world.sh"))
            .arg(bin)
            .env("SUDO_RS", programs::sudo_rs())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(warden.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let Some(pid) = line.trim().strip_prefix("ready ") else {
            panic!("the world did not start; what it said is above");
        };
        Self {
            pid: pid.to_owned(),
            warden,
            factors: Mutex::default(),
        }
    }

    /// `nsenter` into this world, in a session of its own, as `user`.
    fn enter(&self, user: &str, tty: bool) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.pid, "-m", "-p", "-n", "-u", "-i", "--"])
            .args(["setsid", "--wait"]);
        if tty {
            command.arg("--ctty");
        } else {
            command.args(["timeout", "-k", "1", &HUNG_SECS.to_string()]);
        }
        command.args(["setpriv", "--reuid", user, "--regid", user]);
        command.args(["--init-groups", "--reset-env", "--"]);
        command.args(["env", "LC_ALL=C.UTF-8", "TERM=dumb"]);
        command
    }

    /// Runs a shell command as `user`, without a terminal and with nothing on standard input.
    pub fn run_as(&self, user: &str, command: &str) -> Output {
        self.feed(user, command, b"")
    }

    /// Runs a shell command as root, likewise.
    pub fn root(&self, command: &str) -> Output {
        self.run_as("root", command)
    }

    /// Runs a shell command as root that has to succeed; its standard output.
    pub fn must(&self, command: &str) -> String {
        let output = self.root(command);
        assert!(output.ok(), "{command}: {output:?}");
        output.out
    }

    /// Runs a shell command as `user` with `input` on its standard input.
    pub fn feed(&self, user: &str, command: &str, input: &[u8]) -> Output {
        let mut child = self
            .enter(user, false)
            .args(["bash", "-c", &in_home(command)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // It may well end without reading what it was given.
        let _ = stdin.write_all(input);
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let code = status(output.status);
        assert!(code != 124 && code != 137, "hung and was killed: {command}");
        Output {
            code,
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a shell command as `user` on a terminal, in a login session of its own.
    pub fn pty(&self, user: &str, command: &str) -> Pty {
        let mut enter = self.enter(user, true);
        enter.args(["bash", "-c", &in_home(command)]);
        Pty::start(&format!("/proc/{}/root/dev/pts/ptmx", self.pid), enter)
    }

    /// Runs a command as `user` on a terminal and answers: their password where one is asked for
    /// and `code` where a one-time code is. How it ended.
    pub fn type_at(&self, user: &str, command: &str, code: &str) -> Ended {
        self.pty(user, command)
            .answer(&[("assword", &format!("{user}-password")), ("ode: ", code)])
    }

    /// Enrols a factor for `user`, as root does for people, and keeps it.
    pub fn enroll(&self, user: &str) -> Factor {
        let factor = Factor::from_json(&self.must(&format!("jit mfa enroll {user} --json")));
        self.factors
            .lock()
            .unwrap()
            .insert(user.to_owned(), factor.clone());
        factor
    }

    /// A code of `user` that was not handed out before. Three are good at any moment; a fourth
    /// within 30 s waits.
    pub fn code(&self, user: &str) -> String {
        let factors = self.factors.lock().unwrap();
        factors
            .get(user)
            .unwrap_or_else(|| panic!("{user} has not been enrolled"))
            .next_code()
    }

    /// `jit grant add` with these arguments and a reason; the grant's id.
    pub fn grant(&self, arguments: &str) -> String {
        let added = self.must(&format!("jit grant add {arguments} --reason test --json"));
        let added: serde_json::Value = serde_json::from_str(&added).unwrap();
        let id = added["grant"]["id"].as_str().or(added["id"].as_str());
        id.unwrap_or_else(|| panic!("no id in {added}")).to_owned()
    }

    /// Replaces `/etc/pam_jit/agent.toml` and restarts the agent.
    pub fn config(&self, toml: &str) {
        self.write("/etc/pam_jit/agent.toml", toml);
        self.must("agentctl restart");
    }

    /// Writes a file (root's, 0644) as careful tools do: complete, then renamed.
    pub fn write(&self, path: &str, text: &str) {
        let output = self.feed(
            "root",
            &format!("umask 022; cat >'{path}.new~' && mv '{path}.new~' '{path}'"),
            text.as_bytes(),
        );
        assert!(output.ok(), "{path}: {output:?}");
    }

    /// Where a path of this world lies outside of it.
    #[must_use]
    pub fn outside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.pid))
    }

    /// A file's text; empty when there is none.
    pub fn read(&self, path: &str) -> String {
        std::fs::read(self.outside(path))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// What rsyslogd has written to `auth.log`.
    pub fn syslog(&self) -> String {
        self.read("/var/log/auth.log")
    }

    /// Our lines in `auth.log` that hold every one of `words`, once there is at least one.
    pub fn logged(&self, words: &[&str]) -> Vec<String> {
        self.logged_times(1, words)
    }

    /// The same once they stand for so many records: those of one person beyond ten a second are
    /// one line that counts them.
    pub fn logged_times(&self, times: usize, words: &[&str]) -> Vec<String> {
        let stands_for = |line: &String| {
            let count = line.split(" repeated=").nth(1);
            count.map_or(1, |rest| {
                rest.split(' ').next().unwrap().parse::<usize>().unwrap()
            })
        };
        let mut found = Vec::new();
        let line =
            |line: &&str| line.contains(" pam_jit") && words.iter().all(|word| line.contains(word));
        self.wait_for(&format!("a line in auth.log with {words:?}"), || {
            found = self
                .syslog()
                .lines()
                .filter(line)
                .map(str::to_owned)
                .collect();
            found.iter().map(stands_for).sum::<usize>() >= times
        });
        found
    }

    /// Waits until something holds; panics after ten seconds.
    pub fn wait_for(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !holds() {
            assert!(
                Instant::now() < end,
                "waited in vain for {what}\n--- auth.log\n{}--- agent\n{}",
                self.syslog(),
                self.read("/var/log/jit-agentd.log")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- auth.log\n{}--- jit-agentd\n{}",
                self.syslog(),
                self.read("/var/log/jit-agentd.log")
            );
        }
        drop(self.warden.stdin.take());
        let _ = self.warden.wait();
    }
}

fn in_home(command: &str) -> String {
    format!("cd; {command}")
}

fn status(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status
        .code()
        .or(status.signal().map(|n| 128 + n))
        .unwrap_or(-1)
}
