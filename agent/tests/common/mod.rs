//! A host in a temporary folder: its configuration, grants, state and journal.

#![allow(dead_code)] // Each test binary uses its part.

pub(crate) mod source;

use jiff::{SignedDuration, Timestamp};
use jit_agent::audit::{Audit, AuditSettings, Format, Limits, Places};
use jit_agent::clock::{Clock, SystemTime};
use jit_agent::config::Config;
use jit_agent::grants::Grants;
use jit_agent::state::State;
use jit_policy::{Ask, Factor, Reason, Target, decide};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) struct Host {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) name: &'static str,
}

/// The part of an agent that is under test, running.
pub(crate) struct Agent {
    pub(crate) grants: Grants,
    pub(crate) clock: Arc<Clock>,
    pub(crate) audit: Audit,
    journal: PathBuf,
    running: tokio::task::JoinHandle<()>,
}

impl Host {
    pub(crate) fn new() -> Self {
        let host = Self {
            dir: tempfile::tempdir().unwrap(),
            name: "web-1",
        };
        fs::create_dir(host.path("grants.d")).unwrap();
        host
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn config(&self, rest: &str) -> Arc<Config> {
        let path = self.path("agent.toml");
        fs::write(&path, format!("[agent]\nhost = \"{}\"\n{rest}", self.name)).unwrap();
        Arc::new(Config::load(&path).unwrap())
    }

    /// Puts a file into the administrator's folder, written long enough ago to be still.
    pub(crate) fn grants_file(&self, name: &str, text: &str) {
        self.fresh_file(name, text);
        std::thread::sleep(Duration::from_millis(320));
    }

    /// As a person's editor does it just now.
    pub(crate) fn fresh_file(&self, name: &str, text: &str) {
        let path = self.path("grants.d").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    pub(crate) fn remove_file(&self, name: &str) {
        fs::remove_file(self.path("grants.d").join(name)).unwrap();
    }

    /// Starts the agent's part; needs a tokio runtime.
    pub(crate) async fn start(&self, config: &Arc<Config>) -> Agent {
        let state = Arc::new(State::open(&self.path("state")).unwrap());
        let places = Places {
            journal: self.path("journal"),
            syslog: self.path("no-syslog"),
            limits: Limits::default(),
        };
        let settings = AuditSettings {
            format: Format::Logfmt,
            durable: false,
            host: self.name.to_owned(),
        };
        let audit = Audit::start(places, settings).unwrap();
        let clock = Arc::new(Clock::start(Box::new(SystemTime), Arc::clone(&state)).unwrap());
        let grants = Grants::open(
            Arc::clone(config),
            self.path("grants.d"),
            state,
            Arc::clone(&clock),
            audit.clone(),
        );
        grants.loaded().await;
        let running = tokio::spawn(grants.clone().run());
        Agent {
            grants,
            clock,
            audit,
            journal: self.path("journal"),
            running,
        }
    }
}

impl Agent {
    /// Ends it, as a kill would, and waits until the state is free again.
    pub(crate) async fn stop(self) {
        self.running.abort();
        let _ = self.running.await;
        drop(self.grants);
        // A scan or a check that was on its way ends by itself.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    /// The ids in force, sorted.
    pub(crate) fn ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self
            .grants
            .snapshot()
            .all()
            .map(|held| held.name())
            .collect();
        ids.sort();
        ids
    }

    /// What is decided about `sudo` to root for a person in no group.
    pub(crate) fn asks(&self, user: &str) -> Reason {
        let ask = Ask {
            user,
            groups: &[],
            service: "sudo",
            target: Target::Account {
                name: "root",
                uid0: true,
            },
            source: None,
            grant_required: true,
            floor: Factor::None,
        };
        let decision = decide(&self.grants.snapshot(), &ask, &self.clock.now().moment());
        assert_eq!(decision.allowed, decision.reason == Reason::Granted);
        decision.reason
    }

    /// Waits until exactly these ids are in force.
    pub(crate) async fn has(&self, ids: &[&str], within: Duration) {
        let deadline = Instant::now() + within;
        while self.ids() != ids {
            assert!(
                Instant::now() < deadline,
                "in force: {:?}, wanted: {ids:?}; journal:\n{}",
                self.ids(),
                self.journal()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Everything on record so far.
    pub(crate) fn journal(&self) -> String {
        let mut text = String::new();
        for entry in fs::read_dir(&self.journal).into_iter().flatten() {
            text.push_str(&fs::read_to_string(entry.unwrap().path()).unwrap_or_default());
        }
        text
    }

    /// How many records hold all of these words.
    pub(crate) fn count(&self, words: &[&str]) -> usize {
        let journal = self.journal();
        journal
            .lines()
            .filter(|line| words.iter().all(|word| line.contains(word)))
            .count()
    }

    /// Waits for a record with all of these words.
    pub(crate) async fn recorded(&self, words: &[&str], within: Duration) {
        let deadline = Instant::now() + within;
        while self.count(words) == 0 {
            assert!(
                Instant::now() < deadline,
                "no record of {words:?} in:\n{}",
                self.journal()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A grant of sudo to root, good for an hour.
pub(crate) fn grant(id: &str, user: &str) -> String {
    grant_until(id, user, Timestamp::now() + SignedDuration::from_hours(1))
}

pub(crate) fn grant_until(id: &str, user: &str, end: Timestamp) -> String {
    format!(
        "[[grant]]\nid = \"{id}\"\nuser = \"{user}\"\nservices = [\"sudo\"]\nnot_after = {end}\n"
    )
}
