//! What waits to be recorded, and the thread that records it.

use super::event::{Event, Kind};
use super::syslog::Weight;
use super::{AuditError, Limits, Shared, lock};
use jiff::Timestamp;
use jit_journal::{Appender, Disturbance, Hash, JournalError};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// What may wait for a disk that does not answer, in bytes of events. Beyond it, records go to syslog
/// only and nothing that must be on disk is allowed.
const MOST_WAITING: usize = 8 << 20;

/// How often folded records are looked at, and a journal that cannot be opened is tried again.
const BEAT: Duration = Duration::from_millis(250);

/// An event on its way to the records.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) at: Timestamp,
    pub(super) event: Event,
    pub(super) to: To,
}

/// Who hears of a record.
#[derive(Debug)]
pub(super) enum To {
    /// Journal and syslog, or syslog alone while the journal takes nothing.
    Everyone,
    /// The journal alone: syslog is what it is about.
    Journal,
    /// The journal, then whoever waits for it, then syslog; neither if the journal does not take it.
    Waiting(oneshot::Sender<Result<(), AuditError>>),
}

impl Entry {
    /// Tells whoever waits that it is on record; gives the weight it has for syslog, if any.
    fn on_record(self) -> Option<Weight> {
        match self.to {
            To::Journal => return None,
            To::Everyone => {}
            // Nobody listens any more: the record stands all the same.
            To::Waiting(done) => drop(done.send(Ok(()))),
        }
        Some(Weight::of(&self.event))
    }
}

/// Where the order of records is fixed.
#[derive(Debug, Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: Vec<Entry>,
    bytes: usize,
    /// Records that went to syslog only, since the journal last took one.
    lost: u64,
    /// Somebody has something for the recorder to do.
    called: bool,
    closed: bool,
}

impl Queue {
    /// Queues an event; the recorder is not called yet.
    ///
    /// # Errors
    ///
    /// The event itself, and why it is not taken.
    // The large error is the entry, moved back to where it came from.
    #[allow(clippy::result_large_err)]
    pub(super) fn push(&self, entry: Entry) -> Result<(), (Entry, &'static str)> {
        let mut inner = lock(&self.inner);
        if inner.closed {
            return Err((entry, "the agent is stopping"));
        }
        if inner.bytes > MOST_WAITING {
            inner.lost += u64::from(matches!(entry.to, To::Everyone));
            return Err((entry, "the journal's disk does not answer"));
        }
        inner.bytes += entry.event.size();
        inner.waiting.push(entry);
        Ok(())
    }

    /// Calls the recorder, if there is anything to record.
    pub(super) fn call(&self) {
        let mut inner = lock(&self.inner);
        if inner.called || inner.waiting.is_empty() {
            return;
        }
        inner.called = true;
        drop(inner);
        self.wake.notify_one();
    }

    /// Calls the recorder to look after what is folded.
    pub(super) fn call_for_folds(&self) {
        lock(&self.inner).called = true;
        self.wake.notify_one();
    }

    pub(super) fn close(&self) {
        lock(&self.inner).closed = true;
        self.wake.notify_one();
    }

    /// Waits to be called, at most for a beat if `restless`. Gives what was queued and whether that
    /// was all there will ever be.
    fn take(&self, restless: bool) -> (Vec<Entry>, bool) {
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
        inner.bytes = 0;
        (std::mem::take(&mut inner.waiting), inner.closed)
    }

    fn take_lost(&self) -> u64 {
        std::mem::take(&mut lock(&self.inner).lost)
    }
}

/// The thread that records: chains, writes, tells who waits, and tells syslog.
pub(super) struct Recorder {
    shared: Arc<Shared>,
    dir: PathBuf,
    limits: Limits,
    appender: Option<Appender>,
    /// The journal takes no records, and that was said.
    outage: bool,
    /// Records that went to syslog only, since the journal last took one.
    lost: u64,
}

impl Recorder {
    pub(super) fn new(shared: Arc<Shared>, dir: PathBuf, limits: Limits) -> Self {
        Self {
            shared,
            dir,
            limits,
            appender: None,
            outage: false,
            lost: 0,
        }
    }

