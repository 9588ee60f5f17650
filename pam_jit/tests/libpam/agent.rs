//! An agent that does as a test says.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{Backlog, getsockopt, listen, sockopt};
use nix::unistd::{Pid, Uid, setresuid};
use serde_json::{Value, json};

use crate::place::Place;

/// One connection, as the agent sees it.
pub(crate) struct Line {
    stream: UnixStream,
}

impl Line {
    /// Reads a frame; `None` when the other side has hung up.
    pub(crate) fn read(&mut self) -> Option<Value> {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header).ok()?;
        let mut body = vec![0; u32::from_be_bytes(header).try_into().unwrap()];
        self.stream.read_exact(&mut body).ok()?;
        Some(serde_json::from_slice(&body).unwrap())
    }

    /// Sends a message in a frame.
    pub(crate) fn send(&mut self, message: &Value) {
        self.raw(&frame(message));
    }

    /// Sends bytes, and does not care whether anybody takes them.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The process at the other end.
    pub(crate) fn peer(&self) -> i32 {
        getsockopt(&self.stream, sockopt::PeerCredentials)
            .unwrap()
            .pid()
    }

    /// Waits until the other side hangs up.
    pub(crate) fn wait_for_end(&mut self) {
        let _ = self.stream.read_to_end(&mut Vec::new());
    }
}

/// A message as it travels.
pub(crate) fn frame(message: &Value) -> Vec<u8> {
    let body = message.to_string();
    let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(body.as_bytes());
    frame
}

/// A verdict.
pub(crate) fn verdict(result: &str) -> Value {
    json!({"verdict": {
        "result": result, "reason": "test", "message": null, "grant": null, "until": null,
        "id": null, "principal": null,
    }})
}

/// A verdict that names a principal.
pub(crate) fn verdict_for(result: &str, principal: u32) -> Value {
    let mut verdict = verdict(result);
    verdict["verdict"]["principal"] = json!(principal);
    verdict
}

/// A refusal with words.
pub(crate) fn refusal(result: &str, message: &str) -> Value {
    let mut verdict = verdict(result);
    verdict["verdict"]["message"] = json!(message);
    verdict
}

/// A prompt.
pub(crate) fn prompt(text: &str) -> Value {
    json!({"prompt": {"id": 7, "text": text, "echo": false}})
}

/// An agent in a thread. What it heard can be read back.
pub(crate) struct Agent {
    heard: Arc<Mutex<Vec<Value>>>,
}

impl Agent {
    /// Listens at the place. Every connection's question is kept, then `script` goes on with it.
    pub(crate) fn start(
        place: &Place,
        script: impl Fn(&mut Line, &Value) + Send + 'static,
    ) -> Self {
        let listener = UnixListener::bind(place.socket()).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&heard);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut line = Line {
                    stream: stream.unwrap(),
                };
                let Some(question) = line.read() else {
                    continue;
                };
                keep.lock().unwrap().push(question.clone());
                script(&mut line, &question);
            }
        });
        Self { heard }
    }

    /// An agent that always says the same.
    pub(crate) fn saying(place: &Place, message: Value) -> Self {
        Self::start(place, move |line, _| line.send(&message))
    }

    /// The questions so far.
    pub(crate) fn heard(&self) -> Vec<Value> {
        self.heard.lock().unwrap().clone()
    }
}

/// An agent in a process of its own, which listens with the credentials of `uid` and says yes to
/// everything.
pub(crate) struct Separate(Child);

/// What a separate agent prints when it listens.
const READY: &str = "the agent listens";

impl Separate {
    pub(crate) fn start(place: &Place, uid: u32) -> Self {
        let test = std::env::current_exe().unwrap();
        let child = Command::new(test)
            .args(["--exact", "as_agent", "--ignored", "--nocapture"])
            .env("PAM_JIT_TEST_SOCKET", place.socket())
            .env("PAM_JIT_TEST_UID", uid.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut separate = Self(child);
        let mut lines = BufReader::new(separate.0.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == READY));
        separate
    }

    /// Stops it: it takes connections and never answers.
    pub(crate) fn stop(&self) {
        stop(self.0.id().try_into().unwrap());
    }
}

/// Stops a process, and waits until it stands still: the signal is only on its way when kill(2)
/// returns.
pub(crate) fn stop(process: i32) {
    kill(Pid::from_raw(process), Signal::SIGSTOP).unwrap();
    let stopped = || {
        let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
        threads.map(|thread| thread.unwrap().path()).all(|thread| {
            let stat = fs::read_to_string(thread.join("stat")).unwrap();
            // "pid (name) state …": proc_pid_stat(5).
            stat.rsplit_once(") ").unwrap().1.starts_with('T')
        })
    };
    while !stopped() {
        thread::sleep(Duration::from_millis(1));
    }
}

impl Drop for Separate {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The other side of [`Separate`].
pub(crate) fn play() {
    let variable = |name: &str| std::env::var(name).unwrap();
    let listener = UnixListener::bind(variable("PAM_JIT_TEST_SOCKET")).unwrap();
    let uid = Uid::from_raw(variable("PAM_JIT_TEST_UID").parse().unwrap());
    setresuid(uid, uid, uid).unwrap();
    // The kernel notes the credentials anew at each listen(2).
    listen(&listener, Backlog::new(16).unwrap()).unwrap();
    println!("{READY}");
    for stream in listener.incoming() {
        let mut line = Line {
            stream: stream.unwrap(),
        };
        if line.read().is_some() {
            line.send(&verdict_for("allow", 1001));
        }
    }
}
