//! How often somebody may guess.
//!
//! *Elevation*: five wrong codes are free, each further one locks, for 30 s at first and twice as
//! long each time up to 15 min; after 100 in a row no code is looked at, not at entry either,
//! until root resets the factor: whoever can do that holds the person's shell already. *Entry* is open to strangers, so it never disables anything: the same schedule holds for
//! each remote host by itself, and a slow budget holds for all hosts together. Hosts from which the
//! person passed before, and the console, are outside that budget: nobody can be kept out of where
//! they usually come from by somebody who is elsewhere.
//!
//! Locks never look at the wall clock. Within one boot they count on `CLOCK_BOOTTIME`, which runs on
//! through suspend and cannot be set. In a later boot all that is certain is that as much time has
//! passed as the machine has been up, so that is what counts: a reboot, a restart of the agent or a
//! clock set forward can make a lock longer (by 15 min at most), never shorter.

use crate::state::BootId;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Wrong codes that cost nothing.
pub const FREE: u32 = 5;
/// Wrong codes in a row at elevation after which the factor is disabled.
pub const DISABLED_AFTER: u32 = 100;
/// The first lock, in seconds.
const FIRST_LOCK: u64 = 30;
/// The longest lock, in seconds.
const LONGEST_LOCK: u64 = 15 * 60;
/// Wrong codes that all hosts without a good past may cost one person at once…
const BUDGET: u32 = 30;
/// … and how long it takes, in seconds, until one more is free. 96 guesses a day at three valid
/// codes in a million.
const BUDGET_REFILL: u64 = 15 * 60;
/// Most hosts of one person whose wrong codes are counted.
const MOST_HOSTS: usize = 32;
/// Most hosts of one person that are known to be theirs.
const MOST_KNOWN: usize = 8;

/// A moment on `CLOCK_BOOTTIME`, with the boot it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    boot: BootId,
    ms: u64,
}

impl Stamp {
    /// This moment of this boot.
    #[must_use]
    pub fn new(boot: BootId, since_boot: Duration) -> Self {
        Self {
            boot,
            ms: u64::try_from(since_boot.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Milliseconds that have passed since then, for certain.
    fn elapsed(self, now: Self) -> u64 {
        // A time before `self` in the same boot means a clock that started anew (a container's time
        // namespace): then it is a boot of its own.
        match now.ms.checked_sub(self.ms) {
            Some(elapsed) if now.boot == self.boot => elapsed,
            _ => now.ms,
        }
    }

    fn later(self, ms: u64) -> Self {
        Self {
            ms: self.ms.saturating_add(ms),
            ..self
        }
    }
}

/// Wrong codes in a row, and the lock they brought.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    wrong: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lock: Option<Lock>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lock {
    secs: u64,
    from: Stamp,
}

impl Count {
    /// Wrong codes in a row.
    #[must_use]
    pub fn wrong(&self) -> u32 {
        self.wrong
    }

    /// Whether so many were wrong that an elevation's factor is disabled.
    #[must_use]
    pub fn disabled(&self) -> bool {
        self.wrong >= DISABLED_AFTER
    }

    /// Seconds, rounded up, until a code is looked at again.
    #[must_use]
    pub fn locked(&self, now: Stamp) -> Option<u64> {
        let lock = self.lock?;
        let left = (lock.secs.saturating_mul(1000)).checked_sub(lock.from.elapsed(now))?;
        (left > 0).then_some(left.div_ceil(1000))
    }

    /// One more was wrong.
    pub fn add(&mut self, now: Stamp) {
        self.wrong = self.wrong.saturating_add(1);
        self.lock = lock_after(self.wrong).map(|secs| Lock { secs, from: now });
    }
}

fn lock_after(wrong: u32) -> Option<u64> {
    let doublings = wrong.checked_sub(FREE + 1)?;
    let secs = FIRST_LOCK
        .checked_shl(doublings.min(16))
        .unwrap_or(LONGEST_LOCK);
    Some(secs.min(LONGEST_LOCK))
}

/// Where an entry comes from, folded so that one machine cannot look like many: an IPv4 address
/// however written, an IPv6 network of 64 bits (a host has all of one to choose from), any other
/// text as a keyed hash. Bounded, and never hostile text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origin(String);

impl Origin {
    /// No remote host: the console.
    const HERE: &str = "here";

    /// From `PAM_RHOST`. `digest` hashes text that is not an address.
    #[must_use]
    pub fn new(rhost: Option<&str>, digest: impl Fn(&[u8]) -> String) -> Self {
        let Some(rhost) = rhost.filter(|rhost| !rhost.is_empty()) else {
            return Self(Self::HERE.to_owned());
        };
        // A zone (`fe80::1%eth0`, RFC 4007) names our side of the link.
        let address = rhost.split_once('%').map_or(rhost, |(address, _)| address);
        match address.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
            Ok(IpAddr::V4(ip)) => Self(ip.to_string()),
            Ok(IpAddr::V6(ip)) => {
                let [a, b, c, d, ..] = ip.segments();
                Self(format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))
            }
            Err(_) => Self(format!("#{}", digest(rhost.as_bytes()))),
        }
    }

