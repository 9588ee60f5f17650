//! The journal's queue and the thread that writes it.

use super::event::{Event, Kind};
use super::syslog::Weight;
use super::{AuditError, Limits, Shared, Text, lock};
use jit_journal::{Appender, Disturbance, Hash, JournalError};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// What may wait for a disk that does not answer, in bytes. Beyond it, records go to syslog only and
/// nothing that must be on disk is allowed.
const MOST_WAITING: usize = 8 << 20;

/// How often folded records are looked at, and a journal that cannot be opened is tried again.
const BEAT: Duration = Duration::from_millis(250);

/// Somebody waits for a record: tell syslog, then them.
#[derive(Debug)]
pub(super) struct Promise {
    pub(super) done: oneshot::Sender<Result<(), AuditError>>,
    pub(super) weight: Weight,
    pub(super) text: Text,
}

/// Where the order of the chain is fixed.
#[derive(Debug, Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    /// The hash of the last record, on disk or queued; `None` while there is no journal to chain to.
    head: Option<Hash>,
    batch: Batch,
    /// Records that went to syslog only, since the journal last took one.
    lost: u64,
    /// Somebody has something for the writer to do.
    called: bool,
    closed: bool,
}

/// Records to be written together.
#[derive(Debug, Default)]
struct Batch {
    lines: Vec<u8>,
    entries: Vec<(Hash, Option<Promise>)>,
}

impl Queue {
    /// Completes a record with the hash of the one before, and queues it.
    ///
    /// # Errors
    ///
    /// The journal takes no records now; why.
    pub(super) fn push(&self, line: String, promise: Option<Promise>) -> Result<Hash, String> {
        let mut line = line;
        let mut inner = lock(&self.inner);
        let refused = match inner.head {
            _ if inner.closed => Err("the agent is stopping"),
            None => Err("the journal cannot be opened; see the agent's own records in syslog"),
            Some(_) if inner.batch.lines.len() > MOST_WAITING => {
                Err("the journal's disk does not answer")
            }
            Some(head) => Ok(head),
        };
        let head = match refused {
            Ok(head) => head,
            Err(why) => {
                inner.lost += u64::from(promise.is_none());
                return Err(why.to_owned());
            }
        };
        line.push(',');
        jit_journal::push_pairs_json(&mut line, [("prev", Some(head.to_string().as_str()))]);
        line.push('}');
        let hash = Hash::of(line.as_bytes());
        inner.batch.lines.extend_from_slice(line.as_bytes());
        inner.batch.lines.push(b'\n');
        inner.batch.entries.push((hash, promise));
        inner.head = Some(hash);
        Ok(hash)
    }

    /// Calls the writer. Apart from [`Queue::push`], so that the line to syslog goes first.
    pub(super) fn wake(&self) {
        let already = std::mem::replace(&mut lock(&self.inner).called, true);
        if !already {
            self.wake.notify_one();
        }
    }

    pub(super) fn close(&self) {
        lock(&self.inner).closed = true;
        self.wake.notify_one();
    }

    /// Waits to be called, at most for a beat if `restless`. Gives what was queued and whether that
    /// was all there will ever be.
    fn take(&self, restless: bool) -> (Batch, bool) {
        let mut inner = lock(&self.inner);
        while !inner.called && !inner.closed {
            if restless {
                let waited = self.wake.wait_timeout(inner, BEAT);
                inner = waited.unwrap_or_else(PoisonError::into_inner).0;
                break;
            }
            inner = self
                .wake
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
        inner.called = false;
        (std::mem::take(&mut inner.batch), inner.closed)
    }

    /// Begins to chain, after this record.
    fn begin(&self, head: Hash) {
        lock(&self.inner).head = Some(head);
    }

    /// What was queued behind a batch that failed is chained to records that do not exist: it fails
    /// as well, and the chain goes on from the last record on disk.
    fn rewind(&self, failed: &mut Batch, head: Hash) {
        let mut inner = lock(&self.inner);
        let behind = std::mem::take(&mut inner.batch);
        failed.entries.extend(behind.entries);
        inner.lost += failed
            .entries
            .iter()
            .filter(|(_, promise)| promise.is_none())
            .count() as u64;
        inner.head = Some(head);
    }

    fn take_lost(&self) -> u64 {
        std::mem::take(&mut lock(&self.inner).lost)
    }
}

/// The thread that writes.
pub(super) struct Writer {
    shared: Arc<Shared>,
    dir: PathBuf,
    limits: Limits,
    appender: Option<Appender>,
    /// The journal takes no records, and that was said.
    outage: bool,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, dir: PathBuf, limits: Limits) -> Self {
        Self {
            shared,
            dir,
            limits,
            appender: None,
            outage: false,
        }
    }

