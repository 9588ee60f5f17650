//! The grants in force on this host: where they come from, and how they change.
//!
//! Decisions read a snapshot and wait for nothing. Local files and the policy source each change
//! their own part of it, in the background.

mod current;
mod fetch;
mod floor;
mod follow;
mod local;
mod mint;
mod rows;
mod sync;

pub use local::LocalError;
pub use mint::MintError;

use crate::audit::{Audit, Event, Kind};
use crate::clock::{Clock, Now};
use crate::config::Config;
use crate::state::State;
use current::{Current, Ended};
use jit_policy::{Index, Origin, Snapshot, Who};
use jit_protocol::message::{GrantRow, GrantSpec, PolicyReport};
use local::Local;
use std::collections::HashSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use sync::Sync;
use tokio::sync::watch;

/// The administrator's grants unless `--grants` says otherwise.
pub const FOLDER: &str = "/etc/pam_jit/grants.d";

/// How often to look what the passing of time did.
const TICK: Duration = Duration::from_secs(5);
/// How often to remove minted grants that ended long ago.
const SWEEP: Duration = Duration::from_secs(60 * 60);
/// How long a decision waits for the grants at the start; the module waits two seconds for it.
const PATIENCE: Duration = Duration::from_millis(1500);
/// The most complaints of one kind that are recorded at once.
const MANY: usize = 20;

/// The bundle that central grants come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provenance {
    /// Its sequence number.
    pub seq: u64,
    /// Trusted time less its `issued_at`, in seconds.
    pub age_secs: u64,
}

/// The grants in force. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Grants {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    current: Arc<Current>,
    local: Arc<Local>,
    sync: Arc<Sync>,
    clock: Arc<Clock>,
    audit: Audit,
    /// How many of the two loads at the start still run.
    loads: watch::Receiver<u8>,
}

impl Grants {
    /// Begins to read the administrator's `folder`, the minted grants and the last accepted bundle,
    /// each on a thread of its own: 100,000 grants take longer than an agent may take to start.
    /// What is good comes into force, what is not is recorded; see [`Grants::loaded`].
    ///
    /// Nothing changes after that until [`Grants::run`] runs.
    #[must_use]
    pub fn open(
        config: Arc<Config>,
        folder: PathBuf,
        state: Arc<State>,
        clock: Arc<Clock>,
        audit: Audit,
    ) -> Self {
        let none = Index::build(Origin::Local, Vec::new(), &sync::host_facts(&config));
        let current = Arc::new(Current::new(none, clock.now().trusted()));
        let sync = Arc::new(Sync::new(
            Arc::clone(&config),
            Arc::clone(&state),
            Arc::clone(&clock),
            audit.clone(),
            Arc::clone(&current),
        ));
        let local = Local::new(folder, config, state, audit.clone(), Arc::clone(&current));
        let local = Arc::new(local);
        let (running, loads) = watch::channel(2);
        let running = Arc::new(running);
        let (reader, verifier) = (Arc::clone(&local), Arc::clone(&sync));
        load(&running, move |done| reader.load(done));
        load(&running, move |done| verifier.load(done));
        let inner = Inner {
            current,
            local,
            sync,
            clock,
            audit,
            loads,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Waits until what was there at the start is in force, but no longer than the module waits
    /// for an answer: after that, what is not there yet does not hold.
    pub async fn loaded(&self) {
        let mut loads = self.inner.loads.clone();
        let done = loads.wait_for(|running| *running == 0);
        let _ = tokio::time::timeout(PATIENCE, done).await;
    }

    /// Follows the folders, the source and the time, for as long as it is polled.
    pub async fn run(self) {
        let Inner { local, sync, .. } = &*self.inner;
        self.loaded().await;
        tokio::join!(
            follow::run(Arc::clone(local)),
            Arc::clone(sync).run(),
            self.keep()
        );
    }

    /// What is in force now. Waits for nothing.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.inner.current.snapshot()
    }

    /// Takes a new configuration: when this returns, nothing holds any more that it does not allow.
    /// Blocks, the longer the more grants there are.
    pub fn apply_config(&self, config: Arc<Config>) {
        self.inner.local.apply_config(Arc::clone(&config));
        self.inner.sync.apply_config(config);
    }

    /// All grants on this host, local ones first.
    #[must_use]
    pub fn rows(&self, now: &Now) -> Vec<GrantRow> {
        rows::all(&self.snapshot(), &now.moment())
    }

    /// One person's grants on this host that have not ended, seen from where they came from
    /// (`None`: nobody knows).
    #[must_use]
    pub fn rows_for(
        &self,
        user: &str,
        groups: &[String],
        source: Option<IpAddr>,
        now: &Now,
    ) -> Vec<GrantRow> {
        rows::of(&self.snapshot(), user, groups, source, &now.moment())
    }

    /// Mints a local grant: when this returns `Ok`, it is on disk and in force. Blocks.
    ///
    /// # Errors
    ///
    /// It is no grant, its id is taken, local grants do not count, or the disk is full.
    pub fn add(&self, spec: GrantSpec, by: &str, now: &Now) -> Result<GrantRow, LocalError> {
        let id = self.inner.local.add(&spec, by, now)?;
        rows::named(&self.snapshot(), &id, &now.moment()).ok_or(LocalError::Dropped(id))
    }

    /// Takes a minted grant back: when this returns `Ok`, it is gone from disk and out of force.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// There is none, it was not minted, or the disk refuses.
    pub fn revoke(&self, id: &str, by: &str) -> Result<(), LocalError> {
        self.inner.local.revoke(id, by)
    }

    /// Asks the policy source now; `None` where none is configured. The report says in `last_error`
    /// if that brought nothing.
    pub async fn refresh(&self) -> Option<PolicyReport> {
        Arc::clone(&self.inner.sync).refresh().await;
        self.policy_report(&self.inner.clock.now())
    }

    /// The state of the central policy; `None` where no source is configured.
    #[must_use]
    pub fn policy_report(&self, now: &Now) -> Option<PolicyReport> {
        self.inner.sync.report(now)
    }

    /// The bundle in force; `None` where there is none. Waits for nothing.
    #[must_use]
    pub fn provenance(&self, now: &Now) -> Option<Provenance> {
        let (seq, issued_at) = self.inner.current.bundle()?;
        let age = sync::age(issued_at, now.trusted());
        Some(Provenance {
            seq,
            age_secs: age.as_secs(),
        })
    }

    /// Forgets the highest sequence number ever accepted, and asks the source. What is in force
    /// stays until then. Blocks.
    ///
    /// # Errors
    ///
    /// In words: no policy source is configured, or the disk refuses.
    pub fn reset_floor(&self, by: &str) -> Result<(), String> {
        self.inner.sync.reset_floor(by)
    }

    /// Records what the passing of time did.
    async fn keep(&self) {
        let mut swept = Instant::now();
        loop {
            tokio::time::sleep(TICK).await;
            let now = self.inner.clock.now();
            self.inner.sync.tick(&now);
            for ended in self.inner.current.ended(now.trusted()) {
                self.inner.audit.note(expired(&ended));
            }
            // A clock that may be wrong must not cost anybody a grant for good.
            let sure = || now.settled && self.inner.clock.report().synchronised;
            if swept.elapsed() >= SWEEP && sure() {
                swept = Instant::now();
                let local = Arc::clone(&self.inner.local);
                let _ =
                    tokio::task::spawn_blocking(move || local.sweep(now.moment().earliest)).await;
            }
        }
    }
}

/// Runs one of the loads at the start on a thread of its own; here, if the system gives none. It
/// says itself when it is done: what it tidies up after that, nobody waits for.
fn load(running: &Arc<watch::Sender<u8>>, work: impl Fn(&dyn Fn()) + Clone + Send + 'static) {
    let (there, running_there) = (work.clone(), Arc::clone(running));
    let done = |running: &watch::Sender<u8>| running.send_modify(|n| *n = n.saturating_sub(1));
    let thread = std::thread::Builder::new().name("load".to_owned());
    let spawned = thread.spawn(move || there(&|| done(&running_there)));
    if spawned.is_err() {
        work(&|| done(running));
    }
}

fn expired(ended: &Ended) -> Event {
    let event = Event::new(Kind::Grant, "expired")
        .with("grant", &ended.id)
        .with("until", ended.not_after);
    with_who(event, &ended.who)
}

/// As people and records name a grant: `local:ID` or `central:ID`.
fn full_id(origin: Origin, id: &str) -> String {
    format!("{}:{id}", origin.as_str())
}

fn with_who(event: Event, who: &Who) -> Event {
    match who {
        Who::User(name) => event.with("user", name),
        Who::Group(name) => event.with("group", name),
    }
}

/// Something that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Complaint {
    /// Stable word.
    reason: &'static str,
    /// The file, or `central`.
    source: String,
    line: Option<usize>,
    /// `local:ID` or `central:ID`, if it is about one grant.
    id: Option<String>,
    detail: String,
}

