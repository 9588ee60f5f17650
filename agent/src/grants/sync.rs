//! Central grants: from the source, through the checks, to the disk, into force.
//!
//! What is in force stays in force until something better has passed every check and is on disk;
//! a source that fails, lies or repeats itself changes nothing but the time that passes.

use super::current::Current;
use super::fetch::{FetchError, Fetched, fetch};
use super::floor::Floors;
use super::{Complaint, say};
use crate::audit::{Audit, Event, Kind};
use crate::clock::{Clock, Now};
use crate::config::{Config, PolicyConfig};
use crate::ffi::give_back_memory;
use crate::state::State;
use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use jit_policy::bundle::{Bundle, Head, Opened, Rejected, Trust, Verified};
use jit_policy::snapshot::Central;
use jit_policy::{HostFacts, Index, Origin};
use jit_protocol::message::PolicyReport;
use reqwest::header::HeaderValue;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// The accepted bundle, as [`Verified::to_keep`] gives it: every byte that was signed.
const BUNDLE: &str = "bundle";

/// The first wait after a failure, doubled with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// The longest wait after a failure, unless `refresh` is longer.
const LAST_RETRY: Duration = Duration::from_secs(5 * 60);

/// Keeps central grants up to date.
#[derive(Debug)]
pub(super) struct Sync {
    state: Arc<State>,
    clock: Arc<Clock>,
    audit: Audit,
    current: Arc<Current>,
    /// Held by whoever checks a bundle and puts it in force: one at a time, for as long as it takes.
    work: Mutex<()>,
    /// Held for a moment only; whoever holds both took `work` first.
    core: Mutex<Core>,
    /// The configuration changed, or root wants a fetch.
    wake: Notify,
}

#[derive(Debug)]
struct Core {
    config: Arc<Config>,
    /// Counts configurations: what was fetched under an older one is not accepted under this.
    generation: u64,
    held: Option<Held>,
    freshness: Freshness,
    /// Why the last attempt brought nothing.
    failure: Option<Failure>,
    /// What the source called the bytes in force.
    etag: Option<HeaderValue>,
}

/// The bundle in force.
#[derive(Debug, Clone)]
struct Held {
    seq: u64,
    issued_at: Timestamp,
    expires_at: Timestamp,
    /// Grants of it that aim at this host.
    grants: usize,
    /// The line that is kept of it: its head, and who signed that.
    line: String,
    /// Of its bytes as received, so that the same ones are known at once; `None` until the source
    /// has sent them.
    hash: Option<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Failure {
    reason: &'static str,
    detail: String,
}

/// How old the bundle in force is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freshness {
    /// There is none.
    None,
    Fresh,
    Stale,
    /// Central grants do not hold.
    Expired,
}

impl Freshness {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Expired => "expired",
        }
    }
}

impl Held {
    fn freshness(&self, policy: &PolicyConfig, now: Timestamp) -> Freshness {
        let age = age(self.issued_at, now);
        if now >= self.expires_at || age > policy.max_offline {
            Freshness::Expired
        } else if age > policy.lease {
            Freshness::Stale
        } else {
            Freshness::Fresh
        }
    }
}

/// How one attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// The source answered, for better or worse: it will be asked again in its time.
    Answered,
    /// It did not.
    Failed,
}

impl Sync {
    /// Nothing in force yet; see [`Sync::load`].
    pub(super) fn new(
        config: Arc<Config>,
        state: Arc<State>,
        clock: Arc<Clock>,
        audit: Audit,
        current: Arc<Current>,
    ) -> Self {
        let core = Core {
            config,
            generation: 0,
            held: None,
            freshness: Freshness::None,
            failure: None,
            etag: None,
        };
        Self {
            state,
            clock,
            audit,
            current,
            work: Mutex::new(()),
            core: Mutex::new(core),
            wake: Notify::new(),
        }
    }

    /// Puts the bundle on disk in force, if it still passes every check; `done` is called when
    /// that is known. Blocks.
    pub(super) fn load(&self, done: impl FnOnce()) {
        let _work = lock(&self.work);
        self.restore(done);
    }

