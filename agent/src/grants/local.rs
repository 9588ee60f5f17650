//! Local grants: the administrator's files and those that `jit grant add` minted.
//!
//! Both make up one namespace. Whatever is wrong with a file or a grant costs that file or that
//! grant and nothing else: grants only add power, so leaving one out can only deny.

use super::current::Current;
use super::mint::{self, MintError};
use super::sync::host_facts;
use super::{Complaint, Complaints};
use crate::audit::{Audit, Event, Kind};
use crate::clock::Now;
use crate::config::Config;
use crate::ffi::give_back_memory;
use crate::state::{State, StateError};
use crate::trusted_file::{Fingerprint, Look, STILL, Sighting, TrustedFileFault, TrustedFolder};
use jiff::{SignedDuration, Timestamp};
use jit_policy::grant::{parse_toml, repeated_ids, to_toml};
use jit_policy::{Grant, Index, Origin};
use jit_protocol::message::GrantSpec;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The longest grants file that is read, in bytes.
const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// A file that somebody keeps writing counts as it was for so long, then not at all.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where minted grants lie in the state.
const MINTED: &str = "grants.d";

/// Minted grants are kept for so long after their end, to be looked at.
const KEEP_ENDED: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The local grants.
#[derive(Debug)]
pub(super) struct Local {
    admin: PathBuf,
    state: Arc<State>,
    audit: Audit,
    current: Arc<Current>,
    files: Mutex<Files>,
}

#[derive(Debug)]
struct Files {
    config: Arc<Config>,
    known: BTreeMap<File, Known>,
    /// Whether `known` was ever filled.
    scanned: bool,
    complaints: Complaints,
}

/// One file with grants in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum File {
    /// By its name in the administrator's folder.
    Admin(String),
    /// By the id of its only grant.
    Minted(String),
}

/// What a file held when it was read last.
#[derive(Debug, Default)]
struct Known {
    /// Every id that it claims, also of grants that are not in force.
    ids: Vec<Box<str>>,
    fingerprint: Option<Fingerprint>,
    /// Since when it changes too quickly to be read.
    restless: Option<(Sighting, Instant)>,
}

/// Something that an administrator asked of the local grants was not done.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// They do not count here.
    #[error(
        "local grants do not count on this host: agent.local_grants is false; ask for a central grant, or set it to true in agent.toml"
    )]
    Off,
    /// The grant cannot be made.
    #[error(transparent)]
    Mint(#[from] MintError),
    /// There is a grant of this id.
    #[error("there is a local grant {0} already; choose another id, or revoke it first")]
    Taken(String),
    /// There is none.
    #[error("no local grant {0}; see jit grant list")]
    Unknown(String),
    /// It stands in a file that a person wrote.
    #[error("grant {id} stands in {}; remove it there", .file.display())]
    AdminFile {
        /// Its id.
        id: String,
        /// The file.
        file: PathBuf,
    },
    /// It is central.
    #[error("grant {0} is central; it can be revoked at the policy source only")]
    Central(String),
    /// It is on disk, but a file came between that claims its id.
    #[error("grant {0} is not in force: another file holds its id; see the log")]
    Dropped(String),
    /// The state could not be written.
    #[error("{0}")]
    State(String),
}

impl LocalError {
    /// The stable word for a refusal.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Off => "local_grants_off",
            Self::Mint(_) => "invalid",
            Self::Taken(_) => "taken",
            Self::Unknown(_) => "unknown_grant",
            Self::AdminFile { .. } => "admin_file",
            Self::Central(_) => "central",
            Self::Dropped(_) => "duplicate",
            Self::State(_) => "state",
        }
    }
}

impl Local {
    /// Nothing in force yet; see [`Local::load`].
    pub(super) fn new(
        admin: PathBuf,
        config: Arc<Config>,
        state: Arc<State>,
        audit: Audit,
        current: Arc<Current>,
    ) -> Self {
        let files = Files {
            config,
            known: BTreeMap::new(),
            scanned: false,
            complaints: Complaints::default(),
        };
        Self {
            admin,
            state,
            audit,
            current,
            files: Mutex::new(files),
        }
    }

