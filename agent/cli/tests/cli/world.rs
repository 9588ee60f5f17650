//! An agent that says what a test tells it to, and ways to run `jit`.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

use jit_protocol::frame;
use jit_protocol::message::{Answer, FactorReport, GrantRow, Reply, Said, StatusReport};

/// An agent for one conversation.
pub(crate) struct Agent {
    folder: tempfile::TempDir,
    thread: JoinHandle<()>,
}

/// The agent's end of the conversation.
pub(crate) struct Line(pub(crate) UnixStream);

impl Line {
    pub(crate) fn body(&mut self) -> Option<Vec<u8>> {
        let mut header = [0; frame::HEADER];
        self.0.read_exact(&mut header).ok()?;
        let mut body = vec![0; frame::body_len(header).unwrap()];
        self.0.read_exact(&mut body).unwrap();
        Some(body)
    }

    pub(crate) fn say(&mut self, reply: &Reply) {
        self.0.write_all(&frame::encode(reply).unwrap()).unwrap();
    }

    pub(crate) fn answer(&mut self) -> Answer {
        let Said::Answer(answer) = frame::decode(&self.body().expect("an answer")).unwrap();
        answer
    }

    /// Waits until the other side hangs up, and says whether it did so without another word.
    pub(crate) fn hung_up(&mut self) -> bool {
        self.body().is_none()
    }
}

impl Agent {
    pub(crate) fn start(script: impl FnOnce(&mut Line) + Send + 'static) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "run these tests as root: jit trusts no socket that is not root's"
        );
        let folder = tempfile::tempdir().unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), mode).unwrap();
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(&path, mode).unwrap();
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            script(&mut Line(stream));
        });
        Self { folder, thread }
    }

    /// Answers one request, whatever it is, with these.
    pub(crate) fn says(replies: impl IntoIterator<Item = Reply> + Send + 'static) -> Self {
        Self::start(move |line| {
            line.body();
            for reply in replies {
                line.say(&reply);
            }
        })
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `jit` with these words against this agent, and sees the agent's script to its end.
    pub(crate) fn run(self, words: &[&str]) -> Ran {
        let out = self.command(words).output().unwrap();
        self.thread
            .join()
            .expect("the agent's script went as expected");
        Ran::from(out)
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = jit(words);
        command.arg("--socket").arg(self.socket());
        command
    }

    pub(crate) fn join(self) {
        self.thread
            .join()
            .expect("the agent's script went as expected");
    }
}

/// `jit` with a clean environment and no input.
pub(crate) fn jit(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jit"));
    command
        .args(words)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TERM", "xterm-256color")
        .env("TZ", "UTC")
        .stdin(Stdio::null());
    command
}

/// `jit` as the user nobody.
pub(crate) fn jit_as_nobody(folder: &Path, words: &[&str]) -> Ran {
    let copy = folder.join("jit");
    // By cp(1): a copy made here could still be open for writing in another test's child, and
    // then it cannot be run.
    let cp = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_jit"))
        .arg(&copy)
        .status();
    assert!(cp.unwrap().success());
    let out = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(copy)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran::from(out)
}

/// What a run gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ran {
    fn from(out: Output) -> Self {
        Self {
            code: out.status.code(),
            out: String::from_utf8(out.stdout).unwrap(),
            err: String::from_utf8(out.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// Standard output as the one JSON object that it must be.
    pub(crate) fn json(&self) -> serde_json::Value {
        let value: serde_json::Value = serde_json::from_str(&self.out).expect(&self.out);
        assert!(
            self.out.starts_with("{\"v\":1,") && self.out.ends_with("}\n"),
            "{}",
            self.out
        );
        value
    }

    #[track_caller]
    pub(crate) fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

pub(crate) fn factor() -> FactorReport {
    FactorReport {
        user: "root".into(),
        state: "enrolled".into(),
        since: None,
        recovery_codes_left: 10,
        locked_secs: None,
    }
}

pub(crate) fn row(id: &str) -> GrantRow {
    GrantRow {
        id: id.into(),
        state: "active".into(),
        detail: "42 min left".into(),
        user: Some("alice".into()),
        group: None,
        services: vec!["sudo".into()],
        run_as: vec!["root".into()],
        not_before: None,
        not_after: "2999-01-01T00:00:00Z".into(),
        until: None,
        mfa: Some("15m".into()),
        reason: Some("failover".into()),
        ticket: None,
        approved_by: vec![],
    }
}

pub(crate) fn status() -> StatusReport {
    StatusReport {
        user: "root".into(),
        host: "web1".into(),
        agent: "0.1.0".into(),
        grants: vec![row("local:inc-4711")],
        factor: factor(),
        proved_secs_ago: None,
        policy: None,
        clock: None,
    }
}