    /// Takes a new configuration. If anything changed that the bundle in force was checked or
    /// indexed by, it is checked again from disk, and what does not pass holds no longer. Blocks.
    pub(super) fn apply_config(&self, config: Arc<Config>) {
        let _work = lock(&self.work);
        {
            let mut core = lock(&self.core);
            let same = core.config.policy == config.policy
                && core.config.agent.host == config.agent.host
                && core.config.agent.labels == config.agent.labels;
            core.config = config;
            if same {
                return;
            }
            core.generation += 1;
            core.failure = None;
        }
        self.restore(|| ());
        self.wake.notify_one();
    }

    /// Asks the source now.
    pub(super) async fn refresh(self: Arc<Self>) {
        self.attempt().await;
    }

    /// The state of the central policy, if there is one.
    pub(super) fn report(&self, now: &Now) -> Option<PolicyReport> {
        let core = lock(&self.core);
        let policy = core.config.policy.as_ref()?;
        let held = core.held.as_ref();
        let now = now.trusted();
        let freshness = held.map_or(Freshness::None, |held| held.freshness(policy, now));
        Some(PolicyReport {
            realm: policy.realm.clone(),
            url: policy.url.to_string(),
            state: freshness.as_str().to_owned(),
            seq: held.map(|held| held.seq),
            age_secs: held.map(|held| age(held.issued_at, now).as_secs()),
            grants: held.map_or(0, |held| u64::try_from(held.grants).unwrap_or(u64::MAX)),
            last_error: core.failure.as_ref().map(|failure| failure.detail.clone()),
        })
    }

    /// Forgets the highest sequence number ever accepted, so that a lower one counts again. What
    /// is in force stays until the source brings its like. Blocks.
    pub(super) fn reset_floor(&self, by: &str) -> Result<(), String> {
        let _work = lock(&self.work);
        let policy = lock(&self.core).config.policy.clone();
        let policy = policy.ok_or("agent.toml has no [policy]: there is no floor")?;
        // Damaged floors are mended by this too.
        let mut floors = Floors::read(&self.state).unwrap_or_default();
        let was = floors.reset(&policy.realm);
        floors.write(&self.state)?;
        let event = Event::new(Kind::Policy, "floor_reset")
            .with("realm", &policy.realm)
            .maybe("seq", was)
            .with("by", by);
        self.audit.note(event);
        self.wake.notify_one();
        Ok(())
    }

    /// Notices what the passing of time does to the bundle in force.
    pub(super) fn tick(&self, now: &Now) {
        self.notice_age(now.trusted());
    }

    /// Asks the source again and again, for as long as it is polled.
    pub(super) async fn run(self: Arc<Self>) {
        let mut failures = 0;
        loop {
            let attempt = tokio::select! {
                attempt = self.attempt() => attempt,
                // What is on its way was asked for under an older configuration.
                () = self.wake.notified() => continue,
            };
            failures = if attempt == Attempt::Failed {
                failures + 1
            } else {
                0
            };
            let refresh = lock(&self.core)
                .config
                .policy
                .as_ref()
                .map(|policy| policy.refresh);
            let woken = self.wake.notified();
            match refresh {
                Some(refresh) => {
                    let _ = tokio::time::timeout(wait(refresh, failures, random()), woken).await;
                }
                None => woken.await,
            }
        }
    }

    async fn attempt(self: &Arc<Self>) -> Attempt {
        let (config, generation, etag) = {
            let core = lock(&self.core);
            (Arc::clone(&core.config), core.generation, core.etag.clone())
        };
        let Some(policy) = &config.policy else {
            return Attempt::Answered;
        };
        let fetched = fetch(policy, etag).await;
        let sync = Arc::clone(self);
        // Checking 100,000 grants takes long enough to keep others waiting.
        let taken = tokio::task::spawn_blocking(move || sync.take(fetched, generation)).await;
        taken.unwrap_or(Attempt::Answered)
    }