    /// Reads both folders and puts what is good in force; `done` is called when it is. A file that
    /// is being written is left out for now: [`Local::rescan`] brings it. Blocks.
    pub(super) fn load(&self, done: impl FnOnce()) {
        let mut files = self.files();
        self.scan(&mut files);
        done();
        give_back_memory();
    }

    /// The administrator's folder and the one for minted grants.
    pub(super) fn folders(&self) -> [PathBuf; 2] {
        [self.admin.clone(), self.state.dir().join(MINTED)]
    }

    /// Takes a new configuration. Blocks.
    pub(super) fn apply_config(&self, config: Arc<Config>) {
        let mut files = self.files();
        files.config = config;
        self.scan(&mut files);
    }

    /// Looks whether any file changed and, if so, reads them all again. Says when to come back at
    /// the latest, if somebody is just writing. Blocks.
    pub(super) fn rescan(&self) -> Option<Duration> {
        let mut files = self.files();
        if self.changed(&files) {
            self.scan(&mut files);
            give_back_memory();
        }
        let restless = files.known.values().filter_map(|known| known.restless);
        let waits = restless.map(|(_, since)| {
            // One that was given up is not worth reading everything three times a second.
            if since.elapsed() < PATIENCE {
                STILL
            } else {
                PATIENCE
            }
        });
        waits.min()
    }

    /// Mints a grant: when this returns `Ok`, it is on disk and in force. Blocks.
    pub(super) fn add(&self, spec: &GrantSpec, by: &str, now: &Now) -> Result<String, LocalError> {
        let mut files = self.files();
        if !files.config.agent.local_grants {
            return Err(LocalError::Off);
        }
        if !files.scanned {
            self.scan(&mut files);
        }
        let taken = |id: &str| {
            files
                .known
                .values()
                .any(|k| k.ids.iter().any(|known| **known == *id))
        };
        let grant = mint::grant(spec, now, taken)?;
        if taken(&grant.id) {
            return Err(LocalError::Taken(grant.id.into()));
        }
        let name = minted_name(&grant.id);
        if let Err(error) = self.state.write(&name, to_toml(&grant).as_bytes()) {
            // It may lie there for all that; who is told "no" must not find a yes later.
            let _ = self.state.remove(&name);
            return Err(LocalError::State(error.to_string()));
        }
        self.scan(&mut files);
        let event = Event::new(Kind::Grant, "added")
            .with("grant", super::full_id(Origin::Local, &grant.id))
            .with("by", by)
            .with("services", grant.terms.services.join(","))
            .with("run_as", grant.terms.run_as.join(","))
            .with("until", grant.not_after)
            .maybe("reason", grant.reason.as_deref())
            .maybe("ticket", grant.ticket.as_deref());
        self.audit.note(super::with_who(event, &grant.who));
        Ok(super::full_id(Origin::Local, &grant.id))
    }

    /// Takes a minted grant back: when this returns `Ok`, it is gone from disk and out of force.
    /// Blocks.
    pub(super) fn revoke(&self, id: &str, by: &str) -> Result<(), LocalError> {
        if id.starts_with("central:") {
            return Err(LocalError::Central(id.to_owned()));
        }
        let id = id.strip_prefix("local:").unwrap_or(id);
        let mut files = self.files();
        if !files.scanned {
            self.scan(&mut files);
        }
        // Also while local grants are off: what is revoked then must not come back with them.
        let minted = self
            .state
            .list(MINTED)
            .map_err(|e| LocalError::State(e.to_string()))?;
        if !minted.iter().any(|name| minted_id(name) == Some(id)) {
            let holder = files
                .known
                .iter()
                .find(|(_, k)| k.ids.iter().any(|known| **known == *id));
            return Err(match holder {
                Some((File::Admin(name), _)) => LocalError::AdminFile {
                    id: id.to_owned(),
                    file: self.admin.join(name),
                },
                _ => LocalError::Unknown(jit_policy::printable(id)),
            });
        }
        self.state
            .remove(&minted_name(id))
            .map_err(|e| LocalError::State(e.to_string()))?;
        self.scan(&mut files);
        let event = Event::new(Kind::Grant, "revoked")
            .with("grant", super::full_id(Origin::Local, id))
            .with("by", by);
        self.audit.note(event);
        Ok(())
    }

