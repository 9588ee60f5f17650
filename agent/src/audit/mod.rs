//! Every decision leaves a record: one line to syslog, one to the hash-chained journal.
//!
//! Events are queued, which fixes their order, and recorded by a thread of its own that takes whatever
//! has gathered: it chains them, writes them to the journal (one write, one flush for all who wait),
//! tells those who wait, and then sends them to syslog. So an answer waits for the disk if it must,
//! and for nothing else.

pub mod event;
mod fold;
mod id;
mod recorder;
pub mod syslog;
#[cfg(test)]
mod tests;

pub use event::{Event, Kind};
pub use jit_journal::Limits;

use crate::audit::fold::{Fold, Folded, Folds};
use crate::audit::recorder::{Entry, Queue, Recorder, To};
use crate::audit::syslog::{DEV_LOG, Sent, Syslog, Weight};
use arc_swap::ArcSwap;
use jiff::Timestamp;
use jit_journal::{Hash, Pair, push_logfmt, push_pairs_json};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::oneshot;

/// How a syslog line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `key=value` pairs.
    #[default]
    Logfmt,
    /// One JSON object.
    Json,
}

/// What the configuration says about the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// How syslog lines are written.
    pub format: Format,
    /// Whether a record that is waited for must be on disk.
    pub durable: bool,
    /// This host's name, added to events that do not carry one.
    pub host: String,
}

/// Where records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The journal's folder.
    pub journal: PathBuf,
    /// The syslog daemon's datagram socket.
    pub syslog: PathBuf,
    /// How large the journal may grow.
    pub limits: Limits,
}

impl Places {
    /// The usual places, given the agent's state folder.
    #[must_use]
    pub fn under(state: &Path) -> Self {
        Self {
            journal: state.join("audit"),
            syslog: PathBuf::from(DEV_LOG),
            limits: Limits::default(),
        }
    }
}

/// Takes events to syslog and to the journal. Cheap to clone. When the last clone goes, what is
/// queued is written first.
#[derive(Debug, Clone)]
pub struct Audit {
    handle: Arc<Handle>,
}

/// An event is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The record's id, as in the line. Of a denial that was folded, the id of the record that counts
    /// it.
    pub id: String,
}

/// The record could not be made.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct AuditError(pub String);

impl Audit {
    /// Opens the journal, repairs its end if a power cut tore it (and says so in a record), and
    /// starts the recorder. A journal or a syslog daemon that cannot be used does not keep the agent
    /// from starting: both are tried again, and until the journal can be written no record that must
    /// be on disk is made.
    ///
    /// # Errors
    ///
    /// No thread could be started.
    pub fn start(places: Places, settings: AuditSettings) -> Result<Self, AuditError> {
        let shared = Arc::new(Shared {
            settings: ArcSwap::from_pointee(settings),
            queue: Queue::default(),
            syslog: Mutex::new(Syslog::new(places.syslog)),
            folds: Mutex::default(),
        });
        let mut recorder = Recorder::new(Arc::clone(&shared), places.journal, places.limits);
        recorder.open();
        let recorder = std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || recorder.run())
            .map_err(|e| AuditError(format!("cannot start the recorder's thread: {e}")))?;
        let handle = Handle {
            shared,
            recorder: Mutex::new(Some(recorder)),
        };
        Ok(Self {
            handle: Arc::new(handle),
        })
    }

    /// Records an event. With `durable`, resolves when the journal's copy is on disk (group commit),
    /// otherwise at once. Dropping the future does not undo the record.
    ///
    /// # Errors
    ///
    /// With `durable`: the journal could not be written, and nothing is on record. Never because of
    /// syslog.
    pub async fn record(&self, event: Event) -> Result<Receipt, AuditError> {
        let shared = &self.handle.shared;
        if !shared.settings.load().durable {
            let receipt = self.enter(event);
            self.call();
            return Ok(receipt);
        }
        let (done, on_disk) = oneshot::channel();
        let entry = Shared::entry(event, To::Waiting(done));
        let id = entry.id.clone();
        if let Err((_, why)) = shared.queue.push(entry) {
            return Err(AuditError(why.to_owned()));
        }
        shared.queue.call();
        match on_disk.await {
            Ok(done) => done.map(|()| Receipt { id }),
            Err(_) => Err(AuditError(
                "the recorder has stopped; restart jit-agentd".to_owned(),
            )),
        }
    }

    /// Puts an event on record that nobody waits for, and whose recording nobody shall wait for: it
    /// is in its place among the others, and is written when the recorder is next called
    /// ([`Audit::call`]), by somebody who has given the answer that the event is about.
    #[must_use]
    pub fn enter(&self, event: Event) -> Receipt {
        Receipt {
            id: self.handle.shared.enter(event),
        }
    }

    /// Has what was entered written.
    pub fn call(&self) {
        self.handle.shared.queue.call();
    }

    /// Records an event from code that waits for nothing.
    pub fn note(&self, event: Event) {
        self.handle.shared.note(event);
    }

    /// Takes new settings; they hold for whatever is not recorded yet.
    pub fn reconfigure(&self, settings: AuditSettings) {
        self.handle.shared.settings.store(Arc::new(settings));
    }

    /// Writes what is queued or folded to disk and stops the recorder; blocks until it has. Later
    /// events reach syslog only.
    pub fn close(&self) {
        self.handle.close();
    }
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    recorder: Mutex<Option<JoinHandle<()>>>,
}