    fn take(&self, fetched: Result<Fetched, FetchError>, generation: u64) -> Attempt {
        let _work = lock(&self.work);
        if lock(&self.core).generation != generation {
            return Attempt::Answered;
        }
        let taken = match fetched {
            Ok(Fetched::Unchanged) => Ok(()),
            Ok(Fetched::Bytes { bytes, etag }) => {
                let taken = self.accept(&bytes, etag);
                drop(bytes);
                give_back_memory();
                taken
            }
            Err(error) => {
                self.try_disk_again();
                self.fail(Failure {
                    reason: error.reason(),
                    detail: error.to_string(),
                });
                return Attempt::Failed;
            }
        };
        match taken {
            Ok(()) => lock(&self.core).failure = None,
            Err(failure) => self.fail(failure),
        }
        Attempt::Answered
    }

    /// Checks bytes from the source; if they are new and good, puts them on disk and in force.
    fn accept(&self, bytes: &[u8], etag: Option<HeaderValue>) -> Result<(), Failure> {
        let hash = Some(digest(&SHA256, bytes).as_ref().to_vec());
        let config = {
            let mut core = lock(&self.core);
            if core.held.as_ref().is_some_and(|held| held.hash == hash) {
                core.etag = etag;
                return Ok(());
            }
            Arc::clone(&core.config)
        };
        let Some(policy) = &config.policy else {
            return Ok(());
        };
        let mut floors = Floors::read(&self.state).map_err(in_state)?;
        let bundle = Bundle::read(bytes).map_err(rejected)?;
        let bundle = self.verify(bundle, &config, policy, &floors)?;
        let (line, text) = bundle.to_keep();
        let known = |held: &&mut Held| held.line == line;
        if let Some(held) = lock(&self.core).held.as_mut().filter(known) {
            held.hash = hash;
        } else {
            let opened = bundle.open().map_err(rejected)?;
            self.clock
                .signed(opened.head.issued_at)
                .map_err(|e| Failure {
                    reason: "clock",
                    detail: e.to_string(),
                })?;
            // The bundle first: should the floor not get written, the old one still admits both.
            let kept = [line.as_bytes(), text.as_bytes()];
            self.state.write_pieces(BUNDLE, &kept).map_err(in_state)?;
            floors.raise(&opened.head);
            floors.write(&self.state).map_err(in_state)?;
            self.put_in_force(&config, policy, opened, line, hash);
        }
        lock(&self.core).etag = etag;
        Ok(())
    }

    /// Puts the bundle on disk in force if it passes, else nothing; `done` is called before what
    /// nobody needs to wait for. The caller holds `work`.
    fn restore(&self, done: impl FnOnce()) {
        let config = Arc::clone(&lock(&self.core).config);
        let policy = config.policy.as_ref();
        let kept = policy.map(|policy| (policy, self.state.read(BUNDLE)));
        let restored = match &kept {
            Some((policy, Ok(Some(kept)))) => self
                .put_in_force_from_disk(&config, policy, kept)
                .map_err(Some),
            Some((_, Err(error))) => Err(Some(in_state(error))),
            _ => Err(None),
        };
        if let Err(failure) = restored {
            self.drop_central();
            failure.into_iter().for_each(|failure| self.fail(failure));
        }
        done();
        drop(kept);
        give_back_memory();
    }

    /// With nothing in force and no source, the bundle on disk may be good now although it was not
    /// at the start: because the clock was wrong then, say.
    fn try_disk_again(&self) {
        let config = Arc::clone(&lock(&self.core).config);
        let Some(policy) = &config.policy else { return };
        if lock(&self.core).held.is_none()
            && let Ok(Some(kept)) = self.state.read(BUNDLE)
        {
            // Why it did not pass was said when it was tried first.
            let _ = self.put_in_force_from_disk(&config, policy, &kept);
        }
    }

    fn put_in_force_from_disk(
        &self,
        config: &Config,
        policy: &PolicyConfig,
        kept: &[u8],
    ) -> Result<(), Failure> {
        let mut floors = Floors::read(&self.state).map_err(in_state)?;
        let bundle = Bundle::restore(kept).map_err(rejected)?;
        let bundle = self.verify(bundle, config, policy, &floors)?;
        let (line, _) = bundle.to_keep();
        let opened = bundle.open().map_err(rejected)?;
        // It is above the floor if the agent was killed between writing the two.
        if floors.raise_from_disk(&opened.head) {
            floors.write(&self.state).map_err(in_state)?;
        }
        self.put_in_force(config, policy, opened, line, None);
        Ok(())
    }