    /// Removes minted grants that ended long ago. Blocks.
    pub(super) fn sweep(&self, now: Timestamp) {
        let mut files = self.files();
        let Ok(before) = now.checked_sub(KEEP_ENDED) else {
            return;
        };
        let mut complaints = Vec::new();
        let mut swept = false;
        for (id, text) in self.minted(&mut complaints) {
            let ended = parse_toml(&text).is_ok_and(|parsed| {
                parsed.faults.is_empty() && parsed.grants.iter().all(|g| g.not_after < before)
            });
            if ended {
                let removed = self.state.remove(&minted_name(&id));
                complaints.extend(removed.err().map(|e| self.complaint_about(&id, e)));
                swept = true;
            }
        }
        if swept {
            self.scan(&mut files);
        }
        super::say(&self.audit, complaints);
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the files are others than when they were read last.
    fn changed(&self, files: &Files) -> bool {
        if !files.config.agent.local_grants {
            return false;
        }
        let mut found = BTreeMap::new();
        if let Ok(folder) = TrustedFolder::open(&self.admin) {
            for name in folder.names("toml").unwrap_or_default() {
                let fingerprint = folder.fingerprint(&name);
                found.insert(File::Admin(name), fingerprint);
            }
        }
        if let Ok(folder) = TrustedFolder::open(&self.state.dir().join(MINTED)) {
            for name in folder.names("toml").unwrap_or_default() {
                let Some(id) = minted_id(&name) else { continue };
                found.insert(File::Minted(id.to_owned()), folder.fingerprint(&name));
            }
        }
        let same = found.len() == files.known.len()
            && found.iter().all(|(file, fingerprint)| {
                files
                    .known
                    .get(file)
                    .is_some_and(|k| k.restless.is_none() && k.fingerprint == *fingerprint)
            });
        !same
    }

    /// Reads everything and puts what is good in force.
    fn scan(&self, files: &mut Files) {
        let mut found = Found::default();
        if files.config.agent.local_grants {
            self.read_admin(&mut files.known, &mut found);
            self.read_minted(&mut found);
        }
        let Found {
            mut grants,
            known,
            mut complaints,
        } = found;
        drop_repeated(&mut grants, &known, &mut complaints, self);
        self.current.set_local(Index::build(
            Origin::Local,
            grants,
            &host_facts(&files.config),
        ));
        files.known = known;
        files.scanned = true;
        files.complaints.say(&self.audit, complaints);
    }

    fn read_admin(&self, before: &mut BTreeMap<File, Known>, found: &mut Found) {
        let names = TrustedFolder::open(&self.admin).and_then(|f| Ok((f.names("toml")?, f)));
        let (names, folder) = match names {
            Ok(opened) => opened,
            // No folder, no grants: that is no mistake.
            Err(error) if error.fault == TrustedFileFault::Missing => return,
            Err(error) => return found.complaints.push(Complaint::refused(&error)),
        };
        for name in names {
            let path = self.admin.join(&name);
            let file = File::Admin(name.clone());
            let was = before.remove(&file).unwrap_or_default();
            // Before reading: what changes meanwhile is then seen as changed.
            let fingerprint = folder.fingerprint(&name);
            let mut known = Known {
                fingerprint,
                ..Known::default()
            };
            match folder.look(&name, MAX_BYTES, was.restless.map(|(sighting, _)| sighting)) {
                Ok(Look::Whole(bytes)) => found.read(&path, &bytes, &mut known),
                Ok(Look::Restless(sighting)) => {
                    let since = was.restless.map_or_else(Instant::now, |(_, since)| since);
                    known.restless = Some((sighting, since));
                    if since.elapsed() < PATIENCE {
                        found.keep(was.ids, &self.current.local(), &mut known);
                    } else {
                        let error = TrustedFileFault::Restless;
                        found.complaints.push(Complaint::file(&path, error));
                    }
                }
                Err(error) => found.complaints.push(Complaint::refused(&error)),
            }
            found.known.insert(file, known);
        }
    }

    fn read_minted(&self, found: &mut Found) {
        let folder = TrustedFolder::open(&self.state.dir().join(MINTED));
        for (id, text) in self.minted(&mut found.complaints) {
            let path = self.state.dir().join(minted_name(&id));
            let fingerprint = folder
                .as_ref()
                .ok()
                .and_then(|f| f.fingerprint(path.file_name()?.to_str()?));
            let mut known = Known {
                fingerprint,
                ..Known::default()
            };
            let file = File::Minted(id);
            found.read(&path, text.as_bytes(), &mut known);
            found.known.insert(file, known);
        }
    }

    /// The minted files' ids and texts. They were written whole and by rename, so they need not be
    /// still.
    fn minted(&self, complaints: &mut Vec<Complaint>) -> Vec<(String, String)> {
        let names = self.state.list(MINTED).unwrap_or_else(|error| {
            complaints.push(Complaint::file(&self.state.dir().join(MINTED), error));
            Vec::new()
        });
        let mut texts = Vec::with_capacity(names.len());
        for id in names.iter().filter_map(|name| minted_id(name)) {
            match self.state.read(&minted_name(id)) {
                Ok(Some(bytes)) => {
                    texts.push((id.to_owned(), String::from_utf8_lossy(&bytes).into_owned()));
                }
                Ok(None) => {}
                Err(error) => complaints.push(self.complaint_about(id, error)),
            }
        }
        texts
    }

    fn complaint_about(&self, id: &str, error: StateError) -> Complaint {
        Complaint::file(&self.state.dir().join(minted_name(id)), error)
    }

    fn path_of(&self, file: &File) -> PathBuf {
        match file {
            File::Admin(name) => self.admin.join(name),
            File::Minted(id) => self.state.dir().join(minted_name(id)),
        }
    }
}

/// What a scan found so far.
#[derive(Default)]
struct Found {
    grants: Vec<Grant>,
    known: BTreeMap<File, Known>,
    complaints: Vec<Complaint>,
}

impl Found {
    /// Takes the grants out of a file's bytes.
    fn read(&mut self, path: &Path, bytes: &[u8], known: &mut Known) {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(_) => {
                return self
                    .complaints
                    .push(Complaint::file(path, "is not UTF-8 text"));
            }
        };
        let parsed = match parse_toml(text) {
            Ok(parsed) => parsed,
            Err(error) => {
                let line = Some(error.line);
                let complaint = Complaint::file(path, error);
                return self.complaints.push(Complaint {
                    reason: "syntax",
                    line,
                    ..complaint
                });
            }
        };
        // Each once: of an id that is at fault anywhere in the file, no grant is left.
        let faulty: BTreeSet<&str> = parsed
            .faults
            .iter()
            .filter_map(|fault| fault.id.as_deref())
            .collect();
        let ids = parsed.grants.iter().map(|grant| grant.id.clone());
        known.ids = ids.chain(faulty.into_iter().map(Box::from)).collect();
        self.grants.extend(parsed.grants);
        self.complaints
            .extend(parsed.faults.into_iter().map(|fault| Complaint {
                reason: "invalid",
                source: path.display().to_string(),
                line: fault.line,
                id: fault.id.map(|id| super::full_id(Origin::Local, &id)),
                detail: fault.message,
            }));
    }