    /// Opens the journal if it is not open.
    pub(super) fn open(&mut self) {
        if self.appender.is_some() {
            return;
        }
        match Appender::open(&self.dir, self.limits) {
            Ok((appender, torn)) => {
                self.appender = Some(appender);
                if let Some(torn) = torn {
                    self.shared.note(
                        Event::new(Kind::Agent, "repaired")
                            .with("reason", "torn_line")
                            .with("bytes", torn.bytes),
                    );
                }
                self.over();
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Records until the queue is closed and empty.
    pub(super) fn run(mut self) {
        loop {
            let restless = self.appender.is_none() || lock(&self.shared.folds).pending();
            let (batch, closed) = self.shared.queue.take(restless);
            self.open();
            if !batch.is_empty() {
                self.record(batch);
            }
            if closed {
                break;
            }
            self.shared.flush_folds(false);
        }
        if let Some(Err(error)) = self.appender.as_mut().map(Appender::sync) {
            self.failed(&error);
        }
    }

    /// One write, and one flush for all who wait. Syslog hears of what is in the journal, so that it
    /// never tells of an allow that was not given because the disk was full.
    fn record(&mut self, batch: Vec<Entry>) {
        let Some(appender) = self.appender.as_mut() else {
            let why = "the journal cannot be opened; see the agent's own records in syslog";
            return self.without_journal(batch, why);
        };
        let waited_for = |entry: &Entry| matches!(entry.to, To::Waiting(_));
        let durable = self.shared.settings.load().durable || batch.iter().any(waited_for);
        let mut head = appender.head();
        let mut lines = Vec::with_capacity(batch.len() * 1024);
        let mut texts = Vec::with_capacity(batch.len());
        for entry in &batch {
            let (line, text) = self.shared.render(entry, head);
            head = Hash::of(line.as_bytes());
            lines.extend_from_slice(line.as_bytes());
            lines.push(b'\n');
            texts.push(text.finish(Some(head)));
        }
        match appender.append(&lines, head, durable) {
            Ok(disturbance) => {
                let to_tell: Vec<_> = batch.into_iter().map(Entry::on_record).collect();
                for (weight, text) in to_tell.into_iter().zip(texts) {
                    if let Some(weight) = weight {
                        self.shared.to_syslog(weight, &text);
                    }
                }
                self.over();
                if let Some(disturbance) = disturbance {
                    self.disturbed(disturbance);
                }
            }
            Err(error) => {
                let why = format!("the audit journal cannot be written: {error}");
                self.failed(&error);
                self.without_journal(batch, &why);
            }
        }
    }

    /// What nobody waits for goes to syslog alone. What somebody waits for is not on record, and
    /// they are told.
    fn without_journal(&mut self, batch: Vec<Entry>, why: &str) {
        for entry in batch {
            match entry.to {
                To::Waiting(done) => drop(done.send(Err(AuditError(why.to_owned())))),
                To::Journal => {}
                To::Everyone => {
                    self.lost += 1;
                    self.shared.say(&entry);
                }
            }
        }
    }

    /// Says once that the journal takes nothing.
    fn failed(&mut self, error: &JournalError) {
        if !std::mem::replace(&mut self.outage, true) {
            let event = Event::new(Kind::Agent, "failed")
                .with("reason", "journal")
                .with("detail", error);
            self.shared.say(&Shared::entry(event, To::Everyone));
        }
    }

    /// Says that the journal takes records again, and how many it missed.
    fn over(&mut self) {
        let lost = std::mem::take(&mut self.lost) + self.shared.queue.take_lost();
        if std::mem::take(&mut self.outage) || lost > 0 {
            self.shared.note(
                Event::new(Kind::Agent, "recovered")
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
            .note(Event::new(Kind::Agent, "failed").with("reason", reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_and_what_is_beyond_is_counted() {
        let queue = Queue::default();
        let entry = || {
            Shared::entry(
                Event::new(Kind::Decision, "deny").with("a", "x".repeat(500)),
                To::Everyone,
            )
        };
        let mut taken = 0_usize;
        let (back, why) = loop {
            match queue.push(entry()) {
                Ok(()) => taken += 1,
                Err(refused) => break refused,
            }
        };
        assert_eq!(why, "the journal's disk does not answer");
        let bytes = taken * back.event.size();
        assert!(
            (MOST_WAITING..MOST_WAITING + 4096).contains(&bytes),
            "{taken} {bytes}"
        );
        let (sender, _receiver) = oneshot::channel();
        let waiting = Entry {
            to: To::Waiting(sender),
            ..entry()
        };
        assert!(queue.push(waiting).is_err());
        // Whoever waits is told; what nobody waits for is counted.
        assert_eq!(queue.take_lost(), 1);
        queue.call();
        assert_eq!(queue.take(false).0.len(), taken);
        queue.push(entry()).unwrap();
        queue.close();
        assert_eq!(queue.push(entry()).unwrap_err().1, "the agent is stopping");
        let (rest, closed) = queue.take(false);
        assert_eq!((rest.len(), closed), (1, true));
    }
}
