//! Trusted time: what `not_after` is compared with cannot be set back.

mod chain;
mod source;
#[cfg(test)]
mod tests;

pub use source::{SystemTime, TimeSource};

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jit_policy::Moment;
use jit_protocol::message::ClockReport;

use crate::audit::{Event, Kind};
use crate::state::{BootId, State, StateError};
use chain::{Chain, LONGEST_LEAD, Reading, Saved, TOLERANCE, nanos, timestamp};

/// The file in the state folder.
const FILE: &str = "clock";

/// How often the floor is written down while nothing happens: what a power cut may cost of it.
const SAVE_EVERY: i64 = 60_000_000_000;

/// The time of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The wall clock.
    pub wall: Timestamp,
    /// The chain: what time it is as far as nobody could have set it.
    pub chain: Timestamp,
    /// The latest time that was ever proven here, if the chain was taken back from it: what ended
    /// before it has ended.
    pub reached: Timestamp,
    /// `CLOCK_BOOTTIME`.
    pub boot: Duration,
    /// False when the clock is known to be wrong: then no grant holds.
    pub settled: bool,
}

impl Now {
    /// The later of wall clock and chain.
    #[must_use]
    pub fn trusted(&self) -> Timestamp {
        self.wall.max(self.chain)
    }

    /// For a decision: ends are compared with the latest that it ever was, starts with the earlier of
    /// wall clock and chain.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment {
            latest: self.trusted().max(self.reached),
            earliest: self.wall.min(self.chain),
            settled: self.settled,
        }
    }
}

/// A head is signed for a time further ahead of trusted time than it may be: one of the two clocks
/// is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "signed at {issued_at}, which is more than 10 minutes ahead of this host's time, {trusted}; \
     synchronise the clocks of both, or set this one and run: jit clock accept"
)]
pub struct Disagreement {
    /// When it says that it was signed.
    pub issued_at: Timestamp,
    /// What time it is here.
    pub trusted: Timestamp,
}

/// Trusted time. Cheap to clone; all clones are one clock.
#[derive(Debug, Clone)]
pub struct Clock {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    source: Box<dyn TimeSource>,
    boot: BootId,
    state: Arc<State>,
    /// Copies of what is in `core`, so that [`Clock::now`] takes no lock.
    offset: AtomicI64,
    reached: AtomicI64,
    settled: AtomicBool,
    core: Mutex<Core>,
}

#[derive(Debug)]
struct Core {
    chain: Chain,
    /// Must be written down at the next tick.
    unsaved: bool,
    /// When it was last written down (`CLOCK_BOOTTIME`, ns).
    saved_at: i64,
    /// Why it could not be.
    save_error: Option<String>,
    /// The disagreement that was last told, in ns.
    told: Option<i64>,
    /// To be told at the next tick.
    events: Vec<Event>,
}

impl Clock {
    /// Goes on from what the state holds: within a boot from where the agent left off, in a new one
    /// from the later of floor and wall clock. A state that cannot be read leaves the clock
    /// unsettled; the next [`Clock::tick`] says so.
    ///
    /// # Errors
    ///
    /// It cannot be told which boot this is.
    pub fn start(source: Box<dyn TimeSource>, state: Arc<State>) -> Result<Self, StateError> {
        let boot = source.boot_id()?;
        let at = read(&*source);
        let mut events = Vec::new();
        let chain = match load(&state) {
            Ok(Some(saved)) => Chain::resumed(&saved, boot, at),
            Ok(None) => Chain::first(at),
            Err(detail) => {
                events.push(
                    Event::new(Kind::Clock, "failed")
                        .with("reason", "state")
                        .with("detail", detail),
                );
                Chain::lost(at)
            }
        };
        if !chain.settled() {
            events.push(
                Event::new(Kind::Clock, "unsettled")
                    .with("wall", timestamp(at.wall))
                    .with("floor", timestamp(chain.known())),
            );
        }
        let clock = Self {
            inner: Arc::new(Inner {
                source,
                boot,
                state,
                offset: AtomicI64::new(chain.offset()),
                reached: AtomicI64::new(chain.reached()),
                settled: AtomicBool::new(chain.settled()),
                core: Mutex::new(Core {
                    chain,
                    unsaved: true,
                    saved_at: at.boot,
                    save_error: None,
                    told: None,
                    events,
                }),
            }),
        };
        let mut core = clock.core();
        clock.follow(&mut core);
        clock.save(&mut core);
        drop(core);
        Ok(clock)
    }