    /// Takes a file as it was when it was read last.
    fn keep(&mut self, ids: Vec<Box<str>>, in_force: &Index, known: &mut Known) {
        let wanted: HashSet<&str> = ids.iter().map(|id| &**id).collect();
        let kept = in_force
            .grants()
            .iter()
            .filter(|grant| wanted.contains(&*grant.id));
        self.grants.extend(kept.cloned());
        known.ids = ids;
    }
}

/// Drops every holder of an id that several files claim: nobody can say which was meant.
fn drop_repeated(
    grants: &mut Vec<Grant>,
    known: &BTreeMap<File, Known>,
    complaints: &mut Vec<Complaint>,
    local: &Local,
) {
    // Within one file the parser saw to it.
    if known.len() < 2 {
        return;
    }
    let claims = || {
        known
            .iter()
            .flat_map(|(f, k)| k.ids.iter().map(move |id| (f, &**id)))
    };
    let repeated = repeated_ids(claims().map(|(_, id)| id));
    if repeated.is_empty() {
        return;
    }
    let mut holders: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (file, id) in claims().filter(|(_, id)| repeated.contains(*id)) {
        let path = local.path_of(file).display().to_string();
        holders.entry(id).or_default().push(path);
    }
    complaints.extend(holders.into_iter().map(|(id, holders)| {
        Complaint {
            reason: "duplicate",
            source: holders.join(" and "),
            line: None,
            id: Some(super::full_id(Origin::Local, id)),
            detail: "several files hold this id, so none of its grants counts; rename all but one"
                .to_owned(),
        }
    }));
    grants.retain(|grant| !repeated.contains(&*grant.id));
}

