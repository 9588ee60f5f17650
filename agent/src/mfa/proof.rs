//! What the agent remembers of factors that were passed. In memory only: proofs die with the agent
//! and with the boot.
//!
//! Passing a factor through the PAM module makes two proofs. A *transaction* proof is good for that
//! one PAM transaction, uid and service, and is used up. A *session* proof is good for the login
//! session in which it was made, for as long as a grant says.

use crate::state::BootId;
use jit_policy::{Factor, base_service};
use jit_protocol::message::Txn;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a transaction proof lives: long enough to type a password after the code, no longer.
pub const TRANSACTION_LIFE: Duration = Duration::from_secs(120);
/// The longest that a session proof is remembered, whatever age a grant would accept.
pub const SESSION_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Most proofs of each kind kept for one uid; the oldest goes first. One needs a passed factor to
/// make one, so nobody pushes out anybody else's below [`MOST`].
const MOST_OF_ONE: usize = 32;
/// Most proofs of each kind kept in all.
const MOST: usize = 4096;

/// A login session: where a person sits. Two are the same only if every part is equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LoginSession {
    /// Whose.
    pub uid: u32,
    /// In which boot.
    pub boot: BootId,
    /// `/proc/PID/sessionid`; `u32::MAX` where none was set.
    pub audit_session: u32,
    /// Controlling terminal as in `/proc/PID/stat`; 0 is none.
    pub tty_nr: i32,
    /// Pid of the session's leader; 0 is none.
    pub leader: u32,
    /// The leader's start time in clock ticks since boot, so that a pid used again is not taken
    /// for it. 0 if the leader is dead.
    pub leader_start: u64,
}

impl LoginSession {
    /// Whether a proof can be tied to it: it has a terminal and a living leader. Without them two
    /// unrelated processes of one person would look alike.
    #[must_use]
    pub fn can_hold_proof(&self) -> bool {
        self.tty_nr != 0 && self.leader != 0 && self.leader_start != 0
    }
}

/// For what a proof is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Want<'a> {
    /// What must be proved.
    pub need: Factor,
    /// The PAM transaction.
    pub txn: Txn,
    /// The principal.
    pub uid: u32,
    /// The PAM service, base name or not.
    pub service: &'a str,
    /// The login session of whoever asks; `None` for entry (no session of theirs exists yet) and
    /// wherever it cannot be told.
    pub login: Option<&'a LoginSession>,
}

/// What carries a yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cover {
    /// Nothing had to be proved.
    NotNeeded,
    /// A factor passed in this very transaction.
    Transaction,
    /// A factor passed in this login session, so many seconds ago.
    Session(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was allowed on it yet.
    Fresh,
    /// The account phase said yes on it; it is kept for that transaction's session alone.
    Account,
}

#[derive(Debug)]
struct OfTransaction {
    txn: Txn,
    uid: u32,
    service: String,
    at: Duration,
    stage: Stage,
}

#[derive(Debug)]
struct OfSession {
    login: LoginSession,
    at: Duration,
}

/// All proofs there are. Times are `CLOCK_BOOTTIME`, given by the caller.
#[derive(Debug, Default)]
pub struct Proofs {
    kept: Mutex<Kept>,
}

/// Oldest first.
#[derive(Debug, Default)]
struct Kept {
    transactions: VecDeque<OfTransaction>,
    sessions: VecDeque<OfSession>,
}

impl Proofs {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A factor was passed through the PAM module. Only that may call this: a proof made for a
    /// process that can still choose what to become would be worth any elevation.
    pub fn passed_in_transaction(
        &self,
        txn: Txn,
        uid: u32,
        service: &str,
        login: Option<LoginSession>,
        boot: Duration,
    ) {
        let mut kept = self.kept(boot);
        kept.add_transaction(OfTransaction {
            txn,
            uid,
            service: base_service(service).to_owned(),
            at: boot,
            stage: Stage::Fresh,
        });
        if let Some(login) = login.filter(|login| login.uid == uid) {
            kept.add_session(login, boot);
        }
    }

    /// A factor was passed in this login session (`jit verify`). False if the session cannot hold
    /// a proof, so nothing was remembered.
    pub fn verified(&self, login: LoginSession, boot: Duration) -> bool {
        self.kept(boot).add_session(login, boot)
    }

    /// Whether the account phase would find what it wants. Uses nothing up. For the auth phase: a
    /// factor that passed in this transaction is not asked for again when another module's no sent
    /// the person round once more.
    #[must_use]
    pub fn would_cover(&self, want: &Want<'_>, boot: Duration) -> Option<Cover> {
        if want.need == Factor::None {
            return Some(Cover::NotNeeded);
        }
        let kept = self.kept(boot);
        match kept.find(want, &[Stage::Fresh]) {
            Some(_) => Some(Cover::Transaction),
            None => kept.session_cover(want, boot),
        }
    }

