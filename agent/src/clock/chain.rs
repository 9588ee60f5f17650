//! What trusted time is made of; no I/O.
//!
//! Three values run on with `CLOCK_BOOTTIME`, each kept as its distance from it:
//!
//! * the *chain*: what time it is, as far as this boot knows. A wall clock that was never synchronised
//!   may be in it.
//! * the *floor*: what is written down for the next boot. It begins with the first wall clock that
//!   this host ever showed, and rises only by elapsed, synchronised or signed time: a bad clock chip
//!   does not outlive its boot.
//! * what is *proven*: synchronised or signed. Only below this is going back limited.
//!
//! proven ≤ floor ≤ chain.
//!
//! And one value stands still: the latest proven time that was ever *reached*. Synchronisation may take
//! the chain back a little, but what had ended by then has ended.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::state::BootId;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;

/// How far a signed head may move the chain forward.
pub(super) const LONGEST_LEAD: i64 = 600 * SECOND;
/// How far synchronisation may take proven time back, a day.
const BACK_PER_DAY: i64 = 120 * SECOND;
/// A difference that is worth no words: clock chips keep whole seconds and drift.
pub(super) const TOLERANCE: i64 = 120 * SECOND;

/// One look at both clocks, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// The wall clock, since 1970.
    pub(super) wall: i64,
    /// `CLOCK_BOOTTIME`.
    pub(super) boot: i64,
}

impl Reading {
    fn wall_offset(self) -> i64 {
        self.wall.saturating_sub(self.boot)
    }
}

/// Trusted time between two boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Saved {
    /// The boot it was saved in, and when in it (ns).
    boot: BootId,
    at: i64,
    chain: Timestamp,
    floor: Timestamp,
    proven: Option<Timestamp>,
    reached: Timestamp,
    /// How much of the day's allowance to go back is used up (ns).
    gone_back: i64,
    settled: bool,
    /// The floor when this boot began.
    known: Timestamp,
}

/// Trusted time within a boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    /// Distances from `CLOCK_BOOTTIME`, in nanoseconds.
    chain: i64,
    floor: i64,
    proven: Option<i64>,
    /// Since 1970.
    reached: i64,
    gone_back: i64,
    gone_back_at: i64,
    settled: bool,
    /// The floor when this boot began, since 1970: what is signed later than this is fresh.
    known: i64,
}

impl Chain {
    /// A host that never kept time before takes the wall clock's word, for now.
    pub(super) fn first(at: Reading) -> Self {
        Self {
            chain: at.wall_offset(),
            floor: at.wall_offset(),
            proven: None,
            reached: i64::MIN,
            gone_back: 0,
            gone_back_at: at.boot,
            settled: true,
            known: at.wall,
        }
    }

    /// A host that kept time and cannot read what it kept: nothing is known.
    pub(super) fn lost(at: Reading) -> Self {
        Self {
            settled: false,
            ..Self::first(at)
        }
    }

    /// Goes on from what was saved, in the same boot or a later one.
    pub(super) fn resumed(saved: &Saved, boot: BootId, at: Reading) -> Self {
        if saved.boot == boot && saved.at <= at.boot {
            Self::restarted(saved, at)
        } else {
            Self::rebooted(saved, at)
        }
    }

    /// Only the agent was gone: nothing is forgotten, and the time in between has elapsed.
    fn restarted(saved: &Saved, at: Reading) -> Self {
        let offset = |time: Timestamp| nanos(time).saturating_sub(saved.at);
        Self {
            chain: offset(saved.chain),
            floor: offset(saved.floor),
            proven: saved.proven.map(offset),
            reached: nanos(saved.reached),
            gone_back: saved.gone_back,
            gone_back_at: saved.at,
            settled: saved.settled,
            known: nanos(saved.known),
        }
        .ordered(at)
    }

    /// How long the machine was off is not known: it is the floor's time or later.
    fn rebooted(saved: &Saved, at: Reading) -> Self {
        let known = nanos(saved.floor);
        let offset = |time: i64| time.saturating_sub(at.boot);
        Self {
            chain: offset(known.max(at.wall)),
            floor: offset(known),
            proven: saved.proven.map(|time| offset(nanos(time))),
            reached: nanos(saved.reached),
            gone_back: saved.gone_back,
            gone_back_at: at.boot,
            settled: at.wall >= known.saturating_sub(TOLERANCE),
            known,
        }
        .ordered(at)
    }