    /// What time it is. Takes no lock, no memory and no system call.
    #[must_use]
    pub fn now(&self) -> Now {
        let inner = &*self.inner;
        let settled = inner.settled.load(Ordering::Acquire);
        let wall = inner.source.wall();
        // Read last: should this thread be stopped between the two, the chain is not too early.
        let boot = inner.source.boottime();
        let chain = timestamp(in_nanos(boot).saturating_add(inner.offset.load(Ordering::Acquire)));
        Now {
            wall,
            chain,
            reached: timestamp(inner.reached.load(Ordering::Acquire)),
            boot,
            settled,
        }
    }

    /// A head that was just accepted, signed by a trusted key and not seen before, says when it was
    /// issued. It may move the chain forward by at most 10 minutes, never back, and settles a clock
    /// that was not if it is later than all that was known before this boot.
    ///
    /// # Errors
    ///
    /// It is more than 10 minutes ahead of trusted time: do not use what was signed.
    pub fn signed(&self, issued_at: Timestamp) -> Result<(), Disagreement> {
        let mut core = self.core();
        let at = read(&*self.inner.source);
        let issued = nanos(issued_at);
        let trusted = at.wall.max(at.boot.saturating_add(core.chain.offset()));
        if issued > trusted.saturating_add(LONGEST_LEAD) {
            return Err(Disagreement {
                issued_at,
                trusted: timestamp(trusted),
            });
        }
        let was_settled = core.chain.settled();
        if core.chain.signed(issued, at) {
            core.unsaved = true;
            self.publish(&core);
            self.save(&mut core);
        }
        if !was_settled && core.chain.settled() {
            core.events
                .push(Event::new(Kind::Clock, "settled").with("by", "signed"));
        }
        Ok(())
    }

    /// Root says that the wall clock is right.
    ///
    /// # Errors
    ///
    /// The state could not be written; then nothing changed.
    pub fn accept_wall(&self) -> Result<(), StateError> {
        let mut core = self.core();
        let at = read(&*self.inner.source);
        let accepted = Chain::accepted(at);
        self.inner.write(&accepted, at)?;
        core.chain = accepted;
        core.saved(at);
        self.publish(&core);
        Ok(())
    }

    /// To be called every few seconds: follows a synchronised wall clock, writes the floor down once
    /// a minute and whenever it jumped, and gives what is to be recorded.
    #[must_use]
    pub fn tick(&self) -> Vec<Event> {
        let mut core = self.core();
        self.follow(&mut core);
        self.tell_disagreement(&mut core);
        let at = read(&*self.inner.source);
        if core.unsaved || at.boot.saturating_sub(core.saved_at) >= SAVE_EVERY {
            self.save(&mut core);
        }
        std::mem::take(&mut core.events)
    }

    /// Trusted time beside the wall clock, and in words what is wrong.
    #[must_use]
    pub fn report(&self) -> ClockReport {
        let now = self.now();
        ClockReport {
            trusted: format!("{:.0}", now.trusted()),
            wall: format!("{:.0}", now.wall),
            synchronised: self.inner.source.synchronised(),
            settled: now.settled,
            trouble: self.trouble(&now),
        }
    }

    fn trouble(&self, now: &Now) -> Option<String> {
        let core = self.core();
        let apart = nanos(now.wall).saturating_sub(nanos(now.chain));
        if !now.settled {
            Some(format!(
                "no grant holds: the wall clock says {:.0}, and it was {:.0} before this boot already. Wait for \
                 time synchronisation, or set the clock and run: jit clock accept",
                now.wall,
                timestamp(core.chain.known()),
            ))
        } else if apart.saturating_abs() > TOLERANCE {
            Some(format!(
                "wall clock and trusted time are {} s apart (trusted: {:.0}); grants begin by the earlier and end by \
                 the later. If the wall clock is right, run: jit clock accept",
                apart.saturating_abs() / 1_000_000_000,
                now.chain,
            ))
        } else {
            core.save_error.as_ref().map(|error| {
                format!("trusted time cannot be written down, a reboot may forget it: {error}")
            })
        }
    }