    /// What carries an allow in the account phase, if anything. Call it once, when all else says
    /// yes: a transaction proof is used up by it, save for that transaction's session.
    #[must_use]
    pub fn cover_account(&self, want: &Want<'_>, boot: Duration) -> Option<Cover> {
        if want.need == Factor::None {
            return Some(Cover::NotNeeded);
        }
        let mut kept = self.kept(boot);
        if let Some(nr) = kept.find(want, &[Stage::Fresh])
            && let Some(proof) = kept.transactions.get_mut(nr)
        {
            proof.stage = Stage::Account;
            return Some(Cover::Transaction);
        }
        kept.session_cover(want, boot)
    }

    /// What carries an allow when the session opens, if anything. A transaction proof is gone
    /// after it. One that no account phase used counts too: an administrator may have turned that
    /// phase off, and then this is the only gate.
    #[must_use]
    pub fn cover_session(&self, want: &Want<'_>, boot: Duration) -> Option<Cover> {
        if want.need == Factor::None {
            return Some(Cover::NotNeeded);
        }
        let mut kept = self.kept(boot);
        if let Some(nr) = kept.find(want, &[Stage::Account, Stage::Fresh]) {
            kept.transactions.remove(nr);
            return Some(Cover::Transaction);
        }
        kept.session_cover(want, boot)
    }

    /// How long ago a factor was passed in this login session, in seconds.
    #[must_use]
    pub fn proved_ago(&self, login: &LoginSession, boot: Duration) -> Option<u64> {
        self.kept(boot)
            .session_age(login, boot)
            .map(|age| age.as_secs())
    }

    /// Forgets every proof of one person: their factor was reset or disabled, so what was proved
    /// with it may have been proved by somebody else.
    pub fn forget(&self, uid: u32) {
        let mut kept = self.lock();
        kept.transactions.retain(|proof| proof.uid != uid);
        kept.sessions.retain(|proof| proof.login.uid != uid);
    }

    fn kept(&self, boot: Duration) -> MutexGuard<'_, Kept> {
        let mut kept = self.lock();
        kept.drop_dead(boot);
        kept
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // No holder leaves it half changed, so what a panicked thread left is whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add_transaction(&mut self, proof: OfTransaction) {
        let uid = proof.uid;
        self.transactions
            .retain(|p| (p.txn, p.uid, &p.service) != (proof.txn, proof.uid, &proof.service));
        make_room(&mut self.transactions, |p| p.uid == uid);
        self.transactions.push_back(proof);
    }

    fn add_session(&mut self, login: LoginSession, boot: Duration) -> bool {
        if !login.can_hold_proof() {
            return false;
        }
        self.sessions.retain(|proof| proof.login != login);
        make_room(&mut self.sessions, |p| p.login.uid == login.uid);
        self.sessions.push_back(OfSession { login, at: boot });
        true
    }

    fn find(&self, want: &Want<'_>, stages: &[Stage]) -> Option<usize> {
        self.transactions.iter().position(|proof| {
            proof.txn == want.txn
                && proof.uid == want.uid
                && proof.service == base_service(want.service)
                && stages.contains(&proof.stage)
        })
    }

    fn session_cover(&self, want: &Want<'_>, boot: Duration) -> Option<Cover> {
        let Factor::Age(most) = want.need else {
            return None;
        };
        let login = want.login.filter(|login| login.uid == want.uid)?;
        let age = self.session_age(login, boot)?;
        (age <= Duration::from_secs(most.into())).then_some(Cover::Session(age.as_secs()))
    }

    fn session_age(&self, login: &LoginSession, boot: Duration) -> Option<Duration> {
        if !login.can_hold_proof() {
            return None;
        }
        let proof = self.sessions.iter().find(|proof| proof.login == *login)?;
        Some(age(proof.at, boot))
    }

    fn drop_dead(&mut self, boot: Duration) {
        let alive = |at: Duration, life| age(at, boot) <= life;
        self.transactions
            .retain(|proof| alive(proof.at, TRANSACTION_LIFE));
        self.sessions.retain(|proof| alive(proof.at, SESSION_LIFE));
    }
}

/// `CLOCK_BOOTTIME` never runs backwards, but another thread may have read it a moment later than
/// this one: then the age is nothing.
fn age(at: Duration, boot: Duration) -> Duration {
    boot.saturating_sub(at)
}

/// Drops the oldest of one person's, and then the oldest of all, until one more fits.
fn make_room<T>(proofs: &mut VecDeque<T>, theirs: impl Fn(&T) -> bool) {
    while proofs.iter().filter(|proof| theirs(proof)).count() >= MOST_OF_ONE {
        match proofs.iter().position(&theirs) {
            Some(oldest) => drop(proofs.remove(oldest)),
            None => break,
        }
    }
    while proofs.len() >= MOST {
        proofs.pop_front();
    }
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