    /// A file that says otherwise must not make proven time run ahead of the rest.
    fn ordered(mut self, at: Reading) -> Self {
        self.floor = self.floor.max(self.proven.unwrap_or(i64::MIN));
        self.chain = self.chain.max(self.floor);
        self.gone_back = self.gone_back.clamp(0, BACK_PER_DAY);
        self.gone_back_at = self.gone_back_at.min(at.boot);
        self
    }

    /// The distance of the chain from `CLOCK_BOOTTIME`.
    pub(super) fn offset(&self) -> i64 {
        self.chain
    }

    /// The latest proven time from which the chain was taken back, since 1970.
    pub(super) fn reached(&self) -> i64 {
        self.reached
    }

    pub(super) fn settled(&self) -> bool {
        self.settled
    }

    /// The floor when this boot began.
    pub(super) fn known(&self) -> i64 {
        self.known
    }

    /// The wall clock is synchronised: takes it, within what is allowed. Gives by how much the chain
    /// moved beyond the time that elapsed.
    pub(super) fn follow(&mut self, at: Reading) -> i64 {
        let wall = at.wall_offset();
        let taken = match self.proven {
            Some(proven) if wall < proven => {
                self.reached = self.reached.max(at.boot.saturating_add(proven));
                proven - self.go_back(proven.saturating_sub(wall), at.boot)
            }
            _ => wall,
        };
        let moved = taken.saturating_sub(self.chain);
        (self.chain, self.floor, self.proven) = (taken, taken, Some(taken));
        self.settled = true;
        moved
    }

    /// Whether another state of it is so different that it must not wait for the next minute.
    pub(super) fn worth_saving(&self, other: &Self) -> bool {
        self.settled != other.settled
            || self.proven.is_some() != other.proven.is_some()
            || self.floor.abs_diff(other.floor) >= SECOND.unsigned_abs()
    }

    /// How much of `wanted` may be gone back now; it is used up.
    fn go_back(&mut self, wanted: i64, boot: i64) -> i64 {
        self.recover(boot);
        let granted = wanted.min(BACK_PER_DAY - self.gone_back);
        self.gone_back += granted;
        granted
    }

    /// The allowance comes back evenly over the day.
    fn recover(&mut self, boot: i64) {
        let elapsed = i128::from(boot.saturating_sub(self.gone_back_at).max(0));
        let recovered = elapsed * i128::from(BACK_PER_DAY) / i128::from(DAY);
        let left = i128::from(self.gone_back) - recovered;
        self.gone_back = i64::try_from(left.max(0)).unwrap_or(BACK_PER_DAY);
        self.gone_back_at = boot;
    }

    /// Something was signed at `issued` by a key that is trusted: it is that time or later. The
    /// caller has checked that it is not too far ahead. Gives whether anything worth saving changed.
    pub(super) fn signed(&mut self, issued: i64, at: Reading) -> bool {
        let before = self.clone();
        let issued_offset = issued.saturating_sub(at.boot);
        let reached = issued_offset.min(self.chain.saturating_add(LONGEST_LEAD));
        self.proven = Some(self.proven.unwrap_or(i64::MIN).max(reached));
        self.floor = self.floor.max(reached);
        self.chain = self.chain.max(reached);
        self.settled |= issued >= self.known;
        *self != before
    }

    /// Root says that the wall clock is right. That is less than synchronised: a later
    /// synchronisation may take all of it back.
    pub(super) fn accepted(at: Reading) -> Self {
        Self::first(at)
    }

    pub(super) fn saved(&self, boot: BootId, at: Reading) -> Saved {
        let mut now = self.clone();
        now.recover(at.boot);
        let time = |offset: i64| timestamp(at.boot.saturating_add(offset));
        Saved {
            boot,
            at: at.boot,
            chain: time(now.chain),
            floor: time(now.floor),
            proven: now.proven.map(time),
            reached: timestamp(now.reached),
            gone_back: now.gone_back,
            settled: now.settled,
            known: timestamp(now.known),
        }
    }
}

/// Nanoseconds since 1970. They end in the year 2262; what lies beyond is as late as can be.
pub(super) fn nanos(time: Timestamp) -> i64 {
    let nanos = time.as_nanosecond();
    i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
}

pub(super) fn timestamp(nanos: i64) -> Timestamp {
    // Every i64 of nanoseconds is within a Timestamp's range.
    Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::MAX)
}