    /// Takes the wall clock if it is synchronised. The flag is asked for before and after: a clock
    /// set by hand in between clears it.
    fn follow(&self, core: &mut Core) {
        let source = &*self.inner.source;
        if !source.synchronised() {
            return;
        }
        let Some(at) = read_closely(source).filter(|_| source.synchronised()) else {
            return;
        };
        let was = core.chain.clone();
        let moved = core.chain.follow(at);
        if !was.settled() {
            core.events
                .push(Event::new(Kind::Clock, "settled").with("by", "synchronised"));
        }
        if moved.saturating_abs() > TOLERANCE {
            core.events.push(
                Event::new(Kind::Clock, "moved")
                    .with("by", format_args!("{:+}s", moved / 1_000_000_000))
                    .with("wall", timestamp(at.wall)),
            );
        }
        core.unsaved |= was.worth_saving(&core.chain);
        self.publish(core);
    }

    fn tell_disagreement(&self, core: &mut Core) {
        let at = read(&*self.inner.source);
        let chain = at.boot.saturating_add(core.chain.offset());
        let apart = at.wall.saturating_sub(chain);
        let wide = apart.saturating_abs() > TOLERANCE;
        let news = match core.told {
            None => wide,
            Some(told) => !wide || apart.saturating_sub(told).saturating_abs() > TOLERANCE,
        };
        if !news {
            return;
        }
        core.told = wide.then_some(apart);
        let outcome = if wide { "disagree" } else { "agree" };
        core.events.push(
            Event::new(Kind::Clock, outcome)
                .with("wall", timestamp(at.wall))
                .with("trusted", timestamp(chain.max(at.wall)))
                .with("by", format_args!("{:+}s", apart / 1_000_000_000)),
        );
    }

    /// Makes what is in `core` the time that [`Clock::now`] tells.
    fn publish(&self, core: &Core) {
        // First, so that nobody sees the chain taken back without it.
        self.inner
            .reached
            .store(core.chain.reached(), Ordering::Release);
        self.inner
            .offset
            .store(core.chain.offset(), Ordering::Release);
        self.inner
            .settled
            .store(core.chain.settled(), Ordering::Release);
    }

    /// Writes the time down; a failure is told once, and tried again at every tick.
    fn save(&self, core: &mut Core) {
        let at = read(&*self.inner.source);
        match self.inner.write(&core.chain, at) {
            Ok(()) => core.saved(at),
            Err(error) => {
                let detail = error.to_string();
                if core.save_error.replace(detail.clone()).is_none() {
                    core.events.push(
                        Event::new(Kind::Clock, "failed")
                            .with("reason", "state")
                            .with("detail", detail),
                    );
                }
                core.unsaved = true;
            }
        }
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.inner
            .core
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&self, chain: &Chain, at: Reading) -> Result<(), StateError> {
        let saved = chain.saved(self.boot, at);
        // A handful of numbers and times: there is nothing in it that JSON cannot hold.
        let text = serde_json::to_vec(&saved).unwrap_or_default();
        self.state.write(FILE, &text)
    }
}

impl Drop for Inner {
    /// The agent stops: what elapsed since the last minute counts too.
    fn drop(&mut self) {
        let core = self.core.get_mut().unwrap_or_else(PoisonError::into_inner);
        let (chain, at) = (core.chain.clone(), read(&*self.source));
        // Nobody is left to tell; the floor then misses what elapsed since it was last written.
        let _ = self.write(&chain, at);
    }
}

impl Core {
    fn saved(&mut self, at: Reading) {
        self.unsaved = false;
        self.save_error = None;
        self.saved_at = at.boot;
    }
}

fn load(state: &State) -> Result<Option<Saved>, String> {
    let Some(bytes) = state.read(FILE).map_err(|e| e.to_string())? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|e| format!("{}: {e}", state.dir().join(FILE).display()))
}

fn in_nanos(boot: Duration) -> i64 {
    i64::try_from(boot.as_nanos()).unwrap_or(i64::MAX)
}

fn read(source: &dyn TimeSource) -> Reading {
    let wall = nanos(source.wall());
    Reading {
        wall,
        boot: in_nanos(source.boottime()),
    }
}

/// Reads both clocks at (nearly) one moment: had this thread been stopped between the two, the
/// distance between them would be wrong by as long. `None` if that keeps happening.
fn read_closely(source: &dyn TimeSource) -> Option<Reading> {
    const ATTEMPTS: u32 = 8;
    const CLOSE: i64 = 5_000_000;
    (0..ATTEMPTS).find_map(|_| {
        let before = in_nanos(source.boottime());
        let wall = nanos(source.wall());
        let boot = in_nanos(source.boottime());
        (boot - before <= CLOSE).then_some(Reading { wall, boot })
    })
}