impl Complaint {
    /// A whole file is left out.
    fn file(path: &Path, detail: impl std::fmt::Display) -> Self {
        Self {
            reason: "file",
            source: path.display().to_string(),
            line: None,
            id: None,
            detail: detail.to_string(),
        }
    }

    /// A file, or a folder above it, cannot be believed.
    fn refused(error: &crate::trusted_file::TrustedFileError) -> Self {
        Self::file(&error.path, &error.fault)
    }

    fn event(&self) -> Event {
        Event::new(Kind::Grant, "rejected")
            .with("reason", self.reason)
            .maybe("grant", self.id.as_ref())
            .with("file", &self.source)
            .maybe("line", self.line)
            .with("detail", &self.detail)
    }
}

/// What was complained about, so that looking again does not repeat it.
#[derive(Debug, Default)]
struct Complaints {
    said: HashSet<Complaint>,
}

impl Complaints {
    /// Records those that were not there last time.
    fn say(&mut self, audit: &Audit, now: Vec<Complaint>) {
        let fresh = now
            .iter()
            .filter(|c| !self.said.contains(*c))
            .cloned()
            .collect();
        say(audit, fresh);
        self.said = now.into_iter().collect();
    }
}

/// Records complaints. Beyond [`MANY`] only how many there are: a file of 100,000 mistakes must not
/// push everything else out of the log.
fn say(audit: &Audit, complaints: Vec<Complaint>) {
    for complaint in complaints.iter().take(MANY) {
        audit.note(complaint.event());
    }
    if let Some(last) = complaints.get(MANY..).and_then(<[_]>::last) {
        let more = complaints.len() - MANY;
        let event = Event::new(Kind::Grant, "rejected")
            .with("reason", "more")
            .with("file", &last.source)
            .with("detail", format_args!("and {more} more"));
        audit.note(event);
    }
}