    fn is_here(&self) -> bool {
        self.0 == Self::HERE
    }
}

/// What is remembered of one person's entries. Bounded whatever strangers send.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entries {
    /// Least recently wrong first.
    hosts: Vec<Host>,
    /// Where the person passed before, least recently first.
    known: Vec<Origin>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spent: Option<Spent>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Host {
    from: Origin,
    count: Count,
}

/// Of the budget: how many are spent, and since when the next is on its way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spent {
    codes: u32,
    since: Stamp,
}

impl Spent {
    fn at(self, now: Stamp) -> Self {
        let elapsed = self.since.elapsed(now);
        let refill = BUDGET_REFILL * 1000;
        let back = elapsed / refill;
        let codes = u32::try_from(back).map_or(0, |back| self.codes.saturating_sub(back));
        let since = if self.since.boot == now.boot && self.since.ms <= now.ms {
            self.since.later(back.saturating_mul(refill))
        } else {
            // What has passed of the next refill in this boot.
            Stamp {
                boot: now.boot,
                ms: back.saturating_mul(refill),
            }
        };
        Self { codes, since }
    }

    fn exhausted(self, now: Stamp) -> Option<u64> {
        let spent = self.at(now);
        let left = (BUDGET_REFILL * 1000).saturating_sub(spent.since.elapsed(now));
        (spent.codes >= BUDGET).then_some(left.div_ceil(1000).max(1))
    }
}

impl Entries {
    /// Seconds, rounded up, until a code from there is looked at again.
    #[must_use]
    pub fn locked(&self, from: &Origin, now: Stamp) -> Option<u64> {
        let host = self.hosts.iter().find(|host| host.from == *from);
        let by_host = host.and_then(|host| host.count.locked(now));
        let by_budget = match self.spent {
            Some(spent) if self.pays(from) => spent.exhausted(now),
            _ => None,
        };
        by_host.max(by_budget)
    }

    /// Wrong codes in a row from there.
    #[must_use]
    pub fn wrong(&self, from: &Origin) -> u32 {
        let host = self.hosts.iter().find(|host| host.from == *from);
        host.map_or(0, |host| host.count.wrong())
    }

    /// One more from there was wrong.
    pub fn add(&mut self, from: &Origin, now: Stamp) {
        if self.pays(from) {
            let spent = self.spent.map_or(
                Spent {
                    codes: 0,
                    since: now,
                },
                |s| s.at(now),
            );
            // A full budget is on its way back from nothing: the first wrong code starts the wait.
            let since = if spent.codes == 0 { now } else { spent.since };
            self.spent = Some(Spent {
                codes: spent.codes.saturating_add(1),
                since,
            });
        }
        let at = self.hosts.iter().position(|host| host.from == *from);
        let mut host = match at {
            Some(at) => self.hosts.remove(at),
            None => Host {
                from: from.clone(),
                count: Count::default(),
            },
        };
        host.count.add(now);
        self.make_room(now);
        self.hosts.push(host);
    }

    /// A factor was passed from there: its count is over, and it is known from now on.
    pub fn pass(&mut self, from: &Origin) {
        self.hosts.retain(|host| host.from != *from);
        self.known.retain(|known| known != from);
        if !from.is_here() {
            self.known.push(from.clone());
        }
        let surplus = self.known.len().saturating_sub(MOST_KNOWN);
        self.known.drain(..surplus);
    }

    /// Whether wrong codes from there come out of the budget.
    fn pays(&self, from: &Origin) -> bool {
        !from.is_here() && !self.known.contains(from)
    }

    /// Forgets a host that is not locked, else the one that was wrong least recently. A stranger
    /// with many addresses can make us forget, but pays each of them out of the budget.
    fn make_room(&mut self, now: Stamp) {
        while self.hosts.len() >= MOST_HOSTS {
            let free = self
                .hosts
                .iter()
                .position(|h| h.count.locked(now).is_none());
            self.hosts.remove(free.unwrap_or(0));
        }
    }
}

#[cfg(test)]
#[path = "lockout_tests.rs"]
mod tests;