    fn verify<'a>(
        &self,
        bundle: Bundle<'a>,
        config: &Config,
        policy: &PolicyConfig,
        floors: &Floors,
    ) -> Result<Verified<'a>, Failure> {
        let host = &config.agent.host;
        let trust = Trust {
            keys: &policy.trusted_keys,
            realm: &policy.realm,
            host,
            floor: &floors.of(&policy.realm, host),
            now: self.clock.now().trusted(),
        };
        bundle.verify(&trust).map_err(rejected)
    }

    fn drop_central(&self) {
        self.current.set_central(None);
        let mut core = lock(&self.core);
        core.held = None;
        core.freshness = Freshness::None;
        core.etag = None;
    }

    fn put_in_force(
        &self,
        config: &Config,
        policy: &PolicyConfig,
        opened: Opened,
        line: String,
        hash: Option<Vec<u8>>,
    ) {
        let Opened { head, parsed } = opened;
        let dropped = parsed.faults.len();
        let index = Index::build(Origin::Central, parsed.grants, &host_facts(config));
        let grants = index.len();
        let central = Central {
            index: Arc::new(index),
            issued_at: head.issued_at,
            max_offline: holds_for(&head, policy),
        };
        {
            let mut core = lock(&self.core);
            core.held = Some(Held {
                seq: head.seq,
                issued_at: head.issued_at,
                expires_at: head.expires_at,
                grants,
                line,
                hash,
            });
            core.freshness = Freshness::Fresh;
            core.failure = None;
            core.etag = None;
        }
        self.current.set_central(Some((head.seq, central)));
        let now = self.clock.now().trusted();
        let event = Event::new(Kind::Policy, "applied")
            .with("realm", &head.realm)
            .with("seq", head.seq)
            .with("issued_at", head.issued_at)
            .with(
                "age",
                format_args!("{}s", age(head.issued_at, now).as_secs()),
            )
            .with("grants", grants)
            .with("dropped", dropped);
        self.audit.note(event);
        let complaints = parsed.faults.into_iter().map(|fault| Complaint {
            reason: "invalid",
            source: "central".to_owned(),
            line: None,
            id: fault.id.map(|id| super::full_id(Origin::Central, &id)),
            detail: fault.message,
        });
        say(&self.audit, complaints.collect());
        self.notice_age(now);
    }

    fn notice_age(&self, now: Timestamp) {
        let event = {
            let mut core = lock(&self.core);
            let (Some(policy), Some(held)) = (&core.config.policy, &core.held) else {
                return;
            };
            let freshness = held.freshness(policy, now);
            if freshness == core.freshness {
                return;
            }
            let event = Event::new(Kind::Policy, freshness.as_str())
                .with("realm", &policy.realm)
                .with("seq", held.seq)
                .with(
                    "age",
                    format_args!("{}s", age(held.issued_at, now).as_secs()),
                )
                .maybe(
                    "detail",
                    core.failure.as_ref().map(|failure| &failure.detail),
                );
            core.freshness = freshness;
            event
        };
        self.audit.note(event);
    }

    /// Remembers a failure, and records it when its kind is new: a source that is down for a day
    /// is one line, not a thousand.
    fn fail(&self, failure: Failure) {
        let event = {
            let mut core = lock(&self.core);
            let known = core
                .failure
                .as_ref()
                .is_some_and(|f| f.reason == failure.reason);
            let realm = core.config.policy.as_ref().map(|policy| &policy.realm);
            let event = Event::new(Kind::Policy, "rejected")
                .with("reason", failure.reason)
                .maybe("realm", realm)
                .with("detail", &failure.detail);
            core.failure = Some(failure);
            (!known).then_some(event)
        };
        if let Some(event) = event {
            self.audit.note(event);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn rejected(why: Rejected) -> Failure {
    Failure {
        reason: why.as_str(),
        detail: why.to_string(),
    }
}

pub(super) fn host_facts(config: &Config) -> HostFacts {
    HostFacts {
        name: config.agent.host.clone(),
        labels: config.agent.labels.clone(),
    }
}

/// For how many seconds after `issued_at` the grants hold: `max_offline`, or less if the bundle
/// itself ends sooner.
fn holds_for(head: &Head, policy: &PolicyConfig) -> u32 {
    // One less, because the end of a bundle is exclusive and max_offline is inclusive.
    let lifetime = head
        .expires_at
        .duration_since(head.issued_at)
        .as_secs()
        .saturating_sub(1);
    let lifetime = u64::try_from(lifetime).unwrap_or(0);
    u32::try_from(lifetime.min(policy.max_offline.as_secs())).unwrap_or(u32::MAX)
}

/// A bundle from the future (by at most what was accepted) has no age.
pub(super) fn age(issued_at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(issued_at)).unwrap_or(Duration::ZERO)
}

fn in_state(e: impl std::fmt::Display) -> Failure {
    Failure {
        reason: "state",
        detail: e.to_string(),
    }
}

/// How long to wait before asking again, after so many failures in a row. `random` is in 0..=1:
/// hosts that were started, or cut off, together must not come back together.
fn wait(refresh: Duration, failures: u32, random: f64) -> Duration {
    if failures == 0 {
        // Never longer than `refresh`: within that time a change is promised to be in force.
        return refresh.mul_f64(0.8 + 0.2 * random);
    }
    let doubled = FIRST_RETRY
        .min(refresh)
        .saturating_mul(1 << (failures - 1).min(16));
    doubled
        .min(LAST_RETRY.max(refresh))
        .mul_f64(0.5 + 0.5 * random)
}

/// Nobody gains by guessing this, so it need not wake the cryptographic library's generator.
fn random() -> f64 {
    let [byte, ..] = RandomState::new().hash_one(()).to_le_bytes();
    f64::from(byte) / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_source_is_asked_within_refresh_and_not_by_all_at_once() {
        assert_eq!(wait(MINUTE, 0, 1.0), MINUTE);
        assert_eq!(wait(MINUTE, 0, 0.0), MINUTE.mul_f64(0.8));
    }

    #[test]
    fn after_failures_it_is_asked_ever_later_up_to_some_minutes() {
        let waits: Vec<_> = (1..9).map(|n| wait(MINUTE, n, 1.0).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(wait(MINUTE, u32::MAX, 0.0), LAST_RETRY / 2);
        let day = Duration::from_secs(86_400);
        assert_eq!(wait(day, 1, 1.0), FIRST_RETRY);
        assert_eq!(wait(day, 30, 1.0), day);
        let second = Duration::from_secs(1);
        assert_eq!(wait(second, 1, 1.0), second);
    }

    #[test]
    fn a_bundle_holds_no_longer_than_it_says() {
        let issued_at = Timestamp::from_second(1_000_000).unwrap();
        let policy = crate::config::PolicyConfig {
            realm: String::new(),
            url: crate::config::SourceUrl::File("/".into()),
            trusted_keys: Vec::new(),
            ca_file: None,
            refresh: MINUTE,
            lease: MINUTE,
            max_offline: MINUTE,
        };
        let holds = |lifetime| {
            let head = Head {
                realm: String::new(),
                host: String::new(),
                seq: 1,
                issued_at,
                expires_at: issued_at + lifetime,
                grants_sha256: String::new(),
            };
            holds_for(&head, &policy)
        };
        assert_eq!(holds(SignedDuration::from_hours(1)), 60);
        assert_eq!(holds(SignedDuration::from_secs(60)), 59);
        assert_eq!(holds(SignedDuration::from_millis(500)), 0);
        assert_eq!(holds(SignedDuration::from_secs(-5)), 0);
    }

    #[test]
    fn a_bundle_from_the_near_future_has_no_age() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let later = now + SignedDuration::from_secs(5);
        assert_eq!(age(later, now), Duration::ZERO);
        assert_eq!(age(now, later), Duration::from_secs(5));
    }
}