impl Handle {
    fn close(&self) {
        self.shared.flush_folds(true);
        self.shared.queue.close();
        if let Some(recorder) = lock(&self.recorder).take() {
            // A recorder that panicked has nothing left to say; its waiters were told.
            let _ = recorder.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

/// What callers and the writer's thread share.
#[derive(Debug)]
struct Shared {
    settings: ArcSwap<AuditSettings>,
    queue: Queue,
    syslog: Mutex<Syslog>,
    folds: Mutex<Folds>,
}

impl Shared {
    /// An event of this moment.
    fn entry(event: Event, to: To) -> Entry {
        let at = Timestamp::now();
        let id = id::new(at.as_millisecond());
        Entry { id, at, event, to }
    }

    /// Queues an event unless it is one denial too many; gives the id of its record.
    fn enter(&self, event: Event) -> String {
        let entry = Self::entry(event, To::Everyone);
        let id = entry.id.clone();
        if Folds::concerns(&entry.event) {
            let (fold, due) = lock(&self.folds).take(&entry.event, &id, Instant::now());
            if let Some(folded) = due {
                self.queue(folded.into());
            }
            if let Fold::Into(id) = fold {
                self.queue.call_for_folds();
                return id;
            }
        }
        self.queue(entry);
        id
    }

    /// Queues an event and calls the recorder.
    fn note(&self, event: Event) {
        self.enter(event);
        self.queue.call();
    }

    /// Queues an event; if the recorder takes none, syslog gets it here and now.
    fn queue(&self, entry: Entry) {
        if let Err((entry, _)) = self.queue.push(entry) {
            self.say(&entry);
        }
    }

    /// Both forms of a record, but for its own hash.
    fn render(&self, entry: &Entry, head: Hash) -> (String, Text) {
        let settings = self.settings.load();
        let event = &entry.event;
        let host = (!event.has("host")).then_some(("host", Some(settings.host.as_str())));
        let id = ("id", Some(entry.id.as_str()));
        let pairs = || event.pairs().chain(host).chain([id]);
        let time = format!("{:.3}", entry.at);
        let head = head.to_string();
        let mut line = String::with_capacity(1024);
        line.push('{');
        push_pairs_json(&mut line, [("time", Some(time.as_str()))]);
        line.push(',');
        push_pairs_json(&mut line, pairs().chain([("prev", Some(head.as_str()))]));
        line.push('}');
        (line, Text::of(settings.format, pairs()))
    }

    /// Sends a line to syslog. That syslog takes nothing goes on record in the journal, once; that it
    /// takes lines again, with how many it missed, in both.
    fn to_syslog(&self, weight: Weight, text: &str) {
        let sent = lock(&self.syslog).send(weight, text);
        let entry = match sent {
            Sent::Yes | Sent::StillNo => return,
            Sent::Again { dropped } => Self::entry(
                Event::new(Kind::Agent, "recovered")
                    .with("reason", "syslog")
                    .with("dropped", dropped),
                To::Everyone,
            ),
            Sent::No(detail) => Self::entry(
                Event::new(Kind::Agent, "failed")
                    .with("reason", "syslog")
                    .with("detail", detail),
                To::Journal,
            ),
        };
        // If the journal does not take it either, both outages are told when they end.
        let _ = self.queue.push(entry);
        self.queue.call();
    }

    /// Says something to syslog that the journal cannot take.
    fn say(&self, entry: &Entry) {
        if let To::Everyone = entry.to {
            let (_, text) = self.render(entry, Hash::GENESIS);
            self.to_syslog(Weight::of(&entry.event), &text.finish(None));
        }
    }

    /// Queues the folded records that are due, or all of them.
    fn flush_folds(&self, all: bool) {
        let due = lock(&self.folds).due(Instant::now(), all);
        for folded in due {
            self.queue(folded.into());
        }
        self.queue.call();
    }
}

impl From<Folded> for Entry {
    fn from(Folded { id, event }: Folded) -> Self {
        Self {
            id,
            at: Timestamp::now(),
            event,
            to: To::Everyone,
        }
    }
}

/// A syslog line that waits for its `chain`.
#[derive(Debug)]
struct Text {
    format: Format,
    text: String,
}

impl Text {
    fn of<'a>(format: Format, pairs: impl Iterator<Item = Pair<'a>>) -> Self {
        let mut text = String::with_capacity(640);
        match format {
            Format::Logfmt => push_logfmt(&mut text, pairs),
            Format::Json => {
                text.push('{');
                push_pairs_json(&mut text, pairs);
            }
        }
        Self { format, text }
    }

    fn finish(self, hash: Option<Hash>) -> String {
        let Self { format, mut text } = self;
        let chain = hash.map(|hash| hash.chain());
        let last = [("chain", chain.as_deref())];
        match format {
            Format::Logfmt => {
                text.push(' ');
                push_logfmt(&mut text, last);
            }
            Format::Json => {
                text.push(',');
                push_pairs_json(&mut text, last);
                text.push('}');
            }
        }
        text
    }
}

/// A panic while the lock was held leaves nothing half-done that matters more than going on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