    /// Opens the journal if it is not open.
    pub(super) fn open(&mut self) {
        if self.appender.is_some() {
            return;
        }
        match Appender::open(&self.dir, self.limits) {
            Ok((appender, torn)) => {
                self.shared.queue.begin(appender.head());
                self.appender = Some(appender);
                if let Some(torn) = torn {
                    self.shared.note(
                        &Event::new(Kind::Agent, "repaired")
                            .with("reason", "torn_line")
                            .with("bytes", torn.bytes),
                    );
                }
                self.over();
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self) {
        loop {
            let restless = self.appender.is_none() || lock(&self.shared.folds).pending();
            let (batch, closed) = self.shared.queue.take(restless);
            self.open();
            self.write(batch);
            if closed {
                break;
            }
            self.shared.flush_folds(false);
        }
        if let Some(Err(error)) = self.appender.as_mut().map(Appender::sync) {
            self.failed(&error);
        }
    }

    fn write(&mut self, mut batch: Batch) {
        let (Some(appender), Some((last, _))) = (self.appender.as_mut(), batch.entries.last())
        else {
            return;
        };
        let durable =
            self.shared.settings.load().durable || batch.entries.iter().any(|(_, p)| p.is_some());
        match appender.append(&batch.lines, *last, durable) {
            Ok(disturbance) => {
                for (hash, promise) in batch.entries {
                    if let Some(Promise { done, weight, text }) = promise {
                        self.shared.to_syslog(weight, &text.finish(Some(hash)));
                        // Nobody listens any more: the record stands all the same.
                        let _ = done.send(Ok(()));
                    }
                }
                self.over();
                if let Some(disturbance) = disturbance {
                    self.disturbed(disturbance);
                }
            }
            Err(error) => {
                self.shared.queue.rewind(&mut batch, appender.head());
                let words = format!("the audit journal cannot be written: {error}");
                for promise in batch.entries.into_iter().filter_map(|(_, promise)| promise) {
                    let _ = promise.done.send(Err(AuditError(words.clone())));
                }
                self.failed(&error);
            }
        }
    }

    /// Says once that the journal takes nothing.
    fn failed(&mut self, error: &JournalError) {
        if !std::mem::replace(&mut self.outage, true) {
            self.shared.say(
                &Event::new(Kind::Agent, "failed")
                    .with("reason", "journal")
                    .with("detail", error),
            );
        }
    }

    /// Says that the journal takes records again, and how many it missed.
    fn over(&mut self) {
        let lost = self.shared.queue.take_lost();
        if std::mem::take(&mut self.outage) || lost > 0 {
            self.shared.note(
                &Event::new(Kind::Agent, "recovered")
                    .with("reason", "journal")
                    .with("lost", lost),
            );
        }
    }

    fn disturbed(&self, disturbance: Disturbance) {
        let reason = match disturbance {
            Disturbance::Removed => "journal_removed",
            Disturbance::Changed => "journal_changed",
        };
        self.shared
            .note(&Event::new(Kind::Agent, "failed").with("reason", reason));
    }
}
