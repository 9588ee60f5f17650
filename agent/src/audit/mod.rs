//! Every decision leaves a record: one line to syslog, one to the hash-chained journal.
//!
//! The order of the chain is fixed under one short lock; the journal is written by a thread of its
//! own that takes whatever has gathered (one write, one flush for all who wait). A record that
//! somebody waits for goes to syslog once it is on disk and before the wait ends, so that syslog
//! never tells of an allow that was not given because the disk was full. Every other line goes to
//! syslog at once.

pub mod event;
mod fold;
mod id;
pub mod journal;
pub mod syslog;
#[cfg(test)]
mod tests;

pub use event::{Event, Kind};
pub use jit_journal::Limits;

use crate::audit::fold::{Fold, Folded, Folds};
use crate::audit::journal::{Promise, Queue, Writer};
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
    /// starts its writer. A journal or a syslog daemon that cannot be used does not keep the agent
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
        let mut writer = Writer::new(Arc::clone(&shared), places.journal, places.limits);
        writer.open();
        let writer = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run())
            .map_err(|e| AuditError(format!("cannot start the journal's thread: {e}")))?;
        let handle = Handle {
            shared,
            writer: Mutex::new(Some(writer)),
        };
        Ok(Self {
            handle: Arc::new(handle),
        })
    }

    /// Records an event. With `wait` and `durable`, resolves when the journal's copy is on disk
    /// (group commit); otherwise as soon as the line is with syslog and queued for the journal.
    /// Dropping the future does not undo the record.
    ///
    /// # Errors
    ///
    /// With `wait` and `durable`: the journal could not be written, and nothing is on record. Never
    /// because of syslog.
    pub async fn record(&self, event: Event, wait: bool) -> Result<Receipt, AuditError> {
        let shared = &self.handle.shared;
        if !(wait && shared.settings.load().durable) {
            return Ok(Receipt {
                id: shared.note(&event),
            });
        }
        let id = id::new(Timestamp::now().as_millisecond());
        let on_disk = shared.submit_and_promise(&event, &id)?;
        match on_disk.await {
            Ok(done) => done.map(|()| Receipt { id }),
            Err(_) => Err(AuditError(
                "the journal's writer has stopped; restart jit-agentd".to_owned(),
            )),
        }
    }

    /// Records an event from code that waits for nothing. May take some 50 ms, once, when the syslog
    /// daemon stops reading.
    pub fn note(&self, event: Event) {
        self.handle.shared.note(&event);
    }

    /// Takes new settings; they hold from the next event on.
    pub fn reconfigure(&self, settings: AuditSettings) {
        self.handle.shared.settings.store(Arc::new(settings));
    }

    /// Writes what is queued or folded to disk and stops the writer; blocks until it has. Later
    /// events reach syslog only.
    pub fn close(&self) {
        self.handle.close();
    }
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Handle {
    fn close(&self) {
        self.shared.flush_folds(true);
        self.shared.queue.close();
        if let Some(writer) = lock(&self.writer).take() {
            // A writer that panicked has nothing left to say; its waiters were told.
            let _ = writer.join();
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
    /// Records an event unless it is one denial too many; gives the id of its record.
    fn note(&self, event: &Event) -> String {
        let id = id::new(Timestamp::now().as_millisecond());
        if Folds::concerns(event) {
            let (fold, due) = lock(&self.folds).take(event, &id, Instant::now());
            if let Some(Folded { id, event }) = due {
                self.submit(&event, &id);
            }
            if let Fold::Into(id) = fold {
                self.queue.wake();
                return id;
            }
        }
        self.submit(event, &id);
        id
    }

    /// Chains an event, sends it to syslog and queues it for the journal.
    fn submit(&self, event: &Event, id: &str) {
        let (line, text) = self.render(event, id);
        let chain = self.queue.push(line, None).ok();
        self.to_syslog(Weight::of(event), &text.finish(chain));
        self.queue.wake();
    }

    /// Chains an event and queues it for the journal; syslog gets it when it is on disk.
    fn submit_and_promise(
        &self,
        event: &Event,
        id: &str,
    ) -> Result<oneshot::Receiver<Result<(), AuditError>>, AuditError> {
        let (line, text) = self.render(event, id);
        let (done, on_disk) = oneshot::channel();
        let promise = Promise {
            done,
            weight: Weight::of(event),
            text,
        };
        self.queue.push(line, Some(promise)).map_err(AuditError)?;
        self.queue.wake();
        Ok(on_disk)
    }

    /// Both forms of a record, but for what the chain adds.
    fn render(&self, event: &Event, id: &str) -> (String, Text) {
        let settings = self.settings.load();
        let host = (!event.has("host")).then_some(("host", Some(settings.host.as_str())));
        let pairs = || event.pairs().chain(host).chain([("id", Some(id))]);
        let mut line = String::with_capacity(1024);
        line.push('{');
        push_pairs_json(
            &mut line,
            [("time", Some(format!("{:.3}", Timestamp::now()).as_str()))],
        );
        line.push(',');
        push_pairs_json(&mut line, pairs());
        (line, Text::of(settings.format, pairs()))
    }

    /// Sends a line to syslog. That syslog takes nothing goes on record in the journal, once; that it
    /// takes lines again, with how many it missed, in both.
    fn to_syslog(&self, weight: Weight, text: &str) {
        let sent = lock(&self.syslog).send(weight, text);
        match sent {
            Sent::Yes | Sent::StillNo => {}
            Sent::Again { dropped } => self.submit(
                &Event::new(Kind::Agent, "recovered")
                    .with("reason", "syslog")
                    .with("dropped", dropped),
                &id::new(Timestamp::now().as_millisecond()),
            ),
            Sent::No(detail) => {
                let event = Event::new(Kind::Agent, "failed")
                    .with("reason", "syslog")
                    .with("detail", detail);
                let (line, _) = self.render(&event, &id::new(Timestamp::now().as_millisecond()));
                // If the journal does not take it either, both outages are told when they end.
                let _ = self.queue.push(line, None);
                self.queue.wake();
            }
        }
    }

    /// Says something to syslog that the journal cannot take.
    fn say(&self, event: &Event) {
        let (_, text) = self.render(event, &id::new(Timestamp::now().as_millisecond()));
        self.to_syslog(Weight::of(event), &text.finish(None));
    }

    /// Writes the folded records that are due, or all of them.
    fn flush_folds(&self, all: bool) {
        let due = lock(&self.folds).due(Instant::now(), all);
        for Folded { id, event } in due {
            self.submit(&event, &id);
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