fn minted_name(id: &str) -> String {
    format!("{MINTED}/{id}.toml")
}

fn minted_id(name: &str) -> Option<&str> {
    name.strip_suffix(".toml")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{AuditSettings, Format, Limits, Places};

    #[test]
    fn minted_grants_go_a_week_after_their_end() {
        let dir = tempfile::tempdir().unwrap();
        let state = Arc::new(State::open(&dir.path().join("state")).unwrap());
        let now = Timestamp::from_second(2_000_000_000).unwrap();
        for (id, hours) in [("long-ago", -169), ("lately", -167), ("running", 1)] {
            let end = now + SignedDuration::from_hours(hours);
            let text = format!(
                "[[grant]]\nid = \"{id}\"\nuser = \"alice\"\nservices = [\"sudo\"]\nnot_after = {end}\n"
            );
            state.write(&minted_name(id), text.as_bytes()).unwrap();
        }
        // What does not read well is left for a person to look at.
        state.write(&minted_name("broken"), b"[[grant]]\n").unwrap();
        let config = Arc::new(Config {
            agent: crate::config::AgentConfig {
                local_grants: true,
                ..Config::lockdown().agent
            },
            ..Config::lockdown()
        });
        let places = Places {
            journal: dir.path().join("journal"),
            syslog: dir.path().join("no-syslog"),
            limits: Limits::default(),
        };
        let settings = AuditSettings {
            format: Format::Logfmt,
            durable: false,
            host: String::new(),
        };
        let audit = Audit::start(places, settings).unwrap();
        let none = Index::build(Origin::Local, Vec::new(), &host_facts(&config));
        let current = Arc::new(Current::new(none, now));
        let folder = dir.path().join("grants.d");
        let local = Local::new(
            folder,
            config,
            Arc::clone(&state),
            audit,
            Arc::clone(&current),
        );
        local.load(|| ());
        let ids = || {
            let mut ids: Vec<_> = current.snapshot().all().map(|held| held.name()).collect();
            ids.sort();
            ids
        };
        assert_eq!(ids(), ["local:lately", "local:long-ago", "local:running"]);
        local.sweep(now);
        assert_eq!(ids(), ["local:lately", "local:running"]);
        let left = state.list(MINTED).unwrap();
        assert_eq!(left, ["broken.toml", "lately.toml", "running.toml"]);
    }
}
